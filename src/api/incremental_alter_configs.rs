//! IncrementalAlterConfigs (44), v0-v1 (KIP-339): sets, deletes, appends to and subtracts from single
//! keys, and leaves the others alone. Each resource succeeds or fails as a whole, by itself.
//! Also the checks that the older AlterConfigs shares.

use std::collections::{HashMap, HashSet};

use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::RequestContext;
use super::config_resource::{
    BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC, broker_resource,
};
use super::error_map::ApiError;
use crate::controller::{AlterConfig, AlterOp, Command, ControllerError, Reply, ResourceType};
use crate::shard::Router;

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let changes = request
        .resources
        .iter()
        .map(|resource| Change {
            resource_type: resource.resource_type,
            name: resource.resource_name.as_str(),
            configs: configs(resource),
        })
        .collect();
    let results = alter(cx, router, changes, false, request.validate_only).await;
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
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

fn configs(resource: &AlterConfigsResource) -> Result<Vec<AlterConfig>, ApiError> {
    let one = |config: &AlterableConfig| {
        let op = match config.config_operation {
            0 => AlterOp::Set,
            1 => AlterOp::Delete,
            2 => AlterOp::Append,
            3 => AlterOp::Subtract,
            other => {
                return Err(ApiError::invalid_request(format!("Unknown operation type {other}.")));
            }
        };
        Ok(AlterConfig {
            key: config.name.to_string(),
            op,
            value: config.value.as_ref().map(|value| value.to_string()),
        })
    };
    resource.configs.iter().map(one).collect()
}

/// What a request wants of one resource.
pub(super) struct Change<'a> {
    pub resource_type: i8,
    pub name: &'a str,
    pub configs: Result<Vec<AlterConfig>, ApiError>,
}

/// Checks the changes, hands the good ones to the controller, and returns a result for each, in order.
pub(super) async fn alter(
    cx: &RequestContext,
    router: &Router,
    changes: Vec<Change<'_>>,
    replace: bool,
    validate_only: bool,
) -> Vec<Result<(), ApiError>> {
    let mut times: HashMap<(i8, String), usize> = HashMap::new();
    for change in &changes {
        *times.entry((change.resource_type, change.name.to_string())).or_default() += 1;
    }
    let mut results = Vec::with_capacity(changes.len());
    let mut resources = Vec::new();
    let mut places = Vec::new();
    for (place, change) in changes.into_iter().enumerate() {
        let twice = times[&(change.resource_type, change.name.to_string())] > 1;
        let checked = match twice {
            true => Err(ApiError::invalid_request("Each resource must appear at most once.")),
            false => check(cx, router, change),
        };
        results.push(checked.map(|resource| {
            places.push((place, resource.0));
            resources.push(resource);
        }));
    }
    if resources.is_empty() {
        return results;
    }
    let command = Command::AlterConfigs { resources, replace, validate_only };
    match router.controller(command).await {
        Ok(Reply::AlterConfigs(replies)) => {
            for ((place, kind), reply) in places.into_iter().zip(replies) {
                results[place] = reply.map_err(|error| refusal(kind, error));
            }
        }
        Ok(other) => unreachable!("AlterConfigs was answered with {other:?}"),
        Err(error) => {
            for (place, _) in places {
                results[place] = Err(ApiError::from(&error));
            }
        }
    }
    results
}

fn check(
    cx: &RequestContext,
    router: &Router,
    change: Change<'_>,
) -> Result<(ResourceType, String, Vec<AlterConfig>), ApiError> {
    let (kind, name) = match change.resource_type {
        TOPIC => (ResourceType::Topic, change.name.to_string()),
        BROKER => (ResourceType::Broker, broker_resource(cx, router, change.name)?),
        CLIENT_METRICS | GROUP if change.name.is_empty() => {
            return Err(ApiError::invalid_request("The resource name must not be empty."));
        }
        CLIENT_METRICS => (ResourceType::ClientMetrics, change.name.to_string()),
        GROUP => (ResourceType::Group, change.name.to_string()),
        BROKER_LOGGER => {
            return Err(ApiError::invalid_request("Broker loggers are not supported."));
        }
        other => return Err(ApiError::invalid_request(format!("Unknown resource type {other}."))),
    };
    let configs = change.configs?;
    check_keys(&configs)?;
    Ok((kind, name, configs))
}

/// Kafka says INVALID_REQUEST for a broker config that does not validate, where it says INVALID_CONFIG
/// for a topic's (KAFKA-13609).
fn refusal(kind: ResourceType, error: ControllerError) -> ApiError {
    match (kind, error) {
        (ResourceType::Broker, ControllerError::InvalidConfig(text)) => {
            ApiError::invalid_request(text)
        }
        (_, error) => error.into(),
    }
}

fn check_keys(configs: &[AlterConfig]) -> Result<(), ApiError> {
    let mut seen = HashSet::new();
    if let Some(config) = configs.iter().find(|config| !seen.insert(config.key.as_str())) {
        return Err(ApiError::invalid_request(format!(
            "The config key '{}' is given more than once.",
            config.key
        )));
    }
    let nulls: Vec<&str> = configs
        .iter()
        .filter(|config| config.op != AlterOp::Delete && config.value.is_none())
        .map(|config| config.key.as_str())
        .collect();
    match nulls.is_empty() {
        true => Ok(()),
        false => Err(ApiError::invalid_request(format!(
            "A null value is not allowed for: {}",
            nulls.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(key: &str, op: AlterOp, value: Option<&str>) -> AlterConfig {
        AlterConfig { key: key.into(), op, value: value.map(str::to_string) }
    }

    #[test]
    fn a_wrong_value_has_another_code_on_a_broker() {
        let code = |kind| refusal(kind, ControllerError::InvalidConfig("no".into())).code;
        assert_eq!((code(ResourceType::Broker), code(ResourceType::Topic)), (42, 40));
    }

    #[test]
    fn keys_once_and_values_present() {
        let ok = [config("a", AlterOp::Set, Some("1")), config("b", AlterOp::Delete, None)];
        assert_eq!(check_keys(&ok), Ok(()));
        let twice = [config("a", AlterOp::Set, Some("1")), config("a", AlterOp::Delete, None)];
        assert_eq!(check_keys(&twice).unwrap_err().code, 42);
        let null = [config("a", AlterOp::Append, None), config("b", AlterOp::Set, None)];
        let error = check_keys(&null).unwrap_err();
        assert!(error.code == 42 && error.message.ends_with("a, b"), "{error:?}");
    }
}
