//! The check of a produced batch's records that costs least: lengths, offset deltas and counts, fields
//! that fill their records. Keys, values and decompressed bytes are passed over in pieces, not kept.
//! It answers "all is well" or "look closer": only a walk with `records` says what is wrong, so this one
//! may be strict and has no messages. Pure; a batch costs no allocation.

use std::cell::Cell;

use super::compression;
use super::record_batch::BatchHeader;
use crate::types::Compression;

thread_local! {
    /// The start of a record whose rest is in the next piece; taken while in use.
    static CARRY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A record that was carried over and is larger gives its buffer back.
const CARRY_BYTES_KEPT: usize = 256 * 1024;

/// What of the records a topic asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    Any,
    /// The topic is compacted.
    Required,
}

/// Whether `body`, all after the header of a batch, holds exactly the records that `header` says.
pub(super) fn is_well(header: &BatchHeader, body: &[u8], keys: Keys, limit: usize) -> bool {
    let Some(codec) = header.compression() else { return false };
    if codec == Compression::None {
        let mut scan = Scan { count: 0, keys };
        return matches!(scan.run(body), Ran::All) && scan.count == header.record_count;
    }
    let mut scan = Scan { count: 0, keys };
    let mut carry = CARRY.take();
    carry.clear();
    let mut left = limit;
    let mut well = true;
    let read = compression::for_each_piece(codec, body, &mut |piece| {
        well = piece.len() <= left && scan.piece(piece, &mut carry);
        left = left.saturating_sub(piece.len());
        well
    });
    well = well && carry.is_empty();
    if carry.capacity() <= CARRY_BYTES_KEPT {
        CARRY.set(carry);
    }
    read.is_ok() && well && scan.count == header.record_count
}

struct Scan {
    /// Records so far: the next one's offset delta.
    count: i32,
    keys: Keys,
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
    fn piece(&mut self, mut piece: &[u8], carry: &mut Vec<u8>) -> bool {
        while !carry.is_empty() && !piece.is_empty() {
            let need = match length(carry) {
                Length::Known(_, total) => total - carry.len(),
                Length::Cut => 1,
                Length::Wrong => return false,
            };
            let (more, rest) = piece.split_at(need.min(piece.len()));
            carry.extend_from_slice(more);
            piece = rest;
            match self.run(carry) {
                Ran::All => carry.clear(),
                Ran::Left(_) => {}
                Ran::Wrong => return false,
            }
        }
        match self.run(piece) {
            Ran::All => true,
            Ran::Left(start) => {
                carry.extend_from_slice(start);
                true
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
        is_well(&header, &batch[HEADER_BYTES..], keys, 64 << 20)
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

    #[test]
    fn a_record_may_be_cut_anywhere() {
        let mut random = fastrand::Rng::with_seed(3);
        let batch = batch(Compression::None, &mut random);
        let body = &batch[HEADER_BYTES..];
        let wanted = BatchHeader::parse(&batch).unwrap().record_count;
        for step in [1, 2, 7, 1000] {
            let (mut scan, mut carry) = (Scan { count: 0, keys: Keys::Any }, Vec::new());
            assert!(body.chunks(step).all(|piece| scan.piece(piece, &mut carry)));
            assert!(carry.is_empty());
            assert_eq!(scan.count, wanted);
        }
    }
}
