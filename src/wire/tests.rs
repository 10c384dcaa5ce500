//! The room's tests: round trips, lies in lengths and counts, and fuzzing: random bytes and mutated
//! valid bytes into every decoder. Nothing may panic or ask for memory that the input does not
//! justify. A longer run:
//! `SPINDLE_FUZZ_CASES=200000 cargo test --release --lib wire::tests::fuzz`

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use kafka_protocol::messages as m;
use kafka_protocol::protocol::Decodable;
use proptest::prelude::*;

use super::record_batch::{self, BatchError, BatchHeader, HEADER_BYTES};
use super::records::{BatchBuilder, encode_headers, for_each_record};
use super::{compression, describe_log_dirs, error_code, fetch, frame, produce, records};
use crate::types::Compression;

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// Largest single allocation of this thread since the last reset.
struct Watch;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static WATCH: Watch = Watch;

fn saw(size: usize) {
    let _ = LARGEST.try_with(|l| l.set(l.get().max(size)));
}

// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Watch {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        saw(layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        unsafe { System.dealloc(ptr, layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        saw(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        saw(size);
        unsafe { System.realloc(ptr, layout, size) }
    }
}

fn largest_allocation(f: impl FnOnce()) -> usize {
    LARGEST.set(0);
    f();
    LARGEST.get()
}

fn batch(codec: Compression, records: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for i in 0..records {
        let key = format!("key-{i}");
        builder.push(
            1_700_000_000_000 + i as i64,
            (i % 3 != 0).then_some(key.as_bytes()),
            (i % 5 != 1).then_some(b"a value that repeats, repeats, repeats".as_slice()),
            &[("h", Some(b"1".as_slice())), ("null", None)][..i % 3],
        );
    }
    builder.finish()
}

/// A changed batch whose CRC is right, so that the checks after it are reached.
fn changed(mut batch: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut batch);
    record_batch::patch_crc(&mut batch);
    batch
}

#[test]
fn every_codec_round_trips() {
    for codec in CODECS {
        for n in [1, 2, 50, 5000] {
            let bytes = batch(codec, n);
            let header = record_batch::validate(&bytes, true).unwrap();
            assert_eq!(header.compression(), Some(codec));
            assert_eq!(header.record_count as usize, n);
            assert_eq!(header.max_timestamp, 1_700_000_000_000 + n as i64 - 1);
            let mut i = 0;
            for_each_record(&bytes, &mut |r| {
                let key = format!("key-{i}");
                assert_eq!(r.key, (i % 3 != 0).then_some(key.as_bytes()));
                assert_eq!((r.offset_delta as usize, r.timestamp_delta as usize), (i, i));
                assert_eq!(r.header_pairs().count(), i % 3);
                if let Some((name, value)) = r.header_pairs().nth(1) {
                    assert_eq!((name, value), (b"null".as_slice(), None));
                }
                i += 1;
                true
            })
            .unwrap();
            assert_eq!(i, n);
        }
    }
}

#[test]
fn a_builder_is_reused() {
    for codec in [Compression::Lz4, Compression::None] {
        let mut builder = BatchBuilder::new(codec);
        assert!(builder.finish().is_empty());
        builder.producer(7, 1, 0).push(5, None, Some(b"x"), &[]);
        let first = builder.finish();
        assert!(builder.is_empty() && builder.finish().is_empty());
        builder.producer(7, 1, 1).push(4, None, Some(b"y"), &[]).push(3, None, None, &[]);
        let mut all = first.clone();
        builder.finish_into(&mut all);
        builder.producer(7, 1, 3).push(9, None, Some(b"z"), &[]);
        all.extend(builder.finish());
        let headers: Vec<BatchHeader> = record_batch::split(&all)
            .map(|r| record_batch::validate(r.unwrap().1, true).unwrap())
            .collect();
        assert_eq!(headers.len(), 3);
        assert_eq!((headers[1].base_timestamp, headers[1].max_timestamp), (4, 4));
        assert_eq!((headers[1].base_sequence, headers[1].last_sequence()), (1, 2));
        assert_eq!((headers[2].base_timestamp, headers[2].record_count), (9, 1));
    }
}

#[test]
fn a_record_in_parts_is_the_same_record() {
    let pairs = [("h", Some(b"1".as_slice())), ("null", None)];
    let encoded = encode_headers(&pairs);
    let (mut whole, mut parts) = (builder_with_ids(), builder_with_ids());
    for key in [None, Some(b"key".as_slice())] {
        whole.push(7, key, Some(b"head and rest"), &pairs);
        parts.push_parts(7, key, [b"head ", b"and rest"], 2, &encoded);
        whole.push(9, key, Some(b""), &[]);
        parts.push_parts(9, key, [b"", b""], 0, &[]);
        assert_eq!(whole.len(), parts.len());
    }
    assert_eq!(whole.finish(), parts.finish());
}

fn builder_with_ids() -> BatchBuilder {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.producer(3, 2, 1);
    builder
}

#[test]
fn sequences_wrap_to_zero() {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.producer(1, 0, i32::MAX - 1);
    for _ in 0..4 {
        builder.push(0, None, None, &[]);
    }
    let header = BatchHeader::parse(&builder.finish()).unwrap();
    assert_eq!(header.last_sequence(), 1);
}

#[test]
fn lies_are_refused_with_their_numbers() {
    let good = batch(Compression::None, 3);
    let message = |b: &[u8]| record_batch::validate(b, true).unwrap_err().to_string();
    let set = |at: usize, value: &[u8]| {
        changed(good.clone(), |b| b[at..at + value.len()].copy_from_slice(value))
    };
    assert!(message(&set(57, &4i32.to_be_bytes())).contains("record count is 4"));
    assert!(message(&set(57, &0i32.to_be_bytes())).contains("record count is 0"));
    assert!(message(&set(23, &9i32.to_be_bytes())).contains("last offset delta is 9"));
    assert!(message(&set(0, &5i64.to_be_bytes())).contains("base offset is 5"));
    assert!(message(&set(43, &5i64.to_be_bytes())).contains("base sequence is -1"));
    assert!(message(&set(22, &[5])).contains("compression type 5"));
    assert!(message(&set(22, &[0x20])).contains("control"));
    assert!(message(&set(22, &[0x08])).contains("LogAppendTime"));
    // One record less than the bytes hold.
    let fewer = changed(good.clone(), |b| {
        b[57..61].copy_from_slice(&2i32.to_be_bytes());
        b[23..27].copy_from_slice(&1i32.to_be_bytes());
    });
    assert!(message(&fewer).contains("remain after 2 records"));

    let mut bad_crc = good.clone();
    *bad_crc.last_mut().unwrap() ^= 1;
    assert!(matches!(record_batch::validate(&bad_crc, false), Err(BatchError::BadCrc { .. })));
    let mut old = good.clone();
    old[16] = 1;
    assert_eq!(record_batch::validate(&old, false), Err(BatchError::BadMagic(1)));
    assert_eq!(BatchError::BadMagic(1).error_code(), error_code::INVALID_RECORD);
    let mut short = good.clone();
    short[8..12].copy_from_slice(&48i32.to_be_bytes());
    assert_eq!(record_batch::validate(&short, false), Err(BatchError::BadLength(48)));
    let cut = &good[..good.len() - 1];
    assert!(matches!(record_batch::validate(cut, false), Err(BatchError::Truncated { .. })));
    assert!(record_batch::split(cut).any(|r| r.is_err()));
    assert_eq!(record_batch::split(cut).count(), 1);
    assert!(message(&[good.as_slice(), b"x"].concat()).contains("1 bytes after"));
}

#[test]
fn patches_keep_a_batch_valid() {
    for codec in CODECS {
        let mut bytes = batch(codec, 4);
        record_batch::patch_offset(&mut bytes, 1 << 40, 9);
        let header = record_batch::check_crc(&bytes).unwrap();
        assert_eq!((header.base_offset, header.partition_leader_epoch), (1 << 40, 9));
        assert_eq!(header.last_offset(), (1 << 40) + 3);
        record_batch::patch_log_append_time(&mut bytes, 42);
        let header = record_batch::check_crc(&bytes).unwrap();
        assert_eq!(header.timestamp_type(), crate::types::TimestampType::LogAppendTime);
        assert_eq!((header.max_timestamp, header.compression()), (42, Some(codec)));
    }
}

#[test]
fn recompression_changes_the_codec_and_nothing_else() {
    for from in CODECS {
        for (to, level) in CODECS.into_iter().flat_map(|to| [(to, None), (to, Some(1))]) {
            let mut sent = batch(from, 50);
            record_batch::patch_offset(&mut sent, 7000, 3);
            let stored = records::recompress(&sent, to, level).unwrap();
            let old = BatchHeader::parse(&sent).unwrap();
            let new = record_batch::check_crc(&stored).unwrap();
            assert_eq!(new.size_bytes(), stored.len());
            assert_eq!(new.compression(), Some(to));
            let same = |h: BatchHeader| BatchHeader {
                batch_length: 0,
                crc: 0,
                attributes: h.attributes & !record_batch::CODEC_BITS,
                ..h
            };
            assert_eq!(same(old), same(new));
            let records = |batch: &[u8]| {
                let mut all = Vec::new();
                records::for_each_record(batch, &mut |r| {
                    all.push(format!("{r:?}"));
                    true
                })
                .unwrap();
                all
            };
            assert_eq!(records(&sent), records(&stored), "{from:?} to {to:?}");
        }
    }
}

#[test]
fn levels_are_obeyed() {
    let text: Vec<u8> = (0..40_000u32)
        .flat_map(|i| format!("{} ", i.wrapping_mul(2654435761) >> 20).into_bytes())
        .collect();
    for (codec, fast, best) in [(Compression::Gzip, 1, 9), (Compression::Zstd, -5, 19)] {
        let size = |level| {
            let mut out = Vec::new();
            compression::compress_at(codec, level, &text, &mut out);
            out.len()
        };
        assert!(size(Some(best)) < size(None), "{codec:?}");
        assert!(size(None) < size(Some(fast)), "{codec:?}");
        let mut by_default = Vec::new();
        compression::compress(codec, &text, &mut by_default);
        assert_eq!(by_default.len(), size(None), "a level must not stick");
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let zeros = vec![0; 8 << 20];
    for codec in CODECS {
        let mut small = Vec::new();
        compression::compress(codec, &zeros, &mut small);
        let mut out = b"kept".to_vec();
        let limit = 1 << 20;
        let largest = largest_allocation(|| {
            let e = compression::decompress(codec, &small, &mut out, limit).unwrap_err();
            assert_eq!(e, BatchError::TooLarge { limit });
        });
        assert!(out == b"kept", "{codec:?} left {} bytes", out.len());
        assert!(largest <= 9 << 20, "{codec:?} asked for {largest}");
        compression::decompress(codec, &small, &mut out, zeros.len()).unwrap();
        assert_eq!(out.len(), 4 + zeros.len());
    }
}

#[test]
fn snappy_reads_both_framings() {
    let data = vec![7; 100_000];
    let raw = snap::raw::Encoder::new().compress_vec(&data).unwrap();
    let mut framed = Vec::new();
    compression::compress(Compression::Snappy, &data, &mut framed);
    compression::compress(Compression::Snappy, &data, &mut framed);
    let mut out = Vec::new();
    compression::decompress(Compression::Snappy, &raw, &mut out, 1 << 20).unwrap();
    compression::decompress(Compression::Snappy, &framed, &mut out, 1 << 20).unwrap();
    assert_eq!(out, vec![7; 300_000]);
    // A claim of 4 GB in five bytes.
    let lie = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
    let largest = largest_allocation(|| {
        compression::decompress(Compression::Snappy, &lie, &mut Vec::new(), usize::MAX)
            .unwrap_err();
    });
    assert!(largest < 4096, "asked for {largest}");
}

#[test]
fn unknown_apiversions_version_still_has_a_header() {
    let mut bytes = vec![0, 18, 0, 99, 0, 0, 0, 7, 0, 2, b'm', b'e'];
    bytes.extend([0xff; 3]);
    let request = frame::decode_request(Bytes::from(bytes)).unwrap();
    assert_eq!((request.api_key, request.api_version, request.correlation_id), (18, 99, 7));
    assert_eq!(request.client_id.as_deref(), Some(b"me".as_slice()));
}

#[test]
fn a_lying_count_is_refused_before_memory_is_reserved() {
    // Metadata v0 and v9, CreateTopics v5, DeleteTopics v1: a count of about two billion.
    for (key, version, flexible) in
        [(3i16, 0i16, false), (3, 9, true), (19, 5, true), (20, 1, false)]
    {
        let mut bytes = Vec::new();
        bytes.extend(key.to_be_bytes());
        bytes.extend(version.to_be_bytes());
        bytes.extend([0, 0, 0, 1, 0xff, 0xff]);
        if flexible {
            bytes.push(0);
            bytes.extend([0xff, 0xff, 0xff, 0xff, 0x07]);
        } else {
            bytes.extend(i32::MAX.to_be_bytes());
        }
        let e = frame::decode_request(Bytes::from(bytes)).unwrap_err();
        assert!(matches!(e, frame::FrameError::Malformed { .. }), "{e}");
    }
}

#[test]
fn describe_log_dirs_v5_carries_the_cordon() {
    let mut response = describe_log_dirs::Response::default();
    for _ in 0..2 {
        let topic = m::describe_log_dirs_response::DescribeLogDirsTopic::default()
            .with_partitions(vec![Default::default()]);
        response.body.results.push(
            m::describe_log_dirs_response::DescribeLogDirsResult::default()
                .with_topics(vec![topic])
                .with_usable_bytes(5),
        );
    }
    response.cordoned = vec![false, true];
    let bytes = describe_log_dirs::encode_response(5, 1, &response).unwrap();
    let read = describe_log_dirs::decode_response(5, &bytes.slice(9..)).unwrap();
    assert_eq!(read, response);
}

fn fuzz_cases() -> ProptestConfig {
    let cases = std::env::var("SPINDLE_FUZZ_CASES").ok().and_then(|v| v.parse().ok());
    ProptestConfig { cases: cases.unwrap_or(512), failure_persistence: None, ..Default::default() }
}

/// Everything that meets bytes from a socket.
fn decode_all(bytes: &[u8], version: i16) {
    let frame_bytes = Bytes::copy_from_slice(bytes);
    if let Ok(request) = frame::decode_request(frame_bytes.clone()) {
        let _ = produce::decode_request(request.api_version, &request.body);
        let _ = fetch::decode_request(request.api_version, &request.body);
        decode_body(&request);
    }
    let _ = produce::decode_request(version, &frame_bytes);
    let _ = produce::decode_response(version, &frame_bytes);
    let _ = fetch::decode_request(version, &frame_bytes);
    let _ = fetch::decode_response(version, &frame_bytes);
    let _ = describe_log_dirs::decode_response(5, &frame_bytes);
}

fn decode_body(request: &frame::Request) {
    fn run<M: Decodable>(request: &frame::Request) {
        let _ = frame::decode_body::<M>(request);
    }
    match request.api_key {
        2 => run::<m::ListOffsetsRequest>(request),
        3 => run::<m::MetadataRequest>(request),
        18 => run::<m::ApiVersionsRequest>(request),
        19 => run::<m::CreateTopicsRequest>(request),
        20 => run::<m::DeleteTopicsRequest>(request),
        21 => run::<m::DeleteRecordsRequest>(request),
        22 => run::<m::InitProducerIdRequest>(request),
        23 => run::<m::OffsetForLeaderEpochRequest>(request),
        32 => run::<m::DescribeConfigsRequest>(request),
        33 => run::<m::AlterConfigsRequest>(request),
        35 => run::<m::DescribeLogDirsRequest>(request),
        37 => run::<m::CreatePartitionsRequest>(request),
        44 => run::<m::IncrementalAlterConfigsRequest>(request),
        48 => run::<m::DescribeClientQuotasRequest>(request),
        49 => run::<m::AlterClientQuotasRequest>(request),
        50 => run::<m::DescribeUserScramCredentialsRequest>(request),
        57 => run::<m::UpdateFeaturesRequest>(request),
        60 => run::<m::DescribeClusterRequest>(request),
        61 => run::<m::DescribeProducersRequest>(request),
        75 => run::<m::DescribeTopicPartitionsRequest>(request),
        _ => {}
    }
}

fn decode_records(bytes: &[u8]) {
    let _ = record_batch::validate(bytes, true);
    for (_, batch) in record_batch::split(bytes).flatten() {
        let _ = record_batch::validate(batch, true);
        let _ = for_each_record(batch, &mut |r| {
            let _ = r.header_pairs().count();
            true
        });
    }
}

const KEYS: [i16; 22] =
    [0, 1, 2, 3, 18, 19, 20, 21, 22, 23, 32, 33, 35, 37, 44, 48, 49, 50, 57, 60, 61, 75];

/// The golden frames are the valid bytes that mutations start from.
fn golden_frames() -> Vec<Vec<u8>> {
    include_str!("../../tests/golden/messages.txt")
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.split_whitespace().last())
        .map(|hex| {
            hex.as_bytes()
                .chunks(2)
                .map(|p| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap())
                .collect()
        })
        .collect()
}

type Mutation = (prop::sample::Index, u8, bool);

fn mutate(bytes: &mut Vec<u8>, mutations: &[Mutation], cut: Option<prop::sample::Index>) {
    for (at, value, flip) in mutations {
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = if *flip { bytes[at] ^ (1 << (value % 8)) } else { *value };
        }
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len() + 1));
    }
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    prop::collection::vec(any::<Mutation>(), 0..6)
}

proptest! {
    #![proptest_config(fuzz_cases())]

    #[test]
    fn fuzz_random_frames(
        key in prop::sample::select(KEYS.to_vec()),
        version in 0i16..20,
        body in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..200),
    ) {
        let mut bytes = Vec::new();
        bytes.extend(key.to_be_bytes());
        bytes.extend(version.to_be_bytes());
        bytes.extend([0, 0, 0, 1, 0xff, 0xff]);
        bytes.extend(&body);
        // An element may be a struct of hundreds of bytes for its one byte on the wire.
        let largest = largest_allocation(|| decode_all(&bytes, version));
        prop_assert!(largest <= 256 * 1024, "asked for {largest}");
        decode_all(&body, version);
    }

    #[test]
    fn fuzz_mutated_frames(
        which in any::<prop::sample::Index>(),
        version in 0i16..20,
        mutations in mutations(),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        thread_local!(static FRAMES: Vec<Vec<u8>> = golden_frames());
        let mut bytes = FRAMES.with(|f| which.get(f).clone());
        mutate(&mut bytes, &mutations, cut);
        let bound = 256 * 1024 + 512 * bytes.len();
        let largest = largest_allocation(|| decode_all(&bytes, version));
        prop_assert!(largest <= bound, "asked for {largest}");
    }

    #[test]
    fn fuzz_mutated_batches(
        codec in prop::sample::select(CODECS.to_vec()),
        records in 1usize..40,
        mutations in mutations(),
        cut in any::<Option<prop::sample::Index>>(),
        right_crc in any::<bool>(),
    ) {
        let mut bytes = batch(codec, records);
        mutate(&mut bytes, &mutations, cut);
        if right_crc && bytes.len() > HEADER_BYTES {
            let length = (bytes.len() as i32 - 12).to_be_bytes();
            bytes[8..12].copy_from_slice(&length);
            bytes[16] = 2;
            record_batch::patch_crc(&mut bytes);
        }
        // Two lz4 blocks of 4 MB and their window are the largest thing a codec reserves here; zstd's
        // window comes from C, untouched until output fills it.
        let largest = largest_allocation(|| decode_records(&bytes));
        prop_assert!(largest <= 16 << 20, "asked for {largest}");
    }

    #[test]
    fn fuzz_random_records(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        decode_records(&bytes);
        for codec in CODECS {
            let mut out = Vec::new();
            let _ = compression::decompress(codec, &bytes, &mut out, 1 << 20);
            prop_assert!(out.len() <= 1 << 20);
            let mut again = Vec::new();
            let mut back = Vec::new();
            compression::compress(codec, &bytes, &mut again);
            compression::decompress(codec, &again, &mut back, bytes.len()).unwrap();
            prop_assert_eq!(&back, &bytes);
        }
    }
}
