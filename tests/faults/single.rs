//! One scenario a fault, with what the operator reads: a full disk, a read that fails, a bit that
//! flipped in a closed segment, a disk that stalls. The broker's log lines are part of the promise.

use std::cell::RefCell;
use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use spindle::client::{ClientError, Connection};
use spindle::config::BrokerConfig;
use spindle::metrics::ShardCounters;
use spindle::node::Node;
use spindle::runtime::mailbox::{OneshotSender, oneshot};
use spindle::runtime::sim::{self, Simulation};
use spindle::runtime::{now, sleep, spawn, timeout};
use spindle::types::{Compression, TopicId};
use spindle::wire::fetch::{FetchPartition, FetchRequest, FetchTopic};
use spindle::wire::record_batch::BatchHeader;
use spindle::wire::records::BatchBuilder;

pub const MACHINE: &str = "m";
const LIMIT: Duration = Duration::from_secs(30);
const CORRUPT_MESSAGE: i16 = 2;
const REQUEST_TIMED_OUT: i16 = 7;
pub const STORAGE_ERROR: i16 = 56;

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// What the broker logs, warnings and worse.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    pub fn with(&self, text: &str) -> Vec<String> {
        let all = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        all.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    pub fn count(&self, text: &str) -> usize {
        self.with(text).len()
    }
}

/// Runs `f` in a simulation; the lines that the broker logs meanwhile.
pub fn simulate<F: Future<Output = ()> + 'static>(seed: u64, f: impl FnOnce(Lines) -> F) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO)
        .finish();
    tracing::subscriber::with_default(subscriber, || Simulation::new(seed).run(f(lines)));
}

pub struct Broker {
    stop: OneshotSender<()>,
    pub pid: sim::ProcessId,
    counters: Rc<RefCell<Vec<Arc<ShardCounters>>>>,
}

impl Broker {
    pub fn start(overrides: &[&str]) -> Broker {
        let base = ["listeners=PLAINTEXT://10.0.0.1:9092", "log.dirs=/data", "shard.count=1"];
        let all: Vec<String> = base.iter().chain(overrides).map(|s| s.to_string()).collect();
        let (stop, stopped) = oneshot::<()>();
        let counters = Rc::new(RefCell::new(Vec::new()));
        let told = counters.clone();
        let pid = sim::spawn_process_on(MACHINE, "broker", async move {
            let config = BrokerConfig::load(None, &all).unwrap_or_else(|e| panic!("{e}"));
            let node = Node::start_tasks(config).await.unwrap_or_else(|e| panic!("{e}"));
            *told.borrow_mut() = node.counters.clone();
            let _ = stopped.await;
            node.stop_tasks().await;
        });
        Broker { stop, pid, counters }
    }

    /// What requests hold, waiting for the disk or for memory.
    fn requests_bytes(&self) -> u64 {
        self.counters.borrow().iter().map(|c| c.memory_requests_bytes.get()).sum()
    }

    /// Until the start is over: the listeners may answer a little before.
    pub async fn started(&self) {
        while self.counters.borrow().is_empty() {
            sleep(ms(1)).await;
        }
    }

    /// A counter of each shard; none before the start is over.
    pub fn count(&self, counter: impl Fn(&ShardCounters) -> u64) -> Vec<u64> {
        self.counters.borrow().iter().map(|c| counter(c)).collect()
    }

    pub async fn stop(self) {
        let _ = self.stop.send(());
        assert!(timeout(LIMIT, sim::wait_exit(self.pid)).await.is_some(), "it does not stop");
    }
}

pub async fn connect() -> Connection {
    loop {
        match Connection::connect("10.0.0.1:9092".parse().unwrap(), "test", LIMIT).await {
            Ok(connection) => return connection,
            Err(_) => sleep(ms(5)).await,
        }
    }
}

pub async fn create(c: &Connection, topic: &str, partitions: i32) {
    let configs = [("segment.ms", "100"), ("index.interval.bytes", "0")];
    c.create_topic(topic, partitions, 1, &configs, LIMIT).await.unwrap();
}

/// One record of `bytes` bytes, of an idempotent producer when there is one.
pub fn batch(bytes: usize, fill: u8, producer: Option<(i64, i16, i32)>) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    if let Some((id, epoch, sequence)) = producer {
        builder.producer(id, epoch, sequence);
    }
    builder.push(spindle::runtime::wall_clock_ms(), None, Some(&vec![fill; bytes]), &[]);
    builder.finish().into()
}

/// Ok(offset), or the error's code and words.
pub async fn produce(
    c: &Connection,
    topic: &str,
    partition: i32,
    batch: &Bytes,
) -> Result<i64, (i16, String)> {
    let acks = -1;
    let sent = c.produce((topic, TopicId::nil()), partition, acks, batch.clone(), LIMIT);
    let answer = sent.await.unwrap();
    match answer.error_code {
        0 => Ok(answer.base_offset),
        code => Err((code, answer.error_message.unwrap_or_default())),
    }
}

/// (error code, high watermark, bytes).
pub async fn fetch(
    c: &Connection,
    topic: &str,
    partition: i32,
    offset: i64,
) -> (i16, i64, Vec<u8>) {
    fetch_all(c, topic, &[(partition, offset)], 1 << 20).await.unwrap().remove(0)
}

/// The same of several partitions in one request, at most so many bytes of each.
pub async fn fetch_all(
    c: &Connection,
    topic: &str,
    wanted: &[(i32, i64)],
    max_bytes: i32,
) -> Result<Vec<(i16, i64, Vec<u8>)>, ClientError> {
    let row = |&(index, fetch_offset): &(i32, i64)| FetchPartition {
        index,
        current_leader_epoch: -1,
        fetch_offset,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        max_bytes,
    };
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: 4 << 20,
        isolation_level: 0,
        session_id: 0,
        session_epoch: -1,
        topics: vec![FetchTopic {
            name: Bytes::copy_from_slice(topic.as_bytes()),
            topic_id: TopicId::nil(),
            partitions: wanted.iter().map(row).collect(),
        }],
        forgotten: Vec::new(),
        rack_id: Bytes::new(),
    };
    let version = c.fetch_version(TopicId::nil()).unwrap();
    let answer = c.fetch(version, &request, LIMIT).await?;
    let rows = answer.topics.into_iter().flat_map(|t| t.partitions);
    Ok(rows.map(|row| (row.error_code, row.high_watermark, row.records.concat())).collect())
}

/// Base offset and whole bytes of each batch.
pub fn batches(mut bytes: &[u8]) -> Vec<(i64, Vec<u8>)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let header = BatchHeader::parse(bytes).unwrap();
        let (batch, rest) = bytes.split_at(header.size_bytes());
        all.push((header.base_offset, batch.to_vec()));
        bytes = rest;
    }
    all
}

#[test]
fn a_full_disk_refuses_in_words_and_is_written_again_when_there_is_room() {
    simulate(1, |lines| async move {
        let broker = Broker::start(&["log.flush.offset.checkpoint.interval.ms=100"]);
        let c = connect().await;
        create(&c, "t", 3).await;
        let (id, epoch) = c.init_producer_id(LIMIT).await.unwrap();
        let mut sequence = 0;
        let kept = batch(1000, 1, Some((id, epoch, sequence)));
        assert_eq!(produce(&c, "t", 0, &kept).await, Ok(0));
        sequence += 1;

        sim::with_knobs(|k| k.disk.full = true);
        // What is allocated ahead is used up first.
        let mut offset = 1;
        let refused = loop {
            let next = batch(20_000, 2, Some((id, epoch, sequence)));
            match produce(&c, "t", 0, &next).await {
                Ok(at) => assert_eq!(at, offset),
                Err((code, why)) => {
                    assert_eq!(code, STORAGE_ERROR, "{why}");
                    assert!(why.contains("writing resumes by itself"), "{why}");
                    break next;
                }
            }
            offset += 1;
            sequence += 1;
            assert!(offset < 50, "the disk does not fill");
        };
        // Again and again, here and elsewhere: refused, and said once.
        for round in 0..30 {
            let answer = produce(&c, "t", round % 3, &batch(70_000, 3, None)).await;
            assert_eq!(answer.unwrap_err().0, STORAGE_ERROR);
            let (code, high_watermark, bytes) = fetch(&c, "t", 0, 0).await;
            assert_eq!((code, high_watermark), (0, offset), "reads go on");
            assert_eq!(batches(&bytes).len() as i64, offset);
            sleep(ms(100)).await;
        }
        let created = c.create_topic("u", 40, 1, &[], LIMIT).await;
        assert!(
            matches!(created, Ok(()) | Err(ClientError::Broker { code: STORAGE_ERROR, .. })),
            "{created:?}"
        );
        let told = lines.with("is full");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("/data") && told[0].contains("0 of 1099511627776 bytes free"));
        assert!(told[0].contains("delete topics"), "{told:?}");

        sim::with_knobs(|k| k.disk.full = false);
        sleep(ms(2_500)).await;
        // The batch that was refused, sent again: neither a duplicate nor out of order.
        assert_eq!(produce(&c, "t", 0, &refused).await, Ok(offset));
        assert_eq!(produce(&c, "t", 0, &refused).await, Ok(offset), "now it is a duplicate");
        for partition in 1..3 {
            assert_eq!(produce(&c, "t", partition, &batch(70_000, 4, None)).await, Ok(0));
        }
        assert_eq!(lines.count("has room again"), 1);
        assert_eq!(lines.count("panicked"), 0);
        assert!(sim::is_alive(broker.pid));

        // Nothing of what was refused is there, now or after the power goes.
        let before = fetch(&c, "t", 0, 0).await;
        assert_eq!(batches(&before.2).len() as i64, offset + 1);
        sim::power_cut(MACHINE);
        let broker = Broker::start(&[]);
        let c = connect().await;
        assert_eq!(fetch(&c, "t", 0, 0).await, before);
        broker.stop().await;
    });
}

#[test]
fn a_clean_stop_on_a_full_disk_loses_nothing() {
    simulate(2, |_| async move {
        let broker = Broker::start(&[]);
        let c = connect().await;
        create(&c, "t", 1).await;
        assert_eq!(produce(&c, "t", 0, &batch(1000, 1, None)).await, Ok(0));
        sim::with_knobs(|k| k.disk.full = true);
        assert_eq!(
            produce(&c, "t", 0, &batch(90_000, 2, None)).await.unwrap_err().0,
            STORAGE_ERROR
        );
        broker.stop().await;
        sim::with_knobs(|k| k.disk.full = false);
        let broker = Broker::start(&[]);
        let c = connect().await;
        assert_eq!(batches(&fetch(&c, "t", 0, 0).await.2).len(), 1);
        assert_eq!(produce(&c, "t", 0, &batch(90_000, 2, None)).await, Ok(1));
        broker.stop().await;
    });
}

#[test]
fn a_read_that_fails_is_said_with_file_and_offset_and_others_go_on() {
    simulate(3, |lines| async move {
        let broker = Broker::start(&[]);
        let c = connect().await;
        create(&c, "t", 2).await;
        for n in 0..5 {
            assert_eq!(produce(&c, "t", 0, &batch(1000, n, None)).await, Ok(i64::from(n)));
        }
        broker.stop().await;
        let broker = Broker::start(&[]);
        let c = connect().await;
        // Opened, and nothing in memory.
        let before = fetch(&c, "t", 0, 0).await;
        assert_eq!(batches(&before.2).len(), 5);
        sim::with_knobs(|k| k.disk.read_error_probability = 1.0);
        for _ in 0..5 {
            assert_eq!(fetch(&c, "t", 0, 2).await.0, STORAGE_ERROR);
            let at = produce(&c, "t", 1, &batch(10, 1, None)).await.unwrap();
            assert_eq!(batches(&fetch(&c, "t", 1, at).await.2)[0].0, at);
        }
        let told = lines.with("a read failed");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("/data/t-0/00000000000000000000.log"), "{told:?}");
        assert!(told[0].contains("offset=2"), "{told:?}");
        sim::with_knobs(|k| k.disk.read_error_probability = 0.0);
        assert_eq!(fetch(&c, "t", 0, 0).await, before);
        broker.stop().await;
    });
}

#[test]
fn a_flipped_bit_in_a_closed_segment_is_told_and_never_served() {
    simulate(4, |lines| async move {
        let broker = Broker::start(&[]);
        let c = connect().await;
        create(&c, "t", 1).await;
        // Three segments of three batches each.
        for n in 0..9u8 {
            if n % 3 == 0 {
                sleep(ms(150)).await;
            }
            assert_eq!(produce(&c, "t", 0, &batch(200, n, None)).await, Ok(i64::from(n)));
        }
        broker.stop().await;
        let files = sim::list_dir_of(MACHINE, &PathBuf::from("/data/t-0")).unwrap();
        let logs: Vec<_> = files.iter().filter(|f| f.name.ends_with(".log")).collect();
        assert_eq!(logs.len(), 3, "{files:?}");
        let broker = Broker::start(&[]);
        let c = connect().await;
        let mut whole = Vec::new();
        while whole.len() < 9 {
            whole.extend(batches(&fetch(&c, "t", 0, whole.len() as i64).await.2));
        }
        let size = whole[4].1.len();
        let file = PathBuf::from("/data/t-0/00000000000000000003.log");
        // Every byte of the head of the segment's first, middle and last batch, and some after it.
        for damaged in 3..6i64 {
            let start = (damaged as usize - 3) * size;
            for at in (0..61).chain((61..size).step_by(37)) {
                // The leader epoch is under no CRC, and no neighbour tells what it must be.
                if (12..16).contains(&at) {
                    continue;
                }
                let mask = 1 << (at % 8);
                let position = (start + at) as u64;
                sim::flip_bits(MACHINE, &file, position, mask).unwrap();
                // From each offset of the segment: what is good, then an error, never anything else.
                for from in 3..6 {
                    let mut next = from;
                    let code = loop {
                        let (code, _, bytes) = fetch(&c, "t", 0, next).await;
                        for (base, bytes) in batches(&bytes) {
                            assert_eq!(base, next, "byte {at} of batch {damaged} from {from}");
                            assert!(bytes == whole[next as usize].1, "other bytes at {next}");
                            next += 1;
                        }
                        if code != 0 || next > 5 {
                            break code;
                        }
                    };
                    assert!(next > damaged || code == CORRUPT_MESSAGE, "{code} at {next}");
                    assert!(from > damaged || code == CORRUPT_MESSAGE, "flip at {at} unseen");
                }
                for from in [0, 6] {
                    let (code, _, bytes) = fetch(&c, "t", 0, from).await;
                    assert_eq!((code, batches(&bytes).len()), (0, 3), "the other segments");
                }
                sim::flip_bits(MACHINE, &file, position, mask).unwrap();
            }
        }
        assert_eq!(fetch(&c, "t", 0, 3).await.0, 0, "it is whole again");
        let told = lines.with("a segment is damaged: not served");
        assert!(told.iter().all(|l| l.contains("/data/t-0/00000000000000000003.log")), "{told:?}");
        assert!(
            told.iter().any(|l| l.contains(&format!("corrupt at byte {size}: batch at offset 4")))
        );
        broker.stop().await;
    });
}

#[test]
fn a_disk_that_stalls_10_s_loses_nothing_and_memory_keeps_its_bound() {
    simulate(5, |lines| async move {
        const STALL: Duration = Duration::from_secs(10);
        let broker = Broker::start(&["shard.memory.bytes=16777216"]);
        let c = connect().await;
        create(&c, "t", 3).await;
        for partition in 0..3 {
            assert_eq!(produce(&c, "t", partition, &batch(1000, 9, None)).await, Ok(0));
        }
        let before = fetch(&c, "t", 2, 0).await;
        let begin = now();
        sim::with_knobs(|k| k.disk.stalled_until_ns = (begin + STALL).0);
        // One that waits as long as it takes, and many that do not.
        let (done, waited) = oneshot();
        let patient = connect().await;
        spawn(async move {
            let _ = done.send(produce(&patient, "t", 0, &batch(1000, 1, None)).await);
        });
        sleep(ms(5)).await;
        let hasty = connect().await;
        let mut held = 0;
        for _ in 0..20 {
            let sent = (0..40).map(|n| {
                let records = batch(20_000, n, None);
                let (topic, limit) = (("t", TopicId::nil()), ms(200));
                let hasty = &hasty;
                async move { hasty.produce(topic, 1, 1, records, limit).await }
            });
            for answer in futures::future::join_all(sent).await {
                match answer {
                    // What is not refused is not read from its socket, and times out at the client.
                    Ok(answer) => assert_eq!(answer.error_code, REQUEST_TIMED_OUT),
                    Err(ClientError::Timeout { .. } | ClientError::Closed { .. }) => {}
                    Err(e) => panic!("{e}"),
                }
            }
            let asked = now();
            assert_eq!(fetch(&c, "t", 2, 0).await, before, "reads from memory go on");
            assert!(now().saturating_since(asked) < ms(100));
            held = held.max(broker.requests_bytes());
        }
        // A quarter of the shard's memory waits for the disk at most, and one buffer in flight; the rest
        // waits in its socket, and is appended when the disk moves.
        assert!((1 << 20..6 << 20).contains(&held), "{held} bytes were held");
        assert!(now() < begin + STALL, "the stall is over too soon");
        assert_eq!(waited.await.unwrap(), Ok(1));
        assert!(now() >= begin + STALL);
        sleep(ms(1_000)).await;
        let (_, end, _) = fetch(&c, "t", 1, 0).await;
        assert!(end > 10, "nothing of it was taken");
        assert_eq!(produce(&c, "t", 1, &batch(20_000, 1, None)).await, Ok(end));
        assert_eq!(lines.count("ERROR"), 0, "{:?}", lines.with("ERROR"));
        broker.stop().await;
    });
}
