//! SyncGroup (14), v0-v5: answered when the leader has given everybody's assignment. v5 names the protocol, to be
//! checked (KIP-559).

use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::RequestContext;
use super::group_error::{ask_named, client, optional_code};
use crate::coordinator::group::input::SyncRequest;
use crate::coordinator::group::{Answer, Input};
use crate::shard::Router;

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let (client, group_id) = (client(cx), request.group_id.0.clone());
    let request = SyncRequest {
        group_id: group_id.clone(),
        generation: request.generation_id,
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        protocol_type: request.protocol_type,
        protocol_name: request.protocol_name,
        assignments: request.assignments.into_iter().map(|a| (a.member_id, a.assignment)).collect(),
    };
    let asked =
        ask_named(cx, router, &group_id, |from| Input::Sync { from, client, request }).await;
    match asked {
        Ok(Answer::Sync(answer)) => SyncGroupResponse::default()
            .with_error_code(optional_code(answer.error))
            .with_protocol_type(answer.protocol_type.filter(|_| cx.api_version >= 5))
            .with_protocol_name(answer.protocol_name.filter(|_| cx.api_version >= 5))
            .with_assignment(answer.assignment),
        Ok(other) => unreachable!("SyncGroup was answered with {other:?}"),
        Err(code) => SyncGroupResponse::default().with_error_code(code),
    }
}
