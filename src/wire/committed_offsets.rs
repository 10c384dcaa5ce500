//! OffsetCommit (8) and OffsetFetch (9) requests of v10, which name topics by id (KIP-848).
//! `kafka-protocol` has their fields and stops at v9; the responses of v10 it knows.

use bytes::Bytes;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{GroupId, OffsetCommitRequest, OffsetFetchRequest};
use kafka_protocol::protocol::StrBytes;

use super::primitives::{Reader, Writer};
use super::produce::DecodeError;

pub const COMMIT_KEY: i16 = 8;
pub const FETCH_KEY: i16 = 9;
pub const VERSION_BY_ID: i16 = 10;

/// Body only.
pub fn decode_commit(body: &Bytes) -> Result<OffsetCommitRequest, DecodeError> {
    let mut r = Reader::new(body, true);
    let mut request = OffsetCommitRequest::default()
        .with_group_id(GroupId(text(&mut r)?))
        .with_generation_id_or_member_epoch(r.i32("generation or member epoch")?)
        .with_member_id(text(&mut r)?)
        .with_group_instance_id(nullable_text(&mut r)?);
    for _ in 0..r.count(18, "topic count")? {
        let mut topic = OffsetCommitRequestTopic::default().with_topic_id(r.uuid("topic id")?);
        for _ in 0..r.count(18, "partition count")? {
            let partition = OffsetCommitRequestPartition::default()
                .with_partition_index(r.i32("partition index")?)
                .with_committed_offset(r.i64("committed offset")?)
                .with_committed_leader_epoch(r.i32("committed leader epoch")?)
                .with_committed_metadata(nullable_text(&mut r)?);
            r.skip_tags()?;
            topic.partitions.push(partition);
        }
        r.skip_tags()?;
        request.topics.push(topic);
    }
    r.skip_tags()?;
    Ok(request)
}

/// Body only.
pub fn decode_fetch(body: &Bytes) -> Result<OffsetFetchRequest, DecodeError> {
    let mut r = Reader::new(body, true);
    let mut request = OffsetFetchRequest::default();
    for _ in 0..r.count(8, "group count")? {
        let mut group = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(text(&mut r)?))
            .with_member_id(nullable_text(&mut r)?)
            .with_member_epoch(r.i32("member epoch")?)
            .with_topics(None);
        if let Some(count) = r.nullable_count(18, "topic count")? {
            let mut topics = Vec::with_capacity(count);
            for _ in 0..count {
                let mut topic =
                    OffsetFetchRequestTopics::default().with_topic_id(r.uuid("topic id")?);
                for _ in 0..r.count(4, "partition count")? {
                    topic.partition_indexes.push(r.i32("partition index")?);
                }
                r.skip_tags()?;
                topics.push(topic);
            }
            group.topics = Some(topics);
        }
        r.skip_tags()?;
        request.groups.push(group);
    }
    request.require_stable = r.i8("require stable")? != 0;
    r.skip_tags()?;
    Ok(request)
}

/// A whole frame: for clients.
pub fn encode_commit(correlation_id: i32, client_id: &str, request: &OffsetCommitRequest) -> Bytes {
    let mut w = Writer::frame(256, true);
    w.request_header(COMMIT_KEY, VERSION_BY_ID, correlation_id, client_id);
    w.string(request.group_id.as_bytes());
    w.i32(request.generation_id_or_member_epoch);
    w.string(request.member_id.as_bytes());
    put_text(&mut w, request.group_instance_id.as_ref());
    w.count(request.topics.len());
    for topic in &request.topics {
        w.uuid(topic.topic_id);
        w.count(topic.partitions.len());
        for partition in &topic.partitions {
            w.i32(partition.partition_index);
            w.i64(partition.committed_offset);
            w.i32(partition.committed_leader_epoch);
            put_text(&mut w, partition.committed_metadata.as_ref());
            w.no_tags();
        }
        w.no_tags();
    }
    w.no_tags();
    w.finish_frame(0);
    Bytes::from(w.buf)
}

/// A whole frame: for clients.
pub fn encode_fetch(correlation_id: i32, client_id: &str, request: &OffsetFetchRequest) -> Bytes {
    let mut w = Writer::frame(256, true);
    w.request_header(FETCH_KEY, VERSION_BY_ID, correlation_id, client_id);
    w.count(request.groups.len());
    for group in &request.groups {
        w.string(group.group_id.as_bytes());
        put_text(&mut w, group.member_id.as_ref());
        w.i32(group.member_epoch);
        match &group.topics {
            None => w.null_count(),
            Some(topics) => {
                w.count(topics.len());
                for topic in topics {
                    w.uuid(topic.topic_id);
                    w.count(topic.partition_indexes.len());
                    topic.partition_indexes.iter().for_each(|p| w.i32(*p));
                    w.no_tags();
                }
            }
        }
        w.no_tags();
    }
    w.i8(i8::from(request.require_stable));
    w.no_tags();
    w.finish_frame(0);
    Bytes::from(w.buf)
}

fn put_text(w: &mut Writer, text: Option<&StrBytes>) {
    w.nullable_string(text.map(|t| t.as_bytes()));
}

fn text(r: &mut Reader<'_>) -> Result<StrBytes, DecodeError> {
    let bytes = r.string("string")?;
    StrBytes::from_utf8(bytes).or_else(|_| r.bad("string"))
}

fn nullable_text(r: &mut Reader<'_>) -> Result<Option<StrBytes>, DecodeError> {
    match r.nullable_string("string")? {
        None => Ok(None),
        Some(bytes) => StrBytes::from_utf8(bytes).map(Some).or_else(|_| r.bad("string")),
    }
}
