//! OffsetDelete (47), v0 (KIP-496): an administrator takes committed offsets of a group away.

use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse, TopicName};

use super::RequestContext;
use super::group_error::{ask_named, client, group_code, optional_code};
use crate::coordinator::group::input::DeleteOffsetsRequest;
use crate::coordinator::group::{Answer, Input};
use crate::shard::Router;
use crate::wire::error_code;

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let image = router.image();
    let (mut topics, mut rows) = (Vec::new(), Vec::new());
    for topic in request.topics {
        let partitions = topic.partitions.iter().map(|p| p.partition_index);
        match image.topic(&topic.name) {
            Some(_) => topics.push((topic.name.0.clone(), partitions.collect())),
            None => {
                let code = error_code::UNKNOWN_TOPIC_OR_PARTITION;
                rows.push(row(topic.name.clone(), partitions.map(|p| (p, code))));
            }
        }
    }
    let response = OffsetDeleteResponse::default();
    if topics.is_empty() && !rows.is_empty() {
        return response.with_topics(rows);
    }
    let (client, group_id) = (client(cx), request.group_id.0.clone());
    let request = DeleteOffsetsRequest { group_id: group_id.clone(), topics };
    let asked =
        ask_named(cx, router, &group_id, |from| Input::DeleteOffsets { from, client, request });
    match asked.await {
        Ok(Answer::DeleteOffsets(Ok(deleted))) => {
            for topic in deleted {
                let partitions = topic.partitions.into_iter();
                let partitions = partitions.map(|(p, error)| (p, optional_code(error)));
                rows.push(row(TopicName(topic.name), partitions));
            }
            response.with_topics(rows)
        }
        Ok(Answer::DeleteOffsets(Err(error))) => response.with_error_code(group_code(error)),
        Ok(other) => unreachable!("OffsetDelete was answered with {other:?}"),
        Err(code) => response.with_error_code(code),
    }
}

fn row(name: TopicName, partitions: impl Iterator<Item = (i32, i16)>) -> OffsetDeleteResponseTopic {
    let partition = |(index, code)| {
        OffsetDeleteResponsePartition::default().with_partition_index(index).with_error_code(code)
    };
    OffsetDeleteResponseTopic::default()
        .with_name(name)
        .with_partitions(partitions.map(partition).collect())
}
