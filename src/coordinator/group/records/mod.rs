//! The records of `__consumer_offsets` in Kafka's key and value formats. A value of `None` is a tombstone.
//! A record that can't be read is a `BadRecord`, which the host reports and skips. Pure.

mod bytes;
mod decode;
mod encode;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ::bytes::Bytes;
pub use decode::{OffsetRef, OffsetValueRef};

use super::effect::Producer;
use crate::types::TopicId;

/// One record of the log as it is replayed.
#[derive(Clone, Copy, Debug)]
pub struct LoadedRecord<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Of a transactional batch: pending until its marker.
    pub transactional: Option<Producer>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRecord(pub String);

/// The header of a batch.
pub const BATCH_BYTES: usize = 61;

/// What the fields of fixed length of an offset's record or a group's, those of its key and of the batch's format
/// (at most 21) take at most. A group's record has less for each of its members.
pub const RECORD_BYTES: usize = 96;

/// What the batch's format puts around a record's key and value at most.
pub const RECORD_FRAME_BYTES: usize = 21;

/// What these take in a batch of their own, at most.
pub fn batch_bytes(records: &[Record]) -> usize {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let bytes = |record: &Record| {
        key.clear();
        value.clear();
        record.encode(&mut key, &mut value);
        key.len() + value.len() + RECORD_FRAME_BYTES
    };
    BATCH_BYTES + records.iter().map(bytes).sum::<usize>()
}

#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    Offset {
        group: Arc<str>,
        topic: Arc<str>,
        partition: i32,
        value: Option<OffsetValue>,
    },
    Group {
        group: Arc<str>,
        value: Option<GroupValue>,
    },
    ConsumerGroup {
        group: Arc<str>,
        value: Option<ConsumerGroupValue>,
    },
    /// Not written since Kafka 4.1; read, and taken away when the group is written again.
    ConsumerPartitions {
        group: Arc<str>,
        value: Option<()>,
    },
    ConsumerMember {
        group: Arc<str>,
        member: Arc<str>,
        value: Option<Box<ConsumerMemberValue>>,
    },
    ConsumerTarget {
        group: Arc<str>,
        value: Option<ConsumerTargetValue>,
    },
    ConsumerTargetMember {
        group: Arc<str>,
        member: Arc<str>,
        value: Option<Vec<Assigned>>,
    },
    ConsumerCurrent {
        group: Arc<str>,
        member: Arc<str>,
        value: Option<ConsumerCurrentValue>,
    },
    ConsumerRegex {
        group: Arc<str>,
        regex: Arc<str>,
        value: Option<ConsumerRegexValue>,
    },
    /// A share or streams group's, or a kind newer than Kafka 4.3.
    Unused {
        kind: i16,
    },
}

impl Record {
    pub fn is_tombstone(&self) -> bool {
        match self {
            Record::Offset { value, .. } => value.is_none(),
            Record::Group { value, .. } => value.is_none(),
            Record::ConsumerGroup { value, .. } => value.is_none(),
            Record::ConsumerPartitions { value, .. } => value.is_none(),
            Record::ConsumerMember { value, .. } => value.is_none(),
            Record::ConsumerTarget { value, .. } => value.is_none(),
            Record::ConsumerTargetMember { value, .. } => value.is_none(),
            Record::ConsumerCurrent { value, .. } => value.is_none(),
            Record::ConsumerRegex { value, .. } => value.is_none(),
            Record::Unused { .. } => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetValue {
    pub offset: i64,
    /// -1: none.
    pub leader_epoch: i32,
    pub metadata: Arc<str>,
    pub commit_ms: i64,
    /// -1: by the broker's retention. Only OffsetCommit v2-4 set it.
    pub expire_ms: i64,
    /// Nil: not known.
    pub topic_id: TopicId,
}

/// A classic group at a stable generation, or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupValue {
    pub protocol_type: Arc<str>,
    pub generation: i32,
    pub protocol: Option<Arc<str>>,
    pub leader: Option<Arc<str>>,
    /// When the group became empty or stable; -1: not known.
    pub state_ms: i64,
    pub members: Vec<MemberValue>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberValue {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    /// -1: the session timeout.
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: Bytes,
    pub assignment: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerGroupValue {
    pub epoch: i32,
    /// Of the topics that it subscribes to; 0: not known.
    pub metadata_hash: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerMemberValue {
    pub instance_id: Option<Arc<str>>,
    pub rack_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub subscribed_topic_names: Vec<Arc<str>>,
    pub subscribed_topic_regex: Option<Arc<str>>,
    /// -1: not given.
    pub rebalance_timeout_ms: i32,
    pub server_assignor: Option<Arc<str>>,
    /// Set when the member speaks the classic protocol.
    pub classic: Option<ClassicMemberValue>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMemberValue {
    pub session_timeout_ms: i32,
    pub protocols: Vec<(Arc<str>, Bytes)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerTargetValue {
    pub epoch: i32,
    /// When it was computed; 0: not known.
    pub at_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    pub topic_id: TopicId,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerCurrentValue {
    pub member_epoch: i32,
    pub previous_member_epoch: i32,
    pub state: i8,
    pub assigned: Vec<AssignedAt>,
    pub pending_revocation: Vec<AssignedAt>,
}

/// `epochs`, when there, is as long as `partitions`: the epoch at which each was assigned (Kafka 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignedAt {
    pub topic_id: TopicId,
    pub partitions: Vec<i32>,
    pub epochs: Option<Vec<i32>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRegexValue {
    pub topics: Vec<Arc<str>>,
    /// Of the metadata image that it was matched against.
    pub version: i64,
    pub at_ms: i64,
}
