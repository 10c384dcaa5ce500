//! Counters and gauges: one `ShardCounters` a shard, written by it alone, read by anyone (relaxed atomics).
//! Imports no room.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        // One writer: a load and a store are enough, and cheaper than a locked add.
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One of what a gauge counts, for as long as it lives.
pub struct Held<'a>(&'a Counter);

impl Counter {
    pub fn hold(&self) -> Held<'_> {
        self.add(1);
        Held(self)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

/// What a shard's thread does at a moment. Not here: who tells (`runtime/activity`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Nothing of the below: the executor and its ring system calls, a task that does not say, or asleep.
    Between,
    /// Housekeeping, the cleaner, jobs for other shards.
    Other,
    /// Sockets, frames, the connections' own tasks.
    Network,
    /// Requests and responses between bytes and meaning.
    Wire,
    Append,
    /// Writes, syncs, files that are made and finished.
    Disk,
    Fetch,
    /// The controller, and the coordinators of groups.
    Coordination,
    /// Compressed batches that are looked into before they are appended.
    Decompression,
}

pub const ACTIVITIES: usize = 9;

/// Ticks of the processor's clock by activity. Together they are the time that passed, up to the last change.
#[derive(Default)]
pub struct ActivityTicks([Counter; ACTIVITIES]);

impl ActivityTicks {
    pub fn add(&self, activity: Activity, ticks: u64) {
        self.0[activity as usize].add(ticks);
    }

    /// In the order of `Activity`.
    pub fn get(&self) -> [u64; ACTIVITIES] {
        std::array::from_fn(|i| self.0[i].get())
    }
}

#[derive(Default)]
pub struct ShardCounters {
    pub activity: ActivityTicks,
    /// Produce or fetch work handed to another shard: 0 in range mode with a correct client.
    pub data_crossings: Counter,
    pub requests: Counter,
    pub connections: Counter,
    pub connections_refused: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    /// Of those, by sendfile out of the page cache.
    pub bytes_sent_from_cache: Counter,
    pub records_in: Counter,
    pub produce_batches: Counter,
    pub frames_rejected: Counter,
    pub partitions: Counter,
    pub fetch_sessions: Counter,
    /// Compaction: runs, bytes they read, and the size of what they cleaned before and after.
    pub cleaner_runs: Counter,
    pub cleaner_bytes_read: Counter,
    pub cleaner_bytes_before: Counter,
    pub cleaner_bytes_after: Counter,
    /// Of the dirtiest log when the cleaner last looked.
    pub cleaner_dirty_percent_max: Counter,
    /// Of `shard.memory.bytes`, held by requests and by answers at this moment.
    pub memory_requests_bytes: Counter,
    pub memory_answers_bytes: Counter,
    /// Written and kept for readers.
    pub memory_tails_bytes: Counter,
    /// Requests that had to wait for memory.
    pub memory_waits: Counter,
    /// Events of groups that no record tells: more came than were written.
    pub group_events_dropped: Counter,
    /// Catch-up reads (`log/catch_up`): bytes, and when one last began or ended, by the monotonic clock. Gauge: under way.
    pub catch_up_bytes: Counter,
    pub catch_up_at_ns: Counter,
    pub catch_up_reads: Counter,
    /// When something was last appended or written here, and the bytes a second that each shard may read beside that;
    /// 0: never, and no bound.
    pub appended_at_ns: Counter,
    pub catch_up_limit: Counter,
    /// Gauge: acknowledgements that have not left and fetches that are parked.
    pub waiting: Counter,
}
