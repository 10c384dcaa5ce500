//! A deleted topic's offsets go, of whatever group, a bounded number of groups a step: a coordinator may have many
//! more of them than one step has time for. Those of another topic of that name stay, and so do
//! those that were committed after the deletion, which a walk under way may come across.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;

use crate::coordinator::group::classic::name;
use crate::coordinator::group::{Cause, EventKind, Groups, TimerKey, Turn};
use crate::limits::GROUPS_SEARCHED_AT_ONCE;
use crate::types::TopicId;

use super::delete::tombstone;
use super::{Offsets, StoredOffset};

/// Walks over the groups, one for each image that had topics no more.
#[derive(Debug, Default)]
pub struct DeletedTopics(VecDeque<Walk>);

#[derive(Debug)]
struct Walk {
    topics: BTreeMap<Arc<str>, TopicId>,
    /// How many groups it has still to look at: it goes from the last to the first.
    left: usize,
    /// Offsets of a higher order were committed later.
    order: u64,
}

impl Groups {
    pub(in crate::coordinator::group) fn topics_deleted(
        &mut self,
        turn: &mut Turn<'_>,
        topics: &[(StrBytes, TopicId)],
    ) {
        let topics: BTreeMap<_, _> = topics.iter().map(|(topic, id)| (name(topic), *id)).collect();
        for (topic, id) in &topics {
            // Transactions are few, and none begins with a topic that is gone.
            let mut pending = self.offsets.pending_of_topic(topic, *id);
            pending.sort();
            for (group, partition) in pending {
                self.forget(turn, &group, topic, vec![partition]);
            }
        }
        let (left, order) = (self.offsets.groups.len(), self.offsets.order);
        self.deleted_topics.0.push_back(Walk { topics, left, order });
        self.deleted_topics_due(turn);
    }

    /// The next slice.
    pub(in crate::coordinator::group) fn deleted_topics_due(&mut self, turn: &mut Turn<'_>) {
        let mut budget = GROUPS_SEARCHED_AT_ONCE;
        while let Some(mut walk) = self.deleted_topics.0.pop_front() {
            while budget > 0 && walk.left > 0 {
                walk.left = walk.left.min(self.offsets.groups.len()).saturating_sub(1);
                let Some((group, found, cost)) = self.offsets.of_deleted(&walk) else { continue };
                budget = budget.saturating_sub(cost);
                for (topic, partitions) in found {
                    self.forget(turn, &group, &topic, partitions);
                }
            }
            if walk.left > 0 {
                self.deleted_topics.0.push_front(walk);
                // The rest as soon as others have had their turn.
                return self.timers.arm(&TimerKey::DeletedTopics, turn.now.monotonic_ms);
            }
        }
    }

    fn forget(
        &mut self,
        turn: &mut Turn<'_>,
        group: &Arc<str>,
        topic: &Arc<str>,
        partitions: Vec<i32>,
    ) {
        // Without offsets it is a group until the next round of retention.
        self.settle(group);
        let cause = Cause::TopicDeleted { topic: topic.clone(), offsets: partitions.len() };
        self.group_event(turn, group, EventKind::OffsetsDeleted, None, cause);
        let tombstones = partitions.iter().map(|p| tombstone(group, topic, *p));
        self.append_tombstones(turn, tombstones.collect());
    }
}

type Found = Vec<(Arc<str>, Vec<i32>)>;

impl Offsets {
    /// What the group at the walk's place has of its topics, in the order of their names, and what it cost to look.
    fn of_deleted(&self, walk: &Walk) -> Option<(Arc<str>, Found, usize)> {
        let (group, offsets) = self.groups.get_index(walk.left)?;
        let (mut found, mut cost) = (Found::new(), 1);
        let mut look = |topic: &Arc<str>, id: TopicId, rows: &[StoredOffset]| {
            let gone = rows.iter().filter(|row| {
                row.order <= walk.order && (row.topic_id.is_nil() || row.topic_id == id)
            });
            let gone: Vec<i32> = gone.map(|row| row.partition).collect();
            cost += rows.len();
            if !gone.is_empty() {
                found.push((topic.clone(), gone));
            }
        };
        // The shorter list is gone through.
        if walk.topics.len() <= offsets.len() {
            for (topic, id) in &walk.topics {
                let Some(rows) = offsets.rows(topic) else { continue };
                look(topic, *id, rows);
            }
        } else {
            for (topic, rows) in offsets.by_topic() {
                let Some(id) = walk.topics.get(topic) else { continue };
                look(topic, *id, rows);
            }
        }
        cost += walk.topics.len().min(offsets.len());
        Some((group.clone(), found, cost))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::coordinator::group::testing::{Bench, committing, s};
    use crate::coordinator::group::{GroupConfig, Input};

    fn with_groups(count: usize) -> Bench {
        let mut bench = Bench::new(GroupConfig::default());
        for i in 0..count {
            bench.commit(committing(&format!("group-{i}"), "", -1, 5)).expect("a commit");
        }
        bench
    }

    fn deleted() -> Input {
        Input::TopicsDeleted { topics: vec![(s("t"), TopicId::from_u128(7))] }
    }

    #[test]
    fn a_walk_over_many_groups_is_cut_and_leaves_what_comes_later() {
        let mut bench = with_groups(3 * GROUPS_SEARCHED_AT_ONCE);
        bench.step(deleted());
        let left = bench.groups.offsets.count();
        assert!(left > GROUPS_SEARCHED_AT_ONCE, "{left} left of a step");
        assert_eq!(bench.groups.next_deadline_ms(), Some(bench.now.monotonic_ms));
        // Made again meanwhile: a group that the walk has still to see and one that it has seen commit to it.
        for group in ["group-0", "group-5999", "new"] {
            let mut commit = committing(group, "", -1, 9);
            commit.topics[0].id = TopicId::from_u128(8);
            bench.commit(commit).expect("a commit");
        }
        // And one to a topic whose id is not known, as a transaction's is.
        let mut commit = committing("nil", "", -1, 9);
        commit.topics[0].id = TopicId::nil();
        bench.commit(commit).expect("a commit");
        bench.pass(0);
        let mut groups: Vec<String> =
            bench.groups.offsets.rows().into_iter().map(|(name, _)| name).collect();
        groups.sort();
        assert_eq!(groups, ["group-0/t", "group-5999/t", "new/t", "nil/t"]);
        assert_eq!(bench.replayed().offsets.count(), 4);
    }

    #[test]
    fn walks_do_not_forget_each_other() {
        let mut bench = with_groups(2 * GROUPS_SEARCHED_AT_ONCE);
        let other = |group: &str| {
            let mut commit = committing(group, "", -1, 9);
            commit.topics[0].name = s("u");
            commit.topics[0].id = TopicId::from_u128(9);
            commit
        };
        bench.commit(other("group-1")).expect("a commit");
        bench.step(deleted());
        bench.step(Input::TopicsDeleted { topics: vec![(s("u"), TopicId::from_u128(9))] });
        bench.pass(0);
        assert_eq!(bench.groups.offsets.count(), 0);
    }

    #[test]
    #[ignore = "a measurement"]
    fn a_topic_of_100_000_groups() {
        let mut bench = with_groups(100_000);
        let (mut longest, mut steps, begun) = (0, 0, Instant::now());
        let mut next = Some(deleted());
        while let Some(input) = next.take() {
            let step = Instant::now();
            bench.step(input);
            longest = longest.max(step.elapsed().as_micros());
            steps += 1;
            let due = bench.groups.next_deadline_ms() == Some(bench.now.monotonic_ms);
            next = due.then_some(Input::Tick);
        }
        assert_eq!(bench.groups.offsets.count(), 0);
        let all = begun.elapsed().as_millis();
        println!("{steps} steps, the longest {longest} us, together {all} ms");
    }
}
