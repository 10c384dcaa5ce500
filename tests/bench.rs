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
    let shards = report["cpu"]["shards"].as_array().expect("where the shards' time went");
    assert_eq!(shards.len(), 2);
    for shard in shards {
        let of = |name: &str| shard[name].as_f64().expect("seconds");
        let tasks = ["network_s", "wire_s", "append_s", "disk_s", "fetch_s"];
        assert!(tasks.iter().all(|name| of(name) > 0.0), "{shard}");
        let parts = tasks.iter().chain(&["coordination_s", "other_s", "executor_s", "idle_s"]);
        let sum: f64 = parts.map(|name| of(name)).sum();
        assert!((sum - of("seconds")).abs() < 0.01 * of("seconds"), "{shard}: {sum}");
    }
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("the directory").flatten().collect();
    assert_eq!(left.len(), 1, "the broker's directory is gone: {left:?}");
}

#[test]
fn a_scenario_file_is_run_and_named_in_the_report() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let lines = [
        "title = \"A trickle\"",
        "question = \"Does a scenario run?\"",
        "shards = 1",
        "rate = 1000",
        "record-size = 200",
        "duration = 1",
        "warmup = 0.2",
        "partitions = 2",
        "json = \"report.json\"",
        "html = \"report.html\"",
        "override = [\"num.partitions=3\"]",
    ];
    std::fs::write(dir.path().join("trickle.toml"), lines.join("\n")).expect("a scenario");
    let out = bench(dir.path(), &["trickle.toml", "--set", "rate=2000", "--partitions", "3"]);
    let said = String::from_utf8_lossy(&out.stdout);
    let complained = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}\n{complained}");
    let text = std::fs::read_to_string(dir.path().join("report.json")).expect("the report");
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["scenario"]["name"], "A trickle");
    assert_eq!(report["scenario"]["question"], "Does a scenario run?");
    assert_eq!(report["scenario"]["file"], "trickle.toml");
    let command = report["command"].as_str().expect("a command");
    assert!(command.ends_with("bench trickle.toml --set rate=2000 --partitions 3"), "{command}");
    assert_eq!(report["configuration"]["rate_records_per_s"], 2000.0, "--set wins over the file");
    assert_eq!(report["configuration"]["partitions"], 3, "the command line wins over both");
    assert_eq!(report["configuration"]["record_size"], "200");
    assert_eq!(report["broker"]["overrides"][0], "num.partitions=3");
    let page = std::fs::read_to_string(dir.path().join("report.html")).expect("the page");
    assert!(page.contains("A trickle") && page.contains("</html>"));

    let both = ["report", "report.json", "report.json", "--html", "both.html"];
    let out = bench(dir.path(), &both);
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
    assert!(said.contains("records/s"), "{said}");
    assert!(dir.path().join("both.html").exists());
    std::fs::write(dir.path().join("wrong.json"), "{}").expect("a file");
    for wrong in [
        &["report"][..],
        &["report", "no-such.json"],
        &["report", "wrong.json"],
        &["report", "report.json", "--html", "no/such/folder.html"],
        &["report", "report.json", "--rate", "5"],
    ] {
        let out = bench(dir.path(), wrong);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && !said.is_empty(), "{wrong:?} was accepted");
        assert!(!said.contains("panicked"), "{wrong:?}: {said}");
    }
}

/// The scenarios that come with Spindle are read whole, with every option checked.
#[test]
fn every_scenario_in_perf_is_good() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in std::fs::read_dir(root.join("perf")).expect("perf/").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        count += 1;
        let name = path.display().to_string();
        let out = bench(root, &[&name, "--dry-run", "--bootstrap-server", "127.0.0.1:9092"]);
        let complained = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{name}: {complained}");
        let text = std::fs::read_to_string(&path).expect("a text");
        assert!(text.starts_with("# "), "{name}: opens with a comment that says what it is for");
    }
    assert!(count > 0, "no scenarios in perf/");
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
        &["no-such-scenario.toml"],
        &["--set", "rat=5"],
    ] {
        let out = bench(dir.path(), wrong);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success(), "{wrong:?} was accepted");
        assert!(!said.contains("panicked") && !said.trim().is_empty(), "{wrong:?}: {said}");
    }
}
