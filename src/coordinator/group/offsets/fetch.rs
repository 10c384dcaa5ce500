//! OffsetFetch of one group: some partitions, or all that it has. With `require_stable` a partition that an open
//! transaction has written is an error that clients try again (KIP-447).

use crate::coordinator::group::answer::{Answer, FetchedOffset, FetchedTopic};
use crate::coordinator::group::classic::text;
use crate::coordinator::group::input::FetchOffsetsRequest;
use crate::coordinator::group::{Group, GroupError, Groups, RequestId, Turn};
use crate::types::TopicId;

use super::StoredOffset;

impl Groups {
    pub(in crate::coordinator::group) fn fetch_offsets(
        &self,
        turn: &mut Turn<'_>,
        from: RequestId,
        request: &FetchOffsetsRequest,
    ) {
        let fetched = self.fetched(request);
        // What is shown must not be taken back by a crash.
        turn.answer_after_append(from, Answer::FetchOffsets(fetched));
    }

    fn fetched(&self, request: &FetchOffsetsRequest) -> Result<Vec<FetchedTopic>, GroupError> {
        let group_id = request.group_id.as_str();
        if let Some(Group::Consumer(group)) = self.groups.get(group_id) {
            let member_id = request.member_id.as_deref();
            let checked = group.check_fetch(member_id, request.member_epoch);
            checked.map_err(|(error, _)| error)?;
        }
        let offsets = self.offsets.groups.get(group_id);
        let fetch = |topic: &str, partition: i32, row: Option<&StoredOffset>| {
            let unstable =
                request.require_stable && self.offsets.is_unstable(group_id, topic, partition);
            match row {
                _ if unstable => FetchedOffset {
                    error: Some(GroupError::UnstableOffsetCommit),
                    ..nothing(partition)
                },
                None => nothing(partition),
                Some(row) => FetchedOffset {
                    partition,
                    offset: row.offset,
                    leader_epoch: row.leader_epoch,
                    metadata: text(&row.metadata),
                    error: None,
                },
            }
        };
        let Some(topics) = &request.topics else {
            let all = offsets.map(|offsets| offsets.by_topic()).unwrap_or_default();
            let topic = |(topic, rows): (&std::sync::Arc<str>, &[StoredOffset])| FetchedTopic {
                name: text(topic),
                id: TopicId::nil(),
                partitions: rows.iter().map(|r| fetch(topic, r.partition, Some(r))).collect(),
            };
            return Ok(all.into_iter().map(topic).collect());
        };
        let fetched = topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let row = offsets.and_then(|offsets| offsets.get(&topic.name, *partition));
                // An offset of another topic that had the name is none of this one's.
                let row = row.filter(|row| {
                    row.topic_id.is_nil() || topic.id.is_nil() || row.topic_id == topic.id
                });
                fetch(&topic.name, *partition, row)
            });
            FetchedTopic {
                name: topic.name.clone(),
                id: topic.id,
                partitions: partitions.collect(),
            }
        });
        Ok(fetched.collect())
    }
}

fn nothing(partition: i32) -> FetchedOffset {
    FetchedOffset { partition, offset: -1, leader_epoch: -1, metadata: text(""), error: None }
}
