//! `spindle tune` and the profiles of `tuning/` as a user runs them: the built binary, real files.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn spindle() -> Command {
    Command::new(env!("CARGO_BIN_EXE_spindle"))
}

fn tune(words: &[&str]) -> Output {
    spindle().arg("tune").args(words).output().expect("spindle tune runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Starts a broker with this file and stops it again; the page that it printed.
fn serves(config: &Path, overrides: &[&str]) -> String {
    let mut command = spindle();
    command.args(["serve", "--config"]).arg(config).stdout(Stdio::piped()).stderr(Stdio::piped());
    for line in ["listeners=PLAINTEXT://127.0.0.1:0"].iter().chain(overrides) {
        command.args(["--override", *line]);
    }
    let mut broker = command.spawn().expect("spindle serve runs");
    let mut page = String::new();
    let mut out = BufReader::new(broker.stdout.take().unwrap());
    while !page.contains("try ") {
        if out.read_line(&mut page).unwrap_or(0) == 0 {
            let said = broker.wait_with_output().unwrap();
            panic!("{}: it does not start: {page}{}", config.display(), text(&said.stderr));
        }
    }
    let pid = broker.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let done = broker.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
    page + &text(&done.stderr)
}

#[test]
fn a_made_up_root_decides_the_exit_code_and_what_is_shown() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_str().unwrap();
    let done = tune(&["--root", path]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stdout));
    let kernel = root.path().join("proc/sys/kernel");
    std::fs::create_dir_all(&kernel).unwrap();
    std::fs::write(kernel.join("io_uring_disabled"), "2\n").unwrap();
    let done = tune(&["--root", path]);
    assert_eq!(done.status.code(), Some(1));
    let said = text(&done.stdout);
    assert!(
        said.contains("MEND") && said.contains("sysctl -w kernel.io_uring_disabled=0"),
        "{said}"
    );
    let done = tune(&["--root", path, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert!(json.as_array().unwrap().iter().any(|f| f["state"] == "mend"));
    let done = tune(&["--override", "shard.spin=1"]);
    assert_eq!(done.status.code(), Some(2), "{}", text(&done.stderr));
}

#[test]
fn the_file_that_it_writes_starts_a_broker() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = dir.path().join("data");
    let file = dir.path().join("tuned.properties");
    let logs = format!("log.dirs={}", data.display());
    let written = file.to_str().unwrap();
    let done = tune(&["--override", &logs, "--write", written, "--seconds", "0.4"]);
    assert!(matches!(done.status.code(), Some(0 | 1)), "{}", text(&done.stderr));
    assert!(!data.exists(), "the measurement leaves nothing");
    let config = std::fs::read_to_string(&file).unwrap();
    for key in ["log.dirs", "shard.cpus", "shard.memory.bytes", "shard.io.depth", "shard.spin.us"] {
        assert!(config.lines().any(|l| l.starts_with(&format!("{key}="))), "{config}");
    }
    let page = serves(&file, &[]);
    assert!(page.contains(&data.display().to_string()), "{page}");
}

#[test]
fn every_profile_starts_a_broker_and_says_why_of_each_line() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "properties") {
            continue;
        }
        let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let page = serves(&path, &[format!("log.dirs={}", data.path().display()).as_str()]);
        assert!(!page.contains("has no effect"), "{page}");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut reason = false;
        for line in text.lines() {
            // A group of lines shares the reason above it.
            reason = line.starts_with('#') || reason && !line.is_empty();
            assert!(line.is_empty() || reason, "{}: {line}: why?", path.display());
        }
        found.push(path.file_stem().unwrap().to_string_lossy().into_owned());
    }
    found.sort();
    assert_eq!(found, ["durable", "latency", "small", "throughput"]);
}

#[test]
fn a_wrong_value_of_one_shard_is_said_with_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s.properties");
    std::fs::write(&file, "shard.count=1\nshard.0.io.depth=9999\n").unwrap();
    let done = spindle().args(["serve", "--config"]).arg(&file).output().unwrap();
    assert_eq!(done.status.code(), Some(2));
    let said = text(&done.stderr);
    let wanted = "s.properties:2: shard.0.io.depth=9999: Value must be no more than 4096 (allowed: 1 to 4096)";
    assert!(said.contains(wanted), "{said}");
}
