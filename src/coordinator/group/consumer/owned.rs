//! What a member has, by topic: each partition with the epoch at which the member was given it, by which late commits
//! are judged (KIP-1251). Topics in the order of their ids, partitions ascending. Plain values.

use crate::coordinator::group::input::TopicPartitions;
use crate::coordinator::group::records::AssignedAt;
use crate::types::TopicId;

/// Partition and the epoch of its assignment.
pub type OwnedPartition = (i32, i32);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owned(Vec<(TopicId, Vec<OwnedPartition>)>);

impl Owned {
    /// Topics ascending, partitions ascending.
    pub fn from_sorted(topics: Vec<(TopicId, Vec<OwnedPartition>)>) -> Owned {
        debug_assert!(topics.is_sorted_by(|a, b| a.0 < b.0));
        debug_assert!(topics.iter().all(|(_, all)| all.is_sorted_by(|a, b| a.0 < b.0)));
        Owned(topics)
    }

    /// As a record has it; a record without epochs (before Kafka 4.2) means the member's own.
    pub fn from_record(topics: &[AssignedAt], member_epoch: i32) -> Owned {
        let mut all: Vec<(TopicId, Vec<OwnedPartition>)> = Vec::with_capacity(topics.len());
        for topic in topics {
            let epochs = topic.epochs.as_ref().filter(|all| all.len() == topic.partitions.len());
            let epoch = |at: usize| epochs.map_or(member_epoch.max(0), |all| all[at]);
            let pairs = topic.partitions.iter().enumerate().map(|(at, id)| (*id, epoch(at)));
            all.push((topic.topic_id, pairs.collect()));
        }
        all.sort_by_key(|(topic, _)| *topic);
        all.dedup_by_key(|(topic, _)| *topic);
        for (_, partitions) in &mut all {
            partitions.sort_unstable();
            partitions.dedup_by_key(|(partition, _)| *partition);
        }
        all.retain(|(_, partitions)| !partitions.is_empty());
        Owned(all)
    }

    pub fn to_record(&self) -> Vec<AssignedAt> {
        let topic = |(topic, all): &(TopicId, Vec<OwnedPartition>)| AssignedAt {
            topic_id: *topic,
            partitions: all.iter().map(|(partition, _)| *partition).collect(),
            epochs: Some(all.iter().map(|(_, epoch)| *epoch).collect()),
        };
        self.0.iter().map(topic).collect()
    }

    pub fn to_answer(&self) -> Vec<TopicPartitions> {
        let topic = |(topic, all): &(TopicId, Vec<OwnedPartition>)| TopicPartitions {
            topic_id: *topic,
            partitions: all.iter().map(|(partition, _)| *partition).collect(),
        };
        self.0.iter().map(topic).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn topics(&self) -> &[(TopicId, Vec<OwnedPartition>)] {
        &self.0
    }

    pub fn partitions(&self, topic: &TopicId) -> &[OwnedPartition] {
        match self.0.binary_search_by_key(topic, |(id, _)| *id) {
            Ok(at) => &self.0[at].1,
            Err(_) => &[],
        }
    }

    /// The epoch at which this partition was assigned.
    pub fn epoch(&self, topic: &TopicId, partition: i32) -> Option<i32> {
        let all = self.partitions(topic);
        all.binary_search_by_key(&partition, |(id, _)| *id).ok().map(|at| all[at].1)
    }

    pub fn contains(&self, topic: &TopicId, partition: i32) -> bool {
        self.epoch(topic, partition).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = (TopicId, i32)> + '_ {
        self.0.iter().flat_map(|(topic, all)| all.iter().map(move |(id, _)| (*topic, *id)))
    }

    /// None of these partitions is here.
    pub fn is_disjoint(&self, reported: &[TopicPartitions]) -> bool {
        reported.iter().all(|topic| {
            topic.partitions.iter().all(|partition| !self.contains(&topic.topic_id, *partition))
        })
    }

    /// Every one of these partitions is here.
    pub fn contains_all(&self, reported: &[TopicPartitions]) -> bool {
        let here = |topic: &TopicPartitions| {
            let known = self.0.binary_search_by_key(&topic.topic_id, |(id, _)| *id).is_ok();
            known && topic.partitions.iter().all(|id| self.contains(&topic.topic_id, *id))
        };
        reported.iter().all(here)
    }

    /// With every partition given at `epoch`.
    pub fn at_epoch(&self, epoch: i32) -> Owned {
        let topic = |(topic, all): &(TopicId, Vec<OwnedPartition>)| {
            (*topic, all.iter().map(|(partition, _)| (*partition, epoch)).collect())
        };
        Owned(self.0.iter().map(topic).collect())
    }

    /// Both; where both have a partition, `other`'s epoch.
    pub fn union(&self, other: &Owned) -> Owned {
        let mut out = self.0.clone();
        for (topic, partitions) in &other.0 {
            match out.binary_search_by_key(topic, |(id, _)| *id) {
                Err(at) => out.insert(at, (*topic, partitions.clone())),
                Ok(at) => {
                    let mine = &mut out[at].1;
                    for pair in partitions {
                        match mine.binary_search_by_key(&pair.0, |(id, _)| *id) {
                            Ok(at) => mine[at] = *pair,
                            Err(at) => mine.insert(at, *pair),
                        }
                    }
                }
            }
        }
        Owned(out)
    }

    /// Those of topics that pass, and the others.
    pub fn split_topics(&self, pass: impl Fn(&TopicId) -> bool) -> (Owned, Owned) {
        let (yes, no) = self.0.iter().cloned().partition(|(topic, _)| pass(topic));
        (Owned(yes), Owned(no))
    }
}
