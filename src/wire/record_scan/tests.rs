//! Tests of the quick look at a batch's records: it must say what the slow walk says, however the bytes
//! are cut, and never call well what the walk refuses.

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
        let value_len = [0, 5, 100, 3000, 70_000, 300_000][random.usize(..6) * random.usize(..2)];
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
    let mut scan = Scan::new(keys);
    let body = &batch[HEADER_BYTES..];
    let count = BatchHeader::parse(batch).unwrap().record_count;
    body.chunks(step).all(|piece| scan.piece(piece)) && scan.cut.is_none() && scan.count == count
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

#[test]
fn places_of_one_two_and_three_bytes_are_read_at_a_glance() {
    let batch = |shift: i64| {
        let mut builder = BatchBuilder::new(Compression::None);
        for i in 0..20_000 {
            builder.push(i % 7_000, Some(b"k"), Some(&[7; 3]), &[]);
        }
        let mut batch = builder.finish();
        // The place of the last record: its third byte is the highest.
        let last = batch.len() - 8;
        assert_eq!(batch[last - 2..last + 8], [0xbe, 0xb8, 0x02, 2, b'k', 6, 7, 7, 7, 0]);
        batch[last] = (i64::from(batch[last]) + shift) as u8;
        batch
    };
    assert!(scanned(&batch(0), Keys::Required) && walked(&batch(0)).0);
    assert!(!scanned(&batch(1), Keys::Any) && !walked(&batch(1)).0);
}

#[test]
fn a_glance_says_nothing_of_what_is_not_as_most_are() {
    let glance = |value: Option<&[u8]>, key: Option<&[u8]>, headers: &[_], keys| {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(5, key, value, headers);
        let batch = builder.finish();
        let body = &batch[HEADER_BYTES..];
        for cut in 0..body.len() {
            assert_eq!(Scan::new(keys).glance(&body[..cut]), None, "what is cut is not whole");
        }
        // What follows is another record's.
        let followed = [body, &[0xff; 40]].concat();
        Scan::new(keys).glance(&followed).map(|total| (total, total == body.len()))
    };
    let (any, required) = (Keys::Any, Keys::Required);
    for (value, key) in [(None, None), (Some(&[1; 100][..]), None), (Some(&[]), Some(&[9; 70][..]))]
    {
        assert!(glance(value, key, &[], any).is_some_and(|(_, all)| all));
        assert_eq!(glance(value, key, &[], required).is_some(), key.is_some());
        assert_eq!(glance(value, key, &[("h", None)], any), None);
    }
    assert_eq!(glance(Some(&[1; 9_000]), None, &[], any), None, "a length of three bytes");
}
