//! Finds the shard that owns a partition and asks it: a direct call here, a mailbox message there.
//! Cheap to clone; lives on one shard.

use std::sync::Arc;

use crate::config::BrokerConfig;
use crate::controller::{Command, Image, Reply};
use crate::partition::PartitionError;
use crate::types::{Offset, ShardId, TopicPartition};

/// What ListOffsets asks of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetQuery {
    Earliest,
    /// High watermark, or last stable offset with read_committed.
    Latest {
        read_committed: bool,
    },
    Timestamp {
        timestamp_ms: i64,
        read_committed: bool,
    },
    MaxTimestamp,
}

/// offset -1 and timestamp -1 when nothing matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAnswer {
    pub offset: Offset,
    pub timestamp_ms: i64,
    pub leader_epoch: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerInfo {
    pub producer_id: i64,
    pub epoch: i16,
    pub last_sequence: i32,
    pub last_timestamp_ms: i64,
    pub coordinator_epoch: i32,
    /// -1 when no transaction is open.
    pub current_txn_start_offset: Offset,
}

#[derive(Clone, Debug)]
pub struct LogDirReplica {
    pub topic_partition: TopicPartition,
    pub size_bytes: u64,
}

#[derive(Clone, Debug)]
pub struct LogDirInfo {
    pub path: String,
    pub total_bytes: i64,
    pub usable_bytes: i64,
    pub replicas: Vec<LogDirReplica>,
}

/// One row of Metadata's broker list, as this listener advertises it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    pub node_id: i32,
    pub host: String,
    pub port: i32,
    pub rack: Option<String>,
}

#[derive(Clone)]
pub struct Router {}

#[allow(unused_variables)]
impl Router {
    pub fn image(&self) -> Arc<Image> {
        todo!()
    }
    pub fn config(&self) -> &Arc<BrokerConfig> {
        todo!()
    }
    /// All nodes this listener advertises: one a broker in shared mode, one a (broker, core) in
    /// range mode.
    pub fn nodes(&self, listener: usize) -> Vec<NodeAddress> {
        todo!()
    }
    /// Node id a client of this listener should send admin requests to.
    pub fn controller_node(&self, listener: usize) -> i32 {
        todo!()
    }
    /// Node id of the leader of a partition as this listener advertises it (-1: none).
    pub fn leader_node(
        &self,
        listener: usize,
        topic: &crate::controller::TopicImage,
        partition: i32,
    ) -> i32 {
        todo!()
    }
    /// Maps a broker id of a replica list to the node id this listener advertises for that partition.
    pub fn replica_node(
        &self,
        listener: usize,
        topic: &crate::controller::TopicImage,
        partition: i32,
        broker_id: i32,
    ) -> i32 {
        todo!()
    }
    /// Accepts either form of node id (broker id, or broker id * 256 + core in range mode).
    pub fn broker_of_node(&self, listener: usize, node_id: i32) -> i32 {
        todo!()
    }
    pub fn owner(&self, topic: &crate::controller::TopicImage, partition: i32) -> ShardId {
        todo!()
    }
    /// `leader_epoch` -1: not checked.
    pub async fn list_offset(
        &self,
        tp: &TopicPartition,
        leader_epoch: i32,
        query: OffsetQuery,
    ) -> Result<OffsetAnswer, PartitionError> {
        todo!()
    }
    /// (epoch, end offset), (-1, -1) when unknown.
    pub async fn end_offset_for_epoch(
        &self,
        tp: &TopicPartition,
        current_leader_epoch: i32,
        epoch: i32,
    ) -> Result<(i32, Offset), PartitionError> {
        todo!()
    }
    /// `offset` -1: up to the high watermark. Returns the new low watermark.
    pub async fn delete_records(
        &self,
        tp: &TopicPartition,
        offset: Offset,
    ) -> Result<Offset, PartitionError> {
        todo!()
    }
    pub async fn describe_producers(
        &self,
        tp: &TopicPartition,
    ) -> Result<Vec<ProducerInfo>, PartitionError> {
        todo!()
    }
    /// All replicas of this broker, or those of the topics named.
    pub async fn log_dirs(&self) -> Vec<LogDirInfo> {
        todo!()
    }
    /// Runs a command on the controller shard; returns when every shard of this broker has applied
    /// the image that holds its result. Err when the controller's mailbox is full.
    pub async fn controller(&self, command: Command) -> Result<Reply, PartitionError> {
        todo!()
    }
    /// A producer id never used before: from this shard's block, refilled by the controller.
    pub async fn next_producer_id(&self) -> Result<i64, PartitionError> {
        todo!()
    }
}
