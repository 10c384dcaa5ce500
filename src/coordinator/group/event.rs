//! What happened to a group, to whom and why: the host writes each as one JSON record (key: the group) to
//! `EVENTS_TOPIC`, and `spindle group explain` reads them back. The names of fields and variants are that format:
//! add to them, do not rename them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One partition, deleted after a week; made when the first event is written.
pub const EVENTS_TOPIC: &str = "__spindle_group_events";

/// Something that happened to a group, for `spindle group explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Wall clock.
    pub at_ms: i64,
    pub group: Arc<str>,
    pub kind: EventKind,
    pub member: Option<Arc<str>>,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Option<Arc<str>>,
    pub client_host: Option<Arc<str>>,
    pub cause: Cause,
    /// The generation or group epoch after it.
    pub generation: i32,
    /// Of what completed.
    pub took_ms: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    RebalanceStarted,
    RebalanceCompleted,
    MemberJoined,
    MemberLeft,
    MemberEvicted,
    MemberFenced,
    StaticReplaced,
    LeaderChanged,
    /// From classic to consumer, or back.
    Converted,
    OffsetsReset,
    OffsetsExpired,
    OffsetsDeleted,
    GroupDeleted,
    CoordinatorLoaded,
    CoordinatorMoved,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Cause {
    NewMember,
    /// A member came back with other protocols or another subscription.
    SubscriptionChanged,
    /// The classic leader asked for a new assignment.
    LeaderRejoined,
    /// A member joined again although nothing of it changed.
    MemberRejoined,
    Left {
        reason: Option<Arc<str>>,
    },
    /// LeaveGroup by instance id alone: an administrator's.
    RemovedByAdmin {
        reason: Option<Arc<str>>,
    },
    /// No heartbeat for so long.
    SessionTimeout {
        timeout_ms: i64,
    },
    /// Did not join again (classic), or did not give partitions back (consumer), in time.
    RebalanceTimeout {
        timeout_ms: i64,
    },
    /// Joined but never sent SyncGroup.
    SyncTimeout {
        timeout_ms: i64,
    },
    /// Took a member id and never joined with it.
    NewMemberTimeout {
        timeout_ms: i64,
    },
    /// Another client with the same group.instance.id took the place of this member.
    StaticReplaced {
        old_member: Arc<str>,
    },
    /// An instance with this member id is not the one known.
    WrongInstance,
    StaleEpoch {
        given: i32,
        current: i32,
    },
    /// The group's size limit.
    GroupFull {
        max_size: i64,
    },
    /// The group's record does not fit a batch of `__consumer_offsets`.
    RecordTooLarge {
        bytes: i64,
        max_bytes: i64,
    },
    TopicsChanged {
        topics: Vec<Arc<str>>,
    },
    AssignorChanged,
    AllMembersJoined,
    LastMemberLeft,
    Upgrade,
    Downgrade,
    OffsetMoved {
        topic: Arc<str>,
        partition: i32,
        from: i64,
        to: i64,
    },
    Retention {
        after_ms: i64,
        offsets: usize,
    },
    TopicDeleted {
        topic: Arc<str>,
        offsets: usize,
    },
    AdminRequest {
        offsets: usize,
    },
    Loaded {
        groups: usize,
        offsets: usize,
    },
    LeaderMoved,
}
