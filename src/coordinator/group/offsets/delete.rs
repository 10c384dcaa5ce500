//! OffsetDelete (KIP-496), and tombstones of all that a group has.

use std::sync::Arc;

use crate::coordinator::group::answer::{Answer, DeletedTopic};
use crate::coordinator::group::classic::name;
use crate::coordinator::group::input::DeleteOffsetsRequest;
use crate::coordinator::group::records::Record;
use crate::coordinator::group::{
    Cause, Client, EventKind, Group, GroupError, Groups, RequestId, Turn,
};
use crate::limits::GROUP_TOMBSTONES_IN_BATCH;

impl Groups {
    pub(in crate::coordinator::group) fn delete_offsets(
        &mut self,
        turn: &mut Turn<'_>,
        from: RequestId,
        client: &Client,
        request: &DeleteOffsetsRequest,
    ) {
        let (tombstones, answer) = match self.offsets_to_delete(request) {
            Ok(prepared) => prepared,
            Err(error) => return turn.answer(from, Answer::DeleteOffsets(Err(error))),
        };
        if !tombstones.is_empty() {
            let cause = Cause::AdminRequest { offsets: tombstones.len() };
            let group = self.known_name(&request.group_id);
            self.group_event(turn, &group, EventKind::OffsetsDeleted, Some(client), cause);
        }
        self.append_tombstones(turn, tombstones);
        turn.answer_after_append(from, Answer::DeleteOffsets(Ok(answer)));
    }

    fn offsets_to_delete(
        &self,
        request: &DeleteOffsetsRequest,
    ) -> Result<(Vec<Record>, Vec<DeletedTopic>), GroupError> {
        let group_id = request.group_id.as_str();
        let group = self.groups.get(group_id).ok_or(GroupError::GroupIdNotFound)?;
        if let Group::Classic(classic) = group
            && !classic.is_empty()
            && !classic.uses_consumer_protocol()
        {
            return Err(GroupError::NonEmptyGroup);
        }
        let group_name = self.known_name(&request.group_id);
        let mut tombstones = Vec::new();
        let mut answer = Vec::with_capacity(request.topics.len());
        for (topic, partitions) in &request.topics {
            let refused =
                group.is_subscribed_to(topic).then_some(GroupError::GroupSubscribedToTopic);
            let topic_name = name(topic);
            for partition in partitions.iter().filter(|_| refused.is_none()) {
                if self.offsets.get(group_id, topic, *partition).is_some()
                    || self.offsets.is_unstable(group_id, topic, *partition)
                {
                    tombstones.push(tombstone(&group_name, &topic_name, *partition));
                }
            }
            answer.push(DeletedTopic {
                name: topic.clone(),
                partitions: partitions.iter().map(|p| (*p, refused)).collect(),
            });
        }
        Ok((tombstones, answer))
    }

    /// Of everything that the group has, pending or not.
    pub(in crate::coordinator::group) fn offset_tombstones(&self, group: &Arc<str>) -> Vec<Record> {
        let mut tombstones = Vec::new();
        if let Some(offsets) = self.offsets.groups.get(group) {
            for (topic, rows) in offsets.by_topic() {
                tombstones.extend(rows.iter().map(|row| tombstone(group, topic, row.partition)));
            }
        }
        for (topic, partition) in self.offsets.pending_partitions(group) {
            if self.offsets.get(group, &topic, partition).is_none() {
                tombstones.push(tombstone(group, &topic, partition));
            }
        }
        tombstones
    }

    /// Tombstones need not be one batch, and a group may have more of them than a batch may be long.
    pub(in crate::coordinator::group) fn append_tombstones(
        &mut self,
        turn: &mut Turn<'_>,
        tombstones: Vec<Record>,
    ) {
        for record in &tombstones {
            self.apply_made(record);
        }
        let mut tombstones = tombstones.into_iter();
        loop {
            let batch: Vec<Record> = tombstones.by_ref().take(GROUP_TOMBSTONES_IN_BATCH).collect();
            if batch.is_empty() {
                return;
            }
            turn.append_in_parts(batch);
        }
    }
}

pub(super) fn tombstone(group: &Arc<str>, topic: &Arc<str>, partition: i32) -> Record {
    Record::Offset { group: group.clone(), topic: topic.clone(), partition, value: None }
}
