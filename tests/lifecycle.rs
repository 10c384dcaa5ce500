//! `spindle bench lifecycle` as a user runs it, with the built binary as the broker: every step is measured,
//! nothing is missing, no process is left; a broker that does not come up is told with its last lines.

use std::process::{Command, Output};

fn lifecycle(dir: &std::path::Path, broker: &str, port: u16, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_spindle"))
        .args(["bench", "lifecycle", "--broker-command", broker])
        .args(["--bootstrap-server", &format!("127.0.0.1:{port}")])
        .args(more)
        .current_dir(dir)
        .output()
        .expect("spindle bench lifecycle runs")
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[test]
fn every_step_is_measured_and_the_broker_is_gone() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let port = free_port();
    let broker = format!(
        "'{}' serve --override listeners=PLAINTEXT://127.0.0.1:{port} --override log.dirs=data",
        env!("CARGO_BIN_EXE_spindle")
    );
    let more = ["--partitions", "21", "--topics", "2", "--restarts", "2", "--json", "l.json"];
    let out = lifecycle(dir.path(), &broker, port, &more);
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
    let text = std::fs::read_to_string(dir.path().join("l.json")).expect("the report");
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["messages_acknowledged"], 5 * 21);
    assert_eq!(report["messages_missing"], 0);
    let figures = report["figures"].as_array().expect("figures");
    assert_eq!(figures.len(), 10, "{figures:?}");
    assert_eq!(figures[9]["values"].as_array().map(Vec::len), Some(2));
    assert!(figures.iter().all(|f| f["median"].as_f64() > Some(0.0)), "{figures:?}");
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "the broker still runs");
}

#[test]
fn a_broker_that_does_not_come_up_is_told_with_its_last_lines() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let broker = "sh -c 'echo the disk is on fire; exit 3'";
    let out = lifecycle(dir.path(), broker, free_port(), &[]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1));
    assert!(said.contains("the broker has ended") && said.contains("on fire"), "{said}");
}

#[test]
fn what_listens_already_is_not_measured() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let out = lifecycle(dir.path(), "true", port, &[]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("something listens"));
}
