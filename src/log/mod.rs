//! Offsets -> files: one partition replica's segments on disk, in Kafka's own formats.
//! Owned by one shard, not Send; `Log` is a cheap handle and no borrow of its state lives across an
//! await. Append is synchronous (copy into the open tail buffer); `write_pending` and `sync` move
//! the written and the durable offset. Readers only ever see offsets below the written offset, so
//! they only touch sealed, immutable tail buffers or files.
//! Not here: validation, producer state, high watermark (partition/), who waits for what (shard/).

use std::path::PathBuf;

use crate::types::Offset;

#[derive(Clone, Debug)]
pub struct LogConfig {
    pub segment_bytes: u64,
    pub segment_ms: i64,
    pub segment_jitter_ms: i64,
    pub index_interval_bytes: u32,
    pub segment_index_bytes: u32,
    /// -1: keep for ever.
    pub retention_ms: i64,
    /// -1: no bound.
    pub retention_bytes: i64,
    /// cleanup.policy contains `delete`.
    pub cleanup_delete: bool,
    pub file_delete_delay_ms: i64,
    pub preallocate: bool,
}

/// What the checkpoints of the log directory say about this partition.
#[derive(Clone, Copy, Debug)]
pub struct OpenHints {
    /// The broker stopped cleanly: nothing is scanned.
    pub clean: bool,
    pub recovery_point: Offset,
    pub log_start_offset: Offset,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("offset {offset} is not in [{start}, {end})")]
    OffsetOutOfRange { offset: Offset, start: Offset, end: Offset },
    #[error("{path}: corrupt at byte {position}: {why}")]
    Corrupt { path: PathBuf, position: u64, why: String },
    /// An earlier write or sync failed: the log refuses appends until it is reopened.
    #[error("{0}: the log failed earlier and takes no more appends until the broker is restarted")]
    Failed(PathBuf),
}

pub type Result<T> = std::result::Result<T, LogError>;

/// What the appender writes into a batch while copying it. Base offset and leader epoch are not
/// under the CRC; a log append time is, so the CRC is recomputed then.
#[derive(Clone, Copy, Debug)]
pub struct Patch {
    pub base_offset: Offset,
    pub leader_epoch: i32,
    pub log_append_time_ms: Option<i64>,
}

/// A run of batch bytes, without a copy: tail memory, a read buffer, or bytes from another shard.
#[derive(Clone)]
pub struct Chunk {}

impl std::ops::Deref for Chunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        todo!()
    }
}

impl Chunk {
    pub fn to_bytes(&self) -> bytes::Bytes {
        todo!()
    }
    pub fn from_bytes(_b: bytes::Bytes) -> Chunk {
        todo!()
    }
}

/// Whole batches, in offset order, from the batch that contains the asked offset.
#[derive(Clone, Default)]
pub struct FetchedRecords {
    pub chunks: Vec<Chunk>,
    pub bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    pub timestamp_ms: i64,
    pub offset: Offset,
    pub leader_epoch: i32,
}

#[derive(Clone)]
pub struct Log {}

#[allow(unused_variables)]
impl Log {
    /// Opens or creates. After an unclean stop: trusts segments below the recovery point, scans the
    /// rest by CRC and dense offsets, cuts at the first bad batch, rebuilds those indexes.
    /// Creates no file for an empty new log until the first write.
    pub async fn open(dir: PathBuf, config: LogConfig, hints: OpenHints) -> Result<Log> {
        todo!()
    }
    pub fn log_start_offset(&self) -> Offset {
        todo!()
    }
    pub fn log_end_offset(&self) -> Offset {
        todo!()
    }
    /// Everything below is on the device queue (survives kill -9).
    pub fn written_offset(&self) -> Offset {
        todo!()
    }
    /// Everything below survives power loss.
    pub fn durable_offset(&self) -> Offset {
        todo!()
    }
    pub fn size_bytes(&self) -> u64 {
        todo!()
    }
    pub fn segment_count(&self) -> usize {
        todo!()
    }
    pub fn set_config(&self, config: LogConfig) {
        todo!()
    }
    /// Copies one validated magic-2 batch whose first offset is `patch.base_offset` (= log end).
    /// `Some(base)` when this batch opened a new segment at `base`: the caller hands the producer
    /// snapshot as of `base` to `put_producer_snapshot`.
    pub fn append(&self, batch: &[u8], patch: Patch) -> Result<Option<Offset>> {
        todo!()
    }
    /// Bytes appended and not yet given to the device.
    pub fn pending_bytes(&self) -> usize {
        todo!()
    }
    /// Writes all that is pending when called; returns the new written offset. One at a time.
    pub async fn write_pending(&self) -> Result<Offset> {
        todo!()
    }
    /// fdatasync of what was written when called; returns the new durable offset. May run beside
    /// `write_pending`.
    pub async fn sync(&self) -> Result<Offset> {
        todo!()
    }
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
        todo!()
    }
    /// As `read_tail`, from files when need be.
    pub async fn read(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<FetchedRecords> {
        todo!()
    }
    /// First record with timestamp >= `timestamp_ms` below `up_to` (looks into compressed batches).
    pub async fn offset_for_timestamp(
        &self,
        timestamp_ms: i64,
        up_to: Offset,
    ) -> Result<Option<TimestampOffset>> {
        todo!()
    }
    /// The record with the largest timestamp (the first such) below `up_to`.
    pub async fn max_timestamp(&self, up_to: Offset) -> Result<Option<TimestampOffset>> {
        todo!()
    }
    /// Calls `f` with the header of every batch from the segment that contains `from`, in order.
    pub async fn replay_headers(
        &self,
        from: Offset,
        f: &mut dyn FnMut(&crate::wire::record_batch::BatchHeader),
    ) -> Result<()> {
        todo!()
    }
    /// Newest `.snapshot` file at or below the log end that passes its CRC: (offset, file bytes).
    pub async fn latest_producer_snapshot(&self) -> Result<Option<(Offset, Vec<u8>)>> {
        todo!()
    }
    /// Queued; written with the next `write_pending`, synced with the next roll's sync.
    pub fn put_producer_snapshot(&self, offset: Offset, bytes: Vec<u8>) {
        todo!()
    }
    /// Leader-epoch-checkpoint. Starts `epoch` at the log end; a no-op if it is the current one.
    pub fn assign_leader_epoch(&self, epoch: i32) {
        todo!()
    }
    /// (epoch, end offset) of the largest epoch <= the asked one; (-1, -1) when unknown (KIP-101).
    pub fn end_offset_for_epoch(&self, epoch: i32) -> (i32, Offset) {
        todo!()
    }
    pub fn leader_epoch_at(&self, offset: Offset) -> Option<i32> {
        todo!()
    }
    /// Rolls by time when due (segment.ms), then drops whole closed segments that retention or the
    /// log start offset lets go. Never the active one. Returns segments dropped.
    pub async fn enforce_retention(&self, now_ms: i64, high_watermark: Offset) -> Result<usize> {
        todo!()
    }
    /// DeleteRecords: moves the log start offset up (the checkpoint is the caller's).
    pub async fn advance_log_start(&self, offset: Offset) -> Result<()> {
        todo!()
    }
    /// Bytes of tail memory held as read cache.
    pub fn tail_memory_bytes(&self) -> usize {
        todo!()
    }
    /// Drops cached tail buffers (oldest first) down to `keep_bytes`; unwritten data always stays.
    pub fn shrink_tail(&self, keep_bytes: usize) {
        todo!()
    }
    /// Writes and syncs all, trims files to size, writes indexes. Then a clean reopen scans nothing.
    pub async fn close(&self) -> Result<()> {
        todo!()
    }
    /// Renames the directory to `<dir>.<uuid>-delete` (at once) and removes it.
    pub async fn delete(&self) -> Result<()> {
        todo!()
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
