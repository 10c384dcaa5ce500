//! ConsumerGroupDescribe (69), v0-v1 (KIP-848): consumer groups with their members, what each has and what it is to
//! have. v1 adds the protocol that a member speaks (KIP-1099).

use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, GroupId, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::group_error::{ask_named, optional_code};
use super::{RequestContext, authorized_operations};
use crate::coordinator::group::answer::{
    ConsumerDescription, ConsumerMemberDescription, NamedTopicPartitions,
};
use crate::coordinator::group::{Answer, Input};
use crate::shard::Router;
use crate::wire::error_code;

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let operations = authorized_operations::group(request.include_authorized_operations);
    let mut rows = Vec::with_capacity(request.group_ids.len());
    for GroupId(group_id) in request.group_ids {
        let name = group_id.clone();
        let refused = |code| {
            DescribedGroup::default()
                .with_group_id(GroupId(name.clone()))
                .with_error_code(code)
                .with_authorized_operations(authorized_operations::NOT_ASKED)
        };
        if !router.config().groups.consumer.enabled {
            rows.push(refused(error_code::UNSUPPORTED_VERSION));
            continue;
        }
        let input = |from| Input::ConsumerDescribe { from, group_id };
        rows.push(match ask_named(cx, router, &name, input).await {
            Ok(Answer::ConsumerDescribe(description)) => {
                row(cx.api_version, name.clone(), description)
                    .with_authorized_operations(operations)
            }
            Ok(other) => unreachable!("ConsumerGroupDescribe was answered with {other:?}"),
            Err(code) => refused(code),
        });
    }
    ConsumerGroupDescribeResponse::default().with_groups(rows)
}

fn row(version: i16, group_id: StrBytes, d: ConsumerDescription) -> DescribedGroup {
    DescribedGroup::default()
        .with_error_code(optional_code(d.error))
        .with_error_message(d.message.map(StrBytes::from_string))
        .with_group_id(GroupId(group_id))
        .with_group_state(StrBytes::from_static_str(d.state))
        .with_group_epoch(d.group_epoch)
        .with_assignment_epoch(d.assignment_epoch)
        .with_assignor_name(d.assignor)
        .with_members(d.members.into_iter().map(|m| member(version, m)).collect())
}

fn member(version: i16, m: ConsumerMemberDescription) -> Member {
    Member::default()
        .with_member_id(m.member_id)
        .with_instance_id(m.instance_id)
        .with_rack_id(m.rack_id)
        .with_member_epoch(m.member_epoch)
        .with_client_id(m.client_id)
        .with_client_host(m.client_host)
        .with_subscribed_topic_names(m.subscribed_topic_names.into_iter().map(TopicName).collect())
        .with_subscribed_topic_regex(m.subscribed_topic_regex)
        .with_assignment(assignment(m.assignment))
        .with_target_assignment(assignment(m.target_assignment))
        .with_member_type(if version >= 1 { m.member_type } else { -1 })
}

fn assignment(topics: Vec<NamedTopicPartitions>) -> Assignment {
    let topic = |t: NamedTopicPartitions| {
        TopicPartitions::default()
            .with_topic_id(t.topic_id)
            .with_topic_name(TopicName(t.topic_name))
            .with_partitions(t.partitions)
    };
    Assignment::default().with_topic_partitions(topics.into_iter().map(topic).collect())
}
