//! What the three config APIs share: resource types and sources by Kafka's numbers, which broker a
//! resource name means, and the effective values from the image and the tables of `config`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::RequestContext;
use super::error_map::ApiError;
use crate::config::definitions::{self, ConfigSource, ConfigType, ConfigValue};
use crate::controller::{Image, ResourceType};
use crate::shard::Router;

pub const TOPIC: i8 = 2;
pub const BROKER: i8 = 4;
pub const BROKER_LOGGER: i8 = 8;
pub const CLIENT_METRICS: i8 = 16;
pub const GROUP: i8 = 32;

pub fn source_code(source: ConfigSource) -> i8 {
    match source {
        ConfigSource::DynamicTopic => 1,
        ConfigSource::DynamicBroker => 2,
        ConfigSource::DynamicDefaultBroker => 3,
        ConfigSource::StaticBroker => 4,
        ConfigSource::Default => 5,
        ConfigSource::DynamicClientMetrics => 7,
        ConfigSource::DynamicGroup => 8,
    }
}

pub fn type_code(kind: ConfigType) -> i8 {
    match kind {
        ConfigType::Boolean => 1,
        ConfigType::String => 2,
        ConfigType::Int => 3,
        ConfigType::Short => 4,
        ConfigType::Long => 5,
        ConfigType::Double => 6,
        ConfigType::List => 7,
        ConfigType::Class => 8,
        ConfigType::Password => 9,
    }
}

/// The name under which the controller keeps a broker's configs: its broker id, or "" for the default
/// of all brokers. Only this broker may be named, by either form of its node id.
pub fn broker_resource(
    cx: &RequestContext,
    router: &Router,
    name: &str,
) -> Result<String, ApiError> {
    if name.is_empty() {
        return Ok(String::new());
    }
    let Ok(node) = name.parse::<i32>() else {
        return Err(ApiError::invalid_request(format!(
            "A broker id is a whole number, not '{name}'."
        )));
    };
    let this = router.config().broker_id;
    if node != this && router.broker_of_node(cx.listener, node) != this {
        return Err(ApiError::invalid_request(format!(
            "Unexpected broker id {name}: this is broker {this}; an empty name means all brokers."
        )));
    }
    Ok(this.to_string())
}

pub fn dynamic_configs(image: &Image, name: &str) -> Arc<BTreeMap<String, String>> {
    image.configs.get(&(ResourceType::Broker, name.to_string())).cloned().unwrap_or_default()
}

/// All topic keys with their values, for a topic with these keys of its own.
pub fn effective_topic_configs(
    router: &Router,
    overrides: &BTreeMap<String, String>,
) -> Vec<ConfigValue> {
    let image = router.image();
    let config = router.config();
    let broker = dynamic_configs(&image, &config.broker_id.to_string());
    definitions::describe_topic(config, overrides, &broker, &dynamic_configs(&image, ""))
}

/// All keys of a group, whether it is there or not.
pub fn effective_group_configs(router: &Router, name: &str) -> Vec<ConfigValue> {
    let image = router.image();
    let config = router.config();
    let broker = dynamic_configs(&image, &config.broker_id.to_string());
    let own = image.config_map(ResourceType::Group, name);
    definitions::describe_group(config, &own, &broker, &dynamic_configs(&image, ""))
}

/// The keys that were set of a client metrics subscription.
pub fn client_metrics_configs(router: &Router, name: &str) -> Vec<ConfigValue> {
    let own = router.image().config_map(ResourceType::ClientMetrics, name);
    definitions::describe_client_metrics(&own)
}

/// All broker keys of this broker.
pub fn effective_broker_configs(router: &Router) -> Vec<ConfigValue> {
    let image = router.image();
    let config = router.config();
    let broker = dynamic_configs(&image, &config.broker_id.to_string());
    definitions::describe_broker(config, &broker, &dynamic_configs(&image, ""))
}

/// The cluster-wide dynamic defaults: only the keys that were set.
pub fn dynamic_default_configs(router: &Router) -> Vec<ConfigValue> {
    let defaults = dynamic_configs(&router.image(), "");
    let mut rows = definitions::describe_broker(router.config(), &BTreeMap::new(), &defaults);
    rows.retain(|row| defaults.contains_key(&row.name));
    for row in &mut rows {
        row.synonyms.retain(|(_, _, source)| *source == ConfigSource::DynamicDefaultBroker);
    }
    rows
}
