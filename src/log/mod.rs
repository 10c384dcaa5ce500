//! Offsets -> files: one partition replica's segments on disk, in Kafka's own formats.
//! Owned by one shard, not Send; `Log` is a cheap handle and no borrow of its state lives across an
//! await. Append is synchronous (copy into the open tail buffer); `write_pending` and `sync` move
//! the written and the durable offset. Readers only ever see offsets below the written offset, so
//! they only touch sealed, immutable tail buffers or files.
//! Not here: validation, producer state, high watermark (partition/), who waits for what (shard/).

mod ahead;
#[cfg(test)]
mod ahead_tests;
mod appender;
mod cached;
mod catch_up;
#[cfg(test)]
mod catch_up_tests;
pub mod checkpoint;
mod chunk;
mod close;
mod compaction;
mod epochs;
mod give_way;
mod handles;
mod index;
pub mod inspect;
#[doc(hidden)]
pub mod measured;
mod places;
mod read_ahead;
#[cfg(test)]
mod read_ahead_tests;
mod reader;
mod recovery;
mod repair;
mod retention;
mod scan;
mod segment;
#[cfg(test)]
mod sim_tests;
mod snapshot;
mod tail;
#[cfg(test)]
mod tests;
mod times;
mod txn_index;
mod walk;

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use catch_up::CatchUp;
use chunk::Memory;
pub use chunk::{Chunk, Place, PortableChunk};
pub use compaction::{CleanRun, CleanWhen, Cleaned, Dirt, LastRecord, Pace};
pub use read_ahead::{Hold, ReadMeans};

use crate::runtime::disk;
use crate::types::{Offset, TopicId};
use crate::wire::fetch::RecordBytes;
use epochs::LeaderEpochs;
use segment::SharedSegment;
use tail::Tail;

/// Logs that one thread opens at a time: more do not open sooner.
const LOG_OPENS_AT_ONCE: usize = 64;
/// Of the files that may be opened at a time, as if there were so many shards.
const LOG_OPENS_SHARE: usize = 8;

thread_local! {
    static OPENING: Rc<places::Places> = Rc::default();
}

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
    /// A write or sync failed: the log refuses appends until `Log::repair` has checked the files.
    #[error("{0}: a write failed; nothing is appended until the files have been checked")]
    Suspect(PathBuf),
    /// Closed or offline.
    #[error("{0}: the log takes no more appends until the broker is restarted")]
    Failed(PathBuf),
    /// Compaction or retention took the segment away before its file was open: look again.
    #[error("{0}: the segment was replaced meanwhile")]
    Replaced(PathBuf),
}

impl LogError {
    /// No room: the device's, a quota's, or a bound on the size of files.
    pub fn is_full(&self) -> bool {
        matches!(self, LogError::Io { source, .. } if disk::is_full(source))
    }
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

/// Whole batches, in offset order, from the batch that contains the asked offset.
#[derive(Clone, Default)]
pub struct FetchedRecords {
    pub chunks: Vec<Chunk>,
    pub bytes: usize,
}

impl FetchedRecords {
    fn push(&mut self, chunk: Chunk) {
        self.bytes += chunk.size_bytes();
        self.chunks.push(chunk);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    pub timestamp_ms: i64,
    pub offset: Offset,
    pub leader_epoch: i32,
}

#[derive(Clone)]
pub struct Log {
    inner: Rc<Inner>,
}

struct Inner {
    dir: PathBuf,
    /// Held by whoever writes, closes or drops files of this log.
    turn: appender::Turn,
    ahead: ahead::Ahead,
    cleaning: compaction::Cleaning,
    /// The directory was made and its own name is not durable yet.
    dir_is_new: Cell<bool>,
    half_swap: RefCell<Option<Box<compaction::HalfSwap>>>,
    /// What `partition.metadata` is to say, until it is written.
    partition_metadata: RefCell<Option<Vec<u8>>>,
    state: RefCell<State>,
}

/// ARCHITECTURE.md has the picture: "Append, ack and what happens when the disk fails".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// Writable.
    Open,
    /// A write or sync failed: nobody knows what the files hold past the durable offset.
    Suspect,
    /// Cut back to what must stay; the files are still to be checked against it.
    Checking,
    /// What must stay can't be read back. Reads go on, each batch by its CRC.
    Offline,
    Closed,
}

struct State {
    config: LogConfig,
    log_start: Offset,
    written: Offset,
    durable: Offset,
    health: Health,
    dir_created: bool,
    /// A whole one was there when the log was opened.
    has_partition_metadata: bool,
    /// By base offset, without overlap; the last one is active. Never empty.
    segments: Vec<SharedSegment>,
    tail: Tail,
    epochs: LeaderEpochs,
    /// Producer snapshots that wait for their write, and the offsets of those in files.
    queued_snapshots: Vec<(Offset, Vec<u8>)>,
    snapshots: Vec<Offset>,
    /// Segments that something was read ahead of, since the last tick.
    read_ahead: Vec<SharedSegment>,
    /// How often the log was cut back.
    cuts: u64,
    /// Files that a cut left without a place in the log: removed before the next append.
    leftovers: Vec<(Offset, segment::FileKind)>,
}

impl State {
    fn active(&self) -> &SharedSegment {
        let Some(active) = self.segments.last() else { unreachable!("a log has a segment") };
        active
    }

    fn log_end(&self) -> Offset {
        self.active().next.get()
    }

    /// Position of the segment that holds `offset`, or of the first one.
    fn segment_position(&self, offset: Offset) -> usize {
        self.segments.partition_point(|s| s.base <= offset).saturating_sub(1)
    }

    /// The segment that holds `offset`, and whether there is one after it.
    fn segment_for(&self, offset: Offset) -> SharedSegment {
        self.segments[self.segment_position(offset)].clone()
    }

    fn check_open(&self, dir: &Path) -> Result<()> {
        match self.health {
            Health::Open => Ok(()),
            Health::Suspect | Health::Checking => Err(LogError::Suspect(dir.to_path_buf())),
            Health::Offline | Health::Closed => Err(LogError::Failed(dir.to_path_buf())),
        }
    }

    fn check_range(&self, offset: Offset) -> Result<()> {
        let (start, end) = (self.log_start, self.log_end());
        if offset < start || offset > end {
            return Err(LogError::OffsetOutOfRange { offset, start, end });
        }
        Ok(())
    }
}

impl Log {
    /// Opens or creates. After an unclean stop: trusts segments below the recovery point, scans the
    /// rest by CRC and dense offsets, cuts at the first bad batch, rebuilds those indexes.
    /// Creates no file for an empty new log until the first write.
    pub async fn open(dir: PathBuf, config: LogConfig, hints: OpenHints) -> Result<Log> {
        let most = disk::files_at_once(LOG_OPENS_SHARE).min(LOG_OPENS_AT_ONCE);
        let place = OPENING.with(|places| places.take(most)).await;
        let state = recovery::recover(&dir, config, hints).await?;
        drop(place);
        Ok(Log {
            inner: Rc::new(Inner {
                dir,
                turn: appender::Turn::default(),
                ahead: ahead::Ahead::default(),
                cleaning: compaction::Cleaning::default(),
                dir_is_new: Cell::new(false),
                half_swap: RefCell::default(),
                partition_metadata: RefCell::default(),
                state: RefCell::new(state),
            }),
        })
    }

    /// Gives the directory its `partition.metadata` (KIP-516), now or when it is made; one that is
    /// there stays. Kafka takes a directory without it for a stray.
    pub async fn name_topic(&self, id: &TopicId) -> Result<()> {
        if self.inner.state.borrow().has_partition_metadata {
            return Ok(());
        }
        let bytes = checkpoint::encode_partition_metadata(id);
        *self.inner.partition_metadata.borrow_mut() = Some(bytes);
        if !self.inner.state.borrow().dir_created {
            return Ok(());
        }
        match self.write_partition_metadata().await {
            // What is there can still be read; the next start tries again.
            Err(e) if e.is_full() => tracing::debug!("no partition.metadata: {e}"),
            other => other?,
        }
        Ok(())
    }

    async fn write_partition_metadata(&self) -> Result<()> {
        let Some(bytes) = self.inner.partition_metadata.borrow_mut().take() else { return Ok(()) };
        let path = self.inner.dir.join(checkpoint::PARTITION_METADATA_FILE);
        disk::write_file(&path, bytes).await.map_err(io_error(&path))
    }

    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }
    pub fn log_start_offset(&self) -> Offset {
        self.inner.state.borrow().log_start
    }
    pub fn log_end_offset(&self) -> Offset {
        self.inner.state.borrow().log_end()
    }
    /// Everything below is on the device queue (survives kill -9).
    pub fn written_offset(&self) -> Offset {
        self.inner.state.borrow().written
    }
    /// Everything below survives power loss.
    pub fn durable_offset(&self) -> Offset {
        self.inner.state.borrow().durable
    }
    pub fn size_bytes(&self) -> u64 {
        self.inner.state.borrow().segments.iter().map(|s| s.size.get()).sum()
    }
    pub fn segment_count(&self) -> usize {
        self.inner.state.borrow().segments.len()
    }
    pub fn is_writable(&self) -> bool {
        self.inner.state.borrow().health == Health::Open
    }
    /// A write or sync failed: reads go on, appends do not until `cut_back` and `repair`.
    pub fn is_suspect(&self) -> bool {
        matches!(self.inner.state.borrow().health, Health::Suspect | Health::Checking)
    }
    /// Only a restart helps: what was promised can't be read back.
    pub fn is_offline(&self) -> bool {
        self.inner.state.borrow().health == Health::Offline
    }
    pub fn set_config(&self, config: LogConfig) {
        self.inner.state.borrow_mut().config = config;
    }
    /// Bytes appended and not yet given to the device.
    pub fn unwritten_bytes(&self) -> usize {
        self.inner.state.borrow().tail.unwritten_bytes()
    }
    /// Leader-epoch-checkpoint. Starts `epoch` at the log end; a no-op if it is the current one.
    pub fn assign_leader_epoch(&self, epoch: i32) {
        let mut state = self.inner.state.borrow_mut();
        let end = state.log_end();
        state.epochs.assign(epoch, end);
    }
    /// (epoch, end offset) of the largest epoch <= the asked one; (-1, -1) when unknown (KIP-101).
    pub fn end_offset_for_epoch(&self, epoch: i32) -> (i32, Offset) {
        let state = self.inner.state.borrow();
        state.epochs.end_offset_for(epoch, state.log_end())
    }
    pub fn leader_epoch_at(&self, offset: Offset) -> Option<i32> {
        self.inner.state.borrow().epochs.at(offset)
    }
    /// Bytes of tail memory held as read cache.
    pub fn tail_memory_bytes(&self) -> usize {
        self.inner.state.borrow().tail.cached_bytes()
    }
    /// As `shrink_tail`, but the last buffer stays.
    pub fn trim_tail(&self, keep_bytes: usize) {
        self.inner.state.borrow_mut().tail.trim(keep_bytes);
    }
    /// Drops cached tail buffers (oldest first) down to `keep_bytes`; unwritten data always stays.
    pub fn shrink_tail(&self, keep_bytes: usize) {
        self.inner.state.borrow_mut().tail.shrink(keep_bytes);
    }
}

fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> LogError + use<> {
    let path = path.to_path_buf();
    move |source| LogError::Io { path, source }
}
