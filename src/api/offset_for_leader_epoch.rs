//! OffsetForLeaderEpoch (23), v2-v4 (KIP-101, KIP-320): where an epoch ended, which tells a consumer
//! with an old epoch whether the log was truncated behind its back.

use futures::stream::{self, StreamExt};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::RequestContext;
use super::error_map::partition_code;
use crate::controller::TopicImage;
use crate::limits::REQUEST_PARTITIONS_IN_FLIGHT;
use crate::shard::Router;
use crate::types::TopicPartition;
use crate::wire::error_code;

pub async fn handle(
    _cx: &RequestContext,
    router: &Router,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let image = router.image();
    let mut asks = Vec::new();
    for topic in &request.topics {
        let known = image.topic(&topic.topic);
        for partition in &topic.partitions {
            asks.push(answer(router, known.map(|t| &**t), partition));
        }
    }
    let mut answers = stream::iter(asks)
        .buffered(REQUEST_PARTITIONS_IN_FLIGHT)
        .collect::<Vec<_>>()
        .await
        .into_iter();
    let topics = request
        .topics
        .iter()
        .map(|topic| {
            OffsetForLeaderTopicResult::default()
                .with_topic(topic.topic.clone())
                .with_partitions(answers.by_ref().take(topic.partitions.len()).collect())
        })
        .collect();
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}

async fn answer(
    router: &Router,
    topic: Option<&TopicImage>,
    asked: &OffsetForLeaderPartition,
) -> EpochEndOffset {
    let row = EpochEndOffset::default().with_partition(asked.partition);
    let known = topic.filter(|t| (0..t.partitions.len() as i32).contains(&asked.partition));
    let Some(topic) = known else {
        return row.with_error_code(error_code::UNKNOWN_TOPIC_OR_PARTITION);
    };
    let tp = TopicPartition::new(topic.name.clone(), asked.partition);
    match router.end_offset_for_epoch(&tp, asked.current_leader_epoch, asked.leader_epoch).await {
        Ok((epoch, end)) => row.with_leader_epoch(epoch).with_end_offset(end),
        Err(error) => row.with_error_code(partition_code(&error)),
    }
}
