//! What DescribeConfigs shows: the effective value of every key, where it comes from, and the other
//! places that have a say, as Kafka lists them: by source, most specific first, and within one source by the
//! order of the synonyms. One difference: a topic key whose default comes from a key of another unit
//! (`log.retention.hours`) lists that key; Kafka leaves the list empty and calls the value a default.

use std::collections::BTreeMap;

use super::{
    CLIENT_METRICS_KEYS, ConfigDef, ConfigSource, ConfigType, ConfigValue, Effect, GROUP_KEYS,
    TOPIC_KEYS, all_broker_keys, broker_key, shard_key, value,
};
use crate::config::BrokerConfig;
use crate::config::topic::in_topic_units;

type Keys = BTreeMap<String, String>;
type Synonyms = Vec<(String, Option<String>, ConfigSource)>;

struct Broker<'a> {
    fixed: &'a BrokerConfig,
    dynamic: &'a Keys,
    dynamic_default: &'a Keys,
}

impl Broker<'_> {
    fn synonyms(&self, names: &[&str]) -> Synonyms {
        let levels = [
            (self.dynamic, ConfigSource::DynamicBroker),
            (self.dynamic_default, ConfigSource::DynamicDefaultBroker),
            (&self.fixed.explicit, ConfigSource::StaticBroker),
        ];
        let mut found = Synonyms::new();
        for (keys, source) in levels {
            for name in names {
                if let (Some(text), Some(def)) = (keys.get(*name), broker_key(name)) {
                    found.push((name.to_string(), visible(def, text), source));
                }
            }
        }
        for name in names {
            if let Some((def, text)) = broker_key(name).and_then(|d| Some((d, d.default?))) {
                found.push((name.to_string(), visible(def, text), ConfigSource::Default));
            }
        }
        found
    }
}

fn visible(def: &ConfigDef, text: &str) -> Option<String> {
    (def.kind != ConfigType::Password).then(|| value::shown(def.kind, text))
}

/// Own keys of one kind of resource, over the broker's.
struct Layered<'a> {
    broker: Broker<'a>,
    own: &'a Keys,
    own_source: ConfigSource,
}

impl Layered<'_> {
    /// `inherited`: what the broker's synonym of this name and text makes the value.
    fn row(&self, def: &ConfigDef, inherited: impl Fn(&str, &str) -> String) -> ConfigValue {
        let mut synonyms = self.broker.synonyms(def.broker_synonyms);
        let inherited =
            synonyms.iter().find_map(|(name, text, _)| Some(inherited(name, text.as_deref()?)));
        let own = self.own.get(def.name).map(|text| value::shown(def.kind, text));
        if let Some(text) = &own {
            let row = (def.name.to_string(), Some(text.clone()), self.own_source);
            synonyms.insert(0, row);
        }
        ConfigValue {
            name: def.name.to_string(),
            value: own.or(inherited).or(def.default.map(|d| d.to_string())),
            source: synonyms.first().map_or(ConfigSource::Default, |s| s.2),
            kind: def.kind,
            read_only: false,
            sensitive: false,
            doc: def.doc,
            synonyms,
        }
    }
}

/// All topic keys with their effective values.
pub fn describe_topic(
    broker: &BrokerConfig,
    topic: &Keys,
    dynamic_broker: &Keys,
    dynamic_default: &Keys,
) -> Vec<ConfigValue> {
    let broker = Broker { fixed: broker, dynamic: dynamic_broker, dynamic_default };
    let keys = Layered { broker, own: topic, own_source: ConfigSource::DynamicTopic };
    TOPIC_KEYS.iter().map(|def| keys.row(def, in_topic_units)).collect()
}

/// All keys of a group with their effective values.
pub fn describe_group(
    broker: &BrokerConfig,
    group: &Keys,
    dynamic_broker: &Keys,
    dynamic_default: &Keys,
) -> Vec<ConfigValue> {
    let broker = Broker { fixed: broker, dynamic: dynamic_broker, dynamic_default };
    let keys = Layered { broker, own: group, own_source: ConfigSource::DynamicGroup };
    GROUP_KEYS.iter().map(|def| keys.row(def, |_, text| text.to_string())).collect()
}

/// The keys of a client metrics subscription that were set.
pub fn describe_client_metrics(keys: &Keys) -> Vec<ConfigValue> {
    let row = |def: &ConfigDef| {
        let value = value::shown(def.kind, keys.get(def.name)?);
        let source = ConfigSource::DynamicClientMetrics;
        Some(ConfigValue {
            name: def.name.to_string(),
            value: Some(value.clone()),
            source,
            kind: def.kind,
            read_only: false,
            sensitive: false,
            doc: def.doc,
            synonyms: vec![(def.name.to_string(), Some(value), source)],
        })
    };
    CLIENT_METRICS_KEYS.iter().filter_map(row).collect()
}

/// All broker keys with their effective values.
pub fn describe_broker(
    broker: &BrokerConfig,
    dynamic_broker: &Keys,
    dynamic_default: &Keys,
) -> Vec<ConfigValue> {
    let sources = Broker { fixed: broker, dynamic: dynamic_broker, dynamic_default };
    let mut rows = Vec::new();
    for def in all_broker_keys().filter(|d| d.effect != Effect::Internal) {
        if def.name.starts_with("shard.N.") {
            // One row for each shard that has a value of its own.
            let of_this = |k: &&String| shard_key(k).is_some_and(|(_, d)| d.name == def.name);
            for key in broker.explicit.keys().filter(of_this) {
                rows.push(broker_row(&sources, def, key));
            }
        } else {
            rows.push(broker_row(&sources, def, def.name));
        }
    }
    rows
}

fn broker_row(sources: &Broker<'_>, def: &ConfigDef, name: &str) -> ConfigValue {
    // A key that other units of itself stand in for (log.roll.ms, log.roll.hours) lists those too.
    let units = TOPIC_KEYS.iter().map(|t| t.broker_synonyms).find(|s| s.first() == Some(&name));
    let mut synonyms = sources.synonyms(units.unwrap_or(&[name]));
    // Kafka: what stands before the key's own entry says nothing about the key.
    let own = synonyms.iter().position(|s| s.0 == name).unwrap_or(synonyms.len());
    synonyms.drain(..own);
    let mut value = synonyms.first().and_then(|s| s.1.clone());
    // What Spindle chooses when nothing is set, where that is not Kafka's default.
    let chosen = match name {
        "node.id" | "broker.id" => Some(sources.fixed.broker_id.to_string()),
        "log.dirs" => Some(sources.fixed.log_dir.display().to_string()),
        _ => None,
    };
    if !sources.fixed.explicit.contains_key(name) && chosen.is_some() {
        value = chosen;
    }
    ConfigValue {
        name: name.to_string(),
        value,
        source: synonyms.first().map_or(ConfigSource::Default, |s| s.2),
        kind: def.kind,
        read_only: def.read_only,
        sensitive: def.kind == ConfigType::Password,
        doc: def.doc,
        synonyms,
    }
}
