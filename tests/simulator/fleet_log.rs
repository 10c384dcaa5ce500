//! What the coordinator wrote to `__consumer_offsets` in a run of `fleet.rs`, record by record, as it was
//! true when it was written:
//! - a partition is held by one member, assigned or not yet given back, and was given by the target;
//! - epochs of members and generations of the group never go back (a member that is gone, and a group that was
//!   empty, begin anew);
//! - a member is not asked to give back what its target lets it keep;
//! - a commit was by a member that held the partition, in an epoch in which it did; offsets go back only
//!   by a commit that was late or double, or by the owner's will;
//! - what was acknowledged is there, and a new owner was told of the newest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use spindle::coordinator::group::Record;
use spindle::coordinator::group::consumer::embedded::EmbeddedAssignment;
use spindle::coordinator::group::records::{
    AssignedAt, ConsumerCurrentValue, GroupValue, OffsetValue,
};
use spindle::types::TopicId;

use crate::fleet::{COMES_AND_GOES, GROUP, World};
use crate::fleet_claims::Partition;
use crate::fleet_commits::{Key, parse};

#[derive(Default)]
pub struct Found {
    pub generation: i32,
    pub commits: usize,
    pub revocations: usize,
    pub conversions: usize,
    /// The newest commit of each partition, and its metadata.
    pub offsets: BTreeMap<Key, (i64, String)>,
}

#[derive(Default)]
struct Member {
    names: BTreeSet<Arc<str>>,
    regex: Option<Arc<str>>,
    classic: bool,
    target: BTreeSet<Partition>,
    current: Option<Current>,
}

#[derive(Clone)]
struct Current {
    epoch: i32,
    /// And the epoch at which it was given.
    assigned: BTreeMap<Partition, i32>,
    pending: BTreeMap<Partition, i32>,
    /// Given back without a new epoch: a commit of this epoch can't be told from one before it.
    given_back: BTreeSet<Partition>,
}

struct Replay<'a> {
    world: &'a World,
    members: BTreeMap<Arc<str>, Member>,
    regexes: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// As its newest record says; `None`: it is not a classic one.
    classic: Option<GroupValue>,
    is_consumer: bool,
    /// There were no members before this batch.
    was_empty: bool,
    was_consumer: bool,
    /// By partition: metadata of all that was committed, in order.
    accepted: BTreeMap<Key, Vec<String>>,
    found: Found,
}

pub fn check(world: &World, batches: &[Vec<Record>]) -> Found {
    let mut replay = Replay {
        world,
        members: BTreeMap::new(),
        regexes: BTreeMap::new(),
        classic: None,
        is_consumer: false,
        was_empty: true,
        was_consumer: false,
        accepted: BTreeMap::new(),
        found: Found::default(),
    };
    for batch in batches {
        replay.was_empty = replay.members.is_empty()
            && replay.classic.as_ref().is_none_or(|group| group.members.is_empty());
        replay.was_consumer = replay.is_consumer;
        for record in batch {
            replay.apply(record);
        }
    }
    replay.check_acknowledged();
    replay.found
}

impl Replay<'_> {
    fn apply(&mut self, record: &Record) {
        match record {
            Record::Offset { group, topic, partition, value } if **group == *GROUP => {
                let key = (topic.to_string(), *partition);
                match value {
                    Some(value) => self.committed(key, value),
                    None => {
                        assert_eq!(key.0, COMES_AND_GOES, "nobody deletes these offsets");
                        self.found.offsets.remove(&key);
                    }
                }
            }
            Record::Group { value, .. } => {
                if let Some(value) = value {
                    assert!(!self.is_consumer, "a consumer group's records are gone before");
                    self.generation(value.generation);
                    let converts = self.was_consumer && !value.members.is_empty();
                    self.found.conversions += usize::from(converts);
                }
                self.classic = value.clone();
            }
            Record::ConsumerGroup { value: Some(value), .. } => {
                let converts = !self.was_consumer && !self.was_empty;
                self.found.conversions += usize::from(converts);
                self.is_consumer = true;
                self.generation(value.epoch);
            }
            Record::ConsumerGroup { value: None, .. } => {
                assert!(self.members.is_empty(), "its members are gone before it");
                self.is_consumer = false;
                self.regexes.clear();
            }
            Record::ConsumerMember { member, value, .. } => match value {
                Some(about) => {
                    // A member that subscribes to nothing gives the group no epoch.
                    self.is_consumer = true;
                    let known = self.members.entry(member.clone()).or_default();
                    known.names = about.subscribed_topic_names.iter().cloned().collect();
                    known.regex = about.subscribed_topic_regex.clone();
                    known.classic = about.classic.is_some();
                }
                None => drop(self.members.remove(member)),
            },
            Record::ConsumerTargetMember { member, value, .. } => {
                let Some(known) = self.members.get_mut(member) else { return };
                let topics = value.iter().flatten();
                known.target =
                    topics.flat_map(|t| t.partitions.iter().map(|n| (t.topic_id, *n))).collect();
            }
            Record::ConsumerCurrent { member, value: Some(value), .. } => {
                self.moved(member, value);
            }
            Record::ConsumerCurrent { member, value: None, .. } => {
                if let Some(known) = self.members.get_mut(member) {
                    known.current = None;
                }
            }
            Record::ConsumerRegex { regex, value, .. } => match value {
                Some(value) => {
                    let topics = value.topics.iter().cloned().collect();
                    self.regexes.insert(regex.clone(), topics);
                }
                None => drop(self.regexes.remove(regex)),
            },
            Record::Offset { .. }
            | Record::ConsumerPartitions { .. }
            | Record::ConsumerTarget { .. }
            | Record::Unused { .. } => {}
        }
    }

    fn generation(&mut self, now: i32) {
        let before = self.found.generation;
        assert!(now >= before || self.was_empty, "generation {now} after {before}");
        self.found.generation = now;
    }

    fn moved(&mut self, id: &Arc<str>, value: &ConsumerCurrentValue) {
        let mut now = Current {
            epoch: value.member_epoch,
            assigned: with_epochs(&value.assigned),
            pending: with_epochs(&value.pending_revocation),
            given_back: BTreeSet::new(),
        };
        for partition in now.assigned.keys().chain(now.pending.keys()) {
            for (other, member) in self.members.iter().filter(|(other, _)| *other != id) {
                let taken = member.current.as_ref().is_some_and(|had| had.holds(partition));
                assert!(!taken, "{partition:?} is given to {id} and held by {other}");
            }
        }
        let member = self.members.entry(id.clone()).or_default();
        if let Some(had) = &member.current {
            let (before, epoch) = (had.epoch, now.epoch);
            let away = -2;
            assert!(
                epoch >= before || epoch == away,
                "{id}: its epoch was {before} and is {epoch}"
            );
            assert!(before != away || epoch == away, "{id} is away for good");
            if before == epoch {
                let all = had.assigned.keys().chain(had.pending.keys());
                let gone = all.filter(|partition| !now.holds(partition));
                now.given_back = gone.chain(&had.given_back).copied().collect();
            }
        }
        let empty = BTreeMap::new();
        // One that takes the place of a static member has what that one had.
        let replaces = value.member_epoch == 0 && value.previous_member_epoch == 0;
        let had = member.current.as_ref().map_or(&empty, |had| &had.assigned);
        for partition in now.assigned.keys().filter(|partition| !had.contains_key(partition)) {
            let wanted = member.target.contains(partition);
            assert!(
                wanted || replaces,
                "{id} is given {partition:?}, which its target does not have"
            );
        }
        let member = &self.members[id];
        let pending = member.current.as_ref().map_or(&empty, |had| &had.pending);
        for partition in now.pending.keys().filter(|p| !pending.contains_key(p)) {
            self.found.revocations += 1;
            let keeps = member.target.contains(partition) && self.wants(member, &partition.0);
            // That one may have been asked before the target gave it the partition again.
            assert!(!keeps || replaces, "{id} is asked to give back {partition:?}, which it keeps");
        }
        self.members.get_mut(id).expect("it is here").current = Some(now);
    }

    /// It is subscribed to this topic, which is there for good.
    fn wants(&self, member: &Member, topic: &TopicId) -> bool {
        let names = self.world.names.borrow();
        let Some(name) = names.get(topic).filter(|name| *name != COMES_AND_GOES) else {
            return false;
        };
        let regex = member.regex.as_ref().and_then(|regex| self.regexes.get(regex));
        member.names.contains(name.as_str())
            || regex.is_some_and(|topics| topics.contains(name.as_str()))
    }

    fn committed(&mut self, key: Key, value: &OffsetValue) {
        let metadata = value.metadata.to_string();
        let (by, epoch, number) = parse(&metadata);
        self.found.commits += 1;
        if self.is_consumer {
            self.check_owner(&key, (by, epoch), value);
        } else {
            let group = self.classic.as_ref();
            let group = group.unwrap_or_else(|| panic!("{metadata} was taken, and no group is"));
            assert_eq!(group.generation, epoch, "{key:?}: {metadata} is of another generation");
            let seat = group.members.iter().find(|m| &*m.member_id == by);
            let seat = seat.unwrap_or_else(|| panic!("{metadata}: {by} is no member"));
            let given = EmbeddedAssignment::read(&seat.assignment).expect("an assignment");
            let has = |(name, all): &(Arc<str>, Vec<i32>)| **name == *key.0 && all.contains(&key.1);
            assert!(given.partitions.iter().any(has), "{key:?}: {metadata} is not its owner's");
        }
        let commits = self.world.commits.borrow();
        let excused = commits.late.contains(&metadata) || commits.rewound.contains(&metadata);
        // Members may still hold a topic that is gone, and commit by its name to the next one.
        if let Some((offset, before)) = self.found.offsets.get(&key)
            && key.0 != COMES_AND_GOES
        {
            let (who, _, newest) = parse(before);
            let after_late = who == by && commits.late.contains(before);
            assert!(
                value.offset >= *offset || excused || after_late,
                "{key:?}: {metadata} at {} came after {before} at {offset}",
                value.offset
            );
            assert!(who != by || newest < number || excused, "{metadata} came after {before}");
        }
        self.accepted.entry(key.clone()).or_default().push(metadata.clone());
        self.found.offsets.insert(key, (value.offset, metadata));
    }

    fn check_owner(&self, key: &Key, (by, epoch): (&str, i32), value: &OffsetValue) {
        let metadata = &value.metadata;
        let member = self.members.get(by);
        let member = member.unwrap_or_else(|| panic!("{key:?}: {metadata}: {by} is no member"));
        let current = member.current.as_ref().expect("a member has an epoch");
        assert!(epoch <= current.epoch, "{metadata} is of an epoch that is not yet");
        let names = self.world.names.borrow();
        let of = |partition: &&Partition| {
            partition.1 == key.1 && names.get(&partition.0).is_none_or(|name| *name == key.0)
        };
        let mut held = current.assigned.iter().chain(&current.pending);
        let since = held.find(|(partition, _)| of(partition)).map(|(_, since)| *since);
        let known = current.given_back.iter().any(|partition| of(&partition));
        let allowed = match since {
            Some(since) => epoch >= since || epoch == current.epoch,
            None => epoch == current.epoch && known,
        };
        assert!(allowed, "{key:?}: {metadata} was taken, given at {since:?}, {}", current.epoch);
    }

    fn check_acknowledged(&self) {
        let commits = self.world.commits.borrow();
        let first = |key: &Key, metadata: &String| {
            self.accepted.get(key).and_then(|all| all.iter().position(|m| m == metadata))
        };
        for (key, metadata) in &commits.acked {
            assert!(first(key, metadata).is_some(), "{key:?}: {metadata} was acknowledged");
        }
        for fetched in commits.fetched.iter().filter(|f| f.key.0 != COMES_AND_GOES) {
            let acked =
                commits.acked[..fetched.acked].iter().filter(|(key, _)| *key == fetched.key);
            let newest = acked.filter_map(|(key, metadata)| first(key, metadata)).max();
            let saw = fetched.metadata.as_ref().map(|metadata| {
                let all = self.accepted.get(&fetched.key);
                all.and_then(|all| all.iter().rposition(|m| m == metadata))
                    .unwrap_or_else(|| panic!("{} saw {metadata}, which is gone", fetched.by))
            });
            assert!(
                saw >= newest,
                "{:?}: {} was told of {:?}, which is not the newest",
                fetched.key,
                fetched.by,
                fetched.metadata
            );
        }
    }
}

impl Current {
    fn holds(&self, partition: &Partition) -> bool {
        self.assigned.contains_key(partition) || self.pending.contains_key(partition)
    }
}

fn with_epochs(topics: &[AssignedAt]) -> BTreeMap<Partition, i32> {
    let mut all = BTreeMap::new();
    for topic in topics {
        let epochs = topic.epochs.as_ref().expect("we write them");
        assert_eq!(epochs.len(), topic.partitions.len());
        for (partition, epoch) in topic.partitions.iter().zip(epochs) {
            let before = all.insert((topic.topic_id, *partition), *epoch);
            assert_eq!(before, None, "{partition} is there twice");
        }
    }
    all
}
