//! `spindle bench groups` against the built broker: every part is measured, nobody's answer is an error, no partition has
//! two owners; bad options get a sentence.

use std::process::{Command, Output};

use crate::common;

fn groups(server: &str, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_spindle"))
        .args(["bench", "groups", "--bootstrap-server", server])
        .args(more)
        .output()
        .expect("spindle bench groups runs")
}

#[test]
fn both_protocols_are_measured() {
    let broker = common::Broker::own(&["group.initial.rebalance.delay.ms=50"]);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("groups.json").display().to_string();
    for protocol in ["classic", "consumer"] {
        let small = ["--groups", "40", "--members", "12", "--partitions", "30", "--connections"];
        let short = ["9", "--duration", "0.3", "--heartbeat-interval-ms", "50", "--json", &path];
        let more = [&["--protocol", protocol], &small[..], &short[..]].concat();
        let out = groups(&broker.bootstrap(), &more);
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
        let text = std::fs::read_to_string(&path).expect("the report");
        let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(report["protocol"], protocol);
        let loads = report["loads"].as_array().expect("loads");
        assert_eq!(loads.len(), 4, "{loads:?}");
        for load in loads {
            assert!(load["requests"].as_u64() > Some(0), "{load}");
            assert_eq!(load["errors"], serde_json::json!({}), "{load}");
        }
        let changes = report["rebalances"].as_array().expect("rebalances");
        let members: Vec<_> = changes.iter().map(|c| c["members"].as_u64()).collect();
        assert_eq!(members, [Some(12), Some(13), Some(12)], "{changes:?}");
        for change in changes {
            assert!(change["took_ms"].as_f64() > Some(0.0), "{change}");
        }
        if protocol == "consumer" {
            for change in &changes[1..] {
                assert_eq!(change["interrupted"], 0, "nobody stops: {change}");
                // 30 partitions of 12 or 13 members: the one that comes or goes has two of them.
                assert_eq!(change["moved"], 2, "{change}");
            }
        }
    }
}

#[test]
fn a_part_may_be_left_out() {
    let broker = common::Broker::own(&["group.initial.rebalance.delay.ms=50"]);
    let common = ["--connections", "2", "--duration", "0.1", "--heartbeats-per-second", "0"];
    let out =
        groups(&broker.bootstrap(), &[&common[..], &["--groups", "3", "--members", "0"]].concat());
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
    assert!(said.contains("heartbeats, one in flight") && !said.contains("a second"), "{said}");
    let out =
        groups(&broker.bootstrap(), &[&common[..], &["--groups", "0", "--members", "3"]].concat());
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
    assert!(said.contains("one more joins: 4 members") && !said.contains("heartbeats,"), "{said}");
}

#[test]
fn bad_options_get_a_sentence() {
    let nobody = format!("127.0.0.1:{}", common::free_port());
    for (server, more, code, wanted) in [
        ("nowhere", &[][..], 2, "HOST:PORT is wanted"),
        ("127.0.0.1:x", &[], 2, "HOST:PORT is wanted"),
        (&nobody, &["--groups", "0", "--members", "0"], 2, "there is nothing to measure"),
        (&nobody, &["--duration", "0"], 2, "--duration"),
        (&nobody, &["--duration", "NaN"], 2, "--duration"),
        (&nobody, &["--heartbeats-per-second", "-1"], 2, "--heartbeats-per-second"),
        (&nobody, &["--protocol", "share"], 2, "classic"),
        (&nobody, &["--connections", "0"], 2, "--connections"),
        (&nobody, &["--broker-pid", "4194304"], 2, "no such process"),
        (&nobody, &["--members", "1"], 1, "no connection to"),
    ] {
        let out = groups(server, more);
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{server} {more:?}: {said}");
        assert!(said.contains(wanted), "{server} {more:?}: {said}");
        assert!(!said.contains("panicked"), "{server} {more:?}: {said}");
    }
}
