//! Committed offsets of a group: read, written by an administrator, deleted.
//! Versions are capped below those that name topics by id alone: an administrator types names.

use std::collections::BTreeMap;

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, TopicName,
};
use serde::Serialize;

use super::super::offsets::Tp;
use super::super::{Result, Session, check, text};
use super::id;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Committed {
    pub offset: i64,
    pub metadata: String,
}

fn by_topic<T>(of: impl IntoIterator<Item = (Tp, T)>) -> BTreeMap<String, Vec<(i32, T)>> {
    let mut topics: BTreeMap<String, Vec<(i32, T)>> = BTreeMap::new();
    for ((topic, partition), value) in of {
        topics.entry(topic).or_default().push((partition, value));
    }
    topics
}

/// The code of the first partition that was refused, and which it is; 0 when none was.
fn first_refused<'a>(answers: impl Iterator<Item = (&'a str, i32, i16)>) -> (i16, String) {
    let mut refused = answers.filter(|(_, _, code)| *code != 0);
    refused.next().map_or_else(Default::default, |(topic, partition, code)| {
        (code, format!(" of {topic}-{partition}"))
    })
}

impl Session {
    /// Everything that `group` has committed.
    pub async fn committed(&self, group: &str) -> Result<BTreeMap<Tp, Committed>> {
        const KEY: i16 = 9;
        const MANY_GROUPS: i16 = 8;
        let (code, found) = self
            .of_coordinator(group, async |connection| {
                let version = connection.version(KEY, (2, 9))?;
                let request = if version >= MANY_GROUPS {
                    let asked = OffsetFetchRequestGroup::default()
                        .with_group_id(id(group))
                        .with_topics(None);
                    let asked = asked.with_member_epoch(-1);
                    OffsetFetchRequest::default().with_groups(vec![asked])
                } else {
                    OffsetFetchRequest::default().with_group_id(id(group)).with_topics(None)
                };
                let mut answer = connection.call(version, &request, self.limit).await?;
                let mut found = BTreeMap::new();
                let mut put = |topic: &str, partition, offset, metadata: Option<String>| {
                    let metadata = metadata.unwrap_or_default();
                    if offset >= 0 {
                        let committed = Committed { offset, metadata };
                        found.insert((topic.to_string(), partition), committed);
                    }
                };
                let code = if let Some(g) = answer.groups.pop() {
                    for t in &g.topics {
                        for p in &t.partitions {
                            let metadata = p.metadata.as_ref().map(|m| m.to_string());
                            put(&t.name, p.partition_index, p.committed_offset, metadata);
                        }
                    }
                    g.error_code
                } else {
                    for t in &answer.topics {
                        for p in &t.partitions {
                            let metadata = p.metadata.as_ref().map(|m| m.to_string());
                            put(&t.name, p.partition_index, p.committed_offset, metadata);
                        }
                    }
                    answer.error_code
                };
                Ok((code, found))
            })
            .await?;
        check(|| format!("reading the offsets of group {group}"), code, None)?;
        Ok(found)
    }

    /// As no member of the group: the coordinator takes it only while the group is empty.
    pub async fn commit(&self, group: &str, offsets: &BTreeMap<Tp, i64>) -> Result<()> {
        const KEY: i16 = 8;
        let topics: Vec<_> = by_topic(offsets.iter().map(|(tp, o)| (tp.clone(), *o)))
            .into_iter()
            .map(|(topic, partitions)| {
                let partition = |(index, offset): (i32, i64)| {
                    OffsetCommitRequestPartition::default()
                        .with_partition_index(index)
                        .with_committed_offset(offset)
                        .with_committed_leader_epoch(-1)
                        .with_committed_metadata(Some(text("")))
                };
                OffsetCommitRequestTopic::default()
                    .with_name(TopicName(text(&topic)))
                    .with_partitions(partitions.into_iter().map(partition).collect())
            })
            .collect();
        let (code, which) = self
            .of_coordinator(group, async |connection| {
                let version = connection.version(KEY, (2, 9))?;
                let request = OffsetCommitRequest::default()
                    .with_group_id(id(group))
                    .with_generation_id_or_member_epoch(-1)
                    .with_topics(topics.clone());
                let answer = connection.call(version, &request, self.limit).await?;
                Ok(first_refused(answer.topics.iter().flat_map(|t| {
                    t.partitions.iter().map(|p| (t.name.as_str(), p.partition_index, p.error_code))
                })))
            })
            .await?;
        check(|| format!("committing the offset{which} for group {group}"), code, None)
    }

    pub async fn delete_offsets(&self, group: &str, of: &[Tp]) -> Result<()> {
        let topics: Vec<_> = by_topic(of.iter().map(|tp| (tp.clone(), ())))
            .into_iter()
            .map(|(topic, partitions)| {
                let partition = |(i, ()): (i32, ())| {
                    OffsetDeleteRequestPartition::default().with_partition_index(i)
                };
                OffsetDeleteRequestTopic::default()
                    .with_name(TopicName(text(&topic)))
                    .with_partitions(partitions.into_iter().map(partition).collect())
            })
            .collect();
        let (code, which) = self
            .of_coordinator(group, async |connection| {
                let request = OffsetDeleteRequest::default()
                    .with_group_id(id(group))
                    .with_topics(topics.clone());
                let (answer, _) = connection.call_latest(&request, self.limit).await?;
                if answer.error_code != 0 {
                    return Ok((answer.error_code, String::new()));
                }
                Ok(first_refused(answer.topics.iter().flat_map(|t| {
                    t.partitions.iter().map(|p| (t.name.as_str(), p.partition_index, p.error_code))
                })))
            })
            .await?;
        check(|| format!("deleting the offset{which} of group {group}"), code, None)
    }
}
