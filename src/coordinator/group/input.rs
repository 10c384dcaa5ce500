//! What a group coordinator is asked: our own plain requests, made by `api` from Kafka's. Strings and bytes may be
//! slices of the request's frame: what is kept is copied. What the topic image alone decides (a topic that does not
//! exist) and what needs no group (authorization) is answered by the host before.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use super::config::{GroupConfig, GroupOverrides};
use crate::types::TopicId;

/// Chosen by the host: whose answer it is.
pub type RequestId = u64;

#[derive(Clone, Debug)]
pub enum Input {
    Join {
        from: RequestId,
        client: Client,
        request: JoinRequest,
    },
    Sync {
        from: RequestId,
        client: Client,
        request: SyncRequest,
    },
    Heartbeat {
        from: RequestId,
        client: Client,
        request: HeartbeatRequest,
    },
    Leave {
        from: RequestId,
        client: Client,
        request: LeaveRequest,
    },
    ConsumerHeartbeat {
        from: RequestId,
        client: Client,
        request: ConsumerHeartbeatRequest,
    },
    /// One group of ConsumerGroupDescribe.
    ConsumerDescribe {
        from: RequestId,
        group_id: StrBytes,
    },
    Commit {
        from: RequestId,
        client: Client,
        request: CommitRequest,
    },
    TxnCommit {
        from: RequestId,
        client: Client,
        request: TxnCommitRequest,
    },
    /// One group of OffsetFetch.
    FetchOffsets {
        from: RequestId,
        request: FetchOffsetsRequest,
    },
    DeleteOffsets {
        from: RequestId,
        client: Client,
        request: DeleteOffsetsRequest,
    },
    /// One group of DescribeGroups.
    Describe {
        from: RequestId,
        group_id: StrBytes,
    },
    List {
        from: RequestId,
        request: ListRequest,
    },
    /// One group of DeleteGroups.
    Delete {
        from: RequestId,
        client: Client,
        group_id: StrBytes,
    },
    /// These topics appeared, changed their number of partitions or racks, or went away.
    TopicsChanged {
        names: Vec<StrBytes>,
    },
    /// These topics are gone: so are their offsets.
    TopicsDeleted {
        topics: Vec<(StrBytes, TopicId)>,
    },
    /// The control marker of a transaction was appended to this partition.
    TxnCompleted {
        producer_id: i64,
        producer_epoch: i16,
        committed: bool,
    },
    ConfigChanged {
        config: Box<GroupConfig>,
    },
    /// A group's own settings; the default value takes them away.
    GroupConfigChanged {
        group_id: StrBytes,
        overrides: GroupOverrides,
    },
    /// `next_deadline_ms` has come.
    Tick,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    pub id: StrBytes,
    /// As Kafka writes it: `/192.0.2.1`.
    pub host: StrBytes,
}

#[derive(Clone, Debug, Default)]
pub struct JoinRequest {
    pub group_id: StrBytes,
    pub member_id: StrBytes,
    pub instance_id: Option<StrBytes>,
    pub protocol_type: StrBytes,
    pub protocols: Vec<Protocol>,
    pub session_timeout_ms: i32,
    /// v0 has none: the session timeout.
    pub rebalance_timeout_ms: i32,
    pub reason: Option<StrBytes>,
    /// v4 and later (KIP-394).
    pub requires_known_member_id: bool,
    /// v9 and later (KIP-814).
    pub supports_skip_assignment: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protocol {
    pub name: StrBytes,
    pub metadata: Bytes,
}

#[derive(Clone, Debug, Default)]
pub struct SyncRequest {
    pub group_id: StrBytes,
    pub generation: i32,
    pub member_id: StrBytes,
    pub instance_id: Option<StrBytes>,
    /// v5 and later.
    pub protocol_type: Option<StrBytes>,
    pub protocol_name: Option<StrBytes>,
    pub assignments: Vec<(StrBytes, Bytes)>,
}

#[derive(Clone, Debug, Default)]
pub struct HeartbeatRequest {
    pub group_id: StrBytes,
    pub generation: i32,
    pub member_id: StrBytes,
    pub instance_id: Option<StrBytes>,
}

#[derive(Clone, Debug, Default)]
pub struct LeaveRequest {
    pub group_id: StrBytes,
    /// v0-2: one.
    pub members: Vec<LeavingMember>,
}

#[derive(Clone, Debug, Default)]
pub struct LeavingMember {
    pub member_id: StrBytes,
    pub instance_id: Option<StrBytes>,
    pub reason: Option<StrBytes>,
}

#[derive(Clone, Debug, Default)]
pub struct ConsumerHeartbeatRequest {
    pub group_id: StrBytes,
    pub member_id: StrBytes,
    pub member_epoch: i32,
    pub instance_id: Option<StrBytes>,
    pub rack_id: Option<StrBytes>,
    /// -1: unchanged.
    pub rebalance_timeout_ms: i32,
    pub subscribed_topic_names: Option<Vec<StrBytes>>,
    pub subscribed_topic_regex: Option<StrBytes>,
    pub server_assignor: Option<StrBytes>,
    /// What the member owns; `None`: unchanged.
    pub owned: Option<Vec<TopicPartitions>>,
    /// v1 and later: the client made its member id (KIP-1082).
    pub client_makes_member_id: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicPartitions {
    pub topic_id: TopicId,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, Default)]
pub struct CommitRequest {
    pub group_id: StrBytes,
    /// -1: a simple consumer or an administrator.
    pub generation_or_epoch: i32,
    pub member_id: StrBytes,
    pub instance_id: Option<StrBytes>,
    /// v2-4; -1 or absent: the broker's own.
    pub retention_time_ms: Option<i64>,
    /// v9 and later: its consumer knows STALE_MEMBER_EPOCH.
    pub knows_member_epochs: bool,
    pub topics: Vec<CommitTopic>,
}

#[derive(Clone, Debug, Default)]
pub struct CommitTopic {
    pub name: StrBytes,
    /// Nil when the image has none.
    pub id: TopicId,
    pub partitions: Vec<CommitPartition>,
}

#[derive(Clone, Debug, Default)]
pub struct CommitPartition {
    pub partition: i32,
    pub offset: i64,
    /// -1: none.
    pub leader_epoch: i32,
    pub metadata: Option<StrBytes>,
}

#[derive(Clone, Debug, Default)]
pub struct TxnCommitRequest {
    pub group_id: StrBytes,
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// v3 and later: -1 and an empty member id when the consumer gave none.
    pub generation_or_epoch: i32,
    pub member_id: StrBytes,
    pub instance_id: Option<StrBytes>,
    pub topics: Vec<CommitTopic>,
}

#[derive(Clone, Debug, Default)]
pub struct FetchOffsetsRequest {
    pub group_id: StrBytes,
    /// v9 and later.
    pub member_id: Option<StrBytes>,
    /// -1: not a member of a consumer group.
    pub member_epoch: i32,
    /// `None`: all that the group has.
    pub topics: Option<Vec<FetchOffsetsTopic>>,
    pub require_stable: bool,
}

#[derive(Clone, Debug, Default)]
pub struct FetchOffsetsTopic {
    pub name: StrBytes,
    pub id: TopicId,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, Default)]
pub struct DeleteOffsetsRequest {
    pub group_id: StrBytes,
    pub topics: Vec<(StrBytes, Vec<i32>)>,
}

/// Empty filters let everything pass; compared without regard to case.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    pub states: Vec<StrBytes>,
    pub types: Vec<StrBytes>,
}
