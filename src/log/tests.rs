//! Tests of the log on real files: what is appended is read back, byte for byte, from memory, from
//! files, and after each kind of stop.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::runtime::executor::{ExecutorSpec, block_on};
use crate::types::Compression;
use crate::wire::record_batch::{self, BatchHeader};
use crate::wire::records::BatchBuilder;

const CLEAN: OpenHints = OpenHints { clean: true, recovery_point: 0, log_start_offset: 0 };
const UNCLEAN: OpenHints = OpenHints { clean: false, recovery_point: 0, log_start_offset: 0 };

fn run<T: 'static, Fut: Future<Output = T> + 'static>(
    f: impl FnOnce(PathBuf) -> Fut + 'static,
) -> T {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("t-0");
    let path = root.path().to_path_buf();
    block_on(ExecutorSpec::unpinned("log-test"), move || async move {
        crate::runtime::disk::prepare_device(&path).await.unwrap();
        f(dir).await
    })
    .unwrap()
}

fn free() -> Rc<CatchUp> {
    Rc::new(CatchUp::new(0, vec![Default::default()], 1 << 20))
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1 << 30,
        segment_ms: i64::MAX,
        segment_jitter_ms: 0,
        index_interval_bytes: 4096,
        segment_index_bytes: 10 << 20,
        retention_ms: -1,
        retention_bytes: -1,
        cleanup_delete: true,
        file_delete_delay_ms: 0,
        preallocate: false,
    }
}

/// A batch of `records` records of `bytes` bytes each; timestamps count up from `ts`.
fn batch(ts: i64, records: usize, bytes: usize, codec: Compression) -> Vec<u8> {
    let mut b = BatchBuilder::new(codec);
    for n in 0..records {
        let value: Vec<u8> = (0..bytes).map(|i| (i * 7 + n) as u8).collect();
        b.push(ts + n as i64, None, Some(&value), &[]);
    }
    b.finish()
}

fn plain(records: usize, bytes: usize) -> Vec<u8> {
    batch(1000, records, bytes, Compression::None)
}

/// Appends and returns the bytes as the log must give them back.
fn append(log: &Log, batch: &[u8], epoch: i32) -> Vec<u8> {
    let base_offset = log.log_end_offset();
    log.append(batch, Patch { base_offset, leader_epoch: epoch, log_append_time_ms: None })
        .unwrap();
    let mut expected = batch.to_vec();
    crate::wire::record_batch::patch_offset(&mut expected, base_offset, epoch);
    expected
}

fn flat(records: &FetchedRecords) -> Vec<u8> {
    let bytes: Vec<u8> = records.chunks.iter().flat_map(|c| c.to_vec()).collect();
    assert_eq!(bytes.len(), records.bytes);
    bytes
}

async fn read_all(log: &Log, max_bytes: usize) -> Vec<u8> {
    let (mut at, mut out) = (log.log_start_offset(), Vec::new());
    while at < log.written_offset() {
        let bytes = flat(&log.read(at, log.written_offset(), max_bytes, true).await.unwrap());
        let mut rest = &bytes[..];
        assert!(!rest.is_empty(), "nothing at {at}");
        while !rest.is_empty() {
            let header = BatchHeader::parse(rest).unwrap();
            at = header.last_offset() + 1;
            rest = &rest[header.size_bytes()..];
        }
        out.extend_from_slice(&bytes);
    }
    out
}

fn log_file(dir: &Path, base: i64) -> PathBuf {
    dir.join(format!("{base:020}.log"))
}

#[test]
fn a_new_log_makes_no_file() {
    run(|dir| async move {
        let log = Log::open(dir.clone(), config(), CLEAN).await.unwrap();
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (0, 0));
        assert_eq!(log.write_pending().await.unwrap(), 0);
        assert_eq!(log.sync().await.unwrap(), 0);
        log.assign_leader_epoch(3);
        assert_eq!(log.end_offset_for_epoch(3), (3, 0));
        log.close().await.unwrap();
        assert!(!dir.exists());
    });
}

#[test]
fn appends_are_read_back_from_memory_files_and_after_a_clean_stop() {
    run(|dir| async move {
        let log = Log::open(dir.clone(), config(), CLEAN).await.unwrap();
        let mut expected = Vec::new();
        for n in 0..200 {
            expected.extend(append(&log, &plain(1 + n % 5, 10 + n * 7), 1));
            if n % 3 == 0 {
                log.write_pending().await.unwrap();
            }
        }
        assert!(log.unwritten_bytes() > 0);
        log.write_pending().await.unwrap();
        assert_eq!(log.unwritten_bytes(), 0);
        assert_eq!(log.written_offset(), log.log_end_offset());
        assert!(log.read_tail(0, i64::MAX, 1 << 30, true).is_some());
        assert_eq!(read_all(&log, 1 << 30).await, expected);
        assert_eq!(read_all(&log, 1).await, expected);
        log.shrink_tail(0);
        assert_eq!(log.tail_memory_bytes(), 0);
        assert!(log.read_tail(0, i64::MAX, 1 << 30, true).is_none());
        assert_eq!(read_all(&log, 10_000).await, expected);
        assert_eq!(read_all(&log, 1).await, expected);
        // The partial block is read back from the file when the cache is gone.
        expected.extend(append(&log, &plain(1, 100), 1));
        log.write_pending().await.unwrap();
        assert!(log.durable_offset() < log.written_offset());
        assert_eq!(log.sync().await.unwrap(), log.log_end_offset());
        // One write that syncs itself; a second one right after it; nothing to write.
        for _ in 0..2 {
            expected.extend(append(&log, &plain(2, 100), 1));
            assert_eq!(log.write_durably().await.unwrap(), log.log_end_offset());
        }
        assert_eq!(log.write_durably().await.unwrap(), log.durable_offset());
        let end = log.log_end_offset();
        log.close().await.unwrap();
        assert_eq!(std::fs::metadata(log_file(&dir, 0)).unwrap().len(), expected.len() as u64);
        assert_eq!(std::fs::read(log_file(&dir, 0)).unwrap(), expected);

        let log = Log::open(dir.clone(), config(), CLEAN).await.unwrap();
        assert_eq!(log.log_end_offset(), end);
        assert_eq!(log.durable_offset(), end);
        assert_eq!(log.end_offset_for_epoch(1), (1, end));
        expected.extend(append(&log, &plain(3, 50), 2));
        log.write_pending().await.unwrap();
        assert_eq!(read_all(&log, 5000).await, expected);
        assert_eq!(log.end_offset_for_epoch(1), (1, end));
        log.close().await.unwrap();
        assert_eq!(std::fs::read(log_file(&dir, 0)).unwrap(), expected);
    });
}

#[test]
fn reads_are_bounded_by_up_to_and_size() {
    run(|dir| async move {
        let log = Log::open(dir, config(), CLEAN).await.unwrap();
        let sizes: Vec<usize> = (0..10).map(|_| append(&log, &plain(2, 500), 0).len()).collect();
        log.write_pending().await.unwrap();
        for from_files in [false, true] {
            if from_files {
                log.shrink_tail(0);
            }
            let read = |from, up_to, max, one| {
                let log = log.clone();
                async move { log.read(from, up_to, max, one).await.unwrap().bytes }
            };
            assert_eq!(read(0, 4, 1 << 20, true).await, sizes[0] * 2);
            assert_eq!(read(3, 20, sizes[0] * 3 + 1, true).await, sizes[0] * 3);
            assert_eq!(read(3, 20, 1, true).await, sizes[0]);
            assert_eq!(read(3, 20, 1, false).await, 0);
            assert_eq!(read(20, 20, 1 << 20, true).await, 0);
            assert_eq!(read(5, 5, 1 << 20, true).await, 0);
            // A batch that reaches beyond `up_to` is not returned.
            assert_eq!(read(0, 3, 1 << 20, true).await, sizes[0]);
            for out in [-1, 21] {
                assert!(matches!(
                    log.read(out, 21, 1, true).await,
                    Err(LogError::OffsetOutOfRange { start: 0, end: 20, .. })
                ));
            }
        }
        append(&log, &plain(1, 10), 0);
        let unwritten = log.read(20, 21, 1000, true).await.unwrap();
        assert_eq!(unwritten.bytes, 0, "not written yet");
    });
}

/// The smallest batch there is: a case that the model test below once found.
#[test]
fn a_record_of_no_bytes_is_read_back() {
    run(|dir| async move {
        let log =
            Log::open(dir, LogConfig { segment_bytes: 5000, ..config() }, CLEAN).await.unwrap();
        let written = append(&log, &plain(1, 0), 3);
        log.write_pending().await.unwrap();
        assert_eq!(read_all(&log, 100).await, written);
    });
}

#[test]
fn single_records_keep_few_buffers() {
    run(|dir| async move {
        let log = Log::open(dir, config(), CLEAN).await.unwrap();
        let mut expected = Vec::new();
        for _ in 0..300 {
            expected.extend(append(&log, &plain(1, 20), 0));
            log.write_pending().await.unwrap();
        }
        assert!(log.tail_memory_bytes() <= expected.len() * 2 + 3 * 4096);
        assert!(log.read_tail(0, 300, 1 << 30, true).is_some(), "all of it is still cached");
        assert_eq!(read_all(&log, 1 << 30).await, expected);
        assert_eq!(read_all(&log, 1).await, expected);
    });
}

#[test]
fn batches_larger_than_a_buffer() {
    run(|dir| async move {
        let log = Log::open(dir.clone(), config(), CLEAN).await.unwrap();
        let mut expected = Vec::new();
        for bytes in [100, 3 << 20, 10, 1 << 20, 700_000, 700_000, 5, 2 << 20] {
            expected.extend(append(&log, &plain(1, bytes), 0));
        }
        log.write_pending().await.unwrap();
        assert_eq!(read_all(&log, 1 << 30).await, expected);
        log.shrink_tail(0);
        assert_eq!(read_all(&log, 1 << 30).await, expected);
        assert_eq!(read_all(&log, 1000).await, expected);
        log.close().await.unwrap();
        assert_eq!(std::fs::read(log_file(&dir, 0)).unwrap(), expected);
    });
}

#[test]
fn a_crash_loses_only_what_was_not_written() {
    run(|dir| async move {
        let log = Log::open(dir.clone(), config(), CLEAN).await.unwrap();
        let mut expected = Vec::new();
        for n in 0..50 {
            expected.extend(append(&log, &plain(2, 300), n / 10));
        }
        log.write_pending().await.unwrap();
        append(&log, &plain(2, 300), 9);
        drop(log);
        let log = Log::open(dir.clone(), config(), UNCLEAN).await.unwrap();
        assert_eq!(log.log_end_offset(), 100);
        assert_eq!(log.durable_offset(), 100);
        assert_eq!(log.leader_epoch_at(99), Some(4), "epochs come back from the batches");
        assert_eq!(log.end_offset_for_epoch(2), (2, 60));
        assert_eq!(read_all(&log, 4000).await, expected);
        // And on: from a checkpoint with a recovery point.
        expected.extend(append(&log, &plain(2, 300), 5));
        log.write_pending().await.unwrap();
        log.sync().await.unwrap();
        let recovery_point = log.checkpoint().await.unwrap();
        assert_eq!(recovery_point, 102);
        expected.extend(append(&log, &plain(2, 300), 6));
        log.write_pending().await.unwrap();
        drop(log);
        let hints = OpenHints { clean: false, recovery_point, log_start_offset: 1 };
        let log = Log::open(dir.clone(), config(), hints).await.unwrap();
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (1, 104));
        assert_eq!(log.leader_epoch_at(103), Some(6));
        assert_eq!(log.leader_epoch_at(2), Some(0));
        assert_eq!(read_all(&log, 1 << 20).await, expected);
        log.close().await.unwrap();
    });
}

#[test]
fn a_torn_tail_is_cut_at_the_bad_batch() {
    run(|dir| async move {
        for damage in 0..4 {
            let dir = dir.join(damage.to_string());
            let log = Log::open(dir.clone(), config(), CLEAN).await.unwrap();
            let mut expected = Vec::new();
            for _ in 0..30 {
                expected.extend(append(&log, &plain(1, 700), 0));
            }
            log.write_pending().await.unwrap();
            let whole = expected.len();
            for n in 0..3 {
                append(&log, &plain(1, 700), n);
            }
            log.write_pending().await.unwrap();
            drop(log);
            let file = std::fs::OpenOptions::new().write(true).open(log_file(&dir, 0)).unwrap();
            match damage {
                // A byte of the records; the header; half the batch; garbage and no end.
                0 => file.write_all_at(&[0xff; 3], whole as u64 + 100).unwrap(),
                1 => file.write_all_at(&[0xff; 16], whole as u64).unwrap(),
                2 => file.set_len(whole as u64 + 300).unwrap(),
                _ => file.write_all_at(&vec![0x5a; 200_000], whole as u64).unwrap(),
            }
            drop(file);
            let hints = OpenHints { recovery_point: 0, ..UNCLEAN };
            let log = Log::open(dir.clone(), config(), hints).await.unwrap();
            assert_eq!(log.log_end_offset(), 30, "damage {damage}");
            assert_eq!(std::fs::metadata(log_file(&dir, 0)).unwrap().len(), whole as u64);
            assert_eq!(read_all(&log, 1 << 20).await, expected);
            expected.extend(append(&log, &plain(4, 99), 7));
            log.write_pending().await.unwrap();
            drop(log);
            // The same when the next stop calls itself clean and is not.
            let log = Log::open(dir.clone(), config(), CLEAN).await.unwrap();
            assert_eq!(log.log_end_offset(), 34, "damage {damage}");
            assert_eq!(read_all(&log, 1 << 20).await, expected);
            log.close().await.unwrap();
        }
    });
}

#[test]
fn a_bad_batch_drops_the_segments_after_it() {
    run(|dir| async move {
        let small = LogConfig { segment_bytes: 10_000, ..config() };
        let log = Log::open(dir.clone(), small.clone(), CLEAN).await.unwrap();
        let mut expected = Vec::new();
        for _ in 0..40 {
            expected.push(append(&log, &plain(1, 900), 0));
        }
        log.write_pending().await.unwrap();
        assert_eq!(log.segment_count(), 4);
        drop(log);
        let file = std::fs::OpenOptions::new().write(true).open(log_file(&dir, 10)).unwrap();
        file.write_all_at(&[1], 3 * expected[0].len() as u64 + 200).unwrap();
        let log = Log::open(dir.clone(), small.clone(), UNCLEAN).await.unwrap();
        assert_eq!((log.log_end_offset(), log.segment_count()), (13, 2));
        assert_eq!(read_all(&log, 1 << 20).await, expected[..13].concat());
        assert!(!log_file(&dir, 20).exists() && !log_file(&dir, 30).exists());
        drop(log);
        // Below the recovery point nothing is looked at.
        file.write_all_at(&[7], 200).unwrap();
        let hints = OpenHints { recovery_point: 10, ..UNCLEAN };
        let log = Log::open(dir.clone(), small.clone(), hints).await.unwrap();
        assert_eq!(log.log_end_offset(), 10);
    });
}

#[test]
fn rolls_by_size_and_reads_across_segments() {
    run(|dir| async move {
        let small = LogConfig { segment_bytes: 20_000, ..config() };
        let log = Log::open(dir.clone(), small.clone(), CLEAN).await.unwrap();
        let mut expected = Vec::new();
        let mut bases = Vec::new();
        for n in 0..100 {
            let base_offset = log.log_end_offset();
            let b = plain(2, 500);
            let patch = Patch { base_offset, leader_epoch: 1, log_append_time_ms: None };
            if let Some(base) = log.append(&b, patch).unwrap() {
                assert_eq!(base, base_offset);
                let mut snapshot = vec![0, 1, 0, 0, 0, 0, 1, 2, 3];
                snapshot[2..6].copy_from_slice(&crc32c::crc32c(&[1, 2, 3]).to_be_bytes());
                log.put_producer_snapshot(base, snapshot);
                bases.push(base);
            }
            expected.extend({
                let mut e = b.clone();
                crate::wire::record_batch::patch_offset(&mut e, base_offset, 1);
                e
            });
            if n % 7 == 0 {
                log.write_pending().await.unwrap();
            }
        }
        log.write_pending().await.unwrap();
        assert!(log.segment_count() > 4);
        assert_eq!(bases.len() + 1, log.segment_count());
        assert_eq!(log.durable_offset(), *bases.last().unwrap(), "a roll syncs");
        assert_eq!(log.size_bytes(), expected.len() as u64);
        let snapshot = log.latest_producer_snapshot().await.unwrap().unwrap();
        assert_eq!(snapshot.0, *bases.last().unwrap());
        for shrink in [usize::MAX, 30_000, 0] {
            log.shrink_tail(shrink);
            assert_eq!(read_all(&log, 1 << 30).await, expected);
            assert_eq!(read_all(&log, 3000).await, expected);
        }
        log.close().await.unwrap();
        // Indexes that are lost or wrong are made again.
        std::fs::remove_file(dir.join("00000000000000000000.index")).unwrap();
        std::fs::write(dir.join(format!("{:020}.index", bases[0])), [0, 0, 0, 3, 0, 0, 0, 9])
            .unwrap();
        let log = Log::open(dir.clone(), small, CLEAN).await.unwrap();
        let mut headers = 0;
        log.replay_headers(0, &mut |_| headers += 1).await.unwrap();
        assert_eq!(headers, 100);
        assert_eq!(read_all(&log, 3000).await, expected);
        for at in 0..200 {
            let one = log.read(at, 200, 1, true).await.unwrap();
            let header = BatchHeader::parse(&one.chunks[0]).unwrap();
            assert!(header.base_offset <= at && at <= header.last_offset());
        }
        std::fs::write(dir.join(format!("{:020}.snapshot", bases[bases.len() - 1])), [9; 20])
            .unwrap();
        let snapshot = log.latest_producer_snapshot().await.unwrap().unwrap();
        assert_eq!(snapshot.0, bases[bases.len() - 2]);
        log.close().await.unwrap();
    });
}

#[test]
fn rolls_by_time_and_by_index_size() {
    run(|dir| async move {
        let by_time = LogConfig { segment_ms: 1000, ..config() };
        let log = Log::open(dir.join("a"), by_time.clone(), CLEAN).await.unwrap();
        for ts in [10_000, 10_900, 11_000, 11_001, 11_500] {
            append(&log, &batch(ts, 1, 10, Compression::None), 0);
        }
        assert_eq!(log.segment_count(), 2);
        log.close().await.unwrap();
        // After a reopen the first timestamp is read with the first write.
        let log = Log::open(dir.join("a"), by_time, CLEAN).await.unwrap();
        append(&log, &batch(11_600, 1, 10, Compression::None), 0);
        log.write_pending().await.unwrap();
        append(&log, &batch(12_002, 1, 10, Compression::None), 0);
        assert_eq!(log.segment_count(), 3);

        let by_index = LogConfig { segment_index_bytes: 36, ..config() };
        let log = Log::open(dir.join("b"), by_index, CLEAN).await.unwrap();
        for n in 0..20 {
            append(&log, &batch(n, 1, 5000, Compression::None), 0);
        }
        assert!(log.segment_count() > 3);
        log.write_pending().await.unwrap();
        assert_eq!(log.written_offset(), 20);
    });
}

#[test]
fn retention_drops_whole_closed_segments() {
    run(|dir| async move {
        let mut small = LogConfig { segment_bytes: 10_000, ..config() };
        let log = Log::open(dir.clone(), small.clone(), CLEAN).await.unwrap();
        let mut size = 0;
        for n in 0..50 {
            size = append(&log, &batch(1000 * n, 1, 900, Compression::None), n as i32).len();
        }
        log.write_pending().await.unwrap();
        assert_eq!(log.segment_count(), 5);
        assert_eq!(log.enforce_retention(100_000, 50).await.unwrap(), 0);
        // By time: segment 0 ends with timestamp 9,000, segment 1 with 19,000.
        small.retention_ms = 30_000;
        log.set_config(small.clone());
        assert_eq!(log.enforce_retention(39_000, 50).await.unwrap(), 0);
        assert_eq!(log.enforce_retention(39_001, 5).await.unwrap(), 0, "high watermark");
        assert_eq!(log.enforce_retention(39_001, 50).await.unwrap(), 1);
        assert_eq!(log.log_start_offset(), 10);
        assert!(!log_file(&dir, 0).exists());
        assert_eq!(log.leader_epoch_at(10), Some(10));
        assert_eq!(log.leader_epoch_at(9), None);
        // By size: four segments of ten batches, room for three and a half.
        small.retention_ms = -1;
        small.retention_bytes = (size * 35) as i64;
        log.set_config(small.clone());
        assert_eq!(log.enforce_retention(0, 50).await.unwrap(), 0);
        small.retention_bytes = (size * 30) as i64;
        log.set_config(small.clone());
        assert_eq!(log.enforce_retention(0, 50).await.unwrap(), 1);
        // DeleteRecords; a read that began before goes on.
        small.retention_bytes = -1;
        small.cleanup_delete = false;
        log.set_config(small.clone());
        log.shrink_tail(0);
        log.advance_log_start(45).await.unwrap();
        assert!(matches!(
            log.read(44, 50, 1, true).await,
            Err(LogError::OffsetOutOfRange { offset: 44, start: 45, end: 50 })
        ));
        assert_eq!(log.enforce_retention(0, 50).await.unwrap(), 2);
        assert_eq!((log.log_start_offset(), log.segment_count()), (45, 1));
        assert!(log.advance_log_start(51).await.is_err());
        log.advance_log_start(50).await.unwrap();
        assert_eq!(log.enforce_retention(i64::MAX / 2, 50).await.unwrap(), 0, "never the active");
        log.close().await.unwrap();
        let hints = OpenHints { log_start_offset: 50, ..CLEAN };
        let log = Log::open(dir.clone(), small, hints).await.unwrap();
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (50, 50));
    });
}

#[test]
fn a_dropped_segment_keeps_its_files_for_the_configured_time() {
    run(|dir| async move {
        let mut small = LogConfig {
            segment_bytes: 10_000,
            retention_bytes: 0,
            file_delete_delay_ms: 3_600_000,
            ..config()
        };
        let log = Log::open(dir.clone(), small.clone(), CLEAN).await.unwrap();
        for n in 0..30 {
            append(&log, &batch(1000 * n, 1, 900, Compression::None), 3);
        }
        log.write_pending().await.unwrap();
        let deleted = |base: i64| dir.join(format!("{base:020}.log.deleted"));
        assert_eq!(log.enforce_retention(0, 10).await.unwrap(), 1);
        assert!(!log_file(&dir, 0).exists() && deleted(0).exists());
        small.file_delete_delay_ms = 1;
        log.set_config(small.clone());
        assert_eq!(log.enforce_retention(0, 20).await.unwrap(), 1);
        while deleted(10).exists() {
            crate::runtime::sleep(std::time::Duration::from_millis(1)).await;
        }
        assert!(deleted(0).exists(), "its hour is not over");
        log.close().await.unwrap();
        let log = Log::open(dir.clone(), small, CLEAN).await.unwrap();
        assert_eq!(log.log_start_offset(), 20);
        assert!(!deleted(0).exists(), "the next start removes what is left");
    });
}

#[test]
fn retention_closes_the_active_segment_when_all_of_it_may_go() {
    run(|dir| async move {
        let mut small = LogConfig { segment_bytes: 10_000, retention_ms: 30_000, ..config() };
        let log = Log::open(dir.clone(), small.clone(), CLEAN).await.unwrap();
        for n in 0..15 {
            append(&log, &batch(1000 * n, 1, 900, Compression::None), 3);
        }
        log.write_pending().await.unwrap();
        assert_eq!(log.segment_count(), 2);
        assert_eq!(log.enforce_retention(44_000, 15).await.unwrap(), 1, "14,000 is not over");
        assert_eq!(log.enforce_retention(44_001, 14).await.unwrap(), 0, "high watermark");
        assert_eq!((log.log_start_offset(), log.segment_count()), (10, 1));
        assert_eq!(log.enforce_retention(44_001, 15).await.unwrap(), 1);
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (15, 15));
        assert_eq!(log.enforce_retention(44_001, 15).await.unwrap(), 0, "empty: nothing to close");
        // By size: only with room for nothing.
        small.retention_ms = -1;
        small.retention_bytes = 1;
        log.set_config(small.clone());
        append(&log, &plain(1, 10), 3);
        log.write_pending().await.unwrap();
        assert_eq!(log.enforce_retention(0, 16).await.unwrap(), 0);
        small.retention_bytes = 0;
        log.set_config(small.clone());
        assert_eq!(log.enforce_retention(0, 16).await.unwrap(), 1);
        assert_eq!((log.log_start_offset(), log.segment_count()), (16, 1));
        drop(log);
        let log = Log::open(dir.clone(), small, UNCLEAN).await.unwrap();
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (16, 16));
    });
}

#[test]
fn an_idle_log_rolls_by_the_clock_and_keeps_its_end() {
    run(|dir| async move {
        let by_time = LogConfig { segment_ms: 1000, retention_ms: 1000, ..config() };
        let log = Log::open(dir.clone(), by_time.clone(), CLEAN).await.unwrap();
        append(&log, &plain(7, 10), 3);
        log.write_pending().await.unwrap();
        let later = crate::runtime::wall_clock_ms() + 3_600_000;
        assert_eq!(log.enforce_retention(later, 7).await.unwrap(), 1);
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (7, 7));
        assert_eq!(log.enforce_retention(later, 7).await.unwrap(), 0);
        drop(log);
        let log = Log::open(dir.clone(), by_time, UNCLEAN).await.unwrap();
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (7, 7));
        append(&log, &plain(1, 10), 3);
        log.write_pending().await.unwrap();
        assert_eq!(log.read(7, 8, 1, true).await.unwrap().chunks.len(), 1);
        log.close().await.unwrap();
    });
}

#[test]
fn finds_offsets_by_time() {
    run(|dir| async move {
        let small = LogConfig { segment_bytes: 10_000, index_interval_bytes: 1000, ..config() };
        let log = Log::open(dir.clone(), small.clone(), CLEAN).await.unwrap();
        for n in 0..30 {
            let codec = if n % 2 == 0 { Compression::Lz4 } else { Compression::None };
            append(&log, &batch(1000 + n * 100, 5, 200, codec), 2);
        }
        log.write_pending().await.unwrap();
        for reopened in [false, true] {
            let log = if reopened {
                log.close().await.unwrap();
                Log::open(dir.clone(), small.clone(), CLEAN).await.unwrap()
            } else {
                log.clone()
            };
            let end = log.log_end_offset();
            for (ask, timestamp_ms, offset) in
                [(0, 1000, 0), (1003, 1003, 3), (1005, 1100, 5), (3904, 3904, 149)]
            {
                assert_eq!(
                    log.offset_for_timestamp(ask, end).await.unwrap(),
                    Some(TimestampOffset { timestamp_ms, offset, leader_epoch: 2 }),
                    "{ask}"
                );
            }
            assert_eq!(log.offset_for_timestamp(3905, end).await.unwrap(), None);
            assert_eq!(log.offset_for_timestamp(3900, 100).await.unwrap(), None);
            let max = log.max_timestamp(end).await.unwrap().unwrap();
            assert_eq!((max.timestamp_ms, max.offset), (3904, 149));
            let max = log.max_timestamp(70).await.unwrap().unwrap();
            assert_eq!((max.timestamp_ms, max.offset), (2304, 69));
        }
    });
}

#[test]
fn log_append_time_is_one_time_for_the_batch() {
    run(|dir| async move {
        let log = Log::open(dir.clone(), config(), CLEAN).await.unwrap();
        for time in [5000, 6000, 6000] {
            let patch = Patch {
                base_offset: log.log_end_offset(),
                leader_epoch: 0,
                log_append_time_ms: Some(time),
            };
            log.append(&plain(3, 10), patch).unwrap();
        }
        log.write_pending().await.unwrap();
        let found = log.offset_for_timestamp(5001, 9).await.unwrap().unwrap();
        assert_eq!((found.timestamp_ms, found.offset), (6000, 3));
        let max = log.max_timestamp(9).await.unwrap().unwrap();
        assert_eq!((max.timestamp_ms, max.offset), (6000, 3));
        drop(log);
        let log = Log::open(dir, config(), UNCLEAN).await.unwrap();
        assert_eq!(log.log_end_offset(), 9, "the CRC fits the new time");
    });
}

#[test]
fn leftovers_are_removed() {
    run(|dir| async move {
        let log = Log::open(dir.clone(), config(), CLEAN).await.unwrap();
        append(&log, &plain(1, 10), 0);
        log.close().await.unwrap();
        let leftovers = [
            "00000000000000000000.log.deleted",
            "leader-epoch-checkpoint.tmp",
            "00000000000000000000.log.cleaned",
            "00000000000000000099.index",
        ];
        for name in leftovers {
            std::fs::write(dir.join(name), b"x").unwrap();
        }
        let log = Log::open(dir.clone(), config(), CLEAN).await.unwrap();
        assert_eq!(log.log_end_offset(), 1);
        for name in leftovers {
            assert!(!dir.join(name).exists(), "{name}");
        }
        log.delete().await.unwrap();
        assert_eq!(std::fs::read_dir(dir.parent().unwrap()).unwrap().count(), 0);
        let patch = Patch { base_offset: 1, leader_epoch: 0, log_append_time_ms: None };
        assert!(log.append(&plain(1, 1), patch).is_err());
    });
}

#[test]
fn a_failed_write_stops_appends_until_the_repair_and_not_reads() {
    run(|dir| async move {
        let small = LogConfig { segment_bytes: 2000, ..config() };
        let log = Log::open(dir.clone(), small, CLEAN).await.unwrap();
        let first = append(&log, &plain(1, 1000), 0);
        log.write_pending().await.unwrap();
        // The next segment's file can't be made: a directory has its name.
        std::fs::create_dir(log_file(&dir, 1)).unwrap();
        append(&log, &plain(1, 1000), 0);
        assert!(log.write_pending().await.is_err());
        assert!(log.is_suspect());
        assert!(matches!(log.write_pending().await, Err(LogError::Suspect(_))));
        let patch = Patch { base_offset: 2, leader_epoch: 0, log_append_time_ms: None };
        assert!(matches!(log.append(&plain(1, 1), patch), Err(LogError::Suspect(_))));
        assert_eq!(log.written_offset(), 1);
        log.shrink_tail(0);
        assert_eq!(flat(&log.read(0, 2, 1, true).await.unwrap()), first);

        assert_eq!(log.cut_back(|written, _| written).await.unwrap(), Some(1));
        assert_eq!(log.log_end_offset(), 1);
        log.repair().await.unwrap_err();
        std::fs::remove_dir(log_file(&dir, 1)).unwrap();
        log.repair().await.unwrap();
        assert_eq!(log.durable_offset(), 1);
        let mut all = first;
        all.extend(append(&log, &plain(1, 1000), 0));
        all.extend(append(&log, &plain(1, 1000), 0));
        log.write_pending().await.unwrap();
        log.shrink_tail(0);
        assert_eq!(read_all(&log, 1 << 20).await, all);
    });
}

#[test]
fn reads_go_on_beside_writes_rolls_and_retention() {
    run(|dir| async move {
        let small = LogConfig { segment_bytes: 30_000, retention_bytes: 100_000, ..config() };
        let log = Log::open(dir, small, CLEAN).await.unwrap();
        // Tasks of their own: a pending file operation must not be polled over and over (glommio #391).
        let (done, written) = crate::runtime::mailbox::oneshot();
        let (writes, reads) = (log.clone(), log.clone());
        crate::runtime::spawn(async move {
            let log = writes;
            for n in 0..400i64 {
                append(&log, &batch(n, 3, 300, Compression::None), 0);
                if n % 5 == 0 {
                    let (written, synced) = futures::join!(log.write_pending(), log.sync());
                    written.unwrap();
                    synced.unwrap();
                    log.shrink_tail(if n % 2 == 0 { 0 } else { 20_000 });
                }
                if n % 50 == 0 {
                    log.enforce_retention(0, log.written_offset()).await.unwrap();
                }
            }
            log.write_pending().await.unwrap();
            done.send(()).unwrap();
        });
        let (done, read) = crate::runtime::mailbox::oneshot();
        crate::runtime::spawn(async move {
            let log = reads;
            let mut at = 0;
            let mut batches = 0;
            while at < 1200 {
                match log.read(at, i64::MAX, 7000, true).await {
                    Ok(records) if records.bytes == 0 => crate::runtime::yield_now().await,
                    Ok(records) => {
                        let bytes = flat(&records);
                        let mut rest = &bytes[..];
                        while !rest.is_empty() {
                            let header = BatchHeader::parse(rest).unwrap();
                            let covered = &rest[scan::CRC_START..header.size_bytes()];
                            assert_eq!(crc32c::crc32c(covered), header.crc);
                            assert_eq!(header.base_offset, at);
                            at = header.last_offset() + 1;
                            rest = &rest[header.size_bytes()..];
                            batches += 1;
                        }
                    }
                    Err(LogError::OffsetOutOfRange { start, .. }) => at = start,
                    Err(e) => panic!("{e}"),
                }
            }
            done.send(batches).unwrap();
        });
        written.await.unwrap();
        let batches: usize = read.await.unwrap();
        assert!(batches > 50);
        assert!(log.log_start_offset() > 0);
    });
}

#[derive(Clone, Debug)]
enum Step {
    Append { records: usize, bytes: usize },
    Write,
    Sync,
    Shrink(usize),
    Read { from: u16, max_bytes: usize },
    Crash,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1usize..20, 0usize..400).prop_map(|(records, bytes)| Step::Append { records, bytes }),
        1 => (1usize..3, 4000usize..60_000).prop_map(|(records, bytes)| Step::Append { records, bytes }),
        3 => Just(Step::Write),
        1 => Just(Step::Sync),
        1 => (0usize..40_000).prop_map(Step::Shrink),
        3 => (any::<u16>(), 1usize..50_000).prop_map(|(from, max_bytes)| Step::Read { from, max_bytes }),
        1 => Just(Step::Crash),
        1 => Just(Step::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Against a model: a list of (base offset, next offset, bytes).
    #[test]
    fn agrees_with_a_model(
        steps in proptest::collection::vec(step(), 1..120),
        segment_bytes in 5_000u64..200_000,
    ) {
        run(move |dir| async move {
            let config = LogConfig { segment_bytes, index_interval_bytes: 2000, ..config() };
            let mut log = Log::open(dir.clone(), config.clone(), CLEAN).await.unwrap();
            let mut model: Vec<(i64, i64, Vec<u8>)> = Vec::new();
            let mut recovery_point = 0;
            for step in steps {
                match step {
                    Step::Append { records, bytes } => {
                        let base = log.log_end_offset();
                        let bytes = append(&log, &plain(records, bytes), 1);
                        model.push((base, base + records as i64, bytes));
                    }
                    Step::Write => assert_eq!(log.write_pending().await.unwrap(), log.log_end_offset()),
                    Step::Sync => {
                        log.sync().await.unwrap();
                        recovery_point = log.checkpoint().await.unwrap();
                    }
                    Step::Shrink(keep) => log.shrink_tail(keep),
                    Step::Read { from, max_bytes } => {
                        let written = log.written_offset();
                        let from = from as i64 % (written + 1);
                        let got = flat(&log.read(from, i64::MAX, max_bytes, true).await.unwrap());
                        let rest: Vec<u8> = model
                            .iter()
                            .filter(|b| b.1 > from && b.1 <= written)
                            .flat_map(|b| b.2.clone())
                            .collect();
                        assert!(rest.starts_with(&got));
                        assert_eq!(got.is_empty(), from == written);
                        let first = model.iter().find(|b| b.1 > from).map_or(0, |b| b.2.len());
                        assert!(got.len() <= max_bytes.max(first));
                    }
                    Step::Crash => {
                        model.retain(|b| b.1 <= log.written_offset());
                        drop(log);
                        let hints = OpenHints { recovery_point, ..UNCLEAN };
                        log = Log::open(dir.clone(), config.clone(), hints).await.unwrap();
                    }
                    Step::Close => {
                        log.close().await.unwrap();
                        log = Log::open(dir.clone(), config.clone(), CLEAN).await.unwrap();
                    }
                }
                assert_eq!(log.log_end_offset(), model.last().map_or(0, |b| b.1));
            }
            log.write_pending().await.unwrap();
            let all: Vec<u8> = model.iter().flat_map(|b| b.2.clone()).collect();
            assert_eq!(read_all(&log, 20_000).await, all);
            log.shrink_tail(0);
            assert_eq!(read_all(&log, 20_000).await, all);
            assert_eq!(log.size_bytes(), all.len() as u64);
            log.close().await.unwrap();
        });
    }
}

/// The bytes that a chunk stands for, also when they are a range of a file.
async fn sent(records: &FetchedRecords) -> Vec<u8> {
    use crate::wire::fetch::RecordBytes;
    let mut all = Vec::new();
    for chunk in &records.chunks {
        match chunk.place() {
            Place::Memory(bytes) => all.extend_from_slice(bytes),
            Place::File { file, position } => {
                all.extend_from_slice(&file.read_at(position, chunk.size_bytes()).await.unwrap());
            }
        }
    }
    all
}

/// Reads all of the log as a consumer does; says how many answers were ranges of files.
async fn consume(log: &Log, end: i64, max_bytes: usize) -> (Vec<u8>, usize) {
    let (mut at, mut all, mut named) = (0, Vec::new(), 0);
    while at < end {
        let hold = Rc::new(ReadMeans::new(|_| Some(Box::new(()) as Hold), free()));
        let records = log.read_to_send(at, end, max_bytes, true, &hold).await.unwrap();
        named += usize::from(matches!(records.chunks[0].place(), Place::File { .. }));
        let bytes = sent(&records).await;
        assert_eq!(bytes.len(), records.bytes);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let header = record_batch::check_crc(rest).unwrap();
            assert_eq!(header.base_offset, at);
            at = header.last_offset() + 1;
            rest = &rest[header.size_bytes()..];
        }
        all.extend_from_slice(&bytes);
    }
    (all, named)
}

#[test]
fn what_is_read_again_is_sent_from_the_page_cache() {
    run(|dir| async move {
        let small = LogConfig { segment_bytes: 1 << 20, ..config() };
        let log = Log::open(dir.clone(), small, CLEAN).await.unwrap();
        let mut expected = Vec::new();
        for n in 0..600 {
            expected.extend(append(&log, &plain(1, 3000 + n % 900), 0));
        }
        log.write_pending().await.unwrap();
        log.shrink_tail(0);
        assert!(log.segment_count() >= 2);
        let (first, named) = consume(&log, 600, 200_000).await;
        assert!(first == expected && named == 0, "the first reader reads from the device");
        // A short rest at the end of a segment may be there already: what was read is known by grains.
        let (second, named) = consume(&log, 600, 200_000).await;
        assert!(second == expected && named <= log.segment_count(), "{named}: into the cache");
        let (third, named) = consume(&log, 600, 200_000).await;
        assert!(third == expected && named >= 5, "the third one is sent from there: {named}");
        // What was cut off in between is no part of it.
        log.advance_log_start(300).await.unwrap();
        let none = Rc::new(ReadMeans::new(|_| None, free()));
        assert!(log.read_to_send(0, 600, 1000, true, &none).await.is_err());
    });
}
