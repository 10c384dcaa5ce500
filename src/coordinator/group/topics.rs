//! What the group coordinator asks of the cluster's metadata. The host answers from its image; nothing is kept here.

use crate::types::TopicId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    pub id: TopicId,
    pub partitions: i32,
}

/// One consistent image for the length of a step.
pub trait Topics {
    fn by_name(&self, name: &str) -> Option<TopicInfo>;
    fn name_of(&self, id: TopicId) -> Option<&str>;
    /// Every topic's name once, in any order: regular expressions are matched against them.
    fn each_name(&self, f: &mut dyn FnMut(&str));
    /// The racks of the replicas of one partition, without repetition; empty when unknown.
    fn racks(&self, topic: TopicId, partition: i32) -> Vec<String>;
    /// Grows with every image.
    fn version(&self) -> i64;
}
