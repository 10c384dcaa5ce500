//! Files with O_DIRECT through io_uring, and the few directory operations a log needs.
//! Invariants: positions and lengths of writes are multiples of `BLOCK`; short writes are retried
//! or an error; a read never asks past the end of the file. `File` is a cheap Rc handle.

use std::io;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::rc::Rc;

use super::{real, sim};

/// Alignment of direct I/O, bytes: memory, position and length.
pub const BLOCK: usize = 4096;

/// 4 KiB-aligned memory for direct I/O. Zeroed when made. Not Send.
pub struct AlignedBuf {
    memory: Memory,
    len: usize,
}

enum Memory {
    /// Shared only while a write is in flight; then it is not changed any more.
    Real(Rc<glommio::io::DmaBuffer>),
    Sim(Vec<u8>),
}

impl AlignedBuf {
    /// `len` is rounded up to a multiple of `BLOCK`.
    pub fn zeroed(len: usize) -> AlignedBuf {
        let len = len.max(1).next_multiple_of(BLOCK);
        let memory = match sim::active() {
            true => Memory::Sim(vec![0; len]),
            false => Memory::Real(real::disk::zeroed(len)),
        };
        AlignedBuf { memory, len }
    }

    /// Shortens the buffer (to a multiple of BLOCK, if it is to be written).
    pub fn truncate(&mut self, len: usize) {
        if len < self.len {
            self.len = len;
            match &mut self.memory {
                Memory::Real(m) => {
                    Rc::get_mut(m).expect("a buffer being written is not changed").trim_to_size(len)
                }
                Memory::Sim(m) => m.truncate(len),
            }
        }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Real(m) => m.as_bytes(),
            Memory::Sim(m) => m,
        }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Real(m) => {
                Rc::get_mut(m).expect("a buffer being written is not changed").as_bytes_mut()
            }
            Memory::Sim(m) => m,
        }
    }
}

/// Bytes that came back from a read (no copy on the real backend). Cheap to clone.
#[derive(Clone)]
pub struct ReadBuf(ReadBufs);

#[derive(Clone)]
enum ReadBufs {
    Real(glommio::io::ReadResult),
    Sim(Rc<Vec<u8>>),
}

impl Deref for ReadBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.0 {
            ReadBufs::Real(b) => b,
            ReadBufs::Sim(b) => b,
        }
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
pub struct File(Files);

#[derive(Clone)]
enum Files {
    Real(real::disk::File),
    Sim(sim::disk::File),
}

impl File {
    pub async fn open(path: &Path, mode: OpenMode) -> io::Result<File> {
        Ok(File(match sim::active() {
            true => Files::Sim(sim::disk::File::open(path, mode).await?),
            false => Files::Real(real::disk::File::open(path, mode).await?),
        }))
    }

    /// Writes the whole buffer at `pos`; both are multiples of BLOCK.
    pub async fn write_at(&self, buf: Rc<AlignedBuf>, pos: u64) -> io::Result<()> {
        assert!(buf.len().is_multiple_of(BLOCK) && pos.is_multiple_of(BLOCK as u64));
        match (&self.0, &buf.memory) {
            (Files::Real(f), Memory::Real(m)) => f.write_at(m.clone(), pos).await,
            (Files::Sim(f), _) => f.write_at(&buf, pos).await,
            (Files::Real(_), Memory::Sim(_)) => unreachable!("a simulated buffer on a real thread"),
        }
    }

    /// Any position and length; shorter only at the end of the file.
    pub async fn read_at(&self, pos: u64, len: usize) -> io::Result<ReadBuf> {
        Ok(ReadBuf(match &self.0 {
            Files::Real(f) => ReadBufs::Real(f.read_at(pos, len).await?),
            Files::Sim(f) => ReadBufs::Sim(Rc::new(f.read_at(pos, len).await?)),
        }))
    }

    /// Returns when everything written before the call is durable.
    pub async fn fdatasync(&self) -> io::Result<()> {
        match &self.0 {
            Files::Real(f) => f.fdatasync().await,
            Files::Sim(f) => f.fdatasync().await,
        }
    }

    /// Extends the file with zeros to at least `size` and allocates its blocks (fallocate).
    pub async fn preallocate(&self, size: u64) -> io::Result<()> {
        match &self.0 {
            Files::Real(f) => f.preallocate(size).await,
            Files::Sim(f) => f.preallocate(size).await,
        }
    }

    pub async fn truncate(&self, size: u64) -> io::Result<()> {
        match &self.0 {
            Files::Real(f) => f.truncate(size).await,
            Files::Sim(f) => f.truncate(size).await,
        }
    }

    /// Length from fstat.
    pub async fn len(&self) -> io::Result<u64> {
        match &self.0 {
            Files::Real(f) => f.len(),
            Files::Sim(f) => f.len().await,
        }
    }

    pub async fn close(self) -> io::Result<()> {
        match self.0 {
            Files::Real(f) => f.close().await,
            Files::Sim(f) => f.close().await,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    pub name: String,
    pub is_dir: bool,
    pub len: u64,
}

/// Each of these is the same call on either backend.
macro_rules! dispatch {
    ($name:ident($($arg:expr),*)) => {
        if sim::active() { sim::disk::$name($($arg),*).await } else { real::disk::$name($($arg),*).await }
    };
}

/// Sorted by name. NotFound when absent.
pub async fn list_dir(path: &Path) -> io::Result<Vec<DirEntry>> {
    dispatch!(list_dir(path))
}
/// mkdir -p, durable (parents synced) on return.
pub async fn create_dir_all(path: &Path) -> io::Result<()> {
    dispatch!(create_dir_all(path))
}
pub async fn remove_dir_all(path: &Path) -> io::Result<()> {
    dispatch!(remove_dir_all(path))
}
pub async fn remove_file(path: &Path) -> io::Result<()> {
    dispatch!(remove_file(path))
}
/// Not durable until `sync_dir` of the parent.
pub async fn rename(from: &Path, to: &Path) -> io::Result<()> {
    dispatch!(rename(from, to))
}
/// Makes creations, renames and removals in `path` durable.
pub async fn sync_dir(path: &Path) -> io::Result<()> {
    dispatch!(sync_dir(path))
}
/// A whole small file (buffered I/O on the blocking pool).
pub async fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    dispatch!(read_file(path))
}
/// Writes `path.tmp`, syncs it, renames it over `path`, syncs the directory.
pub async fn write_file_atomic(path: &Path, bytes: Vec<u8>) -> io::Result<()> {
    dispatch!(write_file_atomic(path, bytes))
}
/// Writes a small file without any sync (indexes: rebuilt when lost).
pub async fn write_file(path: &Path, bytes: Vec<u8>) -> io::Result<()> {
    dispatch!(write_file(path, bytes))
}
/// (total, available) bytes of the file system that holds `path`.
pub async fn disk_space(path: &Path) -> io::Result<(u64, u64)> {
    dispatch!(disk_space(path))
}

/// Exclusive lock of a data directory (flock on `path/.lock`); released when dropped.
pub struct DirLock {
    _lock: DirLocks,
}

enum DirLocks {
    Real(#[allow(dead_code)] real::disk::DirLock),
    Sim(#[allow(dead_code)] sim::disk::DirLock),
}

/// WouldBlock when another process holds it.
pub async fn lock_dir(path: &Path) -> io::Result<DirLock> {
    let _lock = match sim::active() {
        true => DirLocks::Sim(sim::disk::lock_dir(path).await?),
        false => DirLocks::Real(real::disk::lock_dir(path).await?),
    };
    Ok(DirLock { _lock })
}

/// What start-up reports of the disk.
#[derive(Clone, Debug)]
pub struct DiskProbe {
    pub file_system: String,
    pub o_direct: bool,
    /// Mean of a few, queue depth 1.
    pub write_4k_us: f64,
    /// A 4 KiB write and its fdatasync.
    pub fdatasync_us: f64,
}

pub async fn probe(dir: &Path) -> io::Result<DiskProbe> {
    dispatch!(probe(dir))
}
