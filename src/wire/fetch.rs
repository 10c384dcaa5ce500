//! Fetch, v4-v18, on the hot path: request decoding, and a response encoder that leaves the record
//! bytes where they are: the frame comes out as pieces for one gather write.

use bytes::Bytes;

use super::produce::DecodeError;
use crate::types::TopicId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// -1 for a consumer. From the field below v15, from the replica state tag above.
    pub replica_id: i32,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    pub max_bytes: i32,
    /// 0 read_uncommitted, 1 read_committed.
    pub isolation_level: i8,
    pub session_id: i32,
    pub session_epoch: i32,
    pub topics: Vec<FetchTopic>,
    pub forgotten: Vec<ForgottenTopic>,
    pub rack_id: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTopic {
    /// Empty in v13+.
    pub name: Bytes,
    pub topic_id: TopicId,
    pub partitions: Vec<FetchPartition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    pub index: i32,
    pub current_leader_epoch: i32,
    pub fetch_offset: i64,
    pub last_fetched_epoch: i32,
    pub log_start_offset: i64,
    pub max_bytes: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgottenTopic {
    pub name: Bytes,
    pub topic_id: TopicId,
    pub partitions: Vec<i32>,
}

/// `P` is what holds record bytes (tail memory, a read buffer, Bytes).
#[derive(Clone, Debug)]
pub struct FetchPartitionResponse<P> {
    pub index: i32,
    pub error_code: i16,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    /// (producer id, first offset); `None` encodes null.
    pub aborted_transactions: Option<Vec<(i64, i64)>>,
    /// v12+ (KIP-595) diverging epoch: (epoch, end offset).
    pub diverging_epoch: Option<(i32, i64)>,
    /// v12+: (leader id, leader epoch), with NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH.
    pub current_leader: Option<(i32, i32)>,
    pub preferred_read_replica: i32,
    pub records: Vec<P>,
}

#[derive(Clone, Debug)]
pub struct FetchTopicResponse<P> {
    pub name: Bytes,
    pub topic_id: TopicId,
    pub partitions: Vec<FetchPartitionResponse<P>>,
}

#[derive(Clone, Debug)]
pub struct FetchResponse<P> {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub session_id: i32,
    pub topics: Vec<FetchTopicResponse<P>>,
    /// v16+ (KIP-951).
    pub node_endpoints: Vec<(i32, String, i32, Option<String>)>,
}

pub enum Piece<P> {
    Bytes(Bytes),
    Records(P),
}

impl<P: AsRef<[u8]>> Piece<P> {
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Piece::Bytes(b) => b,
            Piece::Records(p) => p.as_ref(),
        }
    }
}

pub fn decode_request(version: i16, body: &Bytes) -> Result<FetchRequest, DecodeError> {
    let _ = (version, body);
    todo!()
}

/// Whole frame (length, header, body) as pieces, in order.
pub fn encode_response<P: AsRef<[u8]>>(
    version: i16,
    correlation_id: i32,
    response: FetchResponse<P>,
) -> Vec<Piece<P>> {
    let _ = (version, correlation_id, response);
    todo!()
}

/// Client side: whole frame.
pub fn encode_request(
    version: i16,
    correlation_id: i32,
    client_id: &str,
    request: &FetchRequest,
) -> Bytes {
    let _ = (version, correlation_id, client_id, request);
    todo!()
}

/// Client side, body only; record bytes are slices of `body`.
pub fn decode_response(version: i16, body: &Bytes) -> Result<FetchResponse<Bytes>, DecodeError> {
    let _ = (version, body);
    todo!()
}
