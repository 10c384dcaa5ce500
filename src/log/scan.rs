//! Walking the batches of a segment file from a position, in windows, with or without their CRC.
//! Invariant: memory is bounded by one window whatever lengths the bytes claim. Never trusts what
//! it reads: anything that is not a whole valid batch is `Bad` at its position, not an error.

use std::io;

use crate::runtime::{File, ReadBuf, yield_if_needed};
use crate::wire::record_batch::{BatchHeader, HEADER_BYTES};

const WINDOW_BYTES: u64 = 1024 * 1024;
/// The CRC covers the batch from its attributes on.
pub(super) const CRC_START: usize = 21;

pub(super) struct BatchScan {
    file: File,
    position: u64,
    end: u64,
    window: Option<(u64, ReadBuf)>,
}

pub(super) enum Scanned {
    Batch { header: BatchHeader, position: u64 },
    End,
    Bad { position: u64, why: String },
}

impl BatchScan {
    pub fn new(file: File, position: u64, end: u64) -> BatchScan {
        BatchScan { file, position, end, window: None }
    }

    /// Reads so that `at` and up to `len` bytes after it are in the window.
    async fn fill(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        let have = match &self.window {
            Some((start, bytes)) => *start <= at && at + len as u64 <= start + bytes.len() as u64,
            None => false,
        };
        if !have {
            let want = (self.end - at).min(WINDOW_BYTES.max(len as u64)) as usize;
            let bytes = self.file.read_at(at, want).await?;
            self.window = Some((at, bytes));
        }
        match &self.window {
            Some((start, bytes)) => Ok(&bytes[(at - start) as usize..]),
            None => Ok(&[]),
        }
    }

    pub async fn next(&mut self, check_crc: bool) -> io::Result<Scanned> {
        yield_if_needed().await;
        let position = self.position;
        if position >= self.end {
            return Ok(Scanned::End);
        }
        let left = self.end - position;
        if left < HEADER_BYTES as u64 {
            return Ok(bad(position, "fewer bytes than a batch header"));
        }
        let header = match BatchHeader::parse(self.fill(position, HEADER_BYTES).await?) {
            Ok(header) => header,
            Err(e) => return Ok(bad(position, &e.to_string())),
        };
        let size = header.size_bytes() as u64;
        if size < HEADER_BYTES as u64 || size > left {
            return Ok(bad(position, "the batch is longer than the file"));
        }
        if !has_sane_offsets(&header) {
            return Ok(bad(position, "offsets out of range"));
        }
        if check_crc {
            let computed = self.crc(position + CRC_START as u64, position + size).await?;
            if computed != Some(header.crc) {
                return Ok(bad(position, "CRC-32C does not match"));
            }
        }
        self.position = position + size;
        Ok(Scanned::Batch { header, position })
    }

    async fn crc(&mut self, from: u64, to: u64) -> io::Result<Option<u32>> {
        let mut at = from;
        let mut crc = 0;
        while at < to {
            yield_if_needed().await;
            let bytes = self.fill(at, 1).await?;
            let n = bytes.len().min((to - at) as usize);
            if n == 0 {
                return Ok(None);
            }
            crc = crc32c::crc32c_append(crc, &bytes[..n]);
            at += n as u64;
        }
        Ok(Some(crc))
    }
}

/// Offsets that can be added to without overflow.
pub(super) fn has_sane_offsets(header: &BatchHeader) -> bool {
    (0..i64::MAX - i32::MAX as i64).contains(&header.base_offset) && header.last_offset_delta >= 0
}

fn bad(position: u64, why: &str) -> Scanned {
    Scanned::Bad { position, why: why.to_string() }
}
