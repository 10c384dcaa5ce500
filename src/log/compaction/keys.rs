//! The first half of a cleaning run: the newest offset of every key of the dirty part, as far as the
//! map has room, and which transactions there were aborted.

use super::super::segment::{FileKind, SharedSegment};
use super::super::txn_index::{self, AbortedTxn};
use super::super::{Log, LogError, Result, io_error};
use super::files::{Batches, Read};
use super::offset_map::OffsetMap;
use super::transactions::{Transactions, marker_of};
use super::{CleanRun, Cleaned, Ended, corrupt};
use crate::runtime::{disk, random_u64};
use crate::types::Offset;
use crate::wire::record_batch::BatchError;
use crate::wire::records::for_each_record;

impl Log {
    /// The map, and the first offset that this run may not touch: it stays below a transaction whose
    /// marker has not come, for its data may yet turn out aborted. `None`: nothing to do.
    pub(super) async fn map_keys(
        &self,
        run: &CleanRun<'_>,
        cleaned: &mut Cleaned,
    ) -> std::result::Result<Option<(OffsetMap, Offset)>, Ended> {
        let mut upper = run.upper;
        // Ends: `upper` is a segment's base and goes down.
        while upper > run.first_dirty {
            let (map, open) = self.map_keys_below(run, upper, cleaned).await?;
            match open.filter(|open| *open <= map.latest()) {
                Some(open) => upper = self.inner.state.borrow().segment_for(open).base,
                None => return Ok((map.latest() >= run.first_dirty).then_some((map, upper))),
            }
        }
        Ok(None)
    }

    /// Also the first offset of a transaction that is open at the end of what was mapped.
    async fn map_keys_below(
        &self,
        run: &CleanRun<'_>,
        upper: Offset,
        cleaned: &mut Cleaned,
    ) -> std::result::Result<(OffsetMap, Option<Offset>), Ended> {
        let stop = || self.cleaning_must_stop(run);
        let keys = (upper - run.first_dirty) as u64;
        let hash_key = (random_u64(), random_u64());
        let mut map = OffsetMap::new(run.map_bytes, run.map_load_factor, keys, hash_key);
        let segments: Vec<SharedSegment> = {
            let state = self.inner.state.borrow();
            let dirty = &state.segments[state.segment_position(run.first_dirty)..];
            dirty.iter().filter(|s| s.base < upper).cloned().collect()
        };
        let mut transactions = Transactions::default();
        transactions.add_aborted(self.aborted_in(&segments, run.first_dirty, upper).await?);
        let mut full = false;
        for segment in &segments {
            let dir = &self.inner.dir;
            // From its start: what is dirty begins with a segment, but for a run whose map was full.
            let mut batches = Batches::open(dir, segment, run.io_bytes).await?;
            while let Some(read) = batches.next().await? {
                if read.moved > 0 {
                    cleaned.bytes_read += read.moved;
                    run.pace.moved(read.moved, &stop).await?;
                }
                let header = &read.header;
                if header.is_control() {
                    transactions.on_marker(header, marker_of(header, &read.bytes));
                } else if !transactions.on_batch(header) && !full {
                    full = !map_batch(&mut map, &read, run.first_dirty)
                        .map_err(|e| corrupt(dir, segment, read.position, e))?;
                }
                if !full && header.last_offset() >= run.first_dirty {
                    map.looked_up_to(header.last_offset());
                }
                // This run cleans as far as the map goes, the next one the rest. What follows is only
                // asked whether the transactions in the map end.
                let open = transactions.first_open().filter(|open| *open <= map.latest());
                if full && open.is_none() {
                    return Ok((map, None));
                }
                run.pace.worked().await;
            }
            if !full {
                // Also over the offsets that no batch has any more.
                map.looked_up_to(segment.next.get().min(upper) - 1);
            }
        }
        Ok((map, transactions.first_open()))
    }

    /// Aborted transactions that reach into [from, upper): in the transaction indexes of `segments`
    /// or, for those that end later, of the segments after them.
    pub(super) async fn aborted_in(
        &self,
        segments: &[SharedSegment],
        from: Offset,
        upper: Offset,
    ) -> Result<Vec<AbortedTxn>> {
        let Some(first) = segments.first() else { return Ok(Vec::new()) };
        let all: Vec<SharedSegment> = {
            let state = self.inner.state.borrow();
            state.segments.iter().filter(|s| s.base >= first.base).cloned().collect()
        };
        let mut found = Vec::new();
        for segment in all {
            let entries = self.transaction_index(&segment).await?.unwrap_or_default();
            let complete = entries.iter().any(|t| t.last_stable_offset >= upper);
            let reaches = |t: &AbortedTxn| t.last_offset >= from && t.first_offset < upper;
            found.extend(entries.into_iter().filter(reaches));
            if complete {
                break;
            }
        }
        Ok(found)
    }

    /// `None` when the segment has none.
    pub(super) async fn transaction_index(
        &self,
        segment: &SharedSegment,
    ) -> Result<Option<Vec<AbortedTxn>>> {
        let path = segment.path(&self.inner.dir, FileKind::TxnIndex);
        match disk::read_file(&path).await {
            Ok(bytes) => match txn_index::decode(&bytes) {
                Ok(entries) => Ok(Some(entries)),
                Err((position, why)) => Err(LogError::Corrupt { path, position, why }),
            },
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io_error(&path)(e)),
        }
    }
}

/// False: the map was full before the end of the batch.
fn map_batch(
    map: &mut OffsetMap,
    read: &Read,
    from: Offset,
) -> std::result::Result<bool, BatchError> {
    let mut room = true;
    for_each_record(&read.bytes, &mut |record| {
        let offset = read.header.base_offset + i64::from(record.offset_delta);
        if let Some(key) = record.key
            && offset >= from
        {
            room = !map.is_full();
            if room {
                map.put(key, offset);
            }
        }
        room
    })?;
    Ok(room)
}
