//! ListConfigResources (74), v0-v1: the resources that have, or can have, configs. v0 knew client metrics alone
//! (KIP-1000), v1 all kinds (KIP-1142); of groups and client metrics those that were configured.

use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use super::config_resource::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use crate::controller::ResourceType;
use crate::shard::Router;
use crate::wire::error_code;

const KINDS: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

pub fn handle(
    cx: &RequestContext,
    router: &Router,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let wanted: Vec<i8> = match (cx.api_version, request.resource_types) {
        (0, _) => vec![CLIENT_METRICS],
        (_, types) if types.is_empty() => KINDS.to_vec(),
        (_, types) => types,
    };
    if wanted.iter().any(|kind| !KINDS.contains(kind)) {
        return ListConfigResourcesResponse::default()
            .with_error_code(error_code::UNSUPPORTED_VERSION);
    }
    let image = router.image();
    let configured = |kind: ResourceType| {
        let mut names: Vec<String> =
            image.configs.keys().filter(|(k, _)| *k == kind).map(|(_, n)| n.clone()).collect();
        names.sort();
        names
    };
    let mut rows = Vec::new();
    for kind in KINDS.into_iter().filter(|kind| wanted.contains(kind)) {
        let names = match kind {
            TOPIC => image.topics.keys().map(|name| name.to_string()).collect(),
            BROKER | BROKER_LOGGER => {
                router.nodes(cx.listener).iter().map(|n| n.node_id.to_string()).collect()
            }
            CLIENT_METRICS => configured(ResourceType::ClientMetrics),
            _ => configured(ResourceType::Group),
        };
        rows.extend(names.into_iter().map(|name: String| {
            // Before v1 the kind is not said.
            let kind = if cx.api_version == 0 { CLIENT_METRICS } else { kind };
            ConfigResource::default()
                .with_resource_name(StrBytes::from_string(name))
                .with_resource_type(kind)
        }));
    }
    ListConfigResourcesResponse::default().with_config_resources(rows)
}
