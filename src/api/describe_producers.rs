//! DescribeProducers (61), v0 (KIP-664): the idempotent producers that a partition remembers.

use futures::stream::{self, StreamExt};
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};

use super::error_map::ApiError;
use super::{RequestContext, topic_name};
use crate::limits::REQUEST_PARTITIONS_IN_FLIGHT;
use crate::shard::Router;
use crate::shard::router::ProducerInfo;
use crate::types::TopicPartition;
use crate::wire::error_code;

pub async fn handle(
    _cx: &RequestContext,
    router: &Router,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let mut asks = Vec::new();
    for topic in &request.topics {
        for index in &topic.partition_indexes {
            asks.push(answer(router, topic.name.as_str(), *index));
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
            TopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(answers.by_ref().take(topic.partition_indexes.len()).collect())
        })
        .collect();
    DescribeProducersResponse::default().with_topics(topics)
}

async fn answer(router: &Router, name: &str, index: i32) -> PartitionResponse {
    let row = PartitionResponse::default().with_partition_index(index);
    match producers(router, name, index).await {
        Ok(producers) => row.with_active_producers(producers.into_iter().map(state).collect()),
        Err(error) => row.with_error_code(error.code).with_error_message(error.text()),
    }
}

async fn producers(router: &Router, name: &str, index: i32) -> Result<Vec<ProducerInfo>, ApiError> {
    topic_name::validate(name)
        .map_err(|text| ApiError::new(error_code::INVALID_TOPIC_EXCEPTION, text))?;
    let image = router.image();
    let topic = image.topic(name).ok_or_else(ApiError::unknown_topic_or_partition)?;
    if !(0..topic.partitions.len() as i32).contains(&index) {
        return Err(ApiError::unknown_topic_or_partition());
    }
    let tp = TopicPartition::new(topic.name.clone(), index);
    Ok(router.describe_producers(&tp).await?)
}

fn state(producer: ProducerInfo) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(producer.producer_id))
        .with_producer_epoch(i32::from(producer.epoch))
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_timestamp_ms)
        .with_coordinator_epoch(producer.coordinator_epoch)
        .with_current_txn_start_offset(producer.current_txn_start_offset)
}
