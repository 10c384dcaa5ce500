//! JoinGroup, all versions: new members and their ids (KIP-394), static members (KIP-345, KIP-814), members that come
//! back.

use std::sync::Arc;

use super::{ClassicGroup, ClassicMember, ClassicState, Tools, name, text};
use crate::coordinator::group::answer::{Answer, JoinAnswer};
use crate::coordinator::group::input::{Client, JoinRequest};
use crate::coordinator::group::{Cause, EventKind, GroupError, RequestId};
use crate::limits::GROUP_PENDING_MEMBERS;
use ClassicState::*;

impl ClassicGroup {
    pub fn join(
        &mut self,
        cx: &mut Tools<'_, '_>,
        from: RequestId,
        client: &Client,
        request: &JoinRequest,
    ) {
        let id = request.member_id.as_str();
        if !self.has_room(cx, id) {
            cx.turn.answer(from, Answer::Join(refused(GroupError::GroupMaxSizeReached, "")));
            if let Some(member) = self.remove(cx, id) {
                let cause = Cause::GroupFull { max_size: cx.config.max_size as i64 };
                self.event(cx, EventKind::MemberEvicted, Some(&member), cause);
            }
            return self.maybe_complete_join(cx);
        }
        if !self.accepts_protocols(&request.protocol_type, &request.protocols) {
            let error = GroupError::InconsistentGroupProtocol;
            return cx.turn.answer(from, Answer::Join(refused(error, id)));
        }
        if id.is_empty() {
            self.join_without_id(cx, from, client, request);
        } else if self.pending.contains(id) {
            if request.instance_id.is_some() {
                // Ids are given out in advance to dynamic members only.
                let error = GroupError::UnknownServerError;
                return cx.turn.answer(from, Answer::Join(refused(error, id)));
            }
            self.add_joining(cx, from, client, request, name(&request.member_id));
        } else if let Err(error) = self.check_member(cx, id, request.instance_id.as_deref()) {
            cx.turn.answer(from, Answer::Join(refused(error, id)));
        } else {
            self.join_again(cx, from, request);
        }
    }

    fn has_room(&self, cx: &Tools<'_, '_>, id: &str) -> bool {
        let max_size = cx.config.max_size;
        match self.state {
            Empty => true,
            // Who has not joined again by now may lose its place to one who has.
            PreparingRebalance => {
                self.members.get(id).is_some_and(|m| m.joining.is_some()) || self.joining < max_size
            }
            CompletingRebalance | Stable => {
                self.members.contains_key(id) || self.members.len() < max_size
            }
        }
    }

    fn join_without_id(
        &mut self,
        cx: &mut Tools<'_, '_>,
        from: RequestId,
        client: &Client,
        request: &JoinRequest,
    ) {
        let prefix = request.instance_id.as_ref().unwrap_or(&client.id);
        let uuid = uuid::Builder::from_random_bytes(cx.random.u128(..).to_be_bytes()).into_uuid();
        let id: Arc<str> = format!("{}-{uuid}", prefix.as_str()).into();
        if let Some(instance_id) = &request.instance_id {
            match self.statics.get(instance_id.as_str()).cloned() {
                Some(old) => self.replace_static(cx, from, client, request, &old, &id),
                None => self.add_joining(cx, from, client, request, id),
            }
        } else if !request.requires_known_member_id {
            self.add_joining(cx, from, client, request, id);
        } else if self.pending.len() >= GROUP_PENDING_MEMBERS {
            cx.turn.answer(from, Answer::Join(refused(GroupError::GroupMaxSizeReached, "")));
        } else {
            let at_ms = cx.turn.now.monotonic_ms + i64::from(request.session_timeout_ms);
            cx.timers.arm(&self.session_key(&id), at_ms);
            cx.turn.answer(from, Answer::Join(refused(GroupError::MemberIdRequired, &id)));
            self.pending.insert(id);
        }
    }

    fn add_joining(
        &mut self,
        cx: &mut Tools<'_, '_>,
        from: RequestId,
        client: &Client,
        request: &JoinRequest,
        id: Arc<str>,
    ) {
        if self.members.is_empty() {
            self.protocol_type = Some(name(&request.protocol_type));
        }
        if let Some(initial) = &mut self.initial {
            initial.member_added = true;
        }
        self.add(ClassicMember {
            instance_id: request.instance_id.as_ref().map(name),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: self.keep(&request.protocols),
            joining: Some(from),
            is_new: true,
            ..ClassicMember::new(id.clone(), name(&client.id), name(&client.host))
        });
        let timeout_ms = i64::from(cx.config.new_member_join_timeout_ms);
        cx.timers.arm(&self.session_key(&id), cx.turn.now.monotonic_ms + timeout_ms);
        self.event(cx, EventKind::MemberJoined, self.member(&id), Cause::NewMember);
        self.rebalance(cx, Some(&id), Cause::NewMember);
    }

    /// The member that was `old` comes back without its id: a restart. Stable groups take no notice, unless the
    /// protocol would be another one.
    fn replace_static(
        &mut self,
        cx: &mut Tools<'_, '_>,
        from: RequestId,
        client: &Client,
        request: &JoinRequest,
        old: &Arc<str>,
        new: &Arc<str>,
    ) {
        if self.state == Stable && !self.has_room_for(cx, old, request) {
            let error = GroupError::UnknownServerError;
            return cx.turn.answer(from, Answer::Join(refused(error, &request.member_id)));
        }
        let old_leader = self.leader_text();
        self.replace(cx, old, new);
        self.update(new, request);
        let member = self.members.get_mut(new).expect("it is here");
        (member.client_id, member.client_host) = (name(&client.id), name(&client.host));
        let cause = Cause::StaticReplaced { old_member: old.clone() };
        self.event(cx, EventKind::StaticReplaced, self.member(new), cause.clone());
        if self.state == Stable && self.select_protocol() == self.protocol {
            cx.turn.append(vec![self.to_record()]);
            let is_leader = self.is_leader(new);
            let mut answer = self.current_generation(new);
            if !request.supports_skip_assignment {
                // It must not think that it has to assign: it is told of its former self (KIP-345).
                answer.leader = old_leader;
            } else if is_leader {
                answer.skip_assignment = true;
                answer.members = self.joined_members();
            }
            return cx.turn.answer_after_append(from, Answer::Join(answer));
        }
        self.wait_to_join(cx, new, from);
        self.rebalance(cx, Some(new), cause);
    }

    /// Whether the group's record fits the log with what the static member says now.
    fn has_room_for(&self, cx: &Tools<'_, '_>, old: &str, request: &JoinRequest) -> bool {
        let Some(protocol) = self.protocol.as_deref() else { return true };
        let said = request.protocols.iter().find(|p| *p.name == *protocol);
        let had = self.members[old].metadata(protocol).len();
        let bytes = self.record_bytes() - had + said.map_or(0, |p| p.metadata.len());
        // The names of the client and of the new member are not in the sum yet.
        bytes + MEMBER_NAMES_BYTES <= cx.config.batch_bytes_max
    }

    fn join_again(&mut self, cx: &mut Tools<'_, '_>, from: RequestId, request: &JoinRequest) {
        let id = request.member_id.as_str();
        let is_leader = self.is_leader(id);
        let member = &self.members[id];
        let same = member.matches(&request.protocols);
        match self.state {
            CompletingRebalance if same => {
                let mut answer = self.current_generation(id);
                if is_leader {
                    answer.members = self.joined_members();
                }
                return cx.turn.answer(from, Answer::Join(answer));
            }
            Stable if same && !is_leader => {
                let answer = self.current_generation(id);
                return cx.turn.answer_after_append(from, Answer::Join(answer));
            }
            _ => {}
        }
        let cause = match is_leader && same {
            true => Cause::LeaderRejoined,
            false if same => Cause::MemberRejoined,
            false => Cause::SubscriptionChanged,
        };
        let id = member.id.clone();
        self.update(&id, request);
        self.wait_to_join(cx, &id, from);
        self.rebalance(cx, Some(&id), cause);
    }

    fn update(&mut self, id: &Arc<str>, request: &JoinRequest) {
        self.set_protocols(id, &request.protocols);
        let member = self.members.get_mut(id).expect("it is here");
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.session_timeout_ms = request.session_timeout_ms;
    }

    /// Whether the member is here, and the instance id is its own.
    pub(super) fn check_member(
        &self,
        cx: &mut Tools<'_, '_>,
        id: &str,
        instance_id: Option<&str>,
    ) -> Result<&ClassicMember, GroupError> {
        self.find_member(id, instance_id).inspect_err(|error| {
            if *error == GroupError::FencedInstanceId {
                let fenced = ClassicMember {
                    instance_id: instance_id.map(Arc::from),
                    ..ClassicMember::new(id.into(), Arc::from(""), Arc::from(""))
                };
                self.event(cx, EventKind::MemberFenced, Some(&fenced), Cause::WrongInstance);
            }
        })
    }

    pub(super) fn find_member(
        &self,
        id: &str,
        instance_id: Option<&str>,
    ) -> Result<&ClassicMember, GroupError> {
        if let Some(instance_id) = instance_id {
            match self.statics.get(instance_id) {
                None => return Err(GroupError::UnknownMemberId),
                Some(holder) if **holder != *id => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
            }
        }
        self.member(id).ok_or(GroupError::UnknownMemberId)
    }
}

/// A client's id and address, and a member id that is made of the former.
const MEMBER_NAMES_BYTES: usize = 1024;

fn refused(error: GroupError, id: &str) -> JoinAnswer {
    JoinAnswer::refused(error, text(id))
}
