//! UnregisterBroker (64), v0 (KIP-500): no broker but this one is ever registered, and the one that answers can't be taken
//! out of the cluster that it is. (Kafka would do it, and every partition would be without a leader.)

use kafka_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use super::RequestContext;
use super::error_map::ApiError;
use crate::shard::Router;
use crate::wire::error_code;

pub fn handle(
    cx: &RequestContext,
    router: &Router,
    request: &UnregisterBrokerRequest,
) -> UnregisterBrokerResponse {
    let (id, this) = (request.broker_id.0, router.config().broker_id);
    let error = match id == this || router.broker_of_node(cx.listener, id) == this {
        true => ApiError::invalid_request(format!("Broker {id} is the only one: it stays.")),
        false => ApiError::new(
            error_code::BROKER_ID_NOT_REGISTERED,
            format!("Broker ID {id} is not currently registered"),
        ),
    };
    UnregisterBrokerResponse::default().with_error_code(error.code).with_error_message(error.text())
}
