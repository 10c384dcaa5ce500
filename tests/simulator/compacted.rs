//! A compacted topic under faults, a scenario of its own: one writer whose record at each key counts
//! up, a broker that cleans as often as it can, power cuts, kills and clean stops. The checker knows
//! what was sent to each offset: whatever is served is that, in order; the newest acknowledged record
//! of each key is there (or a newer one); and what a key's records were before one that was read
//! as the oldest does not come back.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use spindle::client::ClientError;
use spindle::runtime::sim::Simulation;
use spindle::runtime::{sleep, spawn, timeout, wall_clock_ms};
use spindle::types::Compression;
use spindle::wire::records::{BatchBuilder, for_each_record};

use crate::client::{Client, LIMIT, create_at_last, expect_transient, read_at_last};
use crate::history::batch_at;
use crate::machine::Machine;

const MACHINE: &str = "compacting-machine";
const TOPIC: &str = "table";
const KEYS: usize = 24;
const PROGRESS_LIMIT: Duration = Duration::from_secs(60);
const DELETE_RETENTION_MS: i64 = 400;

struct Table {
    rng: RefCell<fastrand::Rng>,
    machine: Machine,
    runs: Cell<u64>,
    /// Key and number of every record that was sent, by number; odd ones of a key may be tombstones.
    sent: RefCell<BTreeMap<u64, (usize, bool)>>,
    /// By key: number and offset of the newest acknowledged record, and when it was sent.
    acked: RefCell<BTreeMap<usize, (u64, i64, i64)>>,
    /// What was seen at an offset once is what is there, or nothing.
    seen: RefCell<BTreeMap<i64, u64>>,
    /// By key: the oldest number that the last read found. Nothing older comes back.
    floor: RefCell<BTreeMap<usize, u64>>,
    end: Cell<i64>,
    writing: Cell<bool>,
}

/// Cleaning runs, and records that were gone at the end.
pub fn run(seed: u64) -> (u64, usize) {
    let simulation = Simulation::new(seed);
    simulation.run(scenario(seed))
}

fn overrides(rng: &mut fastrand::Rng) -> Vec<String> {
    let mut lines: Vec<String> = vec![
        "listeners=PLAINTEXT://10.0.0.1:9092".into(),
        "log.dirs=/data".into(),
        format!("shard.count={}", rng.usize(1..=2)),
        format!("log.cleaner.backoff.ms={}", rng.usize(1..=30)),
        format!("log.flush.offset.checkpoint.interval.ms={}", rng.usize(50..=1000)),
        format!("log.retention.check.interval.ms={}", rng.usize(100..=3000)),
    ];
    if rng.bool() {
        lines
            .push(format!("log.cleaner.io.max.bytes.per.second={}", rng.usize(100_000..3_000_000)));
    }
    lines
}

impl Table {
    fn note_runs(&self) {
        let runs: u64 = self.machine.counters.take().iter().map(|c| c.cleaner_runs.get()).sum();
        self.runs.set(self.runs.get() + runs);
    }

    async fn fault(&self) {
        let kind = self.rng.borrow_mut().u8(..4);
        if !self.machine.is_up() {
            return;
        }
        match kind {
            0 => self.machine.clean_stop().await,
            1 => self.machine.kill(),
            _ => self.machine.power_cut(),
        }
        self.note_runs();
        let down = Duration::from_millis(self.rng.borrow_mut().u64(0..100));
        sleep(down).await;
        self.machine.start();
    }

    async fn write(self: Rc<Self>) {
        let mut client = Client::new("writer".into());
        let mut next = 0u64;
        while self.writing.get() {
            let (records, codec, pause) = {
                let mut rng = self.rng.borrow_mut();
                let records: Vec<(usize, bool)> =
                    (0..rng.usize(1..6)).map(|_| (rng.usize(..KEYS), rng.u8(..6) == 0)).collect();
                let codecs = [Compression::None, Compression::Lz4, Compression::Zstd];
                (records, codecs[rng.usize(..3)], rng.u64(0..12))
            };
            let first = next;
            next += records.len() as u64;
            let mut batch = BatchBuilder::new(codec);
            for (n, (key, tombstone)) in (first..).zip(&records) {
                self.sent.borrow_mut().insert(n, (*key, *tombstone));
                let value = [&n.to_be_bytes()[..], &[n as u8; 3000]].concat();
                let value = (!tombstone).then_some(&value[..]);
                // A tombstone has no value to carry its number: a header does, in each record.
                let number = n.to_be_bytes();
                let key = (*key as u32).to_be_bytes();
                batch.push(wall_clock_ms(), Some(&key), value, &[("n", Some(&number))]);
            }
            let bytes: Bytes = batch.finish().into();
            let sent_ms = wall_clock_ms();
            // Without a producer id a retry may write twice: each batch is sent once.
            match self.send(&mut client, bytes).await {
                Ok(base) => {
                    let mut acked = self.acked.borrow_mut();
                    for (n, (key, _)) in (first..).zip(&records) {
                        acked.insert(*key, (n, base + (n - first) as i64, sent_ms));
                    }
                }
                Err(e) => {
                    expect_transient("writer", &e);
                    client.rest().await;
                }
            }
            sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn send(&self, client: &mut Client, bytes: Bytes) -> Result<i64, ClientError> {
        let (connection, id) = client.leader_connection(TOPIC, 0).await?;
        let answer = connection.produce((TOPIC, id), 0, -1, bytes, LIMIT).await?;
        match answer.error_code {
            0 => Ok(answer.base_offset),
            code => Err(ClientError::Broker { what: "produce".into(), code, message: None }),
        }
    }

    /// Reads all and checks it. Returns how many offsets have no record any more.
    async fn check(&self, client: &mut Client) -> usize {
        let acked_before = self.acked.borrow().clone();
        let floor_before = self.floor.borrow().clone();
        let whole = read_at_last(client, TOPIC, 0).await;
        assert_eq!(whole.log_start, 0);
        assert!(whole.high_watermark >= self.end.get(), "the end went back");
        self.end.set(whole.high_watermark);
        let (mut at, mut last, mut count) = (0, -1, 0);
        let mut found: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        while at < whole.bytes.len() {
            let (header, bytes) = batch_at(TOPIC, &whole.bytes, at);
            assert!(header.base_offset > last, "order");
            for_each_record(bytes, &mut |r| {
                let offset = header.base_offset + i64::from(r.offset_delta);
                assert!(offset > last && offset <= header.last_offset(), "order");
                last = offset;
                count += 1;
                let key = u32::from_be_bytes(r.key.unwrap().try_into().unwrap()) as usize;
                let number = r.header_pairs().next().unwrap().1.unwrap();
                let n = u64::from_be_bytes(number.try_into().unwrap());
                assert_eq!(self.sent.borrow()[&n], (key, r.value.is_none()), "record {n}");
                if let Some(value) = r.value {
                    assert!(value[..8] == n.to_be_bytes() && value[8..] == [n as u8; 3000]);
                }
                let before = self.seen.borrow_mut().insert(offset, n);
                assert!(before.is_none_or(|b| b == n), "offset {offset} was {before:?}, is {n}");
                found.entry(key).or_default().push(n);
                true
            })
            .unwrap();
            last = last.max(header.last_offset());
            at += bytes.len();
        }
        let ended_ms = wall_clock_ms();
        for (key, (n, offset, sent_ms)) in &acked_before {
            let there = found.get(key).is_some_and(|all| all.iter().any(|f| f >= n));
            // A tombstone may have gone, but not before its time, and with all that was before it.
            let expired = ended_ms - sent_ms >= DELETE_RETENTION_MS;
            let tombstone = self.sent.borrow()[n].1 && expired;
            assert!(there || tombstone, "key {key}: {n} at {offset} was acknowledged");
            assert!(there || !found.contains_key(key), "key {key}: older than its tombstone");
        }
        let mut floor = self.floor.borrow_mut();
        for (key, all) in &found {
            assert!(all.is_sorted(), "key {key}: {all:?}");
            let before = floor_before.get(key).copied().unwrap_or(0);
            assert!(all[0] >= before, "key {key}: {} came back, {before} was the oldest", all[0]);
            floor.insert(*key, all[0]);
        }
        whole.high_watermark as usize - count
    }
}

async fn scenario(seed: u64) -> (u64, usize) {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0xC0_4AC7);
    let overrides = overrides(&mut rng);
    let configs = [
        ("cleanup.policy", "compact".to_string()),
        ("segment.bytes", "1048576".to_string()),
        ("segment.ms", rng.usize(20..200).to_string()),
        ("min.cleanable.dirty.ratio", ["0", "0.01", "0.3"][rng.usize(..3)].to_string()),
        ("delete.retention.ms", DELETE_RETENTION_MS.to_string()),
        ("max.compaction.lag.ms", rng.usize(50..2000).to_string()),
    ];
    let faults = rng.usize(3..8);
    let table = Rc::new(Table {
        rng: RefCell::new(rng),
        machine: Machine::new(MACHINE, overrides),
        runs: Cell::new(0),
        sent: RefCell::default(),
        acked: RefCell::default(),
        seen: RefCell::default(),
        floor: RefCell::default(),
        end: Cell::new(0),
        writing: Cell::new(true),
    });
    table.machine.start();
    let mut client = Client::new("reader".into());
    let configs: Vec<(&str, &str)> = configs.iter().map(|(k, v)| (*k, v.as_str())).collect();
    create_at_last(&mut client, TOPIC, 1, &configs).await;
    spawn(table.clone().write());
    for _ in 0..faults {
        let pause = table.rng.borrow_mut().u64(50..1500);
        sleep(Duration::from_millis(pause)).await;
        if table.rng.borrow_mut().bool() {
            table.check(&mut client).await;
        }
        table.fault().await;
    }
    sleep(Duration::from_millis(500)).await;
    table.writing.set(false);
    let mut gone = 0;
    let checked = async {
        for _ in 0..3 {
            sleep(Duration::from_millis(700)).await;
            gone = table.check(&mut client).await;
        }
    };
    assert!(timeout(PROGRESS_LIMIT, checked).await.is_some(), "the table can't be read");
    table.note_runs();
    (table.runs.get(), gone)
}
