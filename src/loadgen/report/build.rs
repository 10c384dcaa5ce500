//! A run's figures into the report: sums, rates, percentiles, verdict, warnings. Pure: works on what it is given.

use std::collections::BTreeSet;

use hdrhistogram::Histogram;

use super::super::check::SequenceCheck;
use super::super::control::{Control, PartitionSent};
use super::super::stats::{Latency, Window};
use super::super::text;
use super::super::workload::{Rate, Span, codec_name};
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

fn percentiles(h: Option<Box<Histogram<u64>>>) -> Option<Percentiles> {
    h.and_then(|h| Percentiles::of(&h))
}

impl Tick {
    /// `span` is what it belongs to, with a time inside it; `None` is the drain.
    pub fn new(
        at_s: f64,
        span: Option<(&Span, u64)>,
        window: &Window,
        cpu: &CpuUse,
        broker: Option<BrokerSample>,
        errors: u64,
    ) -> Tick {
        let counts = window.all_counts();
        let per_s = |n: u64| if cpu.seconds > 0.0 { n as f64 / cpu.seconds } else { 0.0 };
        Tick {
            at_s,
            phase: span.map_or("drain".to_string(), |(span, _)| span.name.clone()),
            measured: span.is_some_and(|(span, _)| span.measured),
            intended_records_per_s: span.and_then(|(span, at_ns)| span.rate_at(at_ns)),
            produced_records_per_s: per_s(counts.produced_records),
            produced_mb_per_s: per_s(counts.produced_bytes) / 1e6,
            consumed_records_per_s: per_s(counts.consumed_records),
            consumed_mb_per_s: per_s(counts.consumed_bytes) / 1e6,
            ack: percentiles(window.latency_of(Latency::Ack, |_| true)),
            end_to_end: percentiles(window.latency_of(Latency::EndToEnd, |_| true)),
            replayed_mb_per_s: per_s(counts.replayed_bytes) / 1e6,
            broker,
            generator_cpu_percent: cpu.generator_percent(),
            errors,
        }
    }
}

impl CpuUse {
    fn add(&mut self, other: &CpuUse) {
        fn sum<T: Copy + std::ops::Add<Output = T>>(a: Option<T>, b: Option<T>) -> Option<T> {
            a.zip(b).map_or(a.or(b), |(a, b)| Some(a + b))
        }
        self.seconds += other.seconds;
        self.broker_s = sum(self.broker_s, other.broker_s);
        self.crossings = sum(self.crossings, other.crossings);
        self.context_switches = sum(self.context_switches, other.context_switches);
        activity::add(&mut self.shards, &other.shards);
        self.generator_s.resize(self.generator_s.len().max(other.generator_s.len()), 0.0);
        for (mine, theirs) in self.generator_s.iter_mut().zip(&other.generator_s) {
            *mine += theirs;
        }
    }
}

/// Above this share of one CPU a generator thread is taken to be the limit.
const GENERATOR_BUSY_PERCENT: f64 = 90.0;

pub struct Inputs<'a> {
    pub control: &'a Control,
    pub total: &'a Window,
    /// Of each span that began, in order.
    pub spans_cpu: Vec<CpuUse>,
    pub broker_peak_rss_bytes: Option<u64>,
    pub not_measured: Vec<String>,
    pub stopped_early_s: Option<f64>,
    pub interrupted: bool,
    pub machine: Machine,
    pub broker: BrokerInfo,
    pub started_at: String,
    pub command: String,
    pub ticks: Vec<Tick>,
}

impl Inputs<'_> {
    /// Seconds of each span until the run ended.
    fn spans(&self) -> impl Iterator<Item = (usize, &Span, f64)> {
        let end_ns = self.control.end_ns();
        self.control.schedule.spans.iter().enumerate().map(move |(i, span)| {
            let seconds = span.to_ns.min(end_ns).saturating_sub(span.from_ns) as f64 / 1e9;
            (i, span, seconds)
        })
    }

    fn phases(&self) -> Vec<PhaseReport> {
        let began = self.spans().filter(|(_, _, seconds)| *seconds > 0.0);
        let report = began.map(|(i, span, seconds)| {
            let counts = self.total.counts_of(|s| s == i);
            let latency = |what| percentiles(self.total.latency_of(what, |s| s == i));
            let from_s = self.control.schedule.seconds(span.from_ns);
            PhaseReport {
                name: span.name.clone(),
                measured: span.measured,
                from_s,
                to_s: from_s + seconds,
                rate: match span.rate {
                    Rate::Full => None,
                    Rate::Line { from, to } => Some((from, to)),
                },
                counts,
                produced_records_per_s: counts.produced_records as f64 / seconds,
                produced_mb_per_s: counts.produced_bytes as f64 / seconds / 1e6,
                consumed_records_per_s: counts.consumed_records as f64 / seconds,
                consumed_mb_per_s: counts.consumed_bytes as f64 / seconds / 1e6,
                ack: latency(Latency::Ack),
                end_to_end: latency(Latency::EndToEnd),
                ack_p99_us_of_median_second: median_second(&self.ticks, from_s, from_s + seconds),
                broker_cpu_percent: self.spans_cpu.get(i).and_then(CpuUse::broker_percent),
            }
        });
        report.collect()
    }

    pub fn report(self) -> Report {
        let control = self.control;
        let phases = self.phases();
        let is_measured = |i: usize| control.schedule.spans[i].measured;
        let measured_s: f64 =
            self.spans().filter(|(_, span, _)| span.measured).map(|(_, _, s)| s).sum();
        let measured = self.total.counts_of(is_measured);
        let latency = |what| self.total.latency_of(what, is_measured);
        let (ack, end_to_end) = (latency(Latency::Ack), latency(Latency::EndToEnd));
        let curve_of =
            |h: &Option<Box<Histogram<u64>>>| h.as_deref().map(curve).unwrap_or_default();
        let mut cpu = CpuUse::default();
        let of_measured = self.spans_cpu.iter().enumerate().filter(|(i, _)| is_measured(*i));
        of_measured.for_each(|(_, used)| cpu.add(used));
        let per_s = |n: u64| if measured_s > 0.0 { n as f64 / measured_s } else { 0.0 };
        let ratio = |a: f64, b: u64| (b > 0).then(|| a / b as f64);
        let generator_s: f64 = cpu.generator_s.iter().sum();
        let moved = measured.produced_bytes + measured.consumed_bytes + measured.replayed_bytes;
        let broker = cpu.broker_s;
        let per_byte = broker.and_then(|s| ratio(s, measured.produced_bytes));
        let per_request = broker.and_then(|s| ratio(s, measured.produced_batches));
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
            measured_s,
            stopped_early_s: self.stopped_early_s,
            interrupted: self.interrupted,
            whole_run: self.total.all_counts(),
            measured,
            produced_records_per_s: per_s(measured.produced_records),
            produced_mb_per_s: per_s(measured.produced_bytes) / 1e6,
            consumed_records_per_s: per_s(measured.consumed_records),
            consumed_mb_per_s: per_s(measured.consumed_bytes) / 1e6,
            ack_curve: curve_of(&ack),
            end_to_end_curve: curve_of(&end_to_end),
            ack: percentiles(ack),
            end_to_end: percentiles(end_to_end),
            phases,
            trials: Vec::new(),
            replay: beside::replay(control),
            unsent_records: control.outcome(|o| o.unsent_records),
            generator_lateness: percentiles(latency(Latency::Lateness)),
            broker_cpu_s_per_gb_produced: per_byte.map(|s| s * 1e9),
            broker_cpu_s_per_gb_moved: broker.and_then(|s| ratio(s, moved)).map(|s| s * 1e9),
            broker_cpu_us_per_request: per_request.map(|s| s * 1e6),
            broker_peak_rss_bytes: self.broker_peak_rss_bytes,
            broker_context_switches: cpu.context_switches,
            broker_cpu_us_per_record: per_record.map(|s| s * 1e6),
            generator_cpu_s_per_gb: ratio(generator_s, moved).map(|s| s * 1e9),
            data_crossings: cpu.crossings,
            cpu,
            verification: verify(control),
            errors: control.errors().0,
            failures: control.failures(),
            throttled: control.throttles(),
            warnings: Vec::new(),
            not_measured: self.not_measured,
            ticks: self.ticks,
            command: self.command,
        };
        report.warnings = warnings(&report);
        report.warnings.extend(beside::throttle_warnings(&report.throttled));
        let more = beside::not_measured(&report, control);
        report.not_measured.extend(more);
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
        replay_after_s: w.replay_after.as_secs_f64(),
        prefill: w.prefill,
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

/// The 99th percentile of the median of the seconds that lie between these two.
fn median_second(ticks: &[Tick], from_s: f64, to_s: f64) -> Option<f64> {
    // A tick says when it ended.
    let within = ticks.iter().filter(|t| t.at_s > from_s + 0.5 && t.at_s <= to_s + 0.5);
    let mut p99s: Vec<f64> = within.filter_map(|t| Some(t.ack?.p99_us)).collect();
    p99s.sort_by(f64::total_cmp);
    let (half, upper) = (p99s.len().checked_sub(1)? / 2, p99s.len() / 2);
    Some((p99s[half] + p99s[upper]) / 2.0)
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

/// Lateness of the generator that is more than this part of the latency it goes into is worth a warning.
const LATE_P50_PART: f64 = 0.2;
const LATE_P99_PART: f64 = 0.5;

/// In words, when much of the latencies is the generator's own.
fn late(r: &Report) -> Option<String> {
    let (late, seen) = (r.generator_lateness?, r.ack.or(r.end_to_end)?);
    let much =
        late.p50_us > LATE_P50_PART * seen.p50_us || late.p99_us > LATE_P99_PART * seen.p99_us;
    much.then(|| {
        format!(
            "the generator itself was late with its records (p50 {}, p99 {}), and the latencies contain that: give it a CPU of its own, or more --threads",
            text::latency(late.p50_us),
            text::latency(late.p99_us)
        )
    })
}

fn warnings(r: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    let busy = r.cpu.generator_percent();
    if busy >= GENERATOR_BUSY_PERCENT {
        warnings.push(format!(
            "the generator was the limit: one of its threads used {busy:.0} % of a CPU; add --threads, or read the rate as a lower bound of the broker's"
        ));
    }
    if r.unsent_records > 0 {
        warnings.push(format!(
            "{} records were due but not sent: the broker (or this machine) did not keep up, and the latencies leave them out",
            r.unsent_records
        ));
    }
    warnings.extend(late(r));
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
    let mut v = control.outcome(|outcome| {
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
    });
    beside::verify(control, &mut v);
    v
}

fn missing(check: Option<&SequenceCheck>, sent: &PartitionSent) -> u64 {
    match check {
        Some(check) => check.lost(sent.sent, &sent.not_acked),
        None => SequenceCheck::default().lost(sent.sent, &sent.not_acked),
    }
}
