//! What is asked of the generator, checked once, and the deterministic parts made of it: sizes, keys,
//! payloads and arrival times, all fixed by the seed.
//! Not here: anything that touches a socket; the command line's and scenario files' words for it (`cli/`).

pub mod arrivals;
pub mod keys;
pub mod laws;
pub mod payload;
pub mod schedule;

use std::time::Duration;

use serde::Serialize;

use super::stamp::STAMP_BYTES;
use crate::types::Compression;
pub use arrivals::{Arrivals, Due};
pub use keys::{Keys, partition_of};
pub use laws::{ArrivalLaw, KeyLaw, LatencyBound, PayloadSource, PhaseSpec, Rate, SizeLaw};
pub use payload::{Headers, Payload, PayloadPool};
pub use schedule::{Schedule, Span};

/// The largest value and the largest batch that can be asked for.
const BATCH_BYTES_MAX: usize = 64 << 20;
/// Keys and header values are copied for each record.
const KEY_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: u32 = 1000;
const HEADER_BLOCK_BYTES_MAX: usize = 1 << 20;
/// Each has counts and histograms of its own on every thread while it lasts.
const PHASES_MAX: usize = 1000;
const TOPICS_MAX: u32 = 10_000;

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
    /// Records that are written at full speed before the schedule begins, and not measured.
    pub prefill: u64,
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

/// A generator of its own for each stream of choices and each producer, so that how far one of them has
/// come changes nothing in the others.
pub fn draw_seed(seed: u64, stream: &str, producer: u32) -> u64 {
    let mut mixed = seed;
    for word in stream.bytes().map(u64::from).chain([producer.into()]) {
        mixed = fastrand::Rng::with_seed(mixed ^ word.wrapping_mul(0x9e37_79b9_7f4a_7c15)).u64(..);
    }
    mixed
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

/// A second at full speed of one producer and one consumer: what is not said otherwise.
impl Default for Workload {
    fn default() -> Workload {
        Workload {
            bootstrap: String::new(),
            broker_name: "Spindle".to_string(),
            topic: "bench".to_string(),
            topics: 1,
            partitions: None,
            partitions_default: 4,
            replication_factor: -1,
            topic_configs: Vec::new(),
            keep_topic: false,
            producers: 1,
            consumers: 1,
            threads: 1,
            cpus: Vec::new(),
            sizes: SizeLaw::Fixed(1024),
            keys: KeyLaw::None,
            key_bytes: 16,
            payload: PayloadSource::Entropy(6.0),
            headers: 0,
            header_bytes: 16,
            arrivals: ArrivalLaw::Fixed,
            rate: 0.0,
            duration: Duration::from_secs(1),
            warmup: Duration::ZERO,
            phases: Vec::new(),
            records: None,
            find: None,
            replay_consumers: 0,
            replay_after: Duration::ZERO,
            prefill: 0,
            acks: Acks::All,
            compression: Compression::None,
            linger: Duration::from_millis(5),
            batch_bytes: 64 << 10,
            in_flight: 5,
            idempotence: false,
            seed: 1,
            request_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            fetch_wait: Duration::from_millis(100),
            fetch_min_bytes: 1,
            fetch_partition_bytes: 1 << 20,
            fetch_bytes: 8 << 20,
        }
    }
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
        in_range("--record-size", self.sizes.max(), STAMP_BYTES, BATCH_BYTES_MAX)?;
        in_range("--batch-size", self.batch_bytes, 1, BATCH_BYTES_MAX)?;
        in_range("--topics", self.topics, 1, TOPICS_MAX)?;
        in_range("--producers", self.producers, 0, 10_000)?;
        in_range("--consumers", self.consumers, 0, 10_000)?;
        in_range("--replay", self.replay_consumers, 0, 10_000)?;
        if self.producers == 0 && self.replay_consumers == 0 {
            return Err(
                "--producers 0 needs --replay N: nobody would send or read anything".to_string()
            );
        }
        if self.producers == 0 && self.find.is_some() {
            return Err("--find needs producers: it searches a rate of theirs".to_string());
        }
        in_range("--threads", self.threads, 1, 256)?;
        in_range("--max-in-flight", self.in_flight, 1, 1_000_000)?;
        in_range("--partitions", self.partitions.unwrap_or(self.partitions_default), 1, 200_000)?;
        if !(self.rate >= 0.0 && self.rate <= 1e9) {
            return Err(format!("--rate {} is not in 0 to 1000000000", self.rate));
        }
        if self.duration.is_zero() && self.phases.is_empty() {
            return Err("--duration must be more than 0 seconds".to_string());
        }
        in_range("--records", self.records.unwrap_or(1), 1, u64::MAX)?;
        self.validate_phases()?;
        self.validate_records()?;
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

    fn validate_phases(&self) -> Result<(), String> {
        in_range("the number of phases", self.phases.len(), 0, PHASES_MAX)?;
        for phase in &self.phases {
            let name = &phase.name;
            if phase.duration.is_zero() {
                return Err(format!("--phase {name}: its duration must be more than 0 seconds"));
            }
            if name == "warmup" || name == "drain" {
                return Err(format!("--phase {name}: the report has that name for something else"));
            }
        }
        if !self.phases.is_empty() && !self.phases.iter().any(|p| p.measured) {
            return Err("--phase: none of the phases is measured".to_string());
        }
        Ok(())
    }

    /// Sizes, keys, headers, payload.
    fn validate_records(&self) -> Result<(), String> {
        if self.sizes == SizeLaw::File && !matches!(self.payload, PayloadSource::File(_)) {
            return Err(format!(
                "--record-size file needs --payload file:PATH (it is {})",
                self.payload
            ));
        }
        if let SizeLaw::Histogram(bars) = &self.sizes {
            in_range("--record-size histogram: the number of sizes", bars.len(), 1, 1000)?;
        }
        if let KeyLaw::Uniform { count } | KeyLaw::Zipf { count, .. } = self.keys {
            in_range("--key-bytes", self.key_bytes, 1, KEY_BYTES_MAX)?;
            let digits = (count - 1).to_string().len();
            if self.key_bytes < digits {
                return Err(format!(
                    "--key-bytes {} is too small: the last of {count} keys has {digits} digits",
                    self.key_bytes
                ));
            }
        }
        in_range("--headers", self.headers, 0, HEADERS_MAX)?;
        in_range("--header-bytes", self.header_bytes, 0, KEY_BYTES_MAX)?;
        let block = self.headers as usize * self.header_bytes;
        in_range("--headers times --header-bytes", block, 0, HEADER_BLOCK_BYTES_MAX)
    }
}

fn topic_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_t_be_is_a_sentence() {
        type Change = fn(&mut Workload);
        let cases: [(Change, &str); 11] = [
            (|w| w.sizes = SizeLaw::Uniform { min: 31, max: 99 }, "too small"),
            (|w| w.sizes = SizeLaw::Fixed(65 << 20), "--record-size"),
            (|w| w.sizes = SizeLaw::File, "needs --payload file:PATH"),
            (|w| w.records = Some(0), "--records 0"),
            (|w| w.topics = 0, "--topics 0"),
            (|w| w.phases = vec!["name=drain,duration=1".parse().unwrap()], "drain"),
            (|w| w.phases = vec!["name=a,duration=1,measure=no".parse().unwrap()], "none of"),
            (
                |w| {
                    w.keys = KeyLaw::Uniform { count: 1001 };
                    w.key_bytes = 3;
                },
                "has 4 digits",
            ),
            (|w| w.headers = 1001, "--headers 1001"),
            (
                |w| {
                    w.headers = 1000;
                    w.header_bytes = 2000;
                },
                "times",
            ),
            (|w| w.rate = f64::INFINITY, "--rate"),
        ];
        assert_eq!(Workload::default().validate(), Ok(()));
        for (change, part) in cases {
            let mut w = Workload::default();
            change(&mut w);
            let sentence = w.validate().unwrap_err();
            assert!(sentence.contains(part), "{sentence}");
        }
    }

    #[test]
    fn every_stream_of_every_producer_has_its_own_seed() {
        let mut seeds = std::collections::BTreeSet::new();
        for seed in 0..10 {
            for stream in ["arrivals", "keys", "sizes"] {
                seeds.extend((0..100).map(|producer| draw_seed(seed, stream, producer)));
            }
        }
        assert_eq!(seeds.len(), 3000);
        assert_eq!(draw_seed(1, "keys", 2), draw_seed(1, "keys", 2));
    }
}
