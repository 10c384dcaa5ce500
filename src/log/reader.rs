//! The read path of one log: from tail memory, else from files; lookups by time; header replay.
//! Invariants: whole batches only, never a byte at or beyond the written offset; no borrow of the
//! log's state lives across an await. A read that began keeps its segment's file, so retention and
//! rolls beside it do no harm. Not here: who may read up to where (partition/).

use super::scan::has_sane_offsets;
use super::segment::{FileKind, SharedSegment};
use super::{Chunk, FetchedRecords, Log, LogError, Memory, Result, TimestampOffset, io_error};
use crate::runtime::yield_if_needed;
use crate::types::{Offset, TimestampType};
use crate::wire::record_batch::{BatchHeader, HEADER_BYTES};
use crate::wire::records::for_each_record;

/// One read of a file at most (a single larger batch excepted).
const READ_BYTES_MAX: usize = 1024 * 1024;
/// Read beyond the asked size, for the batches between the index entry and the asked offset.
const READ_SLACK_BYTES: usize = 8 * 1024;

/// Each retry follows a change of the segments that was complete when it began.
const REPLACED_RETRIES: usize = 8;

/// What a walk over bytes that begin at a batch found.
struct Walk {
    /// The batches to return, in the bytes; empty when start == end.
    start: usize,
    end: usize,
    /// Where the walk ended.
    stop: Stop,
}

enum Stop {
    /// `up_to` or the room is reached.
    Done,
    /// The batch at `at` needs `need` bytes, which are not all there.
    Short { at: usize, need: usize },
}

/// Whole batches of `bytes` from the one that holds `from`, below `up_to`, within `room` bytes; the
/// first is taken whatever its size if `take_first`.
fn walk(
    bytes: &[u8],
    from: Offset,
    up_to: Offset,
    room: usize,
    mut take_first: bool,
) -> std::result::Result<Walk, (usize, String)> {
    let mut at = 0;
    let mut start = None;
    let stop = loop {
        let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= HEADER_BYTES) else {
            break Stop::Short { at, need: HEADER_BYTES };
        };
        let header = BatchHeader::parse(rest).map_err(|e| (at, e.to_string()))?;
        let size = header.size_bytes();
        if size < HEADER_BYTES || !has_sane_offsets(&header) {
            return Err((at, "not a record batch".into()));
        }
        if header.last_offset() < from {
            at += size;
            continue;
        }
        if header.last_offset() >= up_to {
            break Stop::Done;
        }
        let first = *start.get_or_insert(at);
        if at + size - first > room && !take_first {
            break Stop::Done;
        }
        if size > rest.len() {
            break Stop::Short { at, need: size };
        }
        take_first = false;
        at += size;
    };
    let start = start.unwrap_or(at);
    Ok(Walk { start, end: at.max(start), stop })
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
            let found = match walk(&buffer.buf[at..buffer.end], from, up_to, room, take_first) {
                Ok(found) => found,
                Err((p, why)) => {
                    let path = segment.path(&self.inner.dir, FileKind::Log);
                    let position = buffer.file_position + (at + p) as u64;
                    return Some(Err(LogError::Corrupt { path, position, why }));
                }
            };
            if found.end > found.start {
                let (start, end) = (at + found.start, at + found.end);
                out.push(Chunk { memory: Memory::Tail(buffer.buf.clone()), start, end });
            }
            if matches!(found.stop, Stop::Done) {
                break;
            }
            from = buffer.next;
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
        if let Some(result) = self.read_tail(from, up_to, max_bytes, min_one) {
            return result;
        }
        self.retrying(|| self.read_files(from, up_to, max_bytes, min_one)).await
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
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<FetchedRecords> {
        self.inner.state.borrow().check_range(from)?;
        let up_to = up_to.min(self.written_offset());
        let mut next_segment = Some(self.inner.state.borrow().segment_for(from));
        while let Some(segment) = next_segment {
            let out = self.read_segment(&segment, from, up_to, max_bytes, min_one).await?;
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
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<Option<FetchedRecords>> {
        let dir = &self.inner.dir;
        let interval = self.inner.state.borrow().config.index_interval_bytes;
        if segment.written.get() == 0 {
            return Ok(None);
        }
        let file = segment.open_file(dir).await?;
        let path = segment.path(dir, FileKind::Log);
        let entry = segment.with_index(dir, interval, |index| index.lookup(from)).await?;
        let mut position = entry.map_or(0, |(_, position)| position);
        let mut to_check = entry.filter(|_| segment.finished.get());
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
            let want = room.saturating_add(slack).min(READ_BYTES_MAX).max(need);
            let want = (end - position).min(want as u64) as usize;
            if want < need {
                return corrupt(position, "the batch is longer than the segment".into());
            }
            let bytes = file.read_at(position, want).await.map_err(io_error(&path))?;
            if bytes.len() < want {
                return corrupt(position, "the file ends before the segment does".into());
            }
            if let Some((offset, _)) = to_check.take() {
                let there = BatchHeader::parse(&bytes).is_ok_and(|h| h.last_offset() == offset);
                if !there {
                    // An index that was lost in part: make it anew, start from the beginning.
                    tracing::warn!("{}: its index does not fit: rebuilt", path.display());
                    segment.rebuild_index(dir, interval).await?;
                    let lookup = segment.with_index(dir, interval, |i| i.lookup(from)).await?;
                    position = lookup.map_or(0, |(_, position)| position);
                    continue;
                }
            }
            let take_first = min_one && out.bytes == 0;
            let found = match walk(&bytes, from, up_to, room, take_first) {
                Ok(found) => found,
                Err((at, why)) => return corrupt(position + at as u64, why),
            };
            if found.end > found.start {
                let (start, end) = (found.start, found.end);
                out.push(Chunk { memory: Memory::Read(bytes), start, end });
            }
            match found.stop {
                Stop::Done => return Ok(Some(out)),
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
    async fn for_each_batch(
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

    /// Calls `f` with the header of every batch from the segment that contains `from`, in order.
    pub async fn replay_headers(
        &self,
        from: Offset,
        f: &mut dyn FnMut(&BatchHeader),
    ) -> Result<()> {
        let (start, end) = {
            let state = self.inner.state.borrow();
            (state.segment_for(from).base, state.written)
        };
        self.for_each_batch(start, end, &mut |header, _| {
            f(header);
            Ok(true)
        })
        .await
    }

    /// First record with timestamp >= `timestamp_ms` below `up_to` (looks into compressed batches).
    pub async fn offset_for_timestamp(
        &self,
        timestamp_ms: i64,
        up_to: Offset,
    ) -> Result<Option<TimestampOffset>> {
        self.retrying(|| self.find_timestamp(timestamp_ms, up_to)).await
    }

    async fn find_timestamp(
        &self,
        timestamp_ms: i64,
        up_to: Offset,
    ) -> Result<Option<TimestampOffset>> {
        let (segments, interval, log_start) = {
            let state = self.inner.state.borrow();
            (state.segments.clone(), state.config.index_interval_bytes, state.log_start)
        };
        for segment in segments.iter().filter(|s| s.next.get() > log_start && s.base < up_to) {
            let dir = &self.inner.dir;
            let (largest, entry) = segment
                .with_index(dir, interval, |i| (i.max_timestamp().0, i.time_lookup(timestamp_ms)))
                .await?;
            if largest < timestamp_ms {
                continue;
            }
            // Every batch up to the entry's offset is below the entry's timestamp or at it.
            let from = match entry {
                Some((found, offset)) if found < timestamp_ms => offset,
                _ => segment.base,
            };
            let up_to = up_to.min(segment.next.get());
            let from = from.max(log_start);
            if let Some(found) = self.first_record_at(timestamp_ms, from, up_to).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn first_record_at(
        &self,
        timestamp_ms: i64,
        from: Offset,
        up_to: Offset,
    ) -> Result<Option<TimestampOffset>> {
        let mut found = None;
        self.for_each_batch(from, up_to, &mut |header, batch| {
            if header.max_timestamp >= timestamp_ms {
                found = self.record_in(header, batch, from, &mut |t| t >= timestamp_ms)?;
            }
            Ok(found.is_none())
        })
        .await?;
        Ok(found.filter(|f| f.offset < up_to))
    }

    /// The first record of a batch, at or above `from`, whose timestamp `is_it`.
    fn record_in(
        &self,
        header: &BatchHeader,
        batch: &[u8],
        from: Offset,
        is_it: &mut dyn FnMut(i64) -> bool,
    ) -> Result<Option<TimestampOffset>> {
        let mut found = None;
        for_each_record(batch, &mut |record| {
            let timestamp_ms = match header.timestamp_type() {
                TimestampType::LogAppendTime => header.max_timestamp,
                TimestampType::CreateTime => {
                    header.base_timestamp.wrapping_add(record.timestamp_delta)
                }
            };
            let offset = header.base_offset + record.offset_delta as i64;
            if offset >= from && is_it(timestamp_ms) {
                let leader_epoch = header.partition_leader_epoch;
                found = Some(TimestampOffset { timestamp_ms, offset, leader_epoch });
            }
            found.is_none()
        })
        .map_err(|e| LogError::Corrupt {
            path: self.inner.dir.clone(),
            position: 0,
            why: format!("batch at offset {}: {e}", header.base_offset),
        })?;
        Ok(found)
    }

    /// The record with the largest timestamp (the first such) below `up_to`.
    pub async fn max_timestamp(&self, up_to: Offset) -> Result<Option<TimestampOffset>> {
        self.retrying(|| self.find_max_timestamp(up_to)).await
    }

    async fn find_max_timestamp(&self, up_to: Offset) -> Result<Option<TimestampOffset>> {
        let (segments, interval, log_start) = {
            let state = self.inner.state.borrow();
            (state.segments.clone(), state.config.index_interval_bytes, state.log_start)
        };
        let up_to = up_to.min(self.written_offset());
        let mut best: Option<(i64, Offset)> = None;
        for segment in segments.iter().filter(|s| s.base < up_to && s.next.get() > log_start) {
            let dir = &self.inner.dir;
            let (largest, below) = segment
                .with_index(dir, interval, |i| (i.max_timestamp(), i.time_entry_below(up_to)))
                .await?;
            let mut here = Some(largest);
            if largest.1 >= up_to || largest.1 < log_start {
                // The largest is not visible: what the time index has, then the batches after it.
                here = below.filter(|(_, offset)| largest.1 >= up_to && *offset >= log_start);
                let from = here.map_or(segment.base.max(log_start), |(_, offset)| offset);
                let end = up_to.min(segment.next.get());
                self.for_each_batch(from, end, &mut |header, _| {
                    if here.is_none_or(|(t, _)| header.max_timestamp > t) {
                        here = Some((header.max_timestamp, header.last_offset()));
                    }
                    Ok(true)
                })
                .await?;
            }
            if let Some((timestamp, offset)) = here
                && timestamp >= 0
                && best.is_none_or(|(t, _)| timestamp > t)
            {
                best = Some((timestamp, offset));
            }
        }
        let Some((timestamp, offset)) = best else { return Ok(None) };
        let mut found = None;
        self.for_each_batch(offset, up_to, &mut |header, batch| {
            found = self.record_in(header, batch, log_start, &mut |t| t == timestamp)?;
            Ok(false)
        })
        .await?;
        Ok(found)
    }
}
