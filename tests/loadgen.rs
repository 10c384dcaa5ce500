//! The load generator against a broker in this process, read back by librdkafka: what a workload asks for (phases,
//! keys, sizes, headers, a file's records, a number of records) is what lies in the topic, and the seed fixes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use spindle::config::BrokerConfig;
use spindle::loadgen::stamp::{STAMP_BYTES, Stamp};
use spindle::loadgen::{Report, Surroundings, Workload, run};
use spindle::node::{Node, free_port_range};
use spindle::types::Compression;

struct Broker {
    node: Option<Node>,
    bootstrap: String,
    _dir: tempfile::TempDir,
}

impl Broker {
    fn start(shards: usize) -> Broker {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let ports = free_port_range(shards, [127, 0, 0, 1].into()).expect("free ports");
        let range = if shards > 1 { format!("-{}", ports[shards - 1]) } else { String::new() };
        let config = BrokerConfig::load(
            None,
            &[
                format!("listeners=PLAINTEXT://127.0.0.1:{}{range}", ports[0]),
                format!("log.dirs={}", dir.path().join("data").display()),
                format!("shard.count={shards}"),
            ],
        );
        let node = Node::start(config.expect("a configuration")).expect("the broker starts");
        Broker { bootstrap: node.bootstrap()[0].to_string(), node: Some(node), _dir: dir }
    }

    fn workload(&self, topic: &str) -> Workload {
        Workload {
            bootstrap: self.bootstrap.clone(),
            topic: topic.to_string(),
            partitions: Some(4),
            keep_topic: true,
            sizes: "100".parse().unwrap(),
            duration: Duration::from_secs(60),
            linger: Duration::from_millis(2),
            batch_bytes: 16 << 10,
            request_timeout: Duration::from_secs(30),
            ..Workload::default()
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            node.stop();
        }
    }
}

fn good(workload: Workload) -> Report {
    let around = Surroundings {
        broker: None,
        broker_pid: None,
        broker_shard_times: None,
        interrupted: Arc::default(),
        command: String::new(),
        on_tick: &mut |_| {},
        on_ready: &mut |_| {},
    };
    let report = run(workload, around).expect("a report");
    assert_eq!(report.problems(), Vec::<String>::new());
    let v = &report.verification;
    assert_eq!((v.records_sent, v.records_sent), (v.records_acked, v.records_read), "{v:?}");
    report
}

struct Read {
    partition: i32,
    key: Option<String>,
    value: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
}

/// Everything in a topic, partition by partition.
fn read(broker: &Broker, topic: &str) -> Vec<Read> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &broker.bootstrap)
        .set("group.id", "nobody")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "10")
        .create()
        .expect("a consumer");
    let limit = Duration::from_secs(30);
    let metadata = consumer.fetch_metadata(Some(topic), limit).expect("metadata");
    let mut all = Vec::new();
    for partition in 0..metadata.topics()[0].partitions().len() as i32 {
        let (low, high) = consumer.fetch_watermarks(topic, partition, limit).expect("offsets");
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(topic, partition, Offset::Offset(low)).unwrap();
        consumer.assign(&assignment).unwrap();
        for _ in low..high {
            let message = consumer.poll(limit).expect("a record in time").expect("no error");
            let headers = message.headers().into_iter().flat_map(|h| h.iter());
            let header = |h: rdkafka::message::Header<'_, &[u8]>| {
                (h.key.to_string(), h.value.unwrap_or_default().to_vec())
            };
            all.push(Read {
                partition: message.partition(),
                key: message.key().map(|k| String::from_utf8(k.to_vec()).unwrap()),
                value: message.payload().unwrap_or_default().to_vec(),
                headers: headers.map(header).collect(),
            });
        }
    }
    all
}

#[test]
fn phases_have_their_own_figures_and_the_report_those_of_the_measured_ones() {
    let broker = Broker::start(1);
    let mut w = broker.workload("phases");
    w.warmup = Duration::from_millis(200);
    w.producers = 2;
    w.phases = [
        "name=base,duration=0.4,rate=500",
        "name=ramp,duration=0.5,rate=500..2000,measure=no",
        "name=spike,duration=0.3,rate=4000",
        "name=full,duration=0.3",
    ]
    .map(|p| p.parse().unwrap())
    .to_vec();
    let report = good(w);
    let names: Vec<_> = report.phases.iter().map(|p| (&p.name[..], p.measured)).collect();
    let wanted =
        [("warmup", false), ("base", true), ("ramp", false), ("spike", true), ("full", true)];
    assert_eq!(names, wanted);
    // Latencies belong to the phase in which a record was due: these are exact, however slow the machine.
    let samples: Vec<u64> = report.phases.iter().map(|p| p.ack.unwrap().samples).collect();
    assert_eq!(samples[..4], [100, 200, 625, 1200]);
    assert!(samples[4] > 0, "full speed made nothing");
    assert_eq!(samples.iter().sum::<u64>(), report.verification.records_sent);
    assert_eq!(report.unsent_records, 0);
    let measured: u64 = [1, 3, 4].iter().map(|i| samples[*i]).sum();
    assert_eq!(report.ack.unwrap().samples, measured);
    assert_eq!(report.end_to_end.unwrap().samples, measured);
    assert!((report.measured_s - 1.0).abs() < 1e-6, "{}", report.measured_s);
    let in_phases: u64 =
        report.phases.iter().filter(|p| p.measured).map(|p| p.counts.produced_records).sum();
    assert_eq!(report.measured.produced_records, in_phases);
    assert_eq!(report.whole_run.produced_bytes, 100 * report.verification.records_acked);
    assert_eq!(report.phases[2].rate, Some((500.0, 2000.0)));
    assert_eq!(report.phases[4].rate, None);
    assert!((report.phases[3].from_s - 1.1).abs() < 1e-6 && report.phases[3].to_s > 1.39);
    assert!(report.generator_lateness.is_some());
}

#[test]
fn keys_sizes_and_headers_lie_in_the_topics_as_asked() {
    let broker = Broker::start(2);
    let mut w = broker.workload("keyed");
    (w.topics, w.partitions, w.producers, w.consumers) = (2, Some(6), 3, 2);
    w.keys = "zipf:50:1.0".parse().unwrap();
    w.key_bytes = 7;
    w.sizes = "histogram:40=3,300=1".parse().unwrap();
    (w.headers, w.header_bytes) = (2, 9);
    w.arrivals = "poisson".parse().unwrap();
    w.rate = 20_000.0;
    w.compression = Compression::Lz4;
    w.idempotence = true;
    w.records = Some(3000);
    let report = good(w);
    assert_eq!(report.verification.records_sent, 3000);
    assert!(report.measured_s < 10.0, "the run ends with its records: {}", report.measured_s);
    let mut bytes = 0;
    for topic in ["keyed", "keyed-2"] {
        let records = read(&broker, topic);
        assert_eq!(records.len(), 1500, "the two topics are used in turn");
        let mut partition_of = BTreeMap::new();
        let mut count_of: BTreeMap<String, u32> = BTreeMap::new();
        let mut last = BTreeMap::new();
        for r in &records {
            let key = r.key.clone().expect("a key");
            assert_eq!(key.len(), 7);
            assert_eq!(*partition_of.entry(key.clone()).or_insert(r.partition), r.partition);
            let names: Vec<_> = r.headers.iter().map(|(n, v)| (&n[..], v.len())).collect();
            assert_eq!(names, [("h0", 9), ("h1", 9)]);
            assert!([40, 300].contains(&r.value.len()));
            bytes += r.value.len() as u64;
            let u64_at = |at: usize| u64::from_le_bytes(r.value[at..at + 8].try_into().unwrap());
            let producer = u32::from_le_bytes(r.value[8..12].try_into().unwrap());
            let before = last.insert((producer, key.clone()), u64_at(16));
            assert!(before < Some(u64_at(16)), "the records of a key are out of order");
            *count_of.entry(key).or_default() += 1;
        }
        assert!(partition_of.values().collect::<BTreeSet<_>>().len() > 3);
        // 1 in 4.5 records has the first key, half as many the second.
        let (first, second) = (count_of["0000000"], count_of["0000001"]);
        assert!(first.abs_diff(333) < 70 && second.abs_diff(167) < 52, "{first} {second}");
    }
    assert_eq!(report.whole_run.produced_bytes, bytes, "bytes of values, not their largest size");
    assert_eq!(report.whole_run.consumed_bytes, bytes);
}

#[test]
fn one_record_to_each_partition() {
    let broker = Broker::start(2);
    let mut w = broker.workload("each");
    (w.partitions, w.producers, w.records, w.batch_bytes) = (Some(61), 3, Some(61), 1);
    let report = good(w);
    assert_eq!(report.whole_run.produced_batches, 61);
    let partitions: Vec<i32> = read(&broker, "each").iter().map(|r| r.partition).collect();
    assert_eq!(partitions, (0..61).collect::<Vec<_>>());
}

#[test]
fn a_files_lines_are_the_records() {
    let broker = Broker::start(1);
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "one\n\ntwo and a half\nthree").unwrap();
    let mut w = broker.workload("lines");
    w.payload = format!("file:{}", file.path().display()).parse().unwrap();
    w.sizes = "file".parse().unwrap();
    w.records = Some(30);
    let report = good(w);
    let records = read(&broker, "lines");
    let mut counts: BTreeMap<&[u8], u32> = BTreeMap::new();
    records.iter().for_each(|r| *counts.entry(&r.value[STAMP_BYTES..]).or_default() += 1);
    let wanted: [(&[u8], u32); 3] = [(b"one", 10), (b"three", 10), (b"two and a half", 10)];
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), wanted);
    assert_eq!(report.whole_run.produced_bytes, 30 * 32 + 10 * (3 + 5 + 14));
}

/// Key, payload and due time (since the first) of all records.
type Story = Vec<(i32, Option<String>, Vec<u8>, u64)>;

fn story(broker: &Broker, topic: &str, seed: u64) -> Story {
    let mut w = broker.workload(topic);
    w.keys = "uniform:1000".parse().unwrap();
    w.sizes = "uniform:50-500".parse().unwrap();
    w.arrivals = "poisson".parse().unwrap();
    w.phases = vec!["name=ramp,duration=5,rate=100..5000".parse().unwrap()];
    (w.seed, w.records) = (seed, Some(400));
    good(w);
    let records = read(broker, topic);
    let due = |r: &Read| Stamp::read(&r.value, [r.key.as_ref().unwrap().as_bytes(), b""]);
    let due = |r: &Read| due(r).expect("a stamp").intended_ns;
    let first = records.iter().map(due).min().unwrap();
    let told = records
        .iter()
        .map(|r| (r.partition, r.key.clone(), r.value[STAMP_BYTES..].to_vec(), due(r) - first));
    told.collect()
}

#[test]
fn a_seed_fixes_keys_sizes_payloads_and_arrival_times() {
    let broker = Broker::start(1);
    let first = story(&broker, "a", 7);
    assert_eq!(first.len(), 400);
    assert!(first == story(&broker, "b", 7), "the same seed made another load");
    assert!(first != story(&broker, "c", 8), "another seed made the same load");
}
