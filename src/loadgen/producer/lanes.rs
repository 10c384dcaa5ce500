//! What one producer holds: open batches by partition, batches that wait for their node, what each connection
//! has in flight, and the record that comes next. No I/O here.
//! An open batch is ripe when it has lingered; it goes on growing until its connection has a free request
//! slot. Invariant: `unsent_bytes` is the sum of what is open and what waits.

use super::*;

pub(super) struct Batch {
    /// Index into `Layout::places`.
    pub(super) lane: usize,
    pub(super) first_sequence: u64,
    pub(super) records: u32,
    pub(super) value_bytes: u64,
    /// As it was counted while it was open.
    held_bytes: usize,
    pub(super) bytes: Bytes,
    pub(super) runs: Runs,
}

/// One partition, from this producer's side.
pub(super) struct Lane {
    pub(super) node: usize,
    pub(super) builder: BatchBuilder,
    /// Counts its batches, so that one that was closed is known from the one after it.
    opening: u64,
    value_bytes: u64,
    pub(super) runs: Runs,
    pub(super) next_sequence: u64,
    /// Idempotent sequence number of the next batch.
    pub(super) next_base_sequence: i32,
    pub(super) sent: PartitionSent,
}

/// An open batch: its lane and which one of it.
#[derive(Clone, Copy)]
struct Open {
    lane: usize,
    opening: u64,
}

pub(super) struct Link {
    pub(super) connection: Connection,
    pub(super) version: i16,
    pub(super) waiting: VecDeque<Batch>,
    ripe: VecDeque<Open>,
    /// When each request in flight was sent.
    pub(super) in_flight: VecDeque<u64>,
    /// A quota of the broker wants nothing from us before this (KIP-219).
    pub(super) throttled_until_ns: u64,
}

impl Link {
    pub(super) fn new(connection: Connection, version: i16) -> Link {
        Link {
            connection,
            version,
            waiting: VecDeque::new(),
            ripe: VecDeque::new(),
            in_flight: VecDeque::new(),
            throttled_until_ns: 0,
        }
    }
}

/// Where records without keys go.
pub(super) struct Rotation {
    pub(super) lane: usize,
    /// No lane is left out, also while its connection has no room.
    pub(super) strict: bool,
}

pub(super) struct State {
    pub(super) lanes: Vec<Lane>,
    pub(super) links: Vec<Link>,
    /// Of each topic: its first lane, and how many it has.
    topics: Vec<(usize, usize)>,
    payload: Payload,
    headers: Headers,
    keys: Option<Keys>,
    /// Where the next record with a key goes, once that is known.
    target: Option<usize>,
    rotation: Rotation,
    /// By when they were opened, with that time; what was closed since is passed over.
    open: VecDeque<(u64, Open)>,
    unsent_bytes: usize,
    unsent_bytes_max: usize,
    linger_ns: u64,
    batch_bytes: usize,
    in_flight_max: usize,
    value_bytes_min: usize,
    pub(super) arrivals: Arrivals,
    pub(super) made: u64,
    /// Time of the last answer.
    pub(super) answered_ns: u64,
    pub(super) spare_runs: Vec<Runs>,
    pub(super) refused_in_a_row: u32,
    /// Producer id and epoch; -1 and -1 when not idempotent.
    identity: (i64, i16),
}

impl State {
    pub(super) fn new(
        control: &Control,
        id: u32,
        links: Vec<Link>,
        identity: (i64, i16),
        rotation: Rotation,
    ) -> State {
        let w = &control.workload;
        let places = &control.layout.places;
        let lanes = places.iter().map(|place| Lane {
            node: place.node,
            builder: BatchBuilder::new(w.compression),
            opening: 0,
            value_bytes: 0,
            runs: Vec::new(),
            next_sequence: 0,
            next_base_sequence: 0,
            sent: PartitionSent::default(),
        });
        let topics = (0..control.layout.topics.len()).map(|topic| {
            let first = places.partition_point(|p| p.topic < topic);
            (first, places.partition_point(|p| p.topic <= topic) - first)
        });
        let largest = w.batch_bytes.max(control.payloads.value_bytes_max);
        State {
            lanes: lanes.collect(),
            links,
            topics: topics.collect(),
            payload: Payload::new(control.payloads.clone(), id),
            headers: Headers::new(w),
            keys: Keys::new(w, id),
            target: None,
            rotation,
            open: VecDeque::new(),
            unsent_bytes: 0,
            unsent_bytes_max: UNSENT_BYTES.max(2 * largest),
            linger_ns: w.linger.as_nanos() as u64,
            batch_bytes: w.batch_bytes,
            in_flight_max: w.in_flight,
            value_bytes_min: control.payloads.value_bytes_min,
            arrivals: Arrivals::new(&control.schedule, w.arrivals, w.seed, id, w.producers),
            made: 0,
            answered_ns: 0,
            spare_runs: Vec::new(),
            refused_in_a_row: 0,
            identity,
        }
    }

    /// Bytes of the next record beside its value, at most.
    fn beside_bytes(&self) -> usize {
        let key = self.keys.as_ref().map_or(0, |keys| keys.key().len());
        key + self.headers.block().len() + RECORD_OVERHEAD_BYTES
    }

    fn link_has_room(&self, lane: usize) -> bool {
        let link = &self.links[self.lanes[lane].node];
        link.in_flight.len() < self.in_flight_max || link.waiting.len() < WAITING_BATCHES
    }

    /// The lane of the next record, with room for it; `None` when it has to wait. Asking again gives the
    /// same answer.
    pub(super) fn place(&mut self) -> Option<usize> {
        if self.unsent_bytes >= self.unsent_bytes_max {
            return None;
        }
        loop {
            let lane = self.target()?;
            let builder = &self.lanes[lane].builder;
            if builder.is_empty() {
                return self.link_has_room(lane).then_some(lane);
            }
            let bytes = builder.len() + self.payload.value_bytes() + self.beside_bytes();
            if bytes <= self.batch_bytes {
                return Some(lane);
            }
            self.seal(lane);
        }
    }

    /// Whose turn it is, or where the key belongs.
    fn target(&mut self) -> Option<usize> {
        let Some(keys) = &mut self.keys else {
            let stays = !self.lanes[self.rotation.lane].builder.is_empty();
            return if stays { Some(self.rotation.lane) } else { self.pick_lane() };
        };
        if self.target.is_none() {
            keys.advance();
            let (first, partitions) = self.topics[(self.made % self.topics.len() as u64) as usize];
            self.target = Some(first + partition_of(keys.key(), partitions));
        }
        self.target
    }

    /// Moves to the next partition whose connection has room for another batch.
    fn pick_lane(&mut self) -> Option<usize> {
        let steps = if self.rotation.strict { 1 } else { self.lanes.len() };
        for step in 0..steps {
            let candidate = (self.rotation.lane + step) % self.lanes.len();
            if self.link_has_room(candidate) {
                self.rotation.lane = candidate;
                return Some(candidate);
            }
        }
        None
    }

    /// Makes the next record, where `place` said.
    pub(super) fn push(&mut self, lane: usize, stamp: &Stamp, timestamp_ms: i64, now_ns: u64) {
        let beside_bytes = self.beside_bytes();
        let index = lane;
        let lane = &mut self.lanes[index];
        let before = lane.builder.len();
        if lane.builder.is_empty() {
            lane.opening += 1;
            self.unsent_bytes += before;
            self.open.push_back((now_ns, Open { lane: index, opening: lane.opening }));
        }
        let key = self.keys.as_ref().map(Keys::key);
        let (bytes, crc) = self.payload.body();
        let headers = self.headers.block();
        let head = stamp.head(bytes.len(), crc, [key.unwrap_or_default(), headers]);
        let value = [&head[..], bytes];
        lane.builder.push_parts(timestamp_ms, key, value, self.headers.count, headers);
        lane.value_bytes += (head.len() + bytes.len()) as u64;
        lane.next_sequence += 1;
        match lane.runs.last_mut() {
            Some((due, records)) if *due == stamp.intended_ns => *records += 1,
            _ => lane.runs.push((stamp.intended_ns, 1)),
        }
        let after = lane.builder.len();
        self.unsent_bytes += after - before;
        self.made += 1;
        self.target = None;
        self.payload.advance();
        self.headers.advance();
        self.arrivals.issue();
        if after + self.value_bytes_min + beside_bytes > self.batch_bytes {
            self.seal(index);
        }
    }

    fn is_open(&self, open: Open) -> bool {
        let lane = &self.lanes[open.lane];
        lane.opening == open.opening && !lane.builder.is_empty()
    }

    /// Finds the batches that have lingered (all, when memory is short, as Kafka's clients do) and
    /// says when to look again.
    pub(super) fn ripen(&mut self, now_ns: u64) -> u64 {
        let memory_is_short = self.unsent_bytes >= self.unsent_bytes_max;
        while let Some(&(opened_ns, open)) = self.open.front() {
            if self.is_open(open) {
                let ends_ns = opened_ns + self.linger_ns;
                if ends_ns > now_ns && !memory_is_short {
                    return ends_ns;
                }
                self.links[self.lanes[open.lane].node].ripe.push_back(open);
            }
            self.open.pop_front();
        }
        u64::MAX
    }

    /// What leaves next on this connection, which has a free slot.
    pub(super) fn next_batch(&mut self, node: usize) -> Option<Batch> {
        while self.links[node].waiting.is_empty() {
            let ripe = self.links[node].ripe.pop_front()?;
            if self.is_open(ripe) {
                self.seal(ripe.lane);
            }
        }
        let batch = self.links[node].waiting.pop_front()?;
        self.unsent_bytes -= batch.held_bytes;
        Some(batch)
    }

    /// Closes a partition's open batch and queues it; without keys the next record starts on the next partition.
    pub(super) fn seal(&mut self, index: usize) {
        let fresh = self.spare_runs.pop().unwrap_or_default();
        let lane = &mut self.lanes[index];
        let records = lane.builder.record_count() as u32;
        let held_bytes = lane.builder.len();
        let (producer_id, epoch) = self.identity;
        if producer_id >= 0 {
            lane.builder.producer(producer_id, epoch, lane.next_base_sequence);
            lane.next_base_sequence = next_base_sequence(lane.next_base_sequence, records);
        }
        let batch = Batch {
            lane: index,
            first_sequence: lane.next_sequence - u64::from(records),
            records,
            value_bytes: std::mem::take(&mut lane.value_bytes),
            held_bytes,
            bytes: lane.builder.finish().into(),
            runs: std::mem::replace(&mut lane.runs, fresh),
        };
        self.links[lane.node].waiting.push_back(batch);
        self.rotation.lane = (index + 1) % self.lanes.len();
        // Closed before they lingered, by their size: not kept beyond a few for each lane.
        if self.open.len() > 64 + 2 * self.lanes.len() {
            let mut open = std::mem::take(&mut self.open);
            open.retain(|(_, open)| self.is_open(*open));
            self.open = open;
        }
    }
}

/// Sequence numbers wrap to 0 after i32::MAX (KIP-98).
pub(super) fn next_base_sequence(base: i32, records: u32) -> i32 {
    ((base as u32 + records) & 0x7fff_ffff) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idempotent_sequences_wrap_to_zero() {
        assert_eq!(next_base_sequence(0, 10), 10);
        assert_eq!(next_base_sequence(i32::MAX, 1), 0);
        assert_eq!(next_base_sequence(i32::MAX - 1, 5), 3);
    }

    #[test]
    fn wake_ups_are_exact_while_they_are_few_and_each_tick_when_they_are_many() {
        let mut pace = Pace::default();
        let mut now_ns = 1_000_000_000;
        for _ in 0..1000 {
            now_ns = (now_ns + 2 * TICK_NS).max(pace.earliest_ns());
            pace.woke(now_ns);
        }
        assert_eq!(now_ns, 1_000_000_000 + 2000 * TICK_NS, "never held back");
        let from_ns = now_ns;
        for _ in 0..1000 {
            now_ns = (now_ns + 1_000).max(pace.earliest_ns());
            pace.woke(now_ns);
        }
        let ticks = (now_ns - from_ns) / TICK_NS;
        assert!((1000 - TICKS_SAVED - 2..=1000).contains(&ticks), "{ticks}");
    }
}
