//! Real kill -9 at random moments, while librdkafka writes with acks=all: see `tests/kill9/run`.
//! Two producers write all the time: an idempotent one with five requests in flight, and a plain one with
//! one (more would let its own retries reorder). One kill in five hits the broker while it starts. Between
//! a kill and the restart the dead directory is now and then checked with `spindle log verify`.
//! Each record names its number and carries bytes that follow from it, so one look tells what it is.

#[path = "../common/mod.rs"]
mod common;

use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use common::{Broker, binary};

const PARTITIONS: usize = 6;
const TOPICS: [&str; 2] = ["idempotent", "plain"];
/// Records a second of each producer, so that hundreds of kills leave what can be read back.
const RECORDS_PER_MS: usize = 3;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// The value of a record: its number, and up to 1,500 bytes that follow from it.
fn value(number: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(number as u64);
    let mut bytes = (number as u64).to_be_bytes().to_vec();
    let len = if number.is_multiple_of(50) { 1500 } else { random.usize(0..200) };
    bytes.resize_with(8 + len, || random.u8(b'a'..=b'p'));
    bytes
}

#[derive(Default)]
struct Deliveries {
    /// Number -> partition and offset (-1: a duplicate whose offset is not known any more).
    acked: HashMap<usize, (i32, i64)>,
    failed: Vec<String>,
}

#[derive(Clone, Default)]
struct Context(Arc<Mutex<Deliveries>>);

impl ClientContext for Context {
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: rdkafka::error::KafkaError, _: &str) {}
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<usize>;
    fn delivery(&self, result: &DeliveryResult<'_>, number: Box<usize>) {
        let mut deliveries = self.0.lock().unwrap();
        match result {
            Ok(m) => {
                let before = deliveries.acked.insert(*number, (m.partition(), m.offset()));
                assert!(before.is_none(), "record {number} was acknowledged twice");
            }
            Err((e, _)) => deliveries.failed.push(format!("record {number}: {e}")),
        }
    }
}

/// Writes until told to stop, then until all is acknowledged; the number of records sent.
fn produce(bootstrap: &str, topic: &str, context: Context, stop: &AtomicBool) -> usize {
    let mut config = ClientConfig::new();
    let idempotent = topic == TOPICS[0];
    for (key, value) in [
        ("bootstrap.servers", bootstrap),
        ("acks", "all"),
        ("enable.idempotence", if idempotent { "true" } else { "false" }),
        ("max.in.flight.requests.per.connection", if idempotent { "5" } else { "1" }),
        ("compression.type", if idempotent { "lz4" } else { "none" }),
        ("linger.ms", "2"),
        ("message.timeout.ms", "300000"),
        ("message.send.max.retries", "1000000"),
        ("request.timeout.ms", "5000"),
        ("socket.timeout.ms", "10000"),
        ("retry.backoff.ms", "20"),
        ("retry.backoff.max.ms", "50"),
        ("reconnect.backoff.ms", "10"),
        ("reconnect.backoff.max.ms", "50"),
        ("queue.buffering.max.messages", "20000"),
    ] {
        config.set(key, value);
    }
    let producer: BaseProducer<Context> = config.create_with_context(context).unwrap();
    let mut next = 0;
    while !stop.load(Relaxed) {
        for _ in 0..RECORDS_PER_MS {
            let bytes = value(next);
            let record = BaseRecord::<(), [u8], _>::with_opaque_to(topic, Box::new(next))
                .payload(&bytes)
                .partition((next % PARTITIONS) as i32);
            // A full queue is the broker's absence: the record is made again.
            if producer.send(record).is_ok() {
                next += 1;
            }
        }
        producer.poll(Duration::from_millis(1));
    }
    producer.flush(Duration::from_secs(120)).expect("all is acknowledged in the end");
    next
}

/// All values of a partition, in offset order; offsets must be dense from 0.
fn read(bootstrap: &str, topic: &str, partition: i32) -> Vec<Vec<u8>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "not-joined");
    config.set("enable.auto.commit", "false").set("auto.offset.reset", "error");
    let consumer: BaseConsumer = config.set("check.crcs", "true").create().unwrap();
    let (low, high) =
        consumer.fetch_watermarks(topic, partition, Duration::from_secs(30)).expect("watermarks");
    assert_eq!(low, 0);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(0)).unwrap();
    consumer.assign(&list).unwrap();
    let mut values = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(120);
    while (values.len() as i64) < high {
        assert!(Instant::now() < deadline, "{topic}-{partition} stands at {}", values.len());
        let Some(message) = consumer.poll(Duration::from_millis(200)) else { continue };
        let message = message.expect("a record");
        assert_eq!(message.offset(), values.len() as i64, "a hole in {topic}-{partition}");
        values.push(message.payload().unwrap_or_default().to_vec());
    }
    values
}

#[derive(Debug, Default)]
struct Counts {
    sent: usize,
    acknowledged: usize,
    read: usize,
    doubled: usize,
    lost: usize,
    altered: usize,
    reordered: usize,
}

fn check(bootstrap: &str, topic: &str, sent: usize, deliveries: &Deliveries) -> Counts {
    let mut counts = Counts { sent, acknowledged: deliveries.acked.len(), ..Counts::default() };
    let mut seen = vec![0u32; sent];
    for partition in 0..PARTITIONS as i32 {
        let values = read(bootstrap, topic, partition);
        counts.read += values.len();
        let mut newest = None;
        for bytes in &values {
            let number =
                bytes.first_chunk().map_or(usize::MAX, |b| u64::from_be_bytes(*b) as usize);
            if number >= sent || *bytes != value(number) {
                counts.altered += 1;
                continue;
            }
            seen[number] += 1;
            // A retry of the plain producer may come again; what comes for the first time is in order.
            if seen[number] > 1 {
                counts.doubled += 1;
            } else if newest.is_some_and(|newest| number < newest) {
                counts.reordered += 1;
            } else {
                newest = Some(number);
            }
        }
        for (number, (_, offset)) in deliveries.acked.iter().filter(|(_, at)| at.0 == partition) {
            let there = usize::try_from(*offset).map_or(seen[*number] > 0, |at| {
                values.get(at).is_some_and(|bytes| *bytes == value(*number))
            });
            counts.lost += usize::from(!there);
        }
    }
    counts
}

fn verify(broker: &Broker, when: &str) {
    let mut command = Command::new(binary());
    let output = command.args(["log", "verify", "--all"]).arg(broker.data_dir()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "spindle log verify {when}:\n{text}");
}

#[test]
#[ignore = "minutes of kills: run by tests/kill9/run"]
fn nothing_acknowledged_is_lost_altered_doubled_or_reordered() {
    let kills = setting("SPINDLE_KILLS", 200);
    let seed = setting("SPINDLE_KILL_SEED", 1);
    let mut random = fastrand::Rng::with_seed(seed);
    // Small segments, so that kills hit rolls, and checkpoints often enough to be hit as well.
    let mut broker = Broker::own(&[
        "log.segment.bytes=1048576",
        "log.flush.offset.checkpoint.interval.ms=300",
        "log.index.interval.bytes=1024",
    ]);
    let bootstrap = broker.bootstrap();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &bootstrap).create().unwrap();
    let topics = TOPICS.map(|t| NewTopic::new(t, PARTITIONS as i32, TopicReplication::Fixed(1)));
    let created = admin.create_topics(&topics, &AdminOptions::new());
    futures::executor::block_on(created).unwrap().into_iter().for_each(|r| drop(r.unwrap()));

    let stop = AtomicBool::new(false);
    let sent = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let contexts = [Context::default(), Context::default()];
    let (mut in_start, mut restarts_ms, begin) = (0, Vec::new(), Instant::now());
    std::thread::scope(|scope| {
        for (n, topic) in TOPICS.iter().enumerate() {
            let (bootstrap, context) = (bootstrap.clone(), contexts[n].clone());
            let (stop, sent) = (&stop, &sent[n]);
            scope.spawn(move || sent.store(produce(&bootstrap, topic, context, stop), Relaxed));
        }
        let mut up = true;
        for kill in 1..=kills {
            let wait_ms = if up { random.u64(50..700) } else { random.u64(1..60) };
            std::thread::sleep(Duration::from_millis(wait_ms));
            in_start += u64::from(!up);
            broker.kill();
            if kill % 10 == 0 {
                verify(&broker, &format!("after kill {kill}"));
            }
            up = kill == kills || random.u8(0..5) > 0;
            let started = Instant::now();
            if up {
                broker.restart();
                restarts_ms.push(started.elapsed().as_millis() as u64);
            } else {
                broker.respawn();
            }
            if kill % 20 == 0 {
                println!("{kill} kills in {:.0} s", begin.elapsed().as_secs_f64());
            }
        }
        std::thread::sleep(Duration::from_millis(500));
        stop.store(true, Relaxed);
    });
    restarts_ms.sort_unstable();
    println!(
        "seed {seed}: {kills} kills, {in_start} of them while it started, in {:.0} s; from start to \
         an answer p50 {} ms, max {} ms",
        begin.elapsed().as_secs_f64(),
        restarts_ms[restarts_ms.len() / 2],
        restarts_ms[restarts_ms.len() - 1],
    );
    let mut faults = Vec::new();
    for (n, topic) in TOPICS.iter().enumerate() {
        let deliveries = contexts[n].0.lock().unwrap();
        let c = check(&bootstrap, topic, sent[n].load(Relaxed), &deliveries);
        println!("{topic}: {c:?}");
        let all_read = topic != &TOPICS[0] || c.read == c.sent && c.doubled == 0;
        if c.lost + c.altered + c.reordered > 0 || !all_read || c.acknowledged != c.sent {
            faults.push(format!("{topic}: {c:?} {:?}", deliveries.failed.first()));
        }
    }
    let (status, _) = broker.terminate();
    assert!(status.success(), "{status}");
    verify(&broker, "after a clean stop");
    assert!(faults.is_empty(), "{faults:#?}");
}
