//! Producer snapshot files (`<20-digit offset>.snapshot`) of one log: queueing, writing, choosing.
//! Their content is the partition's business, but for the CRC at Kafka's place: version i16,
//! CRC-32C u32 of all that follows. A snapshot is written without a sync: one that a power cut
//! damages fails its CRC, and an older one with more replay takes its place.

use super::segment::{FileKind, file_name, parse_file_name};
use super::{Log, Result, io_error};
use crate::runtime::disk;
use crate::types::Offset;

const CRC_AT: usize = 2;
const CONTENT_AT: usize = 6;
/// Snapshots between segment bases (from closes) that are kept, newest first.
const STRAYS_KEPT: usize = 2;

impl Log {
    /// Queued; written with the next `write_pending`. Never synced (see the head of this file).
    pub fn put_producer_snapshot(&self, offset: Offset, bytes: Vec<u8>) {
        self.inner.state.borrow_mut().queued_snapshots.push((offset, bytes));
    }

    /// A snapshot that can't be written is no failure of the log: the next start replays more.
    pub(super) async fn write_snapshots(&self) {
        let queued = std::mem::take(&mut self.inner.state.borrow_mut().queued_snapshots);
        if queued.is_empty() {
            return;
        }
        for (offset, bytes) in queued {
            if let Err(e) = self.write_snapshot(offset, bytes).await {
                tracing::warn!("no producer snapshot: the next start reads more of the log: {e}");
                continue;
            }
            let mut state = self.inner.state.borrow_mut();
            if let Err(at) = state.snapshots.binary_search(&offset) {
                state.snapshots.insert(at, offset);
            }
        }
        self.drop_stray_snapshots().await;
    }

    async fn write_snapshot(&self, offset: Offset, bytes: Vec<u8>) -> Result<()> {
        self.ensure_dir().await?;
        let path = self.inner.dir.join(file_name(offset, FileKind::Snapshot));
        disk::write_file(&path, bytes).await.map_err(io_error(&path))
    }

    pub(super) async fn drop_stray_snapshots(&self) {
        let strays: Vec<Offset> = {
            let mut state = self.inner.state.borrow_mut();
            let newest = state.snapshots.len().saturating_sub(STRAYS_KEPT);
            let is_stray = |offset: &Offset| {
                state.segments.binary_search_by_key(offset, |segment| segment.base).is_err()
            };
            let strays: Vec<Offset> =
                state.snapshots[..newest].iter().copied().filter(is_stray).collect();
            state.snapshots.retain(|offset| !strays.contains(offset));
            strays
        };
        for offset in strays {
            let path = self.inner.dir.join(file_name(offset, FileKind::Snapshot));
            let _ = disk::remove_file(&path).await;
        }
    }

    /// Newest `.snapshot` file at or below the log end that passes its CRC: (offset, file bytes).
    pub async fn latest_producer_snapshot(&self) -> Result<Option<(Offset, Vec<u8>)>> {
        let (candidates, end) = {
            let state = self.inner.state.borrow();
            (state.snapshots.clone(), state.log_end())
        };
        for offset in candidates.into_iter().rev().filter(|offset| *offset <= end) {
            let path = self.inner.dir.join(file_name(offset, FileKind::Snapshot));
            match disk::read_file(&path).await {
                Ok(bytes) if crc_matches(&bytes) => return Ok(Some((offset, bytes))),
                Ok(_) => tracing::warn!("{}: bad CRC: passed over", path.display()),
                Err(e) => tracing::warn!("{}: {e}: passed over", path.display()),
            }
        }
        Ok(None)
    }
}

fn crc_matches(bytes: &[u8]) -> bool {
    let Some(stored) = bytes.get(CRC_AT..CONTENT_AT) else { return false };
    stored == crc32c::crc32c(&bytes[CONTENT_AT..]).to_be_bytes()
}

/// The offset of a producer snapshot's file name.
pub(super) fn snapshot_offset(name: &str) -> Option<Offset> {
    match parse_file_name(name)? {
        (offset, FileKind::Snapshot) => Some(offset),
        _ => None,
    }
}
