//! Several topics, many partitions with and without fetch sessions, replays, the search of a rate.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::bad_input::{BODY, behind_proxy};
use crate::common::Broker;
use crate::{good, run, run_watched, workload};

#[test]
fn several_topics_are_read_whole_and_deleted() {
    let broker = Broker::own(&[]);
    let mut w = workload(broker.bootstrap());
    (w.topics, w.partitions) = (3, Some(3));
    let report = good(w.clone());
    let names = [w.topic.clone(), format!("{}-2", w.topic), format!("{}-3", w.topic)];
    assert_eq!(report.configuration.topics, names);
    let v = &report.verification;
    assert!(v.checked && v.records_sent >= 1900, "{v:?}");
    assert_eq!((v.records_acked, v.records_read), (v.records_sent, v.records_sent));
    assert!(report.prepare.create_topics_ms.is_some());
    // They are gone: a second run makes them again.
    w.duration = Duration::from_millis(200);
    assert!(good(w).prepare.create_topics_ms.is_some());
}

#[test]
fn many_partitions_are_read_whole_with_and_without_sessions() {
    // 0: nobody gets a session. 1: one consumer does, the other does not.
    for slots in ["1000", "1", "0"] {
        let setting = format!("max.incremental.fetch.session.cache.slots={slots}");
        let broker = Broker::own(&[&setting]);
        let mut w = workload(broker.bootstrap());
        (w.topics, w.partitions) = (2, Some(100));
        // An answer holds few of them: each must have its turn.
        (w.fetch_bytes, w.fetch_partition_bytes) = (2_000, 1_000);
        let v = good(w).verification;
        assert_eq!(v.records_read, v.records_sent, "with {slots} slots");
    }
}

#[test]
fn a_replay_reads_what_was_there_before_beside_the_live_traffic() {
    let broker = Broker::own(&[]);
    let mut w = workload(broker.bootstrap());
    w.keep_topic = true;
    let before = good(w.clone()).verification.records_sent;
    w.replay_consumers = 2;
    w.replay_after = Duration::from_millis(300);
    let report = good(w);
    let replay = report.replay.expect("a replay");
    assert!(replay.records >= before, "{replay:?} after {before}");
    assert_eq!(replay.bytes, 200 * replay.records);
    assert!(replay.started_s >= 0.3 && replay.caught_up_s.expect("the end") >= replay.started_s);
    assert!(report.verification.foreign >= before, "the first run's records are another run's");
    assert_eq!(report.measured.consumed_records, report.measured.consumed_bytes / 200);
    assert_eq!(report.whole_run.replayed_records, replay.records);
}

#[test]
fn a_topic_is_read_from_the_start_with_nothing_else_going_on() {
    let broker = Broker::own(&[]);
    let mut w = workload(broker.bootstrap());
    w.keep_topic = true;
    let before = good(w.clone()).verification.records_sent;
    (w.producers, w.consumers, w.replay_consumers) = (0, 0, 2);
    w.duration = Duration::from_secs(60);
    let report = run_watched(w, Some(broker.pid()), &mut |_| {}).expect("a report");
    assert_eq!(report.problems(), [""; 0]);
    let replay = report.replay.as_ref().expect("a replay");
    assert_eq!(replay.records, before);
    assert!(replay.mb_per_s > 0.0 && replay.caught_up_s.is_some());
    // It ends when everything is read, and the figures are of that time.
    assert!(report.measured_s > 0.0 && report.measured_s < 20.0, "{}", report.measured_s);
    assert_eq!(report.measured.produced_records, 0);
    assert!(report.broker_cpu_s_per_gb_moved.is_some(), "CPU per GB consumed");
    assert!(report.text().contains("from the start, at the live end after"), "{}", report.text());
}

#[test]
fn a_replay_that_has_no_time_says_so() {
    let broker = Broker::own(&[]);
    let mut w = workload(broker.bootstrap());
    (w.replay_consumers, w.replay_after) = (1, Duration::from_secs(30));
    let report = good(w);
    let said = report.not_measured.join("\n");
    assert!(said.contains("4 of 4 partitions were not read to their live end"), "{said}");
}

#[test]
fn the_highest_rate_under_a_bound_is_searched() {
    let broker = Broker::own(&[]);
    let mut w = workload(broker.bootstrap());
    w.duration = Duration::from_millis(400);
    // Never over it: the search goes up to the full speed.
    w.find = Some("p99<60s".parse().expect("a bound"));
    let report = good(w.clone());
    assert_eq!(report.trials[0].rate_records_per_s, 0.0);
    assert!(report.trials[0].reason.contains("full speed"));
    let best = report.trials.iter().filter(|t| t.kept).map(|t| t.rate_records_per_s);
    let best = best.fold(0.0, f64::max);
    assert_eq!(report.configuration.rate_records_per_s, best, "{:?}", report.trials);
    assert!(report.text().contains("search of the highest rate"));
    // A bound that nothing keeps: every trial says why, and the run is not a good one.
    w.find = Some("p50<1us".parse().expect("a bound"));
    w.rate = 0.0;
    w.duration = Duration::from_millis(100);
    let report = run(w).expect("a report");
    assert!(report.trials.len() > 3 && report.trials.iter().all(|t| !t.kept));
    let over = report.trials.iter().any(|t| t.reason.contains("is over 1 µs"));
    assert!(over, "{:?}", report.trials);
    assert!(report.problems()[0].contains("no rate was found"), "{:?}", report.problems());
}

#[test]
fn a_prefill_is_read_from_the_start_and_checked_whole() {
    let broker = Broker::own(&[]);
    let mut w = workload(broker.bootstrap());
    (w.prefill, w.duration) = (20_000, Duration::from_secs(60));
    (w.producers, w.consumers, w.replay_consumers) = (0, 0, 2);
    let report = good(w.clone());
    let v = &report.verification;
    assert!(v.checked, "the replay is the check");
    assert_eq!((v.records_sent, v.records_acked, v.records_read), (20_000, 20_000, 20_000));
    let replay = report.replay.expect("a replay");
    assert_eq!((replay.records, replay.bytes), (20_000, 4_000_000));
    assert_eq!(report.whole_run.produced_records, 0, "writing it is not measured");
    assert_eq!(report.measured.replayed_records, 20_000);
    assert!(report.measured_s < 20.0 && report.stopped_early_s.is_none());
    // Beside live traffic: neither counts as the other's.
    (w.producers, w.consumers, w.duration) = (2, 2, Duration::from_secs(1));
    let report = good(w);
    let v = &report.verification;
    let live = report.whole_run.produced_records;
    assert_eq!(report.whole_run.consumed_records, live, "consumers begin behind the prefill");
    assert_eq!((v.records_sent, v.records_read), (20_000 + live, 20_000 + live));
    assert_eq!(v.foreign, 0);
}

#[test]
fn a_fetch_session_leaves_out_what_has_not_moved() {
    let sizes: Arc<Mutex<Vec<(i32, usize)>>> = Arc::default();
    let seen = sizes.clone();
    let (_broker, address) = behind_proxy(Arc::new(move |key, frame| {
        if key == 1 {
            // After throttle time and error code.
            let session = frame[BODY + 6..BODY + 10].try_into().unwrap();
            seen.lock().unwrap().push((i32::from_be_bytes(session), frame.len()));
        }
    }));
    let mut w = workload(address);
    (w.partitions, w.rate, w.consumers) = (Some(300), 50.0, 1);
    good(w);
    let sizes = sizes.lock().unwrap();
    assert!(sizes.iter().all(|(session, _)| *session != 0 && *session == sizes[0].0), "{sizes:?}");
    let later: Vec<usize> = sizes[1..].iter().map(|s| s.1).collect();
    let largest = later.iter().max().expect("more than one answer");
    assert!(sizes[0].1 > 10_000 && *largest < 10_000, "first {}, later {largest}", sizes[0].1);
}

#[test]
fn an_altered_record_is_seen_live_and_in_a_replay() {
    for replayed in [false, true] {
        let altered = AtomicBool::new(false);
        let (_broker, address) = behind_proxy(Arc::new(move |key, frame| {
            if key == 1 && frame.len() > 500 && !altered.swap(true, Relaxed) {
                // Behind the last record's value: its header count and three times no tags.
                let inside = frame.len() - 14;
                frame[inside] ^= 1;
            }
        }));
        let mut w = workload(address);
        w.partitions = Some(1);
        if replayed {
            (w.prefill, w.producers, w.consumers, w.replay_consumers) = (500, 0, 0, 1);
        }
        let report = run(w).expect("a report");
        assert_eq!(report.verification.corrupted, 1, "replayed: {replayed}");
        let problems = report.problems().join("\n");
        assert!(problems.contains("1 records were altered"), "{problems}");
    }
}
