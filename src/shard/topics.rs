//! Which partitions live here: built from the metadata image, changed only by applying the next one.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::Shard;
use crate::controller::{Image, ResourceType, TopicImage};
use crate::limits;
use crate::log::OpenHints;
use crate::partition::{FlushPolicy, Partition, PartitionConfig};
use crate::types::{Offset, ShardId, TopicId, TopicPartition};

/// What the log directory's checkpoints say, for every partition.
#[derive(Clone, Debug, Default)]
pub struct StartHints {
    pub clean: bool,
    pub recovery_points: HashMap<TopicPartition, Offset>,
    pub log_start_offsets: HashMap<TopicPartition, Offset>,
    /// How far each log was compacted.
    pub cleaner_offsets: HashMap<TopicPartition, Offset>,
}

/// A topic as this shard sees it: all partitions' owners, and the partitions that are here.
pub struct TopicShard {
    pub image: Arc<TopicImage>,
    round: Rc<[ShardId]>,
    /// Index is the partition; `None` where another shard owns it.
    partitions: Vec<Option<Rc<Partition>>>,
}

impl TopicShard {
    /// `None` when the topic has no such partition.
    pub fn owner(&self, partition: i32) -> Option<ShardId> {
        let index = usize::try_from(partition).ok()?;
        (index < self.partitions.len()).then(|| owner_shard(&self.image.id, partition, &self.round))
    }

    pub fn partition(&self, partition: i32) -> Option<Rc<Partition>> {
        self.partitions.get(usize::try_from(partition).ok()?)?.clone()
    }
}

/// Partitions of a topic go round the shards (`ShardConfigs::round`), from a start that its id gives.
pub fn owner_shard(topic: &TopicId, partition: i32, round: &[ShardId]) -> ShardId {
    let (high, low) = topic.as_u64_pair();
    let start = (high ^ low) % round.len() as u64;
    round[(start as usize + partition as usize) % round.len()]
}

#[derive(Default)]
pub(super) struct Topics {
    by_name: HashMap<Arc<str>, Rc<TopicShard>>,
    by_id: HashMap<TopicId, Rc<TopicShard>>,
}

impl Topics {
    pub(super) fn by_name(&self, name: &str) -> Option<&Rc<TopicShard>> {
        self.by_name.get(name)
    }

    fn insert(&mut self, topic: TopicShard) {
        let topic = Rc::new(topic);
        self.by_id.insert(topic.image.id, topic.clone());
        self.by_name.insert(topic.image.name.clone(), topic);
    }
}

impl Shard {
    pub fn topic(&self, name: &str) -> Option<Rc<TopicShard>> {
        self.topics.borrow().by_name(name).cloned()
    }

    pub fn topic_by_id(&self, id: &TopicId) -> Option<Rc<TopicShard>> {
        self.topics.borrow().by_id.get(id).cloned()
    }

    pub(super) fn partition(&self, tp: &TopicPartition) -> Option<Rc<Partition>> {
        self.topics.borrow().by_name(&tp.topic)?.partition(tp.partition)
    }

    /// Every partition of this shard, in name order (so that walks are repeatable).
    pub(super) fn all_partitions(&self) -> Vec<Rc<Partition>> {
        let topics = self.topics.borrow();
        let mut all: Vec<Rc<Partition>> =
            topics.by_name.values().flat_map(|t| t.partitions.iter().flatten().cloned()).collect();
        all.sort_by(|a, b| a.topic_partition.cmp(&b.topic_partition));
        all
    }

    /// Makes this shard's partitions what `image` says. Returns when deleted ones are out of the
    /// way on disk, so that a topic of the same name can come back at once.
    pub async fn apply_image(self: &Rc<Self>, image: Arc<Image>) {
        while self.applying.replace(true) {
            self.applied.notified().await;
        }
        if image.offset > self.image.borrow().offset || self.image.borrow().cluster_id.is_empty() {
            let deleted = self.swap_topics(&image);
            let before = std::mem::replace(&mut *self.image.borrow_mut(), image);
            self.start_cleaner();
            self.follow_image(&before);
            let mut deleting: FuturesUnordered<_> = FuturesUnordered::new();
            for p in deleted {
                if deleting.len() >= limits::CONCURRENT_LOG_CLOSES {
                    deleting.next().await;
                }
                deleting.push(async move {
                    if let Err(e) = p.delete().await {
                        tracing::error!(partition = %p.topic_partition, error = %e,
                            "the deleted partition's directory can't be removed: remove it by hand");
                    }
                });
            }
            while deleting.next().await.is_some() {}
        }
        self.applying.set(false);
        self.applied.notify_waiters();
    }

    fn swap_topics(&self, image: &Arc<Image>) -> Vec<Rc<Partition>> {
        let before = self.image.borrow().clone();
        // Only what was there at the start has a past: a topic that is made now may have the name
        // of one that was deleted, and must not inherit its offsets.
        let at_start = before.cluster_id.is_empty();
        let mut deleted = Vec::new();
        let mut topics = self.topics.borrow_mut();
        let mut gone: Vec<TopicId> = topics
            .by_id
            .values()
            .filter(|t| image.topics.get(&t.image.name).is_none_or(|now| now.id != t.image.id))
            .map(|t| t.image.id)
            .collect();
        if !gone.is_empty() {
            self.deletions.set(self.deletions.get() + 1);
        }
        // Not in hash order: the simulator replays.
        gone.sort();
        for id in gone {
            let Some(topic) = topics.by_id.remove(&id) else { continue };
            topics.by_name.remove(&topic.image.name);
            deleted.extend(topic.partitions.iter().flatten().cloned());
        }
        let broker_changed = self.broker_overrides(&before) != self.broker_overrides(image);
        for topic in image.topics.values() {
            let known = topics.by_name(&topic.name).cloned();
            let overrides = image.topic_configs(&topic.name);
            let unchanged =
                known.as_ref().is_some_and(|k| Arc::ptr_eq(&k.image, topic)) && !broker_changed;
            if unchanged && same(before.topic_configs(&topic.name), overrides) {
                continue;
            }
            let config = Rc::new(self.partition_config(image, overrides.map(|o| &**o)));
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for index in 0..topic.partitions.len() as i32 {
                let here = owner_shard(&topic.id, index, &self.round) == self.id;
                partitions.push(here.then(
                    || match known.as_ref().and_then(|k| k.partition(index)) {
                        Some(p) => {
                            p.set_config(config.clone());
                            p
                        }
                        None => self.new_partition(topic, index, config.clone(), at_start),
                    },
                ));
            }
            topics.insert(TopicShard {
                image: topic.clone(),
                round: self.round.clone(),
                partitions,
            });
        }
        let here =
            topics.by_name.values().map(|t| t.partitions.iter().flatten().count()).sum::<usize>();
        self.counters().partitions.set(here as u64);
        deleted
    }

    fn new_partition(
        &self,
        topic: &Arc<TopicImage>,
        index: i32,
        config: Rc<PartitionConfig>,
        at_start: bool,
    ) -> Rc<Partition> {
        let tp = TopicPartition { topic: topic.name.clone(), partition: index };
        let hint = |of: &HashMap<TopicPartition, Offset>| match at_start {
            true => of.get(&tp).copied().unwrap_or(0),
            false => 0,
        };
        let hints = OpenHints {
            clean: self.hints.clean,
            recovery_point: hint(&self.hints.recovery_points),
            log_start_offset: hint(&self.hints.log_start_offsets),
        };
        let dir = self.data_dir.join(format!("{tp}"));
        let epoch = topic.partitions[index as usize].leader_epoch;
        let cleaned_to = self.hints.cleaner_offsets.get(&tp).copied().filter(|_| at_start);
        let partition = Partition::new(tp, topic.id, dir, config, hints, epoch);
        partition.set_cleaned_to(cleaned_to);
        partition
    }

    /// Dynamic broker configs: this broker's own over those of all brokers.
    pub(super) fn broker_overrides(&self, image: &Image) -> BTreeMap<String, String> {
        let mut merged = BTreeMap::new();
        for name in [String::new(), self.config.broker_id.to_string()] {
            if let Some(o) = image.configs.get(&(ResourceType::Broker, name)) {
                merged.extend(o.iter().map(|(k, v)| (k.clone(), v.clone())));
            }
        }
        merged
    }

    fn partition_config(
        &self,
        image: &Image,
        overrides: Option<&BTreeMap<String, String>>,
    ) -> PartitionConfig {
        let dynamic = self.broker_overrides(image);
        let defaults = self.config.topic_defaults_with(&dynamic);
        let empty = BTreeMap::new();
        let overrides = overrides.unwrap_or(&empty);
        // The controller validated these when they were set.
        let topic = defaults.with(overrides).unwrap_or(defaults);
        let explicit = ["flush.messages", "flush.ms"].iter().any(|k| overrides.contains_key(*k))
            || FLUSH_KEYS.iter().any(|k| {
                [&self.config.explicit, &dynamic].iter().any(|keys| keys.contains_key(*k))
            });
        let flush = if explicit {
            FlushPolicy::Kafka { messages: topic.flush_messages, interval_ms: topic.flush_ms }
        } else {
            FlushPolicy::Durable
        };
        PartitionConfig { topic, flush }
    }
}

const FLUSH_KEYS: [&str; 3] =
    ["log.flush.interval.messages", "log.flush.interval.ms", "log.flush.scheduler.interval.ms"];

fn same(
    a: Option<&Arc<BTreeMap<String, String>>>,
    b: Option<&Arc<BTreeMap<String, String>>>,
) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
        _ => false,
    }
}
