//! A group of the consumer protocol: what its records say, and the indexes over it. Owned by the `Groups` of the shard
//! that leads its partition of `__consumer_offsets`.
//!
//! Invariants: every field but the soft ones follows from the records alone (`apply`); a partition has at most one
//! owner, who has it assigned or has yet to give it back; the indexes count exactly the members that are here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::member::{Member, MemberState, regex_of};
use super::subscriptions::Resolved;
use crate::coordinator::group::assignor::Assignment;
use crate::coordinator::group::records::ConsumerMemberValue;
use crate::types::TopicId;

/// Kafka's states of a consumer group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    Empty,
    Assigning,
    Reconciling,
    Stable,
}

impl GroupState {
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::Assigning => "Assigning",
            GroupState::Reconciling => "Reconciling",
            GroupState::Stable => "Stable",
        }
    }
}

/// How many subscribe to a topic: members by its name, regular expressions that match it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subscribers {
    pub by_name: usize,
    pub by_regex: usize,
}

#[derive(Debug)]
pub struct ConsumerGroup {
    pub(super) id: Arc<str>,
    /// What the target assignment has to be at.
    pub(super) epoch: i32,
    pub(super) metadata_hash: i64,
    /// What the target assignment is at; -1 after its tombstone.
    pub(super) assignment_epoch: i32,
    /// When it was computed; 0: never, or not known.
    pub(super) assignment_ms: i64,
    /// In the order of their ids: the assignors break ties by it.
    /// Boxed: a node of the map has room for eleven, and most groups have one.
    pub(super) members: BTreeMap<Arc<str>, Box<Member>>,
    pub(super) target: HashMap<Arc<str>, Assignment>,
    pub(super) resolved: BTreeMap<Arc<str>, Resolved>,
    /// Of Kafka before 4.1; goes with the next epoch.
    pub(super) has_partitions_record: bool,

    pub(super) static_members: HashMap<Arc<str>, Arc<str>>,
    pub(super) owners: HashMap<(TopicId, i32), Arc<str>>,
    pub(super) topics: BTreeMap<Arc<str>, Subscribers>,
    pub(super) regexes: BTreeMap<Arc<str>, usize>,
    assignors: BTreeMap<Arc<str>, usize>,
    pub(super) classic_members: usize,
    classic_protocols: BTreeMap<Arc<str>, usize>,
    /// Members that are stable at the assignment's epoch.
    reconciled: usize,

    /// Soft: the image against which the metadata hash was checked last.
    pub(super) checked_version: Option<i64>,
    /// Soft: when the rebalance began that is not over, for its event.
    pub(super) rebalance_since_ms: Option<i64>,
    /// Soft: the target for this epoch that the log does not take.
    pub(super) refused_target: Option<Box<RefusedTarget>>,
}

/// A target with records larger than a batch of the log. It is not worked out again for the same epoch and limit.
#[derive(Debug)]
pub struct RefusedTarget {
    pub epoch: i32,
    pub batch_bytes_max: usize,
    /// Who would get too much, and how much of the log that would take.
    pub members: Vec<(Arc<str>, usize)>,
}

impl ConsumerGroup {
    pub fn new(id: Arc<str>) -> ConsumerGroup {
        ConsumerGroup {
            id,
            epoch: 1,
            metadata_hash: 0,
            assignment_epoch: 0,
            assignment_ms: 0,
            members: BTreeMap::new(),
            target: HashMap::new(),
            resolved: BTreeMap::new(),
            has_partitions_record: false,
            static_members: HashMap::new(),
            owners: HashMap::new(),
            topics: BTreeMap::new(),
            regexes: BTreeMap::new(),
            assignors: BTreeMap::new(),
            classic_members: 0,
            classic_protocols: BTreeMap::new(),
            reconciled: 0,
            checked_version: None,
            rebalance_since_ms: None,
            refused_target: None,
        }
    }

    pub fn state(&self) -> GroupState {
        if self.members.is_empty() {
            GroupState::Empty
        } else if self.epoch > self.assignment_epoch {
            GroupState::Assigning
        } else if self.reconciled < self.members.len() {
            GroupState::Reconciling
        } else {
            GroupState::Stable
        }
    }

    pub fn state_name(&self) -> &'static str {
        self.state().name()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    pub fn member(&self, id: &str) -> Option<&Member> {
        self.members.get(id).map(Box::as_ref)
    }

    pub fn static_member(&self, instance_id: &str) -> Option<&Member> {
        self.static_members.get(instance_id).and_then(|id| self.member(id))
    }

    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    pub fn target_of(&self, member: &str) -> &Assignment {
        self.target.get(member).unwrap_or(Assignment::EMPTY)
    }

    /// Nobody but `member` has this partition.
    pub(super) fn is_taken_from(&self, member: &str, topic: &TopicId, partition: i32) -> bool {
        self.owners.get(&(*topic, partition)).is_some_and(|owner| &**owner != member)
    }

    /// Of the assignors that members name, the one that most name; of equals the last by name.
    pub fn preferred_assignor(&self) -> Option<&Arc<str>> {
        self.assignors.iter().max_by_key(|(_, count)| **count).map(|(name, _)| name)
    }

    /// All members are subscribed to the same topics: Kafka's rule, which is quick and errs to the other side.
    pub(super) fn is_homogeneous(&self) -> bool {
        let members = self.members.len();
        match self.regexes.values().next() {
            None => self.topics.values().all(|count| count.by_name == members),
            Some(subscribers) if *subscribers == members => {
                self.topics.values().all(|count| count.by_regex == 1 && count.by_name == 0)
            }
            Some(_) => false,
        }
    }

    /// A member of the classic protocol with these protocols can be served.
    pub(super) fn supports_classic(&self, protocol_type: &str, names: &[&str]) -> bool {
        let common = |name: &str| {
            self.classic_protocols.get(name).copied().unwrap_or(0) == self.classic_members
        };
        protocol_type == "consumer" && names.iter().any(|name| self.is_empty() || common(name))
    }

    /// A classic member in UNRELEASED_PARTITIONS has nothing to come back for yet.
    pub(super) fn waits_for_others(&self, member: &Member) -> bool {
        member.current.state == MemberState::UnreleasedPartitions
            && self.target_of(&member.id).iter().any(|(topic, partition)| {
                !member.current.assigned.contains(&topic, partition)
                    && self.is_taken_from(&member.id, &topic, partition)
            })
    }

    /// Puts a member in place of what was there, and brings the indexes up to date.
    pub(super) fn put_member(&mut self, member: Member) {
        let id = member.id.clone();
        if let Some(old) = self.members.remove(&id) {
            self.forget_indexed(&old);
        }
        self.count_about(&member.about, true);
        if let Some(instance) = member.instance_id() {
            self.static_members.insert(instance.clone(), id.clone());
        }
        for partition in member.current.held() {
            self.owners.insert(partition, id.clone());
        }
        self.reconciled += usize::from(member.current.is_reconciled_to(self.assignment_epoch));
        self.members.insert(id, Box::new(member));
    }

    pub(super) fn take_member(&mut self, id: &str) -> Option<Member> {
        let member = *self.members.remove(id)?;
        self.forget_indexed(&member);
        if let Some(instance) = member.instance_id()
            && self.static_members.get(instance).is_some_and(|holder| &**holder == id)
        {
            self.static_members.remove(instance);
        }
        Some(member)
    }

    fn forget_indexed(&mut self, member: &Member) {
        self.reconciled -= usize::from(member.current.is_reconciled_to(self.assignment_epoch));
        for partition in member.current.held() {
            // While a log is replayed, another's newer record may have come first.
            if self.owners.get(&partition).is_some_and(|owner| *owner == member.id) {
                self.owners.remove(&partition);
            }
        }
        self.count_about(&member.about, false);
    }

    fn count_about(&mut self, about: &ConsumerMemberValue, plus: bool) {
        for name in &about.subscribed_topic_names {
            count_topic(&mut self.topics, name, |count| &mut count.by_name, plus);
        }
        if let Some(regex) = regex_of(about) {
            count(&mut self.regexes, regex, plus);
        }
        if let Some(assignor) = &about.server_assignor {
            count(&mut self.assignors, assignor, plus);
        }
        if let Some(classic) = &about.classic {
            self.classic_members =
                if plus { self.classic_members + 1 } else { self.classic_members - 1 };
            for (name, _) in &classic.protocols {
                count(&mut self.classic_protocols, name, plus);
            }
        }
    }

    pub(super) fn put_resolved(&mut self, regex: &Arc<str>, resolved: Option<Resolved>) {
        if let Some(old) = self.resolved.remove(regex) {
            for topic in old.topics.iter() {
                count_topic(&mut self.topics, topic, |count| &mut count.by_regex, false);
            }
        }
        if let Some(resolved) = resolved {
            for topic in resolved.topics.iter() {
                count_topic(&mut self.topics, topic, |count| &mut count.by_regex, true);
            }
            self.resolved.insert(regex.clone(), resolved);
        }
    }

    pub(super) fn put_assignment_epoch(&mut self, epoch: i32, at_ms: i64) {
        self.assignment_epoch = epoch;
        self.assignment_ms = at_ms;
        let done = |member: &Member| member.current.is_reconciled_to(epoch);
        self.reconciled = self.members.values().filter(|member| done(member)).count();
    }

    /// After a log was replayed: records of several members may have come in an order in which two had a partition.
    pub(super) fn recount_owners(&mut self) {
        self.owners.clear();
        for member in self.members.values() {
            for partition in member.current.held() {
                self.owners.insert(partition, member.id.clone());
            }
        }
    }
}

fn count(counts: &mut BTreeMap<Arc<str>, usize>, name: &Arc<str>, plus: bool) {
    if plus {
        *counts.entry(name.clone()).or_default() += 1;
    } else if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}

fn count_topic(
    topics: &mut BTreeMap<Arc<str>, Subscribers>,
    name: &Arc<str>,
    which: impl Fn(&mut Subscribers) -> &mut usize,
    plus: bool,
) {
    let counts = topics.entry(name.clone()).or_default();
    let count = which(counts);
    *count = if plus { *count + 1 } else { count.saturating_sub(1) };
    if *counts == Subscribers::default() {
        topics.remove(name);
    }
}
