//! One file an API, in Kafka's names: what a request means, in terms of `shard::Router`.
//! This module matches on the key and declares versions and gaps. Only `api` and `wire` name Kafka's
//! error codes. Never touches `log` or `runtime`.

use std::net::SocketAddr;

/// Who asks, and how.
#[derive(Clone, Debug)]
pub struct RequestContext {
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<bytes::Bytes>,
    /// Index of the listener the connection came in on.
    pub listener: usize,
    pub peer: SocketAddr,
}

pub mod advertised;
pub mod alter_configs;
pub mod api_versions;
pub mod authorized_operations;
pub mod config_resource;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_topic_partitions;
pub mod error_map;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod topic_name;
