//! ConsumerGroupHeartbeat (68), v0-v1 (KIP-848): the one request by which a member of a consumer group joins, stays,
//! learns its assignment and leaves. v1: regular expressions, and member ids that clients make (KIP-1082).

use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use super::group_error::{ask_named, client, optional_code};
use crate::coordinator::group::input::{self, ConsumerHeartbeatRequest};
use crate::coordinator::group::{Answer, Input};
use crate::shard::Router;
use crate::wire::error_code;

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let response = ConsumerGroupHeartbeatResponse::default();
    if !router.config().groups.consumer.enabled {
        return response.with_error_code(error_code::UNSUPPORTED_VERSION);
    }
    let (client, group_id) = (client(cx), request.group_id.0.clone());
    let names = request.subscribed_topic_names;
    let owned = request.topic_partitions.map(|topics| {
        let topic =
            |t: kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions| {
                input::TopicPartitions { topic_id: t.topic_id, partitions: t.partitions }
            };
        topics.into_iter().map(topic).collect()
    });
    let request = ConsumerHeartbeatRequest {
        group_id: group_id.clone(),
        member_id: request.member_id,
        member_epoch: request.member_epoch,
        instance_id: request.instance_id,
        rack_id: request.rack_id,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        subscribed_topic_names: names.map(|names| names.into_iter().map(|n| n.0).collect()),
        subscribed_topic_regex: request.subscribed_topic_regex,
        server_assignor: request.server_assignor,
        owned,
        client_makes_member_id: cx.api_version >= 1,
    };
    let input = |from| Input::ConsumerHeartbeat { from, client, request };
    match ask_named(cx, router, &group_id, input).await {
        Ok(Answer::ConsumerHeartbeat(answer)) => {
            let assignment = answer.assignment.map(|topics| {
                let topic = |t: input::TopicPartitions| {
                    TopicPartitions::default()
                        .with_topic_id(t.topic_id)
                        .with_partitions(t.partitions)
                };
                Assignment::default().with_topic_partitions(topics.into_iter().map(topic).collect())
            });
            response
                .with_error_code(optional_code(answer.error))
                .with_error_message(answer.message.map(StrBytes::from_string))
                .with_member_id(answer.member_id)
                .with_member_epoch(answer.member_epoch)
                .with_heartbeat_interval_ms(answer.heartbeat_interval_ms)
                .with_assignment(assignment)
        }
        Ok(other) => unreachable!("ConsumerGroupHeartbeat was answered with {other:?}"),
        // Kafka's word here for what is INVALID_GROUP_ID elsewhere.
        Err(error_code::INVALID_GROUP_ID) => response
            .with_error_code(error_code::INVALID_REQUEST)
            .with_error_message(Some(StrBytes::from_static_str("GroupId can't be empty."))),
        Err(code) => response.with_error_code(code),
    }
}
