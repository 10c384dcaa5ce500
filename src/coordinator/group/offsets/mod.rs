//! Committed offsets of one `Groups`, and those of open transactions. What a record says, and nothing else: `put`,
//! `remove` and `complete` are all that changes them, while loading and after a step alike.
//!
//! `commit`, `fetch`, `delete` are the requests, `deleted_topics` and `expiry` what goes by itself. Loading allocates what is stored and no
//! more: a group's name, a topic's name in it, and a row for each partition.
//! Invariant: `count` is the number of rows over all groups.

mod commit;
mod delete;
mod deleted_topics;
mod expiry;
mod fetch;
mod of_group;
#[cfg(test)]
mod tests;
mod transactions;

use std::hash::BuildHasher;
use std::sync::Arc;

use indexmap::map::raw_entry_v1::{RawEntryApiV1, RawEntryMut};

use super::records::OffsetValueRef;
use super::seeded::{Seeded, SeededIndex};
use crate::types::TopicId;

pub use deleted_topics::DeletedTopics;
pub use expiry::RetentionRound;
use of_group::GroupOffsets;
use transactions::Transactions;

#[derive(Debug)]
pub struct Offsets {
    groups: SeededIndex<Arc<str>, GroupOffsets>,
    transactions: Transactions,
    hash: Seeded,
    count: usize,
    /// Grows with every offset in the log's order: a transaction's offset does not replace one that came after it.
    order: u64,
    /// The last topic that was new to a group: many groups have the same few.
    last_topic: Arc<str>,
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
            last_topic: Arc::from(""),
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
            let of_topic = |(topic, rows): (&Arc<str>, &[StoredOffset])| {
                let name = format!("{group}/{topic}");
                rows.iter().map(move |row| (name.clone(), row.clone())).collect::<Vec<_>>()
            };
            offsets.by_topic().into_iter().flat_map(of_topic).collect::<Vec<_>>()
        };
        self.groups.iter().flat_map(of_group).collect()
    }

    pub fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&StoredOffset> {
        self.groups.get(group)?.get(topic, partition)
    }

    pub fn has_group(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }

    /// As it is kept here.
    pub fn name_of(&self, group: &str) -> Option<&Arc<str>> {
        self.groups.get_key_value(group).map(|(name, _)| name)
    }

    /// Groups with offsets.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    pub fn group_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.groups.keys()
    }

    /// `name` gives the group's as it is kept elsewhere, or a new one.
    pub fn put(
        &mut self,
        group: &str,
        name: impl FnOnce() -> Arc<str>,
        topic: &str,
        partition: i32,
        value: OffsetValueRef<'_>,
    ) {
        self.order += 1;
        let row = StoredOffset::new(partition, self.order, value);
        self.put_row(group, name, topic, row);
    }

    fn put_row(
        &mut self,
        group: &str,
        name: impl FnOnce() -> Arc<str>,
        topic: &str,
        row: StoredOffset,
    ) {
        let hash = self.hash.hash_one(group);
        let found = self.groups.raw_entry_mut_v1().from_key_hashed_nocheck(hash, group);
        let offsets = match found {
            RawEntryMut::Occupied(offsets) => offsets.into_mut(),
            RawEntryMut::Vacant(vacant) => {
                vacant.insert_hashed_nocheck(hash, name(), GroupOffsets::new()).1
            }
        };
        let last_topic = &mut self.last_topic;
        let name = || {
            if **last_topic != *topic {
                *last_topic = topic.into();
            }
            last_topic.clone()
        };
        self.count += usize::from(offsets.put(topic, row, self.hash, name));
    }

    /// A tombstone: of what is committed, and of what open transactions have for the partition.
    pub fn remove(&mut self, group: &str, topic: &str, partition: i32) {
        self.transactions.remove(group, topic, partition);
        let Some(offsets) = self.groups.get_mut(group) else { return };
        if !offsets.remove(topic, partition) {
            return;
        }
        self.count -= 1;
        if offsets.is_empty() {
            self.groups.swap_remove(group);
        }
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
