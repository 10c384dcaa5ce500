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
    let mut scan = Scan { count: 0, keys, cut: None };
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
    Ok(well && scan.cut.is_none() && scan.count == header.record_count)
}

struct Scan {
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
    fn piece(&mut self, mut piece: &[u8]) -> bool {
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
mod tests {
    use super::super::record_batch::HEADER_BYTES;
    use super::super::records::{BatchBuilder, for_each_record};
    use super::*;

    const CODECS: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    /// Records of all shapes, some larger than a piece of any codec.
    fn batch(codec: Compression, random: &mut fastrand::Rng) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec);
        for i in 0..random.i64(1..60) {
            let value_len =
                [0, 5, 100, 3000, 70_000, 300_000][random.usize(..6) * random.usize(..2)];
            let value: Vec<u8> = (0..value_len).map(|_| random.u8(b'a'..b'e')).collect();
            let key = [None, Some(&value[..value_len.min(9)])][random.usize(..2)];
            let headers = [("name", Some(&b"value"[..])), ("", None)];
            let value = [None, Some(&value[..])][random.usize(..2)];
            builder.push(i * random.i64(-9..9_000_000), key, value, &headers[random.usize(..3)..]);
        }
        builder.finish()
    }

    fn scanned(batch: &[u8], keys: Keys) -> bool {
        let header = BatchHeader::parse(batch).unwrap();
        is_well(&header, &batch[HEADER_BYTES..], keys, 64 << 20) == Ok(true)
    }

    /// What the walk says: all well, and a record without a key.
    fn walked(batch: &[u8]) -> (bool, bool) {
        let (mut count, mut keyless) = (0, false);
        let walk = for_each_record(batch, &mut |record| {
            let right = record.offset_delta == count;
            count += i32::from(right);
            keyless |= record.key.is_none();
            right
        });
        let wanted = BatchHeader::parse(batch).unwrap().record_count;
        (walk.is_ok() && count == wanted, keyless)
    }

    #[test]
    fn what_is_well_is_seen_at_once() {
        let mut random = fastrand::Rng::with_seed(1);
        for codec in CODECS {
            for _ in 0..20 {
                let batch = batch(codec, &mut random);
                let (well, keyless) = walked(&batch);
                assert!(well && scanned(&batch, Keys::Any), "{codec:?}");
                assert_eq!(scanned(&batch, Keys::Required), !keyless);
            }
        }
    }

    #[test]
    fn nothing_passes_that_the_walk_refuses() {
        let mut random = fastrand::Rng::with_seed(2);
        let mut refused = 0;
        for round in 0..2000 {
            let mut builder = BatchBuilder::new(CODECS[round % 5]);
            for i in 0..3 {
                builder.push(i, None, Some(&[7; 20]), &[("k", Some(b"v"))]);
            }
            let mut batch = builder.finish();
            for _ in 0..random.usize(1..3) {
                let at = random.usize(HEADER_BYTES - 1..batch.len());
                batch[at] = random.u8(..);
            }
            // Cut here and there, with a length that says so.
            if round % 3 == 0 {
                batch.truncate(random.usize(HEADER_BYTES..batch.len()));
                let length = (batch.len() as i32 - 12).to_be_bytes();
                batch[8..12].copy_from_slice(&length);
            }
            let (well, _) = walked(&batch);
            refused += usize::from(!well);
            assert_eq!(scanned(&batch, Keys::Any), well, "round {round}");
        }
        assert!(refused > 500, "{refused}");
    }

    /// As `is_well` would, of an uncompressed batch that comes in pieces of `step` bytes.
    fn scanned_in_pieces(batch: &[u8], keys: Keys, step: usize) -> bool {
        let mut scan = Scan { count: 0, keys, cut: None };
        let body = &batch[HEADER_BYTES..];
        let count = BatchHeader::parse(batch).unwrap().record_count;
        body.chunks(step).all(|piece| scan.piece(piece))
            && scan.cut.is_none()
            && scan.count == count
    }

    #[test]
    fn a_record_may_be_cut_anywhere() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..5 {
            let batch = batch(Compression::None, &mut random);
            let (_, keyless) = walked(&batch);
            for step in [1, 2, 7, 1000] {
                assert!(scanned_in_pieces(&batch, Keys::Any, step), "{step}");
                assert_eq!(scanned_in_pieces(&batch, Keys::Required, step), !keyless, "{step}");
            }
        }
    }

    #[test]
    fn a_cut_record_is_refused_as_a_whole_one_is() {
        let mut random = fastrand::Rng::with_seed(4);
        let mut refused = 0;
        for round in 0..3000 {
            let mut builder = BatchBuilder::new(Compression::None);
            for i in 0..3 {
                let headers = [("k", Some(&b"v"[..])), ("", None)];
                builder.push(i, Some(b"key"), Some(&[7; 20]), &headers[..random.usize(..3)]);
            }
            let mut batch = builder.finish();
            let at = random.usize(HEADER_BYTES..batch.len());
            batch[at] = random.u8(..);
            if round % 3 == 0 {
                batch.truncate(random.usize(HEADER_BYTES..batch.len()));
                let length = (batch.len() as i32 - 12).to_be_bytes();
                batch[8..12].copy_from_slice(&length);
            }
            let well = walked(&batch).0;
            refused += usize::from(!well);
            for step in [1, 3, 10] {
                assert_eq!(scanned_in_pieces(&batch, Keys::Any, step), well, "{round}, {step}");
            }
        }
        assert!(refused > 500, "{refused}");
    }

    /// More than may be: an error, not a reason for a closer look, which would take the memory.
    #[test]
    fn beyond_the_bound_is_an_error() {
        for codec in CODECS {
            let mut builder = BatchBuilder::new(codec);
            builder.push(0, None, Some(&[7; 300_000]), &[]);
            let batch = builder.finish();
            let header = BatchHeader::parse(&batch).unwrap();
            let seen = is_well(&header, &batch[HEADER_BYTES..], Keys::Any, 200_000);
            match codec {
                Compression::None => assert_eq!(seen, Ok(true)),
                _ => assert_eq!(seen, Err(BatchError::TooLarge { limit: 200_000 }), "{codec:?}"),
            }
            let cut = &batch[HEADER_BYTES..batch.len() - 9];
            if !matches!(codec, Compression::None) {
                let seen = is_well(&header, cut, Keys::Any, 64 << 20);
                assert!(matches!(seen, Err(BatchError::Invalid(_))), "{codec:?}: {seen:?}");
            }
        }
    }
}
