//! What others may know of a consumer group: ConsumerGroupDescribe, and whether a commit or a fetch of offsets comes from
//! a member that may make it (KIP-848, KIP-1251). Reads only.

use std::collections::BTreeMap;

use kafka_protocol::protocol::StrBytes;

use super::group::ConsumerGroup;
use super::heartbeat::{Refusal, refuse, unknown_member};
use super::member::Member;
use super::owned::Owned;
use crate::coordinator::group::answer::{
    ConsumerDescription, ConsumerMemberDescription, NamedTopicPartitions,
};
use crate::coordinator::group::topics::Topics;
use crate::coordinator::group::{GroupError, records::ConsumerMemberValue};
use crate::types::TopicId;

impl ConsumerGroup {
    pub fn describe(&self, default_assignor: &str, topics: &dyn Topics) -> ConsumerDescription {
        let assignor = self.preferred_assignor().map_or(default_assignor, |name| name);
        ConsumerDescription {
            error: None,
            message: None,
            group_id: text(&self.id),
            state: self.state().name(),
            group_epoch: self.epoch,
            assignment_epoch: self.assignment_epoch,
            assignor: text(assignor),
            members: self.members.values().map(|m| self.describe_member(m, topics)).collect(),
        }
    }

    fn describe_member(&self, member: &Member, topics: &dyn Topics) -> ConsumerMemberDescription {
        let ConsumerMemberValue {
            instance_id,
            rack_id,
            client_id,
            client_host,
            subscribed_topic_names: names,
            subscribed_topic_regex: regex,
            ..
        } = &member.about;
        let target = self.target_of(&member.id);
        ConsumerMemberDescription {
            member_id: text(&member.id),
            instance_id: instance_id.as_deref().map(text),
            rack_id: rack_id.as_deref().map(text),
            member_epoch: member.current.epoch,
            client_id: text(client_id),
            client_host: text(client_host),
            subscribed_topic_names: names.iter().map(|name| text(name)).collect(),
            subscribed_topic_regex: regex.as_deref().map(text),
            assignment: named(
                held(&member.current.assigned, &member.current.pending_revocation),
                topics,
            ),
            target_assignment: named(target.topics().iter().cloned().collect(), topics),
            member_type: i8::from(!member.is_classic()),
        }
    }

    /// May these offsets be committed? `Ok(None)`: all of them; `Ok(Some(member))`: ask `member` about each partition
    /// (`check_commit`), for it is behind.
    pub fn check_commit(&self, commit: &CommitFrom<'_>) -> Result<Option<&Member>, Refusal> {
        // An administrator, or a consumer that manages no group.
        if commit.epoch < 0 && self.is_empty() {
            return Ok(None);
        }
        // A producer whose consumer gave no group metadata: fenced by its own epoch alone.
        if commit.transactional
            && commit.epoch == -1
            && commit.member_id.is_empty()
            && !commit.has_instance
        {
            return Ok(None);
        }
        let Some(member) = self.member(commit.member_id) else {
            return unknown_member(commit.member_id, &self.id);
        };
        if !commit.transactional && !member.is_classic() && !commit.knows_member_epochs {
            return refuse(
                GroupError::UnsupportedVersion,
                "OffsetCommit version 9 or above must be used by members using the consumer group protocol",
            );
        }
        match commit.epoch.cmp(&member.current.epoch) {
            std::cmp::Ordering::Equal => Ok(None),
            std::cmp::Ordering::Less => Ok(Some(member)),
            std::cmp::Ordering::Greater => member.stale(format!(
                "Received {} {} is newer than current member epoch {}.",
                member.epoch_name(),
                commit.epoch,
                member.current.epoch
            )),
        }
    }

    /// May these offsets be read by a member that gives its id and epoch?
    pub fn check_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), Refusal> {
        if member_id.is_none() && epoch < 0 {
            return Ok(());
        }
        let id = member_id.unwrap_or("null");
        let Some(member) = self.member(id) else { return unknown_member(id, &self.id) };
        if epoch == member.current.epoch {
            return Ok(());
        }
        member.stale(format!(
            "The received {} {epoch} does not match the expected member epoch {}.",
            member.epoch_name(),
            member.current.epoch
        ))
    }
}

/// Who commits.
#[derive(Clone, Copy, Debug)]
pub struct CommitFrom<'a> {
    pub member_id: &'a str,
    pub epoch: i32,
    pub has_instance: bool,
    pub transactional: bool,
    /// OffsetCommit v9 and later.
    pub knows_member_epochs: bool,
}

impl Member {
    /// A commit from an older epoch stands for partitions that the member had then and has still (KIP-1251).
    pub fn check_partition(
        &self,
        epoch: i32,
        topic: &TopicId,
        partition: i32,
    ) -> Result<(), GroupError> {
        let current = &self.current;
        let assigned = current.assigned.epoch(topic, partition);
        let since = assigned.or_else(|| current.pending_revocation.epoch(topic, partition));
        match since {
            Some(since) if epoch >= since => Ok(()),
            _ => Err(self.stale_error()),
        }
    }

    fn stale_error(&self) -> GroupError {
        match self.is_classic() {
            true => GroupError::IllegalGeneration,
            false => GroupError::StaleMemberEpoch,
        }
    }

    fn stale<T>(&self, why: String) -> Result<T, Refusal> {
        refuse(self.stale_error(), why)
    }

    fn epoch_name(&self) -> &'static str {
        if self.is_classic() { "generation id" } else { "member epoch" }
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

/// Assigned or not yet given back.
fn held(assigned: &Owned, pending: &Owned) -> BTreeMap<TopicId, Vec<i32>> {
    let mut all: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in assigned.iter().chain(pending.iter()) {
        all.entry(topic).or_default().push(partition);
    }
    all
}

/// Topics that are gone are left out.
fn named(all: BTreeMap<TopicId, Vec<i32>>, topics: &dyn Topics) -> Vec<NamedTopicPartitions> {
    let name = |(topic_id, mut partitions): (TopicId, Vec<i32>)| {
        partitions.sort_unstable();
        let topic_name = text(topics.name_of(topic_id)?);
        Some(NamedTopicPartitions { topic_id, topic_name, partitions })
    };
    all.into_iter().filter_map(name).collect()
}
