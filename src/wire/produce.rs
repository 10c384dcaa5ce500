//! Produce, v3-v13, on the hot path: a request view that borrows the frame (record bytes are slices
//! of it, no copy), the response encoder, and the client's side of both.

use bytes::Bytes;

use super::primitives::{Reader, Writer, read_node_endpoints};
use crate::types::TopicId;

/// KIP-951: node id, host, port, rack.
pub type NodeEndpoint = (i32, String, i32, Option<String>);

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
    /// v8+ (KIP-467): the records of the batch that were refused (index, why).
    pub record_errors: Vec<(i32, Option<String>)>,
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
    pub node_endpoints: Vec<NodeEndpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what} at byte {at}")]
pub struct DecodeError {
    pub what: &'static str,
    pub at: usize,
}

pub const API_KEY: i16 = 0;
const FIRST_FLEXIBLE: i16 = 9;
const FIRST_TOPIC_IDS: i16 = 13;

/// Body only (after the header). Every count and length is checked against the bytes that are left.
pub fn decode_request(version: i16, body: &Bytes) -> Result<ProduceRequest, DecodeError> {
    let flexible = version >= FIRST_FLEXIBLE;
    let mut r = Reader::new(body, flexible);
    let transactional_id = r.nullable_string("transactional id")?;
    let acks = r.i16("acks")?;
    let timeout_ms = r.i32("timeout")?;
    let topic_count = r.count(2, "topic count")?;
    let mut topics = Vec::with_capacity(topic_count.min(COUNT_TRUSTED));
    for _ in 0..topic_count {
        let (name, topic_id) = read_topic(&mut r, version)?;
        let partition_count = r.count(5, "partition count")?;
        let mut partitions = Vec::with_capacity(partition_count.min(COUNT_TRUSTED));
        for _ in 0..partition_count {
            let index = r.i32("partition index")?;
            let records = r.nullable_bytes("records")?;
            r.skip_tags()?;
            partitions.push(ProducePartition { index, records });
        }
        r.skip_tags()?;
        topics.push(ProduceTopic { name, topic_id, partitions });
    }
    r.skip_tags()?;
    Ok(ProduceRequest { transactional_id, acks, timeout_ms, topics })
}

/// Elements to reserve for at once: above it a vector grows as elements really come.
const COUNT_TRUSTED: usize = 1024;

fn read_topic(r: &mut Reader<'_>, version: i16) -> Result<(Bytes, TopicId), DecodeError> {
    if version >= FIRST_TOPIC_IDS {
        Ok((Bytes::new(), r.uuid("topic id")?))
    } else {
        Ok((r.string("topic name")?, TopicId::nil()))
    }
}

/// Whole frame: length, response header, body.
pub fn encode_response(version: i16, correlation_id: i32, response: &ProduceResponse) -> Bytes {
    let partitions: usize = response.topics.iter().map(|t| t.partitions.len()).sum();
    let capacity = 32 + 64 * (response.topics.len() + partitions);
    let mut w = Writer::frame(capacity, version >= FIRST_FLEXIBLE);
    w.response_header(correlation_id);
    w.count(response.topics.len());
    for topic in &response.topics {
        w.topic(version >= FIRST_TOPIC_IDS, &topic.name, topic.topic_id);
        w.count(topic.partitions.len());
        for partition in &topic.partitions {
            encode_partition_response(&mut w, version, partition);
        }
        w.no_tags();
    }
    w.i32(response.throttle_time_ms);
    if version >= 10 && !response.node_endpoints.is_empty() {
        w.uvarint(1);
        w.node_endpoints(&response.node_endpoints);
    } else {
        w.no_tags();
    }
    w.finish_frame(0);
    Bytes::from(w.buf)
}

fn encode_partition_response(w: &mut Writer, version: i16, p: &ProducePartitionResponse) {
    w.i32(p.index);
    w.i16(p.error_code);
    w.i64(p.base_offset);
    w.i64(p.log_append_time_ms);
    if version >= 5 {
        w.i64(p.log_start_offset);
    }
    if version >= 8 {
        w.count(p.record_errors.len());
        for (index, why) in &p.record_errors {
            w.i32(*index);
            w.nullable_string(why.as_deref().map(str::as_bytes));
            w.no_tags();
        }
        w.nullable_string(p.error_message.as_deref().map(str::as_bytes));
    }
    match p.current_leader {
        Some((leader_id, leader_epoch)) if version >= 10 => {
            w.uvarint(1);
            w.tag(0, |w| {
                w.i32(leader_id);
                w.i32(leader_epoch);
                w.no_tags();
            });
        }
        _ => w.no_tags(),
    }
}

/// Client side. Whole frame except the record bytes, which follow `head` in order: with one
/// topic-partition per request the caller sends `head`, the records, then `tail`.
#[allow(clippy::too_many_arguments)]
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
    let flexible = version >= FIRST_FLEXIBLE;
    let mut w = Writer::frame(64 + client_id.len() + topic.len(), flexible);
    w.request_header(API_KEY, version, correlation_id, client_id);
    w.nullable_string(None);
    w.i16(acks);
    w.i32(timeout_ms);
    w.count(1);
    if version >= FIRST_TOPIC_IDS {
        w.uuid(topic_id)
    } else {
        w.string(topic.as_bytes())
    }
    w.count(1);
    w.i32(partition);
    w.count(records_len);
    // Tagged fields of the partition, the topic and the request: none.
    let tail = if flexible { vec![0; 3] } else { Vec::new() };
    w.finish_frame(records_len + tail.len());
    (w.buf, tail)
}

/// Client side, body only.
pub fn decode_response(version: i16, body: &Bytes) -> Result<ProduceResponse, DecodeError> {
    let mut r = Reader::new(body, version >= FIRST_FLEXIBLE);
    let mut response = ProduceResponse::default();
    for _ in 0..r.count(2, "topic count")? {
        let (name, topic_id) = read_topic(&mut r, version)?;
        let mut partitions = Vec::new();
        for _ in 0..r.count(22, "partition count")? {
            partitions.push(decode_partition_response(&mut r, version)?);
        }
        r.skip_tags()?;
        response.topics.push(ProduceTopicResponse { name, topic_id, partitions });
    }
    response.throttle_time_ms = r.i32("throttle time")?;
    r.tags(|tag, r| {
        if tag == 0 && version >= 10 {
            response.node_endpoints = read_node_endpoints(r)?;
        }
        Ok(())
    })?;
    Ok(response)
}

fn decode_partition_response(
    r: &mut Reader<'_>,
    version: i16,
) -> Result<ProducePartitionResponse, DecodeError> {
    let mut partition = ProducePartitionResponse {
        index: r.i32("partition index")?,
        error_code: r.i16("error code")?,
        base_offset: r.i64("base offset")?,
        log_append_time_ms: r.i64("log append time")?,
        log_start_offset: -1,
        record_errors: Vec::new(),
        error_message: None,
        current_leader: None,
    };
    if version >= 5 {
        partition.log_start_offset = r.i64("log start offset")?;
    }
    if version >= 8 {
        for _ in 0..r.count(5, "record error count")? {
            let index = r.i32("batch index")?;
            let why = r.nullable_string("record error message")?;
            let why = why.map(|b| String::from_utf8_lossy(&b).into_owned());
            partition.record_errors.push((index, why));
            r.skip_tags()?;
        }
        partition.error_message =
            r.nullable_string("error message")?.map(|b| String::from_utf8_lossy(&b).into_owned());
    }
    r.tags(|tag, r| {
        if tag == 0 && version >= 10 {
            partition.current_leader = Some((r.i32("leader id")?, r.i32("leader epoch")?));
        }
        Ok(())
    })?;
    Ok(partition)
}
