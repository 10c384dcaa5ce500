//! What one request costs outside the kernel: record batch checks, CRC, frame decode, tail append, fetch
//! plan, index look-up, histogram, beside memcpy and the CRC crate alone. `cargo bench` takes a minute;
//! README.md has the table. Not here: sockets, files, the whole broker (`perf/`).

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use hdrhistogram::Histogram;
use spindle::log::measured::{Index, Tail};
use spindle::types::{Compression, TopicId};
use spindle::wire::record_batch::{self, BatchHeader};
use spindle::wire::records::BatchBuilder;
use spindle::wire::{fetch, frame, produce};

/// As in the broker.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MIB: usize = 1024 * 1024;
/// Bytes of records in a batch, as large as producers make them by default at full load.
const BATCH_BYTES: usize = 1_000_000;

/// Letters with two bits of entropy each, as `entropy:2` of the generator: many short matches, the worst
/// that lz4 meets. `text` repeats words instead.
fn payload(len: usize, text: bool) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let words: Vec<Vec<u8>> = (0..500)
        .map(|_| (0..random.usize(3..11)).map(|_| random.u8(b'a'..=b'z')).collect())
        .collect();
    let mut out = Vec::with_capacity(len + 16);
    while out.len() < len {
        if text {
            out.extend_from_slice(&words[random.usize(..500)]);
            out.push(b' ');
        } else {
            out.push(random.u8(b'A'..=b'D'));
        }
    }
    out.truncate(len);
    out
}

fn batch(
    codec: Compression,
    bytes: usize,
    record_bytes: usize,
    text: bool,
) -> (BatchHeader, Vec<u8>) {
    let values = payload(bytes, text);
    let mut builder = BatchBuilder::new(codec);
    for (i, value) in values.chunks(record_bytes).enumerate() {
        builder.push(1_700_000_000_000 + i as i64 / 100, None, Some(value), &[]);
    }
    let batch = builder.finish();
    (BatchHeader::parse(&batch).expect("a batch"), batch)
}

fn floor(c: &mut Criterion) {
    let mut group = c.benchmark_group("floor");
    for size in [16 * 1024, MIB] {
        let from = payload(size, true);
        let mut to = vec![0; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("memcpy", size), |b| {
            b.iter(|| black_box(&mut to).copy_from_slice(black_box(&from)))
        });
        group.bench_function(BenchmarkId::new("crc32c", size), |b| {
            b.iter(|| crc32c::crc32c(black_box(&from)))
        });
    }
    group.finish();
}

fn validation(c: &mut Criterion) {
    let mut group = c.benchmark_group("validate");
    let mut case = |name: &str, codec, record_bytes, text| {
        let (header, batch) = batch(codec, BATCH_BYTES, record_bytes, text);
        group.throughput(Throughput::ElementsAndBytes {
            elements: header.record_count as u64,
            bytes: BATCH_BYTES as u64,
        });
        group.bench_function(name, |b| {
            b.iter(|| record_batch::validate_produced(black_box(&batch), false).expect("good"))
        });
    };
    case("1 KiB records", Compression::None, 1024, true);
    case("100 B records", Compression::None, 100, true);
    case("1 KiB records, lz4, entropy 2", Compression::Lz4, 1024, false);
    case("1 KiB records, lz4, words", Compression::Lz4, 1024, true);
    case("1 KiB records, snappy, words", Compression::Snappy, 1024, true);
    case("1 KiB records, zstd, words", Compression::Zstd, 1024, true);
    case("1 KiB records, gzip, words", Compression::Gzip, 1024, true);
    group.finish();
    let (_, batch) = batch(Compression::None, BATCH_BYTES, 1024, true);
    let mut group = c.benchmark_group("crc");
    group.throughput(Throughput::Bytes(batch.len() as u64));
    group.bench_function("of a stored batch", |b| {
        b.iter(|| record_batch::check_crc(black_box(&batch)).expect("good"))
    });
    group.finish();
}

fn produce_frame(record_bytes: usize, bytes: usize) -> Bytes {
    let (_, batch) = batch(Compression::None, bytes, record_bytes, true);
    let topic = TopicId::from_u128(1);
    let (mut head, tail) = produce::encode_single_partition_request(
        12,
        1,
        "bench",
        -1,
        30_000,
        "a-topic",
        topic,
        3,
        batch.len(),
    );
    head.extend_from_slice(&batch);
    head.extend_from_slice(&tail);
    Bytes::from(head).slice(4..)
}

fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for (name, frame) in [
        ("Produce, 1 MB", produce_frame(1024, BATCH_BYTES)),
        ("Produce, 100 B", produce_frame(100, 100)),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| {
                let request = frame::decode_request(black_box(&frame).clone()).expect("a frame");
                produce::decode_request(12, &request.body).expect("a request")
            })
        });
    }
    let partition = |index| fetch::FetchPartition {
        index,
        current_leader_epoch: 0,
        fetch_offset: 5,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        max_bytes: MIB as i32,
    };
    let topic = fetch::FetchTopic {
        name: Bytes::from_static(b"a-topic"),
        topic_id: TopicId::nil(),
        partitions: (0..10).map(partition).collect(),
    };
    let request = fetch::FetchRequest {
        replica_id: -1,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 50 << 20,
        isolation_level: 0,
        session_id: 0,
        session_epoch: -1,
        topics: vec![topic],
        forgotten: Vec::new(),
        rack_id: Bytes::new(),
    };
    let frame = fetch::encode_request(12, 1, "bench", &request).slice(4..);
    group.bench_function("Fetch, 10 partitions", |b| {
        b.iter(|| {
            let request = frame::decode_request(black_box(&frame).clone()).expect("a frame");
            fetch::decode_request(12, &request.body).expect("a request")
        })
    });
    group.finish();
}

fn log(c: &mut Criterion) {
    let mut group = c.benchmark_group("tail append");
    for (name, bytes) in
        [("100 B batches", 100), ("16 KB batches", 16_000), ("1 MB batches", BATCH_BYTES)]
    {
        let (header, batch) = batch(Compression::None, bytes, 1024, true);
        let mut tail = Tail::new();
        group.throughput(Throughput::Bytes(batch.len() as u64));
        group.bench_function(name, |b| b.iter(|| tail.append(&header, black_box(&batch))));
    }
    group.finish();

    let (header, batch) = batch(Compression::None, 16_000, 1024, true);
    let mut tail = Tail::new();
    for _ in 0..100 {
        tail.append(&header, &batch);
    }
    tail.write();
    let mut group = c.benchmark_group("fetch plan");
    for (name, back) in [("of the last batch", 1), ("of 1 MiB in 65 batches", 65)] {
        let from = tail.end() - back * i64::from(header.record_count);
        group.bench_function(name, |b| b.iter(|| tail.plan(black_box(from), MIB)));
    }
    group.finish();

    let mut group = c.benchmark_group("index look-up");
    for batches in [1_000, 1_000_000] {
        let index = Index::with_batches(batches);
        let mut offset = 0;
        group.bench_function(BenchmarkId::new("entries", batches), |b| {
            b.iter(|| {
                offset = (offset + 7_919 * 104_729) % (i64::from(batches) * 100);
                index.position_of(black_box(offset))
            })
        });
    }
    group.finish();
}

fn histogram(c: &mut Criterion) {
    let mut histogram = Histogram::<u64>::new_with_bounds(1_000, 3_600_000_000_000, 3)
        .expect("the bounds are right");
    let mut nanos = 1;
    c.bench_function("histogram/record", |b| {
        b.iter(|| {
            nanos = (nanos * 48_271) % 0x7fff_ffff;
            histogram.record(black_box(nanos)).expect("in the bounds")
        })
    });
}

fn main() {
    let mut c = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args();
    floor(&mut c);
    validation(&mut c);
    frames(&mut c);
    log(&mut c);
    histogram(&mut c);
    c.final_summary();
}
