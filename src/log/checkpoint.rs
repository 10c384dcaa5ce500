//! The small files of a log directory as a whole, in Kafka's formats: recovery points, log start
//! offsets, cleaner offsets, `.kafka_cleanshutdown`, `meta.properties`. Used by the node; a log itself reads none.
//! Invariant: each is replaced atomically. An offset checkpoint that is missing or broken reads as
//! empty: every log is then scanned from its start, which is slow and right.

use std::collections::BTreeMap;
use std::path::Path;

use super::{LogError, Result, io_error};
use crate::runtime::disk;
use crate::types::{Offset, TopicId, TopicPartition};

pub const RECOVERY_POINT_FILE: &str = "recovery-point-offset-checkpoint";
pub const LOG_START_OFFSET_FILE: &str = "log-start-offset-checkpoint";
pub const CLEANER_OFFSET_FILE: &str = "cleaner-offset-checkpoint";
pub const CLEAN_SHUTDOWN_FILE: &str = ".kafka_cleanshutdown";
pub const META_PROPERTIES_FILE: &str = "meta.properties";

pub type OffsetCheckpoint = BTreeMap<TopicPartition, Offset>;

/// Version 0, count, then "topic partition offset" a line.
pub async fn write_offset_checkpoint(path: &Path, offsets: &OffsetCheckpoint) -> Result<()> {
    let mut text = format!("0\n{}\n", offsets.len());
    for (tp, offset) in offsets {
        text.push_str(&format!("{} {} {offset}\n", tp.topic, tp.partition));
    }
    disk::write_file_atomic(path, text.into_bytes()).await.map_err(io_error(path))
}

pub async fn read_offset_checkpoint(path: &Path) -> Result<OffsetCheckpoint> {
    let Some(bytes) = read_if_there(path).await? else { return Ok(OffsetCheckpoint::new()) };
    match parse_offset_checkpoint(&bytes) {
        Some(offsets) => Ok(offsets),
        None => {
            tracing::warn!("{}: not a whole offset checkpoint: ignored", path.display());
            Ok(OffsetCheckpoint::new())
        }
    }
}

fn parse_offset_checkpoint(bytes: &[u8]) -> Option<OffsetCheckpoint> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    if lines.next()?.trim() != "0" {
        return None;
    }
    let count: usize = lines.next()?.trim().parse().ok()?;
    let mut offsets = OffsetCheckpoint::new();
    for line in lines.filter(|l| !l.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let (topic, partition, offset) = (words.next()?, words.next()?, words.next()?);
        let tp = TopicPartition::new(topic, partition.parse().ok()?);
        offsets.insert(tp, offset.parse().ok()?);
    }
    (offsets.len() == count).then_some(offsets)
}

/// Written last of all at a clean stop, in Kafka 4's JSON; -1 when there is no broker epoch.
pub async fn write_clean_shutdown(log_dir: &Path, broker_epoch: i64) -> Result<()> {
    let path = log_dir.join(CLEAN_SHUTDOWN_FILE);
    let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
    disk::write_file_atomic(&path, text.into_bytes()).await.map_err(io_error(&path))
}

/// Whether the last stop was clean. The mark is removed, durably, before this returns: call it
/// before anything is written to a log. The names of logs that nobody had synced when the broker
/// was killed are durable too then: what is found from here on counts as durable.
pub async fn take_clean_shutdown(log_dir: &Path) -> Result<bool> {
    let path = log_dir.join(CLEAN_SHUTDOWN_FILE);
    let clean = read_if_there(&path).await?.is_some();
    if clean {
        disk::remove_file(&path).await.map_err(io_error(&path))?;
    }
    disk::sync_dir(log_dir).await.map_err(io_error(log_dir))?;
    Ok(clean)
}

/// Kafka's `meta.properties`, version 1 (KRaft).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MetaProperties {
    pub cluster_id: String,
    pub node_id: i32,
    /// 22 characters of base64 (KIP-858); absent in directories of older Kafka versions.
    pub directory_id: Option<String>,
}

pub async fn write_meta_properties(log_dir: &Path, meta: &MetaProperties) -> Result<()> {
    let path = log_dir.join(META_PROPERTIES_FILE);
    let mut text = format!("cluster.id={}\n", meta.cluster_id);
    if let Some(id) = &meta.directory_id {
        text.push_str(&format!("directory.id={id}\n"));
    }
    text.push_str(&format!("node.id={}\nversion=1\n", meta.node_id));
    disk::write_file_atomic(&path, text.into_bytes()).await.map_err(io_error(&path))
}

/// `None` when the directory was never formatted.
pub async fn read_meta_properties(log_dir: &Path) -> Result<Option<MetaProperties>> {
    let path = log_dir.join(META_PROPERTIES_FILE);
    let Some(bytes) = read_if_there(&path).await? else { return Ok(None) };
    parse_meta_properties(&bytes).map(Some).map_err(|why| LogError::Corrupt {
        path,
        position: 0,
        why,
    })
}

pub(super) fn parse_meta_properties(bytes: &[u8]) -> std::result::Result<MetaProperties, String> {
    let text = String::from_utf8_lossy(bytes);
    let properties: BTreeMap<&str, &str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with(['#', '!']))
        .filter_map(|l| l.split_once('='))
        .map(|(k, v)| (k.trim(), v.trim()))
        .collect();
    let get = |key: &str| properties.get(key).copied().ok_or(format!("{key} is missing"));
    let version = get("version")?;
    if version != "1" {
        return Err(format!("version is {version}: only 1 is supported"));
    }
    let node_id = get("node.id")?;
    Ok(MetaProperties {
        cluster_id: get("cluster.id")?.to_string(),
        node_id: node_id.parse().map_err(|_| format!("node.id {node_id} is not a number"))?,
        directory_id: properties.get("directory.id").map(|id| id.to_string()),
    })
}

/// The topic that a partition's directory belongs to (KIP-516): Kafka takes a directory without it for
/// a stray.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PartitionMetadata {
    pub version: i32,
    /// 22 characters of base64.
    pub topic_id: String,
}

pub const PARTITION_METADATA_FILE: &str = "partition.metadata";

/// Of every such file: the ids have one length.
pub(super) const PARTITION_METADATA_BYTES: u64 = 43;

pub(super) fn encode_partition_metadata(topic_id: &TopicId) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = "version: 0\ntopic_id: ".to_string();
    // URL-safe base64 without padding: 21 times six bits, and the last two.
    let bits = topic_id.as_u128();
    for n in 0..22u32 {
        let six = if n < 21 { bits >> (122 - 6 * n) } else { bits << 4 };
        text.push(char::from(ALPHABET[(six & 63) as usize]));
    }
    text.into_bytes()
}

pub(super) fn parse_partition_metadata(
    bytes: &[u8],
) -> std::result::Result<PartitionMetadata, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "text is not UTF-8".to_string())?;
    let mut lines = text.lines();
    let mut get = |key: &str| {
        let line = lines.next().unwrap_or_default();
        let value = line.strip_prefix(key).and_then(|rest| rest.strip_prefix(':'));
        value.map(str::trim).ok_or(format!("{line:?} where {key} is expected"))
    };
    let version = get("version")?;
    if version != "0" {
        return Err(format!("version is {version}: only 0 is known"));
    }
    let topic_id = get("topic_id")?;
    let base64 = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if topic_id.len() != 22 || !topic_id.bytes().all(base64) {
        return Err(format!("{topic_id:?} is not a topic id"));
    }
    Ok(PartitionMetadata { version: 0, topic_id: topic_id.to_string() })
}

async fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match disk::read_file(path).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io_error(path)(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_checkpoints_parse_or_are_refused() {
        let good = parse_offset_checkpoint(b"0\n2\nt-1 0 42\nu 3 0\n").unwrap();
        assert_eq!(good.get(&TopicPartition::new("t-1", 0)), Some(&42));
        assert_eq!(good.len(), 2);
        for bad in ["", "0", "0\n3\nt 0 1\n", "7\n0\n", "0\n1\nt 0\n", "0\n1\nt x 1\n"] {
            assert_eq!(parse_offset_checkpoint(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn partition_metadata_is_kafkas() {
        // Kafka's Uuid(1, 2) as text.
        let bytes = encode_partition_metadata(&TopicId::from_u64_pair(1, 2));
        assert_eq!(bytes, b"version: 0\ntopic_id: AAAAAAAAAAEAAAAAAAAAAg");
        assert_eq!(bytes.len() as u64, PARTITION_METADATA_BYTES);
        assert_eq!(parse_partition_metadata(&bytes).unwrap().topic_id, "AAAAAAAAAAEAAAAAAAAAAg");
        for bad in ["", "version: 1\ntopic_id: AAAAAAAAAAEAAAAAAAAAAg", "version: 0\ntopic_id: x"] {
            assert!(parse_partition_metadata(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn meta_properties_of_kafka_parse() {
        let text = b"#\n#Fri Nov 21 04:50:45 UTC 2025\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\n\
            directory.id=s3hd9bYiVWQ2zTf8xNwqOA\nnode.id=1\nversion=1\n";
        let meta = parse_meta_properties(text).unwrap();
        assert_eq!(meta.cluster_id, "MkU3OEVBNTcwNTJENDM2Qg");
        assert_eq!(meta.node_id, 1);
        assert_eq!(meta.directory_id.as_deref(), Some("s3hd9bYiVWQ2zTf8xNwqOA"));
        assert!(parse_meta_properties(b"version=0\nnode.id=1\ncluster.id=x\n").is_err());
        assert!(parse_meta_properties(b"version=1\ncluster.id=x\n").is_err());
    }
}
