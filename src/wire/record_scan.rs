//! The check of a produced batch's records that costs least: lengths, offset deltas and counts, fields
//! that fill their records. Keys, values and decompressed bytes are passed over in pieces, not kept.
//! It answers "all is well" or "look closer": only a walk with `records` says what is wrong, so this one
//! may be strict and has no messages. Pure; a batch costs no allocation, and a record as large as you like
//! no memory: one that is cut by the end of a piece is walked as its bytes come (`CutRecord`).

use super::compression;
use super::record_batch::{BatchError, BatchHeader};
use crate::types::Compression;

/// What of the records a topic asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    Any,
    /// The topic is compacted.
    Required,
}

/// Whether `body`, all after the header of a batch, holds exactly the records that `header` says. An error
/// when it does not decompress, or to more than `limit` bytes: a closer look would find no more.
pub(super) fn is_well(
    header: &BatchHeader,
    body: &[u8],
    keys: Keys,
    limit: usize,
) -> Result<bool, BatchError> {
    let Some(codec) = header.compression() else { return Ok(false) };
    let mut scan = Scan::new(keys);
    let mut left = limit;
    let mut too_large = false;
    let mut well = true;
    compression::for_each_piece(codec, body, &mut |piece| {
        too_large = codec != Compression::None && piece.len() > left;
        well = !too_large && scan.piece(piece);
        left = left.saturating_sub(piece.len());
        well
    })?;
    if too_large {
        return Err(BatchError::TooLarge { limit });
    }
    Ok(well && scan.is_all_of(header))
}

/// The look at records that come piece by piece.
pub(super) struct Scan {
    /// Records so far: the next one's offset delta.
    count: i32,
    keys: Keys,
    /// The record whose rest is in the next piece.
    cut: Option<CutRecord>,
}

enum Ran<'a> {
    All,
    /// The start of a record.
    Left(&'a [u8]),
    Wrong,
}

/// A record at the start of some bytes.
enum Length {
    /// The bytes of its length and all.
    Known(usize, usize),
    /// The length itself is cut.
    Cut,
    Wrong,
}

impl Scan {
    pub fn new(keys: Keys) -> Scan {
        Scan { count: 0, keys, cut: None }
    }

    /// Whether what came was all that `header` says, when no piece was wrong.
    pub fn is_all_of(&self, header: &BatchHeader) -> bool {
        self.cut.is_none() && self.count == header.record_count
    }

    /// The next bytes of the records; false when they are wrong: then there is no next.
    pub fn piece(&mut self, mut piece: &[u8]) -> bool {
        if let Some(mut record) = self.cut.take() {
            match record.take(self, &mut piece) {
                Some(true) => self.count += 1,
                Some(false) => {
                    self.cut = Some(record);
                    return true;
                }
                None => return false,
            }
        }
        match self.run(piece) {
            Ran::All => true,
            Ran::Left(mut start) => {
                let mut record = CutRecord::new();
                let fits = record.take(self, &mut start) == Some(false);
                self.cut = Some(record);
                fits
            }
            Ran::Wrong => false,
        }
    }

    fn run<'a>(&mut self, mut bytes: &'a [u8]) -> Ran<'a> {
        while !bytes.is_empty() {
            if let Some(total) = self.glance(bytes) {
                self.count += 1;
                bytes = &bytes[total..];
                continue;
            }
            let (from, total) = match length(bytes) {
                Length::Known(from, total) => (from, total),
                Length::Cut => return Ran::Left(bytes),
                Length::Wrong => return Ran::Wrong,
            };
            let Some((record, rest)) = bytes.split_at_checked(total) else {
                return Ran::Left(bytes);
            };
            if self.record(&record[from..]).is_none() {
                return Ran::Wrong;
            }
            bytes = rest;
        }
        Ran::All
    }

    /// The size of a record that is as most are: whole and well, its numbers of one byte or two (its place
    /// of three), without headers. `None` says nothing of it.
    #[inline(always)]
    fn glance(&self, bytes: &[u8]) -> Option<usize> {
        let head: &[u8; HEAD_BYTES] = bytes.first_chunk()?;
        let (len, at) = short(head, 0)?;
        let total = at + field_bytes(len)?;
        let (_, at) = short(head, at + 1)?;
        let (place, at) = short_of_three(head, at)?;
        let (key, at) = short(head, at)?;
        if place != self.count as u32 * 2 || (key == NULL && self.keys == Keys::Required) {
            return None;
        }
        let value_at = at + field_bytes(key)?;
        let &[first, second] = bytes.get(value_at..)?.first_chunk::<2>()?;
        let (value, value_from) = match (first < 0x80, second < 0x80) {
            (true, _) => (u32::from(first), value_at + 1),
            (false, true) => (u32::from(first & 0x7f) | u32::from(second) << 7, value_at + 2),
            (false, false) => return None,
        };
        let end = value_from + field_bytes(value)?;
        // The header count, which is the last byte when it is zero.
        (end + 1 == total && bytes.get(end) == Some(&0)).then_some(total)
    }

    /// `None`: not as it must be.
    #[inline]
    fn record(&mut self, record: &[u8]) -> Option<()> {
        // After the attributes; what the timestamp says is of no interest here.
        let (_, at) = varint(record, 1, VARLONG_BYTES)?;
        let (offset_delta, at) = varint(record, at, VARINT_BYTES)?;
        if offset_delta != i64::from(self.count) {
            return None;
        }
        let (key_len, at) = varint(record, at, VARINT_BYTES)?;
        if key_len < 0 && self.keys == Keys::Required {
            return None;
        }
        let at = skip(record, at, key_len)?;
        let (value_len, at) = varint(record, at, VARINT_BYTES)?;
        let at = skip(record, at, value_len)?;
        let (header_count, mut at) = varint(record, at, VARINT_BYTES)?;
        if header_count < 0 {
            return None;
        }
        for _ in 0..header_count {
            let (name_len, name) = varint(record, at, VARINT_BYTES)?;
            if name_len < 0 {
                return None;
            }
            let (value_len, value) = varint(record, skip(record, name, name_len)?, VARINT_BYTES)?;
            at = skip(record, value, value_len)?;
        }
        if at != record.len() {
            return None;
        }
        self.count += 1;
        Some(())
    }
}

/// A record that is read as its bytes come: its numbers are put together from their bytes, names, keys and
/// values are passed over.
struct CutRecord {
    /// Bytes of the record that are still to come; of no meaning before its length is known.
    left: usize,
    /// Of those, the bytes to pass over before the next number.
    skip: usize,
    number: [u8; VARLONG_BYTES],
    number_bytes: usize,
    next: Number,
}

/// Which number comes next.
#[derive(Clone, Copy)]
enum Number {
    Length,
    Timestamp,
    OffsetDelta,
    KeyLength,
    ValueLength,
    HeaderCount,
    /// Of so many headers, this one's included.
    NameLength(i64),
    HeaderLength(i64),
    /// None: the record ends when its bytes are passed over.
    End,
}

impl CutRecord {
    fn new() -> CutRecord {
        CutRecord {
            left: 0,
            skip: 0,
            number: [0; VARLONG_BYTES],
            number_bytes: 0,
            next: Number::Length,
        }
    }

    /// Takes from `bytes` what is the record's: true at its end, false when there must be more.
    /// `None`: not as it must be.
    fn take(&mut self, scan: &Scan, bytes: &mut &[u8]) -> Option<bool> {
        loop {
            let passed = self.skip.min(bytes.len());
            *bytes = &bytes[passed..];
            self.skip -= passed;
            self.left -= passed;
            if self.skip == 0 && matches!(self.next, Number::End) {
                return (self.left == 0).then_some(true);
            }
            let Some((&byte, rest)) = bytes.split_first() else { return Some(false) };
            *bytes = rest;
            if !matches!(self.next, Number::Length) {
                self.left = self.left.checked_sub(1)?;
            }
            let bytes_max = match self.next {
                Number::Timestamp => VARLONG_BYTES,
                _ => VARINT_BYTES,
            };
            *self.number[..bytes_max].get_mut(self.number_bytes)? = byte;
            self.number_bytes += 1;
            if byte < 0x80 {
                let (value, _) = varint(&self.number[..self.number_bytes], 0, bytes_max)?;
                self.number_bytes = 0;
                self.took(scan, value)?;
            }
        }
    }

    fn took(&mut self, scan: &Scan, value: i64) -> Option<()> {
        let len = usize::try_from(value).unwrap_or(0);
        (self.skip, self.next) = match self.next {
            Number::Length => {
                self.left = usize::try_from(value).ok()?;
                // The attributes.
                (1, Number::Timestamp)
            }
            Number::Timestamp => (0, Number::OffsetDelta),
            Number::OffsetDelta if value == i64::from(scan.count) => (0, Number::KeyLength),
            Number::KeyLength if value >= 0 || scan.keys == Keys::Any => (len, Number::ValueLength),
            Number::ValueLength => (len, Number::HeaderCount),
            Number::HeaderCount if value == 0 => (0, Number::End),
            Number::HeaderCount if value > 0 => (0, Number::NameLength(value)),
            Number::NameLength(headers) if value >= 0 => (len, Number::HeaderLength(headers)),
            Number::HeaderLength(1) => (len, Number::End),
            Number::HeaderLength(headers) => (len, Number::NameLength(headers - 1)),
            _ => return None,
        };
        (self.skip <= self.left).then_some(())
    }
}

/// What `glance` has of a record at hand: its numbers up to the key's length take eleven bytes at most.
const HEAD_BYTES: usize = 16;

/// The length of a field that is null, before its sign is unfolded.
const NULL: u32 = 1;

/// The bytes of a field, by its length as it is written.
#[inline(always)]
fn field_bytes(len: u32) -> Option<usize> {
    match len {
        NULL => Some(0),
        _ => (len & 1 == 0).then_some(len as usize / 2),
    }
}

/// A number of one byte or two, as it is written, and where it ends.
#[inline(always)]
fn short(head: &[u8; HEAD_BYTES], at: usize) -> Option<(u32, usize)> {
    // The mask spares a check that `at` is within: it is, and else a wrong number would only be looked at
    // more closely.
    let first = head[at % HEAD_BYTES];
    if first < 0x80 {
        return Some((first.into(), at + 1));
    }
    let second = head[(at + 1) % HEAD_BYTES];
    (second < 0x80).then(|| (u32::from(first & 0x7f) | u32::from(second) << 7, at + 2))
}

/// As `short`, of three at most: places in a batch of more than 8,192 records.
#[inline(always)]
fn short_of_three(head: &[u8; HEAD_BYTES], at: usize) -> Option<(u32, usize)> {
    short(head, at).or_else(|| {
        let low = u32::from(head[at % HEAD_BYTES] & 0x7f)
            | u32::from(head[(at + 1) % HEAD_BYTES] & 0x7f) << 7;
        let third = head[(at + 2) % HEAD_BYTES];
        (third < 0x80).then(|| (low | u32::from(third) << 14, at + 3))
    })
}

const VARINT_BYTES: usize = 5;
const VARLONG_BYTES: usize = 10;

#[inline]
fn length(bytes: &[u8]) -> Length {
    match varint(bytes, 0, VARINT_BYTES) {
        Some((len, from)) => match usize::try_from(len) {
            Ok(len) => Length::Known(from, from + len),
            Err(_) => Length::Wrong,
        },
        None if bytes.len() < VARINT_BYTES => Length::Cut,
        None => Length::Wrong,
    }
}

/// The value at `at` and where it ends. `None` when it is cut, longer than `bytes_max`, or, of the shorter
/// kind, does not fit 32 bits.
#[inline]
fn varint(bytes: &[u8], at: usize, bytes_max: usize) -> Option<(i64, usize)> {
    // Lengths below 8 KiB and the deltas of most batches.
    let &first = bytes.get(at)?;
    if first < 0x80 {
        return Some((zigzag(u64::from(first)), at + 1));
    }
    let &second = bytes.get(at + 1)?;
    if second < 0x80 {
        return Some((zigzag(u64::from(first & 0x7f) | u64::from(second) << 7), at + 2));
    }
    let mut value = 0u64;
    for (i, &byte) in bytes[at..].iter().take(bytes_max).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            let value = zigzag(value);
            let fits = bytes_max == VARLONG_BYTES || i32::try_from(value).is_ok();
            return fits.then_some((value, at + i + 1));
        }
    }
    None
}

#[inline]
fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The end of a field of `len` bytes, which is null when that is negative, as in Kafka.
#[inline]
fn skip(record: &[u8], at: usize, len: i64) -> Option<usize> {
    let end = at + usize::try_from(len).unwrap_or(0);
    (end <= record.len()).then_some(end)
}

#[cfg(test)]
mod tests;
