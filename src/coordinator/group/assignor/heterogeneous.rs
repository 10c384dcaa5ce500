//! `uniform` when members want different topics: what a member had and still wants it keeps; what is
//! free goes to the subscriber with the fewest partitions; then partitions move from the subscriber
//! with the most to the one with the fewest, topic by topic, until no move within a topic makes the
//! group more even, or the rounds are used up.
//!
//! Kafka's rules in Kafka's order (UniformHeterogeneousAssignmentBuilder): topics with most partitions
//! a subscriber go first. Ordered sets take the place of its sorted ranges.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::{Assignment, GroupSpec};
use crate::limits::ASSIGNOR_BALANCE_ROUNDS;
use crate::types::TopicId;

const NOBODY: u32 = u32::MAX;

struct Topic {
    id: TopicId,
    /// Member that each partition goes to.
    owners: Vec<u32>,
    subscribers: Vec<u32>,
}

/// Partitions of all topics that each member has.
type Loads = Vec<usize>;

pub(super) fn assign(group: &GroupSpec<'_>) -> Vec<Assignment> {
    let mut topics = subscribed(group);
    let mut loads = keep(group, &mut topics);
    let mut order: Vec<usize> = (0..topics.len()).collect();
    order.sort_by(|a, b| busiest_first(&topics[*a], &topics[*b]));
    for topic in &order {
        give_free(&mut topics[*topic], &mut loads);
    }
    order.retain(|topic| topics[*topic].subscribers.len() > 1);
    balance(&mut topics, &order, &mut loads);
    collect(&topics, group.members.len())
}

/// Topics in the order of their ids.
fn subscribed(group: &GroupSpec<'_>) -> Vec<Topic> {
    let mut subscribers: BTreeMap<TopicId, Vec<u32>> = BTreeMap::new();
    for (index, member) in group.members.iter().enumerate() {
        for topic in member.topics.iter() {
            subscribers.entry(*topic).or_default().push(index as u32);
        }
    }
    let topic = |(id, subscribers)| {
        let count = (group.partitions)(&id).max(0) as usize;
        Topic { id, owners: vec![NOBODY; count], subscribers }
    };
    subscribers.into_iter().map(topic).collect()
}

fn keep(group: &GroupSpec<'_>, topics: &mut [Topic]) -> Loads {
    let mut loads = vec![0; group.members.len()];
    for (index, member) in group.members.iter().enumerate() {
        for (id, partitions) in member.current.topics() {
            if member.topics.binary_search(id).is_err() {
                continue;
            }
            let Ok(at) = topics.binary_search_by_key(id, |topic| topic.id) else { continue };
            for partition in partitions {
                let Some(owner) = topics[at].owners.get_mut(*partition as usize) else { continue };
                if *owner == NOBODY {
                    *owner = index as u32;
                    loads[index] += 1;
                }
            }
        }
    }
    loads
}

/// More partitions a subscriber first, then fewer subscribers, then the smaller id.
fn busiest_first(a: &Topic, b: &Topic) -> std::cmp::Ordering {
    let (a_count, b_count) = (a.owners.len() as u64, b.owners.len() as u64);
    let (a_subs, b_subs) = (a.subscribers.len() as u64, b.subscribers.len() as u64);
    let ratio = (b_count * a_subs).cmp(&(a_count * b_subs));
    ratio.then(a_subs.cmp(&b_subs)).then(a.id.cmp(&b.id))
}

fn give_free(topic: &mut Topic, loads: &mut Loads) {
    if !topic.owners.contains(&NOBODY) {
        return;
    }
    let mut least: BinaryHeap<Reverse<(usize, u32)>> = topic
        .subscribers
        .iter()
        .map(|member| Reverse((loads[*member as usize], *member)))
        .collect();
    for owner in topic.owners.iter_mut().filter(|owner| **owner == NOBODY) {
        let Reverse((load, member)) = least.pop().expect("a topic is here for its subscribers");
        *owner = member;
        loads[member as usize] = load + 1;
        least.push(Reverse((load + 1, member)));
    }
}

fn balance(topics: &mut [Topic], order: &[usize], loads: &mut Loads) {
    let mut quiet = 0;
    for _ in 0..ASSIGNOR_BALANCE_ROUNDS {
        for topic in order {
            match balance_topic(&mut topics[*topic], loads) {
                0 => quiet += 1,
                _ => quiet = 0,
            }
            if quiet == order.len() {
                return;
            }
        }
    }
}

/// How many partitions of this topic went from one member to another.
fn balance_topic(topic: &mut Topic, loads: &mut Loads) -> usize {
    let of = |member: &u32| loads[*member as usize];
    let least = topic.subscribers.iter().map(of).min().unwrap_or(0);
    let most = topic.subscribers.iter().map(of).max().unwrap_or(0);
    if most - least <= 1 {
        return 0;
    }
    let mut all: BTreeSet<(usize, u32)> =
        topic.subscribers.iter().map(|member| (loads[*member as usize], *member)).collect();
    // Partitions of this topic that each member has, ascending: the last is given away first.
    let mut held: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (partition, owner) in topic.owners.iter().enumerate() {
        held.entry(*owner).or_default().push(partition);
    }
    let mut donors: BTreeSet<(usize, u32)> =
        held.keys().map(|member| (loads[*member as usize], *member)).collect();
    let mut moved = 0;
    while let (Some((most, from)), Some((least, to))) = (donors.pop_last(), all.first().copied()) {
        if most - least <= 1 {
            break;
        }
        let mine = held.get_mut(&from).expect("donors hold something");
        let partition = mine.pop().expect("and it is not empty");
        let left = !mine.is_empty();
        topic.owners[partition] = to;
        loads[from as usize] -= 1;
        loads[to as usize] += 1;
        all.remove(&(most, from));
        all.remove(&(least, to));
        all.insert((most - 1, from));
        all.insert((least + 1, to));
        if left {
            donors.insert((most - 1, from));
        }
        // What it was just given it need not give on: it is the least loaded.
        if donors.remove(&(least, to)) {
            donors.insert((least + 1, to));
        }
        moved += 1;
    }
    moved
}

fn collect(topics: &[Topic], members: usize) -> Vec<Assignment> {
    let mut out = vec![Assignment::default(); members];
    for topic in topics {
        for (partition, owner) in topic.owners.iter().enumerate() {
            out[*owner as usize].push_partition(topic.id, partition as i32);
        }
    }
    out
}
