//! Reports for tests of what is made of them: every field is there, figures follow from a few numbers
//! and a seed. They are no measurement of anything.

use std::collections::BTreeMap;

use crate::loadgen::control::{Failure, Throttled};
use crate::loadgen::machine::Machine;
use crate::loadgen::report::*;
use crate::loadgen::stats::{Counts, ErrorCount};

/// What a sample is like; the rest follows.
#[derive(Clone, Copy)]
pub struct Shape {
    pub broker: &'static str,
    pub seconds: usize,
    pub rate: f64,
    /// Median ack latency.
    pub ack_us: f64,
    pub cpu_percent: f64,
    pub rss: u64,
    pub shards: usize,
}

pub const SPINDLE: Shape = Shape {
    broker: "Spindle",
    seconds: 60,
    rate: 48_000.0,
    ack_us: 900.0,
    cpu_percent: 28.0,
    rss: 61_000_000,
    shards: 2,
};

pub const KAFKA: Shape = Shape {
    broker: "Apache Kafka 4.3.1",
    seconds: 60,
    rate: 47_500.0,
    ack_us: 2_100.0,
    cpu_percent: 131.0,
    rss: 1_240_000_000,
    shards: 0,
};

pub const RECORD_BYTES: f64 = 1024.0;
const WARMUP_S: usize = 2;

/// 0 to 1, fixed by what it is asked.
fn noise(seed: usize, at: usize) -> f64 {
    let mut x = (seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (at as u64 + 1);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((x ^ (x >> 31)) % 10_000) as f64 / 1e4
}

pub fn percentiles(p50_us: f64, samples: u64, tail: f64) -> Percentiles {
    Percentiles {
        samples,
        mean_us: p50_us * 1.2,
        p50_us,
        p90_us: p50_us * 1.9,
        p99_us: p50_us * 5.0 * tail,
        p999_us: p50_us * 9.0 * tail,
        p9999_us: p50_us * 14.0 * tail,
        max_us: p50_us * 21.0 * tail,
    }
}

fn curve(p50_us: f64) -> Vec<CurvePoint> {
    let mut points: Vec<CurvePoint> = (0..160)
        .map(|i| {
            let nines = i as f64 / 8.0 * 0.301;
            let us = p50_us * (0.4 + 2.0 * nines.powf(1.7));
            CurvePoint { quantile: 1.0 - 10f64.powf(-nines), us }
        })
        .collect();
    points.push(CurvePoint { quantile: 1.0, us: p50_us * 90.0 });
    points
}

fn tick(shape: &Shape, at: usize, phase: &str, factor: f64) -> Tick {
    let seed = shape.broker.len();
    let measured = phase != "warmup" && phase != "drain";
    let rate = shape.rate * factor * (0.97 + 0.06 * noise(seed, at));
    let tail = 1.0 + 2.5 * noise(seed + 1, at).powi(6) * 3.0;
    let ack_us = shape.ack_us * (0.8 + factor * 0.3 + 0.1 * noise(seed + 2, at));
    let cpu = shape.cpu_percent * (0.3 + 0.7 * factor) * (0.95 + 0.1 * noise(seed + 3, at));
    let shards = (0..shape.shards)
        .map(|shard| ShardSample {
            shard,
            cpu_percent: cpu / shape.shards as f64 * (0.9 + 0.2 * noise(shard, at)),
            queue: (noise(shard + 9, at) * 12.0) as u64,
            connections: 2,
        })
        .collect();
    let grown = 0.55 + 0.45 * (at as f64 / shape.seconds as f64).min(1.0).sqrt();
    Tick {
        at_s: at as f64 + 1.0,
        phase: phase.to_string(),
        measured,
        intended_records_per_s: (phase != "drain").then_some(shape.rate * factor),
        produced_records_per_s: rate,
        produced_mb_per_s: rate * RECORD_BYTES / 1e6,
        consumed_records_per_s: rate * 0.995,
        consumed_mb_per_s: rate * 0.995 * RECORD_BYTES / 1e6,
        replayed_mb_per_s: if at > 20 && at < 38 { 210.0 + 30.0 * noise(5, at) } else { 0.0 },
        ack: Some(percentiles(ack_us, rate as u64, tail)),
        end_to_end: Some(percentiles(ack_us * 1.15, rate as u64, tail)),
        broker: Some(BrokerSample {
            cpu_percent: cpu,
            rss_bytes: Some((shape.rss as f64 * grown) as u64),
            threads: Some(9),
            context_switches_per_s: Some(rate / 40.0),
            shards,
        }),
        generator_cpu_percent: 35.0 * factor + 5.0 * noise(4, at),
        errors: 0,
    }
}

fn counts(records: f64) -> Counts {
    let bytes = (records * RECORD_BYTES) as u64;
    Counts {
        produced_records: records as u64,
        produced_bytes: bytes,
        produced_batches: (records / 60.0) as u64,
        produced_wire_bytes: bytes + bytes / 100,
        consumed_records: records as u64,
        consumed_bytes: bytes,
        consumed_wire_bytes: bytes + bytes / 100,
        fetches: (records / 80.0) as u64,
        ..Counts::default()
    }
}

fn phase(shape: &Shape, name: &str, from_s: f64, to_s: f64, factor: f64) -> PhaseReport {
    let rate = shape.rate * factor;
    PhaseReport {
        name: name.to_string(),
        measured: name != "warmup",
        from_s,
        to_s,
        rate: Some((rate, rate)),
        counts: counts(rate * (to_s - from_s)),
        produced_records_per_s: rate,
        produced_mb_per_s: rate * RECORD_BYTES / 1e6,
        consumed_records_per_s: rate,
        consumed_mb_per_s: rate * RECORD_BYTES / 1e6,
        ack: Some(percentiles(shape.ack_us, (rate * (to_s - from_s)) as u64, 1.0)),
        end_to_end: Some(percentiles(shape.ack_us * 1.15, 1000, 1.0)),
        ack_p99_us_of_median_second: None,
        broker_cpu_percent: Some(shape.cpu_percent * factor),
    }
}

pub fn report(shape: Shape) -> Report {
    let (warmup, seconds) = (WARMUP_S as f64, shape.seconds as f64);
    // Half the time at a half of the rate, a step to all of it.
    let step = WARMUP_S + shape.seconds / 2;
    let end = WARMUP_S + shape.seconds;
    let mut ticks: Vec<Tick> = (0..end)
        .map(|at| match at {
            at if at < WARMUP_S => tick(&shape, at, "warmup", 0.5),
            at if at < step => tick(&shape, at, "half", 0.5),
            at => tick(&shape, at, "full", 1.0),
        })
        .collect();
    ticks.push(tick(&shape, end, "drain", 0.02));
    let records = shape.rate * 0.75 * seconds;
    let gb = records * RECORD_BYTES / 1e9;
    let broker_s = shape.cpu_percent / 100.0 * 0.85 * seconds;
    let in_process = shape.shards > 0;
    Report {
        format: FORMAT,
        version: "0.1.0".to_string(),
        commit: Some("5e7f153aa10c".to_string()),
        started_at: "2026-11-21T08:00:00Z".to_string(),
        command: "spindle bench perf/steps.toml --rate 48000 --json run.json".to_string(),
        scenario: Some(ScenarioInfo {
            name: "steps".to_string(),
            question: "What does a step to twice the rate do to latency?".to_string(),
            file: "perf/steps.toml".to_string(),
        }),
        configuration: configuration(seconds, warmup),
        machine: Machine {
            cpu: "AMD EPYC".to_string(),
            cores: 2,
            kernel: "6.18.44".to_string(),
            memory_bytes: 25_276_510_208,
            numa_nodes: 1,
            disk: Some("QEMU NVMe, 100 GB, ext4 rw,relatime".to_string()),
        },
        broker: BrokerInfo {
            in_process,
            name: shape.broker.to_string(),
            pid: (!in_process).then_some(4711),
            cluster_id: Some("lChwZS2OiMAHM3NKPrvQxA".to_string()),
            nodes: 1,
            overrides: Vec::new(),
        },
        prepare: Prepare { connect_ms: 2.1, create_topics_ms: Some(8.4), leaders_ms: 11.0 },
        measured_s: seconds,
        stopped_early_s: None,
        interrupted: false,
        whole_run: counts(records + shape.rate * 0.5 * warmup),
        measured: counts(records),
        produced_records_per_s: records / seconds,
        produced_mb_per_s: records / seconds * RECORD_BYTES / 1e6,
        consumed_records_per_s: records / seconds,
        consumed_mb_per_s: records / seconds * RECORD_BYTES / 1e6,
        ack: Some(percentiles(shape.ack_us, records as u64, 1.0)),
        end_to_end: Some(percentiles(shape.ack_us * 1.15, records as u64, 1.0)),
        generator_lateness: Some(percentiles(12.0, records as u64, 1.0)),
        ack_curve: curve(shape.ack_us),
        end_to_end_curve: curve(shape.ack_us * 1.15),
        phases: vec![
            phase(&shape, "warmup", 0.0, warmup, 0.5),
            phase(&shape, "half", warmup, step as f64, 0.5),
            phase(&shape, "full", step as f64, end as f64, 1.0),
        ],
        trials: Vec::new(),
        replay: None,
        unsent_records: 0,
        cpu: CpuUse {
            seconds,
            broker_s: Some(broker_s),
            generator_s: vec![seconds * 0.35],
            crossings: in_process.then_some(0),
            context_switches: Some((records / 40.0) as u64),
            shards: (0..shape.shards)
                .map(|shard| ShardTime {
                    shard,
                    seconds,
                    cpu_s: broker_s / shape.shards as f64,
                    network_s: broker_s / shape.shards as f64,
                    idle_s: seconds - broker_s / shape.shards as f64,
                    ..ShardTime::default()
                })
                .collect(),
        },
        broker_cpu_s_per_gb_produced: Some(broker_s / gb),
        broker_cpu_s_per_gb_moved: Some(broker_s / gb / 2.0),
        broker_cpu_us_per_record: Some(broker_s / records * 1e6),
        broker_cpu_us_per_request: Some(broker_s / records * 60e6),
        broker_peak_rss_bytes: Some(shape.rss),
        broker_context_switches: Some((records / 40.0) as u64),
        generator_cpu_s_per_gb: Some(seconds * 0.35 / gb / 2.0),
        data_crossings: in_process.then_some(0),
        verification: Verification {
            checked: true,
            records_sent: records as u64,
            records_acked: records as u64,
            records_read: records as u64,
            ..Verification::default()
        },
        errors: BTreeMap::new(),
        failures: Vec::new(),
        throttled: BTreeMap::new(),
        warnings: Vec::new(),
        not_measured: Vec::new(),
        ticks,
    }
}

fn configuration(duration_s: f64, warmup_s: f64) -> Configuration {
    Configuration {
        bootstrap_server: "127.0.0.1:9092".to_string(),
        topics: vec!["bench".to_string()],
        partitions: 16,
        topic_configs: vec![("segment.bytes".to_string(), "67108864".to_string())],
        producers: 2,
        consumers: 2,
        replay_consumers: 0,
        replay_after_s: 0.0,
        prefill: 0,
        generator_threads: 1,
        generator_cpus: vec![1],
        record_size: "1024".to_string(),
        keys: "none".to_string(),
        key_bytes: 0,
        payload: "random".to_string(),
        headers: 0,
        header_bytes: 0,
        arrivals: "poisson".to_string(),
        rate_records_per_s: 48_000.0,
        duration_s,
        warmup_s,
        records: None,
        acks: "all".to_string(),
        compression: "none".to_string(),
        linger_ms: 5.0,
        batch_bytes: 65_536,
        max_in_flight: 5,
        idempotence: false,
        fetch_min_bytes: 1,
        fetch_max_wait_ms: 500.0,
        fetch_partition_bytes: 1_048_576,
        fetch_bytes: 52_428_800,
        seed: 1,
    }
}

/// Everything that may be absent is there, and things went wrong.
pub fn full(shape: Shape) -> Report {
    let mut r = report(shape);
    r.stopped_early_s = Some(41.0);
    r.interrupted = true;
    r.configuration.records = Some(5_000_000);
    r.configuration.replay_consumers = 2;
    r.broker.pid = Some(4711);
    r.broker.overrides = vec!["log.flush.interval.messages=1".to_string()];
    let trial = |rate: f64, latency_us: f64, kept: bool, reason: &str| Trial {
        rate_records_per_s: rate,
        produced_records_per_s: rate * 0.999,
        latency_us,
        kept,
        reason: reason.to_string(),
    };
    r.trials = vec![
        trial(20_000.0, 3_100.0, true, ""),
        trial(40_000.0, 5_200.0, true, ""),
        trial(80_000.0, 61_000.0, false, "p99 of 61 ms is over 10 ms"),
        trial(60_000.0, 14_000.0, false, "p99 of 14 ms is over 10 ms"),
        trial(48_000.0, 8_700.0, true, ""),
    ];
    r.replay = Some(Replay {
        consumers: 2,
        started_s: 21.0,
        records: 3_900_000,
        bytes: 3_990_000_000,
        mb_per_s: 224.0,
        caught_up_s: Some(38.2),
    });
    r.unsent_records = 120;
    r.verification.records_acked -= 7;
    r.verification.lost = 3;
    r.verification.foreign = 1;
    r.errors.insert(
        "NOT_LEADER_OR_FOLLOWER (Produce)".to_string(),
        ErrorCount { count: 12, first_at_s: 40.2 },
    );
    let waits = Throttled { answers: 4, total_s: 0.8, first_at_s: 12.0 };
    r.throttled.insert("Produce".to_string(), waits);
    r.failures = vec![Failure {
        at_s: 41.0,
        sentence:
            "the broker 127.0.0.1:9092 closed the connection <and \"did\" not> come back & so on"
                .to_string(),
    }];
    r.warnings = vec!["120 records were due but not sent".to_string()];
    r.not_measured = vec!["the broker's queue: it is not a Spindle in this process".to_string()];
    r
}
