//! What a shard does on its own: opens what is on disk after a start, keeps the tail caches inside
//! their budget, applies retention, expires producers, and stops cleanly.

use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::Shard;
use crate::limits;
use crate::partition::Partition;
use crate::runtime::{self, sleep, wall_clock_ms, yield_if_needed};
use crate::types::{Offset, TopicPartition};

/// Tail caches and Kafka's flush.ms are looked at this often.
const TICK: Duration = Duration::from_secs(1);

/// One partition's lines of the offset checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionCheckpoint {
    pub topic_partition: TopicPartition,
    pub recovery_point: Offset,
    pub log_start: Offset,
    /// `None`: never compacted.
    pub cleaned_to: Option<Offset>,
}

pub(super) async fn run(shard: Rc<Shard>) {
    let interval = Duration::from_millis(shard.config.retention_check_interval_ms.max(1));
    let mut next_retention = runtime::now() + interval;
    loop {
        sleep(TICK).await;
        if shard.stopping.get() {
            return;
        }
        shard.bound_tail_memory();
        runtime::give_back();
        let retention_due = runtime::now() >= next_retention;
        if retention_due {
            next_retention = runtime::now() + interval;
        }
        let tick_ms = wall_clock_ms();
        for p in shard.all_partitions() {
            if !p.is_open() {
                continue;
            }
            let mut needs_flush = p.flush_if_aged(tick_ms);
            if retention_due {
                let now_ms = wall_clock_ms();
                needs_flush |= p.housekeeping(now_ms, shard.config.producer_id_expiration_ms).await;
            }
            if needs_flush {
                shard.flush_queue.mark(&p);
            }
            yield_if_needed().await;
        }
    }
}

impl Shard {
    /// Half of `shard.memory.bytes` is for tail caches. When it is not enough, partitions that did not write
    /// lately keep their share at most, so that others have room; when it is exceeded, all do.
    fn bound_tail_memory(&self) {
        let open: Vec<_> = self.all_partitions().into_iter().filter(|p| p.is_open()).collect();
        let count = |p: &Partition| {
            p.tail_counted.set(p.tail_memory_bytes());
            p.tail_counted.get()
        };
        let mut used = 0;
        for p in &open {
            p.forget_ahead();
            used += count(p);
        }
        let budget = self.memory.tails_max();
        let exceeded = used > budget;
        let short = self.memory.were_tails_short() || exceeded;
        let share = budget / open.len().max(1);
        for p in &open {
            if !p.tail_used.replace(false) && short || exceeded {
                used -= p.tail_counted.get();
                p.shrink_tail(share);
                used += count(p);
            }
        }
        self.memory.set_tails(used);
    }

    /// Opens, a few at a time, every partition that has a directory, so that recovery after a kill
    /// is over before a client asks. `existing` are directory names.
    pub async fn open_existing(self: &Rc<Self>, existing: &std::collections::HashSet<String>) {
        let mut opening = FuturesUnordered::new();
        for p in self.all_partitions() {
            if self.stopping.get() {
                break;
            }
            if !existing.contains(&p.topic_partition.to_string()) {
                continue;
            }
            if opening.len() >= limits::CONCURRENT_LOG_OPENS {
                opening.next().await;
            }
            let shard = self.clone();
            opening.push(async move {
                let _ = p.open().await;
                shard.flush_queue.mark(&p);
            });
        }
        while opening.next().await.is_some() {}
    }

    /// What the checkpoint files are to say of every partition here. `advance` moves the
    /// recovery points on, which writes indexes; without it the last ones are told again.
    pub async fn checkpoints(&self, advance: bool) -> Vec<PartitionCheckpoint> {
        let mut all = Vec::new();
        for p in self.all_partitions() {
            let (recovery_point, log_start) =
                if advance { p.checkpoint().await } else { p.last_checkpoint() };
            all.push(PartitionCheckpoint {
                topic_partition: p.topic_partition.clone(),
                recovery_point,
                log_start,
                cleaned_to: p.cleaned_to(),
            });
        }
        all
    }

    /// As `checkpoints`, of every shard of the broker.
    pub async fn all_checkpoints(self: &Rc<Self>, advance: bool) -> Vec<PartitionCheckpoint> {
        let mut all = Vec::new();
        for id in 0..self.shard_count() {
            let asked = self.ask(id, move |shard: &Rc<Shard>| {
                let shard = shard.clone();
                async move { shard.checkpoints(advance).await }
            });
            if let Ok(mut some) = asked.await {
                all.append(&mut some);
            }
        }
        all.sort();
        all
    }

    /// Clean stop: no more work is taken, everything open is synced and closed. True when a start
    /// may trust every file.
    pub async fn stop(self: &Rc<Self>) -> bool {
        self.stopping.set(true);
        self.end_coordinators();
        let mut clean = true;
        let mut closing = FuturesUnordered::new();
        for p in self.all_partitions() {
            if closing.len() >= limits::CONCURRENT_LOG_CLOSES {
                clean &= closing.next().await.unwrap_or(true);
            }
            closing.push(async move {
                match p.close().await {
                    Ok(_) => true,
                    Err(e) => {
                        tracing::error!(partition = %p.topic_partition, error = %e,
                            "not closed cleanly: it will be recovered at the next start");
                        false
                    }
                }
            });
        }
        while let Some(ok) = closing.next().await {
            clean &= ok;
        }
        clean
    }
}
