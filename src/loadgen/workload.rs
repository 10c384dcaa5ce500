//! What is asked of the generator, checked once, and the deterministic parts made of it: payloads
//! and arrival times, both fixed by the seed. Growth goes here: more arrival laws, sizes, keys, phases.
//! Not here: anything that touches a socket.

use std::time::Duration;

use serde::Serialize;

use super::stamp::{self, STAMP_BYTES, Stamp};
use crate::types::Compression;

#[derive(Clone, Debug)]
pub struct Workload {
    /// HOST:PORT of any broker.
    pub bootstrap: String,
    pub topic: String,
    /// `None` takes an existing topic as it is, or `partitions_default` for a new one.
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
    pub record_bytes: usize,
    /// Records a second of all producers together; 0 is full speed.
    pub rate: f64,
    pub duration: Duration,
    pub warmup: Duration,
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
        if self.record_bytes < STAMP_BYTES {
            return Err(format!(
                "--record-size {} is too small: each record carries a stamp of {STAMP_BYTES} bytes (time, sequence, checksum)",
                self.record_bytes
            ));
        }
        in_range("--record-size", self.record_bytes, STAMP_BYTES, 64 << 20)?;
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

/// Record values: pseudo-random bytes made once from the seed, stamped in place again and again.
/// Enough different ones that a codec can't find the one before within a batch.
pub struct Payload {
    values: Vec<(Vec<u8>, u32)>,
    next: usize,
}

/// Together they are larger than any codec's usual window on a batch.
const PAYLOAD_POOL_BYTES: usize = 1 << 20;
const PAYLOADS_MAX: usize = 1024;
/// 64 symbols: 6 bits in 8, so that codecs have something to do and no miracle to report.
const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl Payload {
    pub fn new(seed: u64, record_bytes: usize) -> Payload {
        let count = (PAYLOAD_POOL_BYTES / record_bytes.max(1)).clamp(1, PAYLOADS_MAX);
        let mut random = fastrand::Rng::with_seed(seed);
        let values = (0..count).map(|_| {
            let value: Vec<u8> =
                (0..record_bytes).map(|_| SYMBOLS[random.usize(..SYMBOLS.len())]).collect();
            let crc = stamp::payload_crc(&value);
            (value, crc)
        });
        Payload { values: values.collect(), next: 0 }
    }

    /// The next record's value.
    pub fn stamped(&mut self, stamp: &Stamp) -> &[u8] {
        self.next = if self.next + 1 < self.values.len() { self.next + 1 } else { 0 };
        let (value, crc) = &mut self.values[self.next];
        stamp.write(value, *crc);
        value
    }
}

/// When records are due: nanoseconds since the start.
pub struct Arrivals {
    /// `None`: whenever there is room (closed loop).
    interval_ns: Option<f64>,
    offset_ns: f64,
    issued: u64,
}

impl Arrivals {
    /// One producer's share of the rate, evenly spaced; producers are staggered.
    pub fn fixed(rate: f64, producer: u32, producers: u32) -> Arrivals {
        if rate <= 0.0 {
            return Arrivals { interval_ns: None, offset_ns: 0.0, issued: 0 };
        }
        let spacing = 1e9 / rate;
        let interval = spacing * f64::from(producers);
        let offset_ns = spacing * f64::from(producer);
        Arrivals { interval_ns: Some(interval), offset_ns, issued: 0 }
    }

    /// `None` in a closed loop. Computed from the count, so that rounding never adds up.
    pub fn next_due_ns(&self) -> Option<u64> {
        self.interval_ns.map(|interval| (self.offset_ns + interval * self.issued as f64) as u64)
    }

    pub fn issue(&mut self) {
        self.issued += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_of_all_producers_make_the_rate() {
        let mut due = Vec::new();
        for producer in 0..4 {
            let mut arrivals = Arrivals::fixed(1000.0, producer, 4);
            while let Some(at) = arrivals.next_due_ns().filter(|at| *at < 1_000_000_000) {
                due.push(at);
                arrivals.issue();
            }
        }
        due.sort();
        assert_eq!(due.len(), 1000);
        assert!(due.windows(2).all(|w| (w[1] - w[0]).abs_diff(1_000_000) < 10));
    }

    #[test]
    fn a_seed_fixes_the_payloads() {
        let stamp = Stamp { run: 1, producer: 0, partition: 0, sequence: 0, intended_ns: 0 };
        let (mut a, mut b) = (Payload::new(9, 100), Payload::new(9, 100));
        assert_eq!(a.stamped(&stamp), b.stamped(&stamp));
        assert_ne!(a.stamped(&stamp), Payload::new(10, 100).stamped(&stamp));
        assert_eq!(Stamp::read(a.stamped(&stamp)), Ok(stamp));
    }
}
