//! The broker's configuration, typed: built once at start from a file and overrides, then immutable.
//! What is set while the broker runs (the log.* defaults of topics) lives in the metadata image and
//! comes in through `topic_defaults_with`.
//! Not here: which keys exist (definitions/), reading files (properties.rs).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use super::cleaner::CleanerConfig;
use super::definitions::value::list;
use super::groups::GroupsConfig;
use super::listeners::{self, ListenerKeys};
use super::properties::Settings;
use super::shards::{self, ShardConfigs};
use super::topic::{TopicConfig, defaults_from};
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
    pub groups: GroupsConfig,
    /// `shard.count`: 0 means one a CPU.
    pub shard_count: usize,
    /// `shard.cpus`: which CPUs, in shard order; empty means 0..count.
    pub shard_cpus: Vec<usize>,
    /// What each shard gets.
    pub shards: ShardConfigs,
    /// Defaults that topics inherit (the log.* keys).
    pub topic_defaults: TopicConfig,
    /// Every key that was set, as written: what DescribeConfigs reports as STATIC_BROKER_CONFIG.
    pub explicit: BTreeMap<String, String>,
    /// One sentence each: what was set and does nothing, what was left out.
    pub warnings: Vec<String>,
}

/// The data directory when nothing is configured, in the working directory: unlike Kafka's
/// /tmp/kafka-logs it survives a reboot.
pub const DEFAULT_LOG_DIR: &str = "spindle-data";

impl BrokerConfig {
    /// A file (path, text) and `--override key=value` lines; later wins. Unknown keys name the
    /// nearest known one; wrong values say key, value, range, file and line.
    pub fn load(
        file: Option<(&str, &str)>,
        overrides: &[String],
    ) -> Result<BrokerConfig, StartError> {
        let mut settings = Settings::read(file, overrides)?;
        let mut warnings = Vec::new();
        check_roles(&settings)?;
        let listeners = listeners::build(
            &ListenerKeys {
                listeners: settings.text("listeners").unwrap_or("PLAINTEXT://:9092"),
                advertised: settings.text("advertised.listeners"),
                protocol_map: settings.text("listener.security.protocol.map").unwrap_or(""),
                controller_names: settings.text("controller.listener.names").unwrap_or(""),
            },
            &mut warnings,
        )
        .map_err(|(key, why)| settings.error(key, why))?;
        let (shard_count, shard_cpus) = shards::layout(&mut settings)?;
        for listener in &listeners {
            let ports = listener.last_port.map(|last| (last - listener.port) as usize + 1);
            if ports.is_some_and(|ports| ports < shard_count) {
                let why = format!("{} needs one port a shard, {shard_count} in all", listener.name);
                return Err(settings.error("listeners", why));
            }
        }
        for key in ["log.retention.ms", "log.retention.minutes", "log.retention.hours"] {
            if settings.get(key).is_some() && settings.number(key) == 0 {
                return Err(settings.error(key, "must be -1 (keep for ever) or at least 1"));
            }
        }
        warnings.append(&mut settings.warnings);
        let positive = |key: &str| settings.number(key).max(0) as u64;
        let idle_ms = settings.number("connections.max.idle.ms");
        Ok(BrokerConfig {
            broker_id: broker_id(&settings)?,
            cluster_id: settings.text("cluster.id").map(str::to_string),
            log_dir: log_dir(&settings)?,
            listeners,
            rack: settings.text("broker.rack").map(str::to_string),
            auto_create_topics: settings.yes("auto.create.topics.enable"),
            delete_topic_enable: settings.yes("delete.topic.enable"),
            num_partitions: settings.number("num.partitions") as i32,
            default_replication_factor: replication_factor(&settings)?,
            min_insync_replicas: settings.number("min.insync.replicas") as i32,
            request_max_bytes: positive("socket.request.max.bytes") as usize,
            max_connections: positive("max.connections") as usize,
            // Kafka: a negative time is no limit.
            connections_max_idle_ms: u64::try_from(idle_ms).unwrap_or(u64::MAX),
            fetch_max_bytes: settings.number("fetch.max.bytes") as i32,
            fetch_session_cache_slots: positive("max.incremental.fetch.session.cache.slots")
                as usize,
            producer_id_expiration_ms: settings.number("producer.id.expiration.ms"),
            retention_check_interval_ms: positive("log.retention.check.interval.ms"),
            recovery_point_checkpoint_ms: positive("log.flush.offset.checkpoint.interval.ms"),
            groups: GroupsConfig::build(&settings)?,
            shard_count,
            shard_cpus,
            shards: ShardConfigs::read(&settings, shard_count)?,
            topic_defaults: defaults_from(|key| settings.get(key).map(|s| s.value.as_str())),
            explicit: settings.iter().map(|(k, s)| (k.clone(), s.value.clone())).collect(),
            warnings,
        })
    }

    /// Topic defaults with dynamic broker keys (`log.*`, `message.max.bytes`, …) applied: those of all
    /// brokers, overlaid with those of this one.
    pub fn topic_defaults_with(&self, dynamic: &BTreeMap<String, String>) -> TopicConfig {
        defaults_from(|key| dynamic.get(key).or_else(|| self.explicit.get(key)).map(String::as_str))
    }

    /// As above for the log cleaner.
    pub fn cleaner_with(&self, dynamic: &BTreeMap<String, String>) -> CleanerConfig {
        CleanerConfig::from(|key| {
            dynamic.get(key).or_else(|| self.explicit.get(key)).map(String::as_str)
        })
    }
}

/// A single node is broker and controller at once.
fn check_roles(settings: &Settings) -> Result<(), StartError> {
    if let Some(roles) = settings.text("process.roles") {
        let roles: Vec<&str> = list(roles).collect();
        if !roles.contains(&"broker") {
            let why = "a node that is no broker is not there yet: use broker,controller";
            return Err(settings.error("process.roles", why));
        }
    }
    for key in ["controller.quorum.voters", "controller.quorum.bootstrap.servers"] {
        if settings.text(key).is_some_and(|servers| list(servers).count() > 1) {
            let why = "a controller quorum of more than one node is not there yet";
            return Err(settings.error(key, why));
        }
    }
    Ok(())
}

/// node.id, or its older name; 0 when neither is set.
fn broker_id(settings: &Settings) -> Result<i32, StartError> {
    let (node, broker) = (settings.get("node.id"), settings.get("broker.id"));
    let ids = (settings.number("node.id"), settings.number("broker.id"));
    if node.is_some() && broker.is_some() && ids.0 != ids.1 {
        return Err(settings.error("node.id", format!("broker.id is {}: set only one", ids.1)));
    }
    let (key, id) = match (node, broker) {
        (Some(_), _) => ("node.id", ids.0),
        (None, Some(_)) => ("broker.id", ids.1),
        (None, None) => return Ok(0),
    };
    // Range mode makes node ids of broker id * 256 + core; Kafka's are 32 bits, signed.
    if !(0..=8_388_607).contains(&id) {
        return Err(settings.error(key, "must be from 0 to 8388607"));
    }
    Ok(id as i32)
}

fn log_dir(settings: &Settings) -> Result<PathBuf, StartError> {
    // log.dir has a default in Kafka, which is not ours: only what is set counts.
    let set = ["log.dirs", "log.dir"].into_iter().find_map(|key| Some((key, settings.get(key)?)));
    let Some((key, setting)) = set else { return Ok(PathBuf::from(DEFAULT_LOG_DIR)) };
    let dirs: Vec<&str> = list(&setting.value).collect();
    match dirs[..] {
        [dir] => Ok(PathBuf::from(dir)),
        [] => Err(settings.error(key, "name a directory")),
        _ => Err(settings.error(key, "more than one data directory is not there yet: name one")),
    }
}

fn replication_factor(settings: &Settings) -> Result<i16, StartError> {
    let factor = settings.number("default.replication.factor");
    match i16::try_from(factor) {
        Ok(factor) if factor >= 1 => Ok(factor),
        _ => Err(settings.error("default.replication.factor", "must be from 1 to 32767")),
    }
}
