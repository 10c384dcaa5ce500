//! OffsetForLeaderEpoch (23), v2-v4 (KIP-101, KIP-320): where an epoch ended, which tells a consumer
//! with an old epoch whether the log was truncated behind its back.

use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::error_map::partition_code;
use super::{RequestContext, fan_out};
use crate::shard::Router;
use crate::types::TopicPartition;

pub async fn handle(
    _cx: &RequestContext,
    router: &Router,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = fan_out::by_topic(
        &request.topics,
        |topic| &topic.partitions,
        |topic, partition| answer(router, &topic.topic, partition),
        |topic, partitions| {
            OffsetForLeaderTopicResult::default()
                .with_topic(topic.topic.clone())
                .with_partitions(partitions)
        },
    )
    .await;
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}

async fn answer(router: &Router, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let row = EpochEndOffset::default().with_partition(asked.partition);
    let tp = TopicPartition::new(topic, asked.partition);
    match router.end_offset_for_epoch(&tp, asked.current_leader_epoch, asked.leader_epoch).await {
        Ok((epoch, end)) => row.with_leader_epoch(epoch).with_end_offset(end),
        Err(error) => row.with_error_code(partition_code(&error)),
    }
}
