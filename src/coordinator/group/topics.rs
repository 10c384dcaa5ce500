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
    /// The names of topics behind `after` (`None`: from the first), in their order, until `f` says false: regular
    /// expressions are matched against them.
    fn each_name(&self, after: Option<&str>, f: &mut dyn FnMut(&str) -> bool);
    /// The racks of the replicas of one partition, without repetition; empty when unknown.
    fn racks(&self, topic: TopicId, partition: i32) -> Vec<String>;
    /// Grows with every image.
    fn version(&self) -> i64;
}
