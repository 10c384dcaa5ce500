//! From the first join to a new generation: waiting for members, extending the first wait as they come
//! (group.initial.rebalance.delay.ms), leaving behind who does not come, electing a leader, and the times after which
//! each is given up.

use std::sync::Arc;

use super::{ClassicGroup, ClassicState, InitialDelay, Tools, text};
use crate::coordinator::group::answer::{Answer, JoinAnswer, JoinedMember, SyncAnswer};
use crate::coordinator::group::{Cause, EventKind, GroupError};
use ClassicState::*;

impl ClassicGroup {
    pub(super) fn has_all_joined(&self) -> bool {
        self.joining == self.members.len() && self.pending.is_empty()
    }

    /// Begins a rebalance, unless one has begun; then it may be complete now.
    pub(super) fn rebalance(&mut self, cx: &mut Tools<'_, '_>, who: Option<&Arc<str>>, why: Cause) {
        if self.state == PreparingRebalance {
            self.maybe_complete_join(cx);
        } else {
            self.prepare(cx, who, why);
        }
    }

    /// A member may have been the last to join, or to go. The first rebalance waits for its time all the same.
    pub(super) fn maybe_complete_join(&mut self, cx: &mut Tools<'_, '_>) {
        if self.state == PreparingRebalance && self.initial.is_none() && self.has_all_joined() {
            self.complete_join(cx);
        }
    }

    pub(super) fn prepare(&mut self, cx: &mut Tools<'_, '_>, who: Option<&Arc<str>>, why: Cause) {
        if self.state == CompletingRebalance {
            self.drop_assignment(cx);
        }
        self.pending_sync.clear();
        cx.timers.cancel(&self.sync_key());
        let now_ms = cx.turn.now.monotonic_ms;
        if self.state != CompletingRebalance {
            self.rebalance_since_ms = now_ms;
        }
        let is_first = self.state == Empty;
        self.enter(cx, PreparingRebalance);
        let member = who.and_then(|id| self.member(id));
        self.event(cx, EventKind::RebalanceStarted, member, why);
        if is_first {
            let delay_ms = i64::from(cx.config.initial_rebalance_delay_ms).max(0);
            let remaining_ms = (self.rebalance_timeout_ms() - delay_ms).max(0);
            self.initial = Some(InitialDelay { delay_ms, remaining_ms, member_added: false });
            cx.timers.arm(&self.join_key(), now_ms + delay_ms);
        } else if self.has_all_joined() {
            self.complete_join(cx);
        } else {
            cx.timers.arm(&self.join_key(), now_ms + self.rebalance_timeout_ms());
        }
    }

    /// Who has sent SyncGroup is told to join again.
    fn drop_assignment(&mut self, cx: &mut Tools<'_, '_>) {
        let mut told: Vec<Arc<str>> = Vec::new();
        for member in self.members.values_mut() {
            member.assignment.clear();
            if let Some(from) = member.syncing.take() {
                let again = SyncAnswer::refused(GroupError::RebalanceInProgress);
                cx.turn.answer(from, Answer::Sync(again));
                told.push(member.id.clone());
            }
        }
        for id in &told {
            self.arm_session(cx, id);
        }
    }

    /// The time to wait for joins is over.
    pub fn join_due(&mut self, cx: &mut Tools<'_, '_>) {
        if self.state != PreparingRebalance {
            return;
        }
        if let Some(initial) = &mut self.initial
            && initial.member_added
            && initial.remaining_ms > 0
        {
            let longest_ms = i64::from(cx.config.initial_rebalance_delay_ms).max(0);
            let delay_ms = longest_ms.min(initial.remaining_ms);
            let remaining_ms = (initial.remaining_ms - initial.delay_ms).max(0);
            *initial = InitialDelay { delay_ms, remaining_ms, member_added: false };
            let at_ms = cx.turn.now.monotonic_ms + delay_ms;
            cx.timers.arm(&self.join_key(), at_ms);
            return;
        }
        self.complete_join(cx);
    }

    pub(super) fn complete_join(&mut self, cx: &mut Tools<'_, '_>) {
        cx.timers.cancel(&self.join_key());
        self.initial = None;
        self.leave_behind(cx);
        if !self.elect_joined_leader(cx) && !self.members.is_empty() {
            // Only static members are left and none has joined: they keep their places for a while longer.
            let at_ms = cx.turn.now.monotonic_ms + self.rebalance_timeout_ms();
            cx.timers.arm(&self.join_key(), at_ms);
            return;
        }
        self.pending_sync.clear();
        self.generation = self.generation.checked_add(1).unwrap_or(0);
        if self.members.is_empty() {
            self.protocol = None;
            self.compute_subscribed();
            self.enter(cx, Empty);
            self.event(cx, EventKind::RebalanceCompleted, None, Cause::LastMemberLeft);
            cx.turn.append(vec![self.to_record()]);
            return;
        }
        self.protocol = self.select_protocol();
        assert!(self.protocol.is_some(), "members of group {} share no protocol", self.id);
        self.compute_subscribed();
        self.enter(cx, CompletingRebalance);
        self.answer_joins(cx);
        let at_ms = cx.turn.now.monotonic_ms + self.rebalance_timeout_ms();
        cx.timers.arm(&self.sync_key(), at_ms);
    }

    /// Dynamic members that did not join again are out; static ones keep their places (KIP-345).
    fn leave_behind(&mut self, cx: &mut Tools<'_, '_>) {
        let missing = |m: &super::ClassicMember| m.joining.is_none() && m.instance_id.is_none();
        let out = self.members.values().filter(|m| missing(m));
        let out: Vec<Arc<str>> = out.map(|m| m.id.clone()).collect();
        let timeout_ms = self.rebalance_timeout_ms();
        for id in out {
            let member = self.remove(cx, &id).expect("it is here");
            let cause = Cause::RebalanceTimeout { timeout_ms };
            self.event(cx, EventKind::MemberEvicted, Some(&member), cause);
        }
    }

    /// The leader has to be somebody who is here to lead.
    fn elect_joined_leader(&mut self, cx: &mut Tools<'_, '_>) -> bool {
        let Some(leader) = &self.leader else { return false };
        if self.members[leader].joining.is_some() {
            return true;
        }
        let Some(joined) = self.members.values().find(|m| m.joining.is_some()) else {
            return false;
        };
        let cause = Cause::RebalanceTimeout { timeout_ms: self.rebalance_timeout_ms() };
        self.leader = Some(joined.id.clone());
        self.event(cx, EventKind::LeaderChanged, Some(joined), cause);
        true
    }

    fn answer_joins(&mut self, cx: &mut Tools<'_, '_>) {
        let everybody = self.joined_members();
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let mut answer = self.current_generation(&id);
            if self.is_leader(&id) {
                answer.members.clone_from(&everybody);
            }
            let member = self.members.get_mut(&id).expect("it is here");
            member.is_new = false;
            if let Some(from) = member.joining.take() {
                self.joining -= 1;
                cx.turn.answer(from, Answer::Join(answer));
            }
            self.arm_session(cx, &id);
            self.pending_sync.insert(id);
        }
    }

    /// What a member is told of the generation; the leader gets the members beside it.
    pub(super) fn current_generation(&self, member: &str) -> JoinAnswer {
        JoinAnswer {
            error: None,
            generation: self.generation,
            protocol_type: self.protocol_type.as_deref().map(text),
            protocol_name: self.protocol.as_deref().map(text),
            leader: self.leader_text(),
            skip_assignment: false,
            member_id: text(member),
            members: Vec::new(),
        }
    }

    pub(super) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let joined = |member: &super::ClassicMember| JoinedMember {
            member_id: text(&member.id),
            instance_id: member.instance_id.as_deref().map(text),
            metadata: member.metadata(protocol),
        };
        self.members.values().map(|member| joined(member)).collect()
    }

    /// Members that never sent SyncGroup are out.
    pub fn sync_due(&mut self, cx: &mut Tools<'_, '_>) {
        if !matches!(self.state, CompletingRebalance | Stable) || self.pending_sync.is_empty() {
            return;
        }
        let timeout_ms = self.rebalance_timeout_ms();
        for id in std::mem::take(&mut self.pending_sync) {
            if let Some(member) = self.remove(cx, &id) {
                let cause = Cause::SyncTimeout { timeout_ms };
                self.event(cx, EventKind::MemberEvicted, Some(&member), cause);
            }
        }
        self.prepare(cx, None, Cause::SyncTimeout { timeout_ms });
    }

    /// A member was silent for its session, or did not come back with the id that it was given.
    pub fn session_due(&mut self, cx: &mut Tools<'_, '_>, id: &Arc<str>) {
        if self.pending.contains(id) {
            self.remove(cx, id);
            if self.state == PreparingRebalance && self.has_all_joined() {
                self.complete_join(cx);
            }
            return;
        }
        let Some(member) = self.member(id) else { return };
        if member.is_kept_waiting() {
            return;
        }
        let cause = match member.is_new {
            true => Cause::NewMemberTimeout {
                timeout_ms: i64::from(cx.config.new_member_join_timeout_ms),
            },
            false => Cause::SessionTimeout { timeout_ms: i64::from(member.session_timeout_ms) },
        };
        let member = self.remove(cx, id).expect("it is here");
        self.event(cx, EventKind::MemberEvicted, Some(&member), cause.clone());
        self.after_removal(cx, cause);
    }

    /// One or more members are gone.
    pub(super) fn after_removal(&mut self, cx: &mut Tools<'_, '_>, why: Cause) {
        match self.state {
            Stable | CompletingRebalance => self.prepare(cx, None, why),
            PreparingRebalance if self.has_all_joined() => self.complete_join(cx),
            PreparingRebalance | Empty => {}
        }
    }

    /// The log has been replayed: everybody's session begins. A group that is too large now is made to join again, so
    /// that its members can commit before some of them are refused.
    pub fn loaded(&mut self, cx: &mut Tools<'_, '_>) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in &ids {
            self.arm_session(cx, id);
        }
        if ids.len() > cx.config.max_size {
            let cause = Cause::GroupFull { max_size: cx.config.max_size as i64 };
            self.prepare(cx, None, cause);
        }
    }
}
