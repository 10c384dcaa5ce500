//! A run's figures into the report: sums, rates, percentiles, verdict, warnings. Pure: works on what it is given.

use std::collections::BTreeSet;

use hdrhistogram::Histogram;

use super::super::check::SequenceCheck;
use super::super::control::{Control, PartitionSent};
use super::super::stats::{Phase, Window};
use super::super::workload::codec_name;
use super::*;

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
            p9999_us: at(0.9999),
            max_us: h.max() as f64 / 1e3,
        })
    }
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
    pub fn new(
        at_s: f64,
        phase: Phase,
        window: &Window,
        cpu: &CpuUse,
        broker: Option<BrokerSample>,
        errors: u64,
    ) -> Tick {
        let counts = window.all_counts();
        let per_s = |n: u64| if cpu.seconds > 0.0 { n as f64 / cpu.seconds } else { 0.0 };
        Tick {
            at_s,
            phase: match phase {
                Phase::Warmup => "warmup".to_string(),
                Phase::Measured => "measured".to_string(),
                Phase::Drain => "drain".to_string(),
            },
            measured: phase == Phase::Measured,
            intended_records_per_s: None,
            produced_records_per_s: per_s(counts.produced_records),
            produced_mb_per_s: per_s(counts.produced_bytes) / 1e6,
            consumed_records_per_s: per_s(counts.consumed_records),
            consumed_mb_per_s: per_s(counts.consumed_bytes) / 1e6,
            ack: merged(&window.ack),
            end_to_end: merged(&window.end_to_end),
            replayed_mb_per_s: 0.0,
            broker,
            generator_cpu_percent: cpu.generator_percent(),
            errors,
        }
    }
}

/// Above this share of one CPU a generator thread is taken to be the limit.
const GENERATOR_BUSY_PERCENT: f64 = 90.0;

pub struct Inputs<'a> {
    pub control: &'a Control,
    pub total: &'a Window,
    pub cpu: CpuUse,
    pub broker_peak_rss_bytes: Option<u64>,
    pub not_measured: Vec<String>,
    pub measured_s: f64,
    pub stopped_early_s: Option<f64>,
    pub interrupted: bool,
    pub machine: Machine,
    pub broker: BrokerInfo,
    pub started_at: String,
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
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_string(),
            commit: option_env!("SPINDLE_COMMIT").map(str::to_string),
            started_at: self.started_at,
            scenario: None,
            configuration: configuration(control),
            machine: self.machine,
            broker: self.broker,
            prepare: control.layout.prepare.clone(),
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
            ack_curve: curve(&self.total.ack[1]),
            end_to_end_curve: curve(&self.total.end_to_end[1]),
            phases: Vec::new(),
            trials: Vec::new(),
            replay: None,
            unsent_records: control.outcome(|o| o.unsent_records),
            broker_cpu_s_per_gb_produced: per_byte.map(|s| s * 1e9),
            broker_cpu_s_per_gb_moved: broker.and_then(|s| ratio(s, moved)).map(|s| s * 1e9),
            broker_cpu_us_per_request: None,
            broker_peak_rss_bytes: self.broker_peak_rss_bytes,
            broker_context_switches: self.cpu.context_switches,
            broker_cpu_us_per_record: per_record.map(|s| s * 1e6),
            generator_cpu_s_per_gb: ratio(generator_s, moved).map(|s| s * 1e9),
            data_crossings: self.cpu.crossings,
            cpu: self.cpu,
            verification: verify(control),
            errors: control.errors().0,
            failures: control.failures(),
            warnings: Vec::new(),
            not_measured: self.not_measured,
            ticks: self.ticks,
            command: self.command,
        };
        report.warnings = warnings(&report, w.rate);
        report
    }
}

fn configuration(control: &Control) -> Configuration {
    let w = &control.workload;
    Configuration {
        bootstrap_server: w.bootstrap.clone(),
        topics: control.layout.topics.iter().map(|t| t.name.clone()).collect(),
        partitions: control.layout.places.len() / control.layout.topics.len().max(1),
        topic_configs: w.topic_configs.clone(),
        producers: w.producers,
        consumers: w.consumers,
        replay_consumers: w.replay_consumers,
        generator_threads: w.threads,
        generator_cpus: w.cpus.clone(),
        record_size: w.sizes.to_string(),
        keys: w.keys.to_string(),
        key_bytes: w.key_bytes,
        payload: w.payload.to_string(),
        headers: w.headers,
        header_bytes: w.header_bytes,
        arrivals: w.arrivals.to_string(),
        rate_records_per_s: w.rate,
        duration_s: w.duration.as_secs_f64(),
        warmup_s: w.warmup.as_secs_f64(),
        records: w.records,
        acks: w.acks.name().to_string(),
        compression: codec_name(w.compression).to_string(),
        linger_ms: w.linger.as_secs_f64() * 1e3,
        batch_bytes: w.batch_bytes,
        max_in_flight: w.in_flight,
        idempotence: w.idempotence,
        fetch_min_bytes: w.fetch_min_bytes,
        fetch_max_wait_ms: w.fetch_wait.as_secs_f64() * 1e3,
        fetch_partition_bytes: w.fetch_partition_bytes,
        fetch_bytes: w.fetch_bytes,
        seed: w.seed,
    }
}

/// Quantiles that halve the rest each time, eight between two halvings: as a percentile plot needs them.
fn curve(h: &Histogram<u64>) -> Vec<CurvePoint> {
    let mut points = Vec::new();
    if h.is_empty() {
        return points;
    }
    let mut rest: f64 = 1.0;
    while rest * h.len() as f64 >= 0.5 {
        let quantile = 1.0 - rest;
        points.push(CurvePoint { quantile, us: h.value_at_quantile(quantile) as f64 / 1e3 });
        rest *= 0.5_f64.powf(1.0 / 8.0);
    }
    points.push(CurvePoint { quantile: 1.0, us: h.max() as f64 / 1e3 });
    points
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
        let cut_off: BTreeSet<usize> =
            outcome.seen.iter().flat_map(|s| s.cut_off.iter().copied()).collect();
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
        let all = outcome.sent.iter().flat_map(|(producer, lanes)| {
            lanes.iter().enumerate().map(move |(lane, sent)| (*producer, lane, sent))
        });
        for (producer, lane, sent) in all {
            v.records_sent += sent.sent;
            v.records_acked += sent.acked;
            let key = (producer, lane);
            let check = outcome.seen.iter().find_map(|s| s.checks.get(&key));
            let missing = missing(check, sent);
            match cut_off.contains(&lane) {
                true => v.not_read_back += missing,
                false if v.checked => v.lost += missing,
                false => {}
            }
        }
        v
    })
}

fn missing(check: Option<&SequenceCheck>, sent: &PartitionSent) -> u64 {
    match check {
        Some(check) => check.lost(sent.sent, &sent.not_acked),
        None => SequenceCheck::default().lost(sent.sent, &sent.not_acked),
    }
}
