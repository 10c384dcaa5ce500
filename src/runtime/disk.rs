//! Files with O_DIRECT through io_uring, and the few directory operations a log needs.
//! Invariants: positions and lengths of writes are multiples of `BLOCK`; short writes are retried
//! or an error; a read never asks past the end the caller keeps. `File` is a cheap Rc handle.

use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::rc::Rc;

use super::{real, sim};

/// Alignment of direct I/O, bytes: memory, position and length.
pub const BLOCK: usize = 4096;

pub use real::aligned::AlignedBuf;

/// Bytes that came back from a read (no copy on the real backend). Cheap to clone.
#[derive(Clone)]
pub struct ReadBuf {
    bytes: real::disk::ReadBytes,
    start: usize,
    end: usize,
}

impl ReadBuf {
    fn new(bytes: real::disk::ReadBytes) -> ReadBuf {
        let end = bytes.len();
        ReadBuf { bytes, start: 0, end }
    }

    /// A part of it, without a copy. Panics when the range does not fit, as indexing does.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> ReadBuf {
        let from = match range.start_bound() {
            Bound::Included(&n) => n,
            Bound::Excluded(&n) => n + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(&n) => n + 1,
            Bound::Excluded(&n) => n,
            Bound::Unbounded => self.len(),
        };
        assert!(from <= to && to <= self.len(), "{from}..{to} of {} bytes", self.len());
        ReadBuf { bytes: self.bytes.clone(), start: self.start + from, end: self.start + to }
    }
}

impl From<Vec<u8>> for ReadBuf {
    fn from(bytes: Vec<u8>) -> ReadBuf {
        ReadBuf::new(real::disk::ReadBytes::Heap(Rc::new(bytes)))
    }
}

impl std::ops::Deref for ReadBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}

/// No room: the device's, a quota's, or a bound on the size of files.
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    Read,
    /// Must exist.
    ReadWrite,
    /// Created when absent.
    Create,
}

#[derive(Clone)]
pub struct File(FileInner);

#[derive(Clone)]
enum FileInner {
    Real(real::disk::File),
    Sim(sim::disk::File),
}

/// Which backend a file is of.
pub(super) enum Backend<'a> {
    Real(&'a real::disk::File),
    Sim(&'a sim::disk::File),
}

#[allow(clippy::len_without_is_empty)] // `len` asks the kernel
impl File {
    /// Never cancel this future (glommio leaks the descriptor). On the real backend the first file
    /// an executor opens on a device must not be an empty one: see `prepare_device`.
    pub async fn open(path: &Path, mode: OpenMode) -> io::Result<File> {
        Ok(File(if sim::active() {
            FileInner::Sim(sim::disk::File::open(path, mode).await?)
        } else {
            FileInner::Real(real::disk::File::open(path, mode).await?)
        }))
    }

    /// Writes the whole buffer at `pos`; both are multiples of BLOCK. A dropped write may have
    /// been written. After an error, any part of it may have been.
    pub async fn write_at(&self, buf: Rc<AlignedBuf>, pos: u64) -> io::Result<()> {
        assert!(buf.len().is_multiple_of(BLOCK) && pos.is_multiple_of(BLOCK as u64));
        match &self.0 {
            FileInner::Real(file) => file.write_at(buf, pos).await,
            FileInner::Sim(file) => file.write_at(&buf, pos).await,
        }
    }

    /// As `write_at`, and what this call wrote is durable when it returns; says nothing of writes
    /// before it. One operation of the device's queue (RWF_DSYNC) and one wake, where a write and
    /// an fdatasync take two.
    pub async fn write_durably_at(&self, buf: Rc<AlignedBuf>, pos: u64) -> io::Result<()> {
        assert!(buf.len().is_multiple_of(BLOCK) && pos.is_multiple_of(BLOCK as u64));
        match &self.0 {
            FileInner::Real(file) => file.write_durably_at(buf, pos).await,
            FileInner::Sim(file) => file.write_durably_at(&buf, pos).await,
        }
    }

    /// Any position and length; shorter only at the end of the file.
    pub async fn read_at(&self, pos: u64, len: usize) -> io::Result<ReadBuf> {
        self.read_in_steps(pos, len, len + 2 * BLOCK).await
    }

    /// As `read_at`, with so many bytes at a time at the device: a write that comes meanwhile waits
    /// behind one step.
    pub async fn read_in_steps(&self, pos: u64, len: usize, step: usize) -> io::Result<ReadBuf> {
        match &self.0 {
            FileInner::Real(file) => Ok(ReadBuf::new(file.read_at(pos, len, step).await?)),
            FileInner::Sim(file) => Ok(ReadBuf::from(file.read_at(pos, len).await?)),
        }
    }

    /// Returns when everything written before the call is durable.
    pub async fn fdatasync(&self) -> io::Result<()> {
        match &self.0 {
            FileInner::Real(file) => file.fdatasync().await,
            FileInner::Sim(file) => file.fdatasync().await,
        }
    }

    /// Extends the file with zeros to at least `size` and allocates its blocks (fallocate).
    pub async fn preallocate(&self, size: u64) -> io::Result<()> {
        match &self.0 {
            FileInner::Real(file) => file.preallocate(size).await,
            FileInner::Sim(file) => file.preallocate(size).await,
        }
    }

    pub async fn truncate(&self, size: u64) -> io::Result<()> {
        match &self.0 {
            FileInner::Real(file) => file.truncate(size).await,
            FileInner::Sim(file) => file.truncate(size).await,
        }
    }

    /// Length from fstat.
    pub async fn len(&self) -> io::Result<u64> {
        match &self.0 {
            FileInner::Real(file) => file.len().await,
            FileInner::Sim(file) => file.len().await,
        }
    }

    pub(super) fn backend(&self) -> Backend<'_> {
        match &self.0 {
            FileInner::Real(file) => Backend::Real(file),
            FileInner::Sim(file) => Backend::Sim(file),
        }
    }

    pub async fn close(self) -> io::Result<()> {
        match self.0 {
            FileInner::Real(file) => file.close().await,
            FileInner::Sim(file) => file.close().await,
        }
    }
}

/// Half of the files that the process may have open are: who holds one that it does not need now
/// closes it. The other half is for sockets. The simulator says yes now and then.
pub fn files_are_scarce() -> bool {
    if sim::active() {
        super::random_u64().is_multiple_of(16)
    } else {
        real::disk::files_are_scarce()
    }
}

/// Files that one of `shards` shards may be about to open, a task each: of the limit a quarter, since an
/// open takes two descriptors for a moment and `files_are_scarce` leaves half. Few in the simulator,
/// so that some have to wait.
pub fn files_at_once(shards: usize) -> usize {
    if sim::active() {
        return 3;
    }
    let limit = usize::try_from(super::machine::open_files_limit().0).unwrap_or(usize::MAX);
    (limit / 4 / shards.max(1)).clamp(FILES_AT_ONCE.start, FILES_AT_ONCE.end)
}

/// Below, one partition would wait for another's sync; above is what `shard.io.depth` may ask for.
const FILES_AT_ONCE: std::ops::Range<usize> = 8..4096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    pub name: String,
    pub is_dir: bool,
    pub len: u64,
}

/// Sorted by name. NotFound when absent.
pub async fn list_dir(path: &Path) -> io::Result<Vec<DirEntry>> {
    if sim::active() {
        sim::disk::list_dir(path).await
    } else {
        real::directory::list_dir(path).await
    }
}

/// One directory, unless it is there. Not durable until `sync_dir` of the parent, which must exist.
pub async fn create_dir(path: &Path) -> io::Result<()> {
    if sim::active() {
        sim::disk::create_dir(path).await
    } else {
        real::directory::create_dir(path).await
    }
}

/// mkdir -p, durable (parents synced) on return.
pub async fn create_dir_all(path: &Path) -> io::Result<()> {
    if sim::active() {
        sim::disk::create_dir_all(path).await
    } else {
        real::directory::create_dir_all(path).await
    }
}

pub async fn remove_dir_all(path: &Path) -> io::Result<()> {
    if sim::active() {
        sim::disk::remove_dir_all(path).await
    } else {
        real::directory::remove_dir_all(path).await
    }
}

pub async fn remove_file(path: &Path) -> io::Result<()> {
    if sim::active() {
        sim::disk::remove_file(path).await
    } else {
        real::directory::remove_file(path).await
    }
}

/// Not durable until `sync_dir` of the parent.
pub async fn rename(from: &Path, to: &Path) -> io::Result<()> {
    if sim::active() {
        sim::disk::rename(from, to).await
    } else {
        real::directory::rename(from, to).await
    }
}

/// Makes creations, renames and removals in `path` durable.
pub async fn sync_dir(path: &Path) -> io::Result<()> {
    if sim::active() {
        sim::disk::sync_dir(path).await
    } else {
        real::directory::sync_dir(path).await
    }
}

/// Makes all that was written, made, renamed or cut on the file system of `path` durable, whoever did
/// it: one call in place of a sync of each of many files.
pub async fn sync_file_system(path: &Path) -> io::Result<()> {
    if sim::active() {
        sim::disk::sync_file_system(path).await
    } else {
        real::directory::sync_file_system(path).await
    }
}

/// Cuts a file by name: cheaper than to open it for that.
pub async fn truncate_file(path: &Path, size: u64) -> io::Result<()> {
    if sim::active() {
        sim::disk::File::open(path, OpenMode::ReadWrite).await?.truncate(size).await
    } else {
        real::directory::truncate_file(path, size).await
    }
}

/// A whole small file (buffered I/O on the blocking pool).
pub async fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    if sim::active() {
        sim::disk::read_file(path).await
    } else {
        real::directory::read_file(path).await
    }
}

/// Writes `path.tmp`, syncs it, renames it over `path`, syncs the directory.
pub async fn write_file_atomic(path: &Path, bytes: Vec<u8>) -> io::Result<()> {
    if sim::active() {
        sim::disk::write_file_atomic(path, bytes).await
    } else {
        real::directory::write_file_atomic(path, bytes).await
    }
}

/// As `write_file_atomic`, without the syncs: after a power cut it is the old one, the new one, or what
/// its reader must be able to tell from both.
pub async fn replace_file(path: &Path, bytes: Vec<u8>) -> io::Result<()> {
    if sim::active() {
        sim::disk::replace_file(path, bytes).await
    } else {
        real::directory::replace_file(path, bytes).await
    }
}

/// Writes a small file without any sync (indexes: rebuilt when lost).
pub async fn write_file(path: &Path, bytes: Vec<u8>) -> io::Result<()> {
    if sim::active() {
        sim::disk::write_file(path, bytes).await
    } else {
        real::directory::write_file(path, bytes).await
    }
}

/// (total, available) bytes of the file system that holds `path`.
pub async fn disk_space(path: &Path) -> io::Result<(u64, u64)> {
    if sim::active() {
        sim::disk::disk_space(path).await
    } else {
        real::directory::disk_space(path).await
    }
}

/// Exclusive lock of a data directory (flock on `path/.lock`); released when dropped.
/// WouldBlock when another process holds it.
pub struct DirLock(#[allow(dead_code)] DirLockInner);

enum DirLockInner {
    Real { _lock: real::directory::DirLock },
    Sim { _lock: sim::disk::DirLock },
}

pub async fn lock_dir(path: &Path) -> io::Result<DirLock> {
    Ok(DirLock(if sim::active() {
        DirLockInner::Sim { _lock: sim::disk::lock_dir(path).await? }
    } else {
        DirLockInner::Real { _lock: real::directory::lock_dir(path).await? }
    }))
}

/// What start-up reports of the machine: one line each, with the cure when something is off.
#[derive(Clone, Debug)]
pub struct DiskProbe {
    pub file_system: String,
    pub o_direct: bool,
    pub write_4k_us: f64,
    pub fdatasync_us: f64,
}

pub async fn probe(dir: &Path) -> io::Result<DiskProbe> {
    if sim::active() { sim::disk::probe(dir).await } else { real::probe::probe(dir).await }
}

/// Once per executor, before it opens any other file on the data device: opens a small non-empty
/// file there, by which glommio learns whether the device can be polled.
pub async fn prepare_device(dir: &Path) -> io::Result<()> {
    if sim::active() { Ok(()) } else { real::disk::prepare_device(dir).await }
}
