//! DeleteRecords (21), v0-v2 (KIP-107): moves the log start offset up. Offset -1 means the high
//! watermark. Whether a topic's cleanup policy allows it is the partition's to say.
//! The timeout is not used: with one replica there is nobody to wait for.

use futures::stream::{self, StreamExt};
use kafka_protocol::messages::delete_records_request::DeleteRecordsPartition;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::RequestContext;
use super::error_map::partition_code;
use crate::controller::TopicImage;
use crate::limits::REQUEST_PARTITIONS_IN_FLIGHT;
use crate::shard::Router;
use crate::types::TopicPartition;
use crate::wire::error_code;

const HIGH_WATERMARK: i64 = -1;
const NO_LOW_WATERMARK: i64 = -1;

pub async fn handle(
    _cx: &RequestContext,
    router: &Router,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let image = router.image();
    let mut asks = Vec::new();
    for topic in &request.topics {
        let known = image.topic(&topic.name);
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
            DeleteRecordsTopicResult::default()
                .with_name(topic.name.clone())
                .with_partitions(answers.by_ref().take(topic.partitions.len()).collect())
        })
        .collect();
    DeleteRecordsResponse::default().with_topics(topics)
}

async fn answer(
    router: &Router,
    topic: Option<&TopicImage>,
    asked: &DeleteRecordsPartition,
) -> DeleteRecordsPartitionResult {
    let row = DeleteRecordsPartitionResult::default()
        .with_partition_index(asked.partition_index)
        .with_low_watermark(NO_LOW_WATERMARK);
    let known = topic.filter(|t| (0..t.partitions.len() as i32).contains(&asked.partition_index));
    let Some(topic) = known else {
        return row.with_error_code(error_code::UNKNOWN_TOPIC_OR_PARTITION);
    };
    if asked.offset < HIGH_WATERMARK {
        return row.with_error_code(error_code::OFFSET_OUT_OF_RANGE);
    }
    let tp = TopicPartition::new(topic.name.clone(), asked.partition_index);
    match router.delete_records(&tp, asked.offset).await {
        Ok(low_watermark) => row.with_low_watermark(low_watermark),
        Err(error) => row.with_error_code(partition_code(&error)),
    }
}
