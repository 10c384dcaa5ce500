//! What is no broker, a broker that refuses, moves, throttles or dies: the words and the verdict.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use bytes::BytesMut;
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::protocol::Encodable;

use crate::common::{Broker, free_port};
use crate::{good, proxy, run, run_watched, workload};

/// Answers the first requests of each connection with these bytes (the correlation id is put in where
/// `Answer::Kafka` says so), then hangs up.
enum Answer {
    Raw(&'static [u8]),
    Kafka(Vec<u8>),
}

fn listener(answers: Vec<Answer>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut frame = [0; 4096];
            for answer in &answers {
                let n = client.read(&mut frame).unwrap_or(0);
                let out = match answer {
                    Answer::Raw(bytes) => bytes.to_vec(),
                    Answer::Kafka(body) => {
                        assert!(n >= 12, "a request");
                        let length = (4 + body.len() as u32).to_be_bytes();
                        [&length[..], &frame[8..12], body].concat()
                    }
                };
                let _ = client.write_all(&out);
            }
            // Whatever else was asked is read, so that the end is an end and no reset.
            let _ = client.read(&mut frame);
        }
    });
    address
}

/// An answer to ApiVersions v3 with these APIs and versions.
fn versions(apis: &[(i16, i16, i16)]) -> Answer {
    let keys = apis.iter().map(|&(key, min, max)| {
        ApiVersion::default().with_api_key(key).with_min_version(min).with_max_version(max)
    });
    let mut body = BytesMut::new();
    ApiVersionsResponse::default().with_api_keys(keys.collect()).encode(&mut body, 3).unwrap();
    Answer::Kafka(body.to_vec())
}

fn refused(bootstrap: String) -> String {
    let mut w = workload(bootstrap);
    w.request_timeout = Duration::from_secs(1);
    run(w).expect_err("this is no broker")
}

#[test]
fn what_is_no_broker_is_a_sentence() {
    let modern = [(3, 0, 13), (18, 0, 4), (19, 2, 7), (1, 4, 18), (0, 3, 13)];
    for (answers, part) in [
        (vec![], "does this listener want TLS or SASL?"),
        (vec![Answer::Raw(&[0x15, 3, 3, 0, 2, 2, 70])], "answers in TLS"),
        (vec![Answer::Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")], "web server"),
        (vec![Answer::Raw(b"SSH-2.0-OpenSSH_9.6\r\n")], "SSH server"),
        (vec![Answer::Raw(&[0xff; 64])], "is this a Kafka listener?"),
        (vec![Answer::Kafka(vec![0xff; 64])], "does not speak Kafka's protocol"),
        (vec![versions(&modern)], "does this listener want SASL?"),
        (vec![versions(&modern[1..])], "does not have Metadata"),
        (vec![versions(&[(3, 90, 91)])], "too new: it speaks versions 90 to 91 of Metadata"),
    ] {
        let said = refused(listener(answers));
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
    let said = refused(format!("127.0.0.1:{}", free_port()));
    assert!(said.contains("is a broker running there?"), "{said}");
}

#[test]
fn a_listener_that_never_answers_is_left_after_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let said = refused(silent.local_addr().unwrap().to_string());
    assert!(said.contains("did not answer ApiVersions within 1 s"), "{said}");
}

#[test]
fn a_topic_with_other_settings_is_refused_with_both_values() {
    let broker = Broker::own(&[]);
    let mut w = workload(broker.bootstrap());
    (w.keep_topic, w.duration) = (true, Duration::from_millis(200));
    w.topic_configs = vec![("retention.ms".to_string(), "3600000".to_string())];
    good(w.clone());
    // The same again is no difference.
    good(w.clone());
    w.topic_configs[0].1 = "7200000".to_string();
    let said = run(w.clone()).unwrap_err();
    assert!(said.contains("exists with retention.ms=3600000, not 7200000"), "{said}");
    w.topic_configs = vec![("no.such.setting".to_string(), "1".to_string())];
    let said = run(w.clone()).unwrap_err();
    assert!(said.contains("no setting no.such.setting"), "{said}");
    w.topic_configs.clear();
    w.partitions = Some(9);
    let said = run(w).unwrap_err();
    assert!(said.contains("exists with 4 partitions, not 9"), "{said}");
}

#[test]
fn a_broker_that_dies_in_the_middle_is_told_with_time_and_loss() {
    let mut broker = Broker::own(&[]);
    let mut w = workload(broker.bootstrap());
    w.duration = Duration::from_secs(30);
    w.replay_consumers = 1;
    let mut killed = false;
    let pid = broker.pid();
    let report = run_watched(w, Some(pid), &mut |_| {
        if !std::mem::replace(&mut killed, true) {
            broker.kill();
        }
    });
    let report = report.expect("a report of what was measured before");
    let failure = &report.failures[0];
    assert!(failure.at_s >= 0.9 && failure.at_s < 15.0, "{failure:?}");
    assert!(failure.sentence.contains("broker node"), "{failure:?}");
    assert!(report.stopped_early_s.is_some() && report.measured.produced_records > 0);
    let said = report.not_measured.join("\n");
    assert!(said.contains("the run ended at") && said.contains("of 30.0 s"), "{said}");
    assert!(!report.problems().is_empty());
    // Nobody can say that these are lost.
    assert_eq!(report.verification.lost, 0, "{:?}", report.verification);
}

/// A broker that advertises a listener of ours.
pub fn behind_proxy(change: proxy::Change) -> (Broker, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let broker = Broker::own(&[&format!("advertised.listeners=PLAINTEXT://{address}")]);
    proxy::start(listener, broker.address(), change);
    (broker, address.to_string())
}

/// After the correlation id and no tags.
pub const BODY: usize = 5;

#[test]
fn a_fetch_quota_is_obeyed_and_told() {
    let fetches = Arc::new(AtomicU32::new(0));
    let seen = fetches.clone();
    let (_broker, address) = behind_proxy(Arc::new(move |key, frame| {
        if key == 1 && seen.fetch_add(1, Relaxed) == 0 {
            frame[BODY..BODY + 4].copy_from_slice(&700i32.to_be_bytes());
        }
    }));
    let mut w = workload(address);
    w.consumers = 1;
    let report = good(w);
    let throttled = &report.throttled["Fetch"];
    assert_eq!((throttled.answers, throttled.total_s), (1, 0.7));
    // For that time the consumer was silent, and the records waited.
    let worst = report.end_to_end.expect("latencies").max_us;
    assert!(worst > 250_000.0, "{worst}");
    assert!(report.warnings.iter().any(|w| w.contains("quota") && w.contains("Fetch")));
}

/// In an answer to Produce v13: one topic by id, one partition.
const PRODUCE_PARTITION: usize = BODY + 1 + 16 + 1;

#[test]
fn a_produce_quota_is_obeyed_and_told() {
    let answers = Arc::new(AtomicU32::new(0));
    let seen = answers.clone();
    let (_broker, address) = behind_proxy(Arc::new(move |key, frame| {
        if key == 0 && seen.fetch_add(1, Relaxed) == 0 {
            // Before the last byte, which says that there are no tags.
            let at = frame.len() - 5;
            frame[at..at + 4].copy_from_slice(&700i32.to_be_bytes());
        }
    }));
    let mut w = workload(address);
    w.producers = 1;
    let report = good(w);
    let throttled = &report.throttled["Produce"];
    assert_eq!((throttled.answers, throttled.total_s), (1, 0.7));
    let worst = report.ack.expect("latencies").max_us;
    assert!(worst > 500_000.0, "{worst}");
    assert!(report.warnings.iter().any(|w| w.contains("quota") && w.contains("Produce")));
}

#[test]
fn a_partition_that_refuses_for_a_while_is_counted_and_does_not_end_the_run() {
    const NOT_LEADER_OR_FOLLOWER: i16 = 6;
    let refusals = Arc::new(AtomicU32::new(0));
    let seen = refusals.clone();
    let (_broker, address) = behind_proxy(Arc::new(move |key, frame| {
        if key == 0
            && frame[PRODUCE_PARTITION..PRODUCE_PARTITION + 4] == [0, 0, 0, 2]
            && seen.fetch_add(1, Relaxed) < 5
        {
            let error = PRODUCE_PARTITION + 4;
            frame[error..error + 2].copy_from_slice(&NOT_LEADER_OR_FOLLOWER.to_be_bytes());
        }
    }));
    let report = run(workload(address)).unwrap();
    assert_eq!(report.failures.len(), 0, "{:?}", report.failures);
    assert!(report.stopped_early_s.is_none());
    assert_eq!(report.errors["Produce: NOT_LEADER_OR_FOLLOWER"].count, 5);
    assert!(report.verification.records_acked > 1000);
    assert!(!report.problems().is_empty(), "errors make the run a failed one");
}

#[test]
fn what_is_forbidden_ends_the_run_and_names_the_topic() {
    const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
    let (_broker, address) = behind_proxy(Arc::new(move |key, frame| {
        if key == 0 {
            let error = PRODUCE_PARTITION + 4;
            frame[error..error + 2].copy_from_slice(&TOPIC_AUTHORIZATION_FAILED.to_be_bytes());
        }
    }));
    let w = workload(address);
    let topic = w.topic.clone();
    let report = run(w).unwrap();
    let said = &report.failures[0].sentence;
    assert!(said.contains(&topic) && said.contains("TOPIC_AUTHORIZATION_FAILED"), "{said}");
    assert!(said.contains("ACLs"), "{said}");
    assert!(report.failures[0].at_s < 1.0);
}
