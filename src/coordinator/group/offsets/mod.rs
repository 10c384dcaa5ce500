//! Committed offsets of one `Groups`, and those of open transactions. What a record says, and nothing else: `put`,
//! `remove` and `complete` are all that changes them, while loading and after a step alike.
//!
//! `commit`, `fetch`, `delete` are the requests, `deleted_topics` and `expiry` what goes by itself. Loading allocates what is stored and no
//! more: a group's name, a topic's name in it, and a row for each partition.
//! Invariant: the rows of a topic are sorted by partition; `count` is their number over all groups.

mod commit;
mod delete;
mod deleted_topics;
mod expiry;
mod fetch;
#[cfg(test)]
mod tests;
mod transactions;

use std::sync::Arc;

use super::records::OffsetValueRef;
use super::seeded::{Seeded, SeededIndex, SeededMap};
use crate::types::TopicId;

pub use deleted_topics::DeletedTopics;
pub use expiry::RetentionRound;
use transactions::Transactions;

#[derive(Debug)]
pub struct Offsets {
    groups: SeededIndex<Arc<str>, GroupOffsets>,
    transactions: Transactions,
    hash: Seeded,
    count: usize,
    /// Grows with every offset in the log's order: a transaction's offset does not replace one that came after it.
    order: u64,
}

#[derive(Debug)]
pub struct GroupOffsets {
    topics: SeededMap<Arc<str>, Vec<StoredOffset>>,
}

/// One partition's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOffset {
    pub partition: i32,
    pub leader_epoch: i32,
    pub offset: i64,
    pub commit_ms: i64,
    /// -1: by the broker's retention.
    pub expire_ms: i64,
    pub order: u64,
    pub metadata: Box<str>,
    pub topic_id: TopicId,
}

impl Offsets {
    pub fn new(hash: Seeded) -> Offsets {
        Offsets {
            groups: SeededIndex::with_hasher(hash),
            transactions: Transactions::default(),
            hash,
            count: 0,
            order: 0,
        }
    }

    /// Committed, over all groups.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Each with its group and topic.
    #[cfg(test)]
    pub fn rows(&self) -> Vec<(String, StoredOffset)> {
        let of_group = |(group, offsets): (&Arc<str>, &GroupOffsets)| {
            let of_topic = |(topic, rows): (&Arc<str>, &Vec<StoredOffset>)| {
                let name = format!("{group}/{topic}");
                rows.iter().map(move |row| (name.clone(), row.clone())).collect::<Vec<_>>()
            };
            offsets.topics.iter().flat_map(of_topic).collect::<Vec<_>>()
        };
        self.groups.iter().flat_map(of_group).collect()
    }

    pub fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&StoredOffset> {
        self.groups.get(group)?.get(topic, partition)
    }

    pub fn put(&mut self, group: &str, topic: &str, partition: i32, value: OffsetValueRef<'_>) {
        self.order += 1;
        let row = StoredOffset::new(partition, self.order, value);
        self.put_row(group, topic, row);
    }

    fn put_row(&mut self, group: &str, topic: &str, row: StoredOffset) {
        if !self.groups.contains_key(group) {
            let topics = SeededMap::with_hasher(self.hash);
            self.groups.insert(group.into(), GroupOffsets { topics });
        }
        let group = self.groups.get_mut(group).expect("it is there now");
        self.count += usize::from(group.put(topic, row));
    }

    /// A tombstone: of what is committed, and of what open transactions have for the partition.
    pub fn remove(&mut self, group: &str, topic: &str, partition: i32) {
        self.transactions.remove(group, topic, partition);
        let Some(offsets) = self.groups.get_mut(group) else { return };
        if !offsets.remove(topic, partition) {
            return;
        }
        self.count -= 1;
        if offsets.topics.is_empty() {
            self.groups.swap_remove(group);
        }
    }
}

impl GroupOffsets {
    fn get(&self, topic: &str, partition: i32) -> Option<&StoredOffset> {
        let rows = self.topics.get(topic)?;
        rows.binary_search_by_key(&partition, |row| row.partition).ok().map(|at| &rows[at])
    }

    /// Whether it is a new one.
    fn put(&mut self, topic: &str, row: StoredOffset) -> bool {
        let Some(rows) = self.topics.get_mut(topic) else {
            self.topics.insert(topic.into(), vec![row]);
            return true;
        };
        // Commits and logs go up the partitions.
        if rows.last().is_some_and(|last| last.partition < row.partition) {
            rows.push(row);
            return true;
        }
        match rows.binary_search_by_key(&row.partition, |row| row.partition) {
            Ok(at) => {
                rows[at] = row;
                false
            }
            Err(at) => {
                rows.insert(at, row);
                true
            }
        }
    }

    fn remove(&mut self, topic: &str, partition: i32) -> bool {
        let Some(rows) = self.topics.get_mut(topic) else { return false };
        let Ok(at) = rows.binary_search_by_key(&partition, |row| row.partition) else {
            return false;
        };
        rows.remove(at);
        if rows.is_empty() {
            self.topics.remove(topic);
        }
        true
    }

    /// In the order of their names.
    fn by_topic(&self) -> Vec<(&Arc<str>, &[StoredOffset])> {
        let mut topics: Vec<_> = self.topics.iter().map(|(t, rows)| (t, rows.as_slice())).collect();
        topics.sort_unstable_by_key(|(topic, _)| *topic);
        topics
    }
}

impl StoredOffset {
    fn new(partition: i32, order: u64, value: OffsetValueRef<'_>) -> StoredOffset {
        StoredOffset {
            partition,
            leader_epoch: value.leader_epoch,
            offset: value.offset,
            commit_ms: value.commit_ms,
            expire_ms: value.expire_ms,
            order,
            metadata: value.metadata.into(),
            topic_id: value.topic_id,
        }
    }
}
