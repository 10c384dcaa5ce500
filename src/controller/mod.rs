//! Cluster metadata: a log of records in `__cluster_metadata-0` (KRaft's record formats), the
//! immutable image they build, and the commands that append to it. Lives on the controller shard
//! (shard 0). One node today is a quorum of one: a record counts when it is durable in the log.
//! Nobody but this room writes metadata; everyone else sees `Arc<Image>`s.
//! Not here: Kafka's request types and error codes (api/), who serves which partition (shard/).

mod driver;
pub mod image;
mod plan;
mod plan_configs;
mod plan_topics;
pub mod quotas;
mod record_fields;
pub mod records;
mod replay;

pub use driver::Controller;
pub use image::{BrokerEndpoint, BrokerImage, Image, PartitionImage, ResourceType, TopicImage};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::types::TopicId;

#[derive(Clone, Debug)]
pub struct NewTopic {
    pub name: String,
    /// -1: the broker's num.partitions; must be -1 with assignments.
    pub partitions: i32,
    /// -1: the broker's default.
    pub replication_factor: i16,
    /// partition -> broker ids (range-mode node ids are reduced to broker ids by the api).
    pub assignments: BTreeMap<i32, Vec<i32>>,
    pub configs: BTreeMap<String, Option<String>>,
}

#[derive(Clone, Debug)]
pub struct CreatedTopic {
    pub id: TopicId,
    pub partitions: i32,
    pub replication_factor: i16,
}

#[derive(Clone, Debug)]
pub enum TopicRef {
    Name(String),
    Id(TopicId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlterOp {
    Set,
    Delete,
    Append,
    Subtract,
}

#[derive(Clone, Debug)]
pub struct AlterConfig {
    pub key: String,
    pub op: AlterOp,
    pub value: Option<String>,
}

/// (topic, new total, assignments for the new ones, in order)
pub type MorePartitions = (String, i32, Option<Vec<Vec<i32>>>);

#[derive(Clone, Debug)]
pub enum Command {
    CreateTopics {
        topics: Vec<NewTopic>,
        validate_only: bool,
    },
    DeleteTopics {
        topics: Vec<TopicRef>,
    },
    CreatePartitions {
        topics: Vec<MorePartitions>,
        validate_only: bool,
    },
    /// Resource name is a topic, or a broker id ("" for the cluster default).
    AlterConfigs {
        resources: Vec<(ResourceType, String, Vec<AlterConfig>)>,
        /// Replace all keys (AlterConfigs) instead of the ones named (IncrementalAlterConfigs).
        replace: bool,
        validate_only: bool,
    },
    AlterClientQuotas {
        alterations: Vec<quotas::AlterQuota>,
        validate_only: bool,
    },
    /// A block of producer ids; never handed out twice, restarts included.
    AllocateProducerIds {
        count: i64,
    },
}

#[derive(Debug)]
pub enum Reply {
    /// One result a topic, in the order asked.
    CreateTopics(Vec<Result<CreatedTopic, ControllerError>>),
    /// (name, id) of what was deleted.
    DeleteTopics(Vec<Result<(String, TopicId), ControllerError>>),
    CreatePartitions(Vec<Result<(), ControllerError>>),
    AlterConfigs(Vec<Result<(), ControllerError>>),
    /// One result an entity.
    AlterClientQuotas(Vec<(quotas::QuotaEntity, Result<(), ControllerError>)>),
    /// First id of the block.
    ProducerIds(Result<i64, ControllerError>),
}

/// Each maps to the Kafka error of the same name in api/.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControllerError {
    #[error("Topic '{0}' already exists.")]
    TopicAlreadyExists(String),
    #[error("{0}")]
    InvalidTopic(String),
    #[error("{0}")]
    InvalidPartitions(String),
    #[error("{0}")]
    InvalidReplicationFactor(String),
    #[error("{0}")]
    InvalidReplicaAssignment(String),
    #[error("{0}")]
    InvalidConfig(String),
    #[error("{0}")]
    InvalidRequest(String),
    #[error("{0}")]
    PolicyViolation(String),
    #[error("This server does not host this topic-partition.")]
    UnknownTopicOrPartition,
    #[error("This server does not host this topic ID.")]
    UnknownTopicId,
    #[error("Topic deletion is disabled.")]
    TopicDeletionDisabled,
    #[error("the metadata log can't be written: {0}")]
    Storage(String),
}

pub struct ControllerOptions {
    /// The data directory; the log is `<dir>/__cluster_metadata-0`.
    pub dir: PathBuf,
    pub cluster_id: String,
    pub config: Arc<crate::config::BrokerConfig>,
    /// What this broker registers itself as.
    pub this_broker: BrokerImage,
}

#[cfg(test)]
mod driver_tests;
#[cfg(test)]
mod tests;
