//! One producer: makes records when they are due, gathers them into a batch for one partition at a
//! time (as Kafka's clients do for records without a key, KIP-480/794), and keeps up to the allowed number of
//! requests in flight on a connection to each leader.
//! Lives on one executor. Latency is counted from the time a record was due, also when it went out
//! late because the broker was slow: no coordinated omission.
//! Invariants: a batch starts only where there is room (so what waits is bounded by one batch a node);
//! batches of a partition leave in the order they were made; there are no retries: a batch that was
//! refused is an error in the report, and a connection that ends is the end of the run.

mod lanes;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use super::admin::{LATEST, PRODUCE_BY_ID, PRODUCE_KEY, PRODUCE_VERSIONS};
use super::client::{ClientError, Completion, Connection, RawRequest, error_name};
use super::control::{Control, PartitionSent};
use super::stamp::Stamp;
use super::stats::ThreadStats;
use super::workload::{Acks, Arrivals, Payload};
use crate::runtime::{Notify, now, timeout, wall_clock_ms, yield_if_needed};
use crate::wire::produce;
use crate::wire::records::BatchBuilder;
use lanes::{Batch, Lane, Link, State};

/// Records made before others get a turn; in a closed loop they share one reading of the clock.
const TURN_RECORDS: usize = 64;
/// Shortest sleep: a faster clock would cost more CPU than the broker it measures.
const TICK_NS: u64 = 100_000;
/// Batches waiting for a free request slot, on each connection.
const WAITING_BATCHES: usize = 1;
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
    /// Producer id and epoch; -1 and -1 when not idempotent.
    identity: (i64, i16),
    state: RefCell<State>,
    room: Notify,
    wants_room: Cell<bool>,
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

/// Runs one producer to its end. `connected` is awaited between connecting and the first record.
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
        links.push(Link {
            connection,
            version,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
        });
    }
    let identity = match links.first() {
        Some(link) if w.idempotence => link.connection.init_producer_id(w.request_timeout).await?,
        _ => (-1, -1),
    };
    let lanes = control.layout.places.iter().map(|place| Lane {
        node: place.node,
        builder: BatchBuilder::new(w.compression),
        opened_ns: 0,
        runs: Vec::new(),
        next_sequence: 0,
        next_base_sequence: 0,
        sent: PartitionSent::default(),
    });
    let state = State {
        lanes: lanes.collect(),
        links,
        payload: Payload::new(w.seed.wrapping_add(u64::from(id)), w.sizes.max()),
        arrivals: Arrivals::fixed(w.rate, id, w.producers),
        // Producers start on different partitions.
        lane: id as usize % control.layout.places.len().max(1),
        spare_runs: Vec::new(),
        refused_in_a_row: 0,
    };
    Ok(Producer {
        control,
        stats,
        id,
        identity,
        state: RefCell::new(state),
        room: Notify::new(),
        wants_room: Cell::new(false),
        closing: Cell::new(false),
    })
}

impl Producer {
    async fn produce(self: Rc<Self>) {
        let start_ns = self.control.schedule.start_ns;
        let wait = start_ns.saturating_sub(now().0);
        if wait > 0 {
            crate::runtime::sleep(Duration::from_nanos(wait)).await;
        }
        while !self.control.stopped() {
            let room = self.room.notified();
            self.wants_room.set(false);
            let now_ns = now().0;
            let turn = self.fill(now_ns);
            let linger_ends = self.close_lingering(now_ns);
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
                Turn::NoRoom => {
                    self.wants_room.set(true);
                    now_ns + 250_000_000
                }
                Turn::Until(due) => due.max(now_ns + TICK_NS).min(linger_ends),
            };
            // At most a quarter of a second, so that stop and a stuck broker are noticed.
            let wait = wake_ns.saturating_sub(now().0).clamp(1_000, 250_000_000);
            timeout(Duration::from_nanos(wait), room).await;
        }
        self.finish().await;
    }

    /// Makes the records that are due, up to one turn's worth.
    fn fill(&self, now_ns: u64) -> Turn {
        let w = &self.control.workload;
        let schedule = &self.control.schedule;
        if now_ns >= schedule.end_ns {
            return Turn::Ended;
        }
        let timestamp_ms = wall_clock_ms();
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        for _ in 0..TURN_RECORDS {
            let due_ns = match state.arrivals.next_due_ns() {
                None => now_ns,
                Some(offset) => schedule.start_ns + offset,
            };
            if due_ns >= schedule.end_ns {
                // The linger of what is left may run on; the end is at most that far away.
                return Turn::Until(schedule.end_ns);
            }
            if due_ns > now_ns {
                return Turn::Until(due_ns);
            }
            if state.lanes[state.lane].builder.is_empty() && !state.pick_lane(w.in_flight) {
                return Turn::NoRoom;
            }
            let index = state.lane;
            let lane = &mut state.lanes[index];
            if lane.builder.is_empty() {
                lane.opened_ns = now_ns;
            }
            let stamp = Stamp {
                run: self.control.run,
                producer: self.id,
                partition: index as u32,
                sequence: lane.next_sequence,
                intended_ns: due_ns,
            };
            lane.next_sequence += 1;
            let value = state.payload.stamped(&stamp);
            lane.builder.push(timestamp_ms, None, Some(value), &[]);
            match lane.runs.last_mut() {
                Some((due, records)) if *due == due_ns => *records += 1,
                _ => lane.runs.push((due_ns, 1)),
            }
            state.arrivals.issue();
            let next = lane.builder.len() + w.sizes.max() + RECORD_OVERHEAD_BYTES;
            if next > w.batch_bytes {
                state.seal(index, self.identity);
            }
        }
        Turn::Filled
    }

    /// Closes the open batch when it has lingered long enough and a request slot is free; says when
    /// to look again.
    fn close_lingering(&self, now_ns: u64) -> u64 {
        let w = &self.control.workload;
        let mut state = self.state.borrow_mut();
        let index = state.lane;
        let lane = &state.lanes[index];
        if lane.builder.is_empty() {
            return u64::MAX;
        }
        let ends = lane.opened_ns + w.linger.as_nanos() as u64;
        if ends > now_ns {
            return ends;
        }
        if state.links[lane.node].in_flight.len() >= w.in_flight {
            // Nothing is gained by closing it: it goes on growing until an answer comes.
            self.wants_room.set(true);
            return u64::MAX;
        }
        state.seal(index, self.identity);
        u64::MAX
    }

    fn dispatch_all(self: &Rc<Self>) {
        let links = self.state.borrow().links.len();
        for node in 0..links {
            self.dispatch(node);
        }
    }

    /// Sends what waits for this node, as far as requests may be in flight.
    fn dispatch(self: &Rc<Self>, node: usize) {
        let w = &self.control.workload;
        loop {
            let mut state = self.state.borrow_mut();
            let link = &mut state.links[node];
            if link.in_flight.len() >= w.in_flight {
                return;
            }
            let Some(batch) = link.waiting.pop_front() else { return };
            link.in_flight.push_back(now().0);
            let (connection, version) = (link.connection.clone(), link.version);
            // `send` may complete at once when the connection is closed.
            drop(state);
            let correlation_id = connection.next_correlation_id();
            let topic = self.control.layout.topic_of(batch.lane);
            let (head, tail) = produce::encode_single_partition_request(
                version,
                correlation_id,
                connection.client_id(),
                w.acks.wire(),
                w.request_timeout.as_millis() as i32,
                &topic.name,
                topic.id,
                self.control.layout.places[batch.lane].partition,
                batch.bytes.len(),
            );
            let records = batch.bytes.clone();
            let pieces = SmallVec::from_iter([head.into(), records, tail.into()]);
            let request = RawRequest { api_key: PRODUCE_KEY, version, correlation_id, pieces };
            let this = self.clone();
            let completion = if w.acks == Acks::None {
                Completion::Written(Box::new(move |result| {
                    this.completed(node, batch, result.map(|()| None));
                }))
            } else {
                Completion::Answer(Box::new(move |result| {
                    let answer = result.and_then(|body| base_offset(version, &body));
                    this.completed(node, batch, answer.map(Some));
                }))
            };
            connection.send(request, completion);
        }
    }

    /// `Ok(None)`: written, no answer asked for.
    fn completed(
        self: &Rc<Self>,
        node: usize,
        batch: Batch,
        result: Result<Option<i64>, ClientError>,
    ) {
        let now_ns = now().0;
        let control = &self.control;
        let mut state = self.state.borrow_mut();
        state.links[node].in_flight.pop_front();
        let lane = &mut state.lanes[batch.lane];
        let range = (batch.first_sequence, batch.first_sequence + u64::from(batch.records));
        match &result {
            Ok(base_offset) => {
                lane.sent.acked += u64::from(batch.records);
                if let Some(base) = base_offset {
                    control.acked(batch.lane, base + i64::from(batch.records));
                }
                let schedule = &control.schedule;
                let answered = base_offset.is_some();
                self.stats.record(|window| {
                    let counts = &mut window.counts[schedule.phase(now_ns) as usize];
                    counts.produced_records += u64::from(batch.records);
                    counts.produced_bytes +=
                        u64::from(batch.records) * control.workload.sizes.max() as u64;
                    counts.produced_wire_bytes += batch.bytes.len() as u64;
                    counts.produced_batches += 1;
                    if answered {
                        for &(due_ns, records) in &batch.runs {
                            let latency_ns = now_ns.saturating_sub(due_ns);
                            window.record_ack(schedule.phase(due_ns), latency_ns, records.into());
                        }
                    }
                });
                state.refused_in_a_row = 0;
            }
            Err(_) => {
                lane.sent.not_acked.push(range);
                state.refused_in_a_row += 1;
            }
        }
        let refused_in_a_row = state.refused_in_a_row;
        let mut runs = batch.runs;
        runs.clear();
        state.spare_runs.push(runs);
        drop(state);
        match result {
            Ok(_) => self.dispatch(node),
            Err(e @ ClientError::Broker { .. }) => {
                control.error(now_ns, e.to_string());
                if refused_in_a_row >= REFUSED_IN_A_ROW_MAX {
                    let times = REFUSED_IN_A_ROW_MAX;
                    control.fail(now_ns, format!("{times} batches in a row were refused: {e}"));
                } else {
                    self.dispatch(node);
                }
            }
            Err(_) if self.closing.get() => {}
            Err(e) => {
                let node = &control.layout.nodes[node];
                control.error(now_ns, "Produce: connection lost".to_string());
                control.fail(now_ns, format!("broker node {}: {e}", node.id));
            }
        }
        if self.wants_room.get() {
            self.room.notify_waiters();
        }
    }

    /// A request without an answer for too long ends the run.
    fn stuck(&self, now_ns: u64) -> bool {
        let limit = self.control.workload.request_timeout;
        let state = self.state.borrow();
        for (node, link) in self.control.layout.nodes.iter().zip(&state.links) {
            let oldest = link.in_flight.front().copied().unwrap_or(now_ns);
            if now_ns.saturating_sub(oldest) > limit.as_nanos() as u64 {
                let seconds = limit.as_secs();
                self.control.error(now_ns, "Produce: no answer".to_string());
                self.control.fail(
                    now_ns,
                    format!(
                        "broker node {} at {} left a batch unanswered for {seconds} s",
                        node.id, node.addr
                    ),
                );
                return true;
            }
        }
        false
    }

    /// Flushes, waits for the answers (bounded), says what was sent.
    async fn finish(self: Rc<Self>) {
        let failed = !self.control.failures().is_empty();
        let open: Vec<usize> = {
            let state = self.state.borrow();
            (0..state.lanes.len()).filter(|&p| !state.lanes[p].builder.is_empty()).collect()
        };
        for lane in open {
            self.state.borrow_mut().seal(lane, self.identity);
        }
        while !failed && self.control.failures().is_empty() {
            let room = self.room.notified();
            self.wants_room.set(true);
            self.dispatch_all();
            let idle = |l: &Link| l.waiting.is_empty() && l.in_flight.is_empty();
            if self.state.borrow().links.iter().all(idle) || self.stuck(now().0) {
                break;
            }
            timeout(Duration::from_millis(250), room).await;
        }
        if self.control.workload.acks == Acks::None && self.control.failures().is_empty() {
            self.learn_ends().await;
        }
        self.closing.set(true);
        let connections: Vec<Connection> =
            self.state.borrow().links.iter().map(|l| l.connection.clone()).collect();
        for connection in connections {
            connection.close("the producer has finished");
        }
        let unsent = self.unsent_records();
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        // Batches that never left.
        for batch in state.links.iter_mut().flat_map(|l| l.waiting.drain(..)) {
            let end = batch.first_sequence + u64::from(batch.records);
            let lane = &mut state.lanes[batch.lane];
            lane.sent.not_acked.push((batch.first_sequence, end));
        }
        let sent = state.lanes.iter_mut().map(|lane| {
            lane.sent.sent = lane.next_sequence;
            std::mem::take(&mut lane.sent)
        });
        let sent = sent.collect();
        self.control.outcome(|o| {
            o.sent.push((self.id, sent));
            o.unsent_records += unsent;
        });
    }

    /// Due before now (or the end) and not made.
    fn unsent_records(&self) -> u64 {
        let schedule = &self.control.schedule;
        let until_ns = schedule.end_ns.min(now().0);
        let arrivals = &mut self.state.borrow_mut().arrivals;
        let mut unsent = 0;
        while let Some(due) = arrivals.next_due_ns()
            && schedule.start_ns + due < until_ns
        {
            arrivals.issue();
            unsent += 1;
        }
        unsent
    }

    /// acks=0: a broker works through a connection in order, so once it has answered this question
    /// it has seen every batch before it; the end it names is what consumers have to reach.
    async fn learn_ends(&self) {
        let limit = self.control.workload.request_timeout;
        let count = self.state.borrow().links.len();
        for node in 0..count {
            let connection = self.state.borrow().links[node].connection.clone();
            let layout = &self.control.layout;
            for (topic, lanes) in layout.led_by(node) {
                let name = &layout.topics[topic].name;
                let led: Vec<i32> = lanes.iter().map(|&l| layout.places[l].partition).collect();
                match connection.list_offsets(name, &led, LATEST, limit).await {
                    Ok(ends) => {
                        lanes.iter().zip(ends).for_each(|(&l, end)| self.control.acked(l, end));
                    }
                    Err(e) => self.control.fail(now().0, e.to_string()),
                }
            }
        }
    }
}

/// The answer to a request for one partition.
fn base_offset(version: i16, body: &Bytes) -> Result<i64, ClientError> {
    let answer = produce::decode_response(version, body)
        .map_err(|e| ClientError::Protocol(format!("the answer to Produce: {e}")))?;
    let partition = answer.topics.iter().flat_map(|t| &t.partitions).next();
    match partition {
        None => Err(ClientError::Protocol("an empty answer to Produce".to_string())),
        Some(p) if p.error_code != 0 => Err(ClientError::Broker {
            what: "Produce".to_string(),
            code: p.error_code,
            // The message names offsets and sequences: as a kind of error the name is enough.
            message: p.error_message.clone().filter(|m| *m != error_name(p.error_code)),
        }),
        Some(p) => Ok(p.base_offset),
    }
}
