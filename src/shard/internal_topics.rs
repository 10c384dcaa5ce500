//! The topics that the broker makes for itself, on their first use: `__consumer_offsets` and
//! `__spindle_group_events`. Owned by every shard; the controller sees to it that one of several creators wins.
//! Not here: which partition of them holds what (coordinators/).

use std::collections::BTreeMap;

use super::{Router, Shard};
use crate::controller::{Command, NewTopic, Reply};

pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
pub const GROUP_EVENTS_TOPIC: &str = "__spindle_group_events";

/// `__spindle_group_events` keeps a week.
const EVENTS_RETENTION_MS: i64 = 7 * 24 * 60 * 60 * 1000;

impl Shard {
    /// How the broker makes one of its own topics; `None` for every other name.
    fn internal_topic(&self, name: &str) -> Option<NewTopic> {
        let brokers = self.image().brokers.len().max(1) as i16;
        let offsets = &self.config.groups.offsets;
        let (partitions, factor, configs) = match name {
            OFFSETS_TOPIC => (
                offsets.topic_partitions,
                // Kafka makes it when there are as many brokers as it wants replicas; here groups work at once.
                offsets.topic_replication_factor.min(brokers),
                vec![
                    ("cleanup.policy", "compact".to_string()),
                    ("compression.type", "producer".to_string()),
                    ("segment.bytes", offsets.topic_segment_bytes.to_string()),
                ],
            ),
            GROUP_EVENTS_TOPIC => (
                1,
                self.config.default_replication_factor.min(brokers),
                vec![
                    ("cleanup.policy", "delete".to_string()),
                    ("retention.ms", EVENTS_RETENTION_MS.to_string()),
                ],
            ),
            _ => return None,
        };
        Some(NewTopic {
            name: name.to_string(),
            partitions,
            replication_factor: factor,
            assignments: BTreeMap::new(),
            configs: configs.into_iter().map(|(k, v)| (k.to_string(), Some(v))).collect(),
        })
    }
}

impl Router {
    /// As `Shard::internal_topic`.
    pub fn internal_topic(&self, name: &str) -> Option<NewTopic> {
        self.shard.internal_topic(name)
    }

    /// Makes one of the broker's own topics. True when it is there afterwards; false also when another
    /// request of this shard is at it.
    pub(super) async fn create_internal_topic(&self, name: &str) -> bool {
        let Some(topic) = self.internal_topic(name) else { return false };
        if self.shard.creating_internal.replace(true) {
            return false;
        }
        let command = Command::CreateTopics { topics: vec![topic], validate_only: false };
        let reply = self.controller(command).await;
        self.shard.creating_internal.set(false);
        if let Ok(Reply::CreateTopics(results)) = &reply
            && let Some(Err(error)) = results.first()
            && self.topic_image(name).is_none()
        {
            tracing::error!(topic = name, %error, "a topic of the broker's own can't be made");
        }
        self.topic_image(name).is_some()
    }
}
