//! One member of a consumer group: what it said of itself (`about`, the ConsumerGroupMemberMetadata record) and where
//! it stands on the way to its target (`current`, the ConsumerGroupCurrentMemberAssignment record). What is in neither
//! is soft: it is gone with the coordinator.

use std::sync::Arc;

use super::owned::Owned;
use crate::coordinator::group::input::Client;
use crate::coordinator::group::records::{
    ClassicMemberValue, ConsumerCurrentValue, ConsumerMemberValue,
};
use crate::coordinator::group::timers::Place;
use crate::types::TopicId;

/// Of a request: the member leaves.
pub const LEAVE_EPOCH: i32 = -1;
/// Of a request: a static member goes away and will be back; also the epoch of one that is away.
pub const AWAY_EPOCH: i32 = -2;

/// Kafka's numbers, as the record has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i8)]
pub enum MemberState {
    #[default]
    Stable = 1,
    /// It has yet to confirm that it gave partitions back.
    UnrevokedPartitions = 2,
    /// Others have yet to give back what it shall have.
    UnreleasedPartitions = 3,
    /// From a newer broker.
    Unknown = 127,
}

impl MemberState {
    pub fn from_record(value: i8) -> MemberState {
        match value {
            1 => MemberState::Stable,
            2 => MemberState::UnrevokedPartitions,
            3 => MemberState::UnreleasedPartitions,
            _ => MemberState::Unknown,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: Arc<str>,
    pub about: ConsumerMemberValue,
    pub current: Current,
    pub wait: Option<Wait>,
    pub session: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    pub epoch: i32,
    pub previous_epoch: i32,
    pub state: MemberState,
    pub assigned: Owned,
    pub pending_revocation: Owned,
}

/// What a member has to do in time, or it is fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Confirm that it gave partitions back, and so leave this epoch.
    Revoke { epoch: i32 },
    /// A classic member: join again.
    Join,
    /// A classic member: fetch its assignment.
    Sync,
}

impl Default for Current {
    /// Of a member that has only just come.
    fn default() -> Current {
        Current {
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            assigned: Owned::default(),
            pending_revocation: Owned::default(),
        }
    }
}

impl Current {
    pub fn from_record(value: &ConsumerCurrentValue) -> Current {
        Current {
            epoch: value.member_epoch,
            previous_epoch: value.previous_member_epoch,
            state: MemberState::from_record(value.state),
            assigned: Owned::from_record(&value.assigned, value.member_epoch),
            pending_revocation: Owned::from_record(&value.pending_revocation, value.member_epoch),
        }
    }

    pub fn to_record(&self) -> ConsumerCurrentValue {
        ConsumerCurrentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: self.state as i8,
            assigned: self.assigned.to_record(),
            pending_revocation: self.pending_revocation.to_record(),
        }
    }

    /// After its tombstone: no epoch, no partitions; the member's own tombstone follows.
    pub fn gone() -> Current {
        Current { epoch: LEAVE_EPOCH, previous_epoch: LEAVE_EPOCH, ..Current::default() }
    }

    /// Nobody else may have these: assigned, or not yet given back.
    pub fn held(&self) -> impl Iterator<Item = (TopicId, i32)> + '_ {
        self.assigned.iter().chain(self.pending_revocation.iter())
    }

    pub fn is_reconciled_to(&self, assignment_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == assignment_epoch
    }
}

impl Member {
    pub fn new(id: Arc<str>) -> Member {
        let about = ConsumerMemberValue {
            rebalance_timeout_ms: -1,
            subscribed_topic_regex: Some("".into()),
            ..ConsumerMemberValue::default()
        };
        Member { id, about, current: Current::default(), wait: None, session: Place::default() }
    }

    /// `None` when it has none, or an empty one.
    pub fn regex(&self) -> Option<&Arc<str>> {
        regex_of(&self.about)
    }

    pub fn is_classic(&self) -> bool {
        self.about.classic.is_some()
    }

    pub fn instance_id(&self) -> Option<&Arc<str>> {
        self.about.instance_id.as_ref()
    }
}

/// `None` when there is none, or an empty one.
pub fn regex_of(about: &ConsumerMemberValue) -> Option<&Arc<str>> {
    about.subscribed_topic_regex.as_ref().filter(|regex| !regex.is_empty())
}

/// What a request may change of what a member said; `None` leaves a thing as it was.
#[derive(Clone, Debug, Default)]
pub struct Update {
    pub instance_id: Option<Arc<str>>,
    pub rack_id: Option<Arc<str>>,
    pub rebalance_timeout_ms: Option<i32>,
    pub server_assignor: Option<Arc<str>>,
    pub topic_names: Option<Vec<Arc<str>>>,
    pub regex: Option<Arc<str>>,
    /// The whole: a member of the consumer protocol has none.
    pub classic: Option<ClassicMemberValue>,
}

impl Update {
    pub fn apply(self, old: &ConsumerMemberValue, client: &Client) -> ConsumerMemberValue {
        let same = |had: &Arc<str>, now: &str| if &**had == now { had.clone() } else { now.into() };
        ConsumerMemberValue {
            instance_id: self.instance_id.or_else(|| old.instance_id.clone()),
            rack_id: self.rack_id.or_else(|| old.rack_id.clone()),
            client_id: same(&old.client_id, &client.id),
            client_host: same(&old.client_host, &client.host),
            subscribed_topic_names: match self.topic_names {
                Some(names) => sorted(names),
                None => old.subscribed_topic_names.clone(),
            },
            subscribed_topic_regex: self.regex.or_else(|| old.subscribed_topic_regex.clone()),
            rebalance_timeout_ms: self.rebalance_timeout_ms.unwrap_or(old.rebalance_timeout_ms),
            server_assignor: self.server_assignor.or_else(|| old.server_assignor.clone()),
            classic: self.classic,
        }
    }
}

/// Each name once, as Kafka's record has them.
pub fn sorted(mut names: Vec<Arc<str>>) -> Vec<Arc<str>> {
    names.sort_unstable();
    names.dedup();
    names
}
