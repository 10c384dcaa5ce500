//! What is asked of the generator, checked once, and the deterministic parts made of it: sizes, keys,
//! payloads and arrival times, all fixed by the seed.
//! Not here: anything that touches a socket; the command line's and scenario files' words for it (`cli/`).

pub mod arrivals;
pub mod laws;
pub mod payload;

use std::time::Duration;

use serde::Serialize;

use super::stamp::STAMP_BYTES;
use crate::types::Compression;
pub use arrivals::Arrivals;
pub use laws::{ArrivalLaw, KeyLaw, LatencyBound, PayloadSource, PhaseSpec, Rate, SizeLaw};
pub use payload::Payload;

#[derive(Clone, Debug)]
pub struct Workload {
    /// HOST:PORT of any broker.
    pub bootstrap: String,
    /// In the report: which broker this was.
    pub broker_name: String,
    pub topic: String,
    /// The first has the name above, the others that name with -2, -3 … behind it.
    pub topics: u32,
    /// Of each topic. `None` takes an existing topic as it is, or `partitions_default` for a new one.
    pub partitions: Option<i32>,
    pub partitions_default: i32,
    /// -1: the broker's default.
    pub replication_factor: i16,
    /// For a topic that the run creates.
    pub topic_configs: Vec<(String, String)>,
    pub keep_topic: bool,
    pub producers: u32,
    pub consumers: u32,
    pub threads: usize,
    /// CPU of each generator thread, when they are pinned.
    pub cpus: Vec<usize>,
    pub sizes: SizeLaw,
    pub keys: KeyLaw,
    pub key_bytes: usize,
    pub payload: PayloadSource,
    /// So many headers on each record, each with a value of `header_bytes`.
    pub headers: u32,
    pub header_bytes: usize,
    pub arrivals: ArrivalLaw,
    /// Records a second of all producers together; 0 is full speed.
    pub rate: f64,
    pub duration: Duration,
    pub warmup: Duration,
    /// Instead of `rate` and `duration`, after the warm-up; empty: one phase of those two.
    pub phases: Vec<PhaseSpec>,
    /// The run ends when so many records were made, if that is earlier.
    pub records: Option<u64>,
    /// Search the highest rate under this bound: each trial is a run of its own.
    pub find: Option<LatencyBound>,
    /// Consumers that read each topic from its earliest offset beside the live traffic, `replay_after`
    /// the first measured moment.
    pub replay_consumers: u32,
    pub replay_after: Duration,
    pub acks: Acks,
    pub compression: Compression,
    pub linger: Duration,
    pub batch_bytes: usize,
    pub in_flight: usize,
    pub idempotence: bool,
    pub seed: u64,
    /// Longest wait for any one answer.
    pub request_timeout: Duration,
    /// After the producers' end: longest time without progress before consumers give up.
    pub drain_timeout: Duration,
    pub fetch_wait: Duration,
    pub fetch_min_bytes: i32,
    pub fetch_partition_bytes: i32,
    pub fetch_bytes: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Acks {
    None,
    Leader,
    All,
}

impl Acks {
    pub fn wire(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Acks::None => "0",
            Acks::Leader => "1",
            Acks::All => "all",
        }
    }
}

pub fn codec_name(codec: Compression) -> &'static str {
    match codec {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}

fn in_range<T: PartialOrd + std::fmt::Display>(
    option: &str,
    value: T,
    min: T,
    max: T,
) -> Result<(), String> {
    if value < min || value > max {
        return Err(format!("{option} {value} is not in {min} to {max}"));
    }
    Ok(())
}

impl Workload {
    /// One sentence about the first value that can't be.
    pub fn validate(&self) -> Result<(), String> {
        if self.sizes.min() < STAMP_BYTES {
            return Err(format!(
                "--record-size {} is too small: each record carries a stamp of {STAMP_BYTES} bytes (time, sequence, checksum)",
                self.sizes
            ));
        }
        in_range("--record-size", self.sizes.max(), STAMP_BYTES, 64 << 20)?;
        in_range("--batch-size", self.batch_bytes, 1, 64 << 20)?;
        in_range("--producers", self.producers, 1, 10_000)?;
        in_range("--consumers", self.consumers, 0, 10_000)?;
        in_range("--threads", self.threads, 1, 256)?;
        in_range("--max-in-flight", self.in_flight, 1, 1_000_000)?;
        in_range("--partitions", self.partitions.unwrap_or(self.partitions_default), 1, 200_000)?;
        if !(self.rate >= 0.0 && self.rate <= 1e9) {
            return Err(format!("--rate {} is not in 0 to 1000000000", self.rate));
        }
        if self.duration.is_zero() {
            return Err("--duration must be more than 0 seconds".to_string());
        }
        if self.topic.is_empty() || self.topic.len() > 249 || !self.topic.chars().all(topic_char) {
            return Err(format!(
                "--topic {:?}: a topic name has 1 to 249 of a-z A-Z 0-9 . _ -",
                self.topic
            ));
        }
        if self.idempotence && self.acks != Acks::All {
            return Err(format!("--idempotence needs --acks all (it is {})", self.acks.name()));
        }
        if self.idempotence && self.in_flight > 5 {
            return Err(format!(
                "--idempotence allows --max-in-flight 1 to 5 (it is {}): brokers remember five batches",
                self.in_flight
            ));
        }
        Ok(())
    }
}

fn topic_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}
