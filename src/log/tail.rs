//! Tail buffers: at once write buffer and read cache of the end of a log.
//! A batch is copied into an open buffer (one owner, may be changed); `seal_front` pads its last
//! block with zeros, freezes it behind an `Rc` and hands it to the device; once written it stays as
//! read cache. The next open buffer begins with a copy of the partial last block, which is thus
//! rewritten in place. Invariants: sealed buffers are in offset order without gaps; one buffer is in
//! flight at most; readers see sealed buffers only. Not here: files, and when to write.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::segment::SharedSegment;
use crate::runtime::{AlignedBuf, BLOCK};
use crate::types::Offset;

const OPEN_BYTES_MIN: usize = 4 * 1024;
const OPEN_BYTES_MAX: usize = 1024 * 1024;
/// Cached bytes of one log when the shard asks for nothing less: some seconds of a fast producer.
const CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The same when nobody has looked at the tail while `CACHE_BYTES_MAX` were written: who comes later
/// begins at the end or far behind it. Copies into memory that the processor's cache still holds cost
/// half of others.
const CACHE_BYTES_UNREAD: usize = 2 * 1024 * 1024;

pub(super) struct OpenBuffer {
    buf: AlignedBuf,
    pub segment: SharedSegment,
    /// Where the buffer begins in the file; a multiple of `BLOCK`.
    pub file_position: u64,
    /// Bytes before this buffer's own batches, copied from what was written before.
    pub prefix: usize,
    /// The prefix has to be read from the file before the buffer is written (after a reopen, or
    /// when the cache was dropped).
    pub prefix_missing: bool,
    /// First byte of the first whole batch in the buffer, and its offset.
    start: usize,
    base: Offset,
    len: usize,
    next: Offset,
}

#[derive(Clone)]
pub(super) struct SealedBuffer {
    pub buf: Rc<AlignedBuf>,
    pub segment_base: Offset,
    pub file_position: u64,
    pub start: usize,
    pub end: usize,
    pub base: Offset,
    pub next: Offset,
}

pub(super) struct Tail {
    /// Written in order; the last one is open for appends.
    pending: VecDeque<OpenBuffer>,
    in_flight: Option<SealedBuffer>,
    sealed: VecDeque<SealedBuffer>,
    /// Size of the next open buffer; follows the load.
    open_bytes: usize,
    pending_bytes: usize,
    sealed_bytes: usize,
    /// Bytes sealed since a reader last looked here.
    unread_bytes: Cell<usize>,
}

pub(super) fn round_up(n: usize) -> usize {
    n.next_multiple_of(BLOCK)
}

impl Tail {
    pub fn new() -> Tail {
        Tail {
            pending: VecDeque::new(),
            in_flight: None,
            sealed: VecDeque::new(),
            open_bytes: OPEN_BYTES_MIN,
            pending_bytes: 0,
            sealed_bytes: 0,
            unread_bytes: Cell::new(0),
        }
    }

    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Pending, and what is on its way to the device.
    pub fn unwritten_bytes(&self) -> usize {
        self.pending_bytes + self.in_flight.as_ref().map_or(0, |sealed| sealed.end - sealed.start)
    }

    pub fn front(&mut self) -> Option<&mut OpenBuffer> {
        self.pending.front_mut()
    }

    /// For readers: their looks decide how much is kept.
    pub fn sealed(&self) -> &VecDeque<SealedBuffer> {
        self.unread_bytes.set(0);
        &self.sealed
    }

    /// Copies a batch that goes to `position` of `segment`; returns the copy, to be patched.
    pub fn push(
        &mut self,
        segment: &SharedSegment,
        position: u64,
        batch: &[u8],
        base: Offset,
        next: Offset,
    ) -> &mut [u8] {
        let fits = self.pending.back().is_some_and(|open| {
            Rc::ptr_eq(&open.segment, segment) && open.buf.len() - open.len >= batch.len()
        });
        if !fits {
            self.make_room(segment, position, base, batch.len());
        }
        self.pending_bytes += batch.len();
        let Some(open) = self.pending.back_mut() else { unreachable!("make_room opens a buffer") };
        assert_eq!(open.file_position + open.len as u64, position, "a gap in the log file");
        let at = open.len;
        open.len += batch.len();
        open.next = next;
        open.buf.put(at, batch);
        &mut open.buf[at..at + batch.len()]
    }

    fn make_room(&mut self, segment: &SharedSegment, position: u64, base: Offset, need: usize) {
        if let Some(open) = self.pending.back_mut()
            && Rc::ptr_eq(&open.segment, segment)
        {
            let wanted = round_up(open.len + need);
            // A buffer of less than a block is always replaced: then the partial block of any other
            // never has bytes that are still to be read from the file.
            if wanted <= OPEN_BYTES_MAX || open.len < BLOCK {
                let size = wanted.max((open.buf.len() * 2).min(OPEN_BYTES_MAX));
                let mut larger = AlignedBuf::unzeroed(size);
                larger[..open.len].copy_from_slice(&open.buf[..open.len]);
                open.buf = larger;
                return;
            }
        }
        let prefix = (position % BLOCK as u64) as usize;
        let file_position = position - prefix as u64;
        let mut open = OpenBuffer {
            buf: AlignedBuf::unzeroed(self.open_bytes.max(round_up(prefix + need))),
            segment: segment.clone(),
            file_position,
            prefix,
            prefix_missing: prefix > 0,
            start: prefix,
            base,
            len: prefix,
            next: base,
        };
        if prefix > 0 {
            if let Some(last) = self.pending.back() {
                let from = (file_position - last.file_position) as usize;
                open.buf[..prefix].copy_from_slice(&last.buf[from..last.len]);
                open.prefix_missing = false;
            } else if let Some(last) = self.in_flight.as_ref().or(self.sealed.back())
                && last.segment_base == segment.base
                && last.file_position + last.end as u64 == position
            {
                let from = (file_position - last.file_position) as usize;
                open.buf[..prefix].copy_from_slice(&last.buf[from..last.end]);
                open.prefix_missing = false;
                if from == 0 {
                    // All of it is held again: this buffer takes its place in the cache.
                    open.start = last.start;
                    open.base = last.base;
                }
            }
        }
        self.pending.push_back(open);
    }

    /// Freezes the first pending buffer: what to write, and where.
    pub fn seal_front(&mut self) -> Option<SealedBuffer> {
        assert!(self.in_flight.is_none(), "one write in flight per log");
        let open = self.pending.pop_front()?;
        assert!(!open.prefix_missing, "the partial block was not read");
        let capacity = open.buf.len();
        let used = round_up(open.len);
        // So that a steady load fills more than half of a buffer, which is then neither moved to a
        // larger one while it is open nor to a smaller one here.
        if capacity > self.open_bytes {
            self.open_bytes = capacity.min(OPEN_BYTES_MAX);
        } else if used * 2 <= capacity {
            self.open_bytes = (self.open_bytes / 2).max(OPEN_BYTES_MIN);
        }
        let mut buf = open.buf;
        if used * 2 <= capacity {
            let mut smaller = AlignedBuf::unzeroed(used);
            smaller[..open.len].copy_from_slice(&buf[..open.len]);
            smaller[open.len..].fill(0);
            buf = smaller;
        } else {
            buf[open.len..used].fill(0);
            buf.truncate(used);
        }
        self.pending_bytes -= open.len - open.prefix;
        let sealed = SealedBuffer {
            buf: Rc::new(buf),
            segment_base: open.segment.base,
            file_position: open.file_position,
            start: open.start,
            end: open.len,
            base: open.base,
            next: open.next,
        };
        self.in_flight = Some(sealed.clone());
        Some(sealed)
    }

    /// The write in flight is done: its buffer becomes read cache.
    pub fn complete(&mut self) {
        let Some(done) = self.in_flight.take() else { return };
        if let Some(last) = self.sealed.back()
            && last.segment_base == done.segment_base
            && last.file_position == done.file_position
        {
            self.sealed_bytes -= last.buf.len();
            self.sealed.pop_back();
        }
        let unread = self.unread_bytes.get().saturating_add(done.buf.len());
        self.unread_bytes.set(unread);
        let keep = if unread > CACHE_BYTES_MAX { CACHE_BYTES_UNREAD } else { CACHE_BYTES_MAX };
        self.sealed_bytes += done.buf.len();
        self.sealed.push_back(done);
        self.trim(keep);
    }

    /// The last buffer stays: its end may be the start of the next write.
    pub fn trim(&mut self, keep_bytes: usize) {
        while self.sealed_bytes > keep_bytes && self.sealed.len() > 1 {
            self.drop_oldest();
        }
    }

    /// Forgets everything from offset `to` on, which is at `position` of the file.
    pub fn cut(&mut self, position: u64, to: Offset) {
        self.pending.clear();
        self.pending_bytes = 0;
        self.in_flight = None;
        while let Some(last) = self.sealed.back_mut().filter(|last| last.next > to) {
            if last.base < to {
                last.end = (position - last.file_position) as usize;
                last.next = to;
                break;
            }
            self.sealed_bytes -= last.buf.len();
            self.sealed.pop_back();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.sealed.pop_front() {
            self.sealed_bytes -= oldest.buf.len();
        }
    }

    /// Drops cached buffers that end at or below `offset`.
    pub fn drop_below(&mut self, offset: Offset) {
        while self.sealed.front().is_some_and(|oldest| oldest.next <= offset) {
            self.drop_oldest();
        }
    }

    pub fn cached_bytes(&self) -> usize {
        self.sealed_bytes
    }

    pub fn shrink(&mut self, keep_bytes: usize) {
        while self.sealed_bytes > keep_bytes {
            self.drop_oldest();
        }
        if self.sealed.is_empty() {
            self.sealed = VecDeque::new();
        }
        if self.pending.is_empty() {
            self.pending = VecDeque::new();
        }
    }
}

impl OpenBuffer {
    /// The missing start of the first block, as it is in the file.
    pub fn set_prefix(&mut self, bytes: &[u8]) {
        self.buf[..self.prefix].copy_from_slice(&bytes[..self.prefix]);
        self.prefix_missing = false;
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment::Segment;
    use super::*;

    fn write(tail: &mut Tail, segment: &SharedSegment, position: &mut u64, bytes: usize) {
        let base = *position as Offset;
        tail.push(segment, *position, &vec![1; bytes], base, base + bytes as Offset);
        *position += bytes as u64;
        assert!(tail.seal_front().is_some());
        tail.complete();
    }

    #[test]
    fn what_nobody_reads_is_not_kept_for_long() {
        let (mut tail, segment, mut position) = (Tail::new(), Rc::new(Segment::new(0, 0, 0)), 0);
        let mut write = |tail: &mut Tail| write(tail, &segment, &mut position, 1_000_000);
        for _ in 0..16 {
            write(&mut tail);
        }
        assert!(tail.cached_bytes() > CACHE_BYTES_MAX - 2_000_000);
        for _ in 0..4 {
            write(&mut tail);
        }
        assert!(tail.cached_bytes() <= CACHE_BYTES_UNREAD);
        for _ in 0..10 {
            assert!(!tail.sealed().is_empty());
            write(&mut tail);
        }
        assert!(tail.cached_bytes() > 10_000_000);
    }

    #[test]
    fn trimming_leaves_the_last_buffer() {
        let (mut tail, segment, mut position) = (Tail::new(), Rc::new(Segment::new(0, 0, 0)), 0);
        for _ in 0..5 {
            write(&mut tail, &segment, &mut position, 100_000);
        }
        tail.trim(250_000);
        assert_eq!(tail.sealed().len(), 2);
        tail.trim(0);
        assert_eq!(tail.sealed().back().map(|b| b.next), Some(500_000));
        tail.push(&segment, position, &[1; 100], 500_000, 500_100);
        assert_eq!(tail.unwritten_bytes(), 100);
        assert!(tail.seal_front().is_some_and(|sealed| sealed.base <= 500_000));
        assert_eq!(tail.pending_bytes(), 0);
        assert!(tail.unwritten_bytes() >= 100, "it is on its way, not there");
        tail.complete();
        assert_eq!(tail.unwritten_bytes(), 0);
    }

    #[test]
    fn a_steady_load_is_copied_once() {
        for bytes in [100, 5_000, 16_400, 40_000, 300_000, 999_000] {
            let (mut tail, segment, mut position) =
                (Tail::new(), Rc::new(Segment::new(0, 0, 0)), 0);
            for _ in 0..20 {
                write(&mut tail, &segment, &mut position, bytes);
            }
            // Neither grown while open nor moved when sealed.
            let need = round_up(bytes + BLOCK - 1);
            assert!(tail.open_bytes < 2 * need || tail.open_bytes == OPEN_BYTES_MIN, "{bytes}");
        }
    }
}
