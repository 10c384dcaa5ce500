//! The way of one member from what it has to what it shall have (Kafka's CurrentAssignmentBuilder): first it gives
//! back what it shall not keep and stays in its epoch until it says so; then it takes the target's epoch and what is
//! free; what others still have it waits for. Nobody waits for anybody else to give back. Pure.
//!
//! Invariant: a partition is given only when nobody has it, neither assigned nor pending revocation.

use super::member::{Current, MemberState};
use super::owned::{Owned, OwnedPartition};
use crate::coordinator::group::assignor::Assignment;
use crate::coordinator::group::input::TopicPartitions;
use crate::types::TopicId;

pub struct Reconcile<'a> {
    pub target_epoch: i32,
    pub target: &'a Assignment,
    /// Its subscription changed just now: what it no longer wants goes, whatever the epoch.
    pub subscription_changed: bool,
    /// Topics that it is subscribed to.
    pub subscribed: &'a dyn Fn(&TopicId) -> bool,
    /// Another member has this partition, or has yet to give it back.
    pub taken: &'a dyn Fn(&TopicId, i32) -> bool,
    /// What the member says it owns; `None`: it did not say.
    pub reported: Option<&'a [TopicPartitions]>,
}

/// Kafka fences a member in a state that it does not know until it comes with nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownState;

impl Reconcile<'_> {
    /// The next step, or `None` when there is none to take now.
    pub fn next(&self, now: &Current) -> Result<Option<Current>, UnknownState> {
        let next = match now.state {
            MemberState::Stable if now.epoch != self.target_epoch => {
                Some(self.advance(now, now.epoch))
            }
            MemberState::Stable if self.subscription_changed => self.drop_unsubscribed(now),
            MemberState::Stable => None,
            MemberState::UnrevokedPartitions if self.still_has(&now.pending_revocation) => {
                self.subscription_changed.then(|| self.drop_unsubscribed(now)).flatten()
            }
            MemberState::UnrevokedPartitions | MemberState::UnreleasedPartitions => {
                Some(self.advance(now, now.epoch))
            }
            MemberState::Unknown if self.reported.is_none_or(|all| !all.is_empty()) => {
                return Err(UnknownState);
            }
            MemberState::Unknown => Some(self.advance(now, self.target_epoch)),
        };
        Ok(next.filter(|next| next != now))
    }

    /// It has not said what it owns, or it owns one of these.
    fn still_has(&self, pending: &Owned) -> bool {
        self.reported.is_none_or(|reported| !pending.is_disjoint(reported))
    }

    /// Towards the target as far as it goes.
    fn advance(&self, now: &Current, epoch: i32) -> Current {
        let parts = self.compare(now);
        if !parts.revoke.is_empty() && self.still_has(&parts.revoke) {
            return Current {
                epoch,
                previous_epoch: now.epoch,
                state: MemberState::UnrevokedPartitions,
                assigned: parts.keep,
                pending_revocation: parts.revoke,
            };
        }
        Current {
            epoch: self.target_epoch,
            previous_epoch: now.epoch,
            state: match parts.unreleased {
                true => MemberState::UnreleasedPartitions,
                false => MemberState::Stable,
            },
            assigned: parts.keep.union(&parts.give),
            pending_revocation: Owned::default(),
        }
    }

    fn compare(&self, now: &Current) -> Parts {
        let mut topics: Vec<TopicId> =
            self.target.topics().iter().map(|(topic, _)| *topic).collect();
        topics.extend(now.assigned.topics().iter().map(|(topic, _)| *topic));
        topics.sort_unstable();
        topics.dedup();
        let (mut keep, mut revoke, mut give) = (Vec::new(), Vec::new(), Vec::new());
        let mut unreleased = false;
        for topic in topics {
            let wanted = (self.subscribed)(&topic);
            let target: &[i32] = if wanted { self.target.partitions(&topic) } else { &[] };
            let stays = |pair: &&OwnedPartition| target.binary_search(&pair.0).is_ok();
            let had = now.assigned.partitions(&topic);
            push(&mut keep, topic, had.iter().filter(stays).copied().collect());
            push(&mut revoke, topic, had.iter().filter(|pair| !stays(pair)).copied().collect());
            let mut free = Vec::new();
            for partition in target {
                if had.binary_search_by_key(partition, |(id, _)| *id).is_ok() {
                    continue;
                }
                match (self.taken)(&topic, *partition) {
                    true => unreleased = true,
                    false => free.push((*partition, self.target_epoch)),
                }
            }
            push(&mut give, topic, free);
        }
        Parts {
            keep: Owned::from_sorted(keep),
            revoke: Owned::from_sorted(revoke),
            give: Owned::from_sorted(give),
            unreleased,
        }
    }

    /// Only takes away, in the epoch where it is: cheaper than a comparison with the target.
    fn drop_unsubscribed(&self, now: &Current) -> Option<Current> {
        let (keep, drop) = now.assigned.split_topics(self.subscribed);
        if drop.is_empty() {
            return None;
        }
        let pending = now.pending_revocation.union(&drop);
        let still_has = self.still_has(&pending);
        Some(Current {
            epoch: now.epoch,
            previous_epoch: now.epoch,
            state: if still_has { MemberState::UnrevokedPartitions } else { now.state },
            assigned: keep,
            pending_revocation: match still_has {
                true => pending,
                false => now.pending_revocation.clone(),
            },
        })
    }
}

struct Parts {
    keep: Owned,
    revoke: Owned,
    give: Owned,
    unreleased: bool,
}

fn push<T>(to: &mut Vec<(TopicId, Vec<T>)>, topic: TopicId, partitions: Vec<T>) {
    if !partitions.is_empty() {
        to.push((topic, partitions));
    }
}
