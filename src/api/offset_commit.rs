//! OffsetCommit (8), v2-v10. A topic or partition that does not exist is refused here, by the image; the rest goes
//! to the group's coordinator. v5 has no retention time any more (KIP-211), v9 is for members of consumer
//! groups (KIP-848), v10 names topics by id.

use std::collections::HashMap;

use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use super::group_error::{ask, client, group_code, optional_code};
use crate::controller::Image;
use crate::coordinator::group::input::{CommitPartition, CommitRequest, CommitTopic};
use crate::coordinator::group::{Answer, Input};
use crate::shard::Router;
use crate::types::TopicId;
use crate::wire::error_code;

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let image = router.image();
    let by_id = cx.api_version >= 10;
    let mut rows = Vec::with_capacity(request.topics.len());
    let mut topics = Vec::with_capacity(request.topics.len());
    for asked in &request.topics {
        let topic = Topic::find(&image, by_id, asked);
        let (exist, refused) = topic.split(asked);
        rows.push((topic.name.clone(), asked.topic_id, refused));
        if !exist.is_empty() {
            topics.push(CommitTopic { name: topic.name, id: topic.id, partitions: exist });
        }
    }
    let mut outcome = Outcome::Nothing;
    if !topics.is_empty() {
        let (client, group_id) = (client(cx), request.group_id.0.clone());
        let retention = Some(request.retention_time_ms);
        let request = CommitRequest {
            group_id: group_id.clone(),
            generation_or_epoch: request.generation_id_or_member_epoch,
            member_id: request.member_id.clone(),
            instance_id: request.group_instance_id.clone(),
            retention_time_ms: retention.filter(|ms| cx.api_version < 5 && *ms >= 0),
            knows_member_epochs: cx.api_version >= 9,
            topics: topics.clone(),
        };
        let asked =
            ask(cx, router, &group_id, |from| Input::Commit { from, client, request }).await;
        outcome = match asked {
            Ok(Answer::Commit(Ok(committed))) => Outcome::of(committed),
            Ok(Answer::Commit(Err(error))) => Outcome::All(group_code(error)),
            Ok(other) => unreachable!("OffsetCommit was answered with {other:?}"),
            Err(code) => Outcome::All(code),
        };
    }
    let rows = rows
        .into_iter()
        .zip(&request.topics)
        .map(|((name, id, refused), asked)| {
            let partitions = asked
                .partitions
                .iter()
                .map(|p| {
                    let index = p.partition_index;
                    let code = match refused.get(&index) {
                        Some(code) => *code,
                        None => outcome.code(&name, index),
                    };
                    OffsetCommitResponsePartition::default()
                        .with_partition_index(index)
                        .with_error_code(code)
                })
                .collect();
            let row = OffsetCommitResponseTopic::default().with_partitions(partitions);
            match by_id {
                true => row.with_topic_id(id),
                false => row.with_name(TopicName(name)),
            }
        })
        .collect();
    OffsetCommitResponse::default().with_topics(rows)
}

struct Topic {
    name: StrBytes,
    id: TopicId,
    /// Partitions that are there; `None`: no such topic.
    partitions: Option<usize>,
    missing: i16,
}

impl Topic {
    fn find(image: &Image, by_id: bool, asked: &OffsetCommitRequestTopic) -> Topic {
        let found = match by_id {
            true => image.topic_by_id(&asked.topic_id),
            false => image.topic(&asked.name),
        };
        let missing = match by_id {
            true => error_code::UNKNOWN_TOPIC_ID,
            false => error_code::UNKNOWN_TOPIC_OR_PARTITION,
        };
        Topic {
            name: match found {
                Some(topic) if by_id => StrBytes::from_string(topic.name.to_string()),
                _ => asked.name.0.clone(),
            },
            id: found.map_or(TopicId::nil(), |t| t.id),
            partitions: found.map(|t| t.partitions.len()),
            missing,
        }
    }

    /// What may be committed, and the codes of what may not.
    fn split(&self, asked: &OffsetCommitRequestTopic) -> (Vec<CommitPartition>, HashMap<i32, i16>) {
        let mut exist = Vec::with_capacity(asked.partitions.len());
        let mut refused = HashMap::new();
        for p in &asked.partitions {
            let index = p.partition_index;
            match self.partitions {
                None => drop(refused.insert(index, self.missing)),
                Some(count) if !usize::try_from(index).is_ok_and(|i| i < count) => {
                    refused.insert(index, error_code::UNKNOWN_TOPIC_OR_PARTITION);
                }
                Some(_) => exist.push(CommitPartition {
                    partition: index,
                    offset: p.committed_offset,
                    leader_epoch: p.committed_leader_epoch,
                    metadata: p.committed_metadata.clone(),
                }),
            }
        }
        (exist, refused)
    }
}

enum Outcome {
    Nothing,
    All(i16),
    Each(HashMap<(StrBytes, i32), i16>),
}

impl Outcome {
    fn of(topics: Vec<crate::coordinator::group::answer::CommittedTopic>) -> Outcome {
        let mut each = HashMap::new();
        for topic in topics {
            for (partition, error) in topic.partitions {
                each.insert((topic.name.clone(), partition), optional_code(error));
            }
        }
        Outcome::Each(each)
    }

    fn code(&self, topic: &StrBytes, partition: i32) -> i16 {
        let unknown = error_code::UNKNOWN_SERVER_ERROR;
        match self {
            Outcome::Nothing => unknown,
            Outcome::All(code) => *code,
            Outcome::Each(each) => {
                each.get(&(topic.clone(), partition)).copied().unwrap_or(unknown)
            }
        }
    }
}
