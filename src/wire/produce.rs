//! Produce, v3-v13, on the hot path: a request view that borrows the frame (record bytes are slices
//! of it, no copy), the response encoder, and the client's side of both.

use bytes::Bytes;

use crate::types::TopicId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceRequest {
    pub transactional_id: Option<Bytes>,
    pub acks: i16,
    pub timeout_ms: i32,
    pub topics: Vec<ProduceTopic>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceTopic {
    /// UTF-8; empty in v13+, which names topics by id.
    pub name: Bytes,
    /// nil below v13.
    pub topic_id: TopicId,
    pub partitions: Vec<ProducePartition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducePartition {
    pub index: i32,
    /// Record batches, a slice of the frame; `None` when null.
    pub records: Option<Bytes>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducePartitionResponse {
    pub index: i32,
    pub error_code: i16,
    pub base_offset: i64,
    pub log_append_time_ms: i64,
    pub log_start_offset: i64,
    pub error_message: Option<String>,
    /// v10+ (KIP-951), only with NOT_LEADER_OR_FOLLOWER: (leader id, leader epoch).
    pub current_leader: Option<(i32, i32)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceTopicResponse {
    pub name: Bytes,
    pub topic_id: TopicId,
    pub partitions: Vec<ProducePartitionResponse>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProduceResponse {
    pub topics: Vec<ProduceTopicResponse>,
    pub throttle_time_ms: i32,
    /// v10+ (KIP-951): (node id, host, port, rack).
    pub node_endpoints: Vec<(i32, String, i32, Option<String>)>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what} at byte {at}")]
pub struct DecodeError {
    pub what: &'static str,
    pub at: usize,
}

/// Body only (after the header). Every count and length is checked against the bytes that are left.
pub fn decode_request(version: i16, body: &Bytes) -> Result<ProduceRequest, DecodeError> {
    let _ = (version, body);
    todo!()
}

/// Whole frame: length, response header, body.
pub fn encode_response(version: i16, correlation_id: i32, response: &ProduceResponse) -> Bytes {
    let _ = (version, correlation_id, response);
    todo!()
}

/// Client side. Whole frame except the record bytes, which follow `head` in order: with one
/// topic-partition per request the caller sends `head`, the records, then `tail`.
pub fn encode_single_partition_request(
    version: i16,
    correlation_id: i32,
    client_id: &str,
    acks: i16,
    timeout_ms: i32,
    topic: &str,
    topic_id: TopicId,
    partition: i32,
    records_len: usize,
) -> (Vec<u8>, Vec<u8>) {
    let _ = (version, correlation_id, client_id, acks, timeout_ms, topic, topic_id, partition);
    let _ = records_len;
    todo!()
}

/// Client side, body only.
pub fn decode_response(version: i16, body: &Bytes) -> Result<ProduceResponse, DecodeError> {
    let _ = (version, body);
    todo!()
}
