//! Idempotent producers of one partition (KIP-98): the last five batches of each producer id, what
//! is a duplicate, what is a gap, and Kafka's `.snapshot` format. Pure: no I/O, no clock.
//! Owned by the partition. Not here: transactions (the fields exist in the format and stay empty).

use std::collections::{HashMap, VecDeque};

use crate::log::LastRecord;
use crate::partition::PartitionError;
use crate::types::Offset;
use crate::wire::record_batch::BatchHeader;

/// Batches remembered per producer: the most that a client may have in flight.
const BATCHES_KEPT: usize = 5;
const SNAPSHOT_VERSION: i16 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchMetadata {
    pub last_sequence: i32,
    pub last_offset: Offset,
    pub offset_delta: i32,
    pub timestamp_ms: i64,
}

impl BatchMetadata {
    pub fn first_offset(&self) -> Offset {
        self.last_offset - self.offset_delta as i64
    }
    fn first_sequence(&self) -> i32 {
        sequence_minus(self.last_sequence, self.offset_delta)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    pub epoch: i16,
    pub coordinator_epoch: i32,
    pub last_timestamp_ms: i64,
    /// Newest last. Empty only for an entry that came from a snapshot without a batch.
    pub batches: VecDeque<BatchMetadata>,
}

impl ProducerEntry {
    pub fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(-1, |b| b.last_sequence)
    }
}

/// What to do with a batch of an idempotent producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Append,
    /// Appended before: acknowledge with these offsets.
    Duplicate(BatchMetadata),
}

/// Takes one `appended` back: its batch was cut from the log.
#[derive(Clone, Debug)]
pub struct Undo {
    pub base_offset: Offset,
    producer_id: i64,
    before: Before,
}

#[derive(Clone, Debug)]
enum Before {
    Unknown,
    SameEpoch { forgotten: Option<BatchMetadata>, last_timestamp_ms: i64 },
    OtherEpoch(ProducerEntry),
}

#[derive(Clone, Debug, Default)]
pub struct Producers {
    entries: HashMap<i64, ProducerEntry>,
}

impl Producers {
    pub fn iter(&self) -> impl Iterator<Item = (i64, &ProducerEntry)> {
        self.entries.iter().map(|(id, e)| (*id, e))
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// What compaction must keep of a producer; `None` when it is not known (any more).
    pub fn last_record(&self, id: i64) -> Option<LastRecord> {
        let entry = self.entries.get(&id)?;
        let data_offset = entry.batches.back().map(|b| b.last_offset);
        Some(LastRecord { data_offset, epoch: entry.epoch })
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Checks epoch and sequence of a client's batch against what is remembered.
    pub fn check(&self, batch: &BatchHeader) -> Result<Verdict, PartitionError> {
        // Nothing is known of this producer (new, or expired): any sequence starts it, as Kafka
        // has done since KAFKA-7190.
        let Some(entry) = self.entries.get(&batch.producer_id) else {
            return Ok(Verdict::Append);
        };
        let (id, epoch) = (batch.producer_id, batch.producer_epoch);
        if epoch < entry.epoch {
            return Err(PartitionError::InvalidProducerEpoch(format!(
                "producer {id} has epoch {epoch}, which is older than its last epoch {}",
                entry.epoch
            )));
        }
        if epoch > entry.epoch {
            if batch.base_sequence != 0 {
                return Err(PartitionError::OutOfOrderSequence(format!(
                    "producer {id} begins epoch {epoch} with sequence {} instead of 0",
                    batch.base_sequence
                )));
            }
            return Ok(Verdict::Append);
        }
        let last_sequence = batch.last_sequence();
        let duplicate = entry.batches.iter().find(|b| {
            b.first_sequence() == batch.base_sequence && b.last_sequence == last_sequence
        });
        if let Some(b) = duplicate {
            return Ok(Verdict::Duplicate(*b));
        }
        let Some(last) = entry.batches.back() else {
            return Ok(Verdict::Append);
        };
        let expected = sequence_plus_one(last.last_sequence);
        if batch.base_sequence != expected {
            return Err(PartitionError::OutOfOrderSequence(format!(
                "producer {id} epoch {epoch} sent sequence {} where {expected} was expected",
                batch.base_sequence
            )));
        }
        Ok(Verdict::Append)
    }

    /// Remembers an appended batch (`batch` carries its final offsets).
    pub fn appended(&mut self, batch: &BatchHeader) -> Option<Undo> {
        if !batch.has_producer_id() || batch.is_control() {
            return None;
        }
        let metadata = BatchMetadata {
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset(),
            offset_delta: batch.last_offset_delta,
            timestamp_ms: batch.max_timestamp,
        };
        let (producer_id, base_offset) = (batch.producer_id, batch.base_offset);
        let before = match self.entries.get_mut(&producer_id) {
            Some(entry) if entry.epoch == batch.producer_epoch => {
                let full = entry.batches.len() == BATCHES_KEPT;
                let forgotten = if full { entry.batches.pop_front() } else { None };
                let last_timestamp_ms = entry.last_timestamp_ms;
                entry.last_timestamp_ms = batch.max_timestamp;
                entry.batches.push_back(metadata);
                Before::SameEpoch { forgotten, last_timestamp_ms }
            }
            other => {
                let coordinator_epoch = other.map_or(-1, |entry| entry.coordinator_epoch);
                let entry = ProducerEntry {
                    epoch: batch.producer_epoch,
                    coordinator_epoch,
                    last_timestamp_ms: batch.max_timestamp,
                    batches: VecDeque::from([metadata]),
                };
                let before = self.entries.insert(producer_id, entry);
                before.map_or(Before::Unknown, Before::OtherEpoch)
            }
        };
        Some(Undo { base_offset, producer_id, before })
    }

    /// In the reverse order of `appended`.
    pub fn take_back(&mut self, undo: Undo) {
        match undo.before {
            Before::Unknown => drop(self.entries.remove(&undo.producer_id)),
            Before::OtherEpoch(entry) => drop(self.entries.insert(undo.producer_id, entry)),
            Before::SameEpoch { forgotten, last_timestamp_ms } => {
                // Gone when the producer expired meanwhile.
                let Some(entry) = self.entries.get_mut(&undo.producer_id) else { return };
                entry.batches.pop_back();
                if let Some(batch) = forgotten {
                    entry.batches.push_front(batch);
                }
                entry.last_timestamp_ms = last_timestamp_ms;
            }
        }
    }

    /// Forgets producers that wrote nothing for `expiration_ms`.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) -> usize {
        let before = self.entries.len();
        self.entries.retain(|_, e| now_ms.saturating_sub(e.last_timestamp_ms) < expiration_ms);
        before - self.entries.len()
    }

    /// Kafka's producer snapshot: version, CRC-32C of what follows it, entries with their newest
    /// batch only (so does Kafka: after a clean restart one batch a producer is remembered).
    pub fn to_snapshot(&self) -> Vec<u8> {
        let mut ids: Vec<i64> = self.entries.keys().copied().collect();
        ids.sort_unstable();
        let mut out = Vec::with_capacity(10 + ids.len() * ENTRY_BYTES);
        out.extend(SNAPSHOT_VERSION.to_be_bytes());
        out.extend([0; 4]);
        out.extend((ids.len() as i32).to_be_bytes());
        for id in ids {
            let e = &self.entries[&id];
            let last = e.batches.back();
            out.extend(id.to_be_bytes());
            out.extend(e.epoch.to_be_bytes());
            out.extend(last.map_or(-1, |b| b.last_sequence).to_be_bytes());
            out.extend(last.map_or(-1, |b| b.last_offset).to_be_bytes());
            out.extend(last.map_or(0, |b| b.offset_delta).to_be_bytes());
            out.extend(e.last_timestamp_ms.to_be_bytes());
            out.extend(e.coordinator_epoch.to_be_bytes());
            out.extend((-1i64).to_be_bytes());
        }
        let crc = crc32c::crc32c(&out[6..]);
        out[2..6].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// `Err` says what is wrong: the caller then rebuilds from the log.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Producers, String> {
        let mut r = Reader { bytes, at: 0 };
        let version = i16::from_be_bytes(r.take()?);
        if version != SNAPSHOT_VERSION {
            return Err(format!("producer snapshot version {version} is not {SNAPSHOT_VERSION}"));
        }
        let crc = u32::from_be_bytes(r.take()?);
        if crc != crc32c::crc32c(&bytes[6..]) {
            return Err("producer snapshot fails its CRC".into());
        }
        let count = i32::from_be_bytes(r.take()?);
        let mut producers = Producers::default();
        for _ in 0..count {
            let id = i64::from_be_bytes(r.take()?);
            let epoch = i16::from_be_bytes(r.take()?);
            let last_sequence = i32::from_be_bytes(r.take()?);
            let last_offset = i64::from_be_bytes(r.take()?);
            let offset_delta = i32::from_be_bytes(r.take()?);
            let timestamp_ms = i64::from_be_bytes(r.take()?);
            let coordinator_epoch = i32::from_be_bytes(r.take()?);
            let _txn_first_offset = i64::from_be_bytes(r.take()?);
            let mut batches = VecDeque::with_capacity(1);
            if last_sequence >= 0 {
                let batch =
                    BatchMetadata { last_sequence, last_offset, offset_delta, timestamp_ms };
                batches.push_back(batch);
            }
            let last_timestamp_ms = timestamp_ms;
            let entry = ProducerEntry { epoch, coordinator_epoch, last_timestamp_ms, batches };
            producers.entries.insert(id, entry);
        }
        Ok(producers)
    }
}

const ENTRY_BYTES: usize = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let slice = self.bytes.get(self.at..self.at + N).ok_or("producer snapshot is cut short")?;
        self.at += N;
        slice.try_into().map_err(|_| "producer snapshot is cut short".to_string())
    }
}

/// Sequences run 0..=i32::MAX and wrap to 0.
fn sequence_plus_one(sequence: i32) -> i32 {
    if sequence == i32::MAX { 0 } else { sequence + 1 }
}

fn sequence_minus(sequence: i32, delta: i32) -> i32 {
    if sequence < delta {
        (i64::from(i32::MAX) - i64::from(delta - sequence) + 1) as i32
    } else {
        sequence - delta
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(epoch: i16, base_sequence: i32, count: i32, base_offset: Offset) -> BatchHeader {
        BatchHeader {
            base_offset,
            batch_length: 49,
            partition_leader_epoch: 0,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: 1,
            max_timestamp: 1,
            producer_id: 7,
            producer_epoch: epoch,
            base_sequence,
            record_count: count,
        }
    }

    #[test]
    fn five_batches_are_remembered_and_a_gap_is_refused() {
        let mut p = Producers::default();
        for i in 0..6 {
            let b = batch(0, i * 10, 10, i as i64 * 10);
            assert_eq!(p.check(&b), Ok(Verdict::Append));
            p.appended(&b);
        }
        for i in 1..6 {
            match p.check(&batch(0, i * 10, 10, 0)) {
                Ok(Verdict::Duplicate(b)) => assert_eq!(b.first_offset(), i as i64 * 10),
                other => panic!("batch {i}: {other:?}"),
            }
        }
        assert!(matches!(p.check(&batch(0, 0, 10, 0)), Err(PartitionError::OutOfOrderSequence(_))));
        assert!(matches!(
            p.check(&batch(0, 70, 10, 0)),
            Err(PartitionError::OutOfOrderSequence(_))
        ));
        assert_eq!(p.check(&batch(0, 60, 10, 0)), Ok(Verdict::Append));
    }

    #[test]
    fn epochs_only_go_up_and_begin_at_zero() {
        let mut p = Producers::default();
        p.appended(&batch(3, 5, 1, 0));
        assert!(matches!(
            p.check(&batch(2, 6, 1, 0)),
            Err(PartitionError::InvalidProducerEpoch(_))
        ));
        assert!(matches!(p.check(&batch(4, 6, 1, 0)), Err(PartitionError::OutOfOrderSequence(_))));
        assert_eq!(p.check(&batch(4, 0, 1, 0)), Ok(Verdict::Append));
    }

    #[test]
    fn sequences_wrap() {
        let mut p = Producers::default();
        p.appended(&batch(0, i32::MAX - 1, 2, 0));
        assert_eq!(p.check(&batch(0, 0, 1, 0)), Ok(Verdict::Append));
        p.appended(&batch(0, 0, 1, 2));
        assert!(matches!(p.check(&batch(0, i32::MAX - 1, 2, 0)), Ok(Verdict::Duplicate(_))));
        assert_eq!(sequence_minus(1, 3), i32::MAX - 1);
    }

    #[test]
    fn what_is_taken_back_leaves_no_trace() {
        let mut p = Producers::default();
        let mut states = vec![p.entries.clone()];
        let mut undos = Vec::new();
        let batches = (0..7).map(|i| batch(0, i * 10, 10, i as i64 * 10));
        for b in batches.chain([batch(1, 0, 5, 70), batch(1, 5, 5, 75)]) {
            undos.push(p.appended(&b).unwrap());
            states.push(p.entries.clone());
        }
        while let Some(undo) = undos.pop() {
            states.pop();
            p.take_back(undo);
            assert_eq!(p.entries, *states.last().unwrap());
        }
    }

    #[test]
    fn snapshot_round_trip_and_damage() {
        let mut p = Producers::default();
        p.appended(&batch(0, 0, 10, 100));
        let bytes = p.to_snapshot();
        let q = Producers::from_snapshot(&bytes).unwrap();
        assert!(matches!(q.check(&batch(0, 0, 10, 0)), Ok(Verdict::Duplicate(_))));
        assert_eq!(q.check(&batch(0, 10, 10, 0)), Ok(Verdict::Append));
        for cut in 0..bytes.len() {
            assert!(Producers::from_snapshot(&bytes[..cut]).is_err());
        }
        let mut flipped = bytes.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert!(Producers::from_snapshot(&flipped).is_err());
    }
}
