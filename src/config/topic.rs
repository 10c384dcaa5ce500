//! Topic configuration, typed: what the log and the partition obey. Pure values: a topic's config is the
//! broker's defaults with the topic's own keys on top.
//! Gaps: throttles and tiered storage do nothing.

use std::collections::BTreeMap;

use super::definitions::{self, ConfigType, TOPIC_KEYS, topic_key, value};
use crate::types::{Compression, TimestampType};

#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    pub cleanup_delete: bool,
    pub cleanup_compact: bool,
    /// `None`: `producer` (kept as sent).
    pub compression: Option<Compression>,
    /// -1: the codec's default.
    pub gzip_level: i32,
    pub lz4_level: i32,
    pub zstd_level: i32,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub index_interval_bytes: u32,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: usize,
    pub timestamp_type: TimestampType,
    pub timestamp_before_max_ms: i64,
    pub timestamp_after_max_ms: i64,
    /// Of a log, 0 to 1.
    pub min_cleanable_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub min_insync_replicas: i32,
    pub preallocate: bool,
    pub retention_bytes: i64,
    pub retention_ms: i64,
    pub segment_bytes: u64,
    pub segment_index_bytes: u32,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
}

impl Default for TopicConfig {
    /// Kafka 4.3.1's defaults.
    fn default() -> TopicConfig {
        let mut config = TopicConfig {
            cleanup_delete: true,
            cleanup_compact: false,
            compression: None,
            gzip_level: -1,
            lz4_level: 9,
            zstd_level: 3,
            delete_retention_ms: 0,
            file_delete_delay_ms: 0,
            flush_messages: 0,
            flush_ms: 0,
            index_interval_bytes: 0,
            max_compaction_lag_ms: 0,
            max_message_bytes: 0,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: 0,
            timestamp_after_max_ms: 0,
            min_cleanable_ratio: 0.0,
            min_compaction_lag_ms: 0,
            min_insync_replicas: 0,
            preallocate: false,
            retention_bytes: 0,
            retention_ms: 0,
            segment_bytes: 0,
            segment_index_bytes: 0,
            segment_jitter_ms: 0,
            segment_ms: 0,
        };
        for def in TOPIC_KEYS {
            if let Some(default) = def.default {
                config.set(def.name, def.kind, default);
            }
        }
        config
    }
}

impl TopicConfig {
    /// `self` with a topic's own keys applied. Err names key, value and the allowed range
    /// (Kafka's INVALID_CONFIG message).
    pub fn with(&self, overrides: &BTreeMap<String, String>) -> Result<TopicConfig, String> {
        let mut config = self.clone();
        for (key, value) in overrides {
            definitions::validate_topic_config(key, value)?;
            if let Some(def) = topic_key(key) {
                config.set(def.name, def.kind, value);
            }
        }
        let lag = |key: &str, or: i64| {
            overrides.get(key).and_then(|v| value::int(ConfigType::Long, v)).unwrap_or(or)
        };
        let (min, max) = (lag("min.compaction.lag.ms", 0), lag("max.compaction.lag.ms", i64::MAX));
        if min > max {
            return Err(format!(
                "conflict topic config setting min.compaction.lag.ms ({min}) > \
                 max.compaction.lag.ms ({max})"
            ));
        }
        Ok(config)
    }

    /// Of the codec that `compression` names.
    pub fn compression_level(&self) -> Option<i32> {
        match self.compression? {
            Compression::Gzip => Some(self.gzip_level),
            Compression::Lz4 => Some(self.lz4_level),
            Compression::Zstd => Some(self.zstd_level),
            _ => None,
        }
    }

    /// One key, its value already checked.
    pub(super) fn set(&mut self, key: &str, kind: ConfigType, text: &str) {
        let text = text.trim();
        let number = value::int(kind, text).unwrap_or(0);
        let yes = value::boolean(text).unwrap_or(false);
        match key {
            "cleanup.policy" => {
                self.cleanup_delete = value::list(text).any(|p| p == "delete");
                self.cleanup_compact = value::list(text).any(|p| p == "compact");
            }
            "compression.type" => self.compression = Compression::parse(text),
            "compression.gzip.level" => self.gzip_level = number as i32,
            "compression.lz4.level" => self.lz4_level = number as i32,
            "compression.zstd.level" => self.zstd_level = number as i32,
            "delete.retention.ms" => self.delete_retention_ms = number,
            "file.delete.delay.ms" => self.file_delete_delay_ms = number,
            "flush.messages" => self.flush_messages = number,
            "flush.ms" => self.flush_ms = number,
            "index.interval.bytes" => self.index_interval_bytes = number as u32,
            "max.compaction.lag.ms" => self.max_compaction_lag_ms = number,
            "max.message.bytes" => self.max_message_bytes = number as usize,
            "message.timestamp.type" => {
                self.timestamp_type = match text {
                    "LogAppendTime" => TimestampType::LogAppendTime,
                    _ => TimestampType::CreateTime,
                }
            }
            "message.timestamp.before.max.ms" => self.timestamp_before_max_ms = number,
            "message.timestamp.after.max.ms" => self.timestamp_after_max_ms = number,
            "min.cleanable.dirty.ratio" => {
                self.min_cleanable_ratio = value::real(text).unwrap_or(0.0);
            }
            "min.compaction.lag.ms" => self.min_compaction_lag_ms = number,
            "min.insync.replicas" => self.min_insync_replicas = number as i32,
            "preallocate" => self.preallocate = yes,
            "retention.bytes" => self.retention_bytes = number.max(-1),
            "retention.ms" => self.retention_ms = number.max(-1),
            "segment.bytes" => self.segment_bytes = number as u64,
            "segment.index.bytes" => self.segment_index_bytes = number as u32,
            "segment.jitter.ms" => self.segment_jitter_ms = number,
            "segment.ms" => self.segment_ms = number,
            _ => {}
        }
    }
}

/// A broker key's value in the units of the topic key it is the default of.
pub(super) fn in_topic_units(broker_key: &str, text: &str) -> String {
    let unit_ms: i64 = match broker_key.rsplit('.').next() {
        Some("minutes") => 60 * 1000,
        Some("hours") => 60 * 60 * 1000,
        _ => return text.trim().to_string(),
    };
    match value::int(ConfigType::Int, text) {
        Some(n) if n < 0 => "-1".to_string(),
        Some(n) => (n * unit_ms).to_string(),
        None => text.to_string(),
    }
}

/// The broker's defaults for topics: for each topic key the nearest broker key that `lookup` knows.
pub(super) fn defaults_from<'a>(lookup: impl Fn(&str) -> Option<&'a str>) -> TopicConfig {
    let mut config = TopicConfig::default();
    for def in TOPIC_KEYS {
        let set = def.broker_synonyms.iter().find_map(|key| Some((key, lookup(key)?)));
        if let Some((key, text)) = set {
            config.set(def.name, def.kind, &in_topic_units(key, text));
        }
    }
    config
}
