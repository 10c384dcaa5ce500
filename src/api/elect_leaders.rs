//! ElectLeaders (43), v0-v2 (KIP-183, KIP-460). Every partition has one replica, which leads: no election is needed.
//! With no partitions named Kafka reports only those whose leader changed: none.

use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use crate::shard::Router;
use crate::wire::error_code;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

pub fn handle(
    cx: &RequestContext,
    router: &Router,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let known = cx.api_version < 1 || (PREFERRED..=UNCLEAN).contains(&request.election_type);
    if !known {
        return ElectLeadersResponse::default().with_error_code(error_code::INVALID_REQUEST);
    }
    let image = router.image();
    let mut results = Vec::new();
    for topic in request.topic_partitions.unwrap_or_default() {
        let found = image.topic(&topic.topic);
        let rows = topic
            .partitions
            .iter()
            .map(|index| {
                let row = PartitionResult::default().with_partition_id(*index);
                let there = found
                    .is_some_and(|t| usize::try_from(*index).is_ok_and(|i| i < t.partitions.len()));
                let (code, why) = match there {
                    true => (
                        error_code::ELECTION_NOT_NEEDED,
                        "Leader election not needed for topic partition.".to_string(),
                    ),
                    false => (
                        error_code::UNKNOWN_TOPIC_OR_PARTITION,
                        format!("No such partition as {}-{index}", topic.topic.as_str()),
                    ),
                };
                row.with_error_code(code).with_error_message(Some(StrBytes::from_string(why)))
            })
            .collect();
        results.push(
            ReplicaElectionResult::default().with_topic(topic.topic).with_partition_result(rows),
        );
    }
    ElectLeadersResponse::default().with_replica_election_results(results)
}
