//! What a step asks the host for: append, answer, tell. In program order; the host keeps it.

use std::sync::Arc;

use super::answer::Answer;
use super::input::RequestId;
use super::records::Record;

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// One atomic batch; what comes later in program order stands behind it. Already applied to the state: when it
    /// can't be appended the host drops the whole `Groups` and loads again.
    Append {
        records: Vec<Record>,
        transactional: Option<Producer>,
    },
    /// `after_append`: not before everything appended so far is committed, so that nobody is shown what a crash can
    /// take back.
    Answer {
        to: RequestId,
        answer: Answer,
        after_append: bool,
    },
    Event(Event),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Producer {
    pub id: i64,
    pub epoch: i16,
}

/// Something that happened to a group, for `spindle group explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

#[derive(Clone, Debug, PartialEq, Eq)]
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
