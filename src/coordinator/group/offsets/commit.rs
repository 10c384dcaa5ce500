//! OffsetCommit and TxnOffsetCommit: who may commit depends on the group and its state, what is written does not.

use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;

use crate::coordinator::group::answer::{Answer, CommittedTopic};
use crate::coordinator::group::classic::{ClassicGroup, ClassicState, name};
use crate::coordinator::group::consumer::CommitFrom;
use crate::coordinator::group::consumer::ConsumerGroup;
use crate::coordinator::group::input::{CommitRequest, CommitTopic, TxnCommitRequest};
use crate::coordinator::group::records::{BATCH_BYTES, OffsetValue, RECORD_BYTES, Record};
use crate::coordinator::group::{
    Cause, Client, Event, EventKind, Group, GroupError, Groups, Producer, RequestId, Turn,
};
use crate::types::TopicId;

/// What the group has to say of each partition that is committed.
#[derive(Clone, Copy)]
enum Check<'a> {
    All,
    /// A member of a consumer group, at this epoch; asked about each partition when it is behind (KIP-1251).
    Member {
        id: &'a str,
        epoch: i32,
        is_behind: bool,
    },
}

/// Records of one commit, and what each partition is told.
struct Prepared {
    records: Vec<Record>,
    answer: Vec<CommittedTopic>,
}

impl Groups {
    pub(in crate::coordinator::group) fn commit(
        &mut self,
        turn: &mut Turn<'_>,
        from: RequestId,
        client: &Client,
        request: &CommitRequest,
    ) {
        let prepared = self.check_commit(turn, request).and_then(|check| {
            let now_ms = turn.now.wall_ms;
            let retention_ms = request.retention_time_ms.unwrap_or(-1);
            let expire_ms = match retention_ms {
                -1 => -1,
                given => now_ms.saturating_add(given),
            };
            let times = (now_ms, expire_ms);
            self.prepare_commit(&request.group_id, &request.topics, times, check, |topic| topic.id)
        });
        let Prepared { records, answer } = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return turn.answer(from, Answer::Commit(Err(error))),
        };
        if request.generation_or_epoch < 0 && request.member_id.is_empty() {
            self.tell_resets(turn, client, &records);
        }
        for record in &records {
            self.apply_made(record);
        }
        turn.append(records);
        turn.answer_after_append(from, Answer::Commit(Ok(answer)));
    }

    fn check_commit<'a>(
        &mut self,
        turn: &mut Turn<'_>,
        request: &'a CommitRequest,
    ) -> Result<Check<'a>, GroupError> {
        let epoch = request.generation_or_epoch;
        let from = CommitFrom {
            member_id: &request.member_id,
            epoch,
            has_instance: request.instance_id.is_some(),
            transactional: false,
            knows_member_epochs: request.knows_member_epochs,
        };
        let is_simple = self.offsets.has_group(&request.group_id);
        let (groups, mut cx) = self.tools(turn);
        let Some(group) = groups.get_mut(request.group_id.as_str()) else {
            return match epoch {
                // A simple consumer: the group is made with its first offset.
                ..0 if !is_simple => Ok(Check::All),
                _ if is_simple => ClassicGroup::new(Arc::from(""), -1)
                    .check_commit(&from, request.instance_id.as_deref())
                    .map(|()| Check::All),
                _ if request.knows_member_epochs => Err(GroupError::GroupIdNotFound),
                _ => Err(GroupError::IllegalGeneration),
            };
        };
        match group {
            Group::Classic(group) => {
                group.check_commit(&from, request.instance_id.as_deref())?;
                if group.state() != ClassicState::Empty {
                    group.is_alive(&mut cx, &request.member_id);
                }
                Ok(Check::All)
            }
            Group::Consumer(group) => check_consumer(group, &from),
        }
    }

    pub(in crate::coordinator::group) fn commit_transactional(
        &mut self,
        turn: &mut Turn<'_>,
        from: RequestId,
        request: &TxnCommitRequest,
    ) {
        let now_ms = turn.now.wall_ms;
        let prepared = self.check_transactional(request).and_then(|check| {
            // The record of a transaction's offset has no topic id; a consumer group's member is checked by it.
            let is_behind = matches!(check, Check::Member { is_behind: true, .. });
            let id = |topic: &CommitTopic| match is_behind {
                true => turn.topics.by_name(&topic.name).map(|t| t.id).unwrap_or_default(),
                false => TopicId::nil(),
            };
            if is_behind && request.topics.iter().any(|topic| id(topic).is_nil()) {
                return Err(GroupError::IllegalGeneration);
            }
            self.prepare_commit(&request.group_id, &request.topics, (now_ms, -1), check, id)
        });
        let Prepared { mut records, answer } = match prepared {
            Ok(prepared) => prepared,
            Err(GroupError::StaleMemberEpoch) => {
                let error = GroupError::IllegalGeneration;
                return turn.answer(from, Answer::TxnCommit(Err(error)));
            }
            Err(error) => return turn.answer(from, Answer::TxnCommit(Err(error))),
        };
        let producer = Producer { id: request.producer_id, epoch: request.producer_epoch };
        for record in &mut records {
            if let Record::Offset { value: Some(value), .. } = record {
                value.topic_id = TopicId::nil();
            }
            self.apply_made_pending(producer, record);
        }
        turn.append_transactional(producer, records);
        turn.answer_after_append(from, Answer::TxnCommit(Ok(answer)));
    }

    fn check_transactional<'a>(
        &mut self,
        request: &'a TxnCommitRequest,
    ) -> Result<Check<'a>, GroupError> {
        let epoch = request.generation_or_epoch;
        self.settle(&request.group_id);
        let Some(group) = self.groups.get(request.group_id.as_str()) else {
            return if epoch < 0 { Ok(Check::All) } else { Err(GroupError::IllegalGeneration) };
        };
        let from = CommitFrom {
            member_id: &request.member_id,
            epoch,
            has_instance: request.instance_id.is_some(),
            transactional: true,
            knows_member_epochs: false,
        };
        match group {
            Group::Classic(group) => {
                group.check_commit(&from, request.instance_id.as_deref())?;
                Ok(Check::All)
            }
            Group::Consumer(group) => check_consumer(group, &from),
        }
    }

    fn prepare_commit(
        &self,
        group_id: &StrBytes,
        topics: &[CommitTopic],
        (commit_ms, expire_ms): (i64, i64),
        check: Check<'_>,
        id_of: impl Fn(&CommitTopic) -> TopicId,
    ) -> Result<Prepared, GroupError> {
        let group = self.known_name(group_id);
        let mut records = Vec::with_capacity(topics.iter().map(|t| t.partitions.len()).sum());
        let mut answer = Vec::with_capacity(topics.len());
        let no_metadata: Arc<str> = Arc::from("");
        for topic in topics {
            let topic_name = name(&topic.name);
            let topic_id = id_of(topic);
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for commit in &topic.partitions {
                let metadata = commit.metadata.as_deref().unwrap_or_default();
                if is_longer(metadata, self.config.offset_metadata_max_bytes) {
                    let error = GroupError::OffsetMetadataTooLarge;
                    partitions.push((commit.partition, Some(error)));
                    continue;
                }
                if let Check::Member { id, epoch, is_behind: true } = check
                    && let Some(Group::Consumer(group)) = self.groups.get(group_id.as_str())
                {
                    let member = group.member(id).ok_or(GroupError::UnknownMemberId)?;
                    member.check_partition(epoch, &topic_id, commit.partition)?;
                }
                partitions.push((commit.partition, None));
                records.push(Record::Offset {
                    group: group.clone(),
                    topic: topic_name.clone(),
                    partition: commit.partition,
                    value: Some(OffsetValue {
                        offset: commit.offset,
                        leader_epoch: commit.leader_epoch,
                        metadata: match metadata {
                            "" => no_metadata.clone(),
                            metadata => metadata.into(),
                        },
                        commit_ms,
                        expire_ms,
                        topic_id,
                    }),
                });
            }
            answer.push(CommittedTopic { name: topic.name.clone(), id: topic.id, partitions });
        }
        // Known before anything is changed: it would not fit a batch of the log.
        if batch_bytes(&records) > self.config.batch_bytes_max {
            return Err(GroupError::UnknownServerError);
        }
        Ok(Prepared { records, answer })
    }

    /// Somebody who is no member moves the offsets of a group that nobody is in: back, or, where the group once had
    /// members, anywhere. (A simple consumer goes forward with every commit.)
    fn tell_resets(&self, turn: &mut Turn<'_>, client: &Client, records: &[Record]) {
        for record in records {
            let Record::Offset { group, topic, partition, value: Some(value) } = record else {
                continue;
            };
            let Some(old) = self.offsets.get(group, topic, *partition) else { continue };
            let had_members = self.groups.get(group).is_some_and(Group::had_members);
            if old.offset == value.offset || (!had_members && old.offset < value.offset) {
                continue;
            }
            turn.event(Event {
                at_ms: turn.now.wall_ms,
                group: group.clone(),
                kind: EventKind::OffsetsReset,
                member: None,
                instance_id: None,
                client_id: Some(name(&client.id)),
                client_host: Some(name(&client.host)),
                cause: Cause::OffsetMoved {
                    topic: topic.clone(),
                    partition: *partition,
                    from: old.offset,
                    to: value.offset,
                },
                generation: self.groups.get(group).map_or(0, Group::generation),
                took_ms: None,
            });
        }
    }
}

fn check_consumer<'a>(
    group: &ConsumerGroup,
    from: &CommitFrom<'a>,
) -> Result<Check<'a>, GroupError> {
    let member = group.check_commit(from).map_err(|(error, _)| error)?;
    let is_behind = member.is_some();
    Ok(Check::Member { id: from.member_id, epoch: from.epoch, is_behind })
}

/// What the records of a commit take at most.
fn batch_bytes(records: &[Record]) -> usize {
    let bytes = |record: &Record| match record {
        Record::Offset { group, topic, value, .. } => {
            let metadata = value.as_ref().map_or(0, |value| value.metadata.len());
            RECORD_BYTES + group.len() + topic.len() + metadata
        }
        _ => 0,
    };
    BATCH_BYTES + records.iter().map(bytes).sum::<usize>()
}

/// Kafka counts what Java does: UTF-16 units, of which a text never has more than bytes.
fn is_longer(metadata: &str, max: usize) -> bool {
    metadata.len() > max && metadata.encode_utf16().count() > max
}
