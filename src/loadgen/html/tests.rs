//! What must hold of every page: well-formed, nothing loaded from elsewhere, nothing of a report is markup,
//! no number that is none; long runs stay small and keep their worst moments; short ones have axes.

use roxmltree::{Document, ParsingOptions};
use serde_json::Value;

use super::page;
use super::plot::{Keep, Line, POINTS_MAX};
use super::scale::{Counted, Scale, moment, short};
use crate::loadgen::compare;
use crate::loadgen::compare::sample::{KAFKA, SPINDLE, Shape, full, report};
use crate::loadgen::report::{Percentiles, Report};

fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    match Document::parse_with_options(page, options) {
        Ok(document) => document,
        Err(e) => panic!("not well-formed: {e}"),
    }
}

fn words(page: &str) -> String {
    let document = parsed(page);
    let of_ours = |n: &roxmltree::Node| {
        n.ancestors().any(|a| a.has_tag_name("style") || a.has_tag_name("script"))
    };
    let texts = document.descendants().filter(|n| n.is_text() && !of_ours(n));
    texts.filter_map(|n| n.text()).collect::<Vec<_>>().join("\n")
}

fn seconds(seconds: usize) -> Report {
    report(Shape { seconds, ..SPINDLE })
}

/// Nobody answered, nobody read, the broker is elsewhere.
fn blind() -> Report {
    let mut r = report(KAFKA);
    r.configuration.acks = "0".to_string();
    r.configuration.consumers = 0;
    (r.ack, r.end_to_end) = (None, None);
    (r.ack_curve, r.end_to_end_curve) = (Vec::new(), Vec::new());
    (r.cpu.broker_s, r.broker_cpu_s_per_gb_produced) = (None, None);
    r.broker_peak_rss_bytes = None;
    r.verification.checked = false;
    for tick in &mut r.ticks {
        (tick.ack, tick.end_to_end, tick.broker) = (None, None, None);
    }
    r
}

/// A run that ended before its first second.
fn nothing() -> Report {
    let mut r = seconds(1);
    (r.ticks, r.phases) = (Vec::new(), Vec::new());
    (r.ack_curve, r.end_to_end_curve) = (Vec::new(), Vec::new());
    (r.ack, r.end_to_end) = (None, None);
    r
}

fn each_value(value: &mut Value, change: &dyn Fn(&mut Value)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|v| each_value(v, change)),
        Value::Object(fields) => fields.values_mut().for_each(|v| each_value(v, change)),
        leaf => change(leaf),
    }
}

fn changed(r: &Report, change: &dyn Fn(&mut Value)) -> Report {
    let mut value = serde_json::to_value(r).unwrap();
    each_value(&mut value, change);
    serde_json::from_value(value).unwrap()
}

fn all_kinds() -> Vec<Vec<Report>> {
    let renamed = |i: usize| {
        let mut r = report(KAFKA);
        r.broker.name = format!("broker {i}");
        r
    };
    vec![
        vec![],
        vec![report(SPINDLE)],
        vec![full(SPINDLE)],
        vec![report(Shape { shards: 64, ..SPINDLE })],
        vec![seconds(1)],
        vec![nothing()],
        vec![blind()],
        vec![report(SPINDLE), report(KAFKA)],
        vec![report(SPINDLE), report(KAFKA), report(SPINDLE), report(KAFKA)],
        vec![report(SPINDLE), report(SPINDLE)],
        vec![blind(), nothing(), full(KAFKA)],
        (0..8).map(renamed).collect(),
    ]
}

#[test]
fn every_page_is_well_formed_and_needs_nothing_else() {
    for reports in all_kinds() {
        let page = page(&reports);
        let document = parsed(&page);
        assert!(document.descendants().any(|n| n.has_tag_name("h1")));
        for loads in ["http:", "https:", "src=", "url(", "@import", "<link", "<iframe"] {
            assert!(!page.contains(loads), "{loads}");
        }
        assert_numbers(&words(&page));
    }
}

fn assert_numbers(text: &str) {
    let word = |w: &str| w.trim_matches(|c: char| !c.is_alphabetic()).to_lowercase();
    let wrong =
        text.split_whitespace().find(|w| ["nan", "inf", "infx"].contains(&word(w).as_str()));
    assert_eq!(wrong, None, "in {text}");
}

#[test]
fn no_text_of_a_report_becomes_markup() {
    const EVIL: &str = "</script><img src=x onerror='alert(1)'>\"]]>&amp;\u{0}\u{1b}[31m";
    let hostile = changed(&full(SPINDLE), &|v| {
        if v.is_string() {
            *v = EVIL.into();
        }
    });
    let mut other = hostile.clone();
    other.configuration.acks = "<b>1</b>".to_string();
    for reports in [vec![hostile.clone()], vec![hostile, other]] {
        let page = page(&reports);
        let document = parsed(&page);
        for node in document.descendants().filter(|n| n.is_element()) {
            let name = node.tag_name().name();
            assert!(!["img", "b1"].contains(&name));
            assert!(node.attributes().all(|a| !a.name().starts_with("on")), "{name}");
        }
        let scripts = document.descendants().filter(|n| n.has_tag_name("script")).count();
        assert_eq!(scripts, 1);
        // An HTML parser, too, sees one end of one script.
        assert_eq!(page.matches("</script").count(), 1);
        assert!(words(&page).matches("<img src=x").count() > 20);
    }
}

#[test]
fn numbers_that_are_none_are_never_printed() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1e300] {
        let mut r = full(SPINDLE);
        let p = Percentiles {
            samples: 0,
            mean_us: bad,
            p50_us: bad,
            p90_us: bad,
            p99_us: bad,
            p999_us: bad,
            p9999_us: bad,
            max_us: bad,
        };
        (r.ack, r.end_to_end) = (Some(p), Some(p));
        r.measured_s = bad;
        (r.produced_records_per_s, r.produced_mb_per_s) = (bad, bad);
        (r.consumed_records_per_s, r.consumed_mb_per_s) = (bad, bad);
        r.broker_cpu_s_per_gb_produced = Some(bad);
        r.broker_cpu_us_per_record = Some(bad);
        (r.cpu.seconds, r.cpu.broker_s) = (bad, Some(bad));
        r.configuration.rate_records_per_s = bad;
        (r.configuration.duration_s, r.configuration.linger_ms) = (bad, bad);
        (r.prepare.connect_ms, r.prepare.leaders_ms) = (bad, bad);
        r.stopped_early_s = Some(bad);
        for point in &mut r.ack_curve {
            point.us = bad;
        }
        r.end_to_end_curve[3].quantile = bad;
        for trial in &mut r.trials {
            (trial.latency_us, trial.rate_records_per_s) = (bad, bad);
        }
        for phase in &mut r.phases {
            (phase.from_s, phase.produced_mb_per_s, phase.rate) = (bad, bad, Some((bad, bad)));
            (phase.ack, phase.broker_cpu_percent) = (Some(p), Some(bad));
        }
        if let Some(replay) = &mut r.replay {
            (replay.started_s, replay.mb_per_s) = (bad, bad);
        }
        for tick in r.ticks.iter_mut().skip(5) {
            (tick.ack, tick.produced_records_per_s, tick.at_s) = (Some(p), bad, bad);
            (tick.generator_cpu_percent, tick.intended_records_per_s) = (bad, Some(bad));
            if let Some(broker) = &mut tick.broker {
                broker.cpu_percent = bad;
                broker.shards[0].cpu_percent = bad;
            }
        }
        for reports in [vec![r.clone()], vec![report(KAFKA), r.clone()], vec![r.clone(), r]] {
            let page = page(&reports);
            assert_numbers(&words(&page));
            let document = parsed(&page);
            for attribute in document.descendants().flat_map(|n| n.attributes()) {
                let numeric = ["d", "points", "style"].contains(&attribute.name())
                    || attribute.name().starts_with("data-y")
                    || attribute.name().starts_with("data-x");
                let value = attribute.value();
                assert!(!numeric || !value.contains("NaN") && !value.contains("inf"), "{value}");
            }
            assert_numbers(&compare::text(&reports));
        }
    }
}

#[test]
fn thinning_keeps_the_worst_and_says_what_it_did() {
    let mut r = seconds(10_800);
    let spike = 7_777;
    r.ticks[spike].ack.as_mut().unwrap().p999_us = 5_123_000.0;
    let points: Vec<(f64, Option<f64>)> =
        r.ticks.iter().map(|t| (t.at_s, t.ack.map(|p| p.p999_us))).collect();
    let line = Line::new("p99.9", "c0", &points, Keep::Most);
    assert!(line.points.len() <= POINTS_MAX && line.points.len() > POINTS_MAX / 2);
    let top = line.points.iter().flatten().max_by(|a, b| a.y.total_cmp(&b.y)).unwrap();
    assert_eq!(top.y, 5_123_000.0);
    assert!((top.x - r.ticks[spike].at_s).abs() <= line.thinned as f64);
    let whole = page(&[r]);
    assert!(whole.len() < 600_000, "{}", whole.len());
    assert!(words(&whole).contains("Each point stands for 19 readings: the highest of them."));
    // The axis has room for it.
    assert!(words(&whole).contains("\n10 s\n") || words(&whole).contains("\n5 s\n"));
}

#[test]
fn thinned_rates_are_means_between_their_least_and_most() {
    let points: Vec<(f64, Option<f64>)> = (0..1200)
        .map(|i| (i as f64, (i != 5).then_some(if i % 2 == 0 { 10.0 } else { 30.0 })))
        .collect();
    let line = Line::new("rate", "c0", &points, Keep::Mean);
    assert_eq!((line.points.len(), line.thinned), (600, 2));
    let first = line.points[0].unwrap();
    assert_eq!((first.x, first.y, first.least, first.most), (0.5, 20.0, 10.0, 30.0));
    // Half of the third bucket was not measured.
    assert_eq!(line.points[2].unwrap().y, 10.0);
}

#[test]
fn a_gap_is_no_line_and_a_lone_point_a_dot() {
    let mut r = seconds(6);
    for (i, tick) in r.ticks.iter_mut().enumerate() {
        if i != 1 && i < 4 {
            tick.end_to_end = None;
        }
    }
    let page = page(&[r]);
    let document = parsed(&page);
    let path = document
        .descendants()
        .filter(|n| n.attribute("data-label") == Some("p99.9"))
        .nth(1)
        .and_then(|n| n.attribute("d"))
        .unwrap();
    assert_eq!(path.matches('M').count(), 2, "{path}");
    assert_eq!(path.matches("h0").count(), 1, "{path}");
}

#[test]
fn what_is_missing_is_said_in_its_place() {
    let text = words(&page(&[blind()]));
    for sentence in [
        "Not measured: acks=0 has no answers.",
        "Not measured: no consumers read it back.",
        "Not measured: the broker runs elsewhere; --broker-pid reads one on this machine.",
        "without consumers nobody checked the records",
    ] {
        assert!(text.contains(sentence), "{sentence} in {text}");
    }
    let text = words(&page(&[report(SPINDLE), blind()]));
    assert!(text.contains("Not here: Apache Kafka 4.3.1 (acks=0 has no answers)."), "{text}");
}

#[test]
fn one_page_says_all_of_a_run_that_failed() {
    let r = full(SPINDLE);
    let text = words(&page(std::slice::from_ref(&r)));
    let said = [
        "failed",
        "At 41.0 s: ",
        "3 acknowledged records were lost",
        "NOT_LEADER_OR_FOLLOWER (Produce)",
        "120 records were due but not sent",
        "the broker's queue: it is not a Spindle in this process",
        "p99 of 61 ms is over 10 ms",
        "They had reached the live end 17.2 s later, at 38.2 s.",
        "spindle bench perf/steps.toml --rate 48000 --json run.json",
        "QEMU NVMe, 100 GB, ext4 rw,relatime",
        "5e7f153aa10c",
        "6.18.44",
        "log.flush.interval.messages=1",
        "What does a step to twice the rate do to latency?",
    ];
    for words in said {
        assert!(text.contains(words), "{words} in {text}");
    }
}

#[test]
fn several_runs_have_ratios_bars_and_what_was_different() {
    let (a, mut b) = (report(SPINDLE), report(KAFKA));
    b.configuration.acks = "1".to_string();
    b.broker_peak_rss_bytes = Some(a.broker_peak_rss_bytes.unwrap() * 4);
    let page = page(&[a, b]);
    let text = words(&page);
    assert!(text.contains("What was different") && text.contains("acks\nall\n1"), "{text}");
    assert!(text.contains("4.00×"), "{text}");
    // The bar of the first is a quarter as long.
    assert!(page.contains("width:25.0%") && page.contains("width:100.0%"));
}

#[test]
fn ticks_are_few_round_and_inside() {
    let labels = |scale: Scale, counted| -> Vec<String> {
        let ticks = scale.ticks(counted);
        assert!(ticks.iter().all(|t| (0.0..=1.0).contains(&t.at)), "{scale:?} {ticks:?}");
        ticks.into_iter().map(|t| t.label).filter(|l| !l.is_empty()).collect()
    };
    let linear = Scale::linear([3.0, 47.0].into_iter());
    assert_eq!(labels(linear, Counted::Number), ["0", "10", "20", "30", "40", "50"]);
    let log = Scale::log([800.0, 45_000.0].into_iter());
    assert_eq!(log, Scale::Log { from: 500.0, to: 50_000.0 });
    let expected = ["500 µs", "1 ms", "2 ms", "5 ms", "10 ms", "20 ms", "50 ms"];
    assert_eq!(labels(log, Counted::Latency), expected);
    assert_eq!(labels(Scale::time(3.0), Counted::Number)[..3], ["0", "0.5", "1"]);
    let hours = labels(Scale::time(10_800.0), Counted::Number);
    assert_eq!(hours, ["0:00", "0:30", "1:00", "1:30", "2:00", "2:30", "3:00"]);
    let nines = labels(Scale::nines(0.9995), Counted::Number);
    assert_eq!(nines, ["50 %", "90 %", "99 %", "99.9 %"]);
    for scale in [
        Scale::linear([].into_iter()),
        Scale::linear([f64::NAN, f64::INFINITY].into_iter()),
        Scale::linear([1e-9].into_iter()),
        Scale::linear([1e300].into_iter()),
        Scale::log([].into_iter()),
        Scale::log([0.0, -4.0].into_iter()),
        Scale::log([5.0].into_iter()),
        Scale::log([1e-3, 1e15].into_iter()),
        Scale::time(0.0),
        Scale::time(f64::NAN),
        Scale::time(31.0 * 86_400.0),
        Scale::nines(0.0),
        Scale::nines(1.0),
    ] {
        let labels = labels(scale, Counted::Latency);
        assert!((2..=12).contains(&labels.len()), "{scale:?}: {labels:?}");
    }
    // All values have a place, the largest below the top.
    let scale = Scale::log([7.0, 993.0].into_iter());
    assert!(scale.place(7.0) >= Some(0.0) && scale.place(993.0) <= Some(1.0));
    assert!(scale.place(7.0) < scale.place(70.0) && scale.place(70.0) < scale.place(993.0));
}

#[test]
fn numbers_of_axes_are_short() {
    assert_eq!(short(0.5), "0.5");
    assert_eq!(short(1_500.0), "1,500");
    assert_eq!(short(250_000.0), "250 k");
    assert_eq!(short(1_500_000.0), "1.5 M");
    assert_eq!(moment(12.34), "12.3 s");
    assert_eq!(moment(754.0), "12 min 34 s");
    assert_eq!(moment(10_860.0), "3 h 01 min");
}

/// To look at: `perf/screenshot target/tmp/report-pair.html pair.png`.
#[test]
fn pages_are_left_to_be_looked_at() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tmp");
    std::fs::create_dir_all(&dir).unwrap();
    for (name, reports) in
        [("run", vec![full(SPINDLE)]), ("pair", vec![report(SPINDLE), report(KAFKA)])]
    {
        let file = dir.join(format!("report-{name}.html"));
        std::fs::write(&file, page(&reports)).unwrap();
        assert!(file.metadata().unwrap().len() > 10_000);
    }
}
