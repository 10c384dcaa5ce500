//! The immutable metadata image that every shard reads: built by replaying records, shared as
//! `Arc`, replaced whole. Topics are `Arc`s of their own, so a new image copies only pointers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::types::{Offset, TopicId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceType {
    Topic,
    Broker,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionImage {
    /// Broker ids.
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
    pub leader: i32,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicImage {
    pub name: Arc<str>,
    pub id: TopicId,
    pub partitions: Vec<PartitionImage>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerEndpoint {
    pub listener: String,
    pub host: String,
    /// One port in shared mode, one a shard in range mode.
    pub ports: Vec<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerImage {
    pub broker_id: i32,
    pub rack: Option<String>,
    pub endpoints: Vec<BrokerEndpoint>,
    pub shard_count: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Offset of the last metadata record applied + 1.
    pub offset: Offset,
    pub cluster_id: String,
    pub topics: BTreeMap<Arc<str>, Arc<TopicImage>>,
    pub topic_names: HashMap<TopicId, Arc<str>>,
    pub brokers: BTreeMap<i32, BrokerImage>,
    /// Dynamic configs; broker "" is the cluster-wide default.
    pub configs: HashMap<(ResourceType, String), Arc<BTreeMap<String, String>>>,
    pub next_producer_id: i64,
}

impl Image {
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(name)
    }
    pub fn topic_by_id(&self, id: &TopicId) -> Option<&Arc<TopicImage>> {
        self.topics.get(self.topic_names.get(id)?)
    }
    pub fn topic_configs(&self, name: &str) -> Option<&Arc<BTreeMap<String, String>>> {
        self.configs.get(&(ResourceType::Topic, name.to_string()))
    }
}
