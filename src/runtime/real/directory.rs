//! Directories and small whole files, on the blocking pool (glommio would do some of these inline
//! on the shard). Durability is explicit: what says "durable" has synced the directory.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::super::disk::DirEntry;
use super::blocking;

pub async fn list_dir(path: &Path) -> io::Result<Vec<DirEntry>> {
    let path = path.to_owned();
    blocking::run(move || {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue, // removed meanwhile
                Err(e) => return Err(e),
            };
            entries.push(DirEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_dir: metadata.is_dir(),
                len: metadata.len(),
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    })
    .await
}

fn sync_dir_now(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// The directory that holds `path` ("." for a bare name).
fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => path.to_owned(),
    }
}

/// False: it was there.
fn make_dir(path: &Path) -> io::Result<bool> {
    match fs::create_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        made => made.map(|()| true),
    }
}

pub async fn create_dir(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    blocking::run(move || make_dir(&path).map(|_| ())).await
}

pub async fn create_dir_all(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    blocking::run(move || {
        let mut missing = Vec::new();
        let mut at = path.clone();
        while !at.is_dir() {
            missing.push(at.clone());
            let above = parent(&at);
            if above == at {
                break;
            }
            at = above;
        }
        for dir in missing.iter().rev() {
            if make_dir(dir)? {
                sync_dir_now(&parent(dir))?;
            }
        }
        Ok(())
    })
    .await
}

pub async fn remove_dir_all(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    blocking::run(move || fs::remove_dir_all(path)).await
}

pub async fn remove_file(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    blocking::run(move || fs::remove_file(path)).await
}

pub async fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (from.to_owned(), to.to_owned());
    blocking::run(move || fs::rename(from, to)).await
}

pub async fn sync_dir(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    blocking::run(move || sync_dir_now(&path)).await
}

pub async fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let path = path.to_owned();
    blocking::run(move || fs::read(path)).await
}

pub async fn write_file_atomic(path: &Path, bytes: Vec<u8>) -> io::Result<()> {
    let path = path.to_owned();
    blocking::run(move || {
        replace_file_now(&path, &bytes, true)?;
        sync_dir_now(&parent(&path))
    })
    .await
}

pub async fn replace_file(path: &Path, bytes: Vec<u8>) -> io::Result<()> {
    let path = path.to_owned();
    blocking::run(move || replace_file_now(&path, &bytes, false)).await
}

fn replace_file_now(path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    let mut temporary = path.to_owned().into_os_string();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let mut file = fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    if sync {
        file.sync_all()?;
    }
    drop(file);
    fs::rename(&temporary, path)
}

pub async fn sync_file_system(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    blocking::run(move || {
        let dir = fs::File::open(path)?;
        // SAFETY: a plain system call on a descriptor that is open until its return.
        match unsafe { libc::syncfs(dir.as_raw_fd()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    })
    .await
}

pub async fn truncate_file(path: &Path, size: u64) -> io::Result<()> {
    let path = path.to_owned();
    blocking::run(move || fs::OpenOptions::new().write(true).open(path)?.set_len(size)).await
}

pub async fn write_file(path: &Path, bytes: Vec<u8>) -> io::Result<()> {
    let path = path.to_owned();
    blocking::run(move || fs::write(path, bytes)).await
}

pub async fn disk_space(path: &Path) -> io::Result<(u64, u64)> {
    let path = super::probe::c_path(path)?;
    blocking::run(move || {
        // SAFETY: an all-zero statvfs is valid; path and buffer outlive the call.
        let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
        if unsafe { libc::statvfs(path.as_ptr(), &mut stat) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
    })
    .await
}

pub struct DirLock {
    /// flock goes with the open file: closing it releases the lock.
    _file: fs::File,
}

pub async fn lock_dir(path: &Path) -> io::Result<DirLock> {
    let path = path.join(".lock");
    blocking::run(move || {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(DirLock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(e)) => Err(e),
        }
    })
    .await
}
