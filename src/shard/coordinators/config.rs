//! The broker's and the groups' own settings, as the state machines take them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::definitions::{ConfigType, value};
use crate::config::{BrokerConfig, GroupsConfig};
use crate::controller::{Image, ResourceType};
use crate::coordinator::group::GroupConfig;
use crate::coordinator::group::config::{ConsumerConfig, GroupOverrides, MigrationPolicy};

pub(super) fn group_config(broker: &BrokerConfig, image: &Image) -> GroupConfig {
    let groups = &broker.groups;
    let overrides = image
        .configs
        .iter()
        .filter(|((kind, _), _)| *kind == ResourceType::Group)
        .map(|((_, group), keys)| (Arc::from(group.as_str()), overrides(groups, keys)))
        .collect();
    GroupConfig {
        initial_rebalance_delay_ms: groups.initial_rebalance_delay_ms,
        min_session_timeout_ms: groups.min_session_timeout_ms,
        max_session_timeout_ms: groups.max_session_timeout_ms,
        max_size: groups.max_size as usize,
        offset_metadata_max_bytes: groups.offsets.metadata_max_bytes,
        offsets_retention_ms: groups.offsets.retention_ms,
        offsets_retention_check_interval_ms: groups.offsets.retention_check_interval_ms,
        consumer: consumer_config(groups),
        overrides,
        ..GroupConfig::default()
    }
}

fn consumer_config(groups: &GroupsConfig) -> ConsumerConfig {
    let consumer = &groups.consumer;
    ConsumerConfig {
        enabled: consumer.enabled,
        session_timeout_ms: consumer.session_timeout_ms.value,
        heartbeat_interval_ms: consumer.heartbeat_interval_ms.value,
        max_size: consumer.max_size as usize,
        assignors: consumer.assignors.clone(),
        migration: match consumer.migration_policy.as_str() {
            "disabled" => MigrationPolicy::Disabled,
            "downgrade" => MigrationPolicy::Downgrade,
            "upgrade" => MigrationPolicy::Upgrade,
            _ => MigrationPolicy::Bidirectional,
        },
        regex_refresh_interval_ms: consumer.regex_refresh_interval_ms,
        assignment_interval_ms: consumer.assignment_interval_ms.value,
    }
}

/// A group's keys. What the broker's bounds do not allow (they may have changed since) is brought into them.
pub(super) fn overrides(groups: &GroupsConfig, keys: &BTreeMap<String, String>) -> GroupOverrides {
    let get = |key: &str, bounds: crate::config::BoundedMs| {
        let value = value::int(ConfigType::Int, keys.get(key)?)?;
        Some((value as i32).clamp(bounds.min, bounds.max))
    };
    let consumer = &groups.consumer;
    GroupOverrides {
        consumer_session_timeout_ms: get(
            "consumer.session.timeout.ms",
            consumer.session_timeout_ms,
        ),
        consumer_heartbeat_interval_ms: get(
            "consumer.heartbeat.interval.ms",
            consumer.heartbeat_interval_ms,
        ),
        consumer_assignment_interval_ms: get(
            "consumer.assignment.interval.ms",
            consumer.assignment_interval_ms,
        ),
    }
}
