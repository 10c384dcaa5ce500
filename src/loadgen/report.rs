//! The report of a run: the schema of `--json` and of everything that is made of it (text, HTML,
//! comparison). `perf/report-schema.md` documents each field; a field that changes its meaning changes
//! `FORMAT`. Units are in every name. MB and GB are 10^6 and 10^9 bytes of record values; times are
//! seconds since the run's first record unless their name says otherwise. Plain data: `build.rs` fills it in.

pub(super) mod activity;
mod beside;
pub mod build;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use activity::ShardTime;

use super::control::{Failure, Throttled};
use super::machine::Machine;
use super::stats::{Counts, ErrorCount};

/// 1 had no phases, no memory, no curves.
pub const FORMAT: u32 = 2;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub format: u32,
    /// Of the generator.
    pub version: String,
    /// Of the generator's source, when it was built from a checkout.
    pub commit: Option<String>,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// As it was typed: repeats the run.
    pub command: String,
    pub scenario: Option<ScenarioInfo>,
    pub configuration: Configuration,
    pub machine: Machine,
    pub broker: BrokerInfo,
    pub prepare: Prepare,
    pub measured_s: f64,
    pub stopped_early_s: Option<f64>,
    pub interrupted: bool,
    /// Warm-up, measured phases and drain together.
    pub whole_run: Counts,
    /// All measured phases together, as are the rates and percentiles that follow.
    pub measured: Counts,
    pub produced_records_per_s: f64,
    pub produced_mb_per_s: f64,
    pub consumed_records_per_s: f64,
    pub consumed_mb_per_s: f64,
    /// From the intended send time to the answer; absent with acks=0.
    pub ack: Option<Percentiles>,
    /// From the intended send time to the consumer.
    pub end_to_end: Option<Percentiles>,
    /// The whole distribution: quantiles 0 to 1, denser towards 1.
    pub ack_curve: Vec<CurvePoint>,
    pub end_to_end_curve: Vec<CurvePoint>,
    pub phases: Vec<PhaseReport>,
    /// Each trial of a search for the highest rate, in the order they ran; the report's other
    /// figures are those of the best one.
    pub trials: Vec<Trial>,
    /// Consumers that read the topic from its start beside the live traffic.
    pub replay: Option<Replay>,
    pub unsent_records: u64,
    /// How long after the time it was due the generator itself made a record, in the measured phases: its own
    /// share of the latencies, without what it waited for the broker. Absent at full speed.
    #[serde(default)]
    pub generator_lateness: Option<Percentiles>,
    /// Of the measured phases.
    pub cpu: CpuUse,
    pub broker_cpu_s_per_gb_produced: Option<f64>,
    /// Of GB produced and consumed together.
    pub broker_cpu_s_per_gb_moved: Option<f64>,
    pub broker_cpu_us_per_record: Option<f64>,
    /// Produce requests.
    pub broker_cpu_us_per_request: Option<f64>,
    /// Of its process, since the run began: in this process that is with the generator.
    pub broker_peak_rss_bytes: Option<u64>,
    /// Of all its threads, in the measured phases.
    pub broker_context_switches: Option<u64>,
    pub generator_cpu_s_per_gb: Option<f64>,
    /// Requests that crossed shards, in the measured phases.
    pub data_crossings: Option<u64>,
    pub verification: Verification,
    pub errors: BTreeMap<String, ErrorCount>,
    pub failures: Vec<Failure>,
    /// By API ("Produce", "Fetch"): answers with which a quota of the broker asked us to wait.
    #[serde(default)]
    pub throttled: BTreeMap<String, Throttled>,
    pub warnings: Vec<String>,
    /// What the run could not look at, and why: a sentence each.
    pub not_measured: Vec<String>,
    pub ticks: Vec<Tick>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScenarioInfo {
    pub name: String,
    /// What the scenario is there to answer.
    pub question: String,
    pub file: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BrokerInfo {
    /// Runs in the generator's process.
    pub in_process: bool,
    /// As `--broker-name` says; "Spindle" in process.
    pub name: String,
    pub pid: Option<u32>,
    pub cluster_id: Option<String>,
    /// Nodes that lead a partition of the run.
    pub nodes: usize,
    /// Keys that were set for the broker in this process.
    pub overrides: Vec<String>,
}

/// Before the first record.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Prepare {
    pub connect_ms: f64,
    /// Absent when the topics were there already.
    pub create_topics_ms: Option<f64>,
    /// Until each partition had a leader that answers.
    pub leaders_ms: f64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Percentiles {
    pub samples: u64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub p9999_us: f64,
    pub max_us: f64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CurvePoint {
    pub quantile: f64,
    pub us: f64,
}

/// CPU spent in a stretch of time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CpuUse {
    pub seconds: f64,
    pub broker_s: Option<f64>,
    /// By generator thread.
    pub generator_s: Vec<f64>,
    pub crossings: Option<u64>,
    pub context_switches: Option<u64>,
    /// Where each shard's time went; of a Spindle that shows it.
    #[serde(default)]
    pub shards: Vec<ShardTime>,
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
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tick {
    pub at_s: f64,
    /// Name of the phase; "drain" after the last one.
    pub phase: String,
    pub measured: bool,
    /// What the open loop asked for at this time; absent at full speed.
    pub intended_records_per_s: Option<f64>,
    pub produced_records_per_s: f64,
    pub produced_mb_per_s: f64,
    pub consumed_records_per_s: f64,
    pub consumed_mb_per_s: f64,
    pub replayed_mb_per_s: f64,
    pub ack: Option<Percentiles>,
    pub end_to_end: Option<Percentiles>,
    pub broker: Option<BrokerSample>,
    pub generator_cpu_percent: f64,
    /// Since the run's start.
    pub errors: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BrokerSample {
    /// Of one CPU: 200 is two cores.
    pub cpu_percent: f64,
    /// Of its process: in this process that is with the generator.
    pub rss_bytes: Option<u64>,
    pub threads: Option<u64>,
    /// Voluntary and involuntary, of all its threads.
    pub context_switches_per_s: Option<f64>,
    /// Of a Spindle in this process.
    pub shards: Vec<ShardSample>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ShardSample {
    pub shard: usize,
    pub cpu_percent: f64,
    /// Acknowledgements and parked fetches that wait on it at this moment.
    pub queue: u64,
    pub connections: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PhaseReport {
    pub name: String,
    pub measured: bool,
    pub from_s: f64,
    pub to_s: f64,
    /// Intended records a second at its two ends; absent at full speed.
    pub rate: Option<(f64, f64)>,
    pub counts: Counts,
    pub produced_records_per_s: f64,
    pub produced_mb_per_s: f64,
    pub consumed_records_per_s: f64,
    pub consumed_mb_per_s: f64,
    pub ack: Option<Percentiles>,
    pub end_to_end: Option<Percentiles>,
    /// Median over its seconds of each second's 99th percentile of `ack`: one pause of the machine moves the
    /// phase's own percentile, and not this.
    #[serde(default)]
    pub ack_p99_us_of_median_second: Option<f64>,
    pub broker_cpu_percent: Option<f64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trial {
    pub rate_records_per_s: f64,
    pub produced_records_per_s: f64,
    /// The latency that the bound is about.
    pub latency_us: f64,
    pub kept: bool,
    /// Why not: "p99 of 23 ms is over 10 ms", "3 % of the records could not be sent in time".
    pub reason: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Replay {
    pub consumers: u32,
    pub started_s: f64,
    pub records: u64,
    pub bytes: u64,
    pub mb_per_s: f64,
    /// When the last of them had reached the live end; absent if that did not happen.
    pub caught_up_s: Option<f64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Configuration {
    pub bootstrap_server: String,
    pub topics: Vec<String>,
    /// Of each topic.
    pub partitions: usize,
    pub topic_configs: Vec<(String, String)>,
    pub producers: u32,
    pub consumers: u32,
    pub replay_consumers: u32,
    #[serde(default)]
    pub replay_after_s: f64,
    /// Records that were written before the schedule began.
    #[serde(default)]
    pub prefill: u64,
    pub generator_threads: usize,
    pub generator_cpus: Vec<usize>,
    /// As `--record-size` takes it, and so on.
    pub record_size: String,
    pub keys: String,
    pub key_bytes: usize,
    pub payload: String,
    pub headers: u32,
    pub header_bytes: usize,
    pub arrivals: String,
    /// 0 is full speed; of the phases there may be others.
    pub rate_records_per_s: f64,
    pub duration_s: f64,
    pub warmup_s: f64,
    /// Ends the run when so many were made; absent: the duration does.
    pub records: Option<u64>,
    pub acks: String,
    pub compression: String,
    pub linger_ms: f64,
    pub batch_bytes: usize,
    pub max_in_flight: usize,
    pub idempotence: bool,
    pub fetch_min_bytes: i32,
    pub fetch_max_wait_ms: f64,
    pub fetch_partition_bytes: i32,
    pub fetch_bytes: i32,
    pub seed: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

impl Report {
    /// What makes the run a failed one, a sentence each; empty when it is good.
    pub fn problems(&self) -> Vec<String> {
        let v = &self.verification;
        let mut problems: Vec<String> =
            self.failures.iter().map(|f| format!("at {:.1} s: {}", f.at_s, f.sentence)).collect();
        let lossy = self.configuration.acks == "0";
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
