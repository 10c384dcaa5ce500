//! DescribeCluster (60), v0-v2: nodes, controller and cluster id. v1 can ask a controller for its
//! quorum (KIP-919), which a broker refuses; v2 can include fenced brokers (KIP-1073): this broker
//! knows none, since one that answers is not fenced.

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use super::error_map::ApiError;
use super::{RequestContext, authorized_operations};
use crate::shard::Router;
use crate::wire::error_code;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub fn handle(
    cx: &RequestContext,
    router: &Router,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    if let Err(error) = check_endpoint_type(request.endpoint_type) {
        return DescribeClusterResponse::default()
            .with_error_code(error.code)
            .with_error_message(error.text());
    }
    let brokers = router
        .nodes(cx.listener)
        .into_iter()
        .map(|node| {
            DescribeClusterBroker::default()
                .with_broker_id(BrokerId(node.node_id))
                .with_host(StrBytes::from_string(node.host))
                .with_port(node.port)
                .with_rack(node.rack.map(StrBytes::from_string))
        })
        .collect();
    let operations = authorized_operations::cluster(request.include_cluster_authorized_operations);
    DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_string(router.image().cluster_id.clone()))
        .with_controller_id(BrokerId(router.controller_node(cx.listener)))
        .with_brokers(brokers)
        .with_cluster_authorized_operations(operations)
}

fn check_endpoint_type(endpoint_type: i8) -> Result<(), ApiError> {
    match endpoint_type {
        BROKERS => Ok(()),
        CONTROLLERS => Err(ApiError::new(
            error_code::MISMATCHED_ENDPOINT_TYPE,
            "this listener is a broker's, the request wants a controller's",
        )),
        other => Err(ApiError::new(
            error_code::UNSUPPORTED_ENDPOINT_TYPE,
            format!("unknown endpoint type {other}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn endpoint_types() {
        let code = |t| super::check_endpoint_type(t).err().map(|e| e.code);
        assert_eq!((code(1), code(2), code(0), code(7)), (None, Some(114), Some(115), Some(115)));
    }
}
