//! What readers have done with a closed segment, and what follows for the next one: where they stopped (the
//! next fetch goes on there), which parts were read before (read again, they go through the page cache
//! and stay there), which bytes in the cache passed their CRC (those are sent from there without a copy).
//! One a segment, from its first read on; gone when it was idle for a while. Not here: `read_ahead`.
//! Invariant: nothing is named for sending that was not checked when it was read into the cache.

use std::collections::VecDeque;
use std::rc::Rc;

use super::index::SegmentIndex;
use super::read_ahead::ReadsAhead;
use super::segment::Segment;
use super::{Chunk, FetchedRecords, Log, LogError, Memory, ReadMeans, Result};
use crate::limits::{READ_RANGES_REMEMBERED, READ_STOPS_REMEMBERED};
use crate::runtime::{CachedFile, File, ReadBuf};
use crate::types::Offset;
use crate::wire::record_batch::{BatchHeader, HEADER_BYTES};

/// Batches between two entries of an index that are looked at: of the smallest there are some 60.
const LOCATE_BATCHES_MAX: usize = 64;

/// The grain at which it is remembered what was read.
const GRAIN_BYTES: u64 = 64 * 1024;

#[derive(Default)]
pub(super) struct SegmentReads {
    file: Option<CachedFile>,
    /// One bit a grain.
    seen: Vec<u64>,
    /// In the page cache, when last looked at, and whole batches with the right CRC: start..end.
    checked: VecDeque<(u64, u64)>,
    /// (the offset that is read next, the position of its batch)
    stops: VecDeque<(Offset, u64)>,
    pub(super) ahead: ReadsAhead,
}

/// Where bytes came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Device,
    Ahead,
    /// The page cache, where they are now.
    Cache,
}

impl SegmentReads {
    /// Marks the range; true when all of it had been read before.
    pub(super) fn see(&mut self, position: u64, length: usize) -> bool {
        let last = (position + length as u64 - 1) / GRAIN_BYTES;
        let mut all = true;
        for grain in position / GRAIN_BYTES..=last {
            let (word, bit) = ((grain / 64) as usize, 1u64 << (grain % 64));
            if word >= self.seen.len() {
                self.seen.resize(word + 1, 0);
            }
            all &= self.seen[word] & bit != 0;
            self.seen[word] |= bit;
        }
        all
    }

    fn check(&mut self, mut start: u64, mut end: u64) {
        self.checked.retain(|&(from, to)| {
            let apart = to < start || end < from;
            if !apart {
                (start, end) = (start.min(from), end.max(to));
            }
            apart
        });
        self.checked.push_back((start, end));
        if self.checked.len() > READ_RANGES_REMEMBERED {
            self.checked.pop_front();
        }
    }

    /// What is read into the cache anew is not what was checked.
    fn uncheck(&mut self, start: u64, end: u64) {
        self.checked.retain(|&(from, to)| to <= start || end <= from);
    }

    fn stop(&mut self, offset: Offset, position: u64) {
        if self.stops.iter().any(|s| s.0 == offset) {
            return;
        }
        self.stops.push_back((offset, position));
        if self.stops.len() > READ_STOPS_REMEMBERED {
            self.stops.pop_front();
        }
    }

    fn stopped_at(&self, offset: Offset) -> Option<u64> {
        self.stops.iter().find(|s| s.0 == offset).map(|s| s.1)
    }
}

impl Segment {
    /// Where the batch of `offset` begins, if a reader stopped there.
    pub fn stopped_at(&self, offset: Offset) -> Option<u64> {
        self.reads.borrow().as_ref().and_then(|r| r.stopped_at(offset))
    }

    /// A reader will go on at `offset`, whose batch is at `position`.
    pub fn note_stop(&self, offset: Offset, position: u64) {
        self.reads.borrow_mut().get_or_insert_default().stop(offset, position);
    }

    /// Reads a range: what was read ahead (at least `need` of it), else from the device; through the page
    /// cache when it is not the first time.
    pub async fn read_range(
        &self,
        file: &File,
        position: u64,
        (need, length): (usize, usize),
        means: Option<&ReadMeans>,
    ) -> std::io::Result<(ReadBuf, Source)> {
        if let Some(bytes) = self.take_ahead(position, need, length).await {
            return Ok((bytes, Source::Ahead));
        }
        let again = self.finished.get()
            && length > 0
            && self.reads.borrow_mut().get_or_insert_default().see(position, length);
        if !again {
            let read = match means {
                Some(means) => means.read(file, position, length).await,
                None => file.read_at(position, length).await,
            };
            return Ok((read?, Source::Device));
        }
        let _turn = match means {
            Some(means) => Some(means.turn(length).await),
            None => None,
        };
        let known = self.reads.borrow().as_ref().and_then(|r| r.file.clone());
        let cached = match known {
            Some(cached) => cached,
            None => {
                let cached = CachedFile::beside(file).await?;
                self.reads.borrow_mut().get_or_insert_default().file = Some(cached.clone());
                cached
            }
        };
        let _reading = match means {
            Some(means) if !cached.is_resident(position, length) => {
                Some(means.catch_up.begin(length).await)
            }
            _ => None,
        };
        if let Some(reads) = self.reads.borrow_mut().as_mut() {
            reads.uncheck(position, position + length as u64);
        }
        Ok((cached.read_at(position, length).await?, Source::Cache))
    }

    /// Whole batches that were read into the page cache and are what was written.
    pub fn note_checked(&self, start: u64, end: u64) {
        self.reads.borrow_mut().get_or_insert_default().check(start, end);
    }
}

impl Log {
    /// As `read`, for records that are only sent: a range of a closed segment that is in the page
    /// cache and was checked is named, not read.
    pub async fn read_to_send(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        min_one: bool,
        means: &Rc<ReadMeans>,
    ) -> Result<FetchedRecords> {
        if let Some(records) = self.cached_range(from, up_to, max_bytes).await? {
            return Ok(records);
        }
        self.read_on(from, up_to, max_bytes, min_one, means).await
    }

    /// `None`: it is not all in memory, or it was not checked, or nothing is known of the file.
    async fn cached_range(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
    ) -> Result<Option<FetchedRecords>> {
        let (segment, interval) = {
            let state = self.inner.state.borrow();
            state.check_range(from)?;
            (state.segment_for(from), state.config.index_interval_bytes)
        };
        if !segment.finished.get() || segment.next.get() > up_to.min(self.written_offset()) {
            return Ok(None);
        }
        let file = segment.reads.borrow().as_ref().and_then(|r| r.file.clone());
        let Some(file) = file else { return Ok(None) };
        let dir = &self.inner.dir;
        let indexed = segment.with_index(dir, interval, |i| i.lookup(from).map_or(0, |e| e.1));
        let start = match indexed.await {
            // Compaction was here: the way through the files begins again.
            Err(LogError::Replaced(_)) => None,
            indexed => locate(&file, indexed?, from, segment.written.get()),
        };
        let checked = start.and_then(|start| segment.checked_to(start));
        let (Some(start), Some(checked)) = (start, checked) else { return Ok(None) };
        let written = segment.written.get();
        let limit = (start + max_bytes as u64).min(checked);
        let last = |i: &SegmentIndex| i.last_position_up_to(limit);
        let end = match limit == written {
            true => Some(written),
            false => segment.with_index(dir, interval, last).await.unwrap_or_default(),
        };
        let Some(end) = end.filter(|end| *end > start) else { return Ok(None) };
        let length = (end - start) as usize;
        if !file.is_resident(start, length) {
            return Ok(None);
        }
        let mut records = FetchedRecords::default();
        records.push(Chunk { memory: Memory::Cached(file, start), start: 0, end: length });
        Ok(Some(records))
    }
}

impl Segment {
    /// Up to where the bytes from `start` on were checked.
    fn checked_to(&self, start: u64) -> Option<u64> {
        let reads = self.reads.borrow();
        let mut checked = reads.as_ref()?.checked.iter();
        checked.find(|c| c.0 <= start && start < c.1).map(|c| c.1)
    }
}

/// Where the batch of `from` begins, by the heads of the batches from `position` on; only as far as
/// they are in memory.
fn locate(file: &CachedFile, position: u64, from: Offset, written: u64) -> Option<u64> {
    let mut at = position;
    for _ in 0..LOCATE_BATCHES_MAX {
        if at + HEADER_BYTES as u64 > written {
            return None;
        }
        let header = BatchHeader::parse(&file.read_now(at, HEADER_BYTES)?).ok()?;
        if header.last_offset() >= from {
            return Some(at);
        }
        at += header.size_bytes() as u64;
    }
    None
}
