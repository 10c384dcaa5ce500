//! The log cleaner of one shard: a task that compacts this shard's logs, the dirtiest first, one at a
//! time, at its own pace (log/compaction/pace). A shard without a compacted topic has none.
//! Apart from retention, which is housekeeping's and never waits for a run. Ends with the shard; a
//! deletion, a close or a change of cleanup.policy ends the run of that log.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::Shard;
use crate::config::CleanerConfig;
use crate::log::{Dirt, Pace};
use crate::partition::Partition;
use crate::runtime::{sleep, spawn, wall_clock_ms, yield_if_needed};

/// While it rests, the task looks this often whether the shard stops.
const NAP: Duration = Duration::from_secs(1);
/// The least that a shard gets of what all shards share.
const DEDUPE_BYTES_MIN: usize = 1024 * 1024;
const IO_BYTES_MIN: usize = 64 * 1024;

#[derive(Default)]
pub(super) struct Cleaner {
    runs: Cell<bool>,
    pace: Pace,
}

impl Shard {
    /// Starts the task when the first compacted partition is here.
    pub(super) fn start_cleaner(self: &Rc<Self>) {
        if self.cleaner.runs.get() || !self.all_partitions().iter().any(|p| p.is_compacted()) {
            return;
        }
        self.cleaner.runs.set(true);
        spawn(run(self.clone()));
    }

    /// This shard's share of the broker's budget, as it is configured now.
    fn cleaner_config(&self) -> CleanerConfig {
        let dynamic = self.broker_overrides(&self.image());
        let all = self.config.cleaner_with(&dynamic);
        let shards = self.shard_count();
        CleanerConfig {
            dedupe_buffer_bytes: (all.dedupe_buffer_bytes / shards).max(DEDUPE_BYTES_MIN),
            // Two buffers.
            io_buffer_bytes: (all.io_buffer_bytes / shards / 2).max(IO_BYTES_MIN),
            io_bytes_per_second: all.io_bytes_per_second / shards as f64,
            ..all
        }
    }

    /// Cleans one log; false when none was to be cleaned.
    async fn clean_dirtiest(&self, config: &CleanerConfig) -> bool {
        let mut found: Vec<(Dirt, Rc<Partition>)> = Vec::new();
        let mut ratio_max = 0f64;
        for p in self.all_partitions() {
            if self.is_stopping() {
                return false;
            }
            if let Some(dirt) = p.dirt(wall_clock_ms()).await {
                ratio_max = ratio_max.max(dirt.ratio);
                if dirt.due {
                    found.push((dirt, p));
                }
            }
            yield_if_needed().await;
        }
        self.counters().cleaner_dirty_percent_max.set((ratio_max * 100.0) as u64);
        found.sort_by(|a, b| b.0.ratio.total_cmp(&a.0.ratio));
        for (dirt, p) in found {
            let stopping = || self.is_stopping();
            let pace = &self.cleaner.pace;
            let cleaned = p.clean(&dirt, wall_clock_ms(), config, pace, &stopping).await;
            if p.is_suspect() {
                // A swap that the disk cut short: the flusher finishes it.
                self.flush_queue.mark(&p);
            }
            if let Some(cleaned) = cleaned {
                let counters = self.counters();
                counters.cleaner_runs.add(1);
                counters.cleaner_bytes_read.add(cleaned.bytes_read);
                counters.cleaner_bytes_before.add(cleaned.bytes_before);
                counters.cleaner_bytes_after.add(cleaned.bytes_after);
                return true;
            }
        }
        false
    }
}

async fn run(shard: Rc<Shard>) {
    while !shard.is_stopping() {
        let config = shard.cleaner_config();
        shard.cleaner.pace.set_bytes_per_second(config.io_bytes_per_second);
        if config.enabled && shard.clean_dirtiest(&config).await {
            continue;
        }
        let mut left = Duration::from_millis(config.backoff_ms.max(1));
        while !left.is_zero() && !shard.is_stopping() {
            let nap = left.min(NAP);
            sleep(nap).await;
            left -= nap;
        }
    }
}
