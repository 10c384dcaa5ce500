//! The read path of one log: from tail memory, else from files; header replay.
//! Invariants: whole batches only, never a byte at or beyond the written offset; what comes from a
//! file passes its CRC-32C and stands in offset order, or is not returned (memory was checked when it
//! was appended); no borrow of the log's state lives across an await. A read that began keeps its
//! segment's file, so retention and rolls beside it do no harm; one that finds its segment replaced by
//! compaction begins again. Not here: lookups by time (times), who may read up to where (partition/).

use super::cached::Source;
use super::scan::{BatchScan, Scanned};
use super::segment::{FileKind, SharedSegment};
use super::walk::{Stop, Stored, walk};
use super::{Chunk, FetchedRecords, Log, LogError, Memory, ReadMeans, Result, io_error};
use crate::runtime::{BLOCK, yield_if_needed};
use crate::types::Offset;
use crate::wire::record_batch::{BatchHeader, HEADER_BYTES};

/// One read of a file at most (a single larger batch excepted).
const READ_BYTES_MAX: usize = 1024 * 1024;
/// Read beyond the asked size, for the batches between the index entry and the asked offset.
const READ_SLACK_BYTES: usize = 8 * 1024;

/// Each retry follows a change of the segments that was complete when it began.
const REPLACED_RETRIES: usize = 8;

/// What a read for so many bytes from `position` on asks the file for: with the rest of its first
/// block, which is read as well, no more than the most.
pub(super) fn read_bytes(position: u64, room: usize) -> usize {
    let before = (position % BLOCK as u64) as usize;
    room.saturating_add(READ_SLACK_BYTES).min(READ_BYTES_MAX - before)
}

/// The offset after the last batch.
pub(super) fn next_offset(records: &FetchedRecords) -> Option<Offset> {
    let mut next = None;
    let mut rest: &[u8] = records.chunks.last()?;
    while let Ok(header) = BatchHeader::parse(rest) {
        next = Some(header.last_offset() + 1);
        rest = rest.get(header.size_bytes()..)?;
    }
    next
}

impl Log {
    /// From tail memory only; `None` when a file must be read. `from` in [start, up_to).
    /// Whole batches while they fit in `max_bytes`; the first is returned even when larger if
    /// `min_one`. Batches at or beyond `up_to` are not returned. Empty when from == up_to.
    pub fn read_tail(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        min_one: bool,
    ) -> Option<Result<FetchedRecords>> {
        let state = self.inner.state.borrow();
        if let Err(e) = state.check_range(from) {
            return Some(Err(e));
        }
        let up_to = up_to.min(state.written);
        if from >= up_to {
            return Some(Ok(FetchedRecords::default()));
        }
        let sealed = state.tail.sealed();
        let first = sealed.partition_point(|s| s.next <= from);
        if first == sealed.len() || (first == 0 && from < sealed[0].base) {
            return None;
        }
        let mut out = FetchedRecords::default();
        let mut from = from;
        for buffer in sealed.range(first..) {
            // The batches of `buffer.start..` that an earlier buffer had too are below `from`.
            let mut at = buffer.start;
            let segment = state.segment_for(from.max(buffer.base));
            if segment.base == buffer.segment_base
                && let Some(index) = segment.index.borrow().as_deref()
                && let Some((_, position)) = index.lookup(from)
                && position >= buffer.file_position + at as u64
                && position < buffer.file_position + buffer.end as u64
            {
                at = (position - buffer.file_position) as usize;
            }
            let room = max_bytes.saturating_sub(out.bytes);
            let take_first = min_one && out.bytes == 0;
            let bytes = &buffer.buf[at..buffer.end];
            let found = walk(bytes, from, up_to, room, take_first, None);
            if found.end > found.start {
                let (start, end) = (at + found.start, at + found.end);
                out.push(Chunk { memory: Memory::Tail(buffer.buf.clone()), start, end });
            }
            match found.stop {
                Stop::Done => break,
                Stop::Short { .. } => from = buffer.next,
                Stop::Bad { at: p, why } => {
                    let path = segment.path(&self.inner.dir, FileKind::Log);
                    let position = buffer.file_position + (at + p) as u64;
                    return Some(Err(LogError::Corrupt { path, position, why }));
                }
            }
        }
        Some(Ok(out))
    }

    /// As `read_tail`, from files when need be.
    pub async fn read(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<FetchedRecords> {
        self.read_with(from, up_to, max_bytes, min_one, None).await
    }

    pub(super) async fn read_with(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        min_one: bool,
        means: Option<&ReadMeans>,
    ) -> Result<FetchedRecords> {
        if let Some(result) = self.read_tail(from, up_to, max_bytes, min_one) {
            return result;
        }
        self.retrying(|| self.read_files((from, up_to), max_bytes, min_one, means)).await
    }

    /// Does again what met a segment that compaction or retention took away meanwhile.
    pub(super) async fn retrying<T, F: Future<Output = Result<T>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T> {
        for _ in 0..REPLACED_RETRIES {
            match attempt().await {
                Err(LogError::Replaced(_)) => {}
                done => return done,
            }
        }
        attempt().await
    }

    async fn read_files(
        &self,
        (from, up_to): (Offset, Offset),
        max_bytes: usize,
        min_one: bool,
        means: Option<&ReadMeans>,
    ) -> Result<FetchedRecords> {
        self.inner.state.borrow().check_range(from)?;
        let up_to = up_to.min(self.written_offset());
        let mut next_segment = Some(self.inner.state.borrow().segment_for(from));
        while let Some(segment) = next_segment {
            let offsets = (from, up_to);
            let out = self.read_segment(&segment, offsets, max_bytes, min_one, means).await?;
            if let Some(out) = out {
                return Ok(out);
            }
            // Nothing at or above `from` in this one: the next has it.
            let state = self.inner.state.borrow();
            next_segment = state.segments.iter().find(|s| s.base > segment.base).cloned();
        }
        Ok(FetchedRecords::default())
    }

    /// `None` when the segment ends before `from`.
    async fn read_segment(
        &self,
        segment: &SharedSegment,
        (from, up_to): (Offset, Offset),
        max_bytes: usize,
        min_one: bool,
        means: Option<&ReadMeans>,
    ) -> Result<Option<FetchedRecords>> {
        let dir = &self.inner.dir;
        let interval = self.inner.state.borrow().config.index_interval_bytes;
        if segment.written.get() == 0 {
            return Ok(None);
        }
        let file = segment.open_file(dir).await?;
        let path = segment.path(dir, FileKind::Log);
        let stopped = segment.stopped_at(from);
        let entry = match stopped {
            Some(_) => None,
            None => segment.with_index(dir, interval, |index| index.lookup(from)).await?,
        };
        let mut position = stopped.or(entry.map(|(_, position)| position)).unwrap_or(0);
        let mut to_check = entry;
        let mut need = HEADER_BYTES;
        let mut slack = READ_SLACK_BYTES;
        let mut out = FetchedRecords::default();
        loop {
            let end = segment.written.get();
            if position >= end {
                return Ok((out.bytes > 0).then_some(out));
            }
            let corrupt = |position: u64, why: String| {
                Err(LogError::Corrupt { path: path.clone(), position, why })
            };
            let room = max_bytes.saturating_sub(out.bytes);
            let want = match slack {
                0 => room.min(READ_BYTES_MAX),
                _ => read_bytes(position, room),
            };
            let mut want = (end - position).min(want.max(need) as u64) as usize;
            if want < need {
                return corrupt(position, "the batch is longer than the segment".into());
            }
            let asked = (need, want);
            let (bytes, source) =
                segment.read_range(&file, position, asked, means).await.map_err(io_error(&path))?;
            if source == Source::Ahead {
                want = bytes.len();
            }
            if bytes.len() < want && segment.written.get() < end {
                // The log was cut back meanwhile (see repair.rs).
                continue;
            }
            if bytes.len() < want {
                return corrupt(position, "the file ends before the segment does".into());
            }
            if let Some((offset, _)) = to_check.take() {
                let there = BatchHeader::parse(&bytes).is_ok_and(|h| h.last_offset() == offset);
                if !there && !segment.finished.get() {
                    return corrupt(position, format!("not the batch that ends at {offset}"));
                }
                if !there {
                    // An index that was lost in part: make it anew, start from the beginning.
                    segment.rebuild_index(dir, interval).await?;
                    let lookup = segment.with_index(dir, interval, |i| i.lookup(from)).await?;
                    position = lookup.map_or(0, |(_, position)| position);
                    continue;
                }
            }
            let take_first = min_one && out.bytes == 0;
            let stored = Stored {
                // Who stopped before it knows what must not come again.
                base: stopped.map_or(segment.base, |_| from),
                next: segment.next.get(),
                to_the_end: position + want as u64 == end,
            };
            let found = walk(&bytes, from, up_to, room, take_first, Some(stored));
            if found.end > found.start {
                let (start, end) = (found.start, found.end);
                out.push(Chunk { memory: Memory::Read(bytes), start, end });
                segment.note_stop(found.next, position + end as u64);
                if source == Source::Cache {
                    segment.note_checked(position + start as u64, position + end as u64);
                }
            }
            match found.stop {
                Stop::Done => return Ok(Some(out)),
                // What is whole before it is served; the next read begins with it and says why.
                Stop::Bad { .. } if out.bytes > 0 => return Ok(Some(out)),
                Stop::Bad { at, why } => {
                    let why = format!("{why} (read from offset {from} on)");
                    return corrupt(position + at as u64, why);
                }
                Stop::Short { at, need: size } => {
                    position += at as u64;
                    need = size;
                    slack = 0;
                    if out.bytes > 0 && out.bytes + need > max_bytes {
                        return Ok(Some(out));
                    }
                    slack = slack.max(if out.bytes == 0 { READ_SLACK_BYTES } else { 0 });
                }
            }
            yield_if_needed().await;
        }
    }

    /// Calls `f` with every batch from the one that holds `from` up to `up_to`, until it says stop.
    pub(super) async fn for_each_batch(
        &self,
        from: Offset,
        up_to: Offset,
        f: &mut dyn FnMut(&BatchHeader, &[u8]) -> Result<bool>,
    ) -> Result<()> {
        let mut at = from.max(self.log_start_offset());
        let up_to = up_to.min(self.written_offset());
        while at < up_to {
            let records = self.read(at, up_to, READ_BYTES_MAX, true).await?;
            if records.chunks.is_empty() {
                return Ok(());
            }
            for chunk in &records.chunks {
                let mut rest: &[u8] = chunk;
                while !rest.is_empty() {
                    let corrupt = |why: String| LogError::Corrupt {
                        path: self.inner.dir.clone(),
                        position: 0,
                        why: format!("batch at offset {at}: {why}"),
                    };
                    let header = BatchHeader::parse(rest).map_err(|e| corrupt(e.to_string()))?;
                    let Some((batch, after)) = rest.split_at_checked(header.size_bytes()) else {
                        return Err(corrupt("not whole".into()));
                    };
                    at = header.last_offset() + 1;
                    if !f(&header, batch)? {
                        return Ok(());
                    }
                    rest = after;
                }
            }
            yield_if_needed().await;
        }
        Ok(())
    }

    /// Calls `f` with the header of every batch from the segment that contains `from`, in order, by
    /// the files alone and without their CRC.
    pub async fn replay_headers(
        &self,
        from: Offset,
        f: &mut dyn FnMut(&BatchHeader),
    ) -> Result<()> {
        let segments = {
            let state = self.inner.state.borrow();
            state.segments[state.segment_position(from)..].to_vec()
        };
        for segment in segments.iter().filter(|s| s.written.get() > 0) {
            let path = segment.path(&self.inner.dir, FileKind::Log);
            let file = segment.open_file(&self.inner.dir).await?;
            let mut scan = BatchScan::new(file, 0, segment.written.get());
            loop {
                match scan.next(false).await.map_err(io_error(&path))? {
                    Scanned::Batch { header, .. } => f(&header),
                    Scanned::Bad { position, why } => {
                        return Err(LogError::Corrupt { path, position, why });
                    }
                    Scanned::End => break,
                }
            }
        }
        Ok(())
    }
}
