//! Tests of what is read ahead of a reader that goes on, on the simulated disk: who is served from it, and
//! what becomes of it when the log is cut.

use std::path::PathBuf;

use super::*;
use crate::runtime::sim::Simulation;
use crate::runtime::yield_now;
use crate::types::Compression;
use crate::wire::records::BatchBuilder;

const DIR: &str = "/data/t-0";

async fn open() -> Log {
    let config = LogConfig {
        segment_bytes: 1 << 30,
        segment_ms: i64::MAX,
        segment_jitter_ms: 0,
        index_interval_bytes: 4096,
        segment_index_bytes: 1 << 20,
        retention_ms: -1,
        retention_bytes: -1,
        cleanup_delete: true,
        file_delete_delay_ms: 0,
        preallocate: false,
    };
    let hints = OpenHints { clean: true, recovery_point: 0, log_start_offset: 0 };
    Log::open(PathBuf::from(DIR), config, hints).await.unwrap()
}

/// Batches of one record of 3,000 bytes, all `fill`; written, and in no tail memory.
async fn write(log: &Log, batches: usize, fill: u8) {
    for _ in 0..batches {
        let mut b = BatchBuilder::new(Compression::None);
        b.push(1000, None, Some(&vec![fill; 3000]), &[]);
        let base_offset = log.log_end_offset();
        let patch = Patch { base_offset, leader_epoch: 0, log_append_time_ms: None };
        log.append(&b.finish(), patch).unwrap();
    }
    log.write_pending().await.unwrap();
    log.shrink_tail(0);
}

fn means() -> Rc<ReadMeans> {
    let catch_up = Rc::new(CatchUp::new(0, vec![Default::default()], 1 << 20));
    Rc::new(ReadMeans::new(|_| Some(Box::new(()) as Hold), catch_up))
}

/// What every record from `from` on is filled with, as a reader that goes on sees it, and where it stopped.
async fn read(log: &Log, from: Offset, up_to: Offset) -> (Vec<u8>, Offset) {
    let records = log.read_to_send(from, up_to, 20_000, true, &means()).await.unwrap();
    let mut fills = Vec::new();
    for chunk in &records.chunks {
        let mut rest: &[u8] = chunk;
        while !rest.is_empty() {
            let header = crate::wire::record_batch::check_crc(rest).unwrap();
            fills.push(rest[header.size_bytes() - 100]);
            rest = &rest[header.size_bytes()..];
        }
    }
    (fills, reader::next_offset(&records).unwrap())
}

async fn read_ahead_is_there(log: &Log) {
    let active = log.inner.state.borrow().active().clone();
    while !active.is_read_ahead() {
        yield_now().await;
    }
}

#[test]
fn what_was_read_ahead_serves_who_comes_to_its_place() {
    Simulation::new(1).run(async {
        let log = open().await;
        write(&log, 100, 1).await;
        let (_, second) = read(&log, 0, 100).await;
        let (_, third) = read(&log, second, 100).await;
        read_ahead_is_there(&log).await;
        // Only those who need not go to the file see it as it was.
        let (file, size) = {
            let state = log.inner.state.borrow();
            (state.active().file_now().unwrap(), state.active().written.get())
        };
        let garbage = crate::runtime::AlignedBuf::zeroed((size as usize).next_multiple_of(4096));
        file.write_at(Rc::new(garbage), 0).await.unwrap();
        for _ in 0..3 {
            let (fills, next) = read(&log, third, 100).await;
            assert!(!fills.is_empty() && fills.iter().all(|f| *f == 1) && next > third);
        }
        let elsewhere = log.read_to_send(0, 100, 20_000, true, &means()).await;
        assert!(matches!(elsewhere, Err(LogError::Corrupt { .. })));
        log.forget_ahead();
        let gone = log.read_to_send(third, 100, 20_000, true, &means()).await;
        assert!(matches!(gone, Err(LogError::Corrupt { .. })));
    });
}

#[test]
fn what_a_cut_takes_away_is_not_read_ahead_any_more() {
    Simulation::new(1).run(async {
        let log = open().await;
        write(&log, 100, 1).await;
        let (_, second) = read(&log, 0, 100).await;
        read(&log, second, 100).await;
        read_ahead_is_there(&log).await;
        // Nothing was synced and nobody was promised anything: all of it goes.
        log.inner.state.borrow_mut().health = Health::Suspect;
        assert_eq!(log.cut_back(|_, durable| durable).await.unwrap(), Some(0));
        log.repair().await.unwrap();
        write(&log, 100, 2).await;
        let (mut at, mut seen) = (0, Vec::new());
        while at < 100 {
            let (fills, next) = read(&log, at, 100).await;
            seen.extend(fills);
            at = next;
        }
        assert_eq!(seen, vec![2; 100]);
    });
}
