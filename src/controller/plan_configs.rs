//! Changes of dynamic configs: KIP-339's four operations, or the older replace-all. A resource's changes are all
//! taken or none, and the whole resulting map must be valid. Pure.

use std::collections::BTreeMap;

use super::image::ResourceType;
use super::plan::Context;
use super::records::Record;
use super::{AlterConfig, AlterOp, ControllerError};
use crate::config::TopicConfig;
use crate::config::definitions::value::list;
use crate::config::definitions::{self, ConfigType};

pub fn alter(
    cx: &Context<'_>,
    kind: ResourceType,
    name: &str,
    changes: &[AlterConfig],
    replace: bool,
) -> Result<Vec<Record>, ControllerError> {
    match kind {
        ResourceType::Topic if cx.image.topic(name).is_none() => {
            return Err(ControllerError::UnknownTopicOrPartition);
        }
        ResourceType::Broker if !name.is_empty() => {
            let known = name.parse().is_ok_and(|id: i32| cx.image.brokers.contains_key(&id));
            if !known {
                return Err(ControllerError::InvalidRequest(format!("No broker with id {name}.")));
            }
        }
        _ => {}
    }
    let old = cx.image.config_map(kind, name);
    let mut new = if replace { BTreeMap::new() } else { old.clone() };
    for change in changes {
        apply(kind, &mut new, change, replace)?;
    }
    validate(cx, kind, &old, &new)?;
    let changed: BTreeMap<&String, Option<&String>> = old
        .keys()
        .chain(new.keys())
        .map(|key| (key, new.get(key)))
        .filter(|(key, value)| old.get(*key) != *value)
        .collect();
    Ok(changed
        .into_iter()
        .map(|(key, value)| Record::Config {
            resource: kind,
            name: name.to_string(),
            key: key.clone(),
            value: value.cloned(),
        })
        .collect())
}

fn apply(
    kind: ResourceType,
    keys: &mut BTreeMap<String, String>,
    change: &AlterConfig,
    replace: bool,
) -> Result<(), ControllerError> {
    let AlterConfig { key, op, value } = change;
    let invalid = |why: String| Err(ControllerError::InvalidConfig(why));
    let op = if replace { AlterOp::Set } else { *op };
    if op == AlterOp::Delete {
        keys.remove(key);
        return Ok(());
    }
    let Some(value) = value else {
        return invalid(format!("Null value not supported for {key}"));
    };
    if op == AlterOp::Set {
        keys.insert(key.clone(), value.clone());
        return Ok(());
    }
    let def = match kind {
        ResourceType::Topic => definitions::topic_key(key),
        ResourceType::Broker => definitions::broker_key(key),
        ResourceType::Group => definitions::group_key(key),
        ResourceType::ClientMetrics => definitions::client_metrics_key(key),
    };
    let verb = if op == AlterOp::Append { "APPEND" } else { "SUBTRACT" };
    let Some(def) = def.filter(|d| d.kind == ConfigType::List) else {
        return invalid(format!("Can't {verb} to key {key} because its type is not LIST."));
    };
    // What is not set starts from Kafka's default, not from nothing.
    let old = keys.get(key).map_or(def.default.unwrap_or(""), String::as_str);
    let mut items: Vec<&str> = list(old).collect();
    match op {
        AlterOp::Append => {
            for item in list(value) {
                if !items.contains(&item) {
                    items.push(item);
                }
            }
        }
        _ => items.retain(|item| !list(value).any(|gone| gone == *item)),
    }
    let joined = items.join(",");
    keys.insert(key.clone(), joined);
    Ok(())
}

/// Keys that were there before are not refused again: what changes must be valid, and a topic's whole.
fn validate(
    cx: &Context<'_>,
    kind: ResourceType,
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> Result<(), ControllerError> {
    match kind {
        ResourceType::Topic => TopicConfig::default().with(new).map(|_| ()),
        ResourceType::Broker => new
            .iter()
            .filter(|(key, value)| old.get(*key) != Some(value))
            .try_for_each(|(key, value)| definitions::validate_dynamic_broker_config(key, value)),
        ResourceType::Group => new
            .iter()
            .try_for_each(|(key, value)| definitions::validate_group_config(key, value))
            .and_then(|()| cx.config.groups.check_group(new)),
        ResourceType::ClientMetrics => new
            .iter()
            .try_for_each(|(key, value)| definitions::validate_client_metrics_config(key, value)),
    }
    .map_err(ControllerError::InvalidConfig)
}
