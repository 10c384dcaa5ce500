//! Offsets that open transactions have written (KIP-98): they count when the transaction's marker commits it, and are
//! forgotten when it aborts. A partition with one is not stable for who asks for stable offsets (KIP-447).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{OffsetValueRef, Offsets, StoredOffset};
use crate::types::TopicId;

type ByPartition<T> = BTreeMap<Arc<str>, BTreeMap<i32, T>>;

#[derive(Debug, Default)]
pub struct Transactions {
    /// By producer id, group and topic.
    pending: BTreeMap<i64, BTreeMap<Arc<str>, ByPartition<StoredOffset>>>,
    /// By group and topic: the producers that have a pending offset there.
    open: BTreeMap<Arc<str>, ByPartition<Vec<i64>>>,
}

fn slot<'a, T: Default>(map: &'a mut BTreeMap<Arc<str>, T>, name: &str) -> &'a mut T {
    if !map.contains_key(name) {
        map.insert(name.into(), T::default());
    }
    map.get_mut(name).expect("it is there now")
}

impl Offsets {
    pub fn put_pending(
        &mut self,
        producer_id: i64,
        group: &str,
        topic: &str,
        partition: i32,
        value: OffsetValueRef<'_>,
    ) {
        self.order += 1;
        let row = StoredOffset::new(partition, self.order, value);
        let Transactions { pending, open } = &mut self.transactions;
        slot(slot(pending.entry(producer_id).or_default(), group), topic).insert(partition, row);
        let producers = slot(slot(open, group), topic).entry(partition).or_default();
        if !producers.contains(&producer_id) {
            producers.push(producer_id);
        }
    }

    /// The marker of a transaction.
    pub fn complete(&mut self, producer_id: i64, committed: bool) {
        let Some(pending) = self.transactions.pending.remove(&producer_id) else { return };
        for (group, topics) in pending {
            for (topic, rows) in topics {
                for (partition, row) in rows {
                    self.transactions.close(producer_id, &group, &topic, partition);
                    let newer = self
                        .get(&group, &topic, partition)
                        .is_some_and(|committed| committed.order > row.order);
                    if committed && !newer {
                        self.put_row(&group, || group.clone(), &topic, row);
                    }
                }
            }
        }
    }

    pub fn is_unstable(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.transactions.producers(group, topic, partition).is_some()
    }

    pub fn has_open_transactions(&self, group: &str) -> bool {
        self.transactions.open.contains_key(group)
    }

    /// Partitions of the group with pending offsets.
    pub(super) fn pending_partitions(&self, group: &str) -> Vec<(Arc<str>, i32)> {
        let Some(topics) = self.transactions.open.get(group) else { return Vec::new() };
        topics
            .iter()
            .flat_map(|(topic, rows)| rows.keys().map(|partition| (topic.clone(), *partition)))
            .collect()
    }

    /// Pending offsets for a topic that is gone, unless they are of another topic of that name.
    pub(super) fn pending_of_topic(&self, topic: &str, id: TopicId) -> Vec<(Arc<str>, i32)> {
        let mut found = Vec::new();
        for groups in self.transactions.pending.values() {
            for (group, topics) in groups {
                for row in topics.get(topic).into_iter().flat_map(BTreeMap::values) {
                    if row.topic_id.is_nil() || row.topic_id == id {
                        found.push((group.clone(), row.partition));
                    }
                }
            }
        }
        found
    }
}

impl Transactions {
    fn producers(&self, group: &str, topic: &str, partition: i32) -> Option<&Vec<i64>> {
        self.open.get(group)?.get(topic)?.get(&partition)
    }

    fn close(&mut self, producer_id: i64, group: &str, topic: &str, partition: i32) {
        let Some(topics) = self.open.get_mut(group) else { return };
        let Some(rows) = topics.get_mut(topic) else { return };
        let Some(producers) = rows.get_mut(&partition) else { return };
        producers.retain(|id| *id != producer_id);
        if producers.is_empty() {
            rows.remove(&partition);
        }
        if rows.is_empty() {
            topics.remove(topic);
        }
        if topics.is_empty() {
            self.open.remove(group);
        }
    }

    pub fn remove(&mut self, group: &str, topic: &str, partition: i32) {
        let Some(producers) = self.producers(group, topic, partition).cloned() else { return };
        for producer_id in producers {
            self.close(producer_id, group, topic, partition);
            let rows = self
                .pending
                .get_mut(&producer_id)
                .and_then(|groups| groups.get_mut(group))
                .and_then(|topics| topics.get_mut(topic));
            if let Some(rows) = rows {
                rows.remove(&partition);
            }
        }
    }
}
