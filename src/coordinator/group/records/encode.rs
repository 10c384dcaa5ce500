//! Records to bytes, at the versions that Kafka 4.3.1 writes: an offset at version 4, or 1 when it has a time of
//! expiry; a classic group at version 3 (KIP-915 keeps it readable for older brokers); all of KIP-848 at 0.

use super::bytes::Writer;
use super::*;

pub(super) const LEGACY_OFFSET: i16 = 0;
pub(super) const OFFSET: i16 = 1;
pub(super) const GROUP: i16 = 2;
pub(super) const CONSUMER_GROUP: i16 = 3;
pub(super) const CONSUMER_PARTITIONS: i16 = 4;
pub(super) const CONSUMER_MEMBER: i16 = 5;
pub(super) const CONSUMER_TARGET: i16 = 6;
pub(super) const CONSUMER_TARGET_MEMBER: i16 = 7;
pub(super) const CONSUMER_CURRENT: i16 = 8;
pub(super) const CONSUMER_REGEX: i16 = 16;

impl Record {
    /// Appends the bytes of the key, and those of the value; `false` for a tombstone, which has no value.
    pub fn encode(&self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> bool {
        match self {
            Record::Offset { group, topic, partition, value: offset } => {
                let mut key = Writer::new(key, OFFSET, false);
                key.str(group);
                key.str(topic);
                key.i32(*partition);
                offset.as_ref().map(|v| v.encode(value)).is_some()
            }
            Record::Group { group, value: state } => {
                Writer::new(key, GROUP, false).str(group);
                state.as_ref().map(|v| v.encode(value)).is_some()
            }
            Record::ConsumerGroup { group, value: state } => {
                Writer::new(key, CONSUMER_GROUP, false).str(group);
                state.map(|v| v.encode(value)).is_some()
            }
            Record::ConsumerPartitions { group, value: topics } => {
                assert!(topics.is_none(), "only its tombstone is written");
                Writer::new(key, CONSUMER_PARTITIONS, false).str(group);
                false
            }
            Record::ConsumerMember { group, member, value: state } => {
                member_key(key, CONSUMER_MEMBER, group, member);
                state.as_ref().map(|v| v.encode(value)).is_some()
            }
            Record::ConsumerTarget { group, value: target } => {
                Writer::new(key, CONSUMER_TARGET, false).str(group);
                target.map(|v| v.encode(value)).is_some()
            }
            Record::ConsumerTargetMember { group, member, value: assigned } => {
                member_key(key, CONSUMER_TARGET_MEMBER, group, member);
                let Some(assigned) = assigned else { return false };
                let mut value = Writer::new(value, 0, true);
                value.list(assigned, |w, topic| {
                    w.topic_id(topic.topic_id);
                    w.list(&topic.partitions, |w, p| w.i32(*p));
                    w.no_tags();
                });
                value.no_tags();
                true
            }
            Record::ConsumerCurrent { group, member, value: current } => {
                member_key(key, CONSUMER_CURRENT, group, member);
                current.as_ref().map(|v| v.encode(value)).is_some()
            }
            Record::ConsumerRegex { group, regex, value: resolved } => {
                member_key(key, CONSUMER_REGEX, group, regex);
                resolved.as_ref().map(|v| v.encode(value)).is_some()
            }
            Record::Unused { kind } => unreachable!("kind {kind} is only ever read"),
        }
    }
}

fn member_key(key: &mut Vec<u8>, kind: i16, group: &str, second: &str) {
    let mut key = Writer::new(key, kind, false);
    key.str(group);
    key.str(second);
}

impl OffsetValue {
    fn encode(&self, out: &mut Vec<u8>) {
        if self.expire_ms >= 0 {
            let mut w = Writer::new(out, 1, false);
            w.i64(self.offset);
            w.str(&self.metadata);
            w.i64(self.commit_ms);
            w.i64(self.expire_ms);
            return;
        }
        let mut w = Writer::new(out, 4, true);
        w.i64(self.offset);
        w.i32(self.leader_epoch);
        w.str(&self.metadata);
        w.i64(self.commit_ms);
        match self.topic_id.is_nil() {
            true => w.no_tags(),
            false => w.tag(|w| w.topic_id(self.topic_id)),
        }
    }
}

impl GroupValue {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Writer::new(out, 3, false);
        w.str(&self.protocol_type);
        w.i32(self.generation);
        w.nullable_str(self.protocol.as_deref());
        w.nullable_str(self.leader.as_deref());
        w.i64(self.state_ms);
        w.list(&self.members, |w, member| {
            w.str(&member.member_id);
            w.nullable_str(member.instance_id.as_deref());
            w.str(&member.client_id);
            w.str(&member.client_host);
            w.i32(member.rebalance_timeout_ms);
            w.i32(member.session_timeout_ms);
            w.bytes(&member.subscription);
            w.bytes(&member.assignment);
        });
    }
}

impl ConsumerGroupValue {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Writer::new(out, 0, true);
        w.i32(self.epoch);
        match self.metadata_hash {
            0 => w.no_tags(),
            hash => w.tag(|w| w.i64(hash)),
        }
    }
}

impl ConsumerMemberValue {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Writer::new(out, 0, true);
        w.nullable_str(self.instance_id.as_deref());
        w.nullable_str(self.rack_id.as_deref());
        w.str(&self.client_id);
        w.str(&self.client_host);
        w.list(&self.subscribed_topic_names, |w, name| w.str(name));
        w.nullable_str(self.subscribed_topic_regex.as_deref());
        w.i32(self.rebalance_timeout_ms);
        w.nullable_str(self.server_assignor.as_deref());
        let Some(classic) = &self.classic else { return w.no_tags() };
        w.tag(|w| {
            w.i8(1); // not null
            w.i32(classic.session_timeout_ms);
            w.list(&classic.protocols, |w, (name, metadata)| {
                w.str(name);
                w.bytes(metadata);
                w.no_tags();
            });
            w.no_tags();
        });
    }
}

impl ConsumerTargetValue {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Writer::new(out, 0, true);
        w.i32(self.epoch);
        match self.at_ms {
            0 => w.no_tags(),
            at_ms => w.tag(|w| w.i64(at_ms)),
        }
    }
}

impl ConsumerCurrentValue {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Writer::new(out, 0, true);
        w.i32(self.member_epoch);
        w.i32(self.previous_member_epoch);
        w.i8(self.state);
        for topics in [&self.assigned, &self.pending_revocation] {
            w.list(topics, |w, topic| {
                w.topic_id(topic.topic_id);
                w.list(&topic.partitions, |w, p| w.i32(*p));
                let Some(epochs) = &topic.epochs else { return w.no_tags() };
                w.tag(|w| w.list(epochs, |w, epoch| w.i32(*epoch)));
            });
        }
        w.no_tags();
    }
}

impl ConsumerRegexValue {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Writer::new(out, 0, true);
        w.list(&self.topics, |w, name| w.str(name));
        w.i64(self.version);
        w.i64(self.at_ms);
        w.no_tags();
    }
}
