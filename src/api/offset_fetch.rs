//! OffsetFetch (9), v1-v10. v2 can ask for all of a group (KIP-88), v7 for stable offsets only (KIP-447), v8 for several
//! groups (KIP-709), v9 as a member of a consumer group (KIP-848), v10 names topics by id.

use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use super::group_error::{ask, group_code, optional_code};
use crate::coordinator::group::answer::{FetchedOffset, FetchedTopic};
use crate::coordinator::group::input::{FetchOffsetsRequest, FetchOffsetsTopic};
use crate::coordinator::group::{Answer, Input};
use crate::shard::Router;
use crate::types::TopicId;
use crate::wire::error_code;

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    match cx.api_version < 8 {
        true => one_group(cx, router, request).await,
        false => {
            let mut groups = Vec::with_capacity(request.groups.len());
            for group in request.groups {
                let asked = Asked {
                    group_id: group.group_id.0,
                    member_id: group.member_id,
                    member_epoch: group.member_epoch,
                    topics: group.topics.map(|topics| {
                        let topic = |t: kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics| {
                            (t.name.0, t.topic_id, t.partition_indexes)
                        };
                        topics.into_iter().map(topic).collect()
                    }),
                    require_stable: request.require_stable,
                };
                groups.push(group_row(cx, router, asked).await);
            }
            OffsetFetchResponse::default().with_groups(groups)
        }
    }
}

/// One group of a request: topics by name or by id.
struct Asked {
    group_id: StrBytes,
    member_id: Option<StrBytes>,
    member_epoch: i32,
    topics: Option<Vec<(StrBytes, TopicId, Vec<i32>)>>,
    require_stable: bool,
}

async fn one_group(
    cx: &RequestContext,
    router: &Router,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let topics = request.topics.map(|topics| {
        topics.into_iter().map(|t| (t.name.0, TopicId::nil(), t.partition_indexes)).collect()
    });
    let asked = Asked {
        group_id: request.group_id.0,
        member_id: None,
        member_epoch: -1,
        topics,
        require_stable: request.require_stable,
    };
    let named = asked.topics.clone().unwrap_or_default();
    match fetch(cx, router, asked).await {
        Ok(topics) => {
            let row = |topic: FetchedTopic| {
                OffsetFetchResponseTopic::default()
                    .with_name(TopicName(topic.name))
                    .with_partitions(topic.partitions.into_iter().map(old_partition).collect())
            };
            OffsetFetchResponse::default().with_topics(topics.into_iter().map(row).collect())
        }
        // v2 has a place for the group's error.
        Err(code) if cx.api_version >= 2 => OffsetFetchResponse::default().with_error_code(code),
        Err(code) => {
            let row = |(name, _, partitions): (StrBytes, TopicId, Vec<i32>)| {
                let none = |partition| old_partition(nothing(partition)).with_error_code(code);
                OffsetFetchResponseTopic::default()
                    .with_name(TopicName(name))
                    .with_partitions(partitions.into_iter().map(none).collect())
            };
            OffsetFetchResponse::default().with_topics(named.into_iter().map(row).collect())
        }
    }
}

async fn group_row(
    cx: &RequestContext,
    router: &Router,
    mut asked: Asked,
) -> OffsetFetchResponseGroup {
    let by_id = cx.api_version >= 10;
    let all = asked.topics.is_none();
    let image = router.image();
    let mut unknown = Vec::new();
    if let Some(topics) = asked.topics.as_mut().filter(|_| by_id) {
        topics.retain_mut(|(name, id, partitions)| match image.topic_by_id(id) {
            Some(topic) => {
                *name = StrBytes::from_string(topic.name.to_string());
                true
            }
            None => {
                unknown.push((*id, std::mem::take(partitions)));
                false
            }
        });
    }
    let row = OffsetFetchResponseGroup::default().with_group_id(GroupId(asked.group_id.clone()));
    let topics = match fetch(cx, router, asked).await {
        Ok(topics) => topics,
        Err(code) => return row.with_error_code(code),
    };
    let mut rows = Vec::with_capacity(topics.len() + unknown.len());
    for topic in topics {
        let partitions = topic.partitions.into_iter().map(partition).collect();
        let row = OffsetFetchResponseTopics::default().with_partitions(partitions);
        if !by_id {
            rows.push(row.with_name(TopicName(topic.name)));
            continue;
        }
        match image.topic(&topic.name) {
            Some(known) => rows.push(row.with_topic_id(known.id)),
            // What is gone has no id to be named by.
            None if all => {}
            None => rows.push(row.with_topic_id(topic.id)),
        }
    }
    for (id, partitions) in unknown {
        let none = |p| partition(nothing(p)).with_error_code(error_code::UNKNOWN_TOPIC_ID);
        let partitions = partitions.into_iter().map(none).collect();
        rows.push(
            OffsetFetchResponseTopics::default().with_topic_id(id).with_partitions(partitions),
        );
    }
    row.with_topics(rows)
}

async fn fetch(
    cx: &RequestContext,
    router: &Router,
    asked: Asked,
) -> Result<Vec<FetchedTopic>, i16> {
    let group_id = asked.group_id.clone();
    let request = FetchOffsetsRequest {
        group_id: asked.group_id,
        member_id: asked.member_id,
        member_epoch: asked.member_epoch,
        topics: asked.topics.map(|topics| {
            topics
                .into_iter()
                .map(|(name, id, partitions)| FetchOffsetsTopic { name, id, partitions })
                .collect()
        }),
        require_stable: asked.require_stable,
    };
    match ask(cx, router, &group_id, |from| Input::FetchOffsets { from, request }).await {
        Ok(Answer::FetchOffsets(result)) => result.map_err(group_code),
        Ok(other) => unreachable!("OffsetFetch was answered with {other:?}"),
        Err(code) => Err(code),
    }
}

fn nothing(partition: i32) -> FetchedOffset {
    let metadata = StrBytes::default();
    FetchedOffset { partition, offset: -1, leader_epoch: -1, metadata, error: None }
}

fn old_partition(p: FetchedOffset) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition::default()
        .with_partition_index(p.partition)
        .with_committed_offset(p.offset)
        .with_committed_leader_epoch(p.leader_epoch)
        .with_metadata(Some(p.metadata))
        .with_error_code(optional_code(p.error))
}

fn partition(p: FetchedOffset) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions::default()
        .with_partition_index(p.partition)
        .with_committed_offset(p.offset)
        .with_committed_leader_epoch(p.leader_epoch)
        .with_metadata(Some(p.metadata))
        .with_error_code(optional_code(p.error))
}
