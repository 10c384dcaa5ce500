//! What groups and committed offsets obey (the group.* and offsets.* keys). Pure values; the limits that keys set
//! each other are checked here, in Kafka's words.

use std::collections::BTreeMap;

use super::definitions::ConfigType;
use super::definitions::value::{self, list};
use super::properties::Settings;
use crate::error::StartError;
use crate::types::Compression;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupsConfig {
    pub initial_rebalance_delay_ms: i32,
    pub min_session_timeout_ms: i32,
    pub max_session_timeout_ms: i32,
    pub max_size: i32,
    pub consumer: ConsumerGroupsConfig,
    pub offsets: OffsetsConfig,
}

/// Groups of the consumer protocol (KIP-848).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupsConfig {
    /// "consumer" is among group.coordinator.rebalance.protocols.
    pub enabled: bool,
    pub session_timeout_ms: BoundedMs,
    pub heartbeat_interval_ms: BoundedMs,
    pub assignment_interval_ms: BoundedMs,
    pub max_size: i32,
    /// uniform, range; the first is the default.
    pub assignors: Vec<String>,
    /// In lower case.
    pub migration_policy: String,
    pub regex_refresh_interval_ms: i32,
}

/// A time that a group may set for itself, within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundedMs {
    pub min: i32,
    pub max: i32,
    pub value: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetsConfig {
    pub metadata_max_bytes: usize,
    pub retention_ms: i64,
    pub retention_check_interval_ms: i64,
    pub load_buffer_bytes: usize,
    pub topic_partitions: i32,
    pub topic_replication_factor: i16,
    pub topic_segment_bytes: i32,
    pub topic_compression: Compression,
}

impl GroupsConfig {
    pub(super) fn build(settings: &Settings) -> Result<GroupsConfig, StartError> {
        let int = |key: &str| settings.number(key) as i32;
        let (min, max) = (int("group.min.session.timeout.ms"), int("group.max.session.timeout.ms"));
        if max < min {
            let why = "must be at least group.min.session.timeout.ms";
            return Err(settings.error("group.max.session.timeout.ms", why));
        }
        Ok(GroupsConfig {
            initial_rebalance_delay_ms: int("group.initial.rebalance.delay.ms").max(0),
            min_session_timeout_ms: min,
            max_session_timeout_ms: max,
            max_size: int("group.max.size"),
            consumer: ConsumerGroupsConfig::build(settings)?,
            offsets: OffsetsConfig::build(settings)?,
        })
    }
}

impl GroupsConfig {
    /// A group's own keys, each already valid, against the broker's bounds and each other.
    pub fn check_group(&self, keys: &BTreeMap<String, String>) -> Result<(), String> {
        let get = |key: &str| value::int(ConfigType::Int, keys.get(key)?);
        let consumer = &self.consumer;
        let bounds = [
            ("consumer.session.timeout.ms", consumer.session_timeout_ms),
            ("consumer.heartbeat.interval.ms", consumer.heartbeat_interval_ms),
            ("consumer.assignment.interval.ms", consumer.assignment_interval_ms),
        ];
        for (key, bound) in bounds {
            let Some(value) = get(key) else { continue };
            let broker = key.trim_start_matches("consumer.");
            if value < i64::from(bound.min) {
                return Err(format!(
                    "{key} must be greater than or equal to group.consumer.min.{broker}"
                ));
            }
            if value > i64::from(bound.max) {
                return Err(format!(
                    "{key} must be less than or equal to group.consumer.max.{broker}"
                ));
            }
        }
        let of = |key: &str, bound: BoundedMs| get(key).unwrap_or(bound.value.into());
        let session = of("consumer.session.timeout.ms", consumer.session_timeout_ms);
        let heartbeat = of("consumer.heartbeat.interval.ms", consumer.heartbeat_interval_ms);
        match session > heartbeat {
            true => Ok(()),
            false => Err("consumer.session.timeout.ms must be greater than \
                          consumer.heartbeat.interval.ms"
                .to_string()),
        }
    }
}

impl ConsumerGroupsConfig {
    fn build(settings: &Settings) -> Result<ConsumerGroupsConfig, StartError> {
        let protocols = settings.text("group.coordinator.rebalance.protocols").unwrap_or("");
        if !list(protocols).any(|p| p == "classic") {
            let why = "must name classic, as in Kafka";
            return Err(settings.error("group.coordinator.rebalance.protocols", why));
        }
        let session_timeout_ms = bounded(settings, "session.timeout.ms")?;
        let heartbeat_interval_ms = bounded(settings, "heartbeat.interval.ms")?;
        if heartbeat_interval_ms.value >= session_timeout_ms.value {
            let why = "must be less than group.consumer.session.timeout.ms";
            return Err(settings.error("group.consumer.heartbeat.interval.ms", why));
        }
        Ok(ConsumerGroupsConfig {
            enabled: list(protocols).any(|p| p == "consumer"),
            session_timeout_ms,
            heartbeat_interval_ms,
            assignment_interval_ms: bounded(settings, "assignment.interval.ms")?,
            max_size: settings.number("group.consumer.max.size") as i32,
            assignors: assignors(settings)?,
            migration_policy: settings
                .text("group.consumer.migration.policy")
                .unwrap_or("bidirectional")
                .to_ascii_lowercase(),
            regex_refresh_interval_ms: settings.number("group.consumer.regex.refresh.interval.ms")
                as i32,
        })
    }
}

fn bounded(settings: &Settings, name: &str) -> Result<BoundedMs, StartError> {
    let key = format!("group.consumer.{name}");
    let (min_key, max_key) =
        (format!("group.consumer.min.{name}"), format!("group.consumer.max.{name}"));
    let [min, max, value] = [&min_key, &max_key, &key].map(|k| settings.number(k) as i32);
    if max < min {
        return Err(settings.error(&max_key, format!("must be at least {min_key}")));
    }
    if !(min..=max).contains(&value) {
        let why = format!("must be from {min_key} ({min}) to {max_key} ({max})");
        return Err(settings.error(&key, why));
    }
    Ok(BoundedMs { min, max, value })
}

/// Kafka takes the short names of its own assignors, and classes; of classes there are only those two here.
fn assignors(settings: &Settings) -> Result<Vec<String>, StartError> {
    const KEY: &str = "group.consumer.assignors";
    let mut names: Vec<String> = Vec::new();
    for name in list(settings.text(KEY).unwrap_or("")) {
        let short = match name {
            "uniform" | "org.apache.kafka.coordinator.group.assignor.UniformAssignor" => "uniform",
            "range" | "org.apache.kafka.coordinator.group.assignor.RangeAssignor" => "range",
            other => {
                let why = format!("there is no assignor {other}: uniform and range are here");
                return Err(settings.error(KEY, why));
            }
        };
        if names.iter().any(|n| n == short) {
            return Err(settings.error(KEY, format!("{short} is named twice")));
        }
        names.push(short.to_string());
    }
    match names.is_empty() {
        true => Err(settings.error(KEY, "must name at least one assignor")),
        false => Ok(names),
    }
}

impl OffsetsConfig {
    fn build(settings: &Settings) -> Result<OffsetsConfig, StartError> {
        let codec = settings.number("offsets.topic.compression.codec");
        let topic_compression = i16::try_from(codec)
            .ok()
            .filter(|codec| (0..=4).contains(codec))
            .and_then(Compression::from_attributes)
            .ok_or_else(|| settings.error("offsets.topic.compression.codec", "must be 0 to 4"))?;
        let positive = |key: &str| settings.number(key).max(0);
        Ok(OffsetsConfig {
            metadata_max_bytes: positive("offset.metadata.max.bytes") as usize,
            retention_ms: positive("offsets.retention.minutes") * 60_000,
            retention_check_interval_ms: positive("offsets.retention.check.interval.ms"),
            load_buffer_bytes: positive("offsets.load.buffer.size") as usize,
            topic_partitions: settings.number("offsets.topic.num.partitions") as i32,
            topic_replication_factor: settings.number("offsets.topic.replication.factor") as i16,
            topic_segment_bytes: settings.number("offsets.topic.segment.bytes") as i32,
            topic_compression,
        })
    }
}
