//! FindCoordinator (10), v0-v6: the node that holds a group, as the asking listener advertises it.
//! v4 asks for several keys at once (KIP-699). Transactions are not here yet: their coordinator is
//! COORDINATOR_NOT_AVAILABLE. Share groups are off, so their keys are INVALID_REQUEST, as in Kafka.

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use super::error_map::ApiError;
use crate::shard::Router;
use crate::shard::router::NodeAddress;
use crate::wire::error_code;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    if cx.api_version < 4 {
        let found = find(cx, router, request.key_type, &request.key).await;
        let (node, code, why) = parts(found);
        return FindCoordinatorResponse::default()
            .with_error_code(code)
            .with_error_message(why.filter(|_| cx.api_version >= 1))
            .with_node_id(BrokerId(node.node_id))
            .with_host(StrBytes::from_string(node.host))
            .with_port(node.port);
    }
    let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
    for key in request.coordinator_keys {
        let (node, code, why) = parts(find(cx, router, request.key_type, &key).await);
        let row = Coordinator::default()
            .with_key(key)
            .with_node_id(BrokerId(node.node_id))
            .with_host(StrBytes::from_string(node.host))
            .with_port(node.port)
            .with_error_code(code)
            .with_error_message(why);
        coordinators.push(row);
    }
    FindCoordinatorResponse::default().with_coordinators(coordinators)
}

fn parts(found: Result<NodeAddress, ApiError>) -> (NodeAddress, i16, Option<StrBytes>) {
    match found {
        Ok(node) => (node, error_code::NONE, None),
        Err(error) => {
            let none = NodeAddress { node_id: -1, host: String::new(), port: -1, rack: None };
            (none, error.code, error.text())
        }
    }
}

async fn find(
    cx: &RequestContext,
    router: &Router,
    key_type: i8,
    key: &str,
) -> Result<NodeAddress, ApiError> {
    let not_available =
        |why: &str| ApiError::new(error_code::COORDINATOR_NOT_AVAILABLE, why.to_string());
    match key_type {
        GROUP => router
            .find_group_coordinator(cx.listener, key)
            .await
            .ok_or_else(|| not_available("The coordinator is not available.")),
        TRANSACTION => Err(not_available("transactions are not supported by this broker yet")),
        _ => Err(ApiError::invalid_request("There are no coordinators of this type here.")),
    }
}
