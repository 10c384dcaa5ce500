//! One client of the scenario: finds the leader of a partition, keeps its connections, and forgets
//! everything when something fails. On the bundled generator's connection, so that the scenario
//! speaks to the broker over the simulated network as any client does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use spindle::client::admin::{ClusterMetadata, EARLIEST};
use spindle::client::{ClientError, Connection};
use spindle::runtime::{random_u64, sleep};
use spindle::types::TopicId;
use spindle::wire::fetch::{FetchPartition, FetchRequest, FetchTopic};

use crate::history::batch_at;

/// How long a client waits for an answer. Longer than most stalls, shorter than some.
pub const LIMIT: Duration = Duration::from_secs(3);
const TOPIC_ALREADY_EXISTS: i16 = 36;
const BOOTSTRAP: &str = "10.0.0.1:9092";

pub struct Client {
    name: String,
    connections: BTreeMap<SocketAddr, Connection>,
    metadata: Option<ClusterMetadata>,
}

impl Client {
    pub fn new(name: String) -> Client {
        Client { name, connections: BTreeMap::new(), metadata: None }
    }

    /// After any failure: new connections, new metadata.
    pub fn forget(&mut self) {
        self.connections.clear();
        self.metadata = None;
    }

    /// Forgets, and rests for a moment.
    pub async fn rest(&mut self) {
        self.forget();
        sleep(Duration::from_millis(2 + random_u64() % 60)).await;
    }

    async fn to(&mut self, addr: SocketAddr) -> Result<Connection, ClientError> {
        if let Some(known) = self.connections.get(&addr).filter(|c| c.closed().is_none()) {
            return Ok(known.clone());
        }
        let connection = Connection::connect(addr, &self.name, LIMIT).await?;
        self.connections.insert(addr, connection.clone());
        Ok(connection)
    }

    pub async fn any(&mut self) -> Result<Connection, ClientError> {
        self.to(BOOTSTRAP.parse().unwrap()).await
    }

    /// Where the leader of a partition listens, and the topic's id. An error code in the metadata
    /// is an error here.
    pub async fn leader(
        &mut self,
        topic: &str,
        partition: i32,
    ) -> Result<(SocketAddr, TopicId), ClientError> {
        let known =
            self.metadata.as_ref().is_some_and(|m| m.topics.iter().any(|t| t.name == topic));
        if !known {
            let connection = self.any().await?;
            self.metadata = Some(connection.metadata(Some(&[topic]), LIMIT).await?);
        }
        let metadata = self.metadata.as_ref().unwrap();
        let broken = |what: &str, code: i16| ClientError::Broker {
            what: format!("metadata of {topic}-{partition}: {what}"),
            code,
            message: None,
        };
        let t = metadata.topics.iter().find(|t| t.name == topic).ok_or(broken("topic", 3))?;
        if t.error_code != 0 {
            return Err(broken("topic", t.error_code));
        }
        let p = t.partitions.iter().find(|p| p.index == partition);
        let p = p.ok_or(broken("partition", 3))?;
        if p.error_code != 0 {
            return Err(broken("partition", p.error_code));
        }
        let node = metadata.brokers.iter().find(|b| b.id == p.leader);
        let node = node.unwrap_or_else(|| panic!("leader {} is no node: {metadata:?}", p.leader));
        let addr = format!("{}:{}", node.host, node.port).parse().expect("an advertised address");
        Ok((addr, t.topic_id))
    }

    pub async fn leader_connection(
        &mut self,
        topic: &str,
        partition: i32,
    ) -> Result<(Connection, TopicId), ClientError> {
        let (addr, id) = self.leader(topic, partition).await?;
        Ok((self.to(addr).await?, id))
    }

    pub async fn at(&mut self, addr: SocketAddr) -> Result<Connection, ClientError> {
        self.to(addr).await
    }
}

/// Error codes that a healthy broker may give while it starts, stops or is slow. Anything else
/// that a client of this scenario gets is a bug.
pub fn is_transient(code: i16) -> bool {
    // NOT_LEADER_OR_FOLLOWER, REQUEST_TIMED_OUT, COORDINATOR_LOAD_IN_PROGRESS, KAFKA_STORAGE_ERROR
    [6, 7, 14, 56].contains(&code)
}

/// Panics when the broker said something that it must not say.
pub fn expect_transient(who: &str, e: &ClientError) {
    match e {
        ClientError::Broker { code, .. } => {
            assert!(is_transient(*code), "{who}: {e}");
        }
        ClientError::Protocol(why) => panic!("{who}: {why}"),
        ClientError::Connect { .. } | ClientError::Closed { .. } | ClientError::Timeout { .. } => {}
    }
}

/// One partition as a whole reader finds it.
pub struct WholePartition {
    pub topic_id: TopicId,
    pub log_start: i64,
    pub high_watermark: i64,
    /// Whole batches; the first one may begin below `log_start`.
    pub bytes: Vec<u8>,
}

/// Reads from the first offset to the high watermark of the first answer that has no more.
pub async fn read_partition(
    client: &mut Client,
    topic: &str,
    partition: i32,
) -> Result<WholePartition, ClientError> {
    let (connection, topic_id) = client.leader_connection(topic, partition).await?;
    let earliest = connection.list_offsets(topic, &[partition], EARLIEST, LIMIT).await?;
    let log_start = earliest[0];
    let mut whole = WholePartition { topic_id, log_start, high_watermark: 0, bytes: Vec::new() };
    let mut position = log_start;
    loop {
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes: 4 << 20,
            isolation_level: 0,
            session_id: 0,
            session_epoch: -1,
            topics: vec![FetchTopic {
                name: Bytes::new(),
                topic_id,
                partitions: vec![FetchPartition {
                    index: partition,
                    current_leader_epoch: -1,
                    fetch_offset: position,
                    last_fetched_epoch: -1,
                    log_start_offset: -1,
                    max_bytes: 1 << 20,
                }],
            }],
            forgotten: Vec::new(),
            rack_id: Bytes::new(),
        };
        let version = connection.fetch_version(topic_id)?;
        let response = connection.fetch(version, &request, LIMIT).await?;
        let row = response.topics.iter().flat_map(|t| &t.partitions).next();
        let code = row.map_or(response.error_code, |p| p.error_code);
        let what = format!("reading {topic}-{partition} from {position}");
        let row = row.filter(|p| p.error_code == 0).ok_or(ClientError::Broker {
            what,
            code,
            message: None,
        })?;
        whole.high_watermark = row.high_watermark;
        let read: Vec<u8> = row.records.concat();
        if read.is_empty() {
            let at = position;
            assert_eq!(at, whole.high_watermark, "{topic}-{partition}: nothing is served at {at}");
            return Ok(whole);
        }
        let mut at = 0;
        while at < read.len() {
            let (header, bytes) = batch_at(topic, &read, at);
            position = header.last_offset() + 1;
            at += bytes.len();
        }
        whole.bytes.extend(read);
    }
}

/// The same, through whatever is transient.
pub async fn read_at_last(client: &mut Client, topic: &str, partition: i32) -> WholePartition {
    loop {
        match read_partition(client, topic, partition).await {
            Ok(whole) => return whole,
            Err(e) => {
                expect_transient("reader", &e);
                client.rest().await;
            }
        }
    }
}

/// A topic is there when this ends; an earlier attempt may have made it without an answer.
pub async fn create_at_last(
    client: &mut Client,
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) {
    loop {
        let created = match client.any().await {
            Ok(c) => c.create_topic(name, partitions, 1, configs, LIMIT).await,
            Err(e) => Err(e),
        };
        match created {
            Ok(()) | Err(ClientError::Broker { code: TOPIC_ALREADY_EXISTS, .. }) => return,
            Err(e) => {
                expect_transient("admin", &e);
                client.rest().await;
            }
        }
    }
}
