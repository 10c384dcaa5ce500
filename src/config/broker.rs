//! The broker's configuration, typed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use super::topic::TopicConfig;
use crate::error::StartError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// PLAINTEXT, or a name mapped to it.
    pub name: String,
    /// What to bind.
    pub host: IpAddr,
    /// First port; 0 picks a free one.
    pub port: u16,
    /// Last port of a range: one port a shard. `None`: one port shared by all shards.
    pub last_port: Option<u16>,
    /// From advertised.listeners; the bound host (or the machine's name for 0.0.0.0) when absent.
    pub advertised_host: String,
    /// First advertised port; `None`: as bound.
    pub advertised_port: Option<u16>,
}

#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// `broker.id` / `node.id`, 0..=8_388_607 (range mode multiplies by 256).
    pub broker_id: i32,
    /// `cluster.id`: checked against the data directory when set.
    pub cluster_id: Option<String>,
    /// `log.dirs` / `log.dir`: exactly one for now.
    pub log_dir: PathBuf,
    pub listeners: Vec<ListenerConfig>,
    pub rack: Option<String>,
    pub auto_create_topics: bool,
    pub delete_topic_enable: bool,
    pub num_partitions: i32,
    pub default_replication_factor: i16,
    pub min_insync_replicas: i32,
    pub request_max_bytes: usize,
    pub max_connections: usize,
    pub connections_max_idle_ms: u64,
    pub fetch_max_bytes: i32,
    pub fetch_session_cache_slots: usize,
    pub producer_id_expiration_ms: i64,
    pub retention_check_interval_ms: u64,
    pub recovery_point_checkpoint_ms: u64,
    /// `shard.count`: 0 means one a CPU.
    pub shard_count: usize,
    /// `shard.cpus`: which CPUs, in shard order; empty means 0..count.
    pub shard_cpus: Vec<usize>,
    /// `shard.memory.bytes`, of each shard: tail caches and request buffers.
    pub shard_memory_bytes: usize,
    /// `shard.spin.us`: how long an idle shard spins before it parks.
    pub shard_spin_us: u64,
    /// Defaults that topics inherit (the log.* keys).
    pub topic_defaults: TopicConfig,
    /// Every key that was set, as written: what DescribeConfigs reports as STATIC_BROKER_CONFIG.
    pub explicit: BTreeMap<String, String>,
}

impl BrokerConfig {
    /// A file (path, text) and `--override key=value` lines; later wins. Unknown keys name the
    /// nearest known one; wrong values say key, value, range, file and line.
    pub fn load(
        file: Option<(&str, &str)>,
        overrides: &[String],
    ) -> Result<BrokerConfig, StartError> {
        let _ = (file, overrides);
        todo!()
    }

    /// Topic defaults with dynamic broker keys (`log.*`, `message.max.bytes`, …) applied.
    pub fn topic_defaults_with(&self, dynamic: &BTreeMap<String, String>) -> TopicConfig {
        let _ = dynamic;
        todo!()
    }
}
