//! What a partition can refuse, in its own words; api/ maps each to Kafka's error of that meaning.

use crate::types::Offset;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    #[error("this server does not host this topic-partition")]
    Unknown,
    #[error("this shard does not lead this partition")]
    NotLeader,
    #[error("the leader epoch in the request is older than ours")]
    FencedLeaderEpoch,
    #[error("the leader epoch in the request is newer than ours")]
    UnknownLeaderEpoch,
    #[error("offset {offset} is out of range [{start}, {end}]")]
    OffsetOutOfRange { offset: Offset, start: Offset, end: Offset },
    #[error("{0}")]
    CorruptMessage(String),
    #[error("{0}")]
    InvalidRecord(String),
    /// Some records of the batch break a rule; the whole batch is refused (KIP-467).
    #[error("{why}")]
    RecordsRejected { why: String, records: Vec<(i32, String)> },
    #[error("{0}")]
    InvalidTimestamp(String),
    #[error("{0}")]
    MessageTooLarge(String),
    #[error("{0}")]
    RecordListTooLarge(String),
    #[error("{0}")]
    OutOfOrderSequence(String),
    #[error("{0}")]
    InvalidProducerEpoch(String),
    #[error("{0}")]
    InvalidTxnState(String),
    #[error("{0}")]
    PolicyViolation(String),
    #[error("{0}")]
    NotEnoughReplicas(String),
    #[error("{0}")]
    Storage(String),
    #[error("the request timed out")]
    TimedOut,
    /// The owner's mailbox is full: the client retries.
    #[error("shard {0} is overloaded")]
    Overloaded(usize),
}
