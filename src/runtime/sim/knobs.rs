//! The faults and delays of a simulation, all adjustable while it runs. The defaults are a healthy
//! machine with jitter: nothing fails, but reads come short and writes arrive in pieces.
//! Probabilities are per operation, from 0.0 to 1.0. Not here: the draws themselves (`World`).

use std::ops::Range;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Knobs {
    /// Run tasks in the order they became runnable instead of in a random one.
    pub fifo: bool,
    /// Virtual time that one poll of a task takes, ns. Never 0, so that busy loops make progress.
    pub poll_cost_ns: Range<u64>,
    /// How long a `run_blocking` closure takes.
    pub blocking_delay: Range<Duration>,
    /// The run panics past this much virtual time: catches a livelock behind periodic timers.
    pub time_limit: Duration,
    pub wall_clock_offset_ms: i64,
    pub net: NetKnobs,
    pub disk: DiskKnobs,
}

#[derive(Clone, Debug)]
pub struct NetKnobs {
    pub latency: Range<Duration>,
    /// A chunk that is sent cuts its connection.
    pub cut_probability: f64,
    /// A chunk that is sent takes `stall` longer (and all that follows it in the stream).
    pub stall_probability: f64,
    pub stall: Range<Duration>,
    /// `None` is unlimited.
    pub bandwidth_bytes_per_s: Option<u64>,
    /// Writes are split into chunks of 1 to this many bytes.
    pub chunk_bytes_max: usize,
    /// A read returns a random prefix of what has arrived.
    pub short_read_probability: f64,
    /// Bytes under way and unread in one direction before a write waits.
    pub buffer_bytes: usize,
    /// An accept fails with EMFILE (the connection stays in the backlog).
    pub accept_error_probability: f64,
}

#[derive(Clone, Debug)]
pub struct DiskKnobs {
    pub latency: Range<Duration>,
    pub sync_latency: Range<Duration>,
    pub stall_probability: f64,
    pub stall: Range<Duration>,
    pub read_error_probability: f64,
    pub write_error_probability: f64,
    pub sync_error_probability: f64,
    /// The n-th disk operation from now (0: the next one) fails with EIO; then back to `None`.
    pub fail_at_op: Option<u64>,
    /// From the n-th disk operation from now on the disk is full.
    pub full_at_op: Option<u64>,
    /// The machine loses power while the n-th write or sync from now is under way, or right after.
    pub power_cut_at_write: Option<u64>,
    /// No operation that is asked for ends before this virtual time, ns.
    pub stalled_until_ns: u64,
    /// No space left: whatever would grow a file or create one fails with ENOSPC.
    pub full: bool,
}

impl Default for Knobs {
    fn default() -> Knobs {
        Knobs {
            fifo: false,
            poll_cost_ns: 50..2_000,
            blocking_delay: us(10)..us(1_000),
            time_limit: Duration::from_secs(24 * 3600),
            wall_clock_offset_ms: 0,
            net: NetKnobs {
                latency: us(20)..us(500),
                cut_probability: 0.0,
                stall_probability: 0.0,
                stall: us(1_000_000)..us(10_000_000),
                bandwidth_bytes_per_s: None,
                chunk_bytes_max: 64 * 1024,
                short_read_probability: 0.3,
                buffer_bytes: 256 * 1024,
                accept_error_probability: 0.0,
            },
            disk: DiskKnobs {
                latency: us(10)..us(300),
                sync_latency: us(50)..us(3_000),
                stall_probability: 0.0,
                stall: us(200_000)..us(3_000_000),
                read_error_probability: 0.0,
                write_error_probability: 0.0,
                sync_error_probability: 0.0,
                fail_at_op: None,
                full_at_op: None,
                power_cut_at_write: None,
                stalled_until_ns: 0,
                full: false,
            },
        }
    }
}

const fn us(n: u64) -> Duration {
    Duration::from_micros(n)
}
