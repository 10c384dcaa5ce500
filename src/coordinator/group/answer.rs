//! What a group coordinator answers: our own plain values, which `api` writes in Kafka's messages.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use super::error::GroupError;
use super::input::TopicPartitions;
use crate::types::TopicId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Join(JoinAnswer),
    Sync(SyncAnswer),
    Heartbeat(Result<(), GroupError>),
    Leave(Result<Vec<LeftMember>, GroupError>),
    ConsumerHeartbeat(ConsumerHeartbeatAnswer),
    ConsumerDescribe(ConsumerDescription),
    /// An error of the group is every partition's.
    Commit(Result<Vec<CommittedTopic>, GroupError>),
    TxnCommit(Result<Vec<CommittedTopic>, GroupError>),
    FetchOffsets(Result<Vec<FetchedTopic>, GroupError>),
    DeleteOffsets(Result<Vec<DeletedTopic>, GroupError>),
    Describe(Description),
    List(Vec<ListedGroup>),
    Delete(Result<(), GroupError>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinAnswer {
    pub error: Option<GroupError>,
    /// -1 with an error.
    pub generation: i32,
    pub protocol_type: Option<StrBytes>,
    pub protocol_name: Option<StrBytes>,
    pub leader: StrBytes,
    pub skip_assignment: bool,
    /// MEMBER_ID_REQUIRED gives the one to come back with.
    pub member_id: StrBytes,
    /// For the leader.
    pub members: Vec<JoinedMember>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinedMember {
    pub member_id: StrBytes,
    pub instance_id: Option<StrBytes>,
    pub metadata: Bytes,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncAnswer {
    pub error: Option<GroupError>,
    pub protocol_type: Option<StrBytes>,
    pub protocol_name: Option<StrBytes>,
    pub assignment: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftMember {
    pub member_id: StrBytes,
    pub instance_id: Option<StrBytes>,
    pub error: Option<GroupError>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerHeartbeatAnswer {
    pub error: Option<GroupError>,
    pub message: Option<String>,
    pub member_id: Option<StrBytes>,
    pub member_epoch: i32,
    pub heartbeat_interval_ms: i32,
    /// `None`: as before.
    pub assignment: Option<Vec<TopicPartitions>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerDescription {
    pub error: Option<GroupError>,
    pub message: Option<String>,
    pub group_id: StrBytes,
    pub state: &'static str,
    pub group_epoch: i32,
    pub assignment_epoch: i32,
    pub assignor: StrBytes,
    pub members: Vec<ConsumerMemberDescription>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerMemberDescription {
    pub member_id: StrBytes,
    pub instance_id: Option<StrBytes>,
    pub rack_id: Option<StrBytes>,
    pub member_epoch: i32,
    pub client_id: StrBytes,
    pub client_host: StrBytes,
    pub subscribed_topic_names: Vec<StrBytes>,
    pub subscribed_topic_regex: Option<StrBytes>,
    pub assignment: Vec<NamedTopicPartitions>,
    pub target_assignment: Vec<NamedTopicPartitions>,
    /// 0: classic, 1: consumer; -1: not known.
    pub member_type: i8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedTopicPartitions {
    pub topic_id: TopicId,
    pub topic_name: StrBytes,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedTopic {
    pub name: StrBytes,
    pub id: TopicId,
    pub partitions: Vec<(i32, Option<GroupError>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedTopic {
    pub name: StrBytes,
    pub id: TopicId,
    pub partitions: Vec<FetchedOffset>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedOffset {
    pub partition: i32,
    /// -1: none is committed, or there is an error.
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: StrBytes,
    pub error: Option<GroupError>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    pub name: StrBytes,
    pub partitions: Vec<(i32, Option<GroupError>)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    pub error: Option<GroupError>,
    pub message: Option<String>,
    pub group_id: StrBytes,
    pub state: &'static str,
    pub protocol_type: StrBytes,
    pub protocol: StrBytes,
    pub members: Vec<MemberDescription>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberDescription {
    pub member_id: StrBytes,
    pub instance_id: Option<StrBytes>,
    pub client_id: StrBytes,
    pub client_host: StrBytes,
    pub metadata: Bytes,
    pub assignment: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    pub group_id: StrBytes,
    pub protocol_type: StrBytes,
    pub state: &'static str,
    /// "Classic" or "Consumer".
    pub group_type: &'static str,
}
