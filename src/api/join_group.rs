//! JoinGroup (11), v0-v9: answered when the rebalance is complete. v4: the member id handshake (KIP-394), v5 static
//! members (KIP-345), v8 reasons (KIP-800), v9 a leader that may skip the assignment (KIP-814).

use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use super::group_error::{ask_named, client, optional_code};
use crate::coordinator::group::answer::JoinAnswer;
use crate::coordinator::group::input::{JoinRequest, Protocol};
use crate::coordinator::group::{Answer, Input};
use crate::shard::Router;

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let version = cx.api_version;
    let (client, group_id, member_id) =
        (client(cx), request.group_id.0.clone(), request.member_id.clone());
    let request = JoinRequest {
        group_id: group_id.clone(),
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        protocol_type: request.protocol_type,
        protocols: request
            .protocols
            .into_iter()
            .map(|p| Protocol { name: p.name, metadata: p.metadata })
            .collect(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: match version {
            0 => request.session_timeout_ms,
            _ => request.rebalance_timeout_ms,
        },
        reason: request.reason,
        requires_known_member_id: version >= 4,
        supports_skip_assignment: version >= 9,
    };
    let asked =
        ask_named(cx, router, &group_id, |from| Input::Join { from, client, request }).await;
    match asked {
        Ok(Answer::Join(answer)) => response(version, answer),
        Ok(other) => unreachable!("JoinGroup was answered with {other:?}"),
        Err(code) => {
            response(version, JoinAnswer { generation: -1, member_id, ..JoinAnswer::default() })
                .with_error_code(code)
        }
    }
}

fn response(version: i16, answer: JoinAnswer) -> JoinGroupResponse {
    let members = answer
        .members
        .into_iter()
        .map(|m| {
            JoinGroupResponseMember::default()
                .with_member_id(m.member_id)
                .with_group_instance_id(m.instance_id.filter(|_| version >= 5))
                .with_metadata(m.metadata)
        })
        .collect();
    // Null since v7.
    let name = match answer.protocol_name {
        None if version < 7 => Some(StrBytes::default()),
        name => name,
    };
    JoinGroupResponse::default()
        .with_error_code(optional_code(answer.error))
        .with_generation_id(answer.generation)
        .with_protocol_type(answer.protocol_type.filter(|_| version >= 7))
        .with_protocol_name(name)
        .with_leader(answer.leader)
        .with_skip_assignment(answer.skip_assignment && version >= 9)
        .with_member_id(answer.member_id)
        .with_members(members)
}
