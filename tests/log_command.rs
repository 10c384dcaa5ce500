//! `spindle log` from outside: exit codes, where output goes, JSON that parses, and that nothing is changed.
//! What is found in files is tested beside the code (`src/log/inspect/tests.rs`) and against directories that
//! Apache Kafka wrote (`tests/oracles/kafka-dirs`).

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

fn spindle(args: &[&str], path: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spindle"));
    command.arg("log").args(args).arg(path).output().unwrap()
}

/// A partition's directory with an epoch checkpoint and an empty log.
fn partition() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("orders-3");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("00000000000000000042.log"), b"").unwrap();
    fs::write(dir.join("leader-epoch-checkpoint"), "0\n1\n7 42\n").unwrap();
    root
}

#[test]
fn verify_exits_with_0_1_or_2() {
    let root = partition();
    let good = spindle(&["verify"], root.path());
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert!(String::from_utf8_lossy(&good.stdout).ends_with(": good\n"), "{good:?}");
    assert!(good.stderr.is_empty(), "no bar where there is no terminal: {good:?}");

    let epochs = root.path().join("orders-3/leader-epoch-checkpoint");
    fs::write(&epochs, "0\n1\n7 x\n").unwrap();
    let before = fs::metadata(&epochs).unwrap().modified().unwrap();
    let bad = spindle(&["verify"], root.path());
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    let text = String::from_utf8_lossy(&bad.stdout).into_owned();
    assert!(text.contains("orders-3/leader-epoch-checkpoint: byte 4: "), "{text}");
    assert_eq!(fs::metadata(&epochs).unwrap().modified().unwrap(), before);
    assert_eq!(fs::read_dir(root.path().join("orders-3")).unwrap().count(), 2);

    let json = spindle(&["verify", "--format", "json"], root.path());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["good"], &json["faults"][0]["position"]), (&false.into(), &4.into()));

    for wrong in [root.path().join("absent"), epochs] {
        assert_eq!(spindle(&["verify"], &wrong).status.code(), Some(2));
    }
    assert_eq!(spindle(&["verify", "--bogus"], root.path()).status.code(), Some(2));
}

#[test]
fn dump_is_text_or_one_json_document() {
    let root = partition();
    let text = spindle(&["dump"], root.path());
    assert_eq!(text.status.code(), Some(0), "{text:?}");
    assert!(String::from_utf8_lossy(&text.stdout).contains("\n  epoch: 7 startOffset: 42\n"));
    let json = spindle(&["dump", "--format", "json", "--deep-iteration"], root.path());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let files = json["files"].as_array().unwrap();
    assert_eq!(files.len(), 2);
    assert_eq!(files[1]["type"], "leader-epochs");
    assert_eq!(files[1]["items"][0]["start_offset"], 42);
    assert_eq!(files[1]["faults"], serde_json::json!([]));
    assert_eq!(spindle(&["dump"], &root.path().join("absent")).status.code(), Some(2));
    fs::write(root.path().join("orders-3/00000000000000000042.snapshot"), "?").unwrap();
    assert_eq!(spindle(&["dump"], root.path()).status.code(), Some(1));
}
