//! The immutable metadata image that every shard reads: built by replaying records, shared as
//! `Arc`, replaced whole. Topics are `Arc`s of their own, so a new image copies only pointers.
//! Pure: `apply` is the only way an image changes, on replay and after a command alike.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::quotas::{self, Quotas};
use super::records::Record;
use crate::types::{Offset, TopicId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceType {
    Topic,
    Broker,
    /// Of a group (KIP-848): it need not exist.
    Group,
    ClientMetrics,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionImage {
    /// Broker ids.
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
    pub leader: i32,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
}

/// What a record changes of a partition; `None` leaves it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionChange {
    pub isr: Option<Vec<i32>>,
    /// A new leader, or none (-1); the leader epoch moves on either way.
    pub leader: Option<i32>,
    pub replicas: Option<Vec<i32>>,
    /// Nobody is eligible beside the ISR (KIP-966): Kafka's field, which Spindle only ever empties.
    pub clears_elr: bool,
}

impl PartitionImage {
    fn change(&mut self, change: &PartitionChange) {
        if let Some(isr) = &change.isr {
            self.isr = isr.clone();
        }
        if let Some(replicas) = &change.replicas {
            self.replicas = replicas.clone();
        }
        if let Some(leader) = change.leader {
            self.leader = leader;
            self.leader_epoch += 1;
        }
        self.partition_epoch += 1;
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicImage {
    pub name: Arc<str>,
    pub id: TopicId,
    pub partitions: Vec<PartitionImage>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerEndpoint {
    pub listener: String,
    pub host: String,
    /// One port in shared mode, one a shard in range mode.
    pub ports: Vec<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerImage {
    pub broker_id: i32,
    pub rack: Option<String>,
    pub endpoints: Vec<BrokerEndpoint>,
    pub shard_count: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Offset of the last metadata record applied + 1.
    pub offset: Offset,
    pub cluster_id: String,
    pub topics: BTreeMap<Arc<str>, Arc<TopicImage>>,
    pub topic_names: HashMap<TopicId, Arc<str>>,
    pub brokers: BTreeMap<i32, BrokerImage>,
    /// Dynamic configs; broker "" is the cluster-wide default.
    pub configs: HashMap<(ResourceType, String), Arc<BTreeMap<String, String>>>,
    pub quotas: Arc<Quotas>,
    pub next_producer_id: i64,
    /// Finalized levels; one at 0 is not there.
    pub features: BTreeMap<String, i16>,
}

impl Image {
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(name)
    }
    pub fn topic_by_id(&self, id: &TopicId) -> Option<&Arc<TopicImage>> {
        self.topics.get(self.topic_names.get(id)?)
    }
    pub fn topic_configs(&self, name: &str) -> Option<&Arc<BTreeMap<String, String>>> {
        self.configs.get(&(ResourceType::Topic, name.to_string()))
    }

    /// Keys set on a topic or a broker; empty when none are.
    pub fn config_map(&self, kind: ResourceType, name: &str) -> BTreeMap<String, String> {
        self.configs.get(&(kind, name.to_string())).map(|c| (**c).clone()).unwrap_or_default()
    }

    /// The image after `record`. Err when the record can't follow what came before it.
    pub fn apply(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::Topic { name, id } => {
                if self.topics.contains_key(name.as_str()) || self.topic_names.contains_key(id) {
                    return Err(format!("topic {name} ({id}) exists already"));
                }
                let name: Arc<str> = name.as_str().into();
                let topic = TopicImage { name: name.clone(), id: *id, partitions: Vec::new() };
                self.topics.insert(name.clone(), Arc::new(topic));
                self.topic_names.insert(*id, name);
            }
            Record::Partition { topic, partition, state } => {
                let name = self.topic_names.get(topic);
                let image = name.and_then(|name| self.topics.get_mut(name));
                let image =
                    image.ok_or_else(|| format!("partition of an unknown topic {topic}"))?;
                let image = Arc::make_mut(image);
                match usize::try_from(*partition) {
                    Ok(i) if i == image.partitions.len() => image.partitions.push(state.clone()),
                    Ok(i) if i < image.partitions.len() => image.partitions[i] = state.clone(),
                    _ => return Err(format!("partition {partition} of {} skips one", image.name)),
                }
            }
            Record::Config { resource, name, key, value } => {
                let slot = (*resource, name.clone());
                let keys = Arc::make_mut(self.configs.entry(slot.clone()).or_default());
                match value {
                    Some(value) => keys.insert(key.clone(), value.clone()),
                    None => keys.remove(key),
                };
                if keys.is_empty() {
                    self.configs.remove(&slot);
                }
            }
            Record::ClientQuota { entity, key, value } => {
                quotas::apply(Arc::make_mut(&mut self.quotas), entity, key, *value);
            }
            Record::RemoveTopic { id } => {
                let name = self.topic_names.remove(id);
                let name = name.ok_or_else(|| format!("removal of an unknown topic {id}"))?;
                self.topics.remove(&name);
                self.configs.remove(&(ResourceType::Topic, name.to_string()));
            }
            Record::RegisterBroker { broker, .. } => {
                self.brokers.insert(broker.broker_id, broker.clone());
            }
            Record::ProducerIds { next, .. } => {
                if *next < self.next_producer_id {
                    return Err(format!(
                        "producer ids go back from {} to {next}",
                        self.next_producer_id
                    ));
                }
                self.next_producer_id = *next;
            }
            Record::PartitionChange { topic, partition, change } => {
                let name = self.topic_names.get(topic);
                let image = name.and_then(|name| self.topics.get_mut(name));
                let image = image.ok_or_else(|| format!("change of an unknown topic {topic}"))?;
                let image = Arc::make_mut(image);
                let index = usize::try_from(*partition).unwrap_or(usize::MAX);
                match image.partitions.get_mut(index) {
                    Some(p) => p.change(change),
                    None => return Err(format!("{} has no partition {partition}", image.name)),
                }
            }
            Record::FeatureLevel { name, level } => {
                match level {
                    0 => self.features.remove(name),
                    level => self.features.insert(name.clone(), *level),
                };
            }
            Record::UnregisterBroker { broker_id } => {
                self.brokers.remove(broker_id);
            }
            // What lies between the marks of a transaction is kept or undone by who replays.
            Record::BeginTransaction | Record::EndTransaction | Record::AbortTransaction => {}
            Record::NoOp | Record::Unused { .. } => {}
        }
        Ok(())
    }
}
