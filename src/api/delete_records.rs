//! DeleteRecords (21), v0-v2 (KIP-107): moves the log start offset up. Offset -1 means the high
//! watermark. Whether a topic's cleanup policy allows it is the partition's to say.
//! The timeout is not used: with one replica there is nobody to wait for.

use kafka_protocol::messages::delete_records_request::DeleteRecordsPartition;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::error_map::partition_code;
use super::{RequestContext, fan_out};
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
    let topics = fan_out::by_topic(
        &request.topics,
        |topic| &topic.partitions,
        |topic, partition| answer(router, &topic.name, partition),
        |topic, partitions| {
            DeleteRecordsTopicResult::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions)
        },
    )
    .await;
    DeleteRecordsResponse::default().with_topics(topics)
}

async fn answer(
    router: &Router,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> DeleteRecordsPartitionResult {
    let row = DeleteRecordsPartitionResult::default()
        .with_partition_index(asked.partition_index)
        .with_low_watermark(NO_LOW_WATERMARK);
    if asked.offset < HIGH_WATERMARK {
        return row.with_error_code(error_code::OFFSET_OUT_OF_RANGE);
    }
    let tp = TopicPartition::new(topic, asked.partition_index);
    match router.delete_records(&tp, asked.offset).await {
        Ok(low_watermark) => row.with_low_watermark(low_watermark),
        Err(error) => row.with_error_code(partition_code(&error)),
    }
}
