//! Who is in a classic group: coming, going, replaced; which protocols all of them speak; who leads.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::{CONSUMER, ClassicGroup, ClassicMember, ClassicState, Tools, text};
use crate::coordinator::group::answer::{Answer, JoinAnswer, SyncAnswer};
use crate::coordinator::group::input::Protocol;
use crate::coordinator::group::{GroupError, RequestId};

impl ClassicGroup {
    /// A member that is not here yet and that speaks a protocol of all the others.
    pub fn add(&mut self, member: ClassicMember) {
        if let Some(instance_id) = &member.instance_id {
            let old = self.statics.insert(instance_id.clone(), member.id.clone());
            assert!(old.is_none(), "instance {instance_id} is in group {} already", self.id);
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.pending.remove(&member.id);
        if self.pending.is_empty() {
            // An empty set keeps its node.
            self.pending = BTreeSet::new();
        }
        self.vote(&member.protocols);
        self.joining += usize::from(member.joining.is_some());
        let old = self.members.insert(member.id.clone(), Box::new(member));
        assert!(old.is_none(), "a member joins group {} twice", self.id);
    }

    /// It is gone, with what it waited for: both are told that it is not known.
    pub(super) fn remove(&mut self, cx: &mut Tools<'_, '_>, id: &str) -> Option<ClassicMember> {
        let member = self.members.remove(id).map(|member| *member);
        if let Some(member) = &member {
            cx.timers.cancel(&self.session_key(&member.id));
            self.unvote(&member.protocols);
            self.joining -= usize::from(member.joining.is_some());
            if let Some(instance_id) = &member.instance_id {
                self.statics.remove(instance_id);
            }
            refuse(cx, member, GroupError::UnknownMemberId, "");
        }
        if let Some(pending) = self.pending.take(id) {
            cx.timers.cancel(&self.session_key(&pending));
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_sync.remove(id);
        member
    }

    /// Another client took the instance id: the old one is fenced, the new one has all that it had (KIP-345).
    pub(super) fn replace(&mut self, cx: &mut Tools<'_, '_>, old: &str, new: &Arc<str>) {
        let mut member = self.members.remove(old).expect("a static member that is here");
        cx.timers.cancel(&self.session_key(&member.id));
        self.joining -= usize::from(member.joining.is_some());
        refuse(cx, &member, GroupError::FencedInstanceId, old);
        (member.joining, member.syncing, member.is_new) = (None, None, false);
        member.id = new.clone();
        let instance_id = member.instance_id.clone().expect("a static member");
        self.statics.insert(instance_id, new.clone());
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
        if self.pending_sync.remove(old) {
            self.pending_sync.insert(new.clone());
        }
        self.members.insert(new.clone(), member);
        self.arm_session(cx, new);
    }

    /// A join that waits; one that waited before is the same client's lost one.
    pub(super) fn wait_to_join(&mut self, cx: &mut Tools<'_, '_>, id: &str, from: RequestId) {
        let member = self.members.get_mut(id).expect("a member that is here");
        match member.joining.replace(from) {
            None => self.joining += 1,
            Some(lost) => {
                let again = JoinAnswer::refused(GroupError::RebalanceInProgress, text(id));
                cx.turn.answer(lost, Answer::Join(again));
            }
        }
    }

    pub(super) fn set_protocols(&mut self, id: &str, protocols: &[Protocol]) {
        let old = std::mem::take(&mut self.members.get_mut(id).expect("it is here").protocols);
        self.unvote(&old);
        let new = self.keep(protocols);
        self.vote(&new);
        self.members.get_mut(id).expect("it is here").protocols = new;
    }

    /// The names that others vote for are kept once; the metadata is copied out of the request's frame.
    pub(super) fn keep(&self, protocols: &[Protocol]) -> Vec<(Arc<str>, Bytes)> {
        let name = |protocol: &Protocol| {
            let known = self.votes.iter().find(|(name, _)| **name == *protocol.name);
            known.map_or_else(|| super::name(&protocol.name), |(name, _)| name.clone())
        };
        protocols.iter().map(|p| (name(p), Bytes::copy_from_slice(&p.metadata))).collect()
    }

    fn vote(&mut self, protocols: &[(Arc<str>, Bytes)]) {
        for (name, _) in protocols {
            match self.votes.iter_mut().find(|(known, _)| known == name) {
                Some((_, count)) => *count += 1,
                None => self.votes.push((name.clone(), 1)),
            }
        }
    }

    fn unvote(&mut self, protocols: &[(Arc<str>, Bytes)]) {
        for (name, _) in protocols {
            let at = self.votes.iter().position(|(known, _)| known == name).expect("it voted");
            self.votes[at].1 -= 1;
            if self.votes[at].1 == 0 {
                self.votes.swap_remove(at);
            }
        }
    }

    fn all_speak(&self, protocol: &str) -> bool {
        let count = self.votes.iter().find(|(name, _)| **name == *protocol).map_or(0, |v| v.1);
        count == self.members.len()
    }

    /// Whether a member with these may be in the group.
    pub(super) fn accepts_protocols(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == ClassicState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|p| self.all_speak(&p.name))
    }

    /// Each member's vote goes to the first of its protocols that all speak. Between equals the earliest vote counts.
    pub(super) fn select_protocol(&self) -> Option<Arc<str>> {
        let mut counts: Vec<(&Arc<str>, usize)> = Vec::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().map(|(name, _)| name).find(|p| self.all_speak(p))?;
            match counts.iter_mut().find(|(name, _)| *name == vote) {
                Some((_, count)) => *count += 1,
                None => counts.push((vote, 1)),
            }
        }
        let most = counts.iter().map(|(_, count)| *count).max()?;
        counts.iter().find(|(_, count)| *count == most).map(|(name, _)| (*name).clone())
    }

    /// The topics that its members name in the consumer's own protocol; `None` when that can't be read.
    pub(super) fn compute_subscribed(&mut self) {
        self.subscribed = None;
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return;
        }
        let Some(protocol) = self.protocol.as_deref() else {
            if self.members.is_empty() {
                self.subscribed = Some(Default::default());
            }
            return;
        };
        self.subscribed = self
            .members
            .values()
            .map(|member| subscribed_topics(&member.metadata(protocol)))
            .try_fold(std::collections::BTreeSet::new(), |mut all, topics| {
                all.extend(topics?);
                Some(all)
            });
    }
}

/// Answers whatever the member waits for with an error.
fn refuse(cx: &mut Tools<'_, '_>, member: &ClassicMember, error: GroupError, id: &str) {
    if let Some(from) = member.joining {
        cx.turn.answer(from, Answer::Join(JoinAnswer::refused(error, text(id))));
    }
    if let Some(from) = member.syncing {
        cx.turn.answer(from, Answer::Sync(SyncAnswer::refused(error)));
    }
}

/// The topics of a ConsumerProtocolSubscription, whose versions all begin alike: version, list of names.
fn subscribed_topics(metadata: &[u8]) -> Option<Vec<Arc<str>>> {
    let mut at: usize = 2;
    let mut take = |len: usize| {
        let taken = metadata.get(at..at.checked_add(len)?)?;
        at += len;
        Some(taken)
    };
    let count = i32::from_be_bytes(take(4)?.try_into().ok()?);
    // Each name has at least its length.
    if usize::try_from(count).ok()? > metadata.len() / 2 {
        return None;
    }
    let mut topics = Vec::new();
    for _ in 0..count {
        let len = i16::from_be_bytes(take(2)?.try_into().ok()?);
        let name = std::str::from_utf8(take(usize::try_from(len).ok()?)?).ok()?;
        topics.push(name.into());
    }
    Some(topics)
}
