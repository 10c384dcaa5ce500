//! Walking the batches of any file of batches, written by us or by Kafka, of any format and in any state.
//! Invariant: memory is bounded by one window, or by one batch whose CRC is right, whatever lengths the
//! bytes claim; each step moves on. What is not a batch is told with its position, never an error.

use std::io;
use std::path::Path;

use super::super::scan::{CRC_START, has_sane_offsets};
use crate::runtime::offline::OfflineFile;
use crate::types::Offset;
use crate::wire::record_batch::{BatchHeader, HEADER_BYTES};

const WINDOW_BYTES: usize = 1024 * 1024;
/// Offset and size stand before a message of the older formats; CRC, magic and more are in its size.
const OLD_PREFIX_BYTES: u64 = 12;
const OLD_SIZE_MIN: i64 = 14;
const MAGIC_AT: usize = 16;

/// What is at a position of the file.
#[derive(Debug)]
pub(super) enum Step {
    /// A header of format v2 and as many bytes as it claims.
    Batch {
        position: u64,
        header: BatchHeader,
        computed_crc: u32,
    },
    /// A message of format v0 or v1 (Kafka before 0.11), or a wrapper around compressed ones.
    Old {
        position: u64,
        magic: i8,
        offset: Offset,
        bytes: u64,
        crc_matches: bool,
    },
    /// Zeros to the end of the file: preallocated and never written.
    Zeros {
        position: u64,
        bytes: u64,
    },
    /// No batch. Nothing after it can be found.
    Bad {
        position: u64,
        offset: Option<Offset>,
        why: String,
    },
    End,
}

pub(super) struct Batches {
    file: OfflineFile,
    window: Vec<u8>,
    window_at: u64,
    position: u64,
    ended: bool,
}

impl Batches {
    pub fn open(path: &Path) -> io::Result<Batches> {
        let file = OfflineFile::open(path)?;
        Ok(Batches { file, window: Vec::new(), window_at: 0, position: 0, ended: false })
    }

    pub fn file_bytes(&self) -> u64 {
        self.file.len()
    }

    /// Bytes from `at`: at least `want` of them unless the file ends before.
    fn view(&mut self, at: u64, want: usize) -> io::Result<&[u8]> {
        let end = self.window_at + self.window.len() as u64;
        let have = at >= self.window_at && at + want as u64 <= end;
        if !have {
            let left = usize::try_from(self.file.len().saturating_sub(at)).unwrap_or(usize::MAX);
            self.window.resize(left.min(want.max(WINDOW_BYTES)), 0);
            self.window_at = at;
            let n = self.file.read_at(at, &mut self.window)?;
            self.window.truncate(n);
        }
        Ok(&self.window[(at - self.window_at) as usize..])
    }

    pub fn next(&mut self) -> io::Result<Step> {
        let position = self.position;
        let left = self.file.len().saturating_sub(position);
        if self.ended || left == 0 {
            return Ok(Step::End);
        }
        let want = (HEADER_BYTES as u64).min(left) as usize;
        let head: Vec<u8> = self.view(position, want)?.iter().take(want).copied().collect();
        if head.len() < want {
            return Ok(self.bad(position, None, "the file became shorter while it was read"));
        }
        if head.iter().all(|b| *b == 0) {
            return self.zeros(position);
        }
        let offset = head.first_chunk::<8>().map(|b| i64::from_be_bytes(*b));
        if matches!(head.get(MAGIC_AT), Some(0 | 1)) {
            return self.old(position, &head);
        }
        if head.len() < HEADER_BYTES {
            let why = format!("{left} bytes where a batch header needs {HEADER_BYTES}");
            return Ok(self.bad(position, offset, &why));
        }
        let header = match BatchHeader::parse(&head) {
            Ok(header) => header,
            Err(e) => return Ok(self.bad(position, offset, &e.to_string())),
        };
        let size = header.size_bytes() as u64;
        if size > left {
            let why = format!("a batch of {size} bytes where the file has {left} more");
            return Ok(self.bad(position, offset, &why));
        }
        if !has_sane_offsets(&header) {
            let why = format!(
                "base offset {} with last offset delta {} can't be",
                header.base_offset, header.last_offset_delta
            );
            return Ok(self.bad(position, offset, &why));
        }
        let computed_crc = self.crc(position + CRC_START as u64, position + size)?;
        self.position = position + size;
        Ok(Step::Batch { position, header, computed_crc })
    }

    /// The bytes of a batch that `next` returned and whose CRC is right.
    pub fn batch_bytes(&mut self, position: u64, header: &BatchHeader) -> io::Result<&[u8]> {
        let size = header.size_bytes();
        let bytes = self.view(position, size)?;
        Ok(&bytes[..size.min(bytes.len())])
    }

    fn bad(&mut self, position: u64, offset: Option<Offset>, why: &str) -> Step {
        self.ended = true;
        Step::Bad { position, offset, why: why.to_string() }
    }

    fn zeros(&mut self, position: u64) -> io::Result<Step> {
        let mut at = position;
        while at < self.file.len() {
            let bytes = self.view(at, 1)?;
            if bytes.is_empty() {
                break;
            }
            if let Some(n) = bytes.iter().position(|b| *b != 0) {
                let why =
                    format!("zeros where a batch begins, and other bytes from {}", at + n as u64);
                return Ok(self.bad(position, None, &why));
            }
            at += bytes.len() as u64;
        }
        self.ended = true;
        Ok(Step::Zeros { position, bytes: self.file.len() - position })
    }

    fn old(&mut self, position: u64, head: &[u8]) -> io::Result<Step> {
        let number = |at: usize| {
            let bytes = head.get(at..at + 4).and_then(|b| b.try_into().ok()).unwrap_or([0; 4]);
            u32::from_be_bytes(bytes)
        };
        let offset = head.first_chunk::<8>().map_or(-1, |b| i64::from_be_bytes(*b));
        let (size, stored) = (i64::from(number(8) as i32), number(12));
        let left = self.file.len() - position;
        if size < OLD_SIZE_MIN || offset < 0 || size as u64 + OLD_PREFIX_BYTES > left {
            let why = format!("a message of {size} bytes and offset {offset} in an old format");
            return Ok(self.bad(position, Some(offset), &why));
        }
        let bytes = size as u64 + OLD_PREFIX_BYTES;
        let mut crc = crc32fast::Hasher::new();
        self.each_window(position + MAGIC_AT as u64, position + bytes, |b| crc.update(b))?;
        self.position = position + bytes;
        let crc_matches = crc.finalize() == stored;
        Ok(Step::Old { position, magic: head[MAGIC_AT] as i8, offset, bytes, crc_matches })
    }

    fn crc(&mut self, from: u64, to: u64) -> io::Result<u32> {
        let mut crc = 0;
        self.each_window(from, to, |bytes| crc = crc32c::crc32c_append(crc, bytes))?;
        Ok(crc)
    }

    fn each_window(&mut self, from: u64, to: u64, mut f: impl FnMut(&[u8])) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let bytes = self.view(at, 1)?;
            let n = bytes.len().min((to - at) as usize);
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            f(&bytes[..n]);
            at += n as u64;
        }
        Ok(())
    }
}
