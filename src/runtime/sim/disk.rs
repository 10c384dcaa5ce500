//! Stub.

use crate::runtime::disk::{DirEntry, DiskProbe, OpenMode};
use std::io;
use std::path::Path;

#[derive(Clone)]
pub struct File {}

#[allow(clippy::len_without_is_empty)]
impl File {
    pub async fn open(_path: &Path, _mode: OpenMode) -> io::Result<File> {
        todo!()
    }
    pub async fn write_at(&self, _buf: &[u8], _pos: u64) -> io::Result<()> {
        todo!()
    }
    pub async fn read_at(&self, _pos: u64, _len: usize) -> io::Result<Vec<u8>> {
        todo!()
    }
    pub async fn fdatasync(&self) -> io::Result<()> {
        todo!()
    }
    pub async fn preallocate(&self, _size: u64) -> io::Result<()> {
        todo!()
    }
    pub async fn truncate(&self, _size: u64) -> io::Result<()> {
        todo!()
    }
    pub async fn len(&self) -> io::Result<u64> {
        todo!()
    }
    pub async fn close(self) -> io::Result<()> {
        todo!()
    }
}

pub async fn list_dir(_path: &Path) -> io::Result<Vec<DirEntry>> {
    todo!()
}
pub async fn create_dir_all(_path: &Path) -> io::Result<()> {
    todo!()
}
pub async fn remove_dir_all(_path: &Path) -> io::Result<()> {
    todo!()
}
pub async fn remove_file(_path: &Path) -> io::Result<()> {
    todo!()
}
pub async fn rename(_from: &Path, _to: &Path) -> io::Result<()> {
    todo!()
}
pub async fn sync_dir(_path: &Path) -> io::Result<()> {
    todo!()
}
pub async fn read_file(_path: &Path) -> io::Result<Vec<u8>> {
    todo!()
}
pub async fn write_file_atomic(_path: &Path, _bytes: Vec<u8>) -> io::Result<()> {
    todo!()
}
pub async fn write_file(_path: &Path, _bytes: Vec<u8>) -> io::Result<()> {
    todo!()
}
pub async fn disk_space(_path: &Path) -> io::Result<(u64, u64)> {
    todo!()
}
pub struct DirLock {}
pub async fn lock_dir(_path: &Path) -> io::Result<DirLock> {
    todo!()
}
pub async fn probe(_dir: &Path) -> io::Result<DiskProbe> {
    todo!()
}
