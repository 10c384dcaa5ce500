//! What a client asks a Kafka cluster before and after the traffic: where the leaders are, create
//! and delete a topic, end offsets, a producer id; and one produce or fetch at a time, for tests.
//! Plain answers in this room's own types; errors carry Kafka's name. Works against any broker.
//! Not here: the hot paths (`producer.rs`, `consumer.rs`), which encode their own frames.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use smallvec::SmallVec;

use super::{Asked, ClientError, Connection, RawRequest};
use crate::runtime::executor::run_blocking;
use crate::runtime::{now, sleep};
use crate::types::TopicId;
use crate::wire::fetch::{self, FetchRequest, FetchResponse};
use crate::wire::produce::{self, ProducePartitionResponse};

pub const PRODUCE_KEY: i16 = 0;
pub const FETCH_KEY: i16 = 1;
/// What `wire::produce` and `wire::fetch` encode.
pub const PRODUCE_VERSIONS: (i16, i16) = (3, 13);
pub const FETCH_VERSIONS: (i16, i16) = (4, 18);
/// From these versions on a topic is named by its id (KIP-516).
pub const PRODUCE_BY_ID: i16 = 13;
pub const FETCH_BY_ID: i16 = 13;

/// From these versions on the client waits for the time that a quota asks for; before, the broker did (KIP-219).
pub const PRODUCE_WAITS_ITSELF: i16 = 6;
pub const FETCH_WAITS_ITSELF: i16 = 8;

const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;

/// `resource_type` of DescribeConfigs.
const TOPIC_RESOURCE: i8 = 2;

/// `timestamp` of ListOffsets.
pub const LATEST: i64 = -1;
pub const EARLIEST: i64 = -2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerNode {
    pub id: i32,
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    pub index: i32,
    pub error_code: i16,
    /// -1 when there is none.
    pub leader: i32,
    pub leader_epoch: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMetadata {
    pub name: String,
    pub error_code: i16,
    /// nil from brokers older than topic ids.
    pub topic_id: TopicId,
    /// Sorted by index.
    pub partitions: Vec<PartitionMetadata>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterMetadata {
    pub cluster_id: Option<String>,
    pub controller: i32,
    pub brokers: Vec<BrokerNode>,
    pub topics: Vec<TopicMetadata>,
}

/// A host name is looked up off the executor; an address needs no lookup.
pub async fn resolve(host: &str, port: u16) -> Result<SocketAddr, ClientError> {
    if let Ok(ip) = host.parse::<std::net::IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let name = host.to_string();
    let found = run_blocking(move || {
        (name.as_str(), port).to_socket_addrs().map(|all| all.collect::<Vec<_>>())
    })
    .await;
    let failed = |reason: String| ClientError::Connect { addr: format!("{host}:{port}"), reason };
    let all = found.map_err(|e| failed(format!("the host name can't be resolved: {e}")))?;
    // IPv4 first: a broker that listens on one family listens on that one.
    all.iter()
        .find(|a| a.is_ipv4())
        .or(all.first())
        .copied()
        .ok_or_else(|| failed("the host name has no address".to_string()))
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_string()))
}

fn check(what: String, code: i16, message: Option<&StrBytes>) -> Result<(), ClientError> {
    if code == 0 {
        return Ok(());
    }
    Err(ClientError::Broker { what, code, message: message.map(|m| m.to_string()) })
}

impl Connection {
    /// `None` asks for every topic, an empty slice for none. Creates nothing.
    pub async fn metadata(
        &self,
        topics: Option<&[&str]>,
        limit: Duration,
    ) -> Result<ClusterMetadata, ClientError> {
        let wanted = topics.map(|names| {
            let named = |n: &&str| MetadataRequestTopic::default().with_name(Some(topic_name(n)));
            names.iter().map(named).collect()
        });
        let request =
            MetadataRequest::default().with_topics(wanted).with_allow_auto_topic_creation(false);
        let (answer, _) = self.call_latest(&request, limit).await?;
        check("Metadata".to_string(), answer.error_code, None)?;
        let topics = answer.topics.into_iter().map(|t| {
            let mut partitions: Vec<PartitionMetadata> = t
                .partitions
                .iter()
                .map(|p| PartitionMetadata {
                    index: p.partition_index,
                    error_code: p.error_code,
                    leader: p.leader_id.0,
                    leader_epoch: p.leader_epoch,
                })
                .collect();
            partitions.sort_by_key(|p| p.index);
            TopicMetadata {
                name: t.name.map(|n| n.0.to_string()).unwrap_or_default(),
                error_code: t.error_code,
                topic_id: t.topic_id,
                partitions,
            }
        });
        Ok(ClusterMetadata {
            cluster_id: answer.cluster_id.map(|c| c.to_string()),
            controller: answer.controller_id.0,
            topics: topics.collect(),
            brokers: answer
                .brokers
                .into_iter()
                .map(|b| BrokerNode {
                    id: b.node_id.0,
                    host: b.host.to_string(),
                    port: b.port as u16,
                })
                .collect(),
        })
    }

    /// Replication factor -1 takes the broker's default (KIP-464).
    pub async fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        replication_factor: i16,
        configs: &[(&str, &str)],
        limit: Duration,
    ) -> Result<(), ClientError> {
        let configs = configs.iter().map(|(key, value)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_string(key.to_string()))
                .with_value(Some(StrBytes::from_string(value.to_string())))
        });
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(replication_factor)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(limit.as_millis() as i32);
        let (answer, _) = self.call_latest(&request, limit).await?;
        for topic in &answer.topics {
            let what = format!("creating topic {name}");
            check(what, topic.error_code, topic.error_message.as_ref())?;
        }
        Ok(())
    }

    pub async fn delete_topic(&self, name: &str, limit: Duration) -> Result<(), ClientError> {
        // v6 names topics in `topics`, older versions in `topic_names`.
        let version = self.version(20, (1, 6))?;
        let request = DeleteTopicsRequest::default().with_timeout_ms(limit.as_millis() as i32);
        let request = if version >= 6 {
            let state = DeleteTopicState::default().with_name(Some(topic_name(name)));
            request.with_topics(vec![state])
        } else {
            request.with_topic_names(vec![topic_name(name)])
        };
        let answer = self.call(version, &request, limit).await?;
        for topic in &answer.responses {
            let what = format!("deleting topic {name}");
            check(what, topic.error_code, topic.error_message.as_ref())?;
        }
        Ok(())
    }

    /// Offsets in the order of `partitions`; this connection must be to their leader.
    pub async fn list_offsets(
        &self,
        topic: &str,
        partitions: &[i32],
        timestamp: i64,
        limit: Duration,
    ) -> Result<Vec<i64>, ClientError> {
        let asked = partitions.iter().map(|&index| {
            ListOffsetsPartition::default()
                .with_partition_index(index)
                .with_current_leader_epoch(-1)
                .with_timestamp(timestamp)
        });
        let asked = ListOffsetsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(asked.collect());
        let request =
            ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked]);
        let (answer, _) = self.call_latest(&request, limit).await?;
        let partitions_found = answer.topics.iter().flat_map(|t| &t.partitions);
        let found: BTreeMap<i32, _> = partitions_found.map(|p| (p.partition_index, p)).collect();
        let mut offsets = Vec::with_capacity(partitions.len());
        for &index in partitions {
            let what = format!("ListOffsets of {topic}-{index}");
            let Some(p) = found.get(&index) else {
                return Err(ClientError::Protocol(format!("{what}: the answer leaves it out")));
            };
            check(what, p.error_code, None)?;
            offsets.push(p.offset);
        }
        Ok(offsets)
    }

    /// Producer id and epoch of an idempotent producer (KIP-98).
    pub async fn init_producer_id(&self, limit: Duration) -> Result<(i64, i16), ClientError> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(i32::MAX)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let until = now() + limit;
        let answer = loop {
            let (answer, _) = self.call_latest(&request, limit).await?;
            // A broker that has just started hands out ids a moment later: every client waits.
            if answer.error_code != COORDINATOR_LOAD_IN_PROGRESS || now() >= until {
                break answer;
            }
            sleep(Duration::from_millis(20)).await;
        };
        check("InitProducerId".to_string(), answer.error_code, None)?;
        Ok((answer.producer_id.0, answer.producer_epoch))
    }

    /// One batch to one partition, and its answer. `acks` is 1 or -1.
    pub async fn produce(
        &self,
        topic: (&str, TopicId),
        partition: i32,
        acks: i16,
        records: Bytes,
        limit: Duration,
    ) -> Result<ProducePartitionResponse, ClientError> {
        let version = self.version(PRODUCE_KEY, PRODUCE_VERSIONS)?;
        let version = if topic.1.is_nil() { version.min(PRODUCE_BY_ID - 1) } else { version };
        let correlation_id = self.next_correlation_id();
        let (head, tail) = produce::encode_single_partition_request(
            version,
            correlation_id,
            self.client_id(),
            acks,
            limit.as_millis() as i32,
            topic.0,
            topic.1,
            partition,
            records.len(),
        );
        let pieces = SmallVec::from_iter([head.into(), records, tail.into()]);
        let request = RawRequest { api_key: PRODUCE_KEY, version, correlation_id, pieces };
        let body = self.exchange(request, "Produce", limit).await?;
        let answer = produce::decode_response(version, &body)
            .map_err(|e| ClientError::Protocol(format!("Produce: {e}")))?;
        answer
            .topics
            .into_iter()
            .flat_map(|t| t.partitions)
            .next()
            .ok_or_else(|| ClientError::Protocol("Produce: an empty answer".to_string()))
    }

    /// The version that `fetch` speaks on this connection, for a topic with this id.
    pub fn fetch_version(&self, topic_id: TopicId) -> Result<i16, ClientError> {
        let version = self.version(FETCH_KEY, FETCH_VERSIONS)?;
        Ok(if topic_id.is_nil() { version.min(FETCH_BY_ID - 1) } else { version })
    }

    pub async fn fetch(
        &self,
        version: i16,
        request: &FetchRequest,
        limit: Duration,
    ) -> Result<FetchResponse<Bytes>, ClientError> {
        let body = self.start_fetch(version, request).answer(limit).await?;
        self.fetched(version, &body)
    }

    /// Sends it; `fetched` reads what `Asked::answer` brings.
    pub fn start_fetch(&self, version: i16, request: &FetchRequest) -> Asked {
        let correlation_id = self.next_correlation_id();
        let frame = fetch::encode_request(version, correlation_id, self.client_id(), request);
        let pieces = SmallVec::from_iter([frame]);
        self.start(RawRequest { api_key: FETCH_KEY, version, correlation_id, pieces }, "Fetch")
    }

    pub fn fetched(&self, version: i16, body: &Bytes) -> Result<FetchResponse<Bytes>, ClientError> {
        fetch::decode_response(version, body).map_err(|e| {
            ClientError::Protocol(format!("{}: the answer to Fetch: {e}", self.addr()))
        })
    }

    /// A topic's settings that are asked for and exist; values as the broker prints them.
    pub async fn topic_configs(
        &self,
        topic: &str,
        keys: &[&str],
        limit: Duration,
    ) -> Result<BTreeMap<String, String>, ClientError> {
        let text = |s: &str| StrBytes::from_string(s.to_string());
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC_RESOURCE)
            .with_resource_name(text(topic))
            .with_configuration_keys(Some(keys.iter().map(|k| text(k)).collect()));
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let (answer, _) = self.call_latest(&request, limit).await?;
        let mut configs = BTreeMap::new();
        for result in answer.results {
            let what = format!("reading the settings of topic {topic}");
            check(what, result.error_code, result.error_message.as_ref())?;
            for config in result.configs {
                let value = config.value.map(|v| v.to_string()).unwrap_or_default();
                configs.insert(config.name.to_string(), value);
            }
        }
        Ok(configs)
    }
}
