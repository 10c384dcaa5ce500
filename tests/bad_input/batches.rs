//! Produce requests whose batches lie, and names that are none. The codes are Apache Kafka 4.3.1's,
//! seen on the wire.

use std::io::Write;

use bytes::{BufMut, Bytes, BytesMut};

use crate::common::wire::{Batch, Wire, put_record, put_varint};
use crate::common::{Broker, external, is_spindle, unique};
use crate::still_serves;

const UNKNOWN_SERVER_ERROR: i16 = -1;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const CORRUPT_MESSAGE: i16 = 2;
const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_TOPIC_EXCEPTION: i16 = 17;
const INVALID_TIMESTAMP: i16 = 32;
const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
const INVALID_RECORD: i16 = 87;

const GZIP: i16 = 1;
const SNAPPY: i16 = 2;
const LZ4: i16 = 3;
const ZSTD: i16 = 4;

struct Case {
    name: &'static str,
    records: Bytes,
    codes: &'static [i16],
}

fn case(name: &'static str, codes: &'static [i16], records: Bytes) -> Case {
    Case { name, records, codes }
}

fn changed(change: impl FnOnce(&mut Batch)) -> Bytes {
    let mut batch = Batch::of(&[b"first", b"second", b"third"]);
    change(&mut batch);
    batch.bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("compress");
    encoder.finish().expect("compress")
}

fn liars() -> Vec<Case> {
    let mut lying_value = Vec::new();
    put_record(&mut lying_value, 0, 1_000_000, b"short");
    let mut negative_value = Vec::new();
    put_record(&mut negative_value, 0, -5, b"short");
    let mut lying_record = Vec::new();
    put_varint(&mut lying_record, i64::from(i32::MAX));
    lying_record.extend_from_slice(&[0; 20]);
    let mut wrong_deltas = Vec::new();
    put_record(&mut wrong_deltas, 5, 1, b"a");
    put_record(&mut wrong_deltas, 5, 1, b"b");
    let two = Bytes::from([Batch::of(&[b"a"]).bytes(), Batch::of(&[b"b"]).bytes()].concat());
    let truncated = Batch::of(&[b"a record that is cut off"]).bytes();
    let truncated = truncated.slice(..truncated.len() - 9);
    let refused: &[i16] = &[CORRUPT_MESSAGE, INVALID_RECORD];
    vec![
        case("wrong CRC", &[CORRUPT_MESSAGE], changed(|b| b.crc_xor = 1)),
        case("magic 1", &[INVALID_RECORD], changed(|b| b.magic = 1)),
        case("magic 0", &[INVALID_RECORD], changed(|b| b.magic = 0)),
        case("magic 3", &[INVALID_RECORD, CORRUPT_MESSAGE], changed(|b| b.magic = 3)),
        case("magic -1", &[INVALID_RECORD, CORRUPT_MESSAGE], changed(|b| b.magic = -1)),
        case(
            "count above the records",
            refused,
            changed(|b| {
                b.record_count = 9;
                b.last_offset_delta = 8;
            }),
        ),
        case(
            "count below the records",
            refused,
            changed(|b| {
                b.record_count = 2;
                b.last_offset_delta = 1;
            }),
        ),
        case("last offset delta above the count", refused, changed(|b| b.last_offset_delta = 90)),
        case("last offset delta below the count", refused, changed(|b| b.last_offset_delta = 0)),
        case(
            "huge count",
            refused,
            changed(|b| {
                b.record_count = i32::MAX;
                b.last_offset_delta = i32::MAX - 1;
            }),
        ),
        case(
            "negative count",
            refused,
            changed(|b| {
                b.record_count = -1;
                b.last_offset_delta = -2;
            }),
        ),
        case("length above the bytes", refused, changed(|b| b.length_delta = 1_000)),
        case("length below the bytes", refused, changed(|b| b.length_delta = -5)),
        case("length below a header", refused, changed(|b| b.length_delta = -60)),
        case("negative length", refused, changed(|b| b.length_delta = i32::MIN / 2)),
        case("value longer than its record", refused, Batch::with_body(1, 0, lying_value).bytes()),
        case("value of length -5", refused, Batch::with_body(1, 0, negative_value).bytes()),
        case("record longer than its batch", refused, Batch::with_body(1, 0, lying_record).bytes()),
        case(
            // Kafka looks at the deltas of compressed batches only.
            "offset deltas that do not count up",
            &[CORRUPT_MESSAGE, INVALID_RECORD, UNKNOWN_SERVER_ERROR],
            Batch::with_body(2, GZIP, gzip(&wrong_deltas)).bytes(),
        ),
        case("two batches in one partition", &[INVALID_RECORD], two),
        case("truncated batch", refused, truncated),
        case("no batch at all", &[INVALID_RECORD], Bytes::new()),
        case(
            "unknown codec",
            &[CORRUPT_MESSAGE, INVALID_RECORD, UNSUPPORTED_COMPRESSION_TYPE, UNKNOWN_SERVER_ERROR],
            changed(|b| b.attributes = 7),
        ),
        case("control batch from a client", &[INVALID_RECORD], changed(|b| b.attributes = 0x20)),
    ]
}

#[test]
fn batches_that_lie_are_refused() {
    let broker = Broker::any();
    let topic = unique("liars");
    let mut wire = Wire::connect(broker.address());
    wire.create_topic_and_wait(&topic, 1);
    let mut wrong = Vec::new();
    for Case { name, records, codes } in liars() {
        // A connection of its own: the broker may close it instead of answering.
        let mut wire = Wire::connect(broker.address());
        match wire.produce(&topic, records) {
            Ok((code, _)) if codes.contains(&code) => {}
            Ok((code, _)) => wrong.push(format!("{name}: code {code}, not of {codes:?}")),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Nothing of it was appended.
    let honest = Batch::of(&[b"honest"]).bytes();
    assert_eq!(wire.produce(&topic, honest).expect("produce"), (0, 0));
    let (_, high_watermark, _) = wire.fetch(&topic, 0, 0).expect("fetch");
    assert_eq!(high_watermark, 1);
    still_serves(&broker);
}

#[test]
fn too_large_and_too_far_in_the_future() {
    let broker = Broker::any();
    let topic = unique("limits");
    let mut wire = Wire::connect(broker.address());
    wire.create_topic_and_wait(&topic, 1);
    let large = vec![7; 2 * 1024 * 1024];
    let (code, _) = wire.produce(&topic, Batch::of(&[&large]).bytes()).expect("produce");
    assert_eq!(code, MESSAGE_TOO_LARGE);
    // message.timestamp.after.max.ms is an hour by default.
    let future = changed(|b| b.timestamp_ms += 10 * 3_600_000);
    assert_eq!(wire.produce(&topic, future).expect("produce").0, INVALID_TIMESTAMP);
    still_serves(&broker);
}

/// Small batches that unpack to far more than the broker should ever hold, and codecs' own
/// length fields that lie. Accepted or refused, memory stays bounded and others are served.
#[test]
fn decompression_bombs() {
    let broker = Broker::any();
    let topic = unique("bombs");
    let mut wire = Wire::connect(broker.address());
    wire.create_topic_and_wait(&topic, 1);
    let zeros = vec![0; 400 * 1024 * 1024];
    let mut one_record = Vec::new();
    put_record(&mut one_record, 0, zeros.len() as i64, &zeros);
    drop(zeros);
    let zstd_bomb = zstd::stream::encode_all(one_record.as_slice(), 3).expect("compress");
    let gzip_bomb = gzip(&one_record[..200 * 1024 * 1024]);
    drop(one_record);
    let mut many = Vec::new();
    for i in 0..1_000_000 {
        put_record(&mut many, i, 0, b"");
    }
    let many_records = zstd::stream::encode_all(many.as_slice(), 3).expect("compress");
    drop(many);
    // A raw snappy block that claims 4 GiB - 1; a zstd frame and an lz4 frame that claim exabytes.
    let snappy_claim = vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    let mut zstd_claim = vec![0x28, 0xb5, 0x2f, 0xfd, 0xc0, 0x88];
    zstd_claim.put_u64_le(1 << 60);
    zstd_claim.extend_from_slice(&[1, 0, 0]);
    let mut lz4_claim = vec![0x04, 0x22, 0x4d, 0x18, 0x68, 0x70];
    lz4_claim.put_u64_le(1 << 60);
    lz4_claim.extend_from_slice(&[0, 0, 0, 0, 0]);
    let bombs = [
        ("zstd, one record", ZSTD, 1, zstd_bomb),
        ("gzip, cut off", GZIP, 1, gzip_bomb),
        ("zstd, a million records", ZSTD, 1_000_000, many_records),
        ("snappy claim", SNAPPY, 1, snappy_claim),
        ("zstd claim", ZSTD, 1, zstd_claim),
        ("lz4 claim", LZ4, 1, lz4_claim),
        ("noise as gzip", GZIP, 1, vec![0x55; 500]),
    ];
    let before = broker.is_own().then(|| broker.resident_bytes());
    for (name, codec, count, body) in bombs {
        assert!(body.len() < 1_000_000, "{name} is {} bytes", body.len());
        let mut wire = Wire::connect(broker.address());
        let records = Batch::with_body(count, codec, body).bytes();
        let (code, _) = wire.produce(&topic, records).unwrap_or_else(|e| panic!("{name}: {e}"));
        println!("{name}: code {code}");
        if name.ends_with("claim") || name.starts_with("noise") {
            assert_ne!(code, 0, "{name} was accepted");
        }
    }
    if let Some(before) = before
        && is_spindle()
    {
        let grown = broker.resident_bytes().saturating_sub(before);
        assert!(grown < 96 * 1024 * 1024, "memory grew by {} MB", grown >> 20);
    }
    still_serves(&broker);
}

#[test]
fn names_that_are_no_topics() {
    let broker = Broker::any();
    let mut wire = Wire::connect(broker.address());
    let long = "x".repeat(250);
    let names = ["", ".", "..", "../../escape", "a/b", "a b", "nul\0", "ü", "a:b", long.as_str()];
    for name in names {
        let (code, _) = wire.create_topic(name, 1).expect("an answer");
        assert_eq!(code, INVALID_TOPIC_EXCEPTION, "creating {name:?}");
        let metadata = wire.metadata(name, true).expect("an answer");
        assert_eq!(metadata.topics[0].error_code, INVALID_TOPIC_EXCEPTION, "metadata of {name:?}");
        let (code, _) = wire.produce(name, Batch::of(&[b"x"]).bytes()).expect("an answer");
        assert!(
            [UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION].contains(&code),
            "producing to {name:?}: {code}"
        );
    }
    if external().is_none() {
        let outside = broker.data_dir().join("../../escape-0");
        assert!(!outside.exists());
    }
    still_serves(&broker);
}

/// Batches with random bits flipped: the CRC, or a check before it, finds each.
#[test]
fn flipped_bits() {
    let broker = Broker::any();
    let topic = unique("flips");
    let mut wire = Wire::connect(broker.address());
    wire.create_topic_and_wait(&topic, 1);
    let honest = Batch::of(&[b"some value", b"another value"]).bytes();
    let mut random = fastrand::Rng::with_seed(42);
    for _ in 0..300 {
        // Base offset and leader epoch are the broker's own and not covered.
        let byte = loop {
            let byte = random.usize(8..honest.len());
            if !(12..16).contains(&byte) {
                break byte;
            }
        };
        let bit = random.u8(0..8);
        let mut flipped = BytesMut::from(&honest[..]);
        flipped[byte] ^= 1 << bit;
        let mut wire = Wire::connect(broker.address());
        if let Ok((code, _)) = wire.produce(&topic, flipped.freeze()) {
            assert_ne!(code, 0, "bit {bit} of byte {byte} flipped and nobody saw it");
        }
    }
    assert_eq!(wire.produce(&topic, honest).expect("produce"), (0, 0));
    still_serves(&broker);
}
