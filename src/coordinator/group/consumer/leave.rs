//! Members go: they say so, a static one for a while, or they are fenced because a session, a revocation, a join or a
//! sync took too long. What they had is free at once.

use std::sync::Arc;

use super::group::ConsumerGroup;
use super::heartbeat::{Refusal, check_instance, unknown_instance, unknown_member};
use super::member::{AWAY_EPOCH, Member, Wait};
use super::owned::Owned;
use super::work::Work;
use crate::coordinator::group::answer::ConsumerHeartbeatAnswer;
use crate::coordinator::group::input::ConsumerHeartbeatRequest;
use crate::coordinator::group::{Cause, EventKind};

/// Somebody who goes, and why.
#[derive(Clone, Debug)]
pub struct Leaver {
    pub member: Arc<str>,
    pub kind: EventKind,
    pub cause: Cause,
}

/// Who leaves by this heartbeat (epoch -1 or -2).
pub fn leaver<'a>(
    group: &'a ConsumerGroup,
    request: &ConsumerHeartbeatRequest,
) -> Result<&'a Member, Refusal> {
    match &request.instance_id {
        None => match group.member(&request.member_id) {
            Some(member) => Ok(member),
            None => unknown_member(&request.member_id, &group.id),
        },
        Some(instance) => match group.static_member(instance) {
            None => unknown_instance(instance),
            Some(member) => {
                check_instance(member, &request.member_id, instance)?;
                Ok(member)
            }
        },
    }
}

pub fn left_answer(request: &ConsumerHeartbeatRequest) -> ConsumerHeartbeatAnswer {
    ConsumerHeartbeatAnswer {
        member_id: Some(request.member_id.clone()),
        member_epoch: request.member_epoch,
        ..ConsumerHeartbeatAnswer::default()
    }
}

impl Work<'_, '_> {
    /// A static member goes and will be back: it keeps what it was given until its session is over.
    pub fn go_away(&mut self, id: &Arc<str>) {
        let left = Cause::Left { reason: None };
        self.event(EventKind::MemberLeft, Some(id), left, None);
        let mut current = self.group.members[id].current.clone();
        current.epoch = AWAY_EPOCH;
        current.pending_revocation = Owned::default();
        current.assigned = current.assigned.at_epoch(0);
        self.wait_no_more(id);
        self.pen().current(id, &current);
    }

    /// They are gone; the group gets a new epoch.
    pub fn remove(&mut self, leavers: Vec<Leaver>) {
        if leavers.is_empty() {
            return;
        }
        let cause = leavers[0].cause.clone();
        for leaver in &leavers {
            self.event(leaver.kind, Some(&leaver.member), leaver.cause.clone(), None);
            self.cancel_timers(&leaver.member);
        }
        for leaver in &leavers {
            self.pen().no_member(&leaver.member);
        }
        let unused = super::subscriptions::unused(self.group);
        for regex in unused {
            self.pen().regex(&regex, None);
        }
        let hash = self.subscriptions.hash_of(self.group, self.turn.topics);
        self.bump(hash, cause);
    }

    /// Why a member that this timer was for has to go; `None` when it need not.
    pub fn overdue(&self, id: &Arc<str>, session: bool) -> Option<Leaver> {
        let member = self.group.members.get(id)?;
        let timeout_ms = i64::from(member.about.rebalance_timeout_ms);
        let cause = if session {
            let classic = member.about.classic.as_ref().map(|classic| classic.session_timeout_ms);
            let timeout_ms = i64::from(classic.unwrap_or(self.session_timeout_ms()));
            Cause::SessionTimeout { timeout_ms }
        } else {
            match member.wait? {
                Wait::Revoke { epoch } if member.current.epoch != epoch => return None,
                Wait::Revoke { .. } | Wait::Join => Cause::RebalanceTimeout { timeout_ms },
                Wait::Sync => Cause::SyncTimeout { timeout_ms },
            }
        };
        Some(Leaver { member: id.clone(), kind: EventKind::MemberEvicted, cause })
    }
}
