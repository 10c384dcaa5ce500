//! DescribeProducers (61), v0 (KIP-664): the idempotent producers that a partition remembers.

use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};

use super::error_map::ApiError;
use super::{RequestContext, fan_out, topic_name};
use crate::shard::Router;
use crate::shard::router::ProducerInfo;
use crate::types::TopicPartition;
use crate::wire::error_code;

pub async fn handle(
    _cx: &RequestContext,
    router: &Router,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = fan_out::by_topic(
        &request.topics,
        |topic| &topic.partition_indexes,
        |topic, index| answer(router, &topic.name, *index),
        |topic, partitions| {
            TopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions)
        },
    )
    .await;
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
    let tp = TopicPartition::new(name, index);
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
