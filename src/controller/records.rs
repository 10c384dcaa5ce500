//! Metadata records in KRaft's own bytes: an unsigned varint each for the frame version (1), the api key and the
//! record version, then the message in flexible encoding (KIP-500, KIP-482). Pure.
//! Written at the versions of metadata.version 7 (3.3-IV3), the oldest that Kafka 4 reads; newer ones are read.
//! A (broker, core) port that KRaft has no field for is an endpoint of its own, `PLAINTEXT@1`, and the number of
//! shards is the highest level of the feature `spindle.shards`: Kafka's tools can show both.

use super::image::{BrokerEndpoint, BrokerImage, PartitionImage, ResourceType};
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
    NoOp,
}

const FRAME_VERSION: u32 = 1;
const REGISTER_BROKER: u32 = 0;
const TOPIC: u32 = 2;
const PARTITION: u32 = 3;
const CONFIG: u32 = 4;
const REMOVE_TOPIC: u32 = 9;
const FEATURE_LEVEL: u32 = 12;
const PRODUCER_IDS: u32 = 15;
const NO_OP: u32 = 20;

/// What a finalized feature of this name says: which versions of records the log may hold.
pub const METADATA_VERSION: (&str, i16) = ("metadata.version", 7);
const SHARDS_FEATURE: &str = "spindle.shards";

const RESOURCE_TOPIC: i8 = 2;
const RESOURCE_BROKER: i8 = 4;

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
                });
                w.string(name);
                w.string(key);
                w.nullable(value.as_deref());
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
            Record::NoOp => w.frame(NO_OP, 0),
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
            PARTITION => 2,
            TOPIC | CONFIG | REMOVE_TOPIC | FEATURE_LEVEL | PRODUCER_IDS | NO_OP => 0,
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
                    other => return Err(format!("config of an unknown resource type {other}")),
                },
                name: r.string()?,
                key: r.string()?,
                value: r.nullable()?,
            },
            REMOVE_TOPIC => Record::RemoveTopic { id: r.uuid()? },
            REGISTER_BROKER => r.register_broker(version)?,
            PRODUCER_IDS => {
                Record::ProducerIds { broker_id: r.i32()?, broker_epoch: r.i64()?, next: r.i64()? }
            }
            FEATURE_LEVEL => Record::FeatureLevel { name: r.string()?, level: r.i16()? },
            _ => Record::NoOp,
        };
        r.tags()?;
        if !r.0.is_empty() {
            return Err(format!("{} bytes after metadata record {key}", r.0.len()));
        }
        Ok(record)
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn frame(&mut self, key: u32, version: u32) {
        self.uvarint(FRAME_VERSION);
        self.uvarint(key);
        self.uvarint(version);
    }
    fn uvarint(&mut self, mut n: u32) {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }
    fn length(&mut self, n: usize) {
        self.uvarint(n as u32 + 1);
    }
    fn i16(&mut self, n: i16) {
        self.0.extend(n.to_be_bytes());
    }
    fn i32(&mut self, n: i32) {
        self.0.extend(n.to_be_bytes());
    }
    fn i64(&mut self, n: i64) {
        self.0.extend(n.to_be_bytes());
    }
    fn uuid(&mut self, id: &TopicId) {
        self.0.extend(id.as_bytes());
    }
    fn i32s(&mut self, items: &[i32]) {
        self.length(items.len());
        items.iter().for_each(|n| self.i32(*n));
    }
    fn string(&mut self, s: &str) {
        self.length(s.len());
        self.0.extend(s.as_bytes());
    }
    fn nullable(&mut self, s: Option<&str>) {
        match s {
            Some(s) => self.string(s),
            None => self.0.push(0),
        }
    }
    fn no_tags(&mut self) {
        self.0.push(0);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        if n > self.0.len() {
            return Err(format!("{n} more bytes needed where {} are left", self.0.len()));
        }
        let (head, tail) = self.0.split_at(n);
        self.0 = tail;
        Ok(head)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N).map(|b| b.try_into().unwrap_or([0; N]))
    }
    fn uvarint(&mut self) -> Result<u32, String> {
        let mut n = 0u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            n |= ((byte & 0x7f) as u64) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(n).map_err(|_| "a varint beyond 32 bits".to_string());
            }
        }
        Err("a varint of more than 5 bytes".to_string())
    }
    /// Of something that may not be null; its items take at least a byte each.
    fn length(&mut self) -> Result<usize, String> {
        let n = self.uvarint()?.checked_sub(1).ok_or("null where a value is needed")? as usize;
        if n > self.0.len() {
            return Err(format!("length {n} where {} bytes are left", self.0.len()));
        }
        Ok(n)
    }
    fn i8(&mut self) -> Result<i8, String> {
        Ok(i8::from_be_bytes(self.array()?))
    }
    fn i16(&mut self) -> Result<i16, String> {
        Ok(i16::from_be_bytes(self.array()?))
    }
    fn i32(&mut self) -> Result<i32, String> {
        Ok(i32::from_be_bytes(self.array()?))
    }
    fn i64(&mut self) -> Result<i64, String> {
        Ok(i64::from_be_bytes(self.array()?))
    }
    fn uuid(&mut self) -> Result<TopicId, String> {
        Ok(TopicId::from_bytes(self.array()?))
    }
    fn i32s(&mut self) -> Result<Vec<i32>, String> {
        (0..self.length()?).map(|_| self.i32()).collect()
    }
    fn string(&mut self) -> Result<String, String> {
        let n = self.length()?;
        String::from_utf8(self.take(n)?.to_vec()).map_err(|_| "text is not UTF-8".to_string())
    }
    fn nullable(&mut self) -> Result<Option<String>, String> {
        if self.0.first() == Some(&0) {
            self.take(1)?;
            return Ok(None);
        }
        self.string().map(Some)
    }
    /// Skips tagged fields: those of newer versions that matter here do not exist yet.
    fn tags(&mut self) -> Result<(), String> {
        for _ in 0..self.uvarint()? {
            self.uvarint()?;
            let n = self.uvarint()? as usize;
            self.take(n)?;
        }
        Ok(())
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
    fn bytes_are_kafkas() {
        let id = TopicId::from_u128(1);
        let mut expected = vec![1, 2, 0, 4, b'a', b'b', b'c'];
        expected.extend(id.as_bytes());
        expected.push(0);
        assert_eq!(Record::Topic { name: "abc".to_string(), id }.encode(), expected);
    }
}
