//! DescribeQuorum (55), v0-v2 (KIP-595, KIP-836): the quorum of one that keeps the metadata log.

use kafka_protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use kafka_protocol::messages::{BrokerId, DescribeQuorumRequest, DescribeQuorumResponse};
use kafka_protocol::protocol::StrBytes;

use super::{RequestContext, error_map};
use crate::shard::Router;
use crate::wire::error_code;

const METADATA_TOPIC: &str = "__cluster_metadata";

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let version = cx.api_version;
    let response = DescribeQuorumResponse::default().with_error_message(None);
    let (epoch, end) = match router.metadata_log().await {
        Ok(log) => log,
        Err(error) => return response.with_error_code(error_map::partition_code(&error)),
    };
    let this = router.config().broker_id;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let name = topic.topic_name;
        let mut rows = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = partition.partition_index;
            let row = PartitionData::default().with_partition_index(index).with_error_message(None);
            if name.as_str() != METADATA_TOPIC || index != 0 {
                rows.push(row.with_error_code(error_code::UNKNOWN_TOPIC_OR_PARTITION));
                continue;
            }
            let mut voter =
                ReplicaState::default().with_replica_id(BrokerId(this)).with_log_end_offset(end);
            if version >= 1 {
                let now = router.now_ms();
                voter = voter.with_last_fetch_timestamp(now).with_last_caught_up_timestamp(now);
            }
            rows.push(
                row.with_leader_id(BrokerId(this))
                    .with_leader_epoch(epoch)
                    .with_high_watermark(end)
                    .with_current_voters(vec![voter]),
            );
        }
        topics.push(TopicData::default().with_topic_name(name).with_partitions(rows));
    }
    let nodes = match version >= 2 {
        true => node(cx, router, this),
        false => Vec::new(),
    };
    response.with_topics(topics).with_nodes(nodes)
}

/// The first port of this listener: there is no controller listener.
fn node(cx: &RequestContext, router: &Router, this: i32) -> Vec<Node> {
    let Some(address) = router.nodes(cx.listener).into_iter().next() else { return Vec::new() };
    let name = router.config().listeners.get(cx.listener).map(|l| l.name.clone());
    let listener = Listener::default()
        .with_name(StrBytes::from_string(name.unwrap_or_default()))
        .with_host(StrBytes::from_string(address.host))
        .with_port(address.port as u16);
    vec![Node::default().with_node_id(BrokerId(this)).with_listeners(vec![listener])]
}
