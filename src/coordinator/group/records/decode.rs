//! Bytes to records, at all versions that Kafka 4.3.1 reads. Offsets, of which there are millions, are read in place.

use super::bytes::{Reader, Result, bad};
use super::encode::*;
use super::*;

/// A committed offset, still in the log's bytes.
#[derive(Clone, Copy, Debug)]
pub struct OffsetRef<'a> {
    pub group: &'a str,
    pub topic: &'a str,
    pub partition: i32,
    pub value: Option<OffsetValueRef<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub struct OffsetValueRef<'a> {
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: &'a str,
    pub commit_ms: i64,
    pub expire_ms: i64,
    pub topic_id: TopicId,
}

impl<'a> OffsetRef<'a> {
    /// `None`: it is a record of another kind.
    pub fn read(key: &'a [u8], value: Option<&'a [u8]>) -> Result<Option<OffsetRef<'a>>> {
        let mut r = Reader::new(key, false);
        if !matches!(r.i16("the key")?, LEGACY_OFFSET | OFFSET) {
            return Ok(None);
        }
        let (group, topic) = (r.str("group")?, r.str("topic")?);
        let partition = r.i32("partition")?;
        let value = value.map(OffsetValueRef::read).transpose()?;
        Ok(Some(OffsetRef { group, topic, partition, value }))
    }
}

impl<'a> OffsetValueRef<'a> {
    fn read(value: &'a [u8]) -> Result<OffsetValueRef<'a>> {
        let version = version(value, 4, "offset")?;
        let mut r = Reader::new(&value[2..], version >= 4);
        let offset = r.i64("offset")?;
        let leader_epoch = if version >= 3 { r.i32("leader epoch")? } else { -1 };
        let metadata = r.str("metadata")?;
        let commit_ms = r.i64("commit timestamp")?;
        let expire_ms = if version == 1 { r.i64("expire timestamp")? } else { -1 };
        let mut topic_id = TopicId::nil();
        r.tags(|tag, r| {
            if tag == 0 {
                topic_id = r.topic_id("topic id")?;
            }
            Ok(())
        })?;
        Ok(OffsetValueRef { offset, leader_epoch, metadata, commit_ms, expire_ms, topic_id })
    }

    pub fn to_value(self) -> OffsetValue {
        OffsetValue {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: self.metadata.into(),
            commit_ms: self.commit_ms,
            expire_ms: self.expire_ms,
            topic_id: self.topic_id,
        }
    }
}

impl OffsetValue {
    pub fn as_ref(&self) -> OffsetValueRef<'_> {
        OffsetValueRef {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: &self.metadata,
            commit_ms: self.commit_ms,
            expire_ms: self.expire_ms,
            topic_id: self.topic_id,
        }
    }
}

fn version(value: &[u8], newest: i16, what: &'static str) -> Result<i16> {
    let version = Reader::new(value, false).i16("the version")?;
    if !(0..=newest).contains(&version) {
        return bad(format!("{what} at version {version}, known up to {newest}"));
    }
    Ok(version)
}

/// A value of one of KIP-848's kinds: flexible since its first version.
fn flexible<'a, T>(
    value: Option<&'a [u8]>,
    what: &'static str,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T>,
) -> Result<Option<T>> {
    let Some(value) = value else { return Ok(None) };
    version(value, 0, what)?;
    read(&mut Reader::new(&value[2..], true)).map(Some)
}

impl Record {
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Record> {
        if let Some(offset) = OffsetRef::read(key, value)? {
            return Ok(Record::Offset {
                group: offset.group.into(),
                topic: offset.topic.into(),
                partition: offset.partition,
                value: offset.value.map(OffsetValueRef::to_value),
            });
        }
        let mut r = Reader::new(key, false);
        let kind = r.i16("the key")?;
        if !matches!(kind, GROUP..=CONSUMER_CURRENT | CONSUMER_REGEX) {
            return Ok(Record::Unused { kind });
        }
        let group = r.name("group")?;
        Ok(match kind {
            GROUP => Record::Group { group, value: value.map(GroupValue::read).transpose()? },
            CONSUMER_GROUP => Record::ConsumerGroup {
                group,
                value: flexible(value, "consumer group", |r| {
                    let epoch = r.i32("epoch")?;
                    let metadata_hash = tagged_i64(r, "metadata hash")?;
                    Ok(ConsumerGroupValue { epoch, metadata_hash })
                })?,
            },
            CONSUMER_PARTITIONS => Record::ConsumerPartitions { group, value: value.map(|_| ()) },
            CONSUMER_MEMBER => Record::ConsumerMember {
                group,
                member: r.name("member id")?,
                value: flexible(value, "member", ConsumerMemberValue::read)?.map(Box::new),
            },
            CONSUMER_TARGET => Record::ConsumerTarget {
                group,
                value: flexible(value, "target assignment", |r| {
                    let epoch = r.i32("epoch")?;
                    Ok(ConsumerTargetValue { epoch, at_ms: tagged_i64(r, "timestamp")? })
                })?,
            },
            CONSUMER_TARGET_MEMBER => Record::ConsumerTargetMember {
                group,
                member: r.name("member id")?,
                value: flexible(value, "target of a member", |r| {
                    let assigned = r.list("topics", |r| {
                        let assigned = Assigned {
                            topic_id: r.topic_id("topic id")?,
                            partitions: r.list("partitions", |r| r.i32("partition"))?,
                        };
                        r.skip_tags()?;
                        Ok(assigned)
                    })?;
                    r.skip_tags()?;
                    Ok(assigned)
                })?,
            },
            CONSUMER_CURRENT => Record::ConsumerCurrent {
                group,
                member: r.name("member id")?,
                value: flexible(value, "assignment of a member", |r| {
                    let current = ConsumerCurrentValue {
                        member_epoch: r.i32("epoch")?,
                        previous_member_epoch: r.i32("previous epoch")?,
                        state: r.i8("state")?,
                        assigned: r.list("assigned", AssignedAt::read)?,
                        pending_revocation: r.list("pending revocation", AssignedAt::read)?,
                    };
                    r.skip_tags()?;
                    Ok(current)
                })?,
            },
            _ => Record::ConsumerRegex {
                group,
                regex: r.name("regular expression")?,
                value: flexible(value, "regular expression", |r| {
                    let resolved = ConsumerRegexValue {
                        topics: r.list("topics", |r| r.name("topic"))?,
                        version: r.i64("version")?,
                        at_ms: r.i64("timestamp")?,
                    };
                    r.skip_tags()?;
                    Ok(resolved)
                })?,
            },
        })
    }
}

fn tagged_i64(r: &mut Reader<'_>, what: &'static str) -> Result<i64> {
    let mut value = 0;
    r.tags(|tag, r| {
        if tag == 0 {
            value = r.i64(what)?;
        }
        Ok(())
    })?;
    Ok(value)
}

impl GroupValue {
    fn read(value: &[u8]) -> Result<GroupValue> {
        let version = version(value, 4, "group")?;
        let mut r = Reader::new(&value[2..], version >= 4);
        let group = GroupValue {
            protocol_type: r.name("protocol type")?,
            generation: r.i32("generation")?,
            protocol: r.nullable_name("protocol")?,
            leader: r.nullable_name("leader")?,
            state_ms: if version >= 2 { r.i64("state timestamp")? } else { -1 },
            members: r.list("members", |r| {
                let member = MemberValue {
                    member_id: r.name("member id")?,
                    instance_id: match version {
                        3.. => r.nullable_name("instance id")?,
                        _ => None,
                    },
                    client_id: r.name("client id")?,
                    client_host: r.name("client host")?,
                    rebalance_timeout_ms: match version {
                        1.. => r.i32("rebalance timeout")?,
                        _ => -1,
                    },
                    session_timeout_ms: r.i32("session timeout")?,
                    subscription: r.bytes("subscription")?,
                    assignment: r.bytes("assignment")?,
                };
                r.skip_tags()?;
                Ok(member)
            })?,
        };
        r.skip_tags()?;
        Ok(group)
    }
}

impl ConsumerMemberValue {
    fn read(r: &mut Reader<'_>) -> Result<ConsumerMemberValue> {
        let mut member = ConsumerMemberValue {
            instance_id: r.nullable_name("instance id")?,
            rack_id: r.nullable_name("rack id")?,
            client_id: r.name("client id")?,
            client_host: r.name("client host")?,
            subscribed_topic_names: r.list("subscribed topics", |r| r.name("topic"))?,
            subscribed_topic_regex: r.nullable_name("subscribed regular expression")?,
            rebalance_timeout_ms: r.i32("rebalance timeout")?,
            server_assignor: r.nullable_name("server assignor")?,
            classic: None,
        };
        r.tags(|tag, r| {
            // A nullable struct: a byte below 0 is null.
            if tag == 0 && r.i8("classic member")? >= 0 {
                member.classic = Some(ClassicMemberValue {
                    session_timeout_ms: r.i32("session timeout")?,
                    protocols: r.list("protocols", |r| {
                        let protocol = (r.name("protocol")?, r.bytes("metadata")?);
                        r.skip_tags()?;
                        Ok(protocol)
                    })?,
                });
            }
            Ok(())
        })?;
        Ok(member)
    }
}

impl AssignedAt {
    fn read(r: &mut Reader<'_>) -> Result<AssignedAt> {
        let mut assigned = AssignedAt {
            topic_id: r.topic_id("topic id")?,
            partitions: r.list("partitions", |r| r.i32("partition"))?,
            epochs: None,
        };
        r.tags(|tag, r| {
            if tag == 0 {
                assigned.epochs = r.nullable_list("epochs", |r| r.i32("epoch"))?;
            }
            Ok(())
        })?;
        if assigned.epochs.as_ref().is_some_and(|e| e.len() != assigned.partitions.len()) {
            return bad("as many assignment epochs as partitions were due");
        }
        Ok(assigned)
    }
}
