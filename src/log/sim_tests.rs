//! A log on the simulated disk under kills and power cuts: what was written survives a kill, what
//! was synced survives a power cut, and what is read is always what was appended.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::runtime::sim::{self, Simulation};
use crate::runtime::{random_u64, sleep};
use crate::types::Compression;
use crate::wire::record_batch::{BatchHeader, patch_offset};
use crate::wire::records::BatchBuilder;

#[derive(Default)]
struct Model {
    /// (base offset, next offset, bytes) of every batch appended since the last loss.
    batches: Vec<(Offset, Offset, Vec<u8>)>,
    log_start: Offset,
    written: Offset,
    durable: Offset,
    recovery_point: Offset,
    /// Batches checked after a restart.
    checked: usize,
}

fn below(n: u64) -> u64 {
    random_u64() % n
}

fn batch(tag: u64) -> Vec<u8> {
    let mut b = BatchBuilder::new(Compression::None);
    let size = if below(20) == 0 { below(40_000) } else { below(900) };
    for n in 0..1 + below(4) {
        let value: Vec<u8> = (0..size).map(|i| (i ^ tag ^ n) as u8).collect();
        b.push((tag >> 8) as i64, Some(&tag.to_be_bytes()), Some(&value), &[]);
    }
    b.finish()
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 100_000,
        segment_ms: i64::MAX,
        segment_jitter_ms: 0,
        index_interval_bytes: 2000,
        segment_index_bytes: 1 << 20,
        retention_ms: -1,
        retention_bytes: 400_000,
        cleanup_delete: true,
        file_delete_delay_ms: 0,
        preallocate: false,
    }
}

/// Opens after a stop and compares all of the log with the model.
async fn open_and_check(model: &RefCell<Model>, clean: bool, floor: Offset) -> Log {
    let (recovery_point, log_start_offset) = {
        let m = model.borrow();
        (m.recovery_point, m.log_start)
    };
    let hints = OpenHints { clean, recovery_point, log_start_offset };
    let log = Log::open(PathBuf::from("/data/t-0"), config(), hints).await.unwrap();
    let end = log.log_end_offset();
    assert!(end >= floor, "the log ends at {end}, {floor} was promised");
    assert_eq!(log.durable_offset(), end);
    model.borrow_mut().batches.retain(|b| b.1 <= end);
    let mut at = log.log_start_offset();
    while at < end {
        let records = log.read(at, end, 50_000, true).await.unwrap();
        assert!(records.bytes > 0, "nothing at {at}");
        for chunk in &records.chunks {
            let mut rest: &[u8] = chunk;
            while !rest.is_empty() {
                let header = BatchHeader::parse(rest).unwrap();
                let (bytes, after) = rest.split_at(header.size_bytes());
                let mut m = model.borrow_mut();
                let known = m.batches.iter().find(|b| b.0 == header.base_offset).unwrap();
                assert!(known.2 == bytes, "other bytes at {}", header.base_offset);
                assert_eq!(log.leader_epoch_at(known.0), Some(header.partition_leader_epoch));
                m.checked += 1;
                at = header.last_offset() + 1;
                rest = after;
            }
        }
    }
    let mut m = model.borrow_mut();
    assert_eq!(m.batches.last().map_or(m.log_start, |b| b.1), end);
    (m.written, m.durable) = (end, end);
    m.recovery_point = m.recovery_point.min(end);
    log.clone()
}

async fn live(model: Rc<RefCell<Model>>, clean: Rc<RefCell<bool>>, floor: Offset, epoch: i32) {
    let was_clean = std::mem::take(&mut *clean.borrow_mut());
    let log = open_and_check(&model, was_clean, floor).await;
    let (writer, m) = (log.clone(), model.clone());
    crate::runtime::spawn(async move {
        loop {
            if below(2) == 0 {
                let durable = writer.write_durably().await.unwrap();
                let mut m = m.borrow_mut();
                (m.written, m.durable) = (m.written.max(durable), m.durable.max(durable));
            } else {
                let written = writer.write_pending().await.unwrap();
                let mut m = m.borrow_mut();
                m.written = m.written.max(written);
            }
            sleep(Duration::from_micros(below(500))).await;
        }
    });
    let (syncer, m) = (log.clone(), model.clone());
    crate::runtime::spawn(async move {
        loop {
            let durable = syncer.sync().await.unwrap();
            {
                let mut m = m.borrow_mut();
                m.durable = m.durable.max(durable);
            }
            sleep(Duration::from_micros(below(2000))).await;
        }
    });
    loop {
        let base_offset = log.log_end_offset();
        let mut bytes = batch(random_u64());
        let patch = Patch { base_offset, leader_epoch: epoch, log_append_time_ms: None };
        log.append(&bytes, patch).unwrap();
        patch_offset(&mut bytes, base_offset, epoch);
        model.borrow_mut().batches.push((base_offset, log.log_end_offset(), bytes));
        match below(100) {
            0 => {
                let recovery_point = log.checkpoint().await.unwrap();
                model.borrow_mut().recovery_point = recovery_point;
            }
            1 => log.shrink_tail(below(50_000) as usize),
            2 => {
                let hw = log.durable_offset();
                log.enforce_retention(0, hw).await.unwrap();
                model.borrow_mut().log_start = log.log_start_offset();
            }
            3..40 => sleep(Duration::from_micros(below(300))).await,
            _ => {}
        }
    }
}

fn survive(seed: u64) -> usize {
    let simulation = Simulation::new(seed);
    let model = Rc::new(RefCell::new(Model::default()));
    let m = model.clone();
    simulation.run(async move {
        let clean = Rc::new(RefCell::new(false));
        let mut floor = 0;
        for epoch in 0..6 {
            let process =
                sim::spawn_process_on("m", "broker", live(m.clone(), clean.clone(), floor, epoch));
            sleep(Duration::from_micros(5_000 + below(120_000))).await;
            floor = if below(3) == 0 {
                sim::kill(process);
                m.borrow().written
            } else {
                sim::power_cut("m");
                m.borrow().durable
            };
            // The next process may end before it has looked.
            m.borrow_mut().written = floor;
        }
        let m2 = m.clone();
        let (done, checked) = crate::runtime::mailbox::oneshot();
        sim::spawn_process_on("m", "last", async move {
            let log = open_and_check(&m2, false, floor).await;
            log.close().await.unwrap();
            let end = m2.borrow().written;
            let log = open_and_check(&m2, true, end).await;
            assert_eq!(log.log_end_offset(), end);
            done.send(()).unwrap();
        });
        checked.await.unwrap();
    });
    model.borrow().checked
}

#[test]
fn kills_and_power_cuts_take_nothing_promised() {
    // SPINDLE_LOG_SEEDS=17..18 replays one; 0..1000 is a longer run.
    let range = std::env::var("SPINDLE_LOG_SEEDS").unwrap_or("0..24".into());
    let (from, to) = range.split_once("..").unwrap();
    let seeds = from.parse().unwrap()..to.parse::<u64>().unwrap();
    let mut checked = 0;
    for seed in seeds {
        checked += survive(seed);
    }
    assert!(checked > 100, "{checked} batches outlived a stop");
}
