//! Members of the classic protocol within a consumer group (KIP-848, online upgrade): JoinGroup, SyncGroup, Heartbeat and
//! LeaveGroup are answered from the group's own assignment. A join is at once; REBALANCE_IN_PROGRESS in a heartbeat
//! calls a member to it when there is something to give or to take.

use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;

use super::convert::embedded;
use super::embedded::{PROTOCOL_TYPE, Subscription};
use super::group::ConsumerGroup;
use super::heartbeat::{Refusal, check_instance, unknown_instance};
use super::leave::Leaver;
use super::member::{Member, MemberState, Update, Wait, sorted};
use super::work::{NotReconciled, Work};
use crate::coordinator::group::answer::{JoinAnswer, LeftMember, SyncAnswer};
use crate::coordinator::group::assignor::Assignment;
use crate::coordinator::group::config::MigrationPolicy;
use crate::coordinator::group::input::{
    HeartbeatRequest, JoinRequest, LeaveRequest, SyncRequest, TopicPartitions,
};
use crate::coordinator::group::records::ClassicMemberValue;
use crate::coordinator::group::{Cause, Client, EventKind, GroupError};

/// What became of a join.
pub struct Joined {
    pub member: Arc<str>,
    /// A classic member took the place of the group's last one of the consumer protocol: the group goes back.
    pub downgrade: bool,
    /// The log does not take what it would get: it is told so, and goes when its session is over.
    pub refused: bool,
}

impl Work<'_, '_> {
    /// `member_id` is the request's, or a new one when it has none.
    pub fn classic_join(
        &mut self,
        client: &Client,
        request: &JoinRequest,
        member_id: &Arc<str>,
    ) -> Result<Joined, GroupError> {
        let subscription = self.check_join(request, member_id)?;
        let new_id = request.member_id.is_empty();
        let instance = request.instance_id.as_deref();
        let existing = instance.and_then(|instance| self.group.static_member(instance));
        let said = request.protocols.iter().map(|p| p.name.len() + p.metadata.len());
        let said_bytes = said.sum::<usize>() + client.id.len() + client.host.len();
        let (mut downgrade, mut new) = (false, false);
        let id = match (instance, existing) {
            (None, _) => {
                new = self.group.member(member_id).is_none();
                member_id.clone()
            }
            (Some(_), None) if new_id => {
                new = true;
                member_id.clone()
            }
            (Some(_), None) => return Err(GroupError::UnknownMemberId),
            (Some(_), Some(existing)) if new_id => {
                downgrade = self.group.can_downgrade_replacing(existing, said_bytes, self.config);
                let old = existing.id.clone();
                self.replace_static(&old, member_id);
                member_id.clone()
            }
            (Some(instance), Some(existing)) => {
                check_instance(existing, member_id, instance).map_err(|refusal| refusal.0)?;
                downgrade = self.group.can_downgrade_replacing(existing, said_bytes, self.config);
                existing.id.clone()
            }
        };
        let before = match self.group.member(&id) {
            Some(member) => member.clone(),
            None => Member::new(id.clone()),
        };
        let about = update_of(request, &subscription).apply(&before.about, client);
        let changed = about.subscribed_topic_names != before.about.subscribed_topic_names
            || before.regex().is_some();
        if about != before.about {
            self.pen().about(&id, about);
        }
        if new {
            self.event(EventKind::MemberJoined, Some(&id), Cause::NewMember, None);
        }
        let cause = if new { Cause::NewMember } else { Cause::SubscriptionChanged };
        let regexes = self.refresh_regexes();
        self.refresh_metadata((changed || regexes).then_some(cause));
        // A group that goes back with a target behind its epoch rebalances as a classic one.
        let stale = downgrade && self.group.assignment_epoch < self.group.epoch;
        if !downgrade {
            self.update_target();
        }
        let mut refused = !downgrade && self.refused_target_of(&id).is_some();
        if !stale {
            let owned = owned_ids(&subscription, self.turn.topics);
            let moved = self.reconcile(&id, changed, Some(&owned));
            refused |= matches!(moved, Err(NotReconciled::TooLarge(_)));
        }
        if !downgrade {
            self.arm_session(&id, request.session_timeout_ms);
            self.wait(&id, Wait::Sync, request.rebalance_timeout_ms);
        }
        Ok(Joined { member: id, downgrade, refused: refused && !downgrade })
    }

    fn check_join(
        &self,
        request: &JoinRequest,
        member_id: &Arc<str>,
    ) -> Result<Subscription, GroupError> {
        if self.config.consumer.migration == MigrationPolicy::Disabled {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        super::heartbeat::check_room(self.group, member_id, self.config.consumer.max_size)
            .map_err(|refusal| refusal.0)?;
        let names: Vec<&str> = request.protocols.iter().map(|protocol| &*protocol.name).collect();
        if !self.group.supports_classic(&request.protocol_type, &names) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        if request.requires_known_member_id
            && request.member_id.is_empty()
            && request.instance_id.is_none()
        {
            return Err(GroupError::MemberIdRequired);
        }
        // Kafka fails here with an illegal state, which its clients see as an unknown error.
        let first =
            request.protocols.first().map(|protocol| Subscription::read(&protocol.metadata));
        first.and_then(Result::ok).ok_or(GroupError::UnknownServerError)
    }

    pub fn joined_answer(&self, id: &Arc<str>) -> JoinAnswer {
        let member = &self.group.members[id];
        let classic = member.about.classic.as_ref();
        let first = classic.and_then(|classic| classic.protocols.first());
        JoinAnswer {
            generation: member.current.epoch,
            protocol_type: Some(StrBytes::from_static_str(PROTOCOL_TYPE)),
            protocol_name: first.map(|(name, _)| StrBytes::from_string(name.to_string())),
            member_id: StrBytes::from_string(id.to_string()),
            ..JoinAnswer::default()
        }
    }

    pub fn classic_sync(&mut self, request: &SyncRequest) -> Result<SyncAnswer, GroupError> {
        let instance = request.instance_id.as_ref();
        let member = classic_member(self.group, &request.member_id, instance, request.generation)?;
        let classic = member.about.classic.clone().expect("a classic member");
        let protocol = classic.protocols.first().map(|(name, _)| name.clone());
        let other_type =
            request.protocol_type.as_ref().is_some_and(|kind| **kind != *PROTOCOL_TYPE);
        let given = request.protocol_name.as_deref();
        if other_type || given.is_some_and(|name| Some(name) != protocol.as_deref()) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        let id = member.id.clone();
        let revoking = member.current.state == MemberState::UnrevokedPartitions;
        if self.group.assignment_epoch > member.current.epoch && !revoking {
            self.call_to_join(&id);
            return Err(GroupError::RebalanceInProgress);
        }
        let assigned = self.group.members[&id].current.assigned.to_answer();
        let pairs = assigned.into_iter().map(|topic| (topic.topic_id, topic.partitions));
        let assignment = embedded(&Assignment::from_unsorted(pairs), &classic, self.turn.topics);
        if self.group.members[&id].wait == Some(Wait::Sync) {
            self.wait_no_more(&id);
        }
        self.arm_session(&id, classic.session_timeout_ms);
        Ok(SyncAnswer {
            error: None,
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment,
        })
    }

    pub fn classic_heartbeat(&mut self, request: &HeartbeatRequest) -> Result<(), GroupError> {
        let instance = request.instance_id.as_ref();
        classic_member(self.group, &request.member_id, instance, request.generation)?;
        if self.group.classic_members == self.group.len() {
            // Nobody else's heartbeat works out the target. (In Kafka 4.3.1 such members wait for somebody to join.)
            self.update_target();
        }
        let member = &self.group.members[&*request.member_id];
        let session_ms =
            member.about.classic.as_ref().expect("a classic member").session_timeout_ms;
        let behind = member.current.epoch < self.group.assignment_epoch
            || match member.current.state {
                MemberState::UnrevokedPartitions => true,
                MemberState::UnreleasedPartitions => !self.group.waits_for_others(member),
                _ => false,
            };
        let id = member.id.clone();
        self.arm_session(&id, session_ms);
        if behind {
            self.call_to_join(&id);
            return Err(GroupError::RebalanceInProgress);
        }
        Ok(())
    }

    /// From the first call on it has its rebalance timeout to come.
    fn call_to_join(&mut self, id: &Arc<str>) {
        let member = &self.group.members[id];
        if member.wait.is_none() {
            let timeout_ms = member.about.rebalance_timeout_ms;
            self.wait(id, Wait::Join, timeout_ms);
        }
    }
}

/// Who of a LeaveGroup goes, and what each is told.
pub fn classic_leavers(
    group: &ConsumerGroup,
    request: &LeaveRequest,
) -> (Vec<Leaver>, Vec<LeftMember>) {
    let mut leavers: Vec<Leaver> = Vec::new();
    let mut told = Vec::with_capacity(request.members.len());
    for leaving in &request.members {
        let found: Result<&Member, Refusal> = match &leaving.instance_id {
            None => group.member(&leaving.member_id).map_or_else(
                || super::heartbeat::unknown_member(&leaving.member_id, &group.id),
                Ok,
            ),
            Some(instance) => match group.static_member(instance) {
                None => unknown_instance(instance),
                Some(member) if leaving.member_id.is_empty() => Ok(member),
                Some(member) => {
                    check_instance(member, &leaving.member_id, instance).map(|()| member)
                }
            },
        };
        let error = found.as_ref().err().map(|refusal| refusal.0);
        if let Ok(member) = found
            && !leavers.iter().any(|leaver| leaver.member == member.id)
        {
            let reason = leaving.reason.as_deref().map(Arc::from);
            let cause = match leaving.member_id.is_empty() {
                true => Cause::RemovedByAdmin { reason },
                false => Cause::Left { reason },
            };
            leavers.push(Leaver { member: member.id.clone(), kind: EventKind::MemberLeft, cause });
        }
        told.push(LeftMember {
            member_id: leaving.member_id.clone(),
            instance_id: leaving.instance_id.clone(),
            error,
        });
    }
    (leavers, told)
}

fn classic_member<'a>(
    group: &'a ConsumerGroup,
    member_id: &str,
    instance: Option<&StrBytes>,
    generation: i32,
) -> Result<&'a Member, GroupError> {
    let member = match instance {
        None => group.member(member_id).ok_or(GroupError::UnknownMemberId)?,
        Some(instance) => {
            let member = group.static_member(instance).ok_or(GroupError::UnknownMemberId)?;
            check_instance(member, member_id, instance).map_err(|refusal| refusal.0)?;
            member
        }
    };
    if !member.is_classic() {
        return Err(GroupError::UnknownMemberId);
    }
    if member.current.epoch != generation {
        return Err(GroupError::IllegalGeneration);
    }
    Ok(member)
}

fn update_of(request: &JoinRequest, subscription: &Subscription) -> Update {
    let protocol = |p: &crate::coordinator::group::input::Protocol| {
        (Arc::from(&*p.name), bytes::Bytes::copy_from_slice(&p.metadata))
    };
    Update {
        instance_id: request.instance_id.as_deref().map(Arc::from),
        rack_id: subscription.rack_id.clone(),
        rebalance_timeout_ms: Some(request.rebalance_timeout_ms).filter(|ms| *ms != -1),
        server_assignor: None,
        topic_names: Some(sorted(subscription.topics.clone())),
        // A classic member's expression is matched by its client.
        regex: Some("".into()),
        classic: Some(ClassicMemberValue {
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols.iter().map(protocol).collect(),
        }),
    }
}

fn owned_ids(
    subscription: &Subscription,
    topics: &dyn crate::coordinator::group::Topics,
) -> Vec<TopicPartitions> {
    let id = |(name, partitions): &(Arc<str>, Vec<i32>)| {
        let topic_id = topics.by_name(name)?.id;
        Some(TopicPartitions { topic_id, partitions: partitions.clone() })
    };
    subscription.owned.iter().filter_map(id).collect()
}
