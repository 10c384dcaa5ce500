//! Fetch, v4-v18, on the hot path: request decoding, and a response encoder that leaves the record
//! bytes where they are: the frame comes out as pieces for one gather write.

use bytes::Bytes;

use super::primitives::{Reader, Writer, read_node_endpoints};
use super::produce::{DecodeError, NodeEndpoint};
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
    pub node_endpoints: Vec<NodeEndpoint>,
}

pub enum Piece<P> {
    Bytes(Bytes),
    Records(P),
}

/// Record bytes that a response carries, wherever they are.
pub trait RecordBytes {
    fn size_bytes(&self) -> usize;
}

impl RecordBytes for Bytes {
    fn size_bytes(&self) -> usize {
        self.len()
    }
}

pub const API_KEY: i16 = 1;
const FIRST_FLEXIBLE: i16 = 12;
const FIRST_TOPIC_IDS: i16 = 13;
/// Elements to reserve for at once: above it a vector grows as elements really come.
const COUNT_TRUSTED: usize = 1024;

pub fn decode_request(version: i16, body: &Bytes) -> Result<FetchRequest, DecodeError> {
    let mut r = Reader::new(body, version >= FIRST_FLEXIBLE);
    let mut request = FetchRequest {
        replica_id: if version < 15 { r.i32("replica id")? } else { -1 },
        max_wait_ms: r.i32("max wait")?,
        min_bytes: r.i32("min bytes")?,
        max_bytes: r.i32("max bytes")?,
        isolation_level: r.i8("isolation level")?,
        session_id: 0,
        session_epoch: -1,
        topics: Vec::new(),
        forgotten: Vec::new(),
        rack_id: Bytes::new(),
    };
    if version >= 7 {
        request.session_id = r.i32("session id")?;
        request.session_epoch = r.i32("session epoch")?;
    }
    let topic_count = r.count(2, "topic count")?;
    request.topics.reserve(topic_count.min(COUNT_TRUSTED));
    for _ in 0..topic_count {
        request.topics.push(decode_topic(&mut r, version)?);
    }
    if version >= 7 {
        for _ in 0..r.count(2, "forgotten topic count")? {
            let (name, topic_id) = read_topic(&mut r, version)?;
            let count = r.count(4, "forgotten partition count")?;
            let mut partitions = Vec::with_capacity(count);
            for _ in 0..count {
                partitions.push(r.i32("forgotten partition")?);
            }
            r.skip_tags()?;
            request.forgotten.push(ForgottenTopic { name, topic_id, partitions });
        }
    }
    if version >= 11 {
        request.rack_id = r.string("rack id")?;
    }
    // Tag 0 is the cluster id, of no use to a broker that has one cluster; tag 1 is KIP-903's
    // replica state: replica id and epoch.
    r.tags(|tag, r| {
        if tag == 1 && version >= 15 {
            request.replica_id = r.i32("replica id")?;
            r.i64("replica epoch")?;
        }
        Ok(())
    })?;
    Ok(request)
}

fn read_topic(r: &mut Reader<'_>, version: i16) -> Result<(Bytes, TopicId), DecodeError> {
    if version >= FIRST_TOPIC_IDS {
        Ok((Bytes::new(), r.uuid("topic id")?))
    } else {
        Ok((r.string("topic name")?, TopicId::nil()))
    }
}

fn decode_topic(r: &mut Reader<'_>, version: i16) -> Result<FetchTopic, DecodeError> {
    let (name, topic_id) = read_topic(r, version)?;
    let count = r.count(16, "partition count")?;
    let mut partitions = Vec::with_capacity(count.min(COUNT_TRUSTED));
    for _ in 0..count {
        let index = r.i32("partition index")?;
        let current_leader_epoch = if version >= 9 { r.i32("leader epoch")? } else { -1 };
        let fetch_offset = r.i64("fetch offset")?;
        let last_fetched_epoch = if version >= 12 { r.i32("last fetched epoch")? } else { -1 };
        let log_start_offset = if version >= 5 { r.i64("log start offset")? } else { -1 };
        let max_bytes = r.i32("partition max bytes")?;
        // v17 (KIP-853) tag 0 is a directory id, v18 (KIP-1166) tag 1 a high watermark: both for
        // replicas of the metadata log, which is not fetched through this API here.
        r.skip_tags()?;
        partitions.push(FetchPartition {
            index,
            current_leader_epoch,
            fetch_offset,
            last_fetched_epoch,
            log_start_offset,
            max_bytes,
        });
    }
    r.skip_tags()?;
    Ok(FetchTopic { name, topic_id, partitions })
}

/// Whole frame (length, header, body) as pieces, in order. All bytes but the records are slices of
/// one buffer.
pub fn encode_response<P: RecordBytes>(
    version: i16,
    correlation_id: i32,
    response: FetchResponse<P>,
) -> Vec<Piece<P>> {
    let partitions: usize = response.topics.iter().map(|t| t.partitions.len()).sum();
    let capacity = 64 + 32 * response.topics.len() + 80 * partitions;
    let mut w = Writer::frame(capacity, version >= FIRST_FLEXIBLE);
    w.response_header(correlation_id);
    w.i32(response.throttle_time_ms);
    if version >= 7 {
        w.i16(response.error_code);
        w.i32(response.session_id);
    }
    // Where record bytes go: the position in the buffer and the bytes.
    let mut cuts: Vec<(usize, P)> = Vec::new();
    let mut records_len = 0;
    w.count(response.topics.len());
    for topic in response.topics {
        w.topic(version >= FIRST_TOPIC_IDS, &topic.name, topic.topic_id);
        w.count(topic.partitions.len());
        for mut partition in topic.partitions {
            let records = std::mem::take(&mut partition.records);
            let len: usize = records.iter().map(|r| r.size_bytes()).sum();
            encode_partition_head(&mut w, version, &partition);
            w.count(len);
            records_len += len;
            let at = w.buf.len();
            cuts.extend(records.into_iter().filter(|r| r.size_bytes() > 0).map(|r| (at, r)));
            encode_partition_tags(&mut w, version, &partition);
        }
        w.no_tags();
    }
    if version >= 16 && !response.node_endpoints.is_empty() {
        w.uvarint(1);
        w.node_endpoints(&response.node_endpoints);
    } else {
        w.no_tags();
    }
    w.finish_frame(records_len);

    let buf = Bytes::from(w.buf);
    let mut pieces = Vec::with_capacity(2 * cuts.len() + 1);
    let mut from = 0;
    for (at, records) in cuts {
        if at > from {
            pieces.push(Piece::Bytes(buf.slice(from..at)));
            from = at;
        }
        pieces.push(Piece::Records(records));
    }
    if from < buf.len() {
        pieces.push(Piece::Bytes(buf.slice(from..)));
    }
    pieces
}

fn encode_partition_head<P>(w: &mut Writer, version: i16, p: &FetchPartitionResponse<P>) {
    w.i32(p.index);
    w.i16(p.error_code);
    w.i64(p.high_watermark);
    w.i64(p.last_stable_offset);
    if version >= 5 {
        w.i64(p.log_start_offset);
    }
    match &p.aborted_transactions {
        None => w.null_count(),
        Some(aborted) => {
            w.count(aborted.len());
            for (producer_id, first_offset) in aborted {
                w.i64(*producer_id);
                w.i64(*first_offset);
                w.no_tags();
            }
        }
    }
    if version >= 11 {
        w.i32(p.preferred_read_replica);
    }
}

fn encode_partition_tags<P>(w: &mut Writer, version: i16, p: &FetchPartitionResponse<P>) {
    if version < FIRST_FLEXIBLE {
        return;
    }
    let count = u32::from(p.diverging_epoch.is_some()) + u32::from(p.current_leader.is_some());
    w.uvarint(count);
    if let Some((epoch, end_offset)) = p.diverging_epoch {
        w.tag(0, |w| {
            w.i32(epoch);
            w.i64(end_offset);
            w.no_tags();
        });
    }
    if let Some((leader_id, leader_epoch)) = p.current_leader {
        w.tag(1, |w| {
            w.i32(leader_id);
            w.i32(leader_epoch);
            w.no_tags();
        });
    }
}

/// Client side: whole frame.
pub fn encode_request(
    version: i16,
    correlation_id: i32,
    client_id: &str,
    request: &FetchRequest,
) -> Bytes {
    let mut w = Writer::frame(256, version >= FIRST_FLEXIBLE);
    w.request_header(API_KEY, version, correlation_id, client_id);
    if version < 15 {
        w.i32(request.replica_id);
    }
    w.i32(request.max_wait_ms);
    w.i32(request.min_bytes);
    w.i32(request.max_bytes);
    w.i8(request.isolation_level);
    if version >= 7 {
        w.i32(request.session_id);
        w.i32(request.session_epoch);
    }
    w.count(request.topics.len());
    for topic in &request.topics {
        w.topic(version >= FIRST_TOPIC_IDS, &topic.name, topic.topic_id);
        w.count(topic.partitions.len());
        for partition in &topic.partitions {
            encode_request_partition(&mut w, version, partition);
        }
        w.no_tags();
    }
    if version >= 7 {
        w.count(request.forgotten.len());
        for topic in &request.forgotten {
            w.topic(version >= FIRST_TOPIC_IDS, &topic.name, topic.topic_id);
            w.count(topic.partitions.len());
            for partition in &topic.partitions {
                w.i32(*partition);
            }
            w.no_tags();
        }
    }
    if version >= 11 {
        w.string(&request.rack_id);
    }
    if version >= 15 && request.replica_id != -1 {
        w.uvarint(1);
        w.tag(1, |w| {
            w.i32(request.replica_id);
            w.i64(-1);
            w.no_tags();
        });
    } else {
        w.no_tags();
    }
    w.finish_frame(0);
    Bytes::from(w.buf)
}

fn encode_request_partition(w: &mut Writer, version: i16, p: &FetchPartition) {
    w.i32(p.index);
    if version >= 9 {
        w.i32(p.current_leader_epoch);
    }
    w.i64(p.fetch_offset);
    if version >= 12 {
        w.i32(p.last_fetched_epoch);
    }
    if version >= 5 {
        w.i64(p.log_start_offset);
    }
    w.i32(p.max_bytes);
    w.no_tags();
}

/// Client side, body only; record bytes are slices of `body`.
pub fn decode_response(version: i16, body: &Bytes) -> Result<FetchResponse<Bytes>, DecodeError> {
    let mut r = Reader::new(body, version >= FIRST_FLEXIBLE);
    let mut response = FetchResponse {
        throttle_time_ms: r.i32("throttle time")?,
        error_code: 0,
        session_id: 0,
        topics: Vec::new(),
        node_endpoints: Vec::new(),
    };
    if version >= 7 {
        response.error_code = r.i16("error code")?;
        response.session_id = r.i32("session id")?;
    }
    for _ in 0..r.count(2, "topic count")? {
        let (name, topic_id) = read_topic(&mut r, version)?;
        let mut partitions = Vec::new();
        for _ in 0..r.count(24, "partition count")? {
            partitions.push(decode_partition_response(&mut r, version)?);
        }
        r.skip_tags()?;
        response.topics.push(FetchTopicResponse { name, topic_id, partitions });
    }
    r.tags(|tag, r| {
        if tag == 0 && version >= 16 {
            response.node_endpoints = read_node_endpoints(r)?;
        }
        Ok(())
    })?;
    Ok(response)
}

fn decode_partition_response(
    r: &mut Reader<'_>,
    version: i16,
) -> Result<FetchPartitionResponse<Bytes>, DecodeError> {
    let mut partition = FetchPartitionResponse {
        index: r.i32("partition index")?,
        error_code: r.i16("error code")?,
        high_watermark: r.i64("high watermark")?,
        last_stable_offset: r.i64("last stable offset")?,
        log_start_offset: -1,
        aborted_transactions: None,
        diverging_epoch: None,
        current_leader: None,
        preferred_read_replica: -1,
        records: Vec::new(),
    };
    if version >= 5 {
        partition.log_start_offset = r.i64("log start offset")?;
    }
    if let Some(count) = r.nullable_count(16, "aborted transaction count")? {
        let mut aborted = Vec::with_capacity(count);
        for _ in 0..count {
            aborted.push((r.i64("producer id")?, r.i64("first offset")?));
            r.skip_tags()?;
        }
        partition.aborted_transactions = Some(aborted);
    }
    if version >= 11 {
        partition.preferred_read_replica = r.i32("preferred read replica")?;
    }
    partition.records.extend(r.nullable_bytes("records")?.filter(|b| !b.is_empty()));
    r.tags(|tag, r| {
        match tag {
            0 => partition.diverging_epoch = Some((r.i32("epoch")?, r.i64("end offset")?)),
            1 => partition.current_leader = Some((r.i32("leader id")?, r.i32("leader epoch")?)),
            _ => {}
        }
        Ok(())
    })?;
    Ok(partition)
}
