//! AlterPartitionReassignments (45), v0-v1, and ListPartitionReassignments (46), v0 (KIP-455). There is one broker: what
//! moves a partition to where it is succeeds at once, anything else has no broker to go to, and nothing
//! is ever under way.

use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::RequestContext;
use super::error_map::ApiError;
use crate::shard::Router;
use crate::wire::error_code;

pub fn list(_: ListPartitionReassignmentsRequest) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default().with_error_message(None)
}

pub fn alter(
    cx: &RequestContext,
    router: &Router,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let image = router.image();
    let mut rows = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let count = image.topic(&topic.name).map_or(0, |t| t.partitions.len());
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = partition.partition_index;
            let there = usize::try_from(index).is_ok_and(|i| i < count);
            let result = match (there, partition.replicas) {
                (false, _) => Err(ApiError::unknown_topic_or_partition()),
                (true, None) => Err(ApiError::new(
                    error_code::NO_REASSIGNMENT_IN_PROGRESS,
                    "No partition reassignment is in progress.",
                )),
                (true, Some(replicas)) => {
                    let ids: Vec<i32> = replicas.iter().map(|id| id.0).collect();
                    stays(cx, router, &ids)
                }
            };
            let row = ReassignablePartitionResponse::default().with_partition_index(index);
            partitions.push(match result {
                Ok(()) => row.with_error_message(None),
                Err(error) => row.with_error_code(error.code).with_error_message(error.text()),
            });
        }
        rows.push(
            ReassignableTopicResponse::default().with_name(topic.name).with_partitions(partitions),
        );
    }
    AlterPartitionReassignmentsResponse::default().with_error_message(None).with_responses(rows)
}

/// Whether these replicas are what a partition has already.
fn stays(cx: &RequestContext, router: &Router, replicas: &[i32]) -> Result<(), ApiError> {
    let wrong = |why: String| Err(ApiError::new(error_code::INVALID_REPLICA_ASSIGNMENT, why));
    let this = router.config().broker_id;
    let brokers: Vec<i32> =
        replicas.iter().map(|id| router.broker_of_node(cx.listener, *id)).collect();
    match brokers[..] {
        [] => wrong("The manual partition assignment includes an empty replica list.".to_string()),
        [broker] if broker == this => Ok(()),
        [broker] => wrong(format!(
            "The manual partition assignment includes broker {broker}, but no such broker is \
             registered."
        )),
        _ => wrong("There is one broker: a partition has one replica.".to_string()),
    }
}
