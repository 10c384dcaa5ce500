//! A broker that cannot serve says so in one sentence, ends with a code that is not 0, and has
//! changed nothing on disk.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::common::{Broker, Refusal, binary, free_port, is_spindle, run_to_end, serve_args, wire};
use crate::still_serves;

/// Every file below a directory with its bytes.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut pending = vec![dir.to_path_buf()];
    while let Some(path) = pending.pop() {
        for entry in std::fs::read_dir(&path).expect("list a directory") {
            let path = entry.expect("a directory entry").path();
            if path.is_dir() {
                pending.push(path.clone());
                files.insert(path, Vec::new());
            } else {
                let bytes = std::fs::read(&path).expect("read a file");
                files.insert(path, bytes);
            }
        }
    }
    files
}

fn serve(port: u16, data: &Path, overrides: &[&str]) -> Refusal {
    let overrides: Vec<String> = overrides.iter().map(|s| (*s).to_owned()).collect();
    let mut command = Command::new(binary());
    command.args(serve_args(port, data, &overrides));
    run_to_end(command)
}

/// One line on stderr with each of these words, and an exit code that is not 0.
fn refused(refusal: &Refusal, words: &[&str]) {
    let Refusal { status, stderr } = refusal;
    assert!(status.code().is_some_and(|code| code != 0), "{status}: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert_eq!(stderr.trim().lines().count(), 1, "one sentence on stderr, not:\n{stderr}");
    for word in words {
        assert!(stderr.contains(word), "no {word:?} in: {stderr}");
    }
}

/// Whether these tests can run: they start the binary themselves and expect Spindle's words.
fn skip() -> bool {
    let skip = !is_spindle();
    if skip {
        eprintln!("needs Spindle's own binary: not run");
    }
    skip
}

#[test]
fn wrong_settings() {
    if skip() {
        return;
    }
    let scratch = TempDir::new().expect("scratch");
    let data = scratch.path().join("data");
    let cases: [(&str, &[&str]); 9] = [
        ("log.retention.hour=5", &["log.retention.hour", "log.retention.hours"]),
        ("shard.counts=2", &["shard.counts", "shard.count"]),
        ("nonsense=1", &["nonsense"]),
        ("num.partitions=many", &["num.partitions", "many"]),
        ("num.partitions=0", &["num.partitions", "0"]),
        ("log.segment.bytes=-4", &["log.segment.bytes", "-4"]),
        ("auto.create.topics.enable=perhaps", &["auto.create.topics.enable", "perhaps"]),
        ("listeners=PLAINTEXT://127.0.0.1:99999", &["listeners", "99999"]),
        ("no-equals-sign", &["no-equals-sign"]),
    ];
    for (setting, words) in cases {
        refused(&serve(free_port(), &data, &[setting]), words);
        assert!(!data.exists(), "{setting} left a data directory");
    }
}

#[test]
fn wrong_file() {
    if skip() {
        return;
    }
    let scratch = TempDir::new().expect("scratch");
    let file = scratch.path().join("server.properties");
    let data = scratch.path().join("data");
    let text = format!("# a comment\nlog.dirs={}\nnum.partitions=seven\n", data.display());
    std::fs::write(&file, text).expect("write the file");
    let run = |path: &Path| {
        let mut command = Command::new(binary());
        command.arg("serve").arg("--config").arg(path);
        run_to_end(command)
    };
    // Key, value, file and line.
    refused(&run(&file), &["num.partitions", "seven", "server.properties", "3"]);
    let missing = scratch.path().join("missing.properties");
    refused(&run(&missing), &["missing.properties"]);
    assert!(!data.exists());
}

#[test]
fn port_in_use() {
    if skip() {
        return;
    }
    let scratch = TempDir::new().expect("scratch");
    let other = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = other.local_addr().expect("address").port();
    refused(&serve(port, scratch.path(), &[]), &[&port.to_string()]);
    assert!(snapshot(scratch.path()).is_empty(), "files of a broker that never ran");
    // Another Spindle: sockets shared by the shards of one process must not be shared by two.
    let broker = Broker::own(&[]);
    let port = broker.address().port();
    refused(&serve(port, scratch.path(), &[]), &[&port.to_string()]);
    assert!(snapshot(scratch.path()).is_empty(), "files of a broker that never ran");
    still_serves(&broker);
}

#[test]
fn directory_of_a_running_broker() {
    if skip() {
        return;
    }
    let broker = Broker::own(&[]);
    let data = broker.data_dir();
    let names = || snapshot(&data).into_keys().collect::<Vec<_>>();
    let before = names();
    refused(&serve(free_port(), &data, &[]), &[&data.display().to_string()]);
    assert_eq!(before, names());
    still_serves(&broker);
}

#[test]
fn directory_of_another_cluster() {
    if skip() {
        return;
    }
    let mut broker = Broker::own(&["cluster.id=AAAAAAAAAAAAAAAAAAAAAQ"]);
    still_serves(&broker);
    let (status, took) = broker.terminate();
    assert!(status.success(), "{status} after {took:?}");
    let before = snapshot(&broker.data_dir());
    let data = broker.data_dir();
    let refusal = serve(free_port(), &data, &["cluster.id=BBBBBBBBBBBBBBBBBBBBBQ"]);
    refused(&refusal, &["AAAAAAAAAAAAAAAAAAAAAQ", "BBBBBBBBBBBBBBBBBBBBBQ"]);
    assert!(before == snapshot(&data), "the other cluster's directory was touched");
    broker.restart();
    still_serves(&broker);
}

#[test]
fn directory_of_another_node() {
    if skip() {
        return;
    }
    let mut broker = Broker::own(&["node.id=3"]);
    still_serves(&broker);
    broker.terminate();
    let data = broker.data_dir();
    let before = snapshot(&data);
    refused(&serve(free_port(), &data, &["node.id=4"]), &["3", "4"]);
    assert!(before == snapshot(&data), "the other node's directory was touched");
    broker.restart();
}

#[test]
fn directory_that_cannot_be_written() {
    if skip() {
        return;
    }
    let scratch = TempDir::new().expect("scratch");
    let file = scratch.path().join("file");
    std::fs::write(&file, "not a directory").expect("write a file");
    refused(&serve(free_port(), &file, &[]), &[&file.display().to_string()]);
    refused(&serve(free_port(), &file.join("below"), &[]), &["file/below"]);
    assert_eq!(std::fs::read(&file).expect("the file"), b"not a directory");
    refused(&serve(free_port(), Path::new("/proc/spindle-data"), &[]), &["/proc/spindle-data"]);

    // Permissions say nothing to root: be nobody, with a copy of the binary that nobody may run.
    let data = scratch.path().join("data");
    std::fs::create_dir(&data).expect("data directory");
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    };
    mode(scratch.path(), 0o755);
    mode(&data, 0o555);
    let copy = scratch.path().join("spindle");
    std::fs::copy(binary(), &copy).expect("copy the binary");
    mode(&copy, 0o755);
    let mut command = Command::new(&copy);
    command.args(serve_args(free_port(), &data, &[])).current_dir("/");
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } == 0 {
        command.uid(65_534).gid(65_534);
    }
    refused(&run_to_end(command), &[&data.display().to_string()]);
    assert!(snapshot(&data).is_empty());
    mode(&data, 0o755);
}

#[test]
fn sigterm_stops_cleanly() {
    if skip() {
        return;
    }
    let mut broker = Broker::own(&[]);
    // With clients connected, one of them in the middle of a frame.
    let mut idle = wire::Wire::connect(broker.address());
    idle.api_versions().expect("versions");
    let mut half = wire::Wire::connect(broker.address());
    std::io::Write::write_all(&mut half.stream, &[0, 0, 1]).expect("half a length");
    still_serves(&broker);
    let (status, took) = broker.terminate();
    println!("stopped in {took:?}");
    assert!(status.success(), "{status} after {took:?}");
    broker.restart();
    still_serves(&broker);
}

#[test]
fn a_port_nobody_can_have() {
    if skip() {
        return;
    }
    let scratch = TempDir::new().expect("scratch");
    // TEST-NET-1 (RFC 5737) is no address of this machine.
    let refusal = serve(free_port(), scratch.path(), &["listeners=PLAINTEXT://192.0.2.1:9092"]);
    refused(&refusal, &["192.0.2.1"]);
    assert!(snapshot(scratch.path()).is_empty());
}
