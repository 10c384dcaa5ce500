//! DescribeGroups (15), v0-v6: classic groups with their members. v6 says GROUP_ID_NOT_FOUND (KIP-1043) where older
//! versions show a group that is not there as Dead.

use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};
use kafka_protocol::protocol::StrBytes;

use super::group_error::{ask, optional_code};
use super::{RequestContext, authorized_operations};
use crate::coordinator::group::answer::Description;
use crate::coordinator::group::{Answer, GroupError, Input};
use crate::shard::Router;

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let asked = cx.api_version >= 3 && request.include_authorized_operations;
    let operations = authorized_operations::group(asked);
    let mut rows = Vec::with_capacity(request.groups.len());
    for GroupId(group_id) in request.groups {
        let name = group_id.clone();
        let asked = ask(cx, router, &name, |from| Input::Describe { from, group_id }).await;
        rows.push(match asked {
            Ok(Answer::Describe(description)) => {
                row(cx.api_version, name, description).with_authorized_operations(operations)
            }
            Ok(other) => unreachable!("DescribeGroups was answered with {other:?}"),
            Err(code) => DescribedGroup::default()
                .with_group_id(GroupId(name))
                .with_error_code(code)
                .with_authorized_operations(authorized_operations::NOT_ASKED),
        });
    }
    DescribeGroupsResponse::default().with_groups(rows)
}

fn row(version: i16, group_id: StrBytes, d: Description) -> DescribedGroup {
    let row = DescribedGroup::default().with_group_id(GroupId(group_id));
    if version < 6 && d.error == Some(GroupError::GroupIdNotFound) {
        return row.with_group_state(StrBytes::from_static_str("Dead"));
    }
    let members = d
        .members
        .into_iter()
        .map(|m| {
            DescribedGroupMember::default()
                .with_member_id(m.member_id)
                .with_group_instance_id(m.instance_id.filter(|_| version >= 4))
                .with_client_id(m.client_id)
                .with_client_host(m.client_host)
                .with_member_metadata(m.metadata)
                .with_member_assignment(m.assignment)
        })
        .collect();
    row.with_error_code(optional_code(d.error))
        .with_error_message(d.message.map(StrBytes::from_string).filter(|_| version >= 6))
        .with_group_state(StrBytes::from_static_str(d.state))
        .with_protocol_type(d.protocol_type)
        .with_protocol_data(d.protocol)
        .with_members(members)
}
