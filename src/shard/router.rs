//! Finds the shard that owns a partition and asks it: a direct call here, a job there.
//! Cheap to clone; lives on one shard. This is all that api/ sees of the broker.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::topics::owner_shard;
use super::{FetchOutcome, Memory, ProduceTicket, Shard};
use crate::config::BrokerConfig;
use crate::controller::{Command, Image, Reply, TopicImage};
use crate::limits;
use crate::metrics::ShardCounters;
use crate::partition::{FetchSpec, Partition, PartitionError};
use crate::runtime;
use crate::runtime::activity::{Activity, charged};
use crate::types::{Offset, ShardId, TopicId, TopicPartition};

pub use crate::partition::{OffsetAnswer, OffsetQuery, ProducerInfo};

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

/// Nodes of one broker in range mode: `broker.id * 256 + core`.
const NODES_PER_BROKER: i32 = 256;

#[derive(Clone)]
pub struct Router {
    pub(super) shard: Rc<Shard>,
}

impl Router {
    pub fn new(shard: Rc<Shard>) -> Router {
        Router { shard }
    }

    pub fn image(&self) -> Arc<Image> {
        self.shard.image()
    }

    pub fn config(&self) -> &Arc<BrokerConfig> {
        &self.shard.config
    }

    pub fn counters(&self) -> &ShardCounters {
        self.shard.counters()
    }

    pub fn memory(&self) -> &Rc<Memory> {
        &self.shard.memory
    }

    pub fn is_stopping(&self) -> bool {
        self.shard.is_stopping()
    }

    pub fn fetch_sessions(&self) -> std::cell::RefMut<'_, super::fetch_sessions::FetchSessions> {
        self.shard.fetch_sessions.borrow_mut()
    }

    pub fn now_ms(&self) -> i64 {
        runtime::wall_clock_ms()
    }

    pub fn random_u64(&self) -> u64 {
        runtime::random_u64()
    }

    pub fn deadline_in_ms(&self, timeout_ms: i32) -> super::Deadline {
        runtime::now() + Duration::from_millis(timeout_ms.max(0) as u64)
    }

    pub(super) fn is_range(&self, listener: usize) -> bool {
        self.config().listeners.get(listener).is_some_and(|l| l.last_port.is_some())
    }

    /// All nodes this listener advertises: one a broker in shared mode, one a (broker, core) in
    /// range mode.
    pub fn nodes(&self, listener: usize) -> Vec<NodeAddress> {
        let image = self.image();
        let Some(name) = self.config().listeners.get(listener).map(|l| &l.name) else {
            return Vec::new();
        };
        let range = self.is_range(listener);
        let mut nodes = Vec::new();
        for broker in image.brokers.values() {
            let Some(endpoint) = broker.endpoints.iter().find(|e| e.listener == *name) else {
                continue;
            };
            for (core, port) in endpoint.ports.iter().enumerate() {
                let node_id = match range {
                    true => broker.broker_id * NODES_PER_BROKER + core as i32,
                    false => broker.broker_id,
                };
                nodes.push(NodeAddress {
                    node_id,
                    host: endpoint.host.clone(),
                    port: i32::from(*port),
                    rack: broker.rack.clone(),
                });
            }
        }
        nodes
    }

    /// Node id a client of this listener should send admin requests to.
    pub fn controller_node(&self, listener: usize) -> i32 {
        let id = self.config().broker_id;
        if self.is_range(listener) { id * NODES_PER_BROKER } else { id }
    }

    /// Node id of the leader of a partition as this listener advertises it (-1: none).
    pub fn leader_node(&self, listener: usize, topic: &TopicImage, partition: i32) -> i32 {
        let image = usize::try_from(partition).ok().and_then(|i| topic.partitions.get(i));
        match image {
            Some(p) if p.leader >= 0 => self.replica_node(listener, topic, partition, p.leader),
            _ => -1,
        }
    }

    /// Maps a broker id of a replica list to the node id this listener advertises for that
    /// partition.
    pub fn replica_node(
        &self,
        listener: usize,
        topic: &TopicImage,
        partition: i32,
        broker_id: i32,
    ) -> i32 {
        if !self.is_range(listener) {
            return broker_id;
        }
        let image = self.image();
        let shard = match image.brokers.get(&broker_id) {
            // Another broker's shards all have the same share, as far as is known here.
            Some(other) if broker_id != self.shard.config.broker_id => {
                let round: Vec<ShardId> = (0..other.shard_count.max(1)).collect();
                owner_shard(&topic.id, partition, &round)
            }
            _ => owner_shard(&topic.id, partition, &self.shard.round),
        };
        broker_id * NODES_PER_BROKER + shard as i32
    }

    /// Accepts either form of node id (broker id, or broker id * 256 + core in range mode).
    pub fn broker_of_node(&self, listener: usize, node_id: i32) -> i32 {
        let known = self.image().brokers.contains_key(&node_id);
        if self.is_range(listener) && !known { node_id / NODES_PER_BROKER } else { node_id }
    }

    /// Name of a topic id that this broker hosts.
    pub fn topic_name(&self, id: &TopicId) -> Option<Arc<str>> {
        self.shard.topic_by_id(id).map(|t| t.image.name.clone())
    }

    pub fn topic_image(&self, name: &str) -> Option<Arc<TopicImage>> {
        self.shard.topic(name).map(|t| t.image.clone())
    }

    /// Starts an append; `name` is used when `id` is nil.
    pub fn begin_produce(
        &self,
        name: &str,
        id: &TopicId,
        partition: i32,
        records: Bytes,
        acks: i16,
    ) -> ProduceTicket {
        let topic = if id.is_nil() { self.shard.topic(name) } else { self.shard.topic_by_id(id) };
        match topic {
            Some(topic) => self.shard.begin_produce(&topic, partition, records, acks),
            None => ProduceTicket::Refused(PartitionError::Unknown),
        }
    }

    pub async fn fetch(
        &self,
        specs: Rc<Vec<FetchSpec>>,
        max_wait: Duration,
        min_bytes: usize,
        max_bytes: usize,
    ) -> FetchOutcome {
        let fetch = self.shard.fetch(specs, max_wait, min_bytes, max_bytes);
        charged(Activity::Fetch, fetch).await
    }

    /// Runs `work` with the partition, open, on its own shard.
    async fn with_partition<T, F, Fut>(
        &self,
        tp: &TopicPartition,
        leader_epoch: i32,
        work: F,
    ) -> Result<T, PartitionError>
    where
        T: Send + 'static,
        F: FnOnce(Rc<Partition>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, PartitionError>> + 'static,
    {
        let topic = self.shard.topic(&tp.topic).ok_or(PartitionError::Unknown)?;
        let owner = topic.owner(tp.partition).ok_or(PartitionError::Unknown)?;
        let tp = tp.clone();
        self.shard
            .ask(owner, move |shard: &Rc<Shard>| {
                let partition = shard.partition(&tp);
                async move {
                    let partition = partition.ok_or(PartitionError::Unknown)?;
                    partition.check_leader_epoch(leader_epoch)?;
                    partition.open().await?;
                    work(partition).await
                }
            })
            .await?
    }

    /// `leader_epoch` -1: not checked.
    pub async fn list_offset(
        &self,
        tp: &TopicPartition,
        leader_epoch: i32,
        query: OffsetQuery,
    ) -> Result<OffsetAnswer, PartitionError> {
        self.with_partition(tp, leader_epoch, move |p| async move { p.list_offset(query).await })
            .await
    }

    /// (epoch, end offset), (-1, -1) when unknown.
    pub async fn end_offset_for_epoch(
        &self,
        tp: &TopicPartition,
        current_leader_epoch: i32,
        epoch: i32,
    ) -> Result<(i32, Offset), PartitionError> {
        self.with_partition(tp, current_leader_epoch, move |p| async move {
            p.end_offset_for_epoch(epoch)
        })
        .await
    }

    /// `offset` -1: up to the high watermark. Returns the new low watermark.
    pub async fn delete_records(
        &self,
        tp: &TopicPartition,
        offset: Offset,
    ) -> Result<Offset, PartitionError> {
        self.with_partition(tp, -1, move |p| async move { p.delete_records(offset).await }).await
    }

    pub async fn describe_producers(
        &self,
        tp: &TopicPartition,
    ) -> Result<Vec<ProducerInfo>, PartitionError> {
        self.with_partition(tp, -1, move |p| async move { Ok(p.describe_producers()) }).await
    }

    /// All replicas of this broker.
    pub async fn log_dirs(&self) -> Vec<LogDirInfo> {
        let mut replicas = Vec::new();
        for id in 0..self.shard.shard_count() {
            let asked = self.shard.ask(id, |shard: &Rc<Shard>| {
                let partitions = shard.all_partitions();
                async move {
                    let mut sizes = Vec::with_capacity(partitions.len());
                    for p in partitions {
                        let size_bytes = p.size_bytes().await;
                        let topic_partition = p.topic_partition.clone();
                        sizes.push(LogDirReplica { topic_partition, size_bytes });
                    }
                    sizes
                }
            });
            if let Ok(mut some) = asked.await {
                replicas.append(&mut some);
            }
        }
        replicas.sort_by(|a, b| a.topic_partition.cmp(&b.topic_partition));
        let dir = &self.shard.data_dir;
        let (total, usable) =
            runtime::disk::disk_space(dir).await.map_or((-1, -1), |(t, u)| (t as i64, u as i64));
        vec![LogDirInfo {
            path: dir.display().to_string(),
            total_bytes: total,
            usable_bytes: usable,
            replicas,
        }]
    }

    /// Runs a command on the controller shard; returns when every shard of this broker has applied
    /// the image that holds its result. Err when the controller's mailbox is full.
    pub async fn controller(&self, command: Command) -> Result<Reply, PartitionError> {
        self.shard
            .ask(0, move |shard: &Rc<Shard>| {
                let shard = shard.clone();
                async move {
                    let controller = shard.controller.borrow().clone();
                    let controller = controller
                        .ok_or_else(|| PartitionError::Storage("no controller yet".into()))?;
                    let submit = controller.submit(command);
                    let (_, reply) = charged(Activity::Coordination, submit).await;
                    shard.publish(controller.image()).await;
                    Ok(reply)
                }
            })
            .await?
    }

    /// A producer id never used before: from this shard's block, refilled by the controller.
    pub async fn next_producer_id(&self) -> Result<i64, PartitionError> {
        let (next, end) = self.shard.producer_ids.get();
        if next < end {
            self.shard.producer_ids.set((next + 1, end));
            return Ok(next);
        }
        let count = limits::PRODUCER_ID_BLOCK;
        match self.controller(Command::AllocateProducerIds { count }).await? {
            Reply::ProducerIds(Ok(first)) => {
                // Two may refill at once: the block that is replaced is lost, never reused.
                self.shard.producer_ids.set((first + 1, first + count));
                Ok(first)
            }
            Reply::ProducerIds(Err(e)) => Err(PartitionError::Storage(e.to_string())),
            _ => Err(PartitionError::Storage("the controller answered something else".into())),
        }
    }
}

impl Shard {
    /// Gives the image to every shard and waits until each has applied it.
    pub async fn publish(self: &Rc<Self>, image: Arc<Image>) {
        let waiting: BTreeSet<ShardId> =
            (0..self.shard_count()).filter(|i| *i != self.id).collect();
        let mut receivers = Vec::with_capacity(waiting.len());
        for id in waiting {
            loop {
                let image = image.clone();
                let posted = self.post(id, move |shard: &Rc<Shard>| {
                    let shard = shard.clone();
                    async move { shard.apply_image(image).await }
                });
                match posted {
                    Ok(receiver) => {
                        receivers.push(receiver);
                        break;
                    }
                    // Metadata must arrive: wait for room, the shard is busy but alive.
                    Err(_) if !self.stopping.get() => {
                        runtime::sleep(Duration::from_millis(1)).await;
                    }
                    Err(_) => break,
                }
            }
        }
        self.apply_image(image).await;
        for receiver in receivers {
            let _ = receiver.await;
        }
        // A checkpoint names a partition without its topic's id: a topic that comes back under the
        // same name must not find the deleted one's offsets there after a crash.
        let write = self.write_checkpoints.borrow().clone();
        // Counted, not flagged: of two deletions at once neither is answered before its own is written.
        let deletions = self.deletions.get();
        if self.deletions_written.get() < deletions
            && let Some(write) = write
            && write().await
        {
            self.deletions_written.set(self.deletions_written.get().max(deletions));
        }
    }
}
