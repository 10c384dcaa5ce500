//! The figures that runs are compared by: where each comes from in a report, its unit and which way is
//! better, and how numbers are written. A number that is not finite is no number: it is left out.

use crate::loadgen::report::{Percentiles, Report};
use crate::loadgen::text::{grouped, latency};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
}

impl Better {
    pub fn words(self) -> &'static str {
        match self {
            Better::Higher => "higher is better",
            Better::Lower => "lower is better",
        }
    }
}

/// How a number is written; the row's name says the unit where the number does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds, shown as µs, ms or s.
    Latency,
    Bytes,
    Percent,
    Count,
    Seconds,
    /// Three digits.
    Plain,
}

impl Unit {
    pub fn words(self, value: f64) -> String {
        if !value.is_finite() {
            return "-".to_string();
        }
        match self {
            Unit::Latency => latency(value),
            Unit::Bytes => bytes(value),
            Unit::Percent => format!("{} %", significant(value)),
            Unit::Count => grouped(value.round().max(0.0) as u64),
            Unit::Seconds => format!("{} s", significant(value)),
            Unit::Plain => significant(value),
        }
    }
}

pub struct Section {
    pub title: &'static str,
    pub better: Better,
}

pub struct Figure {
    pub section: &'static Section,
    pub label: &'static str,
    pub unit: Unit,
    of: fn(&Report) -> Option<f64>,
}

impl Figure {
    pub fn of(&self, report: &Report) -> Option<f64> {
        (self.of)(report).filter(|v| v.is_finite())
    }

    /// In words. Of errors there is none: twice as many as one is no finding.
    pub fn ratio_words(&self, value: Option<f64>, base: Option<f64>) -> String {
        let compared = !std::ptr::eq(self.section, &SECTION_ERRORS);
        let times = value.zip(base).filter(|_| compared).and_then(|(v, base)| ratio(v, base));
        times.map_or("-".to_string(), ratio_words)
    }
}

/// By its section's and its own name: for tiles that show one of `FIGURES`.
pub fn figure(section: &str, label: &str) -> &'static Figure {
    let found = FIGURES.iter().find(|f| f.section.title == section && f.label == label);
    found.expect("tiles name figures of this table")
}

pub const RATE: &str = "Rate";
pub const ACK: &str = "Ack latency";
pub const END_TO_END: &str = "End-to-end latency";
pub const COST: &str = "Broker cost";

static SECTION_RATE: Section = Section { title: RATE, better: Better::Higher };
static SECTION_ACK: Section = Section { title: ACK, better: Better::Lower };
static SECTION_END_TO_END: Section = Section { title: END_TO_END, better: Better::Lower };
static SECTION_COST: Section = Section { title: COST, better: Better::Lower };
static SECTION_REPLAY: Section =
    Section { title: "Replay beside live traffic", better: Better::Higher };
static SECTION_GENERATOR: Section = Section { title: "Generator", better: Better::Lower };
static SECTION_ERRORS: Section = Section { title: "Errors", better: Better::Lower };

const fn row(
    section: &'static Section,
    label: &'static str,
    unit: Unit,
    of: fn(&Report) -> Option<f64>,
) -> Figure {
    Figure { section, label, unit, of }
}

fn read_back(r: &Report) -> bool {
    r.configuration.consumers > 0
}

fn of_ack(r: &Report, f: fn(&Percentiles) -> f64) -> Option<f64> {
    r.ack.as_ref().map(f)
}

fn of_end_to_end(r: &Report, f: fn(&Percentiles) -> f64) -> Option<f64> {
    r.end_to_end.as_ref().map(f)
}

fn highest_kept(r: &Report) -> Option<f64> {
    let kept = r.trials.iter().filter(|t| t.kept).map(|t| t.produced_records_per_s);
    kept.max_by(f64::total_cmp)
}

fn switches_per_thousand(r: &Report) -> Option<f64> {
    let records = r.measured.produced_records;
    let switches = r.broker_context_switches.filter(|_| records > 0)?;
    Some(1e3 * switches as f64 / records as f64)
}

fn wrong_records(r: &Report) -> Option<f64> {
    let v = &r.verification;
    let sum = v.lost
        + v.duplicated
        + v.reordered
        + v.corrupted
        + v.misplaced
        + v.offset_gaps
        + v.not_read_back;
    v.checked.then_some(sum as f64)
}

/// In the order of the tables.
pub static FIGURES: &[Figure] = &[
    row(&SECTION_RATE, "produced, MB/s", Unit::Plain, |r| Some(r.produced_mb_per_s)),
    row(&SECTION_RATE, "produced, records/s", Unit::Count, |r| Some(r.produced_records_per_s)),
    row(&SECTION_RATE, "consumed, MB/s", Unit::Plain, |r| {
        read_back(r).then_some(r.consumed_mb_per_s)
    }),
    row(&SECTION_RATE, "consumed, records/s", Unit::Count, |r| {
        read_back(r).then_some(r.consumed_records_per_s)
    }),
    row(&SECTION_RATE, "highest under the bound, records/s", Unit::Count, highest_kept),
    row(&SECTION_ACK, "p50", Unit::Latency, |r| of_ack(r, |p| p.p50_us)),
    row(&SECTION_ACK, "p99", Unit::Latency, |r| of_ack(r, |p| p.p99_us)),
    row(&SECTION_ACK, "p99.9", Unit::Latency, |r| of_ack(r, |p| p.p999_us)),
    row(&SECTION_ACK, "max", Unit::Latency, |r| of_ack(r, |p| p.max_us)),
    row(&SECTION_END_TO_END, "p50", Unit::Latency, |r| of_end_to_end(r, |p| p.p50_us)),
    row(&SECTION_END_TO_END, "p99", Unit::Latency, |r| of_end_to_end(r, |p| p.p99_us)),
    row(&SECTION_END_TO_END, "p99.9", Unit::Latency, |r| of_end_to_end(r, |p| p.p999_us)),
    row(&SECTION_END_TO_END, "max", Unit::Latency, |r| of_end_to_end(r, |p| p.max_us)),
    row(&SECTION_COST, "CPU of one core", Unit::Percent, |r| r.cpu.broker_percent()),
    row(&SECTION_COST, "CPU per GB produced", Unit::Seconds, |r| r.broker_cpu_s_per_gb_produced),
    row(&SECTION_COST, "CPU per GB moved", Unit::Seconds, |r| r.broker_cpu_s_per_gb_moved),
    // Microseconds a record are seconds a million records.
    row(&SECTION_COST, "CPU per million records", Unit::Seconds, |r| r.broker_cpu_us_per_record),
    row(&SECTION_COST, "CPU per produce request", Unit::Latency, |r| r.broker_cpu_us_per_request),
    row(&SECTION_COST, "peak memory", Unit::Bytes, |r| r.broker_peak_rss_bytes.map(|b| b as f64)),
    row(&SECTION_COST, "context switches per 1,000 records", Unit::Plain, switches_per_thousand),
    row(&SECTION_REPLAY, "read from the start, MB/s", Unit::Plain, |r| {
        r.replay.as_ref().map(|replay| replay.mb_per_s)
    }),
    row(&SECTION_GENERATOR, "busiest thread, of one core", Unit::Percent, |r| {
        Some(r.cpu.generator_percent())
    }),
    row(&SECTION_GENERATOR, "CPU per GB moved", Unit::Seconds, |r| r.generator_cpu_s_per_gb),
    // How much of the latencies is the generator's fault.
    row(&SECTION_GENERATOR, "its own lateness, p99", Unit::Latency, |r| {
        r.generator_lateness.as_ref().map(|p| p.p99_us)
    }),
    row(&SECTION_ERRORS, "failed requests", Unit::Count, |r| {
        Some(r.errors.values().map(|e| e.count).sum::<u64>() as f64)
    }),
    row(&SECTION_ERRORS, "records wrong or missing", Unit::Count, wrong_records),
    row(&SECTION_ERRORS, "records due but not sent", Unit::Count, |r| {
        Some(r.unsent_records as f64)
    }),
];

/// Three digits, no exponent down to a millionth.
pub fn significant(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_string();
    }
    let size = value.abs();
    match size {
        0.0 => "0".to_string(),
        size if size >= 999.5 => {
            let sign = if value < 0.0 { "-" } else { "" };
            format!("{sign}{}", grouped(size.round() as u64))
        }
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size => {
            // What rounds up to the next power of ten has a digit less behind the point.
            let power = (size * 1.0005).log10().floor() as i32;
            let decimals = (2 - power).clamp(2, 8) as usize;
            format!("{value:.decimals$}")
        }
    }
}

pub fn bytes(value: f64) -> String {
    match value.abs() {
        size if size >= 999.5e9 => format!("{} TB", significant(value / 1e12)),
        size if size >= 999.5e6 => format!("{} GB", significant(value / 1e9)),
        size if size >= 999.5e3 => format!("{} MB", significant(value / 1e6)),
        size if size >= 1e3 => format!("{} kB", significant(value / 1e3)),
        _ => format!("{value:.0} B"),
    }
}

/// Of a value to the first group's; none where the first is nothing.
pub fn ratio(value: f64, base: f64) -> Option<f64> {
    let times = value / base;
    (base != 0.0 && times.is_finite()).then_some(times)
}

pub fn ratio_words(times: f64) -> String {
    match times.abs() {
        size if (0.0995..9.995).contains(&size) => format!("{times:.2}x"),
        _ => format!("{}x", significant(times)),
    }
}
