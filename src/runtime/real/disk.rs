//! Files: opened, allocated and closed by glommio, read, written and synced on the engine's ring
//! with O_DIRECT; wholly glommio's, and buffered, where the file system has no O_DIRECT.
//! Owner: the executor that opened the file. Invariants: alignment is always `BLOCK` (glommio's own
//! figure may be another disk's); a short write is continued or is an error; a read never asks past
//! the end of the file, where glommio would return bytes that are not the file's.
//! Not here: directories and small whole files (`directory`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use glommio::io::{BufferedFile, DmaFile, OpenOptions, ReadResult};
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{opcode, squeue};

use super::super::disk::{BLOCK, OpenMode};
use super::super::machine;
use super::aligned::AlignedBuf;
use super::engine::{self, through_glommio};
use super::ring::{Held, Memory};
use super::{blocking, io_error};

/// A write that moves nothing, or an interrupted call, is tried so often before it is an error.
const FRUITLESS_WRITES_MAX: u32 = 8;

/// Bytes as the ring delivered them, or put together from several reads.
#[derive(Clone)]
pub enum ReadBytes {
    Direct { buf: Rc<AlignedBuf>, from: usize, to: usize },
    Buffered(ReadResult),
    Heap(Rc<Vec<u8>>),
}

impl std::ops::Deref for ReadBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            ReadBytes::Direct { buf, from, to } => &buf[*from..*to],
            ReadBytes::Buffered(bytes) => bytes,
            ReadBytes::Heap(bytes) => bytes,
        }
    }
}

#[derive(Clone)]
pub struct File(Rc<Open>);

struct Open {
    handle: Handle,
    _counted: Counted,
}

/// Files of this process that are open, of all executors.
static OPEN_FILES: AtomicUsize = AtomicUsize::new(0);

/// One of them.
struct Counted;

impl Counted {
    fn new() -> Counted {
        OPEN_FILES.fetch_add(1, Relaxed);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        OPEN_FILES.fetch_sub(1, Relaxed);
        // Glommio closes a file that was dropped when it next looks at its rings.
        engine::with(|engine| engine.glommio_has_work());
    }
}

/// See `disk::files_are_scarce`.
pub fn files_are_scarce() -> bool {
    // The limit does not change once executors run.
    static HALF: OnceLock<usize> = OnceLock::new();
    let half = HALF
        .get_or_init(|| usize::try_from(machine::open_files_limit().0 / 2).unwrap_or(usize::MAX));
    OPEN_FILES.load(Relaxed) >= *half
}

enum Handle {
    Direct(DmaFile),
    Buffered(BufferedFile),
}

fn absolute(path: &Path) -> io::Result<std::path::PathBuf> {
    // Glommio canonicalizes relative paths on the shard.
    std::path::absolute(path)
}

impl File {
    pub async fn open(path: &Path, mode: OpenMode) -> io::Result<File> {
        let path = absolute(path)?;
        // Glommio looks at the path again once it has opened the file, and panics when it is gone by
        // then (a topic that is deleted, a segment that retention drops). A descriptor's own path
        // can't go away under it.
        let pinned = blocking::run(move || {
            let mut options = std::fs::OpenOptions::new();
            options.read(true).write(mode != OpenMode::Read).create(mode == OpenMode::Create);
            options.open(path)
        })
        .await?;
        let path = format!("/proc/self/fd/{}", pinned.as_raw_fd());
        let mut options = OpenOptions::new();
        options.read(true).write(mode != OpenMode::Read);
        let handle = match through_glommio(options.dma_open(&path)).await.map_err(io_error) {
            Ok(file) => Handle::Direct(file),
            // The file system has no O_DIRECT: glommio found out after it opened the file.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                let opened = through_glommio(options.buffered_open(&path)).await;
                Handle::Buffered(opened.map_err(io_error)?)
            }
            Err(e) => return Err(e),
        };
        Ok(File(Rc::new(Open { handle, _counted: Counted::new() })))
    }

    pub fn fd(&self) -> RawFd {
        match &self.0.handle {
            Handle::Direct(file) => file.as_raw_fd(),
            Handle::Buffered(file) => file.as_raw_fd(),
        }
    }

    pub async fn write_at(&self, buf: Rc<AlignedBuf>, pos: u64) -> io::Result<()> {
        self.write(buf, pos, 0).await
    }

    pub async fn write_durably_at(&self, buf: Rc<AlignedBuf>, pos: u64) -> io::Result<()> {
        self.write(buf, pos, libc::RWF_DSYNC).await?;
        match &self.0.handle {
            Handle::Direct(_) => Ok(()),
            Handle::Buffered(_) => self.fdatasync().await,
        }
    }

    async fn write(&self, buf: Rc<AlignedBuf>, pos: u64, flags: i32) -> io::Result<()> {
        let mut buf = buf;
        let mut pos = pos;
        let mut fruitless = 0;
        loop {
            if buf.is_empty() {
                return Ok(());
            }
            let written = match self.write_once(&buf, pos, flags).await {
                Ok(written) => written,
                Err(e) if is_transient(&e) => 0,
                Err(e) => return Err(e),
            };
            if written >= buf.len() {
                return Ok(());
            }
            // Short: go on from the last whole block.
            let blocks = written / BLOCK * BLOCK;
            if blocks == 0 {
                fruitless += 1;
                if fruitless >= FRUITLESS_WRITES_MAX {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                super::super::executor::requeue().await;
                continue;
            }
            buf = Rc::new(AlignedBuf::of(&buf[blocks..]));
            pos += blocks as u64;
        }
    }

    async fn write_once(&self, buf: &Rc<AlignedBuf>, pos: u64, flags: i32) -> io::Result<usize> {
        match &self.0.handle {
            Handle::Direct(file) => {
                let (fd, len) = (Fd(file.as_raw_fd()), buf.len() as u32);
                let write = opcode::Write::new(fd, buf.as_ptr(), len).offset(pos).rw_flags(flags);
                self.on_ring(write.build(), Memory::ToWrite { _buf: buf.clone() }).await.0
            }
            Handle::Buffered(file) => {
                through_glommio(file.write_at(buf.to_vec(), pos)).await.map_err(io_error)
            }
        }
    }

    /// File and memory stay the ring's until the kernel has done with them.
    async fn on_ring(&self, entry: squeue::Entry, memory: Memory) -> (io::Result<usize>, Memory) {
        let held = Held { _file: self.clone(), memory };
        let (result, held) = engine::current().ring.disk(entry, held).await;
        (result, held.memory)
    }

    /// With one operation of `step` bytes after the other.
    pub async fn read_at(&self, pos: u64, len: usize, step: usize) -> io::Result<ReadBytes> {
        let end = pos.saturating_add(len as u64).min(self.len_now()?);
        if pos >= end {
            return Ok(ReadBytes::Heap(Rc::default()));
        }
        let first = self.read_once(pos, end, step).await?;
        let wanted = (end - pos) as usize;
        if first.len() >= wanted {
            return Ok(first);
        }
        let mut bytes = first.to_vec();
        while bytes.len() < wanted {
            let more = self.read_once(pos + bytes.len() as u64, end, step).await?;
            if more.is_empty() {
                break; // truncated under our feet
            }
            bytes.extend_from_slice(&more);
        }
        Ok(ReadBytes::Heap(Rc::new(bytes)))
    }

    /// Some bytes of `pos..end`, from `pos` on; empty only when the file ends there.
    async fn read_once(&self, pos: u64, end: u64, step: usize) -> io::Result<ReadBytes> {
        let mut fruitless = 0;
        loop {
            let result = match &self.0.handle {
                Handle::Direct(_) => {
                    let block = BLOCK as u64;
                    let start = pos / block * block;
                    let size = (end.next_multiple_of(block) - start) as usize;
                    self.read_blocks(start, size, step).await.map(|(buf, bytes)| {
                        let from = ((pos - start) as usize).min(bytes);
                        let to = ((end - start) as usize).min(bytes);
                        ReadBytes::Direct { buf: Rc::new(buf), from, to }
                    })
                }
                Handle::Buffered(file) => {
                    let read = through_glommio(file.read_at(pos, (end - pos) as usize));
                    read.await.map(ReadBytes::Buffered).map_err(io_error)
                }
            };
            match result {
                Err(e) if is_transient(&e) && fruitless < FRUITLESS_WRITES_MAX => {
                    fruitless += 1;
                    super::super::executor::requeue().await;
                }
                other => return other,
            }
        }
    }

    /// Whole blocks, and how many bytes of them the file has.
    async fn read_blocks(
        &self,
        start: u64,
        size: usize,
        step: usize,
    ) -> io::Result<(AlignedBuf, usize)> {
        let step = step.next_multiple_of(BLOCK);
        let mut buf = AlignedBuf::unzeroed(size);
        let mut done = 0;
        loop {
            let wanted = (size - done).min(step);
            let to = buf[done..].as_mut_ptr();
            let read = opcode::Read::new(Fd(self.fd()), to, wanted as u32);
            let read = read.offset(start + done as u64).build();
            let (result, memory) = self.on_ring(read, Memory::ToFill(buf)).await;
            let read = result?;
            let Memory::ToFill(lent) = memory else { unreachable!("what was lent") };
            buf = lent;
            done += read;
            if read < wanted || done == size {
                return Ok((buf, done));
            }
        }
    }

    pub async fn fdatasync(&self) -> io::Result<()> {
        match &self.0.handle {
            Handle::Direct(file) => {
                let sync = opcode::Fsync::new(Fd(file.as_raw_fd())).flags(FsyncFlags::DATASYNC);
                self.on_ring(sync.build(), Memory::None).await.0.map(|_| ())
            }
            Handle::Buffered(file) => through_glommio(file.fdatasync()).await.map_err(io_error),
        }
    }

    pub async fn preallocate(&self, size: u64) -> io::Result<()> {
        if size == 0 {
            return Ok(());
        }
        let result = match &self.0.handle {
            Handle::Direct(file) => through_glommio(file.pre_allocate(size, false)).await,
            Handle::Buffered(file) => through_glommio(file.pre_allocate(size, false)).await,
        };
        match result.map_err(io_error) {
            // No fallocate on this file system: at least the length is as promised.
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                if self.len_now()? < size {
                    self.truncate(size).await?;
                }
                Ok(())
            }
            other => other,
        }
    }

    pub async fn truncate(&self, size: u64) -> io::Result<()> {
        // A descriptor of its own: this one may be closed while the pool is still at it.
        // SAFETY: `self` keeps the descriptor open during this line.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd()) }.try_clone_to_owned()?;
        blocking::run(move || std::fs::File::from(fd).set_len(size)).await
    }

    pub async fn len(&self) -> io::Result<u64> {
        self.len_now()
    }

    /// By descriptor: glommio's own stats the path, which is wrong after a rename.
    fn len_now(&self) -> io::Result<u64> {
        // SAFETY: an all-zero stat is valid, and it outlives the call.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        match unsafe { libc::fstat(self.fd(), &mut stat) } {
            0 => Ok(stat.st_size as u64),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub async fn close(self) -> io::Result<()> {
        // With other handles about, the last of them closes the file when it is dropped.
        let Ok(Open { handle, .. }) = Rc::try_unwrap(self.0) else { return Ok(()) };
        match handle {
            Handle::Direct(file) => through_glommio(file.close()).await.map_err(io_error),
            Handle::Buffered(file) => through_glommio(file.close()).await.map_err(io_error),
        }
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

/// Opens a small non-empty file on the data device. Glommio decides by the first file an executor
/// opens there whether the device can be polled; were that file empty and writable, it would
/// misjudge it: reads fail with EOPNOTSUPP, and writes take about twice as long.
pub async fn prepare_device(dir: &Path) -> io::Result<()> {
    let name = format!(".first-open-{}-{:016x}", std::process::id(), fastrand::u64(..));
    let path = dir.join(name);
    let to_write = path.clone();
    let written = blocking::run(move || std::fs::write(to_write, vec![1u8; BLOCK])).await;
    if written.as_ref().is_err_and(super::super::disk::is_full) {
        let dir = dir.to_owned();
        let found = blocking::run(move || {
            let _ = std::fs::remove_file(&path);
            any_small_file(&dir)
        });
        // On a full disk one that is there does as well, opened to be read.
        return match found.await? {
            Some(there) => File::open(&there, OpenMode::Read).await?.close().await,
            None => written,
        };
    }
    written?;
    let opened = match File::open(&path, OpenMode::Read).await {
        Ok(file) => file.close().await,
        Err(e) => Err(e),
    };
    blocking::run(move || std::fs::remove_file(path)).await?;
    opened
}

fn any_small_file(dir: &Path) -> io::Result<Option<std::path::PathBuf>> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.metadata().is_ok_and(|m| m.is_file() && m.len() > 0) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}
