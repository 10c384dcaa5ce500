//! Heartbeat (12), v0-v4: a classic member is alive; REBALANCE_IN_PROGRESS tells it to join again.

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::RequestContext;
use super::group_error::{ask_named, client, group_code};
use crate::coordinator::group::input::HeartbeatRequest as Heartbeat;
use crate::coordinator::group::{Answer, Input};
use crate::shard::Router;
use crate::wire::error_code;

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let (client, group_id) = (client(cx), request.group_id.0.clone());
    let request = Heartbeat {
        group_id: group_id.clone(),
        generation: request.generation_id,
        member_id: request.member_id,
        instance_id: request.group_instance_id,
    };
    let asked =
        ask_named(cx, router, &group_id, |from| Input::Heartbeat { from, client, request }).await;
    let code = match asked {
        Ok(Answer::Heartbeat(result)) => result.map_or_else(group_code, |()| error_code::NONE),
        Ok(other) => unreachable!("Heartbeat was answered with {other:?}"),
        Err(code) => code,
    };
    HeartbeatResponse::default().with_error_code(code)
}
