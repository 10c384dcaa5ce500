//! Compaction on the simulated disk: against a model that keeps the newest of each key, under power
//! cuts at every point of a run, beside readers, with transactions, and within its bounds.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::super::segment::{FileKind, file_name};
use super::super::txn_index::{self, AbortedTxn};
use super::super::{Log, LogConfig, LogError, OpenHints, Patch};
use super::*;
use crate::runtime::sim::{self, Simulation};
use crate::runtime::{BLOCK, disk, sleep};
use crate::types::Compression;
use crate::wire::record_batch::{BatchHeader, check_crc};
use crate::wire::records::{BatchBuilder, for_each_record};

const NOW: i64 = 1_000_000;
const DIR: &str = "/data/t-0";

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 2_000,
        segment_ms: i64::MAX,
        segment_jitter_ms: 0,
        index_interval_bytes: 300,
        segment_index_bytes: 1 << 20,
        retention_ms: -1,
        retention_bytes: -1,
        cleanup_delete: false,
        file_delete_delay_ms: 0,
        preallocate: false,
    }
}

fn sim<T: 'static>(seed: u64, f: impl Future<Output = T> + 'static) -> T {
    Simulation::new(seed).run(f)
}

async fn open(clean: bool) -> Log {
    let hints = OpenHints { clean, recovery_point: 0, log_start_offset: 0 };
    Log::open(PathBuf::from(DIR), config(), hints).await.unwrap()
}

fn append(log: &Log, batch: &[u8]) {
    let base_offset = log.log_end_offset();
    log.append(batch, Patch { base_offset, leader_epoch: 3, log_append_time_ms: None }).unwrap();
}

/// Key and value of each record; an empty value is a tombstone.
fn batch(codec: Compression, records: &[(&str, &str)]) -> Vec<u8> {
    let mut b = BatchBuilder::new(codec);
    for (n, (key, value)) in records.iter().enumerate() {
        let value = (!value.is_empty()).then_some(value.as_bytes());
        b.push(1000 + n as i64, Some(key.as_bytes()), value, &[]);
    }
    b.finish()
}

/// A round of batches over 12 keys, values of some 100 bytes.
fn append_round(log: &Log, round: usize, batches: usize) {
    let codecs = [Compression::None, Compression::Zstd, Compression::Lz4];
    for n in 0..batches {
        let records: Vec<(String, String)> = (0..3)
            .map(|i| {
                let at = round * 1000 + n * 3 + i;
                (format!("key-{}", ((at * 40503) >> 7) % 12), format!("{at:0>100}"))
            })
            .collect();
        let records: Vec<(&str, &str)> =
            records.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        append(log, &batch(codecs[(round + n) % 3], &records));
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    offset: Offset,
    key: String,
    value: Option<String>,
    timestamp: i64,
}

async fn headers_and_records(log: &Log) -> (Vec<BatchHeader>, Vec<Stored>) {
    let (mut headers, mut records) = (Vec::new(), Vec::new());
    let (mut at, end) = (log.log_start_offset(), log.written_offset());
    while at < end {
        let read = log.read(at, end, 700, true).await.unwrap();
        if read.chunks.is_empty() {
            break;
        }
        for chunk in &read.chunks {
            let mut rest: &[u8] = chunk;
            while !rest.is_empty() {
                let header = BatchHeader::parse(rest).unwrap();
                let (bytes, after) = rest.split_at(header.size_bytes());
                check_crc(bytes).unwrap();
                assert_eq!(header.partition_leader_epoch, 3);
                let last = headers.last().map_or(-1, |h: &BatchHeader| h.last_offset());
                assert!(header.base_offset > last, "order");
                for_each_record(bytes, &mut |r| {
                    let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
                    records.push(Stored {
                        offset: header.base_offset + i64::from(r.offset_delta),
                        key: r.key.map(text).unwrap_or_default(),
                        value: r.value.map(text),
                        timestamp: header.base_timestamp + r.timestamp_delta,
                    });
                    true
                })
                .unwrap();
                at = header.last_offset() + 1;
                headers.push(header);
                rest = after;
            }
        }
    }
    (headers, records)
}

async fn records(log: &Log) -> Vec<Stored> {
    headers_and_records(log).await.1
}

fn newest(records: &[Stored]) -> BTreeMap<String, Stored> {
    records.iter().map(|r| (r.key.clone(), r.clone())).collect()
}

fn base_of_active(log: &Log) -> Offset {
    log.inner.state.borrow().active().base
}

struct Runs {
    map_bytes: usize,
    now_ms: i64,
    cleaned_to: Option<Offset>,
    last: BTreeMap<i64, LastRecord>,
}

impl Default for Runs {
    fn default() -> Runs {
        Runs { map_bytes: 1 << 20, now_ms: NOW, cleaned_to: None, last: BTreeMap::new() }
    }
}

impl Runs {
    async fn dirt(&self, log: &Log) -> Option<Dirt> {
        log.dirt(&CleanWhen {
            now_ms: self.now_ms,
            cleaned_to: self.cleaned_to,
            high_watermark: log.durable_offset(),
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_ratio: 0.0,
        })
        .await
        .unwrap()
    }

    async fn run(&mut self, log: &Log) -> Result<Option<Cleaned>> {
        let Some(dirt) = self.dirt(log).await else { return Ok(None) };
        let cleaned = log
            .clean(&CleanRun {
                first_dirty: dirt.first_dirty,
                upper: dirt.upper,
                now_ms: self.now_ms,
                delete_retention_ms: 500,
                map_bytes: self.map_bytes,
                map_load_factor: 0.9,
                io_bytes: BLOCK,
                pace: &Pace::default(),
                must_stop: &|| false,
                last_of_producer: &|id| self.last.get(&id).copied(),
            })
            .await?;
        self.cleaned_to = cleaned.map(|c| c.end).or(self.cleaned_to);
        Ok(cleaned)
    }
}

/// Everything durable, and the segment closed.
async fn settle(log: &Log) {
    log.write_pending().await.unwrap();
    log.inner.state.borrow_mut().roll();
    log.write_pending().await.unwrap();
    log.sync().await.unwrap();
}

async fn names() -> Vec<String> {
    disk::list_dir(Path::new(DIR)).await.unwrap().into_iter().map(|e| e.name).collect()
}

async fn assert_tidy(log: &Log) {
    let bases: Vec<Offset> = log.inner.state.borrow().segments.iter().map(|s| s.base).collect();
    for name in names().await {
        if let Some((base, _)) = super::super::segment::parse_file_name(&name) {
            assert!(bases.contains(&base), "{name} is of no segment: {bases:?}");
        } else {
            assert_eq!(name, "leader-epoch-checkpoint");
        }
    }
}

#[test]
fn the_newest_of_each_key_stays_where_it_is() {
    for seed in 0..20 {
        sim(seed, async {
            let log = open(true).await;
            let mut runs = Runs::default();
            for round in 0..4 {
                append_round(&log, round, 25);
                log.write_pending().await.unwrap();
                log.sync().await.unwrap();
                let (before, active) = (records(&log).await, base_of_active(&log));
                let (end, segments) = (log.log_end_offset(), log.segment_count());
                let cleaned = runs.run(&log).await.unwrap().unwrap();
                assert_eq!(cleaned.end, active);
                assert!(cleaned.bytes_after < cleaned.bytes_before);
                let after = records(&log).await;
                let expected: Vec<Stored> = {
                    let below: Vec<Stored> =
                        before.iter().filter(|r| r.offset < active).cloned().collect();
                    let newest = newest(&below);
                    before
                        .iter()
                        .filter(|r| r.offset >= active || newest[&r.key].offset == r.offset)
                        .cloned()
                        .collect()
                };
                assert_eq!(after, expected);
                assert_eq!(log.log_end_offset(), end);
                // Those that the run before made small become one.
                assert!(round == 0 || log.segment_count() < segments);
                assert_eq!(runs.dirt(&log).await.map(|d| d.due), Some(false));
                assert_tidy(&log).await;
            }
            let before = records(&log).await;
            let end = log.log_end_offset();
            log.close().await.unwrap();
            for clean in [true, false] {
                let log = open(clean).await;
                assert_eq!(records(&log).await, before);
                assert_eq!(log.log_end_offset(), end);
                assert_tidy(&log).await;
                log.close().await.unwrap();
            }
        });
    }
}

#[test]
fn so_it_is_on_real_files() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_path_buf();
    let spec = crate::runtime::executor::ExecutorSpec::unpinned("compaction-test");
    crate::runtime::executor::block_on(spec, move || async move {
        disk::prepare_device(&path).await.unwrap();
        let dir = path.join("t-0");
        let hints = OpenHints { clean: true, recovery_point: 0, log_start_offset: 0 };
        let log = Log::open(dir.clone(), config(), hints).await.unwrap();
        let mut runs = Runs::default();
        let mut before = Vec::new();
        for round in 0..4 {
            append_round(&log, round, 25);
            settle(&log).await;
            before = records(&log).await;
            runs.run(&log).await.unwrap().unwrap();
        }
        let after = records(&log).await;
        assert_eq!(newest(&after), newest(&before));
        assert_eq!(after.len(), newest(&before).len());
        log.close().await.unwrap();
        for clean in [true, false] {
            let log = Log::open(dir.clone(), config(), OpenHints { clean, ..hints }).await.unwrap();
            assert_eq!(records(&log).await, after);
            log.close().await.unwrap();
        }
    })
    .unwrap();
}

#[test]
fn a_tombstone_stays_for_its_time_and_then_goes() {
    sim(1, async {
        let log = open(true).await;
        append(&log, &batch(Compression::None, &[("a", "1"), ("b", "1")]));
        append(&log, &batch(Compression::Gzip, &[("a", ""), ("c", "1")]));
        settle(&log).await;
        let mut runs = Runs::default();
        runs.run(&log).await.unwrap().unwrap();
        let (headers, first) = headers_and_records(&log).await;
        let keys = |records: &[Stored]| -> Vec<(String, bool, i64)> {
            records.iter().map(|r| (r.key.clone(), r.value.is_some(), r.timestamp)).collect()
        };
        let all = [("b".into(), true, 1001), ("a".into(), false, 1000), ("c".into(), true, 1001)];
        assert_eq!(keys(&first), all);
        // Not the batch that has none: it was changed, but not for a tombstone.
        let horizons: Vec<_> = headers.iter().map(|h| h.delete_horizon_ms()).collect();
        assert_eq!(horizons, [None, Some(NOW + 500)]);
        assert_eq!(headers[1].compression(), Some(Compression::Gzip));
        // Runs come with new data; until the horizon they leave the tombstone, and its horizon.
        for (wait, stays) in [(100, true), (499, true), (500, false)] {
            append(&log, &batch(Compression::None, &[("d", &wait.to_string())]));
            settle(&log).await;
            runs.now_ms = NOW + wait;
            runs.run(&log).await.unwrap().unwrap();
            let (headers, records) = headers_and_records(&log).await;
            assert_eq!(records.iter().any(|r| r.key == "a"), stays, "after {wait} ms");
            assert!(headers.iter().any(|h| h.delete_horizon_ms() == Some(NOW + 500)));
            assert_eq!(records.iter().filter(|r| r.key != "d").count(), 2 + usize::from(stays));
        }
    });
}

#[test]
fn records_without_a_key_go_and_the_last_batch_keeps_the_end() {
    sim(2, async {
        let log = open(true).await;
        append(&log, &batch(Compression::None, &[("a", "1")]));
        let mut keyless = BatchBuilder::new(Compression::None);
        keyless.push(5, None, Some(b"x"), &[]);
        append(&log, &keyless.finish());
        settle(&log).await;
        Runs::default().run(&log).await.unwrap().unwrap();
        let (headers, records) = headers_and_records(&log).await;
        assert_eq!(records.len(), 1);
        assert_eq!(headers.iter().map(|h| h.record_count).collect::<Vec<_>>(), [1, 0]);
        // Should the empty active segment be lost, the log still ends where it ended.
        log.close().await.unwrap();
        let active = Path::new(DIR).join(file_name(2, FileKind::Log));
        disk::remove_file(&active).await.unwrap();
        assert_eq!(open(false).await.log_end_offset(), 2);
    });
}

#[test]
fn the_last_batch_of_an_active_producer_stays_though_empty() {
    sim(3, async {
        let log = open(true).await;
        for (id, sequence) in [(7, 0), (8, 0), (7, 1)] {
            let mut b = BatchBuilder::new(Compression::None);
            b.producer(id, 2, sequence).push(1, Some(b"k"), Some(b"old"), &[]);
            append(&log, &b.finish());
        }
        append(&log, &batch(Compression::None, &[("k", "new")]));
        settle(&log).await;
        let last = LastRecord { data_offset: Some(2), epoch: 2 };
        let mut runs = Runs { last: BTreeMap::from([(7, last)]), ..Runs::default() };
        runs.run(&log).await.unwrap().unwrap();
        let (headers, records) = headers_and_records(&log).await;
        assert_eq!(records.len(), 1);
        let kept: Vec<_> = headers
            .iter()
            .map(|h| (h.base_offset, h.producer_id, h.producer_epoch, h.last_sequence()))
            .collect();
        assert_eq!(kept, [(2, 7, 2, 1), (3, -1, -1, -1)]);
        // It expired: nothing holds its batch any more.
        append(&log, &batch(Compression::None, &[("z", "1")]));
        settle(&log).await;
        runs.last.clear();
        runs.run(&log).await.unwrap().unwrap();
        let (headers, _) = headers_and_records(&log).await;
        assert!(headers.iter().all(|h| h.producer_id != 7));
    });
}

#[test]
fn a_full_map_cleans_as_far_as_it_goes() {
    sim(4, async {
        let log = open(true).await;
        for n in 0..60 {
            let (key, value) = (format!("k{}", n % 30), format!("{n:0>150}"));
            append(&log, &batch(Compression::None, &[(&key, &value)]));
        }
        settle(&log).await;
        // Room for some nine keys a run.
        let mut runs = Runs { map_bytes: 24 * 10, ..Runs::default() };
        let mut ends = Vec::new();
        while runs.dirt(&log).await.is_some_and(|d| d.due) {
            let before = records(&log).await;
            ends.push(runs.run(&log).await.unwrap().unwrap().end);
            let after = records(&log).await;
            assert_eq!(newest(&after), newest(&before), "no key lost its newest");
            assert!(ends.len() < 20, "no end: {ends:?}");
        }
        assert!(ends.len() > 3 && ends.is_sorted(), "{ends:?}");
        assert_eq!(*ends.last().unwrap(), 60);
        let left: Vec<Offset> = records(&log).await.iter().map(|r| r.offset).collect();
        assert_eq!(left, (30..60).collect::<Vec<_>>());
    });
}

fn transactional(id: i64, sequence: i32, key: &str, value: &str) -> Vec<u8> {
    let mut b = BatchBuilder::new(Compression::None);
    b.producer(id, 0, sequence).kind(true, false);
    b.push(1000, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
    b.finish()
}

fn marker(id: i64, commit: bool) -> Vec<u8> {
    let mut b = BatchBuilder::new(Compression::None);
    b.producer(id, 0, -1).kind(true, true);
    b.push(1000, Some(&[0, 0, 0, u8::from(commit)]), Some(&[0; 6]), &[]);
    b.finish()
}

async fn write_txn_index(base: Offset, entries: &[AbortedTxn]) {
    let path = Path::new(DIR).join(file_name(base, FileKind::TxnIndex));
    disk::write_file(&path, txn_index::encode(entries)).await.unwrap();
}

#[test]
fn aborted_data_goes_and_markers_stay_for_their_time() {
    sim(5, async {
        let log = open(true).await;
        append(&log, &batch(Compression::None, &[("a", "0"), ("b", "0")])); // 0, 1
        append(&log, &transactional(1, 0, "a", "aborted")); // 2
        append(&log, &transactional(2, 0, "b", "committed")); // 3
        append(&log, &marker(1, false)); // 4
        append(&log, &marker(2, true)); // 5
        append(&log, &transactional(1, 1, "b", "later, aborted")); // 6
        settle(&log).await;
        // Its marker comes in the next segment.
        append(&log, &marker(1, false)); // 7
        append(&log, &batch(Compression::None, &[("c", "1")])); // 8
        settle(&log).await;
        let txn = |first_offset, last_offset| AbortedTxn {
            producer_id: 1,
            first_offset,
            last_offset,
            last_stable_offset: last_offset + 1,
        };
        write_txn_index(0, &[txn(2, 4)]).await;
        write_txn_index(7, &[txn(6, 7)]).await;
        let values = |records: &[Stored]| -> Vec<(Offset, String)> {
            let data = records.iter().filter(|r| !r.key.starts_with('\0'));
            data.map(|r| (r.offset, r.value.clone().unwrap())).collect()
        };
        let expected = [(0, "0".to_string()), (3, "committed".into()), (8, "1".into())];
        let mut runs = Runs::default();
        runs.run(&log).await.unwrap().unwrap();
        let (headers, found) = headers_and_records(&log).await;
        assert_eq!(values(&found), expected);
        let markers = |headers: &[BatchHeader]| -> Vec<(Offset, Option<i64>)> {
            let control = headers.iter().filter(|h| h.is_control());
            control.map(|h| (h.base_offset, h.delete_horizon_ms())).collect()
        };
        // Their data was there when the run met them: no horizon yet.
        assert_eq!(markers(&headers), [(4, None), (5, None), (7, None)]);
        let index = disk::read_file(&Path::new(DIR).join(file_name(0, FileKind::TxnIndex))).await;
        assert_eq!(txn_index::decode(&index.unwrap()).unwrap(), [txn(2, 4), txn(6, 7)]);
        // The next run finds no aborted data: those two get a horizon; the committed record stays.
        for (wait, left) in [
            (0, vec![(4, Some(NOW + 500)), (5, None), (7, Some(NOW + 500))]),
            (499, vec![(4, Some(NOW + 500)), (5, None), (7, Some(NOW + 500))]),
            (500, vec![(5, None)]),
        ] {
            append(&log, &batch(Compression::None, &[("c", "1")]));
            settle(&log).await;
            runs.now_ms = NOW + wait;
            runs.run(&log).await.unwrap().unwrap();
            let (headers, found) = headers_and_records(&log).await;
            assert_eq!(values(&found)[..2], expected[..2]);
            assert_eq!(markers(&headers), left, "after {wait} ms");
        }
        log.close().await.unwrap();
        open(false).await;
    });
}

#[test]
fn nothing_of_an_open_transaction_counts() {
    sim(6, async {
        let log = open(true).await;
        append(&log, &batch(Compression::None, &[("a", "0"), ("b", "0")]));
        append(&log, &batch(Compression::None, &[("b", "1")]));
        settle(&log).await;
        append(&log, &transactional(9, 0, "a", "undecided"));
        settle(&log).await;
        let mut runs = Runs::default();
        let cleaned = runs.run(&log).await.unwrap().unwrap();
        assert_eq!(cleaned.end, 3, "not beyond the segment where it begins");
        let left: Vec<Offset> = records(&log).await.iter().map(|r| r.offset).collect();
        assert_eq!(left, [0, 2, 3]);
        // Aborted: what was before it is the newest.
        append(&log, &marker(9, false));
        settle(&log).await;
        let txn =
            AbortedTxn { producer_id: 9, first_offset: 3, last_offset: 4, last_stable_offset: 5 };
        write_txn_index(4, &[txn]).await;
        assert_eq!(runs.run(&log).await.unwrap().unwrap().end, 5);
        let left: Vec<Offset> = records(&log).await.iter().map(|r| r.offset).collect();
        assert_eq!(left, [0, 2, 4]);
    });
}

#[test]
fn a_transaction_larger_than_the_map_is_no_end() {
    sim(9, async {
        let log = open(true).await;
        for n in 0..40 {
            append(&log, &transactional(9, n, &format!("k{}", n % 20), &format!("{n:0>150}")));
        }
        append(&log, &marker(9, true));
        settle(&log).await;
        let mut runs = Runs { map_bytes: 24 * 8, ..Runs::default() };
        for _ in 0..20 {
            if !runs.dirt(&log).await.is_some_and(|d| d.due) {
                break;
            }
            runs.run(&log).await.unwrap().expect("a run comes further");
        }
        assert_eq!(runs.cleaned_to, Some(41));
        let left: Vec<Offset> = records(&log).await.iter().map(|r| r.offset).collect();
        assert_eq!(left, (20..41).collect::<Vec<_>>());
    });
}

#[test]
fn retention_may_take_segments_from_under_a_run() {
    for seed in 0..20 {
        sim(seed, async move {
            let log = open(true).await;
            for round in 0..12 {
                append_round(&log, round, 3);
                settle(&log).await;
            }
            let l = log.clone();
            let (tell, told) = crate::runtime::mailbox::oneshot();
            crate::runtime::spawn(async move {
                let mut runs = Runs::default();
                let ended = runs.run(&l).await.unwrap().is_some();
                // Whatever came of it, the next one finds a whole log.
                runs.run(&l).await.unwrap();
                tell.send(ended).unwrap();
            });
            sleep(Duration::from_micros(1_500 * seed)).await;
            log.set_config(LogConfig { cleanup_delete: true, retention_bytes: 3_000, ..config() });
            let end = log.log_end_offset();
            log.enforce_retention(NOW, end).await.unwrap();
            told.await.unwrap();
            assert_tidy(&log).await;
            let (start, found) = (log.log_start_offset(), records(&log).await);
            let newest = newest(&found);
            assert!(start > 0 && found.iter().all(|r| newest[&r.key].offset == r.offset));
            log.close().await.unwrap();
            assert_eq!(records(&open(false).await).await, found);
        });
    }
}

/// What the flusher does with a log whose write failed, or whose swap did. Until it is whole retention
/// touches no name. Each attempt may fail at its operation `again`.
async fn repair(log: &Log, again: Option<u64>) {
    let mut again = again;
    let _ = log.cut_back(|written, _| written).await;
    while log.is_half_swapped() {
        let files = names().await;
        assert_eq!(log.enforce_retention(NOW, Offset::MAX).await.unwrap(), 0);
        assert_eq!(names().await, files);
        sim::with_knobs(|k| k.disk.fail_at_op = again);
        let _ = log.repair().await;
        // The second attempt meets a disk that works.
        let struck = sim::with_knobs(|k| k.disk.fail_at_op.take().is_none());
        assert!(struck || log.is_writable());
        again = None;
    }
    if !log.is_writable() {
        log.repair().await.unwrap();
    }
    assert!(log.is_writable());
}

#[test]
fn a_disk_error_at_any_point_loses_nothing_and_ends_by_itself() {
    let (mut failed, mut halves) = (0, 0);
    for n in 0..400 {
        let ended = sim(n % 3, async move {
            let (log, mut runs) = prepare_log().await;
            let (all, end) = (records(&log).await, log.log_end_offset());
            sim::with_knobs(|k| k.disk.fail_at_op = Some(n));
            let result = runs.run(&log).await;
            let struck = sim::with_knobs(|k| k.disk.fail_at_op.take().is_none());
            // Also one that goes on reading and writing, when the names were not in question.
            assert_eq!(newest(&records(&log).await), newest(&all), "{result:?}");
            let half = log.is_half_swapped();
            assert!(result.is_err() || !half, "nobody is told");
            repair(&log, half.then_some(n % 7)).await;
            log.shrink_tail(0);
            assert_eq!(newest(&records(&log).await), newest(&all), "{result:?}");
            assert!(names().await.iter().all(|name| !name.ends_with(".swap")));
            append(&log, &batch(Compression::None, &[("key-2", "after the fault")]));
            settle(&log).await;
            let all = records(&log).await;
            drop(log);
            let log = open(false).await;
            assert_eq!(log.log_end_offset(), end + 1);
            assert_eq!(records(&log).await, all);
            assert_tidy(&log).await;
            (struck, result.is_err(), half)
        });
        failed += usize::from(ended.1);
        halves += usize::from(ended.2);
        if !ended.0 {
            break;
        }
    }
    assert!(failed > 100 && halves > 10, "{failed} runs failed, {halves} in the midst of a swap");
}

#[test]
fn a_sync_that_fails_beside_a_swap_leaves_nothing_of_it_behind() {
    let mut at = Duration::ZERO;
    loop {
        let over = sim(11, async move {
            let us = Duration::from_micros;
            sim::with_knobs(|k| {
                k.disk.latency = us(10)..us(20);
                k.disk.sync_latency = us(10)..us(40);
            });
            let (log, mut runs) = prepare_log().await;
            let (all, end) = (records(&log).await, log.log_end_offset());
            let done = Rc::new(Cell::new(false));
            let (l, d) = (log.clone(), done.clone());
            crate::runtime::spawn(async move {
                runs.run(&l).await.unwrap();
                d.set(true);
            });
            sleep(at).await;
            // As `SuspectUnlessDone` does when fdatasync fails.
            log.inner.state.borrow_mut().health = Health::Suspect;
            let over = done.get();
            while !done.get() {
                sleep(us(10)).await;
            }
            repair(&log, None).await;
            assert!(names().await.iter().all(|name| !name.ends_with(".swap")));
            assert_eq!(newest(&records(&log).await), newest(&all));
            drop(log);
            let log = open(false).await;
            assert_eq!(log.log_end_offset(), end);
            assert_eq!(newest(&records(&log).await), newest(&all));
            assert_tidy(&log).await;
            over
        });
        if over {
            return;
        }
        at += Duration::from_micros(20);
    }
}

#[test]
fn what_was_replaced_keeps_its_files_for_the_configured_time() {
    sim(12, async {
        let log = open(true).await;
        append_round(&log, 0, 40);
        settle(&log).await;
        log.set_config(LogConfig { file_delete_delay_ms: 60_000, ..config() });
        let deleted =
            async || names().await.into_iter().filter(|n| n.ends_with(".log.deleted")).count();
        Runs::default().run(&log).await.unwrap().unwrap();
        assert!(deleted().await > 1);
        sleep(Duration::from_secs(59)).await;
        assert!(deleted().await > 1);
        sleep(Duration::from_secs(2)).await;
        assert_tidy(&log).await;
    });
}

#[test]
fn lag_and_ratio_decide_what_is_due() {
    sim(7, async {
        let log = open(true).await;
        append(&log, &batch(Compression::None, &[("a", "0")])); // timestamp 1000
        settle(&log).await;
        let mut late = BatchBuilder::new(Compression::None);
        late.push(9000, Some(b"a"), Some(b"1"), &[]);
        append(&log, &late.finish());
        settle(&log).await;
        let when = CleanWhen {
            now_ms: 10_000,
            cleaned_to: None,
            high_watermark: 2,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_ratio: 0.5,
        };
        let dirt = async |when: CleanWhen| log.dirt(&when).await.unwrap().unwrap();
        let all = dirt(when).await;
        assert_eq!((all.first_dirty, all.upper, all.ratio, all.due), (0, 2, 1.0, true));
        let young = dirt(CleanWhen { min_compaction_lag_ms: 1001, ..when }).await;
        assert_eq!(young.upper, 1, "the second segment is too young");
        assert_eq!(log.dirt(&CleanWhen { high_watermark: 0, ..when }).await.unwrap(), None);
        let half = CleanWhen { cleaned_to: Some(1), ..when };
        assert!(!dirt(half).await.due, "as much as is clean is not more");
        assert!(dirt(CleanWhen { max_compaction_lag_ms: 999, ..half }).await.due);
        assert!(!dirt(CleanWhen { max_compaction_lag_ms: 1000, ..half }).await.due);
        assert_eq!(dirt(CleanWhen { cleaned_to: Some(77), ..when }).await.first_dirty, 0);
    });
}

#[test]
fn a_damaged_batch_is_not_written_again() {
    sim(8, async {
        let log = open(true).await;
        append_round(&log, 0, 12);
        settle(&log).await;
        log.close().await.unwrap();
        let path = Path::new(DIR).join(file_name(0, FileKind::Log));
        let mut bytes = disk::read_file(&path).await.unwrap();
        bytes[100] ^= 1;
        disk::write_file(&path, bytes).await.unwrap();
        let log = open(true).await;
        let before = names().await;
        match Runs::default().run(&log).await {
            Err(LogError::Corrupt { position: 0, path: found, .. }) => assert_eq!(found, path),
            other => panic!("{other:?}"),
        }
        assert_eq!(names().await, before, "nothing is left of the attempt");
    });
}

#[test]
fn readers_beside_a_run_see_the_old_or_the_new() {
    for seed in 0..30 {
        sim(seed, async {
            let log = open(true).await;
            append_round(&log, 0, 40);
            settle(&log).await;
            let end = log.log_end_offset();
            let all: BTreeMap<Offset, Stored> =
                records(&log).await.into_iter().map(|r| (r.offset, r)).collect();
            let wanted: Vec<Offset> = newest(&all.values().cloned().collect::<Vec<_>>())
                .values()
                .map(|r| r.offset)
                .collect();
            log.shrink_tail(0);
            let done = Rc::new(Cell::new(false));
            let reads = Rc::new(Cell::new(0));
            for _ in 0..3 {
                let (log, all, wanted) = (log.clone(), all.clone(), wanted.clone());
                let (done, reads) = (done.clone(), reads.clone());
                crate::runtime::spawn(async move {
                    while !done.get() {
                        let seen = records(&log).await;
                        assert!(seen.iter().all(|r| all.get(&r.offset) == Some(r)));
                        let offsets: Vec<Offset> = seen.iter().map(|r| r.offset).collect();
                        assert!(wanted.iter().all(|w| offsets.contains(w)));
                        let at = log.offset_for_timestamp(1000, end).await.unwrap();
                        assert!(at.is_some_and(|t| all.contains_key(&t.offset)));
                        reads.set(reads.get() + 1);
                        // As retention does with idle ones: files are opened by name again.
                        let _turn = log.inner.turn.take().await;
                        let segments = log.inner.state.borrow().segments.clone();
                        for s in segments.iter().filter(|s| s.finished.get()) {
                            drop(s.take_file());
                            *s.index.borrow_mut() = None;
                        }
                    }
                });
            }
            let mut runs = Runs::default();
            while reads.get() < 3 {
                sleep(Duration::from_micros(100)).await;
            }
            runs.run(&log).await.unwrap().unwrap();
            append_round(&log, 1, 10);
            settle(&log).await;
            done.set(true);
            runs.run(&log).await.unwrap().unwrap();
        });
    }
}

#[test]
fn whoever_closes_or_deletes_ends_the_run() {
    for seed in 0..20 {
        sim(seed, async move {
            let log = open(true).await;
            append_round(&log, 0, 60);
            settle(&log).await;
            let l = log.clone();
            crate::runtime::spawn(async move {
                let _ = Runs::default().run(&l).await.unwrap();
            });
            sleep(Duration::from_micros(200 * seed)).await;
            log.stop_cleaning().await;
            if seed % 2 == 0 {
                log.close().await.unwrap();
                assert_tidy(&log).await;
                assert_eq!(newest(&records(&open(true).await).await).len(), 12);
            } else {
                log.delete().await.unwrap();
                assert!(disk::list_dir(Path::new(DIR)).await.is_err());
            }
        });
    }
}

/// The log of the power cut test: a cleaned part, then dirty segments.
async fn prepare_log() -> (Log, Runs) {
    let log = open(true).await;
    let mut runs = Runs::default();
    append_round(&log, 0, 12);
    settle(&log).await;
    runs.run(&log).await.unwrap().unwrap();
    // Small segments: several become one.
    for round in 1..7 {
        append_round(&log, round, 2);
        settle(&log).await;
    }
    append(&log, &batch(Compression::None, &[("key-1", ""), ("other", "x")]));
    settle(&log).await;
    append(&log, &batch(Compression::None, &[("key-2", "in the active segment")]));
    log.write_pending().await.unwrap();
    log.sync().await.unwrap();
    (log, runs)
}

/// How long the run takes, when `cut_after` is `None`; otherwise cuts the power at that time of the
/// run, starts again and looks.
fn cut(seed: u64, cut_after: Option<Duration>) -> Duration {
    let took = Rc::new(Cell::new(Duration::ZERO));
    let result = took.clone();
    sim(seed, async move {
        let us = Duration::from_micros;
        sim::with_knobs(|k| {
            k.disk.latency = us(10)..us(20);
            k.disk.sync_latency = us(10)..us(40);
        });
        let before = Rc::new(RefCell::new((Vec::new(), 0, None)));
        let begun = Rc::new(Cell::new(None));
        let ended = Rc::new(Cell::new(None));
        let (b, start, end) = (before.clone(), begun.clone(), ended.clone());
        sim::spawn_process_on("m", "broker", async move {
            let (log, mut runs) = prepare_log().await;
            *b.borrow_mut() = (records(&log).await, log.log_end_offset(), runs.cleaned_to);
            start.set(Some(crate::runtime::now()));
            runs.run(&log).await.unwrap().unwrap();
            end.set(Some(crate::runtime::now()));
            sleep(Duration::from_secs(100)).await;
        });
        while begun.get().is_none() {
            sleep(Duration::from_micros(1)).await;
        }
        match cut_after {
            Some(d) => sleep(d).await,
            None => {
                while ended.get().is_none() {
                    sleep(Duration::from_micros(1)).await;
                }
                took.set(ended.get().unwrap().saturating_since(begun.get().unwrap()));
            }
        }
        sim::power_cut("m");
        let was_done = ended.get().is_some();
        // A start that is itself cut short, sooner or later.
        sim::spawn_process_on("m", "cut short", async { drop(open(false).await) });
        sleep(Duration::from_micros(crate::runtime::random_u64() % 2_000)).await;
        sim::power_cut("m");
        let (tell, told) = crate::runtime::mailbox::oneshot();
        sim::spawn_process_on("m", "again", async move {
            let (all, end, cleaned_to) = before.borrow().clone();
            // Twice: what the first start did must satisfy the second.
            for _ in 0..2 {
                let log = open(false).await;
                assert_eq!(log.log_end_offset(), end);
                let found = records(&log).await;
                assert!(found.iter().all(|r| all.contains(r)), "altered");
                assert_eq!(newest(&found), newest(&all));
                assert!(!was_done || found.len() < all.len(), "what was cleaned came back");
                assert_tidy(&log).await;
                log.close().await.unwrap();
            }
            let log = open(true).await;
            let mut runs = Runs { cleaned_to, ..Runs::default() };
            runs.run(&log).await.unwrap();
            let found = records(&log).await;
            assert_eq!(newest(&found), newest(&all));
            // One of each key, and the active segment's.
            assert_eq!(found.len(), 12 + 1 + 1);
            assert_tidy(&log).await;
            tell.send(()).unwrap();
        });
        told.await.unwrap();
    });
    result.get()
}

#[test]
fn a_power_cut_at_any_point_of_a_run_loses_and_brings_back_nothing() {
    // Every operation of the simulated disk takes 10 µs at least: no step over one.
    const STEP: Duration = Duration::from_micros(10);
    let seeds = std::env::var("SPINDLE_LOG_CUT_SEEDS").map_or(1, |n| n.parse().unwrap());
    // Seed 5 is the one that misses the sync between the old names' end and the new one's begin.
    for seed in (0..seeds).chain([5]) {
        let took = cut(seed, None);
        let mut at = Duration::ZERO;
        while at < took + STEP * 20 {
            cut(seed, Some(at));
            at += STEP;
        }
    }
}

/// What a crash leaves after step 3 of a swap, with all of the old segments: new files as `.swap`.
async fn half_swapped() -> (Vec<Stored>, Offset) {
    let log = open(true).await;
    for round in 0..6 {
        append_round(&log, round, 2);
        settle(&log).await;
    }
    let dir = Path::new(DIR);
    let mut old = Vec::new();
    for name in names().await.into_iter().filter(|n| n.contains("index") || n.contains(".log")) {
        old.push((disk::read_file(&dir.join(&name)).await.unwrap(), name));
    }
    Runs::default().run(&log).await.unwrap().unwrap();
    let (after, end) = (records(&log).await, log.log_end_offset());
    assert!(log.segment_count() < 4);
    let new: Vec<Offset> = log.inner.state.borrow().segments.iter().map(|s| s.base).collect();
    let (active, new) = new.split_last().unwrap();
    log.close().await.unwrap();
    for base in new {
        for kind in [FileKind::Log, FileKind::Index, FileKind::TimeIndex] {
            let bytes = disk::read_file(&dir.join(file_name(*base, kind))).await.unwrap();
            let swap = dir.join(swap::swap_name(*base, kind));
            disk::write_file_atomic(&swap, bytes).await.unwrap();
        }
    }
    for (bytes, name) in old.into_iter().filter(|(_, n)| !n.starts_with(&format!("{active:020}"))) {
        disk::write_file_atomic(&dir.join(name), bytes).await.unwrap();
    }
    (after, end)
}

#[test]
fn a_start_that_completes_a_swap_may_be_cut_short_anywhere() {
    for step in 0..400u64 {
        sim(step % 7, async move {
            let us = Duration::from_micros;
            sim::with_knobs(|k| {
                k.disk.latency = us(10)..us(20);
                k.disk.sync_latency = us(100)..us(200);
            });
            let expected = Rc::new(RefCell::new(None));
            let e = expected.clone();
            let prepared = sim::spawn_process_on("m", "broker", async move {
                *e.borrow_mut() = Some(half_swapped().await);
            });
            sim::wait_exit(prepared).await;
            sim::spawn_process_on("m", "cut short", async { drop(open(false).await) });
            sleep(us(step * 10)).await;
            sim::power_cut("m");
            let (tell, told) = crate::runtime::mailbox::oneshot();
            sim::spawn_process_on("m", "again", async move {
                let log = open(false).await;
                assert_tidy(&log).await;
                let found = (records(&log).await, log.log_end_offset());
                assert!(Some(found) == expected.take());
                tell.send(()).unwrap();
            });
            told.await.unwrap();
        });
    }
}
