//! Laws of the assignors over random groups (one seed a case), and the cases that pin Kafka's ties.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::*;

fn topic(n: u128) -> TopicId {
    TopicId::from_u128(n + 1)
}

#[derive(Clone, Debug)]
struct Member {
    id: String,
    instance: Option<String>,
    topics: Vec<TopicId>,
    current: Assignment,
}

/// A group whose members remember what they were given.
#[derive(Clone, Debug, Default)]
struct Group {
    members: Vec<Member>,
    topics: BTreeMap<TopicId, i32>,
}

impl Group {
    fn with_topics(counts: &[i32]) -> Group {
        let topics = counts.iter().enumerate().map(|(n, count)| (topic(n as u128), *count));
        Group { members: Vec::new(), topics: topics.collect() }
    }

    fn join(&mut self, id: &str, topics: &[TopicId]) {
        let topics: BTreeSet<TopicId> = topics.iter().copied().collect();
        self.members.push(Member {
            id: id.to_string(),
            instance: None,
            topics: topics.into_iter().collect(),
            current: Assignment::default(),
        });
        self.members.sort_by(|a, b| a.id.cmp(&b.id));
    }

    fn join_all(&mut self, id: &str) {
        let all: Vec<TopicId> = self.topics.keys().copied().collect();
        self.join(id, &all);
    }

    fn homogeneous(&self) -> bool {
        self.members.windows(2).all(|pair| pair[0].topics == pair[1].topics)
    }

    fn assign(&mut self, assignor: Assignor) {
        let partitions = |id: &TopicId| self.topics.get(id).copied().unwrap_or(0);
        let members = self.members.iter().map(|member| MemberSpec {
            id: &member.id,
            instance_id: member.instance.as_deref(),
            topics: Rc::from(member.topics.as_slice()),
            current: &member.current,
        });
        let homogeneous = self.homogeneous();
        let spec = GroupSpec { members: members.collect(), homogeneous, partitions: &partitions };
        let all = assignor.assign(&spec);
        assert_eq!(all.len(), self.members.len());
        for (member, assignment) in self.members.iter_mut().zip(all) {
            member.current = assignment;
        }
    }

    /// Each partition of a topic with subscribers has exactly one owner, who is subscribed to it.
    fn check(&self) {
        let mut owners: BTreeMap<(TopicId, i32), &str> = BTreeMap::new();
        for member in &self.members {
            for (id, partition) in member.current.iter() {
                assert!(member.topics.contains(&id), "{} has {id}, unasked", member.id);
                let before = owners.insert((id, partition), &member.id);
                assert_eq!(before, None, "{id}-{partition} has two owners");
            }
        }
        let wanted: BTreeSet<TopicId> =
            self.members.iter().flat_map(|member| member.topics.iter().copied()).collect();
        let all: usize = wanted.iter().map(|id| self.topics[id] as usize).sum();
        assert_eq!(owners.len(), all, "everything is assigned");
    }

    fn sizes(&self) -> Vec<usize> {
        self.members.iter().map(|member| member.current.len()).collect()
    }

    /// Partitions that a member had and still has.
    fn kept(&self, before: &Group) -> usize {
        let old: BTreeMap<&str, &Assignment> =
            before.members.iter().map(|member| (member.id.as_str(), &member.current)).collect();
        let kept = |member: &Member| {
            let Some(old) = old.get(member.id.as_str()) else { return 0 };
            member.current.iter().filter(|(id, at)| old.contains(id, *at)).count()
        };
        self.members.iter().map(kept).sum()
    }
}

fn random_group(rng: &mut fastrand::Rng, homogeneous: bool) -> Group {
    let counts: Vec<i32> = (0..rng.usize(1..8)).map(|_| rng.i32(1..25)).collect();
    let mut group = Group::with_topics(&counts);
    for _ in 0..rng.usize(1..12) {
        random_member(rng, &mut group, homogeneous);
    }
    group
}

fn random_member(rng: &mut fastrand::Rng, group: &mut Group, homogeneous: bool) {
    let id = format!("m{:016x}", rng.u64(..));
    let all: Vec<TopicId> = group.topics.keys().copied().collect();
    let some: Vec<TopicId> = all.iter().copied().filter(|_| homogeneous || rng.bool()).collect();
    group.join(&id, &some);
}

fn change(rng: &mut fastrand::Rng, group: &mut Group, homogeneous: bool) {
    match rng.u8(0..4) {
        0 if group.members.len() > 1 => {
            drop(group.members.remove(rng.usize(..group.members.len())))
        }
        1 => *group.topics.values_mut().next().unwrap() += rng.i32(1..10),
        2 if !homogeneous => {
            let all: Vec<TopicId> = group.topics.keys().copied().collect();
            let at = rng.usize(..group.members.len());
            group.members[at].topics = all.into_iter().filter(|_| rng.bool()).collect();
        }
        _ => random_member(rng, group, homogeneous),
    }
}

#[test]
fn each_partition_has_one_subscriber_whatever_happens() {
    for seed in 0..400 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let homogeneous = rng.bool();
        let assignor = if rng.bool() { Assignor::Uniform } else { Assignor::Range };
        let mut group = random_group(&mut rng, homogeneous);
        for _ in 0..8 {
            group.assign(assignor);
            group.check();
            let first = group.clone();
            group.assign(assignor);
            assert_eq!(group.sizes(), first.sizes(), "seed {seed}: nothing changed, nothing moves");
            assert_eq!(group.kept(&first), first.sizes().iter().sum::<usize>(), "seed {seed}");
            change(&mut rng, &mut group, homogeneous);
        }
    }
}

#[test]
fn uniform_is_even_within_one_and_moves_no_partition_that_could_stay() {
    for seed in 0..400 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut group = random_group(&mut rng, true);
        for _ in 0..10 {
            let before = group.clone();
            group.assign(Assignor::Uniform);
            group.check();
            let sizes = group.sizes();
            let (low, high) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            assert!(high - low <= 1, "seed {seed}: {sizes:?}");
            // The most that any even assignment can leave where it was.
            let total: usize = sizes.iter().sum();
            let (quota, mut extras) = (total / sizes.len(), total % sizes.len());
            let mut can_stay = 0;
            for member in &before.members {
                let had = member.current.len();
                let extra = usize::from(had > quota && extras > 0);
                extras -= extra;
                can_stay += had.min(quota + extra);
            }
            assert_eq!(group.kept(&before), can_stay, "seed {seed}");
            change(&mut rng, &mut group, true);
        }
    }
}

/// No partition could go to a subscriber that has two fewer than its owner.
#[test]
fn uniform_with_different_subscriptions_is_as_even_as_one_move_can_make_it() {
    for seed in 0..400 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut group = random_group(&mut rng, false);
        for _ in 0..6 {
            group.assign(Assignor::Uniform);
            group.check();
            for from in &group.members {
                for to in &group.members {
                    let shared = from.current.topics().iter().any(|(id, _)| to.topics.contains(id));
                    if shared {
                        let (had, has) = (from.current.len(), to.current.len());
                        assert!(had <= has + 1, "seed {seed}: {had} and {has}");
                    }
                }
            }
            change(&mut rng, &mut group, false);
        }
    }
}

#[test]
fn range_gives_joined_topics_the_same_members() {
    let mut group = Group::with_topics(&[7, 7, 7]);
    for id in ["c", "a", "b"] {
        group.join_all(id);
    }
    group.assign(Assignor::Range);
    group.check();
    for member in &group.members {
        let first = member.current.partitions(&topic(0)).to_vec();
        assert_eq!(member.current.partitions(&topic(1)), first);
        assert_eq!(member.current.partitions(&topic(2)), first);
    }
    let runs: Vec<&[i32]> = group.members.iter().map(|m| m.current.partitions(&topic(0))).collect();
    assert_eq!(runs, [&[0, 1, 2][..], &[3, 4], &[5, 6]], "in the order of the member ids");
}

#[test]
fn range_leaves_a_static_member_its_run_under_a_new_member_id() {
    let mut group = Group::with_topics(&[6]);
    for (id, instance) in [("k", "i1"), ("z", "i0"), ("b", "i2")] {
        group.join_all(id);
        let member = group.members.iter_mut().find(|member| member.id == id).unwrap();
        member.instance = Some(instance.to_string());
    }
    group.assign(Assignor::Range);
    let run = |group: &Group, instance: &str| {
        let found = group.members.iter().find(|m| m.instance.as_deref() == Some(instance));
        found.unwrap().current.partitions(&topic(0)).to_vec()
    };
    assert_eq!(run(&group, "i0"), [0, 1]);
    assert_eq!(run(&group, "i1"), [2, 3]);
    let again = group.members.iter_mut().find(|member| member.id == "k").unwrap();
    again.id = "zzz".to_string();
    group.members.sort_by(|a, b| a.id.cmp(&b.id));
    group.assign(Assignor::Range);
    assert_eq!(run(&group, "i1"), [2, 3], "the order is that of the instance ids");
}

#[test]
fn range_leaves_members_without_a_partition_when_there_are_too_few() {
    let mut group = Group::with_topics(&[2]);
    for id in ["a", "b", "c"] {
        group.join_all(id);
    }
    group.assign(Assignor::Range);
    assert_eq!(group.sizes(), [1, 1, 0]);
}

#[test]
fn a_thousand_members_and_ten_thousand_partitions() {
    for (homogeneous, assignor) in
        [(true, Assignor::Uniform), (false, Assignor::Uniform), (true, Assignor::Range)]
    {
        let mut group = Group::with_topics(&[1000; 10]);
        let all: Vec<TopicId> = group.topics.keys().copied().collect();
        for n in 0..1000 {
            let skip = if homogeneous { usize::MAX } else { n % 10 };
            let some: Vec<TopicId> =
                all.iter().enumerate().filter(|(at, _)| *at != skip).map(|(_, id)| *id).collect();
            group.join(&format!("m{n:04}"), &some);
        }
        group.assign(assignor);
        group.check();
        assert!(group.sizes().iter().all(|size| *size == 10));
        let before = group.clone();
        group.members.remove(500);
        group.assign(assignor);
        group.check();
        if assignor == Assignor::Uniform {
            assert_eq!(group.kept(&before), 9_990, "only what the leaver had moves");
        }
    }
}

#[test]
fn a_topic_that_vanished_is_dropped() {
    let mut group = Group::with_topics(&[4, 4]);
    group.join_all("a");
    group.assign(Assignor::Uniform);
    assert_eq!(group.sizes(), [8]);
    group.topics.remove(&topic(0));
    group.members[0].topics.retain(|id| *id != topic(0));
    group.assign(Assignor::Uniform);
    assert_eq!(group.sizes(), [4]);
}

#[test]
fn an_assignment_is_the_same_from_any_order() {
    let sorted = Assignment::from_unsorted([(topic(0), vec![1, 2, 3]), (topic(1), vec![0])]);
    let mixed = Assignment::from_unsorted([
        (topic(1), vec![0]),
        (topic(0), vec![3, 1]),
        (topic(2), vec![]),
        (topic(0), vec![2, 1]),
    ]);
    assert_eq!(sorted, mixed);
    assert!(sorted.contains(&topic(0), 3) && !sorted.contains(&topic(2), 0));
}
