//! Lookups by time: the first record at or after a time, and the one with the largest.
//! The time index says in which segment and from which batch on to look, the batches say which
//! record. Invariant: what is answered lies between the log start offset and the bound that was asked
//! with. Not here: how batches are read (reader), what ListOffsets makes of it (partition/).

use super::{Log, LogError, Result, TimestampOffset};
use crate::types::{Offset, TimestampType};
use crate::wire::record_batch::BatchHeader;
use crate::wire::records::for_each_record;

impl Log {
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
