//! `spindle bench` as a user runs it: the built binary, a broker in its process, a short load at a rate. What
//! it reports must add up, and in range mode no request may cross cores: the counter is in the report.

use std::process::{Command, Output};

fn bench(dir: &std::path::Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_spindle"))
        .arg("bench")
        .args(args)
        .current_dir(dir)
        .output()
        .expect("spindle bench runs")
}

#[test]
fn a_short_run_adds_up_and_nothing_crosses_cores() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let report = dir.path().join("report.json");
    let path = report.display().to_string();
    let options = ["--shards", "2", "--rate", "2000", "--duration", "1", "--warmup", "0.2"];
    let out = bench(dir.path(), &[&options[..], &["--json", &path]].concat());
    let said = String::from_utf8_lossy(&out.stdout);
    let complained = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}\n{complained}");
    let text = std::fs::read_to_string(&report).expect("the report");
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["broker"]["nodes"], 2, "one node a shard");
    assert_eq!(report["data_crossings"], 0, "requests crossed cores in range mode");
    let checked = &report["verification"];
    let sent = checked["records_sent"].as_u64().expect("a count");
    assert!(sent > 1000, "only {sent} records were sent");
    assert_eq!(checked["records_acked"], sent);
    assert_eq!(checked["records_read"], sent);
    for fault in ["lost", "duplicated", "reordered", "corrupted", "misplaced", "offset_gaps"] {
        assert_eq!(checked[fault], 0, "{fault}");
    }
    assert!(report["ack"]["p99_us"].as_f64().expect("a latency") > 0.0);
    assert!(said.contains("CPU") && said.contains("repeat with"), "{said}");
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("the directory").flatten().collect();
    assert_eq!(left.len(), 1, "the broker's directory is gone: {left:?}");
}

#[test]
fn wrong_options_are_one_sentence() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    for wrong in [
        &["--acks", "7"][..],
        &["--compression", "rar"],
        &["--record-size", "1"],
        &["--bootstrap-server", "127.0.0.1:1"],
        &["--override", "no.such.key=1"],
    ] {
        let out = bench(dir.path(), wrong);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success(), "{wrong:?} was accepted");
        assert!(!said.contains("panicked") && !said.trim().is_empty(), "{wrong:?}: {said}");
    }
}
