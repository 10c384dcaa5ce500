//! The classic protocol's requests: what needs no group, which group it is, and of which protocol.

use super::answer::{Answer, JoinAnswer, LeftMember, SyncAnswer};
use super::classic::ClassicGroup;
use super::input::{Client, HeartbeatRequest, JoinRequest, LeaveRequest, SyncRequest};
use super::{Group, GroupError, Groups, RequestId, Turn};

impl Groups {
    pub(super) fn join(
        &mut self,
        turn: &mut Turn<'_>,
        from: RequestId,
        client: Client,
        request: JoinRequest,
    ) {
        let sessions = self.config.min_session_timeout_ms..=self.config.max_session_timeout_ms;
        let refused = if request.group_id.is_empty() {
            Some(GroupError::InvalidGroupId)
        } else if !sessions.contains(&request.session_timeout_ms) {
            Some(GroupError::InvalidSessionTimeout)
        } else {
            None
        };
        if let Some(error) = refused {
            let answer = JoinAnswer::refused(error, request.member_id.clone());
            return turn.answer(from, Answer::Join(answer));
        }
        self.settle(&request.group_id);
        match self.groups.get(request.group_id.as_str()) {
            Some(Group::Consumer(group)) if !group.is_empty() => {
                return self.join_consumer_group(turn, from, client, request);
            }
            // Its members are gone: it may be a classic group again.
            Some(Group::Consumer(_)) if request.member_id.is_empty() => {
                let id = self.known_name(&request.group_id);
                self.remove_group(turn, &id);
            }
            Some(Group::Classic(_)) => {
                let (groups, mut cx) = self.tools(turn);
                if let Some(Group::Classic(group)) = groups.get_mut(request.group_id.as_str()) {
                    group.join(&mut cx, from, &client, &request);
                }
                return;
            }
            _ => {}
        }
        let refused = if !request.member_id.is_empty() {
            Some(GroupError::UnknownMemberId)
        } else if request.protocol_type.is_empty() || request.protocols.is_empty() {
            Some(GroupError::InconsistentGroupProtocol)
        } else {
            None
        };
        if let Some(error) = refused {
            let answer = JoinAnswer::refused(error, request.member_id.clone());
            return turn.answer(from, Answer::Join(answer));
        }
        let id = self.known_name(&request.group_id);
        let mut group = Box::new(ClassicGroup::new(id.clone(), turn.now.wall_ms));
        turn.append(vec![group.to_new_record()]);
        let (groups, mut cx) = self.tools(turn);
        group.join(&mut cx, from, &client, &request);
        groups.insert(id, Group::Classic(group));
    }

    pub(super) fn sync(
        &mut self,
        turn: &mut Turn<'_>,
        from: RequestId,
        client: Client,
        request: SyncRequest,
    ) {
        let error = match self.groups.get(request.group_id.as_str()) {
            _ if request.group_id.is_empty() => GroupError::InvalidGroupId,
            Some(group) if group.is_empty() => GroupError::UnknownMemberId,
            Some(Group::Classic(_)) => {
                let (groups, mut cx) = self.tools(turn);
                if let Some(Group::Classic(group)) = groups.get_mut(request.group_id.as_str()) {
                    group.sync(&mut cx, from, &request);
                }
                return;
            }
            Some(Group::Consumer(_)) => {
                return self.sync_consumer_group(turn, from, client, request);
            }
            None => GroupError::UnknownMemberId,
        };
        turn.answer(from, Answer::Sync(SyncAnswer::refused(error)));
    }

    pub(super) fn heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        from: RequestId,
        client: Client,
        request: HeartbeatRequest,
    ) {
        let (groups, mut cx) = self.tools(turn);
        let result = match groups.get_mut(request.group_id.as_str()) {
            _ if request.group_id.is_empty() => Err(GroupError::InvalidGroupId),
            Some(Group::Classic(group)) => group.heartbeat(&mut cx, &request),
            Some(Group::Consumer(_)) => {
                return self.heartbeat_consumer_group(turn, from, client, request);
            }
            None => Err(GroupError::UnknownMemberId),
        };
        turn.answer(from, Answer::Heartbeat(result));
    }

    pub(super) fn leave(
        &mut self,
        turn: &mut Turn<'_>,
        from: RequestId,
        client: Client,
        request: LeaveRequest,
    ) {
        if request.group_id.is_empty() {
            return turn.answer(from, Answer::Leave(Err(GroupError::InvalidGroupId)));
        }
        let (groups, mut cx) = self.tools(turn);
        match groups.get_mut(request.group_id.as_str()) {
            Some(Group::Classic(group)) => group.leave(&mut cx, from, &request),
            Some(Group::Consumer(_)) => self.leave_consumer_group(turn, from, client, request),
            None => {
                let unknown = request.members.into_iter().map(|member| LeftMember {
                    member_id: member.member_id,
                    instance_id: member.instance_id,
                    error: Some(GroupError::UnknownMemberId),
                });
                turn.answer(from, Answer::Leave(Ok(unknown.collect())));
            }
        }
    }
}
