//! LeaveGroup: one member, or several with their reasons (KIP-345, KIP-800). An instance id without a member id is an
//! administrator's.

use std::sync::Arc;

use super::{ClassicGroup, Tools, name};
use crate::coordinator::group::answer::{Answer, LeftMember};
use crate::coordinator::group::input::{LeaveRequest, LeavingMember};
use crate::coordinator::group::{Cause, EventKind, GroupError, RequestId};

impl ClassicGroup {
    pub fn leave(&mut self, cx: &mut Tools<'_, '_>, from: RequestId, request: &LeaveRequest) {
        let mut last_cause = None;
        let mut left = Vec::with_capacity(request.members.len());
        for leaving in &request.members {
            let error = match self.leave_one(cx, leaving) {
                Ok(cause) => {
                    last_cause = cause.or(last_cause);
                    None
                }
                Err(error) => Some(error),
            };
            left.push(LeftMember {
                member_id: leaving.member_id.clone(),
                instance_id: leaving.instance_id.clone(),
                error,
            });
        }
        match last_cause {
            Some(why) => match self.state {
                super::ClassicState::PreparingRebalance => self.maybe_complete_join(cx),
                _ => self.after_removal(cx, why),
            },
            None => self.maybe_complete_join(cx),
        }
        cx.turn.answer_after_append(from, Answer::Leave(Ok(left)));
    }

    /// `None`: an id that had not joined.
    fn leave_one(
        &mut self,
        cx: &mut Tools<'_, '_>,
        leaving: &LeavingMember,
    ) -> Result<Option<Cause>, GroupError> {
        let reason = leaving.reason.as_ref().map(name);
        let (id, cause): (Arc<str>, Cause) = if leaving.member_id.is_empty() {
            let instance_id = leaving.instance_id.as_deref().ok_or(GroupError::UnknownMemberId)?;
            let id = self.statics.get(instance_id).ok_or(GroupError::UnknownMemberId)?;
            (id.clone(), Cause::RemovedByAdmin { reason })
        } else if self.pending.contains(leaving.member_id.as_str()) {
            self.remove(cx, &leaving.member_id);
            return Ok(None);
        } else {
            self.check_member(cx, &leaving.member_id, leaving.instance_id.as_deref())?;
            (name(&leaving.member_id), Cause::Left { reason })
        };
        let member = self.remove(cx, &id).expect("it was checked");
        self.event(cx, EventKind::MemberLeft, Some(&member), cause.clone());
        Ok(Some(cause))
    }
}
