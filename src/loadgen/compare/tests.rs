//! Comparison: groups, medians, ratios, what differs; reports that can't be read; the schema's document.

use std::collections::BTreeSet;

use serde_json::Value;

use super::facts;
use super::figures::{Unit, bytes, ratio, ratio_words, significant};
use super::groups::{Spread, groups};
use super::read::parse;
use super::sample::{KAFKA, SPINDLE, Shape, full, report};
use super::text;
use crate::loadgen::report::Report;

/// The cells of the row that begins so.
fn cells(text: &str, name: &str) -> Vec<String> {
    let line = text.lines().find(|l| l.trim_start().starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no row {name} in\n{text}"));
    let cells = line.trim().split("  ").map(str::trim).filter(|c| !c.is_empty());
    cells.skip(1).map(str::to_string).collect()
}

fn with_rate(shape: Shape, mb_per_s: f64) -> Report {
    let mut r = report(shape);
    r.produced_mb_per_s = mb_per_s;
    r
}

#[test]
fn medians_of_odd_and_even_rounds() {
    let of = |values: &[f64]| Spread::of(values.to_vec());
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[3.0]), Some(Spread { median: 3.0, least: 3.0, most: 3.0, rounds: 1 }));
    let odd = Spread { median: 2.0, least: 1.0, most: 9.0, rounds: 3 };
    assert_eq!(of(&[9.0, 1.0, 2.0]), Some(odd));
    let even = Spread { median: 2.5, least: 1.0, most: 9.0, rounds: 4 };
    assert_eq!(of(&[9.0, 1.0, 2.0, 3.0]), Some(even));
}

#[test]
fn ratios_are_to_the_first_and_of_nothing_there_is_none() {
    assert_eq!(ratio(6.0, 2.0), Some(3.0));
    assert_eq!(ratio(6.0, 0.0), None);
    assert_eq!(ratio(f64::NAN, 2.0), None);
    assert_eq!(ratio(1e300, 1e-300), None);
    let words: Vec<String> = [1.0, 0.5, 0.0123, 4.731, 20.33, 312.4].map(ratio_words).to_vec();
    assert_eq!(words, ["1.00x", "0.50x", "0.0123x", "4.73x", "20.3x", "312x"]);
}

#[test]
fn rounds_are_grouped_and_the_ratio_is_of_medians() {
    let reports = [
        with_rate(SPINDLE, 100.0),
        with_rate(KAFKA, 50.0),
        with_rate(SPINDLE, 300.0),
        with_rate(KAFKA, 20.0),
        with_rate(SPINDLE, 200.0),
        with_rate(KAFKA, 80.0),
    ];
    let text = text(&reports);
    let row = cells(&text, "produced, MB/s");
    assert_eq!(row, ["200 (100 - 300)", "50.0 (20.0 - 80.0)", "0.25x"]);
    assert_eq!(cells(&text, "median (least - most) of"), ["3 rounds", "3 rounds"]);
    assert_eq!(cells(&text, "verdict"), ["good", "good"]);
}

#[test]
fn a_pair_has_every_row_that_was_asked_for() {
    let text = text(&[report(SPINDLE), report(KAFKA)]);
    assert_eq!(cells(&text, "p50"), ["900 µs", "2.10 ms", "2.33x"]);
    assert_eq!(cells(&text, "peak memory"), ["61.0 MB", "1.24 GB", "20.3x"]);
    for row in [
        "consumed, records/s",
        "p99.9",
        "CPU per GB produced",
        "CPU per million records",
        "CPU per produce request",
        "context switches",
        "failed requests",
    ] {
        assert_eq!(cells(&text, row).len(), 3, "{row}");
    }
    // No line runs out of its column: all rows of figures end at the same place.
    let ends: BTreeSet<usize> =
        text.lines().filter(|l| l.ends_with('x')).map(|l| l.chars().count()).collect();
    assert_eq!(ends.len(), 1, "{text}");
}

#[test]
fn what_differs_is_said_and_addresses_do_not_count() {
    let (a, mut b) = (report(SPINDLE), report(KAFKA));
    (b.broker.in_process, b.phases) = (true, a.phases.clone());
    b.configuration.bootstrap_server = "10.0.0.7:9092".to_string();
    b.configuration.topics = vec!["other".to_string()];
    assert!(!text(&[a.clone(), b.clone()]).contains("differs"));
    b.configuration.acks = "1".to_string();
    b.machine.kernel = "6.1.0".to_string();
    let text = text(&[a, b]);
    assert!(text.contains("differs: acks: Spindle all, Apache Kafka 4.3.1 1"), "{text}");
    assert!(text.contains("differs: kernel: Spindle 6.18.44, Apache Kafka 4.3.1 6.1.0"), "{text}");
    assert_eq!(text.matches("differs: ").count(), 2, "{text}");
}

#[test]
fn runs_of_one_broker_that_are_no_rounds_get_names_of_their_own() {
    let (a, mut b, mut c) = (report(SPINDLE), report(SPINDLE), report(SPINDLE));
    b.configuration.acks = "1".to_string();
    c.broker.overrides = vec!["shard.count=1".to_string()];
    c.configuration.seed = 2;
    let reports = [a.clone(), b, c];
    let labels: Vec<String> = groups(&reports).into_iter().map(|g| g.label).collect();
    assert_eq!(labels.iter().collect::<BTreeSet<_>>().len(), 3, "{labels:?}");
    assert!(labels[1].contains("acks 1"), "{labels:?}");
    // Another seed is another round of the same.
    let mut again = a.clone();
    again.configuration.seed = 7;
    let reports = [a, again];
    assert_eq!(groups(&reports).len(), 1);
    assert!(text(&reports).contains("differs: seed: Spindle 1 / 7"));
}

#[test]
fn a_search_makes_rounds_though_each_found_another_rate() {
    let (mut a, mut b) = (full(SPINDLE), full(SPINDLE));
    a.configuration.rate_records_per_s = 48_000.0;
    b.configuration.rate_records_per_s = 51_000.0;
    b.phases[1].rate = Some((51_000.0, 51_000.0));
    let reports = [a, b];
    assert_eq!(groups(&reports).len(), 1);
}

#[test]
fn verdicts_warnings_and_what_was_not_measured_are_said() {
    let text = text(&[full(SPINDLE), report(KAFKA)]);
    assert_eq!(cells(&text, "verdict"), ["FAILED", "good"]);
    assert!(text.contains("FAILED: Spindle: 3 acknowledged records were lost"), "{text}");
    assert!(text.contains("warning: Spindle: 120 records were due but not sent"), "{text}");
    assert!(text.contains("not measured: Spindle: the broker's queue"), "{text}");
    let mut unread = report(KAFKA);
    unread.verification.checked = false;
    let mut cut = report(SPINDLE);
    cut.interrupted = true;
    let text = super::text(&[cut, unread]);
    assert_eq!(cells(&text, "verdict"), ["interrupted", "good, not read back"]);
    assert_eq!(super::text(&[]), "");
}

#[test]
fn numbers_have_three_digits() {
    let words: Vec<String> =
        [0.0, 0.000_123_4, 0.5, 9.994, 9.996, 99.96, 999.4, 999.6, 1_234_567.0, -12.34]
            .map(significant)
            .to_vec();
    assert_eq!(
        words,
        ["0", "0.000123", "0.500", "9.99", "10.0", "100", "999", "1,000", "1,234,567", "-12.3"]
    );
    assert_eq!(bytes(999.0), "999 B");
    assert_eq!(bytes(61_000_000.0), "61.0 MB");
    assert_eq!(bytes(999_900_000.0), "1.00 GB");
    for unit in [Unit::Latency, Unit::Bytes, Unit::Percent, Unit::Count, Unit::Seconds, Unit::Plain]
    {
        assert_eq!(unit.words(f64::NAN), "-");
        assert_eq!(unit.words(f64::INFINITY), "-");
    }
}

/// The parser may be off in a number's last bit.
fn rounded(value: Value) -> Value {
    match value {
        Value::Number(n) if n.is_f64() => format!("{:.12e}", n.as_f64().unwrap()).into(),
        Value::Array(items) => items.into_iter().map(rounded).collect(),
        Value::Object(fields) => fields.into_iter().map(|(k, v)| (k, rounded(v))).collect(),
        other => other,
    }
}

#[test]
fn a_report_reads_back_as_it_was_written() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let r = full(SPINDLE);
    std::fs::write(file.path(), serde_json::to_vec_pretty(&r).unwrap()).unwrap();
    let back = Report::read(file.path()).unwrap();
    assert_eq!(
        rounded(serde_json::to_value(&back).unwrap()),
        rounded(serde_json::to_value(&r).unwrap())
    );
}

#[test]
fn files_that_are_no_report_are_refused_with_a_sentence() {
    let whole = serde_json::to_vec(&full(SPINDLE)).unwrap();
    let refused = |bytes: &[u8]| parse(bytes).unwrap_err();
    assert!(refused(b"").contains("is empty"));
    assert!(refused(b" \n").contains("is empty"));
    assert!(refused(b"hello").contains("is not a report"));
    assert!(refused(b"\xff\xfe\x00").contains("is not a report"));
    assert!(refused(b"[1, 2]").contains("is not a report"));
    assert!(refused(b"{\"format\": 2}").contains("is not a report"));
    assert!(refused(b"{\"configuration\": {}, \"measured\": {}}").contains("is not a report"));
    // Wherever it is cut.
    for end in [1, 20, whole.len() / 2, whole.len() - 1] {
        let why = refused(&whole[..end]);
        assert!(why.contains("ends in the middle"), "{end}: {why}");
    }
    let with = |change: fn(&mut Value)| {
        let mut value: Value = serde_json::from_slice(&whole).unwrap();
        change(&mut value);
        refused(&serde_json::to_vec(&value).unwrap())
    };
    let older = with(|v| v["format"] = 1.into());
    assert!(older.contains("format 1") && older.contains("run the benchmark again"), "{older}");
    let newer = with(|v| v["format"] = 99.into());
    assert!(newer.contains("format 99") && newer.contains("newer"), "{newer}");
    let holed = with(|v| v["cpu"] = "a lot".into());
    assert!(holed.contains("does not hold together"), "{holed}");
    let gone = Report::read("/nonexistent/run.json").unwrap_err();
    assert!(gone.starts_with("/nonexistent/run.json can't be read"), "{gone}");
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    assert!(parse("[".repeat(1_000_000).as_bytes()).is_err());
    assert!(parse("{\"a\":".repeat(1_000_000).as_bytes()).is_err());
}

#[test]
fn every_setting_is_a_fact() {
    let r = report(SPINDLE);
    let value = serde_json::to_value(&r.configuration).unwrap();
    let fields: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    let facts = facts::configuration(&r.configuration);
    assert_eq!(facts.iter().map(|f| f.field).collect::<BTreeSet<_>>(), fields);
}

/// Types that are in several places are documented once.
fn shared_type(field: &str, value: &Value) -> Option<&'static str> {
    match field {
        "ack" | "end_to_end" | "generator_lateness" => Some("Percentiles"),
        "whole_run" | "counts" => Some("Counts"),
        "measured" if value.is_object() => Some("Counts"),
        "ack_curve" | "end_to_end_curve" => Some("CurvePoint"),
        _ => None,
    }
}

fn fields(prefix: &str, value: &Value, found: &mut BTreeSet<String>) {
    let Some(object) = value.as_object() else { return };
    for (field, value) in object {
        // Of maps with keys of their own.
        let name = if ["errors.", "throttled."].contains(&prefix) { "{kind}" } else { field };
        let path = format!("{prefix}{name}");
        found.insert(path.clone());
        let inner = shared_type(field, value).map_or(path, str::to_string);
        match value {
            Value::Object(_) => fields(&format!("{inner}."), value, found),
            Value::Array(items) => {
                let list = if inner.starts_with("CurvePoint") { "." } else { "[]." };
                items.iter().for_each(|item| fields(&format!("{inner}{list}"), item, found));
            }
            _ => {}
        }
    }
}

#[test]
fn the_schema_document_names_every_field_and_no_other() {
    let value = serde_json::to_value(full(SPINDLE)).unwrap();
    let mut real = BTreeSet::new();
    fields("", &value, &mut real);
    let document = include_str!("../../../perf/report-schema.md");
    let rows = document.lines().filter_map(|l| l.strip_prefix("| `")?.split_once("` |"));
    let mut documented = BTreeSet::new();
    for (field, rest) in rows {
        assert!(documented.insert(field.to_string()), "{field} is there twice");
        let columns: Vec<&str> = rest.trim_end_matches('|').split(" | ").map(str::trim).collect();
        assert!(columns.len() == 3 && columns.iter().all(|c| !c.is_empty()), "{field}: {rest}");
    }
    let missing: Vec<_> = real.difference(&documented).collect();
    let stale: Vec<_> = documented.difference(&real).collect();
    assert!(missing.is_empty() && stale.is_empty(), "missing {missing:?}, stale {stale:?}");
}
