//! The cluster: brokers, the metadata quorum, API versions, what lies in the log directories.

use kafka_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use kafka_protocol::messages::{
    ApiKey, DescribeClusterRequest, DescribeLogDirsRequest, DescribeQuorumRequest, TopicName,
};
use kafka_protocol::protocol::Request;
use serde::Serialize;

use super::{Result, Session, check, text};
use crate::client::admin::BrokerNode;

#[derive(Clone, Debug, Serialize)]
pub struct Cluster {
    pub cluster_id: String,
    pub controller: i32,
    pub brokers: Vec<Broker>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Broker {
    pub id: i32,
    pub host: String,
    pub port: u16,
    pub rack: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ApiVersionRange {
    pub key: i16,
    pub name: String,
    pub min: i16,
    pub max: i16,
    /// The highest version that this program speaks, if it knows the API.
    pub known: Option<i16>,
}

#[derive(Clone, Debug, Serialize)]
pub struct LogDir {
    pub broker: i32,
    pub path: String,
    /// `null` from brokers that do not tell (before KIP-827).
    pub total_bytes: Option<i64>,
    pub usable_bytes: Option<i64>,
    pub partitions: usize,
    pub bytes: i64,
    /// Largest first.
    pub topics: Vec<TopicBytes>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TopicBytes {
    pub topic: String,
    pub partitions: usize,
    pub bytes: i64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Quorum {
    pub leader: i32,
    pub leader_epoch: i32,
    pub high_watermark: i64,
    pub replicas: Vec<QuorumReplica>,
}

#[derive(Clone, Debug, Serialize)]
pub struct QuorumReplica {
    pub id: i32,
    /// `voter` or `observer`.
    pub role: &'static str,
    pub log_end_offset: i64,
    /// Records behind the leader.
    pub lag: i64,
    /// Unix ms; -1 when unknown.
    pub last_fetch_ms: i64,
    pub last_caught_up_ms: i64,
}

impl Session {
    pub async fn cluster(&self) -> Result<Cluster> {
        let request = DescribeClusterRequest::default().with_endpoint_type(1);
        let (answer, _) = self.any().call_latest(&request, self.limit).await?;
        let what = || "describing the cluster".to_string();
        check(what, answer.error_code, answer.error_message.as_ref())?;
        let brokers = answer.brokers.into_iter().map(|b| Broker {
            id: b.broker_id.0,
            host: b.host.to_string(),
            port: b.port as u16,
            rack: b.rack.map(|r| r.to_string()),
        });
        Ok(Cluster {
            cluster_id: answer.cluster_id.to_string(),
            controller: answer.controller_id.0,
            brokers: brokers.collect(),
        })
    }

    /// As the bootstrap broker says them.
    pub fn api_versions(&self) -> Vec<ApiVersionRange> {
        let range = |(key, (min, max)): (i16, (i16, i16))| {
            let known = ApiKey::try_from(key).ok();
            let name = known.map_or_else(|| format!("API key {key}"), |k| format!("{k:?}"));
            ApiVersionRange { key, name, min, max, known: known.map(|k| k.valid_versions().max) }
        };
        self.any().versions().into_iter().map(range).collect()
    }

    pub async fn log_dirs(&self) -> Result<Vec<LogDir>> {
        // v4 has all that is shown here (KIP-827).
        const VERSIONS: (i16, i16) = (1, 4);
        let cluster = self.metadata(Some(&[])).await?;
        let mut dirs = Vec::new();
        for node in &cluster.brokers {
            let connection = self.node(node).await?;
            let version = connection.version(DescribeLogDirsRequest::KEY, VERSIONS)?;
            let request = DescribeLogDirsRequest::default().with_topics(None);
            let answer = connection.call(version, &request, self.limit).await?;
            check(|| format!("log directories of broker {}", node.id), answer.error_code, None)?;
            for dir in answer.results {
                let path = dir.log_dir.to_string();
                check(|| format!("{path} of broker {}", node.id), dir.error_code, None)?;
                dirs.push(log_dir(node, path, (dir.total_bytes, dir.usable_bytes), dir.topics));
            }
        }
        Ok(dirs)
    }

    pub async fn quorum(&self) -> Result<Quorum> {
        let partition = PartitionData::default().with_partition_index(0);
        let topic = TopicData::default()
            .with_topic_name(TopicName(text("__cluster_metadata")))
            .with_partitions(vec![partition]);
        let request = DescribeQuorumRequest::default().with_topics(vec![topic]);
        let (answer, _) = self.any().call_latest(&request, self.limit).await?;
        let what = || "describing the metadata quorum".to_string();
        check(what, answer.error_code, answer.error_message.as_ref())?;
        let Some(p) = answer.topics.into_iter().flat_map(|t| t.partitions).next() else {
            let why = "the answer to DescribeQuorum is empty".to_string();
            return Err(crate::client::ClientError::Protocol(why).into());
        };
        check(what, p.error_code, p.error_message.as_ref())?;
        let end = p.current_voters.iter().map(|v| v.log_end_offset).max().unwrap_or(-1);
        let voters = p.current_voters.into_iter().map(|r| ("voter", r));
        let observers = p.observers.into_iter().map(|r| ("observer", r));
        let replicas = voters.chain(observers).map(|(role, r)| QuorumReplica {
            id: r.replica_id.0,
            role,
            log_end_offset: r.log_end_offset,
            lag: (end - r.log_end_offset).max(0),
            last_fetch_ms: r.last_fetch_timestamp,
            last_caught_up_ms: r.last_caught_up_timestamp,
        });
        Ok(Quorum {
            leader: p.leader_id.0,
            leader_epoch: p.leader_epoch,
            high_watermark: p.high_watermark,
            replicas: replicas.collect(),
        })
    }
}

fn log_dir(
    node: &BrokerNode,
    path: String,
    (total, usable): (i64, i64),
    topics: Vec<kafka_protocol::messages::describe_log_dirs_response::DescribeLogDirsTopic>,
) -> LogDir {
    let mut topics: Vec<TopicBytes> = topics
        .into_iter()
        .map(|t| TopicBytes {
            topic: t.name.to_string(),
            partitions: t.partitions.len(),
            bytes: t.partitions.iter().map(|p| p.partition_size).sum(),
        })
        .collect();
    topics.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.topic.cmp(&b.topic)));
    LogDir {
        broker: node.id,
        path,
        total_bytes: (total >= 0).then_some(total),
        usable_bytes: (usable >= 0).then_some(usable),
        partitions: topics.iter().map(|t| t.partitions).sum(),
        bytes: topics.iter().map(|t| t.bytes).sum(),
        topics,
    }
}
