//! What `benches/` measures of this room's private parts, without files. Nothing of the broker uses it.

use std::rc::Rc;

use super::index::{IndexedBatch, SegmentIndex};
use super::segment::{Segment, SharedSegment};
use super::walk::walk;
use crate::types::Offset;
use crate::wire::record_batch::{BatchHeader, patch_offset};

/// As the appender writes when it has so much.
const WRITE_BYTES: usize = 1024 * 1024;

/// A tail whose writes take no time.
pub struct Tail {
    tail: super::tail::Tail,
    segment: SharedSegment,
    position: u64,
    end: Offset,
}

impl Tail {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Tail {
        let segment = Rc::new(Segment::new(0, 0, 0));
        Tail { tail: super::tail::Tail::new(), segment, position: 0, end: 0 }
    }

    /// The copy into the tail and its patch; a buffer that is full is written.
    pub fn append(&mut self, header: &BatchHeader, batch: &[u8]) {
        let next = self.end + i64::from(header.record_count);
        let copy = self.tail.push(&self.segment, self.position, batch, self.end, next);
        patch_offset(copy, self.end, 0);
        self.position += batch.len() as u64;
        self.end = next;
        if self.tail.pending_bytes() >= WRITE_BYTES {
            self.write();
        }
    }

    pub fn write(&mut self) {
        while self.tail.seal_front().is_some() {
            self.tail.complete();
        }
    }

    pub fn end(&self) -> Offset {
        self.end
    }

    /// What a fetch from `from` takes out of the tail: bytes of whole batches.
    pub fn plan(&self, from: Offset, bytes_max: usize) -> usize {
        let sealed = self.tail.sealed();
        let first = sealed.partition_point(|s| s.next <= from);
        let (mut from, mut taken) = (from, 0);
        for buffer in sealed.range(first..) {
            let bytes = &buffer.buf[buffer.start..buffer.end];
            let found = walk(bytes, from, self.end, bytes_max - taken, taken == 0, None);
            taken += found.end - found.start;
            from = buffer.next;
            if taken >= bytes_max {
                break;
            }
        }
        taken
    }
}

/// The offset index of a segment.
pub struct Index(SegmentIndex);

impl Index {
    /// Of `batches` batches of 100 records and more bytes than the index interval.
    pub fn with_batches(batches: u32) -> Index {
        let mut index = SegmentIndex::new(0);
        for i in 0..i64::from(batches) {
            let batch = IndexedBatch {
                last_offset: i * 100 + 99,
                max_timestamp: i,
                position: i as u64 * 1000,
                size: 1000,
            };
            index.observe(batch, 0);
        }
        Index(index)
    }

    pub fn position_of(&self, offset: Offset) -> Option<u64> {
        self.0.lookup(offset).map(|(_, position)| position)
    }
}
