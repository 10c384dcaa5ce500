//! What the user sees and what `--json` writes: ticks, totals, percentiles, CPU cost, the verdict.
//! Units are in every name. MB and GB are 10^6 and 10^9 bytes of record values. Pure: formats what it
//! is given (`text.rs` has the words).

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::control::{Control, Failure, PartitionSent};
use super::machine::{self, Machine};
use super::stats::{Counts, ErrorCount, Phase, Window};
use super::workload::Acks;

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Percentiles {
    pub samples: u64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

impl Percentiles {
    pub fn of(h: &Histogram<u64>) -> Option<Percentiles> {
        let at = |q| h.value_at_quantile(q) as f64 / 1e3;
        (!h.is_empty()).then(|| Percentiles {
            samples: h.len(),
            mean_us: h.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: h.max() as f64 / 1e3,
        })
    }
}

/// CPU spent in a stretch of time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CpuUse {
    pub seconds: f64,
    pub broker_s: Option<f64>,
    /// By generator thread.
    pub generator_s: Vec<f64>,
    pub crossings: Option<u64>,
}

impl CpuUse {
    pub fn broker_percent(&self) -> Option<f64> {
        self.broker_s.filter(|_| self.seconds > 0.0).map(|s| 100.0 * s / self.seconds)
    }

    /// Of the busiest generator thread.
    pub fn generator_percent(&self) -> f64 {
        let busiest = self.generator_s.iter().copied().fold(0.0, f64::max);
        if self.seconds > 0.0 { 100.0 * busiest / self.seconds } else { 0.0 }
    }
}

/// One second (or so) of the run.
#[derive(Clone, Debug, Serialize)]
pub struct Tick {
    pub at_s: f64,
    pub phase: &'static str,
    pub produced_records_per_s: f64,
    pub produced_mb_per_s: f64,
    pub consumed_records_per_s: f64,
    pub consumed_mb_per_s: f64,
    pub ack: Option<Percentiles>,
    pub end_to_end: Option<Percentiles>,
    pub broker_cpu_percent: Option<f64>,
    pub generator_cpu_percent: f64,
    pub errors: u64,
}

fn merged(two: &[Histogram<u64>; 2]) -> Option<Percentiles> {
    match (two[0].is_empty(), two[1].is_empty()) {
        (_, true) => Percentiles::of(&two[0]),
        (true, _) => Percentiles::of(&two[1]),
        _ => {
            let mut both = two[0].clone();
            both.add(&two[1]).ok()?;
            Percentiles::of(&both)
        }
    }
}

impl Tick {
    pub fn new(at_s: f64, phase: Phase, window: &Window, cpu: &CpuUse, errors: u64) -> Tick {
        let counts = window.all_counts();
        let per_s = |n: u64| if cpu.seconds > 0.0 { n as f64 / cpu.seconds } else { 0.0 };
        Tick {
            at_s,
            phase: match phase {
                Phase::Warmup => "warmup",
                Phase::Measured => "measured",
                Phase::Drain => "drain",
            },
            produced_records_per_s: per_s(counts.produced_records),
            produced_mb_per_s: per_s(counts.produced_bytes) / 1e6,
            consumed_records_per_s: per_s(counts.consumed_records),
            consumed_mb_per_s: per_s(counts.consumed_bytes) / 1e6,
            ack: merged(&window.ack),
            end_to_end: merged(&window.end_to_end),
            broker_cpu_percent: cpu.broker_percent(),
            generator_cpu_percent: cpu.generator_percent(),
            errors,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Configuration {
    pub bootstrap_server: String,
    pub local_broker: bool,
    pub broker_nodes: usize,
    pub topic: String,
    pub partitions: usize,
    pub producers: u32,
    pub consumers: u32,
    pub generator_threads: usize,
    pub generator_cpus: Vec<usize>,
    pub record_bytes: usize,
    pub rate_records_per_s: f64,
    pub duration_s: f64,
    pub warmup_s: f64,
    pub acks: &'static str,
    pub compression: &'static str,
    pub linger_ms: f64,
    pub batch_bytes: usize,
    pub max_in_flight: usize,
    pub idempotence: bool,
    pub seed: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// False without consumers: nobody looked.
    pub checked: bool,
    pub records_sent: u64,
    pub records_acked: u64,
    pub records_read: u64,
    /// Acknowledged (or, with acks=0, sent) and not there.
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub corrupted: u64,
    pub misplaced: u64,
    pub offset_gaps: u64,
    /// Of other runs or writers in the same topic; ignored.
    pub foreign: u64,
    /// Acknowledged, but nobody could look: the broker went away.
    pub not_read_back: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub format: u32,
    pub version: &'static str,
    pub command: String,
    pub configuration: Configuration,
    pub machine: Machine,
    pub cluster_id: Option<String>,
    pub measured_s: f64,
    pub stopped_early_s: Option<f64>,
    pub interrupted: bool,
    /// Warm-up, measured period and drain together.
    pub whole_run: Counts,
    pub measured: Counts,
    pub produced_records_per_s: f64,
    pub produced_mb_per_s: f64,
    pub consumed_records_per_s: f64,
    pub consumed_mb_per_s: f64,
    /// From the intended send time to the answer; absent with acks=0.
    pub ack: Option<Percentiles>,
    /// From the intended send time to the consumer.
    pub end_to_end: Option<Percentiles>,
    pub unsent_records: u64,
    pub cpu: CpuUse,
    pub broker_cpu_s_per_gb_produced: Option<f64>,
    pub broker_cpu_us_per_record: Option<f64>,
    pub generator_cpu_s_per_gb: Option<f64>,
    /// Requests that crossed shards, in the measured period.
    pub data_crossings: Option<u64>,
    pub verification: Verification,
    pub errors: BTreeMap<String, ErrorCount>,
    pub failures: Vec<Failure>,
    pub warnings: Vec<String>,
    pub ticks: Vec<Tick>,
}

/// Above this share of one CPU a generator thread is taken to be the limit.
const GENERATOR_BUSY_PERCENT: f64 = 90.0;

pub struct Inputs<'a> {
    pub control: &'a Control,
    pub total: &'a Window,
    pub cpu: CpuUse,
    pub measured_s: f64,
    pub stopped_early_s: Option<f64>,
    pub interrupted: bool,
    pub local_broker: bool,
    pub command: String,
    pub ticks: Vec<Tick>,
}

impl Inputs<'_> {
    pub fn report(self) -> Report {
        let control = self.control;
        let w = &control.workload;
        let measured = self.total.counts[Phase::Measured as usize];
        let per_s = |n: u64| if self.measured_s > 0.0 { n as f64 / self.measured_s } else { 0.0 };
        let ratio = |a: f64, b: u64| (b > 0).then(|| a / b as f64);
        let generator_s: f64 = self.cpu.generator_s.iter().sum();
        let moved = measured.produced_bytes + measured.consumed_bytes;
        let broker = self.cpu.broker_s;
        let per_byte = broker.and_then(|s| ratio(s, measured.produced_bytes));
        let per_record = broker.and_then(|s| ratio(s, measured.produced_records));
        let mut report = Report {
            format: 1,
            version: env!("CARGO_PKG_VERSION"),
            configuration: configuration(control, self.local_broker),
            machine: machine::describe(),
            cluster_id: control.layout.cluster_id.clone(),
            measured_s: self.measured_s,
            stopped_early_s: self.stopped_early_s,
            interrupted: self.interrupted,
            whole_run: self.total.all_counts(),
            measured,
            produced_records_per_s: per_s(measured.produced_records),
            produced_mb_per_s: per_s(measured.produced_bytes) / 1e6,
            consumed_records_per_s: per_s(measured.consumed_records),
            consumed_mb_per_s: per_s(measured.consumed_bytes) / 1e6,
            ack: Percentiles::of(&self.total.ack[1]),
            end_to_end: Percentiles::of(&self.total.end_to_end[1]),
            unsent_records: control.outcome(|o| o.unsent_records),
            broker_cpu_s_per_gb_produced: per_byte.map(|s| s * 1e9),
            broker_cpu_us_per_record: per_record.map(|s| s * 1e6),
            generator_cpu_s_per_gb: ratio(generator_s, moved).map(|s| s * 1e9),
            data_crossings: self.cpu.crossings,
            cpu: self.cpu,
            verification: verify(control),
            errors: control.errors().0,
            failures: control.failures(),
            warnings: Vec::new(),
            ticks: self.ticks,
            command: self.command,
        };
        report.warnings = warnings(&report, w.rate);
        report
    }
}

fn configuration(control: &Control, local_broker: bool) -> Configuration {
    let w = &control.workload;
    Configuration {
        bootstrap_server: w.bootstrap.clone(),
        local_broker,
        broker_nodes: control.layout.nodes.len(),
        topic: w.topic.clone(),
        partitions: control.layout.places.len(),
        producers: w.producers,
        consumers: w.consumers,
        generator_threads: w.threads,
        generator_cpus: w.cpus.clone(),
        record_bytes: w.record_bytes,
        rate_records_per_s: w.rate,
        duration_s: w.duration.as_secs_f64(),
        warmup_s: w.warmup.as_secs_f64(),
        acks: w.acks.name(),
        compression: w.compression.name(),
        linger_ms: w.linger.as_secs_f64() * 1e3,
        batch_bytes: w.batch_bytes,
        max_in_flight: w.in_flight,
        idempotence: w.idempotence,
        seed: w.seed,
    }
}

fn warnings(r: &Report, rate: f64) -> Vec<String> {
    let mut warnings = Vec::new();
    let busy = r.cpu.generator_percent();
    if busy >= GENERATOR_BUSY_PERCENT {
        warnings.push(format!(
            "the generator was the limit: one of its threads used {busy:.0} % of a CPU; add --threads, or read the rate as a lower bound of the broker's"
        ));
    }
    if r.unsent_records > 0 {
        warnings.push(format!(
            "{} records were due at {rate} a second but not sent: the broker (or this machine) did not keep up, and the latencies leave them out",
            r.unsent_records
        ));
    }
    let unanswered = r.verification.records_sent.saturating_sub(r.verification.records_acked);
    if unanswered > 0 {
        warnings.push(format!(
            "{unanswered} records were sent and never acknowledged: the ack latencies leave them out, so the true tail is longer"
        ));
    }
    warnings
}

/// What was sent against what was seen.
fn verify(control: &Control) -> Verification {
    let w = &control.workload;
    control.outcome(|outcome| {
        let mut v = Verification { checked: w.consumers > 0, ..Verification::default() };
        let cut_off: Vec<i32> = outcome.seen.iter().flat_map(|s| s.cut_off.clone()).collect();
        for seen in &outcome.seen {
            v.records_read += seen.records;
            v.corrupted += seen.corrupted;
            v.misplaced += seen.misplaced;
            v.foreign += seen.foreign;
            v.offset_gaps += seen.offset_gaps;
            for check in seen.checks.values() {
                v.duplicated += check.duplicates;
                v.reordered += check.reordered;
            }
        }
        let all = outcome.sent.iter().flat_map(|(producer, partitions)| {
            partitions.iter().enumerate().map(move |(i, sent)| (*producer, i as i32, sent))
        });
        for (producer, partition, sent) in all {
            v.records_sent += sent.sent;
            v.records_acked += sent.acked;
            let key = (producer, partition);
            let check = outcome.seen.iter().find_map(|s| s.checks.get(&key));
            let missing = missing(check, sent);
            match cut_off.contains(&partition) {
                true => v.not_read_back += missing,
                false if v.checked => v.lost += missing,
                false => {}
            }
        }
        v
    })
}

fn missing(check: Option<&super::check::SequenceCheck>, sent: &PartitionSent) -> u64 {
    match check {
        Some(check) => check.lost(sent.sent, &sent.not_acked),
        None => super::check::SequenceCheck::default().lost(sent.sent, &sent.not_acked),
    }
}

impl Report {
    /// What makes the run a failed one, a sentence each; empty when it is good.
    pub fn problems(&self) -> Vec<String> {
        let v = &self.verification;
        let mut problems: Vec<String> =
            self.failures.iter().map(|f| format!("at {:.1} s: {}", f.at_s, f.sentence)).collect();
        let lossy = self.configuration.acks == Acks::None.name();
        let broken = [
            (if lossy { 0 } else { v.lost }, "acknowledged records were lost"),
            (v.duplicated, "records came twice"),
            (v.reordered, "records came out of order"),
            (v.corrupted, "records were altered (checksum)"),
            (v.misplaced, "records came from another partition than they were sent to"),
            (v.offset_gaps, "offsets were skipped"),
            (v.not_read_back, "acknowledged records could not be read back"),
        ];
        for (count, what) in broken {
            if count > 0 {
                problems.push(format!("{count} {what}"));
            }
        }
        let errors: u64 = self.errors.values().map(|e| e.count).sum();
        if errors > 0 && self.failures.is_empty() {
            problems.push(format!("{errors} requests failed"));
        }
        problems
    }
}
