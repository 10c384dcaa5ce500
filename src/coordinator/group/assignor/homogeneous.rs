//! `uniform` when all members want the same topics: everybody gets total / members partitions, and
//! the first of those that had more get one of the rest. What a member had it keeps, up to its quota;
//! what is over goes to those below theirs. No partition moves that could have stayed.

use super::{Assignment, GroupSpec};
use crate::types::TopicId;

pub(super) fn assign(group: &GroupSpec<'_>) -> Vec<Assignment> {
    let topics = &group.members[0].topics;
    let counts: Vec<i32> = topics.iter().map(|topic| (group.partitions)(topic).max(0)).collect();
    let total: usize = counts.iter().map(|count| *count as usize).sum();
    if total == 0 {
        return vec![Assignment::default(); group.members.len()];
    }
    // Who gets each partition: by topic (as in `topics`), then by partition.
    let mut owners: Vec<Vec<u32>> =
        counts.iter().map(|count| vec![NOBODY; *count as usize]).collect();
    let short = keep_within_quota(group, topics, &mut owners, total);
    fill(&mut owners, short);
    collect(topics, &owners, group.members.len())
}

const NOBODY: u32 = u32::MAX;

/// Writes what members keep into `owners`; returns who needs how many more.
fn keep_within_quota(
    group: &GroupSpec<'_>,
    topics: &[TopicId],
    owners: &mut [Vec<u32>],
    total: usize,
) -> Vec<(u32, usize)> {
    let members = group.members.len();
    let quota_min = total / members;
    let mut extras = total % members;
    let mut short = Vec::new();
    for (index, member) in group.members.iter().enumerate() {
        let may_have_extra = extras > 0;
        let mut quota = quota_min + usize::from(may_have_extra);
        for (topic, partitions) in member.current.topics() {
            let Ok(at) = topics.binary_search(topic) else { continue };
            for partition in partitions {
                // A partition that vanished, or that two targets name: a damaged log, not a rule.
                let Some(owner) = owners[at].get_mut(*partition as usize) else { continue };
                if quota > 0 && *owner == NOBODY {
                    *owner = index as u32;
                    quota -= 1;
                }
            }
        }
        let mut has_extra = may_have_extra;
        // It does not need the extra one, and there are enough after it to take them all.
        if quota > 0 && has_extra && members - index > extras {
            quota -= 1;
            has_extra = false;
        }
        if quota > 0 {
            short.push((index as u32, quota));
        }
        extras -= usize::from(has_extra);
    }
    short
}

fn fill(owners: &mut [Vec<u32>], short: Vec<(u32, usize)>) {
    let mut free = owners.iter_mut().flatten().filter(|owner| **owner == NOBODY);
    for (member, missing) in short {
        for owner in free.by_ref().take(missing) {
            *owner = member;
        }
    }
    assert!(free.next().is_none(), "quotas add up to the partitions");
}

fn collect(topics: &[TopicId], owners: &[Vec<u32>], members: usize) -> Vec<Assignment> {
    let mut out = vec![Assignment::default(); members];
    for (topic, owners) in topics.iter().zip(owners) {
        for (partition, owner) in owners.iter().enumerate() {
            out[*owner as usize].push_partition(*topic, partition as i32);
        }
    }
    out
}
