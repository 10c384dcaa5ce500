//! What one group has committed: a row for each partition, by topic. Most groups have one topic or a few, and then a
//! list of them with the rows inside is one allocation; whoever has many gets a map. Owned by `Offsets`.
//! Invariant: the rows of a topic are sorted by partition, and a topic without rows is not kept.

use std::sync::Arc;

use smallvec::SmallVec;

use super::StoredOffset;
use crate::coordinator::group::seeded::{Seeded, SeededMap};

/// Comparing so many names costs less than hashing one of them.
const TOPICS_IN_A_LIST: usize = 8;

type Rows = SmallVec<[StoredOffset; 1]>;

#[derive(Debug)]
pub struct GroupOffsets {
    topics: ByTopic,
}

#[derive(Debug)]
enum ByTopic {
    Few(Vec<(Arc<str>, Rows)>),
    Many(SeededMap<Arc<str>, Rows>),
}

impl GroupOffsets {
    pub fn new() -> GroupOffsets {
        GroupOffsets { topics: ByTopic::Few(Vec::new()) }
    }

    /// How many topics.
    pub fn len(&self) -> usize {
        match &self.topics {
            ByTopic::Few(topics) => topics.len(),
            ByTopic::Many(topics) => topics.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn rows(&self, topic: &str) -> Option<&[StoredOffset]> {
        let rows = match &self.topics {
            ByTopic::Few(topics) => {
                topics.iter().find(|(name, _)| **name == *topic).map(|(_, rows)| rows)
            }
            ByTopic::Many(topics) => topics.get(topic),
        };
        rows.map(|rows| rows.as_slice())
    }

    fn rows_mut(&mut self, topic: &str) -> Option<&mut Rows> {
        match &mut self.topics {
            ByTopic::Few(topics) => {
                topics.iter_mut().find(|(name, _)| **name == *topic).map(|(_, rows)| rows)
            }
            ByTopic::Many(topics) => topics.get_mut(topic),
        }
    }

    pub fn get(&self, topic: &str, partition: i32) -> Option<&StoredOffset> {
        let rows = self.rows(topic)?;
        rows.binary_search_by_key(&partition, |row| row.partition).ok().map(|at| &rows[at])
    }

    /// Whether it is a new one. `name`: gives the topic's name to keep, when it is new to the group.
    pub fn put(
        &mut self,
        topic: &str,
        row: StoredOffset,
        hash: Seeded,
        name: impl FnOnce() -> Arc<str>,
    ) -> bool {
        let Some(rows) = self.rows_mut(topic) else {
            self.add(name(), SmallVec::from_buf([row]), hash);
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

    fn add(&mut self, topic: Arc<str>, rows: Rows, hash: Seeded) {
        match &mut self.topics {
            ByTopic::Few(topics) if topics.len() < TOPICS_IN_A_LIST => {
                // The first one by itself: most have no other.
                topics.reserve_exact(if topics.is_empty() { 1 } else { topics.len() });
                topics.push((topic, rows));
            }
            ByTopic::Few(topics) => {
                let mut many = SeededMap::with_hasher(hash);
                many.extend(topics.drain(..));
                many.insert(topic, rows);
                self.topics = ByTopic::Many(many);
            }
            ByTopic::Many(topics) => {
                topics.insert(topic, rows);
            }
        }
    }

    /// Whether it was there.
    pub fn remove(&mut self, topic: &str, partition: i32) -> bool {
        let Some(rows) = self.rows_mut(topic) else { return false };
        let Ok(at) = rows.binary_search_by_key(&partition, |row| row.partition) else {
            return false;
        };
        rows.remove(at);
        if rows.is_empty() {
            match &mut self.topics {
                ByTopic::Few(topics) => topics.retain(|(name, _)| **name != *topic),
                ByTopic::Many(topics) => {
                    topics.remove(topic);
                }
            }
        }
        true
    }

    /// In the order of their names.
    pub fn by_topic(&self) -> Vec<(&Arc<str>, &[StoredOffset])> {
        let mut topics: Vec<_> = match &self.topics {
            ByTopic::Few(topics) => topics.iter().map(|(t, rows)| (t, rows.as_slice())).collect(),
            ByTopic::Many(topics) => topics.iter().map(|(t, rows)| (t, rows.as_slice())).collect(),
        };
        topics.sort_unstable_by_key(|(topic, _)| *topic);
        topics
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::group::records::OffsetValueRef;
    use crate::types::TopicId;

    fn row(partition: i32, offset: i64) -> StoredOffset {
        let value = OffsetValueRef {
            offset,
            leader_epoch: -1,
            metadata: "",
            commit_ms: 0,
            expire_ms: -1,
            topic_id: TopicId::nil(),
        };
        StoredOffset::new(partition, 0, value)
    }

    /// More topics than a list has, in both directions: one after another comes, changes and goes.
    #[test]
    fn topics_come_and_go_whatever_they_are_kept_in() {
        let (mut group, hash) = (GroupOffsets::new(), Seeded::new(1));
        let name = |n: i32| format!("topic-{n:03}");
        let count = 3 * TOPICS_IN_A_LIST as i32;
        for n in (0..count).rev() {
            for partition in [1, 0, 2] {
                let new = row(partition, i64::from(n));
                assert!(group.put(&name(n), new, hash, || name(n).into()));
            }
            assert!(!group.put(&name(n), row(1, 99), hash, || unreachable!("it is known")));
            assert_eq!(group.len() as i32, count - n);
            assert_eq!(group.get(&name(n), 1).map(|row| row.offset), Some(99));
        }
        let all = group.by_topic();
        assert!(all.is_sorted_by_key(|(topic, _)| topic.to_string()));
        assert!(all.iter().all(|(_, rows)| rows.is_sorted_by_key(|row| row.partition)));
        for n in 0..count {
            assert!(!group.remove(&name(n), 7));
            for partition in [2, 0, 1] {
                assert!(group.get(&name(n), partition).is_some());
                assert!(group.remove(&name(n), partition));
                assert!(group.get(&name(n), partition).is_none());
            }
            assert_eq!(group.rows(&name(n)), None);
            assert_eq!(group.len() as i32, count - n - 1);
        }
        assert!(group.is_empty());
    }
}
