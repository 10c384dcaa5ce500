//! One producer: makes records when they are due, gathers them into batches, and keeps up to the allowed number
//! of requests in flight on a connection to each leader. Without keys one batch is open at a time and batches
//! go round the partitions (as Kafka's clients do it, KIP-480/794); a key decides the partition, and each
//! partition has an open batch with a linger of its own.
//! Lives on one executor. Latency is counted from the time a record was due, also when it went out
//! late because the broker was slow: no coordinated omission.
//! Invariants: a batch starts only where there is room, and what is open or waits is bounded by
//! `UNSENT_BYTES`; batches of a partition leave in the order they were made; there are no retries: a batch
//! that was refused is an error in the report, and a connection that ends is the end of the run.

mod finish;
mod lanes;
mod send;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use super::control::{Control, PartitionSent};
use super::stamp::Stamp;
use super::stats::{Latency, ThreadStats};
use super::workload::{Acks, Arrivals, Due, Headers, Keys, Payload, partition_of};
use crate::client::admin::{
    LATEST, PRODUCE_BY_ID, PRODUCE_KEY, PRODUCE_VERSIONS, PRODUCE_WAITS_ITSELF,
};
use crate::client::{ClientError, Completion, Connection, RawRequest, error_name, forbidden};
use crate::runtime::{Notify, now, sleep, spawn, timeout, wall_clock_ms, yield_if_needed};
use crate::wire::produce;
use crate::wire::records::BatchBuilder;
use lanes::{Batch, Link, Rotation, State};

/// Records made before others get a turn; in a closed loop they share one reading of the clock.
const TURN_RECORDS: usize = 64;
/// Time between two wake-ups when they follow one another: a faster clock would cost more CPU than the broker
/// it measures.
const TICK_NS: u64 = 100_000;
/// So many may come closer together, so that while records are rare (single ones, or a few of a Poisson
/// crowd) each is made when it is due.
const TICKS_SAVED: u64 = 16;
/// Longest sleep, so that stop and a stuck broker are noticed.
const SLEEP_NS_MAX: u64 = 250_000_000;
/// Batches waiting for a free request slot, on each connection.
const WAITING_BATCHES: usize = 1;
/// Record batches that are open or wait, of one producer: Kafka's default `buffer.memory`. At least two
/// batches, whatever their size.
const UNSENT_BYTES: usize = 32 << 20;
/// Refused batches in a row after which the run is pointless.
const REFUSED_IN_A_ROW_MAX: u32 = 100;
/// Room for the record's own framing when deciding whether the next one fits.
const RECORD_OVERHEAD_BYTES: usize = 16;

/// (intended time, how many records).
type Runs = Vec<(u64, u32)>;

struct Producer {
    control: Arc<Control>,
    stats: Arc<ThreadStats>,
    id: u32,
    /// How many records it makes at most.
    share: u64,
    state: RefCell<State>,
    room: Notify,
    wants_room: Cell<bool>,
    /// It had no room since it last was up to date: what it makes now is late because of the broker.
    held_up: Cell<bool>,
    /// Connections are being closed by us: their ends are no failure.
    closing: Cell<bool>,
}

enum Turn {
    Filled,
    NoRoom,
    /// Nothing is due before this time.
    Until(u64),
    Ended,
}

/// Wakes as exactly as the timer can while wake-ups are few, and each `TICK_NS` when they are many.
#[derive(Default)]
struct Pace {
    /// Where the wake-ups would be at one each tick; ahead of the clock when they came faster.
    next_ns: u64,
}

impl Pace {
    fn earliest_ns(&self) -> u64 {
        self.next_ns.saturating_sub(TICKS_SAVED * TICK_NS)
    }

    fn woke(&mut self, now_ns: u64) {
        self.next_ns = self.next_ns.max(now_ns) + TICK_NS;
    }
}

/// Runs one producer to its end.
pub async fn run(control: Arc<Control>, stats: Arc<ThreadStats>, id: u32) {
    match open(control.clone(), stats, id).await {
        Ok(producer) => Rc::new(producer).produce().await,
        Err(e) => control.fail(now().0, format!("producer {id}: {e}")),
    }
    control.producer_ended();
}

async fn open(
    control: Arc<Control>,
    stats: Arc<ThreadStats>,
    id: u32,
) -> Result<Producer, ClientError> {
    let w = &control.workload;
    let mut links = Vec::with_capacity(control.layout.nodes.len());
    for node in &control.layout.nodes {
        let name = format!("spindle-bench-producer-{id}");
        let connection = Connection::connect(node.addr, &name, w.request_timeout).await?;
        let version = connection.version(PRODUCE_KEY, PRODUCE_VERSIONS)?;
        let by_id = control.layout.has_topic_ids();
        let version = if by_id { version } else { version.min(PRODUCE_BY_ID - 1) };
        links.push(Link::new(connection, version));
    }
    let identity = match links.first() {
        Some(link) if w.idempotence => link.connection.init_producer_id(w.request_timeout).await?,
        _ => (-1, -1),
    };
    let lanes = control.layout.places.len();
    // The first ones have one more where it does not come out even.
    let part = |all: u64| {
        let (id, each, rest) =
            (u64::from(id), all / u64::from(w.producers), all % u64::from(w.producers));
        (id * each + id.min(rest), each + u64::from(id < rest))
    };
    let share = w.records.map_or(u64::MAX, |all| part(all).1);
    let rotation = Rotation {
        // Producers start on different partitions, evenly apart: with one record to each batch and as
        // many records as partitions there is one to each.
        lane: part(lanes as u64).0 as usize % lanes.max(1),
        strict: w.records.is_some(),
    };
    let state = State::new(&control, id, links, identity, rotation);
    Ok(Producer {
        control,
        stats,
        id,
        share,
        state: RefCell::new(state),
        room: Notify::new(),
        wants_room: Cell::new(false),
        held_up: Cell::new(false),
        closing: Cell::new(false),
    })
}

impl Producer {
    async fn produce(self: Rc<Self>) {
        let start_ns = self.control.schedule.start_ns;
        let wait = start_ns.saturating_sub(now().0);
        if wait > 0 {
            sleep(Duration::from_nanos(wait)).await;
        }
        let mut pace = Pace::default();
        while !self.control.stopped() {
            let room = self.room.notified();
            self.wants_room.set(false);
            let now_ns = now().0;
            let turn = self.fill(now_ns);
            let linger_ends = self.state.borrow_mut().ripen(now_ns);
            self.dispatch_all();
            if self.stuck(now_ns) {
                break;
            }
            let wake_ns = match turn {
                Turn::Filled => {
                    yield_if_needed().await;
                    continue;
                }
                Turn::Ended => break,
                // What was just dispatched may have made room.
                Turn::NoRoom if self.state.borrow_mut().place().is_some() => {
                    yield_if_needed().await;
                    continue;
                }
                Turn::NoRoom => {
                    self.wants_room.set(true);
                    self.held_up.set(true);
                    now_ns + SLEEP_NS_MAX
                }
                Turn::Until(due) => {
                    self.held_up.set(false);
                    due.min(linger_ends).max(pace.earliest_ns())
                }
            };
            let wait = wake_ns.saturating_sub(now().0).clamp(1_000, SLEEP_NS_MAX);
            timeout(Duration::from_nanos(wait), room).await;
            pace.woke(now().0);
        }
        self.finish().await;
    }

    /// Makes the records that are due, up to one turn's worth.
    fn fill(&self, now_ns: u64) -> Turn {
        let schedule = &self.control.schedule;
        if now_ns >= schedule.end_ns() {
            return Turn::Ended;
        }
        let timestamp_ms = wall_clock_ms();
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let (mut made, mut first_due_ns) = (0, now_ns);
        let turn = loop {
            if state.made == self.share {
                break Turn::Ended;
            }
            if made == TURN_RECORDS {
                break Turn::Filled;
            }
            let due_ns = match state.arrivals.due(now_ns) {
                Due::Now => now_ns,
                Due::At(due_ns) if due_ns <= now_ns => due_ns,
                Due::At(due_ns) => break Turn::Until(due_ns),
                // The linger of what is left may run on; the end is at most that far away.
                Due::Over => break Turn::Until(schedule.end_ns()),
            };
            let Some(lane) = state.place() else { break Turn::NoRoom };
            let stamp = Stamp {
                run: self.control.run,
                producer: self.id,
                partition: lane as u32,
                sequence: state.lanes[lane].next_sequence,
                intended_ns: due_ns,
            };
            state.push(lane, &stamp, timestamp_ms, now_ns);
            if made == 0 {
                first_due_ns = due_ns;
            }
            made += 1;
        };
        if made > 0 && first_due_ns < now_ns && !self.held_up.get() {
            let (due, late_ns) = (schedule.span(first_due_ns), now_ns - first_due_ns);
            self.stats.record(|w| w.record(Latency::Lateness, due, late_ns, made as u64));
        }
        turn
    }
}
