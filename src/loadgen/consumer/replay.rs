//! A consumer that reads its lanes from their earliest offset to the live end, beside the live traffic or with
//! nothing else going on, and then stops. It starts `replay_after` the first measured moment.
//! Lives on one executor. What it reads counts apart; records of this run are checked for their checksum,
//! those of the prefill for order and completeness too, any others are tolerated.

use std::sync::Arc;
use std::time::Duration;

use super::super::control::{Control, Replayed};
use super::super::stats::ThreadStats;
use super::fetcher::Fetcher;
use super::reader::Reader;
use crate::client::admin::EARLIEST;
use crate::client::{ClientError, Connection};
use crate::runtime::{now, sleep, yield_if_needed};

/// The lanes of one replay consumer that `node` leads.
pub async fn run(
    control: Arc<Control>,
    stats: Arc<ThreadStats>,
    consumer: u32,
    node: usize,
    lanes: Vec<usize>,
) {
    let mut replayed = Replayed { lanes, ..Replayed::default() };
    if let Err(e) = replay(&control, &stats, consumer, node, &mut replayed).await {
        let id = control.layout.nodes[node].id;
        control.error(now().0, "Fetch: connection lost".to_string());
        control.fail(now().0, format!("broker node {id}: {e}"));
        replayed.ended_ns = now().0;
    }
    control.replay_ended(replayed.ended_ns);
    control.outcome(|o| o.replayed.push(replayed));
    control.consumer_ended();
}

/// A run that was stopped, or whose time is over, does not wait for a replay.
fn ends(control: &Control) -> bool {
    control.stopped() || now().0 >= control.schedule.end_ns()
}

async fn replay(
    control: &Arc<Control>,
    stats: &ThreadStats,
    consumer: u32,
    node: usize,
    replayed: &mut Replayed,
) -> Result<(), ClientError> {
    let w = &control.workload;
    let start_ns = control.schedule.measured_from_ns() + w.replay_after.as_nanos() as u64;
    loop {
        if ends(control) {
            replayed.ended_ns = now().0;
            return Ok(());
        }
        let wait = start_ns.saturating_sub(now().0);
        if wait == 0 {
            break;
        }
        sleep(Duration::from_nanos(wait.min(100_000_000))).await;
    }
    replayed.started_ns = Some(now().0);
    let addr = control.layout.nodes[node].addr;
    let name = format!("spindle-bench-replay-{consumer}");
    let connection = Connection::connect(addr, &name, w.request_timeout).await?;
    let starts = earliest(control, &connection, node, &replayed.lanes).await?;
    let mut fetcher = Fetcher::new(control.clone(), connection, starts.into_iter())?;
    let mut reader = Reader::new(control.clone(), control.prefill_run(), control.run);
    let mut asked = fetcher.ask();
    while !ends(control) {
        let answered = asked.is_some();
        let parts = fetcher.answer(asked).await?;
        let arrived_ns = now().0;
        for assigned in &mut fetcher.assigned {
            let known = assigned.high_watermark >= 0 && assigned.error == 0;
            assigned.done |= known && assigned.position >= assigned.high_watermark;
        }
        let caught_up = fetcher.assigned.iter().all(|a| a.done);
        asked = if caught_up { None } else { fetcher.ask() };
        reader.start();
        for part in &parts {
            reader.read(fetcher.assigned[part.slot].lane, part)?;
            yield_if_needed().await;
        }
        replayed.records += reader.records;
        replayed.bytes += reader.bytes;
        stats.record(|window| {
            let counts = window.counts(control.span(arrived_ns));
            counts.fetches += u64::from(answered);
            counts.replayed_records += reader.records;
            counts.replayed_bytes += reader.bytes;
            counts.replayed_wire_bytes += reader.wire_bytes;
        });
        if caught_up {
            replayed.caught_up_ns = Some(now().0);
            break;
        }
    }
    replayed.ended_ns = now().0;
    replayed.seen = reader.seen;
    Ok(())
}

/// Where the lanes begin, in the order of `lanes`.
async fn earliest(
    control: &Control,
    connection: &Connection,
    node: usize,
    lanes: &[usize],
) -> Result<Vec<(usize, i64)>, ClientError> {
    let layout = &control.layout;
    let mut starts = Vec::with_capacity(lanes.len());
    for (topic, led) in layout.led_by(node) {
        let mine: Vec<usize> = led.into_iter().filter(|l| lanes.binary_search(l).is_ok()).collect();
        if mine.is_empty() {
            continue;
        }
        let partitions: Vec<i32> = mine.iter().map(|&l| layout.places[l].partition).collect();
        let name = &layout.topics[topic].name;
        let limit = control.workload.request_timeout;
        let offsets = connection.list_offsets(name, &partitions, EARLIEST, limit).await?;
        starts.extend(mine.into_iter().zip(offsets));
    }
    Ok(starts)
}
