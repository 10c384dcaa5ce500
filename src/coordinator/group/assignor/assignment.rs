//! Partitions by topic, as an assignor gives them to a member and as the target assignment's records
//! hold them. Topics in the order of their ids, partitions ascending, no topic without a partition:
//! two equal assignments are equal byte for byte. Plain values.

use std::rc::Rc;

use crate::types::TopicId;

/// Topics in the order of their ids, each once; shared by the members that subscribe to the same.
pub type TopicSet = Rc<[TopicId]>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment(Vec<(TopicId, Vec<i32>)>);

impl Assignment {
    pub const EMPTY: &'static Assignment = &Assignment(Vec::new());

    /// From any order, as a record or another broker may have it.
    pub fn from_unsorted(topics: impl IntoIterator<Item = (TopicId, Vec<i32>)>) -> Assignment {
        let mut all: Vec<(TopicId, Vec<i32>)> = topics.into_iter().collect();
        all.sort_by_key(|(topic, _)| *topic);
        let mut out: Vec<(TopicId, Vec<i32>)> = Vec::with_capacity(all.len());
        for (topic, mut partitions) in all {
            match out.last_mut() {
                Some((last, had)) if *last == topic => had.append(&mut partitions),
                _ => out.push((topic, partitions)),
            }
        }
        for (_, partitions) in &mut out {
            partitions.sort_unstable();
            partitions.dedup();
        }
        out.retain(|(_, partitions)| !partitions.is_empty());
        Assignment(out)
    }

    /// A topic after all that are there, its partitions ascending.
    pub(super) fn push(&mut self, topic: TopicId, partitions: Vec<i32>) {
        debug_assert!(self.0.last().is_none_or(|(last, _)| *last < topic));
        if !partitions.is_empty() {
            self.0.push((topic, partitions));
        }
    }

    /// One partition, after all that are there of its topic; its topic after all others, or the last.
    pub(super) fn push_partition(&mut self, topic: TopicId, partition: i32) {
        match self.0.last_mut() {
            Some((last, partitions)) if *last == topic => partitions.push(partition),
            _ => self.push(topic, vec![partition]),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn topics(&self) -> &[(TopicId, Vec<i32>)] {
        &self.0
    }

    pub fn partitions(&self, topic: &TopicId) -> &[i32] {
        match self.0.binary_search_by_key(topic, |(id, _)| *id) {
            Ok(at) => &self.0[at].1,
            Err(_) => &[],
        }
    }

    pub fn contains(&self, topic: &TopicId, partition: i32) -> bool {
        self.partitions(topic).binary_search(&partition).is_ok()
    }

    /// How many partitions.
    pub fn len(&self) -> usize {
        self.0.iter().map(|(_, partitions)| partitions.len()).sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = (TopicId, i32)> + '_ {
        self.0.iter().flat_map(|(topic, all)| all.iter().map(move |partition| (*topic, *partition)))
    }
}
