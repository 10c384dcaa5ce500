//! The two ends of a cleaning run: the batches of a closed segment, read in windows and checked,
//! and the `.cleaned` file, written through one aligned buffer.
//! Invariants: a batch whose CRC is wrong is an error, never written again under a new one; memory
//! is two buffers, and one batch when it is larger.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::super::index::SegmentIndex;
use super::super::scan::has_sane_offsets;
use super::super::segment::{FileKind, Segment, SharedSegment, file_name, indexed};
use super::super::{LogError, Result, io_error};
use crate::runtime::{AlignedBuf, BLOCK, File, OpenMode, ReadBuf, disk};
use crate::types::Offset;
use crate::wire::record_batch::{BatchHeader, HEADER_BYTES, check_crc};

pub(super) struct Batches {
    file: File,
    path: PathBuf,
    position: u64,
    end: u64,
    window_bytes: usize,
    /// Where it begins in the file.
    window: (u64, ReadBuf),
}

pub(super) struct Read {
    pub header: BatchHeader,
    pub position: u64,
    pub bytes: ReadBuf,
    /// Read from the file for this batch: 0 when it was in the window.
    pub moved: u64,
}

impl Batches {
    pub async fn open(dir: &Path, segment: &SharedSegment, window_bytes: usize) -> Result<Batches> {
        Ok(Batches {
            file: segment.open_file(dir).await?,
            path: segment.path(dir, FileKind::Log),
            position: 0,
            end: segment.written.get(),
            window_bytes,
            window: (0, ReadBuf::from(Vec::new())),
        })
    }

    fn corrupt<T>(&self, why: impl ToString) -> Result<T> {
        let (path, position) = (self.path.clone(), self.position);
        Err(LogError::Corrupt { path, position, why: why.to_string() })
    }

    /// `len` bytes from the position, and how many were read from the file for it.
    async fn take(&mut self, len: usize) -> Result<(ReadBuf, u64)> {
        let (start, window) = &self.window;
        let at = (self.position - start) as usize;
        if at + len <= window.len() {
            return Ok((window.slice(at..at + len), 0));
        }
        let want = (self.end - self.position).min(self.window_bytes.max(len) as u64) as usize;
        let bytes = self.file.read_at(self.position, want).await.map_err(io_error(&self.path))?;
        if bytes.len() < len {
            return self.corrupt("the file ends before the segment does");
        }
        let moved = bytes.len() as u64;
        self.window = (self.position, bytes);
        Ok((self.window.1.slice(..len), moved))
    }

    pub async fn next(&mut self) -> Result<Option<Read>> {
        if self.position >= self.end {
            return Ok(None);
        }
        if self.end - self.position < HEADER_BYTES as u64 {
            return self.corrupt("fewer bytes than a batch header");
        }
        let (bytes, first) = self.take(HEADER_BYTES).await?;
        let header = match BatchHeader::parse(&bytes) {
            Ok(header) => header,
            Err(e) => return self.corrupt(e),
        };
        if header.size_bytes() as u64 > self.end - self.position || !has_sane_offsets(&header) {
            return self.corrupt("not a record batch");
        }
        let (bytes, second) = self.take(header.size_bytes()).await?;
        if let Err(e) = check_crc(&bytes) {
            return self.corrupt(e);
        }
        let position = self.position;
        self.position += header.size_bytes() as u64;
        Ok(Some(Read { header, position, bytes, moved: first + second }))
    }

    pub fn is_at_end(&self) -> bool {
        self.position >= self.end
    }
}

/// `<base>.log.cleaned`, and the indexes of it.
pub(super) struct CleanedFile {
    dir: PathBuf,
    base: Offset,
    path: PathBuf,
    file: File,
    buf: AlignedBuf,
    /// Bytes in `buf`, and before it in the file.
    filled: usize,
    flushed: u64,
    index: SegmentIndex,
    interval_bytes: u32,
    first_timestamp: Option<i64>,
    buf_bytes: usize,
}

pub(super) fn cleaned_name(base: Offset, kind: FileKind) -> String {
    format!("{}.cleaned", file_name(base, kind))
}

impl CleanedFile {
    pub async fn create(
        dir: &Path,
        base: Offset,
        interval_bytes: u32,
        buf_bytes: usize,
    ) -> Result<CleanedFile> {
        // What an earlier run left behind when its disk failed.
        remove_cleaned(dir, base).await;
        let path = dir.join(cleaned_name(base, FileKind::Log));
        let file = File::open(&path, OpenMode::Create).await.map_err(io_error(&path))?;
        file.truncate(0).await.map_err(io_error(&path))?;
        let buf_bytes = buf_bytes.next_multiple_of(BLOCK);
        Ok(CleanedFile {
            dir: dir.to_path_buf(),
            base,
            path,
            file,
            buf: AlignedBuf::unzeroed(buf_bytes),
            filled: 0,
            flushed: 0,
            index: SegmentIndex::new(base),
            interval_bytes,
            first_timestamp: None,
            buf_bytes,
        })
    }

    pub fn bytes(&self) -> u64 {
        self.flushed + self.filled as u64
    }

    /// A whole batch. Returns the bytes that went to the disk meanwhile.
    pub async fn append(&mut self, batch: &[u8]) -> Result<u64> {
        let header = match BatchHeader::parse(batch) {
            Ok(header) => header,
            Err(e) => unreachable!("the cleaner writes batches: {e}"),
        };
        self.index.observe(indexed(&header, self.bytes()), self.interval_bytes);
        self.first_timestamp.get_or_insert(header.max_timestamp);
        let (mut rest, mut moved) = (batch, 0);
        while !rest.is_empty() {
            let n = rest.len().min(self.buf.len() - self.filled);
            self.buf[self.filled..self.filled + n].copy_from_slice(&rest[..n]);
            self.filled += n;
            rest = &rest[n..];
            if self.filled == self.buf.len() {
                moved += self.flush().await?;
            }
        }
        Ok(moved)
    }

    async fn flush(&mut self) -> Result<u64> {
        let mut full = std::mem::replace(&mut self.buf, AlignedBuf::unzeroed(self.buf_bytes));
        let len = self.filled.next_multiple_of(BLOCK);
        full[self.filled..len].fill(0);
        full.truncate(len);
        self.file.write_at(Rc::new(full), self.flushed).await.map_err(io_error(&self.path))?;
        self.flushed += self.filled as u64;
        self.filled = 0;
        Ok(len as u64)
    }

    /// Everything durable, under the names `.cleaned`. `aborted`: the transaction index, `None` when
    /// no segment that is replaced had one.
    pub async fn finish(
        mut self,
        next: Offset,
        created_ms: i64,
        aborted: Option<Vec<u8>>,
    ) -> Result<Segment> {
        let size = self.bytes();
        if self.filled > 0 {
            self.flush().await?;
        }
        self.file.truncate(size).await.map_err(io_error(&self.path))?;
        self.file.fdatasync().await.map_err(io_error(&self.path))?;
        self.index.add_time_entry();
        self.index.dirty = false;
        let side = |kind| self.dir.join(cleaned_name(self.base, kind));
        let mut files = vec![
            (side(FileKind::Index), self.index.encode_offsets()),
            (side(FileKind::TimeIndex), self.index.encode_times()),
        ];
        files.extend(aborted.map(|bytes| (side(FileKind::TxnIndex), bytes)));
        for (path, bytes) in files {
            disk::write_file_atomic(&path, bytes).await.map_err(io_error(&path))?;
        }
        disk::sync_dir(&self.dir).await.map_err(io_error(&self.dir))?;
        let segment = Segment::existing(self.base, size, created_ms);
        segment.next.set(next);
        segment.finished.set(true);
        segment.first_timestamp.set(self.first_timestamp.unwrap_or(-1));
        segment.set_file(self.file);
        *segment.index.borrow_mut() = Some(Box::new(self.index));
        Ok(segment)
    }
}

impl CleanedFile {
    pub async fn discard(self) {
        let _ = self.file.close().await;
        remove_cleaned(&self.dir, self.base).await;
    }
}

/// After a run that came to nothing. What can't be removed now goes at the next start.
pub(super) async fn remove_cleaned(dir: &Path, base: Offset) {
    for kind in FileKind::ALL {
        let path = dir.join(cleaned_name(base, kind));
        match disk::remove_file(&path).await {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!("{}: {e}: left for the next start to remove", path.display());
            }
            _ => {}
        }
    }
}
