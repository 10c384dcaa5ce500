//! What one producer holds: open batches by partition, batches that wait for their node, and what
//! each connection has in flight. No I/O here.

use super::*;

pub(super) struct Batch {
    /// Index into `Layout::places`.
    pub(super) lane: usize,
    pub(super) first_sequence: u64,
    pub(super) records: u32,
    pub(super) bytes: Bytes,
    pub(super) runs: Runs,
}

/// One partition, from this producer's side.
pub(super) struct Lane {
    pub(super) node: usize,
    pub(super) builder: BatchBuilder,
    pub(super) opened_ns: u64,
    pub(super) runs: Runs,
    pub(super) next_sequence: u64,
    /// Idempotent sequence number of the next batch.
    pub(super) next_base_sequence: i32,
    pub(super) sent: PartitionSent,
}

pub(super) struct Link {
    pub(super) connection: Connection,
    pub(super) version: i16,
    pub(super) waiting: VecDeque<Batch>,
    /// When each request in flight was sent.
    pub(super) in_flight: VecDeque<u64>,
}

pub(super) struct State {
    pub(super) lanes: Vec<Lane>,
    pub(super) links: Vec<Link>,
    pub(super) payload: Payload,
    pub(super) arrivals: Arrivals,
    pub(super) lane: usize,
    pub(super) spare_runs: Vec<Runs>,
    pub(super) refused_in_a_row: u32,
}

impl State {
    /// Moves to the next partition whose connection has room for another batch.
    pub(super) fn pick_lane(&mut self, in_flight_max: usize) -> bool {
        for step in 0..self.lanes.len() {
            let candidate = (self.lane + step) % self.lanes.len();
            let link = &self.links[self.lanes[candidate].node];
            if link.in_flight.len() < in_flight_max || link.waiting.len() < WAITING_BATCHES {
                self.lane = candidate;
                return true;
            }
        }
        false
    }

    /// Closes a partition's open batch and queues it; the next record starts on the next partition.
    pub(super) fn seal(&mut self, index: usize, (producer_id, epoch): (i64, i16)) {
        let fresh = self.spare_runs.pop().unwrap_or_default();
        let lane = &mut self.lanes[index];
        let records = lane.builder.record_count() as u32;
        if producer_id >= 0 {
            lane.builder.producer(producer_id, epoch, lane.next_base_sequence);
            lane.next_base_sequence = next_base_sequence(lane.next_base_sequence, records);
        }
        let batch = Batch {
            lane: index,
            first_sequence: lane.next_sequence - u64::from(records),
            records,
            bytes: lane.builder.finish().into(),
            runs: std::mem::replace(&mut lane.runs, fresh),
        };
        self.links[lane.node].waiting.push_back(batch);
        self.lane = (index + 1) % self.lanes.len();
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
}
