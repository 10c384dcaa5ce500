//! AlterConfigs (33), v0-v2: the older form, which replaces all keys of a resource: what is not named
//! goes back to its default. Checks are those of IncrementalAlterConfigs.

use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::RequestContext;
use super::incremental_alter_configs::{Change, alter};
use crate::controller::{AlterConfig, AlterOp};
use crate::shard::Router;

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let changes = request
        .resources
        .iter()
        .map(|resource| Change {
            resource_type: resource.resource_type,
            name: resource.resource_name.as_str(),
            configs: Ok(resource
                .configs
                .iter()
                .map(|config| AlterConfig {
                    key: config.name.to_string(),
                    op: AlterOp::Set,
                    value: config.value.as_ref().map(|value| value.to_string()),
                })
                .collect()),
        })
        .collect();
    let results = alter(cx, router, changes, true, request.validate_only).await;
    let responses = request
        .resources
        .iter()
        .zip(results)
        .map(|(resource, result)| {
            let row = AlterConfigsResourceResponse::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            match result {
                Ok(()) => row.with_error_message(None),
                Err(error) => row.with_error_code(error.code).with_error_message(error.text()),
            }
        })
        .collect();
    AlterConfigsResponse::default().with_responses(responses)
}
