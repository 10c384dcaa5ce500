//! Online upgrade and downgrade (KIP-848): a classic group of consumers becomes a consumer group when the first member of
//! the consumer protocol joins it, its classic members go on being served there (`classic_members`); when the last
//! member of the consumer protocol goes, the group becomes a classic one again. Nobody stops: members keep what they
//! have. `ClassicView` is the form in which groups are handed over.

use std::sync::Arc;

use bytes::Bytes;

use super::apply::Pen;
use super::embedded::{EmbeddedAssignment, PROTOCOL_TYPE, Subscription, write_assignment};
use super::group::ConsumerGroup;
use super::heartbeat::{Refusal, refuse};
use super::member::{Current, Member, sorted};
use super::owned::Owned;
use super::subscriptions::Subscriptions;
use crate::coordinator::group::GroupError;
use crate::coordinator::group::assignor::Assignment;
use crate::coordinator::group::config::{GroupConfig, MigrationPolicy};
use crate::coordinator::group::records::{
    ClassicMemberValue, ConsumerMemberValue, Record, batch_bytes,
};
use crate::coordinator::group::topics::Topics;

/// A classic group of consumers as it is handed over, either way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicView {
    pub group: Arc<str>,
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that members agreed on; `None`: the one that takes over chooses.
    pub protocol: Option<Arc<str>>,
    pub generation: i32,
    pub members: Vec<ClassicSeat>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicSeat {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    /// In the member's order of preference.
    pub protocols: Vec<(Arc<str>, Bytes)>,
    pub assignment: Bytes,
}

impl ClassicSeat {
    /// Metadata for the protocol that the group uses, or for the one that it prefers.
    fn metadata(&self, protocol: Option<&str>) -> Option<&Bytes> {
        let chosen =
            protocol.and_then(|name| self.protocols.iter().find(|(had, _)| &**had == name));
        chosen.or(self.protocols.first()).map(|(_, metadata)| metadata)
    }
}

impl MigrationPolicy {
    pub fn upgrades(self) -> bool {
        matches!(self, MigrationPolicy::Upgrade | MigrationPolicy::Bidirectional)
    }

    pub fn downgrades(self) -> bool {
        matches!(self, MigrationPolicy::Downgrade | MigrationPolicy::Bidirectional)
    }
}

/// A consumer group with the members of a classic one, at its generation, and the records that make it one.
/// Nothing is changed when it is refused.
pub fn upgrade(
    view: &ClassicView,
    config: &GroupConfig,
    topics: &dyn Topics,
    subscriptions: &mut Subscriptions,
) -> Result<(ConsumerGroup, Vec<Record>), Refusal> {
    let no = |why: &str| {
        let text =
            format!("Cannot upgrade classic group {} to consumer group because {why}.", view.group);
        refuse(GroupError::GroupIdNotFound, text)
    };
    if !config.consumer.migration.upgrades() {
        return no("online upgrade is disabled");
    }
    if view.protocol_type.as_deref() != Some(PROTOCOL_TYPE) {
        return no("the group does not use the consumer embedded protocol");
    }
    if view.members.len() > config.consumer.max_size {
        return no("the group size exceeds the consumer group maximum size");
    }
    let mut members = Vec::with_capacity(view.members.len());
    for seat in &view.members {
        let read = seat.metadata(view.protocol.as_deref()).map(|bytes| Subscription::read(bytes));
        let assigned = EmbeddedAssignment::read(&seat.assignment);
        let (Some(Ok(subscription)), Ok(assigned)) = (read, assigned) else {
            return no("the embedded consumer protocol is malformed");
        };
        if assigned.has_user_data {
            return no(
                "an unsupported custom assignor is in use. Please refer to the documentation or \
                 switch to a default assignor before re-attempting the upgrade",
            );
        }
        let id = |(name, partitions): (Arc<str>, Vec<i32>)| {
            Some((topics.by_name(&name)?.id, partitions))
        };
        let target = Assignment::from_unsorted(assigned.partitions.into_iter().filter_map(id));
        members.push((member_of(seat, subscription, &target, view.generation), target));
    }
    let mut records = vec![Record::Group { group: view.group.clone(), value: None }];
    let mut group = ConsumerGroup::new(view.group.clone());
    for (member, _) in &members {
        Pen { group: &mut group, records: &mut records }.about(&member.id, member.about.clone());
    }
    let hash = subscriptions.hash_of(&group, topics);
    let mut pen = Pen { group: &mut group, records: &mut records };
    pen.first_epoch(view.generation, hash);
    for (member, target) in &members {
        pen.target(&member.id, target);
    }
    pen.target_epoch(view.generation, 0);
    for (member, _) in &members {
        pen.current(&member.id, &member.current);
    }
    group.checked_version = Some(topics.version());
    // One batch, or a crash could leave a group that has forgotten what its members have.
    let (bytes, max) = (batch_bytes(&records), config.batch_bytes_max);
    if bytes > max {
        let text = format!(
            "Cannot upgrade classic group {} to consumer group because its records take {bytes} bytes \
             and a batch of the log has room for {max}.",
            view.group
        );
        return refuse(GroupError::UnknownServerError, text);
    }
    Ok((group, records))
}

fn member_of(
    seat: &ClassicSeat,
    said: Subscription,
    target: &Assignment,
    generation: i32,
) -> Member {
    let with_epoch = |(topic, all): &(_, Vec<i32>)| {
        (*topic, all.iter().map(|partition| (*partition, generation)).collect())
    };
    let mut member = Member::new(seat.member_id.clone());
    member.about = ConsumerMemberValue {
        instance_id: seat.instance_id.clone(),
        rack_id: said.rack_id,
        client_id: seat.client_id.clone(),
        client_host: seat.client_host.clone(),
        subscribed_topic_names: sorted(said.topics),
        subscribed_topic_regex: Some("".into()),
        rebalance_timeout_ms: seat.rebalance_timeout_ms,
        server_assignor: None,
        classic: Some(ClassicMemberValue {
            session_timeout_ms: seat.session_timeout_ms,
            protocols: seat.protocols.clone(),
        }),
    };
    member.current = Current {
        epoch: generation,
        previous_epoch: generation,
        assigned: Owned::from_sorted(target.topics().iter().map(with_epoch).collect()),
        ..Current::default()
    };
    member
}

impl ConsumerGroup {
    /// Without these members only such of the classic protocol are left, and the policy lets the group go back.
    pub fn can_downgrade_without(&self, leaving: &[Arc<str>], config: &GroupConfig) -> bool {
        let classic_leaving =
            leaving.iter().filter(|id| self.member(id).is_some_and(Member::is_classic));
        let left = self.len() - leaving.len();
        left > 0
            && self.classic_members - classic_leaving.count() == left
            && config.consumer.migration.downgrades()
            && left <= config.max_size
            && self.fits_as_classic(0, config)
    }

    /// The last member of the consumer protocol is a static one whom a classic member replaces.
    /// `said_bytes`: what that one says of itself.
    pub fn can_downgrade_replacing(
        &self,
        replaced: &Member,
        said_bytes: usize,
        config: &GroupConfig,
    ) -> bool {
        !replaced.is_classic()
            && self.classic_members == self.len() - 1
            && config.consumer.migration.downgrades()
            && self.len() <= config.max_size
            && self.fits_as_classic(said_bytes, config)
    }

    /// The tombstones of all that it has in the log, then what the classic group starts with. The classic group's own
    /// record follows: whoever takes over writes it. Of what the step has written before only tombstones count.
    pub fn downgrade(
        &self,
        leaving: &[Arc<str>],
        topics: &dyn Topics,
        records: &mut Vec<Record>,
    ) -> ClassicView {
        records.retain(Record::is_tombstone);
        records.extend(self.tombstones());
        let stays = |member: &Member| !leaving.contains(&member.id);
        let mut members = Vec::new();
        for member in self.members.values().filter(|member| stays(member)) {
            let Some(classic) = &member.about.classic else { continue };
            members.push(ClassicSeat {
                member_id: member.id.clone(),
                instance_id: member.about.instance_id.clone(),
                client_id: member.about.client_id.clone(),
                client_host: member.about.client_host.clone(),
                rebalance_timeout_ms: member.about.rebalance_timeout_ms,
                session_timeout_ms: classic.session_timeout_ms,
                protocols: classic.protocols.clone(),
                assignment: embedded(&held(member), classic, topics),
            });
        }
        ClassicView {
            group: self.id.clone(),
            protocol_type: Some(PROTOCOL_TYPE.into()),
            protocol: None,
            generation: self.epoch,
            members,
        }
    }
}

/// What a member has, not what it shall have (Kafka hands over the target): should the group become a consumer group
/// again before the member was heard, nobody else may be given what it still consumes.
fn held(member: &Member) -> Assignment {
    let both = member.current.assigned.union(&member.current.pending_revocation);
    let ids = |(topic, all): &(_, Vec<(i32, i32)>)| {
        (*topic, all.iter().map(|(partition, _)| *partition).collect())
    };
    Assignment::from_unsorted(both.topics().iter().map(ids))
}

/// In the form of the version that the member speaks.
pub fn embedded(target: &Assignment, classic: &ClassicMemberValue, topics: &dyn Topics) -> Bytes {
    let first = classic.protocols.first();
    let version = first.and_then(|(_, metadata)| Subscription::read(metadata).ok());
    let name = |(id, all): &'_ (_, Vec<i32>)| Some((topics.name_of(*id)?.to_string(), all.clone()));
    let named: Vec<(String, Vec<i32>)> = target.topics().iter().filter_map(name).collect();
    let pairs = named.iter().map(|(name, all)| (name.as_str(), all.as_slice()));
    write_assignment(version.map_or(0, |said| said.version), pairs)
}
