//! The options of `spindle bench` and the workload that they make. Their long names are the keys of scenario
//! files and of `--set` as well (`scenario.rs`), so each value is checked here, by clap, wherever it comes from;
//! what hangs together is `Workload::validate`'s. An option that is given again replaces the earlier
//! one; lists collect, and a setting that is named twice counts as it was said last.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use crate::error::StartError;
use crate::loadgen::{
    self, Acks, ArrivalLaw, KeyLaw, LatencyBound, PayloadSource, PhaseSpec, SizeLaw, Workload,
};
use crate::types::Compression;

#[derive(Args, Clone, Debug)]
#[command(args_override_self = true)]
pub struct Options {
    /// A running broker (any Kafka); without it Spindle is started in this process on a temporary directory
    #[arg(long, value_name = "HOST:PORT", help_heading = BROKER)]
    pub bootstrap_server: Option<String>,
    /// What the report calls it [default: Spindle in this process, else "broker"]
    #[arg(long, value_name = "NAME", help_heading = BROKER)]
    pub broker_name: Option<String>,
    /// Read the CPU time and memory of the broker with this process id (on this machine)
    #[arg(long, value_name = "PID", requires = "bootstrap_server", help_heading = BROKER)]
    pub broker_pid: Option<u32>,
    /// Where the shards' time goes, out of the file that `spindle serve --shard-times FILE` writes there
    #[arg(long, value_name = "FILE", requires = "bootstrap_server", help_heading = BROKER)]
    pub broker_shard_times: Option<PathBuf>,
    /// Shards of the broker in this process [default: one per core, or one less to leave the generator its own]
    #[arg(long, value_name = "N", conflicts_with = "bootstrap_server", help_heading = BROKER)]
    pub shards: Option<usize>,
    /// Set one key of the broker in this process (may be given again)
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = setting)]
    #[arg(conflicts_with = "bootstrap_server", help_heading = BROKER)]
    pub overrides: Vec<Setting>,
    /// Longest wait for one answer
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = some_seconds)]
    #[arg(help_heading = BROKER)]
    pub request_timeout: Duration,

    /// Created when it does not exist
    #[arg(long, value_name = "NAME", default_value = "bench", help_heading = TOPIC)]
    pub topic: String,
    /// So many topics: NAME, NAME-2, NAME-3 …
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = TOPIC)]
    pub topics: u32,
    /// Partitions of a new topic [default: 2 per shard, at least 4; an existing topic as it is]
    #[arg(long, value_name = "N", help_heading = TOPIC)]
    pub partitions: Option<i32>,
    /// Replication factor of a new topic; -1 is the broker's default
    #[arg(long, value_name = "N", default_value_t = -1, allow_hyphen_values = true)]
    #[arg(help_heading = TOPIC)]
    pub replication_factor: i16,
    /// Setting of a new topic (may be given again)
    #[arg(long = "topic-config", value_name = "KEY=VALUE", value_parser = setting)]
    #[arg(help_heading = TOPIC)]
    pub topic_configs: Vec<Setting>,
    /// Leave the topics there at the end, if the run made them
    #[arg(long, value_name = "yes|no", value_parser = yes_or_no, action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "yes")]
    #[arg(default_value = "no", hide_default_value = true, hide_possible_values = true)]
    #[arg(help_heading = TOPIC)]
    pub keep_topic: bool,

    /// Records a second of all producers together (open loop: latency counts from when a record was
    /// due); full or 0 is full speed (closed loop)
    #[arg(long, value_name = "RECORDS/S", default_value = "full", value_parser = rate)]
    #[arg(help_heading = LOAD)]
    pub rate: f64,
    /// When records are due at a rate: fixed (evenly spaced) or poisson (as many users make them)
    #[arg(long, value_name = "LAW", default_value = "fixed", help_heading = LOAD)]
    pub arrivals: ArrivalLaw,
    /// Measured time
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = some_seconds)]
    #[arg(help_heading = LOAD)]
    pub duration: Duration,
    /// Time before it that is not counted
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    #[arg(help_heading = LOAD)]
    pub warmup: Duration,
    /// One phase of several, instead of --rate and --duration (may be given again):
    /// name=spike,duration=5,rate=20000; rate=1000..5000 is a ramp, rate=full a closed loop,
    /// measure=no leaves it out of the sums
    #[arg(long = "phase", value_name = "PHASE", conflicts_with_all = ["rate", "duration"])]
    #[arg(help_heading = LOAD)]
    pub phases: Vec<PhaseSpec>,
    /// End when so many records were made, if that is before the time is up
    #[arg(long, value_name = "N", help_heading = LOAD)]
    pub records: Option<u64>,
    /// Search the highest rate that keeps a percentile under a bound: p99<10ms, e2e-p99.9<50ms; each
    /// trial is a run of --warmup and --duration
    #[arg(long = "find-rate", value_name = "BOUND", conflicts_with = "phases")]
    #[arg(help_heading = LOAD)]
    pub find: Option<LatencyBound>,
    /// Threads of the generator
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = LOAD)]
    pub threads: usize,
    /// Fixes the sizes, keys, payloads and arrival times
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = LOAD)]
    pub seed: u64,

    /// Bytes of each record's value: 1024, uniform:100-2000, histogram:100=50,1000=30,10000=20
    /// (bytes = weight)
    #[arg(long = "record-size", value_name = "BYTES", default_value = "1024")]
    #[arg(help_heading = RECORDS)]
    pub sizes: SizeLaw,
    /// none (batches go round the partitions), uniform:COUNT, zipf:COUNT[:EXPONENT] (a key has its
    /// partition, as Kafka's default partitioner has it)
    #[arg(long, value_name = "LAW", default_value = "none", help_heading = RECORDS)]
    pub keys: KeyLaw,
    /// Bytes of each key
    #[arg(long, value_name = "BYTES", default_value_t = 16, help_heading = RECORDS)]
    pub key_size: usize,
    /// What the values hold: entropy:BITS (of each byte, 0 to 8) or file:PATH (real records, one a line)
    #[arg(long, value_name = "SOURCE", default_value = "entropy:6", help_heading = RECORDS)]
    pub payload: PayloadSource,
    /// Headers of each record
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = RECORDS)]
    pub headers: u32,
    /// Bytes of each header's value
    #[arg(long, value_name = "BYTES", default_value_t = 16, help_heading = RECORDS)]
    pub header_size: usize,

    /// Each has a connection of its own [default: one per core, at most 8]
    #[arg(long, value_name = "N", help_heading = PRODUCER)]
    pub producers: Option<u32>,
    /// 0, 1 or all
    #[arg(long, default_value = "all", value_parser = acks, help_heading = PRODUCER)]
    pub acks: Acks,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(long, value_name = "CODEC", default_value = "none", value_parser = codec)]
    #[arg(help_heading = PRODUCER)]
    pub compression: Compression,
    /// Longest time a record waits for others of its batch
    #[arg(long, value_name = "MS", default_value = "5", value_parser = milliseconds)]
    #[arg(help_heading = PRODUCER)]
    pub linger_ms: Duration,
    /// Largest batch, before compression
    #[arg(long, value_name = "BYTES", default_value_t = 64 * 1024, help_heading = PRODUCER)]
    pub batch_size: usize,
    /// Produce requests in flight on each connection
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = PRODUCER)]
    pub max_in_flight: usize,
    /// Idempotent producers (needs --acks all)
    #[arg(long, value_name = "yes|no", value_parser = yes_or_no, action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "yes")]
    #[arg(default_value = "no", hide_default_value = true, hide_possible_values = true)]
    #[arg(help_heading = PRODUCER)]
    pub idempotence: bool,

    /// 0 reads nothing back and checks nothing [default: one per core, at most 8]
    #[arg(long, value_name = "N", help_heading = CONSUMER)]
    pub consumers: Option<u32>,
    /// So many more consumers read each topic from its earliest offset, beside the live traffic
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = CONSUMER)]
    pub replay: u32,
    /// So long after the first measured moment
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    #[arg(help_heading = CONSUMER)]
    pub replay_after: Duration,
    /// So many records are written at full speed before the schedule begins; not measured
    #[arg(long, value_name = "RECORDS", default_value_t = 0, help_heading = CONSUMER)]
    pub prefill: u64,
    /// Bytes that a fetch waits for
    #[arg(long, value_name = "BYTES", default_value_t = 1, help_heading = CONSUMER)]
    pub fetch_min_bytes: i32,
    /// Longest time that it waits for them
    #[arg(long, value_name = "MS", default_value = "500", value_parser = milliseconds)]
    #[arg(help_heading = CONSUMER)]
    pub fetch_max_wait_ms: Duration,
    /// Most bytes of one partition in an answer
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, help_heading = CONSUMER)]
    pub fetch_partition_bytes: i32,
    /// Most bytes of an answer
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20, help_heading = CONSUMER)]
    pub fetch_max_bytes: i32,
    /// After the producers' end: longest time without progress before consumers give up
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = some_seconds)]
    #[arg(help_heading = CONSUMER)]
    pub drain_timeout: Duration,

    /// Write the report there as JSON as well (- is standard output)
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub json: Option<PathBuf>,
    /// Write the report there as one self-contained page as well
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub html: Option<PathBuf>,
}

const BROKER: &str = "Broker";
const TOPIC: &str = "Topic";
const LOAD: &str = "Load";
const RECORDS: &str = "Records";
const PRODUCER: &str = "Producer";
const CONSUMER: &str = "Consumer";
const OUTPUT: &str = "Output";

/// `KEY=VALUE` of a topic or of the broker.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    key: String,
    value: String,
}

fn setting(text: &str) -> Result<Setting, String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is wanted")?;
    Ok(Setting { key: key.trim().to_string(), value: value.to_string() })
}

/// Each key once, as it was said last.
fn last_of_each(settings: &[Setting]) -> Vec<(String, String)> {
    let mut kept: Vec<(String, String)> = Vec::new();
    for Setting { key, value } in settings {
        kept.retain(|(k, _)| k != key);
        kept.push((key.clone(), value.clone()));
    }
    kept
}

fn bounded(text: &str) -> Result<f64, String> {
    let number: f64 = text.trim().parse().map_err(|_| format!("{text:?} is no number"))?;
    match (0.0..=1e6).contains(&number) {
        true => Ok(number),
        false => Err(format!("{text} is not in 0 to 1000000")),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    Ok(Duration::from_secs_f64(bounded(text)?))
}

/// At least a millisecond of them: less is a mistake of the unit.
fn some_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        short if short < Duration::from_millis(1) => Err("must be at least 0.001 seconds".into()),
        enough => Ok(enough),
    }
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    Ok(Duration::from_secs_f64(bounded(text)? / 1e3))
}

fn rate(text: &str) -> Result<f64, String> {
    if text == "full" {
        return Ok(0.0);
    }
    match text.trim().parse::<f64>() {
        Ok(rate) if (0.0..=1e9).contains(&rate) => Ok(rate),
        Ok(_) => Err("not in 0 to 1000000000 records a second".to_string()),
        Err(_) => Err("a rate is a number of records a second, or full".to_string()),
    }
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err("yes or no".to_string()),
    }
}

fn acks(text: &str) -> Result<Acks, String> {
    match text {
        "0" => Ok(Acks::None),
        "1" => Ok(Acks::Leader),
        "all" | "-1" => Ok(Acks::All),
        _ => Err("0, 1 or all".to_string()),
    }
}

fn codec(text: &str) -> Result<Compression, String> {
    Compression::parse(text).ok_or_else(|| "none, gzip, snappy, lz4 or zstd".to_string())
}

impl Options {
    /// Shards of the broker in this process, and the CPUs that they leave to the generator when
    /// there are enough.
    pub fn split_cores(&self) -> (usize, Vec<usize>) {
        let cores = loadgen::cores();
        let spare = cores > self.threads + 2;
        let shards = self.shards.unwrap_or(if spare { cores - self.threads } else { cores });
        let pinned = self.bootstrap_server.is_none() && shards + self.threads <= cores;
        (shards, if pinned { (cores - self.threads..cores).collect() } else { Vec::new() })
    }

    pub fn broker_overrides(&self) -> Vec<String> {
        last_of_each(&self.overrides).iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    pub fn workload(&self) -> Result<Workload, StartError> {
        let (shards, cpus) = self.split_cores();
        let per_core = loadgen::cores().clamp(1, 8) as u32;
        let elsewhere = self.bootstrap_server.is_some();
        let usual_name = if elsewhere { "broker" } else { "Spindle" };
        let workload = Workload {
            bootstrap: self.bootstrap_server.clone().unwrap_or_default(),
            broker_name: self.broker_name.clone().unwrap_or_else(|| usual_name.to_string()),
            topic: self.topic.clone(),
            topics: self.topics,
            partitions: self.partitions,
            partitions_default: if elsewhere { 4 } else { (2 * shards).max(4) as i32 },
            replication_factor: self.replication_factor,
            topic_configs: last_of_each(&self.topic_configs),
            keep_topic: self.keep_topic,
            producers: self.producers.unwrap_or(per_core),
            consumers: self.consumers.unwrap_or(per_core),
            threads: self.threads,
            cpus,
            sizes: self.sizes.clone(),
            keys: self.keys.clone(),
            key_bytes: self.key_size,
            payload: self.payload.clone(),
            headers: self.headers,
            header_bytes: self.header_size,
            arrivals: self.arrivals,
            rate: self.rate,
            duration: self.duration,
            warmup: self.warmup,
            phases: self.phases.clone(),
            records: self.records,
            find: self.find.clone(),
            replay_consumers: self.replay,
            replay_after: self.replay_after,
            prefill: self.prefill,
            acks: self.acks,
            compression: self.compression,
            linger: self.linger_ms,
            batch_bytes: self.batch_size,
            in_flight: self.max_in_flight,
            idempotence: self.idempotence,
            seed: self.seed,
            request_timeout: self.request_timeout,
            drain_timeout: self.drain_timeout,
            fetch_wait: self.fetch_max_wait_ms,
            fetch_min_bytes: self.fetch_min_bytes,
            fetch_partition_bytes: self.fetch_partition_bytes,
            fetch_bytes: self.fetch_max_bytes,
        };
        workload.validate().map_err(StartError::config)?;
        Ok(workload)
    }
}
