//! Fetch: reads every partition where it lives, and parks until min.bytes or max.wait.
//! A parked fetch registers one watcher with each partition it waits for; a high watermark that moves
//! wakes it and it reads again. Remote partitions are watched by a job on their shard, which ends
//! when the fetch has gone.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{LocalBoxFuture, select_all};

use super::{Lent, Shard};
use crate::log::{Chunk, PortableChunk};
use crate::partition::{FetchSpec, FetchedPartition, PartitionError, Watcher};
use crate::runtime;
use crate::runtime::activity::{Activity, charged};
use crate::types::ShardId;

/// In the order of the specs.
pub struct FetchOutcome {
    pub partitions: Vec<FetchedPartition>,
    pub bytes: usize,
    /// Held until the answer is written.
    pub lent: Lent,
}

impl Shard {
    pub(super) async fn fetch(
        self: &Rc<Self>,
        specs: Rc<Vec<FetchSpec>>,
        max_wait: Duration,
        min_bytes: usize,
        max_bytes: usize,
    ) -> FetchOutcome {
        let deadline = runtime::now() + max_wait;
        loop {
            let outcome = self.read_all(&specs, max_bytes).await;
            let answer_now = outcome.bytes >= min_bytes
                || specs.is_empty()
                || outcome
                    .partitions
                    .iter()
                    .any(|p| p.error.is_some() || p.diverging_epoch.is_some());
            let left = deadline.saturating_since(runtime::now());
            if answer_now || left.is_zero() || self.stopping.get() {
                return outcome;
            }
            let seen: Vec<i64> = outcome.partitions.iter().map(|p| p.high_watermark).collect();
            drop(outcome);
            let _parked = self.counters().waiting.hold();
            runtime::timeout(left, self.any_moved(&specs, &seen)).await;
        }
    }

    /// Specs grouped by owner, the owner of the first spec first: clients rotate the order of
    /// partitions for fairness, and the byte budget is spent in that order.
    fn by_owner(&self, specs: &[FetchSpec]) -> Vec<(Option<ShardId>, Vec<usize>)> {
        let topics = self.topics.borrow();
        let mut order: Vec<Option<ShardId>> = Vec::with_capacity(2);
        let mut groups: BTreeMap<Option<ShardId>, Vec<usize>> = BTreeMap::new();
        for (i, spec) in specs.iter().enumerate() {
            let tp = &spec.topic_partition;
            let owner = topics.by_name(&tp.topic).and_then(|t| t.owner(tp.partition));
            groups
                .entry(owner)
                .or_insert_with(|| {
                    order.push(owner);
                    Vec::new()
                })
                .push(i);
        }
        order.into_iter().filter_map(|o| Some((o, groups.remove(&o)?))).collect()
    }

    async fn read_all(self: &Rc<Self>, specs: &[FetchSpec], max_bytes: usize) -> FetchOutcome {
        let mut partitions: Vec<FetchedPartition> =
            specs.iter().map(|_| FetchedPartition::default()).collect();
        let mut bytes = 0usize;
        let mut lent = self.memory.lend_answer(max_bytes);
        let max_bytes = lent.bytes();
        for (owner, indexes) in self.by_owner(specs) {
            let left = max_bytes.saturating_sub(bytes);
            let min_one = bytes == 0;
            let read = match owner {
                None => indexes
                    .iter()
                    .map(|_| FetchedPartition::failed(PartitionError::Unknown))
                    .collect(),
                Some(owner) if owner == self.id => {
                    let mine = indexes.iter().map(|i| &specs[*i]);
                    self.read_here(mine, left, min_one).await
                }
                Some(owner) => {
                    self.counters().data_crossings.add(1);
                    let theirs = indexes.iter().map(|i| specs[*i].clone()).collect();
                    self.read_elsewhere(owner, theirs, left, min_one).await
                }
            };
            for (i, fetched) in indexes.into_iter().zip(read) {
                bytes += fetched.records.bytes;
                partitions[i] = fetched;
            }
        }
        lent.resize(bytes);
        FetchOutcome { partitions, bytes, lent }
    }

    async fn read_here<'a>(
        &self,
        specs: impl Iterator<Item = &'a FetchSpec>,
        max_bytes: usize,
        min_one: bool,
    ) -> Vec<FetchedPartition> {
        let mut bytes = 0;
        let mut out = Vec::with_capacity(specs.size_hint().0);
        for spec in specs {
            let partition = self.partition(&spec.topic_partition);
            let fetched = match partition {
                None => FetchedPartition::failed(PartitionError::Unknown),
                Some(p) => {
                    let budget = spec.max_bytes.min(max_bytes.saturating_sub(bytes));
                    p.fetch(spec, budget, min_one && bytes == 0, &self.read_means).await
                }
            };
            bytes += fetched.records.bytes;
            out.push(fetched);
        }
        out
    }

    async fn read_elsewhere(
        self: &Rc<Self>,
        owner: ShardId,
        specs: Vec<FetchSpec>,
        max_bytes: usize,
        min_one: bool,
    ) -> Vec<FetchedPartition> {
        let count = specs.len();
        let read = self
            .ask(owner, move |shard: &Rc<Shard>| {
                let shard = shard.clone();
                async move {
                    let read = shard.read_here(specs.iter(), max_bytes, min_one);
                    let read = charged(Activity::Fetch, read).await;
                    read.into_iter().map(Portable::from).collect::<Vec<Portable>>()
                }
            })
            .await;
        match read {
            Ok(read) => read.into_iter().map(FetchedPartition::from).collect(),
            Err(e) => (0..count).map(|_| FetchedPartition::failed(e.clone())).collect(),
        }
    }

    /// Ends when any partition's high watermark is no longer the one that was seen.
    async fn any_moved(self: &Rc<Self>, specs: &[FetchSpec], seen: &[i64]) {
        let mut waits: Vec<LocalBoxFuture<'_, ()>> = Vec::with_capacity(2);
        for (owner, indexes) in self.by_owner(specs) {
            let wanted: Vec<(FetchSpec, i64)> =
                indexes.iter().map(|i| (specs[*i].clone(), seen[*i])).collect();
            match owner {
                None => return,
                Some(owner) if owner == self.id => {
                    let shard = self.clone();
                    waits.push(Box::pin(async move { shard.moved_here(&wanted).await }));
                }
                Some(owner) => waits.push(Box::pin(async move {
                    let watched = self
                        .ask(owner, move |shard: &Rc<Shard>| {
                            let shard = shard.clone();
                            async move { shard.moved_here(&wanted).await }
                        })
                        .await;
                    if watched.is_err() {
                        // Its mailbox is full: look again a little later.
                        runtime::sleep(Duration::from_millis(10)).await;
                    }
                })),
            }
        }
        if !waits.is_empty() {
            select_all(waits).await;
        }
    }

    async fn moved_here(&self, wanted: &[(FetchSpec, i64)]) {
        let watcher = Rc::new(Watcher::default());
        let woken = watcher.notify.notified();
        for (spec, seen) in wanted {
            let Some(p) = self.partition(&spec.topic_partition) else { return };
            if p.high_watermark() != *seen {
                return;
            }
            p.watch(&watcher);
        }
        if !watcher.fired.get() {
            woken.await;
        }
    }
}

/// A `FetchedPartition` that may cross shards: record bytes are copied once, here; what is to be sent out
/// of the page cache is not.
struct Portable {
    head: (Option<PartitionError>, i64, i64, i64, Option<(i32, i64)>),
    records: Vec<PortableChunk>,
    bytes: usize,
}

impl From<FetchedPartition> for Portable {
    fn from(f: FetchedPartition) -> Portable {
        Portable {
            head: (
                f.error,
                f.high_watermark,
                f.last_stable_offset,
                f.log_start_offset,
                f.diverging_epoch,
            ),
            records: f.records.chunks.iter().map(Chunk::to_portable).collect(),
            bytes: f.records.bytes,
        }
    }
}

impl From<Portable> for FetchedPartition {
    fn from(p: Portable) -> FetchedPartition {
        let (error, high_watermark, last_stable_offset, log_start_offset, diverging_epoch) = p.head;
        FetchedPartition {
            error,
            high_watermark,
            last_stable_offset,
            log_start_offset,
            diverging_epoch,
            records: crate::log::FetchedRecords {
                chunks: p.records.into_iter().map(Chunk::from).collect(),
                bytes: p.bytes,
            },
        }
    }
}
