//! The router's part for groups: which partition of `__consumer_offsets` holds a group, which node a client of this
//! listener finds it at, and how its coordinator is asked. In range mode a client that asks the wrong core is
//! told so, as a client of Kafka's at the wrong broker; with one port the request goes through the mailbox.

use std::rc::Rc;

use super::coordinators::{CoordinatorError, partition_of_group};
use super::internal_topics::OFFSETS_TOPIC;
use super::router::NodeAddress;
use super::{Router, Shard};
use crate::coordinator::group::{Answer, Input, RequestId};
use crate::partition::PartitionError;
use crate::types::Offset;

impl Router {
    /// Leader epoch and end offset of the metadata log.
    pub async fn metadata_log(&self) -> Result<(i32, Offset), PartitionError> {
        self.shard
            .ask(0, |shard: &Rc<Shard>| {
                let controller = shard.controller.borrow().clone();
                let log = controller.map(|c| (c.epoch(), c.image().offset));
                async move { log.ok_or_else(|| PartitionError::Storage("no controller yet".into())) }
            })
            .await?
    }

    /// The node that a client of this listener has to ask about the group; `None`: nobody yet. The first who asks
    /// when `__consumer_offsets` is not there makes it; others hear `None` until it is.
    pub async fn find_group_coordinator(
        &self,
        listener: usize,
        group_id: &str,
    ) -> Option<NodeAddress> {
        if self.topic_image(OFFSETS_TOPIC).is_none() {
            self.create_internal_topic(OFFSETS_TOPIC).await;
        }
        let topic = self.topic_image(OFFSETS_TOPIC)?;
        let partition = partition_of_group(group_id, topic.partitions.len() as i32);
        let node = self.leader_node(listener, &topic, partition);
        self.nodes(listener).into_iter().find(|n| n.node_id == node)
    }

    /// Asks the group's coordinator. What `input` makes goes to the shard that owns it.
    pub async fn ask_group(
        &self,
        listener: usize,
        group_id: &str,
        input: impl FnOnce(RequestId) -> Input + Send + 'static,
    ) -> Result<Answer, CoordinatorError> {
        let topic = self.shard.topic(OFFSETS_TOPIC).ok_or(CoordinatorError::NotCoordinator)?;
        let partition = partition_of_group(group_id, topic.image.partitions.len() as i32);
        let owner = topic.owner(partition).ok_or(CoordinatorError::NotCoordinator)?;
        if owner == self.shard.id {
            return self.shard.ask_group(partition, input).await;
        }
        if self.is_range(listener) {
            return Err(CoordinatorError::NotCoordinator);
        }
        let asked = self.shard.ask(owner, move |shard: &Rc<Shard>| {
            let shard = shard.clone();
            async move { shard.ask_group(partition, input).await }
        });
        asked.await.unwrap_or(Err(CoordinatorError::NotAvailable))
    }

    /// Asks every coordinator of the node that this listener is: of this core in range mode, else of all.
    pub async fn ask_all_groups(
        &self,
        listener: usize,
        input: impl Fn(RequestId) -> Input + Clone + Send + 'static,
    ) -> Result<Vec<Answer>, CoordinatorError> {
        if self.is_range(listener) {
            return self.shard.ask_all_groups(input).await;
        }
        let mut answers = Vec::new();
        for id in 0..self.shard.shard_count() {
            let input = input.clone();
            let asked = self.shard.ask(id, move |shard: &Rc<Shard>| {
                let shard = shard.clone();
                async move { shard.ask_all_groups(input).await }
            });
            answers.append(&mut asked.await.unwrap_or(Err(CoordinatorError::NotAvailable))?);
        }
        Ok(answers)
    }
}
