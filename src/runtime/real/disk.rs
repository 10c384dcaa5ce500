//! Files on glommio: O_DIRECT reads and writes on the ring, names and small files on the blocking
//! pool. Alignment is 4096 always: glommio's probe may have looked at another disk.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use glommio::io::{DmaBuffer, DmaFile, OpenOptions, ReadResult};

use super::io_error;
use crate::runtime::disk::{BLOCK, DirEntry, DiskProbe, OpenMode};
use crate::runtime::real::executor::run_blocking;

/// Zeroed: glommio's buffers come uninitialised.
pub(in crate::runtime) fn zeroed(len: usize) -> Rc<DmaBuffer> {
    let mut buffer = glommio::allocate_dma_buffer_global(len.max(BLOCK));
    buffer.as_bytes_mut().fill(0);
    Rc::new(buffer)
}

#[derive(Clone)]
pub(in crate::runtime) struct File {
    file: Rc<DmaFile>,
}

impl File {
    pub(in crate::runtime) async fn open(path: &Path, mode: OpenMode) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => {
                options.write(true);
            }
            OpenMode::Create => {
                options.write(true).create(true);
            }
        }
        let file = options.dma_open(path).await.map_err(io_error)?;
        Ok(File { file: Rc::new(file) })
    }

    pub(in crate::runtime) async fn write_at(
        &self,
        buf: Rc<DmaBuffer>,
        pos: u64,
    ) -> io::Result<()> {
        let len = buf.len();
        let mut written = self.file.write_rc_at(buf.clone(), pos).await.map_err(io_error)?;
        // A short write (a full disk, a signal) leaves a rest that must start at a block again.
        while written < len {
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            written -= written % BLOCK;
            let mut rest = glommio::allocate_dma_buffer_global(len - written);
            rest.as_bytes_mut().copy_from_slice(&buf.as_bytes()[written..]);
            let more = self.file.write_at(rest, pos + written as u64).await.map_err(io_error)?;
            if more == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            written += more;
        }
        Ok(())
    }

    pub(in crate::runtime) async fn read_at(&self, pos: u64, len: usize) -> io::Result<ReadResult> {
        // Past the end, glommio returns bytes that are not the file's.
        let end = self.len()?;
        let len = len.min(end.saturating_sub(pos) as usize);
        self.file.read_at(pos, len).await.map_err(io_error)
    }

    pub(in crate::runtime) async fn fdatasync(&self) -> io::Result<()> {
        self.file.fdatasync().await.map_err(io_error)
    }

    pub(in crate::runtime) async fn preallocate(&self, size: u64) -> io::Result<()> {
        self.file.pre_allocate(size, false).await.map_err(io_error)
    }

    pub(in crate::runtime) async fn truncate(&self, size: u64) -> io::Result<()> {
        self.file.truncate(size).await.map_err(io_error)
    }

    /// fstat on the descriptor: glommio's own goes by path and is wrong after a rename.
    pub(in crate::runtime) fn len(&self) -> io::Result<u64> {
        // SAFETY: a zeroed stat is a valid out-parameter; the descriptor is open.
        unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            match libc::fstat(self.file.as_raw_fd(), &mut stat) {
                0 => Ok(stat.st_size as u64),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    pub(in crate::runtime) async fn close(self) -> io::Result<()> {
        // Other handles keep it open; the last one closes.
        self.file.close_rc().await.map(|_| ()).map_err(io_error)
    }
}

/// Opens and closes a small file that is not empty: the first file an executor opens decides what
/// glommio believes of the device, and an empty read-write one makes it believe the worst.
pub(in crate::runtime) async fn open_probe_file(path: &Path) -> io::Result<()> {
    let file = DmaFile::open(path).await.map_err(io_error)?;
    file.close().await.map_err(io_error)
}

/// Runs `f` with an owned path on the blocking pool.
async fn with_path<T: Send + 'static>(
    path: &Path,
    f: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let path = path.to_path_buf();
    run_blocking(move || f(path)).await
}

fn sync_path(path: &Path) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if p != Path::new("") => p,
        _ => Path::new("."),
    }
}

pub(in crate::runtime) async fn list_dir(path: &Path) -> io::Result<Vec<DirEntry>> {
    with_path(path, |path| {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            // Gone between the listing and the look: not there.
            let Ok(meta) = entry.metadata() else { continue };
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push(DirEntry { name, is_dir: meta.is_dir(), len: meta.len() });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    })
    .await
}

pub(in crate::runtime) async fn create_dir_all(path: &Path) -> io::Result<()> {
    with_path(path, |path| {
        let mut missing: Vec<&Path> = Vec::new();
        let mut at = path.as_path();
        while !at.exists() {
            missing.push(at);
            at = parent(at);
            if at == Path::new(".") {
                break;
            }
        }
        for dir in missing.into_iter().rev() {
            match std::fs::create_dir(dir) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => sync_path(parent(dir))?,
            }
        }
        Ok(())
    })
    .await
}

pub(in crate::runtime) async fn remove_dir_all(path: &Path) -> io::Result<()> {
    with_path(path, std::fs::remove_dir_all).await
}

pub(in crate::runtime) async fn remove_file(path: &Path) -> io::Result<()> {
    with_path(path, std::fs::remove_file).await
}

pub(in crate::runtime) async fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let to = to.to_path_buf();
    with_path(from, move |from| std::fs::rename(from, to)).await
}

pub(in crate::runtime) async fn sync_dir(path: &Path) -> io::Result<()> {
    with_path(path, |path| sync_path(&path)).await
}

pub(in crate::runtime) async fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    with_path(path, std::fs::read).await
}

pub(in crate::runtime) async fn write_file_atomic(path: &Path, bytes: Vec<u8>) -> io::Result<()> {
    with_path(path, move |path| {
        let mut tmp = path.clone().into_os_string();
        tmp.push(".tmp");
        let tmp = PathBuf::from(tmp);
        std::fs::write(&tmp, bytes)?;
        sync_path(&tmp)?;
        std::fs::rename(&tmp, &path)?;
        sync_path(parent(&path))
    })
    .await
}

pub(in crate::runtime) async fn write_file(path: &Path, bytes: Vec<u8>) -> io::Result<()> {
    with_path(path, move |path| std::fs::write(path, bytes)).await
}

fn c_path(path: &Path) -> io::Result<std::ffi::CString> {
    use std::os::unix::ffi::OsStrExt;
    Ok(std::ffi::CString::new(path.as_os_str().as_bytes())?)
}

fn statfs(path: &Path) -> io::Result<libc::statfs> {
    let path = c_path(path)?;
    // SAFETY: a zeroed statfs is a valid out-parameter; the path is NUL-terminated.
    unsafe {
        let mut stat: libc::statfs = std::mem::zeroed();
        match libc::statfs(path.as_ptr(), &mut stat) {
            0 => Ok(stat),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

pub(in crate::runtime) async fn disk_space(path: &Path) -> io::Result<(u64, u64)> {
    with_path(path, |path| {
        let stat = statfs(&path)?;
        let block = stat.f_bsize as u64;
        Ok((stat.f_blocks as u64 * block, stat.f_bavail as u64 * block))
    })
    .await
}

/// The lock goes with the descriptor.
pub(in crate::runtime) struct DirLock {
    _file: std::fs::File,
}

pub(in crate::runtime) async fn lock_dir(path: &Path) -> io::Result<DirLock> {
    with_path(path, |path| {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(".lock"))?;
        // SAFETY: flock on a descriptor that `file` keeps open.
        match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
            0 => Ok(DirLock { _file: file }),
            _ => Err(io::Error::last_os_error()),
        }
    })
    .await
}

pub(in crate::runtime) async fn probe(dir: &Path) -> io::Result<DiskProbe> {
    const ROUNDS: u32 = 16;
    let kind = statfs(dir)?.f_type as u64;
    let file_system = match kind {
        0xEF53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683E => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlayfs",
        0x6969 => "nfs",
        _ => "another file system",
    };
    let path = dir.join(".probe.tmp");
    std::fs::write(&path, vec![0u8; 2 * BLOCK])?;
    open_probe_file(&path).await?;
    let file = File::open(&path, OpenMode::ReadWrite).await?;
    let time = |started: std::time::Instant| started.elapsed().as_secs_f64() * 1e6 / ROUNDS as f64;
    let buffer = zeroed(BLOCK);
    let started = std::time::Instant::now();
    for _ in 0..ROUNDS {
        file.write_at(buffer.clone(), 0).await?;
    }
    let write_4k_us = time(started);
    let started = std::time::Instant::now();
    for _ in 0..ROUNDS {
        file.write_at(buffer.clone(), 0).await?;
        file.fdatasync().await?;
    }
    let fdatasync_us = time(started);
    file.close().await?;
    std::fs::remove_file(&path)?;
    let o_direct = kind != 0x0102_1994;
    Ok(DiskProbe { file_system: file_system.to_string(), o_direct, write_4k_us, fdatasync_us })
}
