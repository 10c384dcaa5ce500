//! The two sparse indexes of one segment, in Kafka's file formats: `.index` (relative offset i32,
//! position i32, both big endian) and `.timeindex` (timestamp i64, relative offset i32).
//! Invariants: offsets and positions of `.index` grow strictly, timestamps of `.timeindex` grow
//! strictly and its offsets never fall. An offset entry names the last offset of the batch at its
//! position, as Kafka's does. An index is a hint: one that breaks a rule is rebuilt from the log.

use crate::types::Offset;

const OFFSET_ENTRY_BYTES: usize = 8;
const TIME_ENTRY_BYTES: usize = 12;

/// Kafka's "no timestamp".
pub(super) const NO_TIMESTAMP: i64 = -1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OffsetEntry {
    relative: i32,
    position: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TimeEntry {
    timestamp: i64,
    relative: i32,
}

/// What an index needs to know of one batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct IndexedBatch {
    pub last_offset: Offset,
    pub max_timestamp: i64,
    pub position: u64,
    pub size: u64,
}

#[derive(Clone, Debug)]
pub(super) struct SegmentIndex {
    base: Offset,
    offsets: Vec<OffsetEntry>,
    times: Vec<TimeEntry>,
    bytes_since_entry: u64,
    /// Largest batch timestamp of the segment, and the last offset of the first batch that has it.
    max_timestamp: i64,
    max_timestamp_offset: Offset,
    /// Differs from the files.
    pub dirty: bool,
}

impl SegmentIndex {
    pub fn new(base: Offset) -> SegmentIndex {
        SegmentIndex {
            base,
            offsets: Vec::new(),
            times: Vec::new(),
            bytes_since_entry: 0,
            max_timestamp: NO_TIMESTAMP,
            max_timestamp_offset: base,
            dirty: true,
        }
    }

    /// Takes note of a batch appended or scanned, in order; adds entries by Kafka's rule.
    pub fn observe(&mut self, batch: IndexedBatch, interval_bytes: u32) {
        if batch.max_timestamp > self.max_timestamp {
            self.max_timestamp = batch.max_timestamp;
            self.max_timestamp_offset = batch.last_offset;
        }
        if self.bytes_since_entry > interval_bytes as u64 {
            let relative = batch.last_offset - self.base;
            if let (Ok(relative), Ok(position)) =
                (i32::try_from(relative), i32::try_from(batch.position))
                && self.offsets.last().is_none_or(|e| e.relative < relative)
            {
                self.offsets.push(OffsetEntry { relative, position });
            }
            self.add_time_entry();
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += batch.size;
        self.dirty = true;
    }

    /// Kafka adds an entry for the largest timestamp when a segment is rolled or closed.
    pub fn add_time_entry(&mut self) {
        let last = self.times.last().copied();
        let relative = i32::try_from(self.max_timestamp_offset - self.base).unwrap_or(i32::MAX);
        if self.max_timestamp > last.map_or(NO_TIMESTAMP, |e| e.timestamp)
            && last.is_none_or(|e| e.relative <= relative)
        {
            self.times.push(TimeEntry { timestamp: self.max_timestamp, relative });
            self.dirty = true;
        }
    }

    /// Kafka's fullness: the time index keeps one slot for the entry of the roll.
    pub fn is_full(&self, index_bytes_max: u32) -> bool {
        let max = index_bytes_max as usize;
        self.offsets.len() >= max / OFFSET_ENTRY_BYTES
            || self.times.len() + 1 >= max / TIME_ENTRY_BYTES
    }

    /// Bytes of the two files.
    pub fn file_bytes(&self) -> (u64, u64) {
        let (offsets, times) = (self.offsets.len(), self.times.len());
        ((offsets * OFFSET_ENTRY_BYTES) as u64, (times * TIME_ENTRY_BYTES) as u64)
    }

    pub fn max_timestamp(&self) -> (i64, Offset) {
        (self.max_timestamp, self.max_timestamp_offset)
    }

    /// The last entry at or below `offset`: (last offset of the batch there, its position).
    pub fn lookup(&self, offset: Offset) -> Option<(Offset, u64)> {
        let n = self.offsets.partition_point(|e| self.base + e.relative as i64 <= offset);
        let e = self.offsets[..n].last()?;
        Some((self.base + e.relative as i64, e.position as u64))
    }

    /// The last batch of the index that begins at or before `position` of the file: where it begins.
    pub fn last_position_up_to(&self, position: u64) -> Option<u64> {
        let n = self.offsets.partition_point(|e| e.position as u64 <= position);
        self.offsets[..n].last().map(|e| e.position as u64)
    }

    pub fn last_entry(&self) -> Option<(Offset, u64)> {
        self.lookup(Offset::MAX)
    }

    /// The last time entry at or below `timestamp`: (timestamp, offset).
    pub fn time_lookup(&self, timestamp: i64) -> Option<(i64, Offset)> {
        let n = self.times.partition_point(|e| e.timestamp <= timestamp);
        let e = self.times[..n].last()?;
        Some((e.timestamp, self.base + e.relative as i64))
    }

    /// The last time entry for an offset below `offset`: (timestamp, offset).
    pub fn time_entry_below(&self, offset: Offset) -> Option<(i64, Offset)> {
        let n = self.times.partition_point(|e| self.base + (e.relative as i64) < offset);
        let e = self.times[..n].last()?;
        Some((e.timestamp, self.base + e.relative as i64))
    }

    /// Forgets entries for offsets above `offset`; scanning goes on at the entry that is returned
    /// (the start of the segment when `None`), whose batch is to be observed again.
    pub fn truncate_above(&mut self, offset: Offset) -> Option<(Offset, u64)> {
        let base = self.base;
        let n = self.offsets.partition_point(|e| base + e.relative as i64 <= offset);
        self.offsets.truncate(n);
        let resume = self.last_entry();
        let keep = resume.map_or(base - 1, |(o, _)| o);
        let n = self.times.partition_point(|e| base + e.relative as i64 <= keep);
        self.times.truncate(n);
        self.bytes_since_entry = 0;
        match self.times.last() {
            Some(e) => {
                self.max_timestamp = e.timestamp;
                self.max_timestamp_offset = base + e.relative as i64;
            }
            None => {
                self.max_timestamp = NO_TIMESTAMP;
                self.max_timestamp_offset = base;
            }
        }
        self.dirty = true;
        resume
    }

    pub fn encode_offsets(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.offsets.len() * OFFSET_ENTRY_BYTES);
        for e in &self.offsets {
            out.extend_from_slice(&e.relative.to_be_bytes());
            out.extend_from_slice(&e.position.to_be_bytes());
        }
        out
    }

    pub fn encode_times(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.times.len() * TIME_ENTRY_BYTES);
        for e in &self.times {
            out.extend_from_slice(&e.timestamp.to_be_bytes());
            out.extend_from_slice(&e.relative.to_be_bytes());
        }
        out
    }

    /// `None` when a rule is broken. Kafka's active index files may end in preallocated zeros:
    /// those are dropped (a zero entry can only be the first of a time index, never a later one).
    pub fn decode(
        base: Offset,
        log_bytes: u64,
        offsets: &[u8],
        times: &[u8],
    ) -> Option<SegmentIndex> {
        if !offsets.len().is_multiple_of(OFFSET_ENTRY_BYTES)
            || !times.len().is_multiple_of(TIME_ENTRY_BYTES)
        {
            return None;
        }
        let mut index = SegmentIndex::new(base);
        let mut entries = offsets.chunks_exact(OFFSET_ENTRY_BYTES);
        for entry in entries.by_ref() {
            if entry == [0; OFFSET_ENTRY_BYTES] {
                break;
            }
            let e = OffsetEntry { relative: be_i32(entry, 0)?, position: be_i32(entry, 4)? };
            let in_order = match index.offsets.last() {
                Some(last) => e.relative > last.relative && e.position > last.position,
                None => e.relative >= 0 && e.position >= 0,
            };
            if !in_order || e.position as u64 >= log_bytes {
                return None;
            }
            index.offsets.push(e);
        }
        if entries.any(|e| e.iter().any(|b| *b != 0)) {
            return None;
        }
        let mut entries = times.chunks_exact(TIME_ENTRY_BYTES);
        for entry in entries.by_ref() {
            if entry == [0; TIME_ENTRY_BYTES] {
                break;
            }
            let timestamp = be_i64(entry, 0)?;
            let e = TimeEntry { timestamp, relative: be_i32(entry, 8)? };
            let in_order = match index.times.last() {
                Some(last) => e.timestamp > last.timestamp && e.relative >= last.relative,
                None => e.relative >= 0,
            };
            if !in_order {
                return None;
            }
            index.times.push(e);
        }
        if entries.any(|e| e.iter().any(|b| *b != 0)) {
            return None;
        }
        if let Some(last) = index.times.last() {
            index.max_timestamp = last.timestamp;
            index.max_timestamp_offset = base + last.relative as i64;
        }
        index.dirty = false;
        Some(index)
    }
}

fn be_i32(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn be_i64(bytes: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(last_offset: Offset, ts: i64, position: u64) -> IndexedBatch {
        IndexedBatch { last_offset, max_timestamp: ts, position, size: 3000 }
    }

    #[test]
    fn entries_follow_the_interval_and_survive_the_files() {
        let mut i = SegmentIndex::new(100);
        for n in 0..10 {
            i.observe(batch(100 + n, 1000 + n % 4, n as u64 * 3000), 4096);
        }
        i.add_time_entry();
        // Every second batch passes 4,096 bytes since the last entry.
        assert_eq!(i.lookup(101), None);
        assert_eq!(i.lookup(102), Some((102, 6000)));
        assert_eq!(i.lookup(105), Some((104, 12000)));
        assert_eq!(i.max_timestamp(), (1003, 103));
        let back =
            SegmentIndex::decode(100, 30000, &i.encode_offsets(), &i.encode_times()).unwrap();
        assert_eq!(back.offsets, i.offsets);
        assert_eq!(back.times, i.times);
        assert_eq!(back.max_timestamp(), (1003, 103));
        assert_eq!(back.time_lookup(999), None);
        assert_eq!(back.time_lookup(1002), Some((1002, 102)));
        assert_eq!(back.time_lookup(9999), Some((1003, 103)));
    }

    #[test]
    fn broken_files_are_refused() {
        let mut i = SegmentIndex::new(0);
        for n in 0..10 {
            i.observe(batch(n, n, n as u64 * 3000), 4096);
        }
        let (o, t) = (i.encode_offsets(), i.encode_times());
        assert!(SegmentIndex::decode(0, 30000, &o, &t).is_some());
        assert!(SegmentIndex::decode(0, 3000, &o, &t).is_none(), "position past the log");
        assert!(SegmentIndex::decode(0, 30000, &o[1..], &t).is_none());
        let mut holed = o.clone();
        holed[8..16].fill(0);
        assert!(SegmentIndex::decode(0, 30000, &holed, &t).is_none());
        let mut padded = o.clone();
        padded.extend_from_slice(&[0; 64]);
        assert!(SegmentIndex::decode(0, 30000, &padded, &t).is_some());
    }

    #[test]
    fn truncation_resumes_at_the_entry_below() {
        let mut i = SegmentIndex::new(0);
        for n in 0..10 {
            i.observe(batch(n, n, n as u64 * 3000), 4096);
        }
        assert_eq!(i.truncate_above(5), Some((4, 12000)));
        assert_eq!(i.max_timestamp(), (4, 4));
        assert_eq!(i.truncate_above(1), None);
        assert_eq!(i.max_timestamp(), (NO_TIMESTAMP, 0));
    }
}
