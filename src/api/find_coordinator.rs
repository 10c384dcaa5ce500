//! FindCoordinator (10), v0-v6: says that there is no coordinator. Groups and transactions are not
//! here yet, but librdkafka takes a broker without this API for one from before 0.8.2 and will not
//! compress with lz4 for it. COORDINATOR_NOT_AVAILABLE is the truth, and the one code that does not
//! disturb a consumer that names a group and only uses assign().

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use crate::wire::error_code;

const WHY: &str = "consumer groups and transactions are not supported by this broker yet";

pub fn handle(cx: &RequestContext, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let none = BrokerId(-1);
    let why = Some(StrBytes::from_static_str(WHY));
    if cx.api_version < 4 {
        return FindCoordinatorResponse::default()
            .with_error_code(error_code::COORDINATOR_NOT_AVAILABLE)
            .with_error_message(why.filter(|_| cx.api_version >= 1))
            .with_node_id(none)
            .with_port(-1);
    }
    // v4+ (KIP-699): one answer a key.
    let coordinators = request
        .coordinator_keys
        .into_iter()
        .map(|key| {
            Coordinator::default()
                .with_key(key)
                .with_node_id(none)
                .with_port(-1)
                .with_error_code(error_code::COORDINATOR_NOT_AVAILABLE)
                .with_error_message(why.clone())
        })
        .collect();
    FindCoordinatorResponse::default().with_coordinators(coordinators)
}
