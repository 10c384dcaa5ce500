//! `range`: each topic's partitions in one run to each subscriber, runs in the order of the members.
//! Topics with equally many partitions and the same subscribers are cut alike, so partition N of one
//! goes with partition N of the other (joins). Static members come first, in the order of their
//! instance ids: a restart under a new member id changes nothing.

use std::collections::BTreeMap;

use super::{Assignment, GroupSpec, MemberSpec};
use crate::types::TopicId;

struct Cut {
    partitions: i32,
    subscribers: i32,
    /// Members that were given a run.
    served: i32,
    next: i32,
}

impl Cut {
    /// The next member's run: the first `partitions % subscribers` get one more.
    fn run(&mut self) -> Vec<i32> {
        let size = self.partitions / self.subscribers
            + i32::from(self.served < self.partitions % self.subscribers);
        let start = self.next;
        self.served += 1;
        self.next += size;
        (start..self.next).collect()
    }
}

pub(super) fn assign(group: &GroupSpec<'_>) -> Vec<Assignment> {
    let mut cuts: BTreeMap<TopicId, Cut> = BTreeMap::new();
    for member in &group.members {
        for topic in member.topics.iter() {
            let new = || Cut {
                partitions: (group.partitions)(topic).max(0),
                subscribers: 0,
                served: 0,
                next: 0,
            };
            cuts.entry(*topic).or_insert_with(new).subscribers += 1;
        }
    }
    let mut order: Vec<usize> = (0..group.members.len()).collect();
    order.sort_by_key(|index| static_first(&group.members[*index]));
    let mut out = vec![Assignment::default(); group.members.len()];
    for index in order {
        for topic in group.members[index].topics.iter() {
            let cut = cuts.get_mut(topic).expect("counted above");
            out[index].push(*topic, cut.run());
        }
    }
    out
}

fn static_first<'a>(member: &MemberSpec<'a>) -> (bool, &'a str) {
    (member.instance_id.is_none(), member.instance_id.unwrap_or(member.id))
}
