//! The metadata image, as the group coordinators look at it: one image for the length of a step.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use crate::controller::Image;
use crate::coordinator::group::{TopicInfo, Topics};
use crate::types::TopicId;

pub(super) struct ImageTopics(pub Arc<Image>);

impl Topics for ImageTopics {
    fn by_name(&self, name: &str) -> Option<TopicInfo> {
        let topic = self.0.topic(name)?;
        Some(TopicInfo { id: topic.id, partitions: topic.partitions.len() as i32 })
    }

    fn name_of(&self, id: TopicId) -> Option<&str> {
        self.0.topic_names.get(&id).map(|name| &**name)
    }

    fn each_name(&self, after: Option<&str>, f: &mut dyn FnMut(&str) -> bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let _ = self.0.topics.range::<str, _>((from, Bound::Unbounded)).all(|(name, _)| f(name));
    }

    fn racks(&self, topic: TopicId, partition: i32) -> Vec<String> {
        let topic = self.0.topic_by_id(&topic);
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        let Some(partition) = topic.and_then(|t| t.partitions.get(index)) else {
            return Vec::new();
        };
        let racks = partition.replicas.iter().filter_map(|b| self.0.brokers.get(b)?.rack.clone());
        racks.collect::<BTreeSet<String>>().into_iter().collect()
    }

    fn version(&self) -> i64 {
        self.0.offset
    }
}
