//! A classic group to and from its record. It is written when a generation is complete, when the group becomes empty,
//! when a static member is replaced, and when a group is new; what waits in it is not in the log.

use std::sync::Arc;

use super::{ClassicGroup, ClassicMember, ClassicState};
use crate::coordinator::group::records::{
    BATCH_BYTES, GroupValue, MemberValue, RECORD_BYTES, Record,
};

impl ClassicGroup {
    /// The group as it stands.
    pub fn to_record(&self) -> Record {
        let protocol = self.protocol.as_deref();
        let members = self.members.values().map(|member| MemberValue {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: protocol.map(|p| member.metadata(p)).unwrap_or_default(),
            assignment: member.assignment.clone(),
        });
        self.record_of(GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| Arc::from("")),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_ms: self.state_ms,
            members: members.collect(),
        })
    }

    /// What its record takes in a batch of the log at most.
    pub(super) fn record_bytes(&self) -> usize {
        let member = |member: &ClassicMember| {
            let protocol = self.protocol.as_deref();
            let metadata = protocol.map_or(0, |p| member.metadata(p).len());
            let ids = [&member.id, &member.client_id, &member.client_host];
            RECORD_BYTES
                + ids.into_iter().map(|id| id.len()).sum::<usize>()
                + member.instance_id.as_ref().map_or(0, |id| id.len())
                + metadata
                + member.assignment.len()
        };
        let names = [&self.protocol_type, &self.protocol, &self.leader];
        BATCH_BYTES
            + RECORD_BYTES
            + self.id.len()
            + names.into_iter().flatten().map(|name| name.len()).sum::<usize>()
            + self.members.values().map(|m| member(m)).sum::<usize>()
    }

    /// Of a group that was made by its first join, which is not through.
    pub fn to_new_record(&self) -> Record {
        self.record_of(GroupValue {
            protocol_type: Arc::from(""),
            generation: 0,
            protocol: None,
            leader: None,
            state_ms: self.state_ms,
            members: Vec::new(),
        })
    }

    pub fn tombstone(&self) -> Record {
        Record::Group { group: self.id.clone(), value: None }
    }

    fn record_of(&self, value: GroupValue) -> Record {
        Record::Group { group: self.id.clone(), value: Some(value) }
    }

    /// As the record says: stable, or empty. Nobody waits. A member that the record has twice counts once.
    pub fn from_record(id: Arc<str>, value: &GroupValue) -> ClassicGroup {
        let mut group = ClassicGroup::new(id, value.state_ms);
        group.generation = value.generation;
        group.protocol_type = Some(value.protocol_type.clone()).filter(|t| !t.is_empty());
        group.protocol = value.protocol.clone();
        for member in &value.members {
            let known = group.members.contains_key(&member.member_id)
                || member.instance_id.as_ref().is_some_and(|i| group.statics.contains_key(i));
            if known {
                continue;
            }
            let protocol = value.protocol.clone().unwrap_or_else(|| Arc::from(""));
            group.add(ClassicMember {
                instance_id: member.instance_id.clone(),
                rebalance_timeout_ms: match member.rebalance_timeout_ms {
                    -1 => member.session_timeout_ms,
                    given => given,
                },
                session_timeout_ms: member.session_timeout_ms,
                protocols: vec![(protocol, member.subscription.clone())],
                assignment: member.assignment.clone(),
                ..ClassicMember::new(
                    member.member_id.clone(),
                    member.client_id.clone(),
                    member.client_host.clone(),
                )
            });
        }
        if !group.members.is_empty() {
            group.state = ClassicState::Stable;
        }
        group.leader = value.leader.clone().filter(|leader| group.members.contains_key(leader));
        if group.leader.is_none() {
            group.leader = group.members.keys().next().cloned();
        }
        group.compute_subscribed();
        group
    }
}
