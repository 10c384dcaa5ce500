//! LeaveGroup (13), v0-v5. v3 and later name several members, by member id or instance id (KIP-345), v5 with a reason
//! (KIP-800).

use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::RequestContext;
use super::group_error::{ask_named, client, group_code, optional_code};
use crate::coordinator::group::input::{LeaveRequest, LeavingMember};
use crate::coordinator::group::{Answer, Input};
use crate::shard::Router;

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let one = cx.api_version < 3;
    let (client, group_id) = (client(cx), request.group_id.0.clone());
    let members = match one {
        true => vec![LeavingMember { member_id: request.member_id, ..LeavingMember::default() }],
        false => request
            .members
            .into_iter()
            .map(|m| LeavingMember {
                member_id: m.member_id,
                instance_id: m.group_instance_id,
                reason: m.reason,
            })
            .collect(),
    };
    let request = LeaveRequest { group_id: group_id.clone(), members };
    let asked =
        ask_named(cx, router, &group_id, |from| Input::Leave { from, client, request }).await;
    let response = LeaveGroupResponse::default();
    match asked {
        // What became of the one member is what became of the request.
        Ok(Answer::Leave(Ok(members))) if one => {
            response.with_error_code(optional_code(members.first().and_then(|m| m.error)))
        }
        Ok(Answer::Leave(Ok(members))) => {
            let row = |m: crate::coordinator::group::answer::LeftMember| {
                MemberResponse::default()
                    .with_member_id(m.member_id)
                    .with_group_instance_id(m.instance_id)
                    .with_error_code(optional_code(m.error))
            };
            response.with_members(members.into_iter().map(row).collect())
        }
        Ok(Answer::Leave(Err(error))) => response.with_error_code(group_code(error)),
        Ok(other) => unreachable!("LeaveGroup was answered with {other:?}"),
        Err(code) => response.with_error_code(code),
    }
}
