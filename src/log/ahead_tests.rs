//! Tests of the room made ahead, on the simulated disk: who waits for it, and what a kill, a full disk
//! or a clean stop leaves of it.

use std::path::PathBuf;
use std::time::Duration;

use super::ahead::SPARE_FILE;
use super::*;
use crate::runtime::sim::{self, Simulation};
use crate::runtime::sleep;
use crate::types::Compression;
use crate::wire::records::BatchBuilder;

const DIR: &str = "/data/t-0";

fn config(preallocate: bool) -> LogConfig {
    LogConfig {
        segment_bytes: 400_000,
        segment_ms: i64::MAX,
        segment_jitter_ms: 0,
        index_interval_bytes: 4096,
        segment_index_bytes: 1 << 20,
        retention_ms: -1,
        retention_bytes: -1,
        cleanup_delete: true,
        file_delete_delay_ms: 0,
        preallocate,
    }
}

async fn open(clean: bool, preallocate: bool) -> Log {
    let hints = OpenHints { clean, recovery_point: 0, log_start_offset: 0 };
    Log::open(PathBuf::from(DIR), config(preallocate), hints).await.unwrap()
}

async fn append(log: &Log, batches: usize, bytes: usize) {
    for _ in 0..batches {
        let mut b = BatchBuilder::new(Compression::None);
        b.push(1000, None, Some(&vec![7; bytes]), &[]);
        let base_offset = log.log_end_offset();
        let patch = Patch { base_offset, leader_epoch: 0, log_append_time_ms: None };
        log.append(&b.finish(), patch).unwrap();
        log.write_pending().await.unwrap();
        log.sync().await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }
}

async fn names() -> Vec<String> {
    disk::list_dir(DIR.as_ref()).await.unwrap().into_iter().map(|e| e.name).collect()
}

#[test]
fn neither_an_append_nor_a_roll_waits_for_room() {
    for (bytes, preallocate) in [(700, false), (700, true), (90_000, false), (90_000, true)] {
        Simulation::new(1).run(async move {
            let log = open(true, preallocate).await;
            append(&log, 4_000_000 / bytes, bytes).await;
            assert!(log.segment_count() > 8, "{} segments", log.segment_count());
            while log.inner.state.borrow().active().written.get() < 260_000 {
                append(&log, 1, bytes).await;
            }
            // The first write of a log waits, unless its segment was allocated whole.
            let waited = log.inner.ahead.waited.get();
            assert_eq!(waited, u64::from(!preallocate), "{bytes} {preallocate}");
            assert!(names().await.iter().any(|n| n == SPARE_FILE), "the next is ready");
            log.close().await.unwrap();
            assert!(!names().await.iter().any(|n| n == SPARE_FILE), "a clean stop leaves none");
            let end = log.log_end_offset();
            let log = open(true, preallocate).await;
            assert_eq!(log.log_end_offset(), end);
        });
    }
}

#[test]
fn what_was_ready_when_the_broker_was_killed_is_removed() {
    Simulation::new(2).run(async {
        let log = open(true, false).await;
        append(&log, 450, 700).await;
        assert!(names().await.iter().any(|n| n == SPARE_FILE));
        drop(log);
        let log = open(false, false).await;
        assert_eq!(log.log_end_offset(), 450);
        assert!(!names().await.iter().any(|n| n == SPARE_FILE));
        append(&log, 100, 700).await;
        assert_eq!(log.log_end_offset(), 550);
    });
}

#[test]
fn a_disk_that_is_full_refuses_the_write_and_not_the_preparation() {
    Simulation::new(3).run(async {
        let log = open(true, false).await;
        append(&log, 10, 700).await;
        sim::with_knobs(|k| k.disk.full = true);
        // 64 KiB are there; the preparations that fail meanwhile tell nobody.
        append(&log, 70, 700).await;
        assert!(log.is_writable());
        sim::with_knobs(|k| k.disk.full = false);
        append(&log, 600, 700).await;
        assert_eq!(log.log_end_offset(), 680);
    });
}
