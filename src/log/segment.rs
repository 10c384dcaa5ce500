//! One segment: its file names, sizes, open file and indexes. Shared by `Rc` between the log and
//! reads in flight, so a segment that retention drops stays readable to its end.
//! Invariant: `written <= size`; bytes below `written` never change. `size` is the truth about the
//! segment's length, the file may be longer (preallocated zeros). Not here: when to roll or delete.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::cached::SegmentReads;
use super::index::{IndexedBatch, NO_TIMESTAMP, SegmentIndex};
use super::scan::{BatchScan, Scanned};
use super::{LogError, Result, io_error};
use crate::runtime::{File, OpenMode, disk};
use crate::types::Offset;
use crate::wire::record_batch::BatchHeader;

/// Not read from the file yet.
pub(super) const UNKNOWN: i64 = i64::MIN;

pub(super) struct Segment {
    pub base: Offset,
    /// One past the last offset of the segment (the next segment's base when closed).
    pub next: Cell<Offset>,
    /// Bytes of batches, those that wait for their write included.
    pub size: Cell<u64>,
    /// Bytes of batches in the file.
    pub written: Cell<u64>,
    /// Bytes of batches that a sync has covered.
    pub synced: Cell<u64>,
    /// Length of the file, preallocated zeros included. `u64::MAX` when a failed write leaves it open.
    pub allocated: Cell<u64>,
    /// The file exists.
    pub created: Cell<bool>,
    /// Closed: synced, trimmed, indexes written.
    pub finished: Cell<bool>,
    /// The file's directory entry is not known to be durable.
    pub dir_unsynced: Cell<bool>,
    /// Compaction or retention has taken its files away: what has its name now is another segment's.
    /// A file that is open stays readable.
    pub retired: Cell<bool>,
    /// Used since the last retention pass (which closes idle files).
    pub touched: Cell<bool>,
    /// Wall clock of creation or of the open of the log, ms.
    pub created_ms: i64,
    /// Largest timestamp of the first batch: Kafka's base for segment.ms. `UNKNOWN` until read.
    pub first_timestamp: Cell<i64>,
    pub roll_jitter_ms: i64,
    file: RefCell<Option<File>>,
    /// Always there for the active segment; loaded on demand for closed ones.
    pub index: RefCell<Option<Box<SegmentIndex>>>,
    /// Where its batches were found damaged when the index was made, and how.
    damage: RefCell<Option<(u64, String)>>,
    pub reads: RefCell<Option<Box<SegmentReads>>>,
}

impl Segment {
    /// A segment whose file does not exist yet.
    pub fn new(base: Offset, created_ms: i64, roll_jitter_ms: i64) -> Segment {
        Segment {
            base,
            next: Cell::new(base),
            size: Cell::new(0),
            written: Cell::new(0),
            synced: Cell::new(0),
            allocated: Cell::new(0),
            created: Cell::new(false),
            finished: Cell::new(false),
            dir_unsynced: Cell::new(false),
            retired: Cell::new(false),
            touched: Cell::new(false),
            created_ms,
            first_timestamp: Cell::new(UNKNOWN),
            roll_jitter_ms,
            file: RefCell::new(None),
            index: RefCell::new(Some(Box::new(SegmentIndex::new(base)))),
            damage: RefCell::new(None),
            reads: RefCell::new(None),
        }
    }

    /// A segment found on disk; its index is not loaded.
    pub fn existing(base: Offset, size: u64, created_ms: i64) -> Segment {
        let s = Segment::new(base, created_ms, 0);
        s.size.set(size);
        s.written.set(size);
        s.allocated.set(size);
        s.created.set(true);
        *s.index.borrow_mut() = None;
        s
    }

    pub fn path(&self, dir: &Path, kind: FileKind) -> PathBuf {
        dir.join(file_name(self.base, kind))
    }

    pub fn file_now(&self) -> Option<File> {
        self.file.borrow().clone()
    }

    pub fn set_file(&self, file: File) {
        *self.file.borrow_mut() = Some(file);
    }

    pub fn take_file(&self) -> Option<File> {
        self.file.borrow_mut().take()
    }

    pub async fn open_file(&self, dir: &Path) -> Result<File> {
        self.touched.set(true);
        if let Some(file) = self.file_now() {
            return Ok(file);
        }
        let path = self.path(dir, FileKind::Log);
        let mode = if self.finished.get() { OpenMode::Read } else { OpenMode::ReadWrite };
        let opened = File::open(&path, mode).await;
        self.check_current(dir)?;
        let file = opened.map_err(io_error(&path))?;
        // Another task may have opened it meanwhile: one handle is kept, the other is closed.
        let kept = self.file_now();
        match kept {
            Some(kept) => {
                let _ = file.close().await;
                Ok(kept)
            }
            None => {
                self.set_file(file.clone());
                Ok(file)
            }
        }
    }

    /// After something was read by name: it was this segment's only if the segment is still there.
    fn check_current(&self, dir: &Path) -> Result<()> {
        match self.retired.get() {
            true => Err(LogError::Replaced(self.path(dir, FileKind::Log))),
            false => Ok(()),
        }
    }

    /// Runs `f` on the index, reading or rebuilding it first when needed.
    pub async fn with_index<T>(
        &self,
        dir: &Path,
        interval_bytes: u32,
        f: impl FnOnce(&SegmentIndex) -> T,
    ) -> Result<T> {
        self.touched.set(true);
        if self.index.borrow().is_none() {
            let loaded = load_index(dir, self.base, self.size.get()).await;
            self.check_current(dir)?;
            let index = match loaded {
                Some(index) if self.size.get() == 0 || index.max_timestamp().0 >= 0 => index,
                // No time entry at all: lost or never written.
                _ => self.scan_index(dir, interval_bytes).await?,
            };
            let mut slot = self.index.borrow_mut();
            if slot.is_none() {
                *slot = Some(Box::new(index));
            }
        }
        let slot = self.index.borrow();
        match slot.as_deref() {
            Some(index) => Ok(f(index)),
            None => Ok(f(&SegmentIndex::new(self.base))),
        }
    }

    /// Throws the index of a closed segment away and makes it again from the batches. When it is
    /// they that are damaged, that is remembered: clients ask again, and the scan is long. The files
    /// are written by whoever next holds the log's turn: only then is the name surely this segment's.
    pub async fn rebuild_index(&self, dir: &Path, interval_bytes: u32) -> Result<()> {
        let path = self.path(dir, FileKind::Log);
        if let Some((position, why)) = self.damage.borrow().clone() {
            return Err(LogError::Corrupt { path, position, why });
        }
        match self.scan_index(dir, interval_bytes).await {
            Ok(index) => {
                tracing::warn!("{}: its index did not fit: made again", path.display());
                *self.index.borrow_mut() = Some(Box::new(index));
                Ok(())
            }
            Err(LogError::Corrupt { path, position, why }) => {
                *self.damage.borrow_mut() = Some((position, why.clone()));
                Err(LogError::Corrupt { path, position, why })
            }
            Err(e) => Err(e),
        }
    }

    async fn scan_index(&self, dir: &Path, interval_bytes: u32) -> Result<SegmentIndex> {
        let path = self.path(dir, FileKind::Log);
        let mut index = SegmentIndex::new(self.base);
        let mut scan = BatchScan::new(self.open_file(dir).await?, 0, self.written.get());
        let mut next = self.base;
        loop {
            match scan.next(true).await.map_err(io_error(&path))? {
                Scanned::Batch { header, position }
                    if header.base_offset < next || header.last_offset() >= self.next.get() =>
                {
                    let (first, last, end) =
                        (header.base_offset, header.last_offset(), self.next.get());
                    let why = format!("offsets {first} to {last} between {next} and {end}");
                    return Err(LogError::Corrupt { path, position, why });
                }
                Scanned::Batch { header, position } => {
                    next = header.last_offset() + 1;
                    index.observe(indexed(&header, position), interval_bytes);
                }
                Scanned::End => break,
                Scanned::Bad { position, why } => {
                    return Err(LogError::Corrupt { path, position, why });
                }
            }
        }
        index.add_time_entry();
        Ok(index)
    }

    /// Writes both index files when they differ from memory.
    pub async fn save_index(&self, dir: &Path) -> Result<()> {
        let copy = match self.index.borrow_mut().as_deref_mut() {
            Some(index) if index.dirty => {
                index.add_time_entry();
                index.dirty = false;
                Some((index.encode_offsets(), index.encode_times()))
            }
            _ => None,
        };
        let Some((offsets, times)) = copy else { return Ok(()) };
        let written = write_index_files(dir, self.base, offsets, times).await;
        if written.is_err()
            && let Some(index) = self.index.borrow_mut().as_deref_mut()
        {
            index.dirty = true;
        }
        written
    }

    /// Drops the file handle and the index of a closed segment that nobody used for a while. By the
    /// holder of the log's turn.
    pub async fn release_if_idle(&self, dir: &Path) {
        if self.finished.get() && !self.touched.replace(false) {
            *self.reads.borrow_mut() = None;
            match self.save_index(dir).await {
                Ok(()) => *self.index.borrow_mut() = None,
                // It stays in memory: its files may be there in part.
                Err(e) => tracing::warn!("an index was not written: {e}"),
            }
            if let Some(file) = self.take_file() {
                let _ = file.close().await;
            }
        }
    }
}

pub(super) fn indexed(header: &BatchHeader, position: u64) -> IndexedBatch {
    IndexedBatch {
        last_offset: header.last_offset(),
        // A batch that compaction has emptied has no record with its timestamp.
        max_timestamp: if header.record_count > 0 { header.max_timestamp } else { NO_TIMESTAMP },
        position,
        size: header.size_bytes() as u64,
    }
}

async fn load_index(dir: &Path, base: Offset, log_bytes: u64) -> Option<SegmentIndex> {
    let offsets = disk::read_file(&dir.join(file_name(base, FileKind::Index))).await.ok()?;
    let times = disk::read_file(&dir.join(file_name(base, FileKind::TimeIndex))).await.ok()?;
    SegmentIndex::decode(base, log_bytes, &offsets, &times)
}

/// The index files of a segment, or an empty index when they are missing or break a rule.
pub(super) async fn load_index_or_empty(dir: &Path, base: Offset, log_bytes: u64) -> SegmentIndex {
    load_index(dir, base, log_bytes).await.unwrap_or_else(|| SegmentIndex::new(base))
}

async fn write_index_files(
    dir: &Path,
    base: Offset,
    offsets: Vec<u8>,
    times: Vec<u8>,
) -> Result<()> {
    let path = dir.join(file_name(base, FileKind::Index));
    disk::write_file(&path, offsets).await.map_err(io_error(&path))?;
    let path = dir.join(file_name(base, FileKind::TimeIndex));
    disk::write_file(&path, times).await.map_err(io_error(&path))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Log,
    Index,
    TimeIndex,
    TxnIndex,
    Snapshot,
}

impl FileKind {
    pub const ALL: [FileKind; 5] = [
        FileKind::Log,
        FileKind::Index,
        FileKind::TimeIndex,
        FileKind::TxnIndex,
        FileKind::Snapshot,
    ];

    pub fn suffix(self) -> &'static str {
        match self {
            FileKind::Log => ".log",
            FileKind::Index => ".index",
            FileKind::TimeIndex => ".timeindex",
            FileKind::TxnIndex => ".txnindex",
            FileKind::Snapshot => ".snapshot",
        }
    }
}

/// Kafka's name: the base offset in 20 digits, then the kind.
pub(super) fn file_name(base: Offset, kind: FileKind) -> String {
    format!("{base:020}{}", kind.suffix())
}

pub(super) fn parse_file_name(name: &str) -> Option<(Offset, FileKind)> {
    let digits = name.get(..20)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let kind = FileKind::ALL.into_iter().find(|k| name.get(20..) == Some(k.suffix()))?;
    Some((digits.parse().ok()?, kind))
}

pub(super) type SharedSegment = Rc<Segment>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        assert_eq!(file_name(42, FileKind::Log), "00000000000000000042.log");
        assert_eq!(parse_file_name("00000000000000000042.log"), Some((42, FileKind::Log)));
        assert_eq!(parse_file_name("00000000000000000007.snapshot"), Some((7, FileKind::Snapshot)));
        for bad in ["x", "00000000000000000042.log.deleted", "leader-epoch-checkpoint", "é.log"] {
            assert_eq!(parse_file_name(bad), None, "{bad}");
        }
    }
}
