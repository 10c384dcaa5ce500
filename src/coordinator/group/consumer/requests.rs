//! The doors from `Groups` to one consumer group: each takes the group, does one request or one timer, and says whether
//! it has become a classic group. Whoever holds the groups puts that in its place.

use std::sync::Arc;

use super::classic_members::classic_leavers;
use super::convert::ClassicView;
use super::group::{ConsumerGroup, GroupState};
use super::heartbeat::{Refusal, refused};
use super::leave::{Leaver, leaver, left_answer};
use super::member::{AWAY_EPOCH, MemberState, Wait};
use super::subscriptions::Subscriptions;
use super::work::Work;
use crate::coordinator::group::answer::{JoinAnswer, SyncAnswer};
use crate::coordinator::group::input::{
    ConsumerHeartbeatRequest, HeartbeatRequest, JoinRequest, LeaveRequest, SyncRequest,
};
use crate::coordinator::group::timers::Timers;
use crate::coordinator::group::{
    Answer, Cause, Client, EventKind, GroupConfig, GroupError, Record, RequestId, TimerKey, Turn,
};

/// What a step works with beside the group.
pub struct ConsumerTools<'a, 't> {
    pub turn: &'a mut Turn<'t>,
    pub timers: &'a mut Timers<TimerKey>,
    pub config: &'a GroupConfig,
    pub subscriptions: &'a mut Subscriptions,
}

/// What became of the group.
#[derive(Debug)]
#[must_use = "a group that became classic has to be put in place of this one"]
pub enum After {
    /// Nothing was changed: a group that was made for this request is not one.
    Refused,
    Same,
    Classic(Box<Downgrade>),
}

/// The group is a classic one now. Its tombstones and `answer` wait: they go out in one batch with the classic group's
/// own record.
#[derive(Debug)]
pub struct Downgrade {
    pub view: ClassicView,
    /// To be appended first, in one batch with the classic group's record.
    pub records: Vec<Record>,
    /// After the append.
    pub answer: Option<(RequestId, Answer)>,
    /// The classic group has to rebalance at once: its assignment is no longer that of its members.
    pub rebalance: bool,
}

impl<'t> ConsumerTools<'_, 't> {
    pub(super) fn work<'a>(&'a mut self, group: &'a mut ConsumerGroup) -> Work<'a, 't> {
        Work {
            turn: self.turn,
            config: self.config,
            timers: self.timers,
            subscriptions: self.subscriptions,
            group,
            records: Vec::new(),
        }
    }

    /// With records that made the group, if any (an upgrade, which is whole; an empty classic group that goes).
    pub fn heartbeat(
        &mut self,
        group: &mut ConsumerGroup,
        made_by: Vec<Record>,
        from: RequestId,
        client: &Client,
        request: &ConsumerHeartbeatRequest,
    ) -> After {
        if request.member_epoch >= 0 {
            let mut work = self.work(group);
            return match work.heartbeat(made_by, from, client, request) {
                true => After::Same,
                false => After::Refused,
            };
        }
        let leaver = match leaver(group, request) {
            Err(refusal) => {
                self.turn.answer(from, refused(refusal));
                return After::Refused;
            }
            Ok(member) => member.id.clone(),
        };
        let answer = Answer::ConsumerHeartbeat(left_answer(request));
        if request.member_epoch == AWAY_EPOCH {
            let mut work = self.work(group);
            work.go_away(&leaver);
            work.finish();
            self.turn.answer_after_append(from, answer);
            return After::Same;
        }
        let cause = Cause::Left { reason: None };
        let leaver = Leaver { member: leaver, kind: EventKind::MemberLeft, cause };
        self.remove(group, vec![leaver], Some((from, answer)))
    }

    pub fn classic_join(
        &mut self,
        group: &mut ConsumerGroup,
        from: RequestId,
        client: &Client,
        request: &JoinRequest,
        member_id: &Arc<str>,
    ) -> After {
        let mut work = self.work(group);
        let joined = match work.classic_join(client, request, member_id) {
            Ok(joined) => joined,
            Err(error) => {
                let id = match error {
                    GroupError::MemberIdRequired => member_id.to_string().into(),
                    _ => request.member_id.clone(),
                };
                self.turn.answer(from, Answer::Join(JoinAnswer::refused(error, id)));
                return After::Refused;
            }
        };
        let answer = Answer::Join(match joined.refused {
            true => {
                let id = joined.member.to_string().into();
                JoinAnswer::refused(GroupError::UnknownServerError, id)
            }
            false => work.joined_answer(&joined.member),
        });
        if !joined.downgrade {
            work.finish();
            self.turn.answer_after_append(from, answer);
            return After::Same;
        }
        let records = std::mem::take(&mut work.records);
        // Who waits for what others give back would wait for ever in a classic group that is stable.
        let rebalance = work.group.state() != GroupState::Stable;
        let done = work.downgrade(records, Vec::new(), rebalance);
        After::Classic(Box::new(Downgrade { answer: Some((from, answer)), ..done }))
    }

    pub fn classic_sync(
        &mut self,
        group: &mut ConsumerGroup,
        from: RequestId,
        request: &SyncRequest,
    ) {
        match self.work(group).classic_sync(request) {
            Ok(answer) => self.turn.answer_after_append(from, Answer::Sync(answer)),
            Err(error) => self.turn.answer(from, Answer::Sync(SyncAnswer::refused(error))),
        }
    }

    pub fn classic_heartbeat(
        &mut self,
        group: &mut ConsumerGroup,
        from: RequestId,
        request: &HeartbeatRequest,
    ) {
        let mut work = self.work(group);
        let heard = work.classic_heartbeat(request);
        work.finish();
        match heard {
            Ok(()) => self.turn.answer_after_append(from, Answer::Heartbeat(Ok(()))),
            Err(error) => self.turn.answer(from, Answer::Heartbeat(Err(error))),
        }
    }

    pub fn classic_leave(
        &mut self,
        group: &mut ConsumerGroup,
        from: RequestId,
        request: &LeaveRequest,
    ) -> After {
        let (leavers, told) = classic_leavers(group, request);
        self.remove(group, leavers, Some((from, Answer::Leave(Ok(told)))))
    }

    /// A session or a wait of this member is over.
    pub fn timer(&mut self, group: &mut ConsumerGroup, member: &Arc<str>, session: bool) -> After {
        match self.work(group).overdue(member, session) {
            Some(leaver) => self.remove(group, vec![leaver], None),
            None => After::Same,
        }
    }

    fn remove(
        &mut self,
        group: &mut ConsumerGroup,
        leavers: Vec<Leaver>,
        answer: Option<(RequestId, Answer)>,
    ) -> After {
        let ids: Vec<Arc<str>> = leavers.iter().map(|leaver| leaver.member.clone()).collect();
        let mut work = self.work(group);
        if !ids.is_empty() && work.group.can_downgrade_without(&ids, work.config) {
            for leaver in &leavers {
                work.event(leaver.kind, Some(&leaver.member), leaver.cause.clone(), None);
            }
            let done = work.downgrade(Vec::new(), ids, true);
            return After::Classic(Box::new(Downgrade { answer, ..done }));
        }
        work.remove(leavers);
        work.finish();
        if let Some((from, answer)) = answer {
            self.turn.answer_after_append(from, answer);
        }
        After::Same
    }

    /// Regular expressions are not through the names of all topics.
    pub fn match_more(&mut self, group: &mut ConsumerGroup) {
        self.work(group).match_more();
    }

    /// After `loaded`: the sessions of the members that the log named begin now.
    pub fn loaded(&mut self, group: &mut ConsumerGroup) {
        group.recount_owners();
        let members: Vec<Arc<str>> = group.members.keys().cloned().collect();
        let mut work = self.work(group);
        let session_ms = work.session_timeout_ms();
        for id in &members {
            work.arm_session(id, session_ms);
            let member = &work.group.members[id];
            if member.current.state == MemberState::UnrevokedPartitions && !member.is_classic() {
                let epoch = member.current.epoch;
                let timeout_ms = member.about.rebalance_timeout_ms;
                work.wait(id, Wait::Revoke { epoch }, timeout_ms);
            }
        }
    }

    /// The members of a group that was a classic one until now.
    pub fn arm_upgraded(&mut self, group: &mut ConsumerGroup) {
        let sessions: Vec<(Arc<str>, i32)> = group
            .members
            .values()
            .filter_map(|member| {
                let classic = member.about.classic.as_ref()?;
                Some((member.id.clone(), classic.session_timeout_ms))
            })
            .collect();
        let mut work = self.work(group);
        work.event(EventKind::Converted, None, Cause::Upgrade, None);
        for (id, timeout_ms) in sessions {
            work.arm_session(&id, timeout_ms);
        }
    }
}

impl Work<'_, '_> {
    fn downgrade(
        &mut self,
        mut records: Vec<Record>,
        leaving: Vec<Arc<str>>,
        rebalance: bool,
    ) -> Downgrade {
        self.event(EventKind::Converted, None, Cause::Downgrade, None);
        let members: Vec<Arc<str>> = self.group.members.keys().cloned().collect();
        for id in &members {
            self.cancel_timers(id);
        }
        let view = self.group.downgrade(&leaving, self.turn.topics, &mut records);
        Downgrade { view, records, answer: None, rebalance }
    }
}

/// GROUP_ID_NOT_FOUND of a heartbeat, as Kafka says it.
pub fn not_a_consumer_group(group: &str, exists: bool) -> Refusal {
    let text = match exists {
        true => format!("Group {group} is not a consumer group."),
        false => format!("Consumer group {group} not found."),
    };
    (GroupError::GroupIdNotFound, text)
}
