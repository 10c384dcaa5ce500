//! Files with O_DIRECT through io_uring, and the few directory operations a log needs.
//! Invariants: positions and lengths of writes are multiples of `BLOCK`; short writes are retried
//! or an error; a read never asks past the end the caller keeps. `File` is a cheap Rc handle.

use std::io;
use std::path::Path;
use std::rc::Rc;

/// Alignment of direct I/O, bytes: memory, position and length.
pub const BLOCK: usize = 4096;

/// 4 KiB-aligned memory for direct I/O. Zeroed when made. Not Send.
pub struct AlignedBuf {}

impl AlignedBuf {
    /// `len` is rounded up to a multiple of `BLOCK`.
    pub fn zeroed(_len: usize) -> AlignedBuf {
        todo!()
    }
    /// Shortens the buffer (to a multiple of BLOCK, if it is to be written).
    pub fn truncate(&mut self, _len: usize) {
        todo!()
    }
}

impl std::ops::Deref for AlignedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        todo!()
    }
}

impl std::ops::DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        todo!()
    }
}

/// Bytes that came back from a read (no copy on the real backend). Cheap to clone.
#[derive(Clone)]
pub struct ReadBuf {}

impl std::ops::Deref for ReadBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        todo!()
    }
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
pub struct File {}

impl File {
    pub async fn open(_path: &Path, _mode: OpenMode) -> io::Result<File> {
        todo!()
    }
    /// Writes the whole buffer at `pos`; both are multiples of BLOCK.
    pub async fn write_at(&self, _buf: Rc<AlignedBuf>, _pos: u64) -> io::Result<()> {
        todo!()
    }
    /// Any position and length; shorter only at the end of the file.
    pub async fn read_at(&self, _pos: u64, _len: usize) -> io::Result<ReadBuf> {
        todo!()
    }
    /// Returns when everything written before the call is durable.
    pub async fn fdatasync(&self) -> io::Result<()> {
        todo!()
    }
    /// Extends the file with zeros to at least `size` and allocates its blocks (fallocate).
    pub async fn preallocate(&self, _size: u64) -> io::Result<()> {
        todo!()
    }
    pub async fn truncate(&self, _size: u64) -> io::Result<()> {
        todo!()
    }
    /// Length from fstat.
    pub async fn len(&self) -> io::Result<u64> {
        todo!()
    }
    pub async fn close(self) -> io::Result<()> {
        todo!()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    pub name: String,
    pub is_dir: bool,
    pub len: u64,
}

/// Sorted by name. NotFound when absent.
pub async fn list_dir(_path: &Path) -> io::Result<Vec<DirEntry>> {
    todo!()
}
/// mkdir -p, durable (parents synced) on return.
pub async fn create_dir_all(_path: &Path) -> io::Result<()> {
    todo!()
}
pub async fn remove_dir_all(_path: &Path) -> io::Result<()> {
    todo!()
}
pub async fn remove_file(_path: &Path) -> io::Result<()> {
    todo!()
}
/// Not durable until `sync_dir` of the parent.
pub async fn rename(_from: &Path, _to: &Path) -> io::Result<()> {
    todo!()
}
/// Makes creations, renames and removals in `path` durable.
pub async fn sync_dir(_path: &Path) -> io::Result<()> {
    todo!()
}
/// A whole small file (buffered I/O on the blocking pool).
pub async fn read_file(_path: &Path) -> io::Result<Vec<u8>> {
    todo!()
}
/// Writes `path.tmp`, syncs it, renames it over `path`, syncs the directory.
pub async fn write_file_atomic(_path: &Path, _bytes: Vec<u8>) -> io::Result<()> {
    todo!()
}
/// Writes a small file without any sync (indexes: rebuilt when lost).
pub async fn write_file(_path: &Path, _bytes: Vec<u8>) -> io::Result<()> {
    todo!()
}
/// (total, available) bytes of the file system that holds `path`.
pub async fn disk_space(_path: &Path) -> io::Result<(u64, u64)> {
    todo!()
}

/// Exclusive lock of a data directory (flock on `path/.lock`); released when dropped.
/// WouldBlock when another process holds it.
pub struct DirLock {}
pub async fn lock_dir(_path: &Path) -> io::Result<DirLock> {
    todo!()
}

/// What start-up reports of the machine: one line each, with the cure when something is off.
#[derive(Clone, Debug)]
pub struct DiskProbe {
    pub file_system: String,
    pub o_direct: bool,
    pub write_4k_us: f64,
    pub fdatasync_us: f64,
}
pub async fn probe(_dir: &Path) -> io::Result<DiskProbe> {
    todo!()
}
