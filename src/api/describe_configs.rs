//! DescribeConfigs (32), v1-v4: every key with its value, where it comes from, and what it would fall
//! back to. v3 added types and documentation (KIP-569).
//! A group need not exist to have configs. Not here: broker loggers (levels come from the environment).

use std::sync::Arc;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::config_resource::{
    BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC, broker_resource, client_metrics_configs,
    dynamic_default_configs, effective_broker_configs, effective_group_configs,
    effective_topic_configs, source_code, type_code,
};
use super::error_map::ApiError;
use super::{RequestContext, topic_name};
use crate::config::definitions::ConfigValue;
use crate::shard::Router;
use crate::wire::error_code;

pub fn handle(
    cx: &RequestContext,
    router: &Router,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let results = request
        .resources
        .iter()
        .map(|resource| {
            let row = DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            match values(cx, router, resource) {
                Ok(values) => row.with_error_message(None).with_configs(
                    values
                        .into_iter()
                        .filter(|value| is_wanted(resource, &value.name))
                        .map(|v| entry(v, request.include_synonyms, request.include_documentation))
                        .collect(),
                ),
                Err(error) => row.with_error_code(error.code).with_error_message(error.text()),
            }
        })
        .collect();
    DescribeConfigsResponse::default().with_results(results)
}

fn values(
    cx: &RequestContext,
    router: &Router,
    resource: &DescribeConfigsResource,
) -> Result<Vec<ConfigValue>, ApiError> {
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => {
            topic_name::validate(name)
                .map_err(|text| ApiError::new(error_code::INVALID_TOPIC_EXCEPTION, text))?;
            let image = router.image();
            if image.topic(name).is_none() {
                return Err(ApiError::unknown_topic_or_partition());
            }
            let overrides = image.topic_configs(name).map(Arc::clone).unwrap_or_default();
            Ok(effective_topic_configs(router, &overrides))
        }
        BROKER if broker_resource(cx, router, name)?.is_empty() => {
            Ok(dynamic_default_configs(router))
        }
        BROKER => Ok(effective_broker_configs(router)),
        BROKER_LOGGER => Err(ApiError::invalid_request("Broker loggers are not supported.")),
        CLIENT_METRICS | GROUP if name.is_empty() => {
            Err(ApiError::invalid_request("The resource name must not be empty."))
        }
        CLIENT_METRICS => Ok(client_metrics_configs(router, name)),
        GROUP => Ok(effective_group_configs(router, name)),
        other => Err(ApiError::invalid_request(format!("Unknown resource type {other}."))),
    }
}

/// Null and empty both mean all keys.
fn is_wanted(resource: &DescribeConfigsResource, name: &str) -> bool {
    match resource.configuration_keys.as_deref() {
        None | Some([]) => true,
        Some(keys) => keys.iter().any(|key| key.as_str() == name),
    }
}

fn entry(value: ConfigValue, synonyms: bool, documentation: bool) -> DescribeConfigsResourceResult {
    let synonym = |(name, value, source): (String, Option<String>, _)| {
        DescribeConfigsSynonym::default()
            .with_name(StrBytes::from_string(name))
            .with_value(value.map(StrBytes::from_string))
            .with_source(source_code(source))
    };
    let synonyms = match synonyms {
        true => value.synonyms.into_iter().map(synonym).collect(),
        false => Vec::new(),
    };
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_string(value.name))
        .with_value(value.value.map(StrBytes::from_string))
        .with_read_only(value.read_only)
        .with_config_source(source_code(value.source))
        .with_is_sensitive(value.sensitive)
        .with_synonyms(synonyms)
        .with_config_type(type_code(value.kind))
        .with_documentation(documentation.then(|| StrBytes::from_static_str(value.doc)))
}
