//! Topic configuration, typed: what the log and the partition obey.

use std::collections::BTreeMap;

use crate::types::{Compression, TimestampType};

#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    pub cleanup_delete: bool,
    pub cleanup_compact: bool,
    /// `None`: `producer` (kept as sent).
    pub compression: Option<Compression>,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub index_interval_bytes: u32,
    pub max_message_bytes: usize,
    pub timestamp_type: TimestampType,
    pub timestamp_before_max_ms: i64,
    pub timestamp_after_max_ms: i64,
    pub min_insync_replicas: i32,
    pub preallocate: bool,
    pub retention_bytes: i64,
    pub retention_ms: i64,
    pub segment_bytes: u64,
    pub segment_index_bytes: u32,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
}

impl TopicConfig {
    /// `self` with a topic's own keys applied. Err names key, value and the allowed range
    /// (Kafka's INVALID_CONFIG message).
    pub fn with(&self, overrides: &BTreeMap<String, String>) -> Result<TopicConfig, String> {
        let _ = overrides;
        todo!()
    }
}
