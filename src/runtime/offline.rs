//! Blocking, read-only access to files and directories, for commands that run without an executor
//! (`spindle log …`). Through the page cache: no alignment, no O_DIRECT, no ring. There is nothing here
//! that could write. Not for a shard: a call may wait for the disk.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::disk::DirEntry;

pub struct OfflineFile {
    file: fs::File,
    len: u64,
}

#[allow(clippy::len_without_is_empty)] // an empty file is nothing special here
impl OfflineFile {
    pub fn open(path: &Path) -> io::Result<OfflineFile> {
        let file = fs::File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(OfflineFile { len: metadata.len(), file })
    }

    /// Length when it was opened.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buf` from `position`; the number of bytes is smaller only at the end of the file.
    pub fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.file.read_at(&mut buf[done..], position + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }
}

/// Sorted by name; what is neither a file nor a directory is left out.
pub fn list_dir(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = match fs::metadata(entry.path()) {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue, // gone, or a dead link
            Err(e) => return Err(e),
        };
        if metadata.is_file() || metadata.is_dir() {
            entries.push(DirEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_dir: metadata.is_dir(),
                len: metadata.len(),
            });
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Whether there is a directory of this name.
pub fn is_dir(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.is_dir())
}
