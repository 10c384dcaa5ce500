//! Metadata records in KRaft's own bytes: an unsigned varint each for the frame version (1), the api key and the
//! record version, then the message in flexible encoding (KIP-500, KIP-482). Pure.
//! Written at the versions of metadata.version 7 (3.3-IV3), the oldest that Kafka 4 reads; newer ones are read.
//! A (broker, core) port that KRaft has no field for is an endpoint of its own, `PLAINTEXT@1`, and the number of
//! shards is the highest level of the feature `spindle.shards`: Kafka's tools can show both.

use super::image::{BrokerEndpoint, BrokerImage, PartitionChange, PartitionImage, ResourceType};
use super::quotas::{QuotaEntity, Rate};
use super::record_fields::{Reader, Writer};
use crate::types::TopicId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Topic {
        name: String,
        id: TopicId,
    },
    Partition {
        topic: TopicId,
        partition: i32,
        state: PartitionImage,
    },
    /// `None` deletes the key.
    Config {
        resource: ResourceType,
        name: String,
        key: String,
        value: Option<String>,
    },
    /// `None` takes the quota away.
    ClientQuota {
        entity: QuotaEntity,
        key: String,
        value: Option<Rate>,
    },
    RemoveTopic {
        id: TopicId,
    },
    RegisterBroker {
        broker: BrokerImage,
        incarnation: TopicId,
        epoch: i64,
    },
    ProducerIds {
        broker_id: i32,
        broker_epoch: i64,
        next: i64,
    },
    FeatureLevel {
        name: String,
        level: i16,
    },
    PartitionChange {
        topic: TopicId,
        partition: i32,
        change: PartitionChange,
    },
    UnregisterBroker {
        broker_id: i32,
    },
    NoOp,
    /// What follows counts from its end on, or not at all (KIP-868).
    BeginTransaction,
    EndTransaction,
    AbortTransaction,
    /// A kind of KRaft's that Spindle has no use for.
    Unused {
        kind: &'static str,
    },
}

pub(super) const FRAME_VERSION: u32 = 1;
const REGISTER_BROKER: u32 = 0;
const TOPIC: u32 = 2;
const PARTITION: u32 = 3;
const CONFIG: u32 = 4;
const UNREGISTER_BROKER: u32 = 1;
const PARTITION_CHANGE: u32 = 5;
const REMOVE_TOPIC: u32 = 9;
const FEATURE_LEVEL: u32 = 12;
const CLIENT_QUOTA: u32 = 14;
const PRODUCER_IDS: u32 = 15;
const NO_OP: u32 = 20;
const BEGIN_TRANSACTION: u32 = 23;
const END_TRANSACTION: u32 = 24;
const ABORT_TRANSACTION: u32 = 25;

/// What a broker of its own has no use for, and what Spindle does not have: ids and names of KRaft's.
const UNUSED: &[(u32, &str)] = &[
    (7, "FENCE_BROKER_RECORD"),
    (8, "UNFENCE_BROKER_RECORD"),
    (10, "DELEGATION_TOKEN_RECORD"),
    (11, "USER_SCRAM_CREDENTIAL_RECORD"),
    (17, "BROKER_REGISTRATION_CHANGE_RECORD"),
    (18, "ACCESS_CONTROL_ENTRY_RECORD"),
    (19, "REMOVE_ACCESS_CONTROL_ENTRY_RECORD"),
    (21, "ZK_MIGRATION_STATE_RECORD"),
    (22, "REMOVE_USER_SCRAM_CREDENTIAL_RECORD"),
    (26, "REMOVE_DELEGATION_TOKEN_RECORD"),
    (27, "REGISTER_CONTROLLER_RECORD"),
    (28, "CLEAR_ELR_RECORD"),
];

/// Tagged fields of a partition change.
const TAG_ISR: u32 = 0;
const TAG_LEADER: u32 = 1;
const TAG_REPLICAS: u32 = 2;
const TAG_ELR: u32 = 6;
const TAG_LAST_KNOWN_ELR: u32 = 7;

/// What a finalized feature of this name says: which versions of records the log may hold.
pub const METADATA_VERSION: (&str, i16) = ("metadata.version", 7);
const SHARDS_FEATURE: &str = "spindle.shards";

const RESOURCE_TOPIC: i8 = 2;
const RESOURCE_BROKER: i8 = 4;
const RESOURCE_CLIENT_METRICS: i8 = 16;
const RESOURCE_GROUP: i8 = 32;

impl Record {
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer(Vec::with_capacity(64));
        match self {
            Record::Topic { name, id } => {
                w.frame(TOPIC, 0);
                w.string(name);
                w.uuid(id);
            }
            Record::Partition { topic, partition, state } => {
                w.frame(PARTITION, 0);
                w.i32(*partition);
                w.uuid(topic);
                w.i32s(&state.replicas);
                w.i32s(&state.isr);
                w.i32s(&[]);
                w.i32s(&[]);
                w.i32(state.leader);
                w.i32(state.leader_epoch);
                w.i32(state.partition_epoch);
            }
            Record::Config { resource, name, key, value } => {
                w.frame(CONFIG, 0);
                w.0.push(match resource {
                    ResourceType::Topic => RESOURCE_TOPIC as u8,
                    ResourceType::Broker => RESOURCE_BROKER as u8,
                    ResourceType::ClientMetrics => RESOURCE_CLIENT_METRICS as u8,
                    ResourceType::Group => RESOURCE_GROUP as u8,
                });
                w.string(name);
                w.string(key);
                w.nullable(value.as_deref());
            }
            Record::ClientQuota { entity, key, value } => {
                w.frame(CLIENT_QUOTA, 0);
                w.client_quota(entity, key, *value);
            }
            Record::RemoveTopic { id } => {
                w.frame(REMOVE_TOPIC, 0);
                w.uuid(id);
            }
            Record::RegisterBroker { broker, incarnation, epoch } => {
                w.frame(REGISTER_BROKER, 1);
                w.i32(broker.broker_id);
                w.uuid(incarnation);
                w.i64(*epoch);
                w.length(broker.endpoints.iter().map(|e| e.ports.len()).sum());
                for endpoint in &broker.endpoints {
                    for (shard, port) in endpoint.ports.iter().enumerate() {
                        match shard {
                            0 => w.string(&endpoint.listener),
                            _ => w.string(&format!("{}@{shard}", endpoint.listener)),
                        }
                        w.string(&endpoint.host);
                        w.0.extend(port.to_be_bytes());
                        w.i16(0); // PLAINTEXT
                        w.no_tags();
                    }
                }
                w.length(1);
                w.string(SHARDS_FEATURE);
                w.i16(1);
                w.i16(i16::try_from(broker.shard_count).unwrap_or(i16::MAX));
                w.no_tags();
                w.nullable(broker.rack.as_deref());
                w.0.push(0); // not fenced
                w.0.push(0); // not in controlled shutdown
            }
            Record::ProducerIds { broker_id, broker_epoch, next } => {
                w.frame(PRODUCER_IDS, 0);
                w.i32(*broker_id);
                w.i64(*broker_epoch);
                w.i64(*next);
            }
            Record::FeatureLevel { name, level } => {
                w.frame(FEATURE_LEVEL, 0);
                w.string(name);
                w.i16(*level);
            }
            Record::UnregisterBroker { broker_id } => {
                w.frame(UNREGISTER_BROKER, 0);
                w.i32(*broker_id);
                w.i64(-1);
            }
            Record::PartitionChange { topic, partition, change } => {
                w.frame(PARTITION_CHANGE, if change.clears_elr { 2 } else { 0 });
                w.i32(*partition);
                w.uuid(topic);
                let ids = |ids: &[i32]| {
                    let mut field = Writer(Vec::new());
                    field.i32s(ids);
                    field
                };
                let mut tags = Vec::new();
                tags.extend(change.isr.as_ref().map(|isr| (TAG_ISR, ids(isr))));
                tags.extend(
                    change.leader.map(|id| (TAG_LEADER, Writer(id.to_be_bytes().to_vec()))),
                );
                tags.extend(change.replicas.as_ref().map(|r| (TAG_REPLICAS, ids(r))));
                if change.clears_elr {
                    tags.extend([(TAG_ELR, ids(&[])), (TAG_LAST_KNOWN_ELR, ids(&[]))]);
                }
                w.tags(&tags);
                return w.0;
            }
            Record::NoOp => w.frame(NO_OP, 0),
            Record::BeginTransaction => w.frame(BEGIN_TRANSACTION, 0),
            Record::EndTransaction => w.frame(END_TRANSACTION, 0),
            Record::AbortTransaction => w.frame(ABORT_TRANSACTION, 0),
            Record::Unused { kind } => unreachable!("{kind} is only ever read"),
        }
        w.no_tags();
        w.0
    }

    pub fn decode(bytes: &[u8]) -> Result<Record, String> {
        let mut r = Reader(bytes);
        let frame = r.uvarint()?;
        if frame != FRAME_VERSION {
            return Err(format!("frame version {frame} where {FRAME_VERSION} is known"));
        }
        let (key, version) = (r.uvarint()?, r.uvarint()?);
        let newest = match key {
            REGISTER_BROKER => 4,
            PARTITION | PARTITION_CHANGE => 2,
            TOPIC | CONFIG | REMOVE_TOPIC | FEATURE_LEVEL | CLIENT_QUOTA | PRODUCER_IDS | NO_OP
            | UNREGISTER_BROKER | BEGIN_TRANSACTION | END_TRANSACTION | ABORT_TRANSACTION => 0,
            _ if let Some((_, kind)) = UNUSED.iter().find(|(id, _)| *id == key) => {
                return Ok(Record::Unused { kind });
            }
            _ => return Err(format!("metadata record of an unknown kind: api key {key}")),
        };
        if version > newest {
            return Err(format!(
                "version {version} of metadata record {key}, known up to {newest}"
            ));
        }
        let record = match key {
            TOPIC => Record::Topic { name: r.string()?, id: r.uuid()? },
            PARTITION => {
                let (partition, topic) = (r.i32()?, r.uuid()?);
                let (replicas, isr) = (r.i32s()?, r.i32s()?);
                let (_removing, _adding) = (r.i32s()?, r.i32s()?);
                let (leader, leader_epoch, partition_epoch) = (r.i32()?, r.i32()?, r.i32()?);
                for _directory in 0..if version >= 1 { r.length()? } else { 0 } {
                    r.uuid()?;
                }
                let state = PartitionImage { replicas, isr, leader, leader_epoch, partition_epoch };
                Record::Partition { topic, partition, state }
            }
            CONFIG => Record::Config {
                resource: match r.i8()? {
                    RESOURCE_TOPIC => ResourceType::Topic,
                    RESOURCE_BROKER => ResourceType::Broker,
                    RESOURCE_CLIENT_METRICS => ResourceType::ClientMetrics,
                    RESOURCE_GROUP => ResourceType::Group,
                    other => return Err(format!("config of an unknown resource type {other}")),
                },
                name: r.string()?,
                key: r.string()?,
                value: r.nullable()?,
            },
            CLIENT_QUOTA => r.client_quota()?,
            REMOVE_TOPIC => Record::RemoveTopic { id: r.uuid()? },
            REGISTER_BROKER => r.register_broker(version)?,
            PRODUCER_IDS => {
                Record::ProducerIds { broker_id: r.i32()?, broker_epoch: r.i64()?, next: r.i64()? }
            }
            FEATURE_LEVEL => Record::FeatureLevel { name: r.string()?, level: r.i16()? },
            PARTITION_CHANGE => r.partition_change()?,
            UNREGISTER_BROKER => {
                let broker_id = r.i32()?;
                r.i64()?; // its epoch
                Record::UnregisterBroker { broker_id }
            }
            BEGIN_TRANSACTION => Record::BeginTransaction,
            END_TRANSACTION => Record::EndTransaction,
            ABORT_TRANSACTION => Record::AbortTransaction,
            _ => Record::NoOp,
        };
        if key != PARTITION_CHANGE {
            r.tags()?;
        }
        if !r.0.is_empty() {
            return Err(format!("{} bytes after metadata record {key}", r.0.len()));
        }
        Ok(record)
    }
}

impl Reader<'_> {
    fn partition_change(&mut self) -> Result<Record, String> {
        let (partition, topic) = (self.i32()?, self.uuid()?);
        let mut change = PartitionChange::default();
        self.each_tag(|tag, field| {
            match tag {
                TAG_ISR => change.isr = Some(field.i32s()?),
                TAG_LEADER => change.leader = Some(field.i32()?),
                TAG_REPLICAS => change.replicas = Some(field.i32s()?),
                TAG_ELR => change.clears_elr = field.i32s()?.is_empty(),
                _ => {}
            }
            Ok(())
        })?;
        Ok(Record::PartitionChange { topic, partition, change })
    }

    fn register_broker(&mut self, version: u32) -> Result<Record, String> {
        let broker_id = self.i32()?;
        if version >= 2 {
            self.i8()?; // was migrating from ZooKeeper
        }
        let (incarnation, epoch) = (self.uuid()?, self.i64()?);
        let mut endpoints: Vec<BrokerEndpoint> = Vec::new();
        for _ in 0..self.length()? {
            let (name, host) = (self.string()?, self.string()?);
            let port = u16::from_be_bytes(self.array()?);
            self.i16()?;
            self.tags()?;
            let listener = name.split_once('@').map_or(name.as_str(), |(listener, _)| listener);
            match endpoints.iter_mut().find(|e| e.listener == listener) {
                Some(endpoint) => endpoint.ports.push(port),
                None => {
                    let listener = listener.to_string();
                    endpoints.push(BrokerEndpoint { listener, host, ports: vec![port] });
                }
            }
        }
        let mut shard_count = 1;
        for _ in 0..self.length()? {
            let (name, _min, max) = (self.string()?, self.i16()?, self.i16()?);
            self.tags()?;
            if name == SHARDS_FEATURE {
                shard_count = max.max(1) as usize;
            }
        }
        let rack = self.nullable()?;
        self.i8()?; // fenced
        if version >= 1 {
            self.i8()?; // in controlled shutdown
        }
        let broker = BrokerImage { broker_id, rack, endpoints, shard_count };
        Ok(Record::RegisterBroker { broker, incarnation, epoch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_a_round_trip_and_every_cut_is_an_error() {
        let id = TopicId::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let state = PartitionImage {
            replicas: vec![0, 1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 3,
            partition_epoch: 4,
        };
        let broker = BrokerImage {
            broker_id: 7,
            rack: Some("r".to_string()),
            endpoints: vec![
                BrokerEndpoint { listener: "A".into(), host: "h".into(), ports: vec![1, 2, 9] },
                BrokerEndpoint { listener: "B".into(), host: "::1".into(), ports: vec![65535] },
            ],
            shard_count: 3,
        };
        let (resource, name, key) = (ResourceType::Topic, "t".to_string(), "k".to_string());
        let value = Some("v".repeat(300));
        for record in [
            Record::Topic { name: "orders".to_string(), id },
            Record::Partition { topic: id, partition: 5, state },
            Record::Config { resource, name: name.clone(), key: key.clone(), value },
            Record::Config { resource: ResourceType::Broker, name, key, value: None },
            Record::RemoveTopic { id },
            Record::RegisterBroker { broker, incarnation: id, epoch: 12 },
            Record::ProducerIds { broker_id: 1, broker_epoch: 2, next: 3000 },
            Record::FeatureLevel { name: "metadata.version".to_string(), level: 7 },
            Record::PartitionChange {
                topic: id,
                partition: 5,
                change: PartitionChange {
                    isr: Some(vec![7]),
                    leader: Some(7),
                    replicas: Some(vec![7, 8]),
                    clears_elr: true,
                },
            },
            Record::PartitionChange { topic: id, partition: 5, change: PartitionChange::default() },
            Record::UnregisterBroker { broker_id: 3 },
            Record::BeginTransaction,
            Record::EndTransaction,
            Record::AbortTransaction,
            Record::NoOp,
        ] {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes).as_ref(), Ok(&record));
            for cut in 0..bytes.len() {
                Record::decode(&bytes[..cut]).unwrap_err();
            }
        }
    }

    #[test]
    fn a_partition_change_of_kafkas_is_read() {
        // PartitionChangeRecord version 2 with all of its tagged fields, from Kafka 4.3.1's own class.
        let hex = "01050200000005000000000000000100000000000000020900050200000007010400000007020903\
            0000000700000008030502000000090405020000000a05010106010107010108110200000000000000030000\
            000000000004";
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        let (isr, replicas) = (Some(vec![7]), Some(vec![7, 8]));
        let change = PartitionChange { isr, leader: Some(7), replicas, clears_elr: true };
        let topic = TopicId::from_u64_pair(1, 2);
        let record = Record::PartitionChange { topic, partition: 5, change };
        assert_eq!(Record::decode(&bytes), Ok(record));
        let unused = Record::Unused { kind: "REGISTER_CONTROLLER_RECORD" };
        assert_eq!(Record::decode(&[1, 27, 0, 1, 2, 3]), Ok(unused));
        Record::decode(&[1, 99, 0, 1, 2, 3]).unwrap_err();
    }

    #[test]
    fn bytes_are_kafkas() {
        let id = TopicId::from_u128(1);
        let mut expected = vec![1, 2, 0, 4, b'a', b'b', b'c'];
        expected.extend(id.as_bytes());
        expected.push(0);
        assert_eq!(Record::Topic { name: "abc".to_string(), id }.encode(), expected);
    }
}
