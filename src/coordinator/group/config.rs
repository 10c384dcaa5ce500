//! The limits and times that a group coordinator obeys: broker keys (`group.*`, `offsets.*`) and what a group sets for
//! itself (KIP-848, ConfigResource GROUP). Plain values; the host fills them from the configuration.

use std::collections::HashMap;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// group.initial.rebalance.delay.ms
    pub initial_rebalance_delay_ms: i32,
    /// group.min.session.timeout.ms
    pub min_session_timeout_ms: i32,
    /// group.max.session.timeout.ms
    pub max_session_timeout_ms: i32,
    /// group.max.size
    pub max_size: usize,
    /// How long a member that has never joined may take (Kafka: 5 minutes, no key), when its own session is shorter.
    pub new_member_join_timeout_ms: i32,
    /// offset.metadata.max.bytes
    pub offset_metadata_max_bytes: usize,
    /// offsets.retention.minutes
    pub offsets_retention_ms: i64,
    /// offsets.retention.check.interval.ms
    pub offsets_retention_check_interval_ms: i64,
    /// The largest batch that the log takes: max.message.bytes of the offsets topic, or its segment.
    pub batch_bytes_max: usize,
    pub consumer: ConsumerConfig,
    /// What groups set for themselves, by group id.
    pub overrides: HashMap<Arc<str>, GroupOverrides>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// "consumer" is among group.coordinator.rebalance.protocols.
    pub enabled: bool,
    /// group.consumer.session.timeout.ms
    pub session_timeout_ms: i32,
    /// group.consumer.heartbeat.interval.ms
    pub heartbeat_interval_ms: i32,
    /// group.consumer.max.size
    pub max_size: usize,
    /// group.consumer.assignors: the first is the default.
    pub assignors: Vec<String>,
    /// group.consumer.migration.policy
    pub migration: MigrationPolicy,
    /// group.consumer.regex.refresh.interval.ms
    pub regex_refresh_interval_ms: i32,
    /// group.consumer.assignment.interval.ms
    pub assignment_interval_ms: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPolicy {
    Disabled,
    Downgrade,
    Upgrade,
    Bidirectional,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupOverrides {
    /// consumer.session.timeout.ms
    pub consumer_session_timeout_ms: Option<i32>,
    /// consumer.heartbeat.interval.ms
    pub consumer_heartbeat_interval_ms: Option<i32>,
    /// consumer.assignment.interval.ms
    pub consumer_assignment_interval_ms: Option<i32>,
}

impl Default for GroupConfig {
    fn default() -> GroupConfig {
        GroupConfig {
            initial_rebalance_delay_ms: 3000,
            min_session_timeout_ms: 6000,
            max_session_timeout_ms: 1_800_000,
            max_size: i32::MAX as usize,
            new_member_join_timeout_ms: 5 * 60 * 1000,
            offset_metadata_max_bytes: 4096,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1000,
            offsets_retention_check_interval_ms: 600_000,
            batch_bytes_max: 1_048_588,
            consumer: ConsumerConfig::default(),
            overrides: HashMap::new(),
        }
    }
}

impl Default for ConsumerConfig {
    fn default() -> ConsumerConfig {
        ConsumerConfig {
            enabled: true,
            session_timeout_ms: 45_000,
            heartbeat_interval_ms: 5000,
            max_size: i32::MAX as usize,
            assignors: vec!["uniform".to_string(), "range".to_string()],
            migration: MigrationPolicy::Bidirectional,
            regex_refresh_interval_ms: 600_000,
            assignment_interval_ms: 1000,
        }
    }
}
