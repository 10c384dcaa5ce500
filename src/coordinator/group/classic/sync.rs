//! SyncGroup and Heartbeat. The leader's SyncGroup makes the generation: it is written, and everybody gets its part
//! when that is committed.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use super::{ClassicGroup, ClassicState, Tools, text};
use crate::coordinator::group::answer::{Answer, SyncAnswer};
use crate::coordinator::group::consumer::CommitFrom;
use crate::coordinator::group::input::{HeartbeatRequest, SyncRequest};
use crate::coordinator::group::{Cause, EventKind, GroupError, RequestId};
use ClassicState::*;

impl ClassicGroup {
    pub fn sync(&mut self, cx: &mut Tools<'_, '_>, from: RequestId, request: &SyncRequest) {
        if let Err(error) = self.check_sync(cx, request) {
            return cx.turn.answer(from, Answer::Sync(SyncAnswer::refused(error)));
        }
        let id = request.member_id.as_str();
        match self.state {
            Empty => unreachable!("an empty group has no member"),
            PreparingRebalance => {
                let error = GroupError::RebalanceInProgress;
                cx.turn.answer(from, Answer::Sync(SyncAnswer::refused(error)));
            }
            CompletingRebalance => {
                self.synced(cx, id);
                let member = self.members.get_mut(id).expect("it was checked");
                if let Some(lost) = member.syncing.replace(from) {
                    let error = GroupError::RebalanceInProgress;
                    cx.turn.answer(lost, Answer::Sync(SyncAnswer::refused(error)));
                }
                if self.is_leader(id) {
                    self.assign(cx, request);
                }
            }
            Stable => {
                self.synced(cx, id);
                cx.turn.answer_after_append(from, Answer::Sync(self.part_of(id)));
            }
        }
    }

    fn check_sync(&self, cx: &mut Tools<'_, '_>, request: &SyncRequest) -> Result<(), GroupError> {
        self.check_member(cx, &request.member_id, request.instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        let differs = |given: Option<&str>, ours: Option<&str>| {
            given.zip(ours).is_some_and(|(given, ours)| given != ours)
        };
        if differs(request.protocol_type.as_deref(), self.protocol_type.as_deref())
            || differs(request.protocol_name.as_deref(), self.protocol.as_deref())
        {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn synced(&mut self, cx: &mut Tools<'_, '_>, id: &str) {
        self.pending_sync.remove(id);
        if self.pending_sync.is_empty() {
            // An empty set keeps its node.
            self.pending_sync = BTreeSet::new();
            cx.timers.cancel(&self.sync_key());
        }
    }

    /// Who is not in the leader's list gets nothing; who is in it and not in the group is passed over.
    fn assign(&mut self, cx: &mut Tools<'_, '_>, request: &SyncRequest) {
        let mut parts: HashMap<&str, &Bytes> = HashMap::with_capacity(request.assignments.len());
        parts.extend(request.assignments.iter().map(|(id, part)| (id.as_str(), part)));
        for member in self.members.values_mut() {
            let part = parts.get(&*member.id).copied();
            member.assignment = part.map(|p| Bytes::copy_from_slice(p)).unwrap_or_default();
        }
        let bytes = self.record_bytes();
        if bytes > cx.config.batch_bytes_max {
            return self.fail_assignment(cx, bytes);
        }
        self.enter(cx, Stable);
        cx.turn.append(vec![self.to_record()]);
        let waiting: Vec<_> = self
            .members
            .values_mut()
            .filter_map(|m| Some((m.id.clone(), m.syncing.take()?)))
            .collect();
        for (id, from) in waiting {
            cx.turn.answer_after_append(from, Answer::Sync(self.part_of(&id)));
            self.arm_session(cx, &id);
        }
        let leader = self.member(request.member_id.as_str());
        self.event(cx, EventKind::RebalanceCompleted, leader, Cause::AllMembersJoined);
    }

    /// Its record would not fit a batch of the log: everybody is told, and joins again, as when Kafka's append fails.
    fn fail_assignment(&mut self, cx: &mut Tools<'_, '_>, bytes: usize) {
        let mut told = Vec::new();
        for member in self.members.values_mut() {
            member.assignment.clear();
            if let Some(from) = member.syncing.take() {
                let failed = SyncAnswer::refused(GroupError::UnknownServerError);
                cx.turn.answer(from, Answer::Sync(failed));
                told.push(member.id.clone());
            }
        }
        for id in &told {
            self.arm_session(cx, id);
        }
        let max_bytes = cx.config.batch_bytes_max as i64;
        self.prepare(cx, None, Cause::RecordTooLarge { bytes: bytes as i64, max_bytes });
    }

    fn part_of(&self, id: &str) -> SyncAnswer {
        SyncAnswer {
            error: None,
            protocol_type: self.protocol_type.as_deref().map(text),
            protocol_name: self.protocol.as_deref().map(text),
            assignment: self.members[id].assignment.clone(),
        }
    }

    pub fn heartbeat(
        &mut self,
        cx: &mut Tools<'_, '_>,
        request: &HeartbeatRequest,
    ) -> Result<(), GroupError> {
        let instance_id = request.instance_id.as_deref();
        let member = self.check_member(cx, &request.member_id, instance_id)?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        self.keep_alive(cx, member);
        match self.state {
            PreparingRebalance => Err(GroupError::RebalanceInProgress),
            Empty | CompletingRebalance | Stable => Ok(()),
        }
    }

    /// Whether offsets may be committed so: by a member of this generation, or, when nobody is in the group, by anybody.
    pub fn check_commit(
        &self,
        from: &CommitFrom<'_>,
        instance_id: Option<&str>,
    ) -> Result<(), GroupError> {
        if from.epoch < 0 && self.state == Empty {
            return Ok(());
        }
        if from.epoch >= 0 || !from.member_id.is_empty() || from.has_instance {
            self.find_member(from.member_id, instance_id)?;
            if from.epoch != self.generation {
                return Err(GroupError::IllegalGeneration);
            }
        } else if !from.transactional && self.state != Empty {
            return Err(GroupError::UnknownMemberId);
        }
        // Its assignment is on the way: what it commits now might be somebody else's.
        if !from.transactional && self.state == CompletingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        Ok(())
    }

    /// Its session begins again.
    pub fn is_alive(&mut self, cx: &mut Tools<'_, '_>, id: &str) {
        if let Some(member) = self.member(id) {
            self.keep_alive(cx, member);
        }
    }
}
