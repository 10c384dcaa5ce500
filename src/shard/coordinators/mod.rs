//! The group coordinators of this shard: one for each partition of `__consumer_offsets` that it owns. They come
//! and go with the metadata image, and are told what it says of topics and of groups' settings.
//! Owned by one shard. Not here: one coordinator's life (host), what a coordinator decides (coordinator/).

mod config;
mod events;
mod host;
mod load;
mod view;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;

use super::Shard;
use super::internal_topics::OFFSETS_TOPIC;
use crate::controller::{Image, ResourceType};
use crate::coordinator::group::{Answer, Input, RequestId};
use crate::runtime;
use crate::runtime::activity::{Activity, charged};
pub(super) use events::{EventQueue, drain as drain_events};
use host::Hosted;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoordinatorError {
    #[error("This is not the correct coordinator.")]
    NotCoordinator,
    #[error("The coordinator is loading and hence can't process requests.")]
    LoadInProgress,
    #[error("The coordinator is not available.")]
    NotAvailable,
}

#[derive(Default)]
pub(super) struct Coordinators {
    hosted: RefCell<BTreeMap<i32, Rc<Hosted>>>,
    pub(super) events: EventQueue,
}

impl Shard {
    /// Asks the coordinator that holds this partition of `__consumer_offsets`.
    pub(super) async fn ask_group(
        self: &Rc<Self>,
        partition: i32,
        input: impl FnOnce(RequestId) -> Input,
    ) -> Result<Answer, CoordinatorError> {
        let hosted = self.coordinators.hosted.borrow().get(&partition).cloned();
        let hosted = hosted.ok_or(CoordinatorError::NotCoordinator)?;
        hosted.ask(self, input).await
    }

    /// Asks every coordinator of this shard.
    pub(super) async fn ask_all_groups(
        self: &Rc<Self>,
        input: impl Fn(RequestId) -> Input,
    ) -> Result<Vec<Answer>, CoordinatorError> {
        let all: Vec<_> = self.coordinators.hosted.borrow().values().cloned().collect();
        let mut answers = Vec::with_capacity(all.len());
        for hosted in all {
            answers.push(hosted.ask(self, &input).await?);
        }
        Ok(answers)
    }

    /// Makes the coordinators what the image says; called when it has been applied.
    pub(super) fn follow_image(self: &Rc<Self>, before: &Image) {
        let image = self.image();
        self.host_partitions();
        let all: Vec<_> = self.coordinators.hosted.borrow().values().cloned().collect();
        if all.is_empty() {
            return;
        }
        for input in changes(before, &image, self) {
            for hosted in &all {
                hosted.tell(self, input.clone());
            }
        }
    }

    fn host_partitions(self: &Rc<Self>) {
        let mut owned = BTreeMap::new();
        if let Some(topic) = self.topic(OFFSETS_TOPIC) {
            for index in 0..topic.image.partitions.len() as i32 {
                if let Some(partition) = topic.partition(index) {
                    owned.insert(index, partition);
                }
            }
        }
        let mut hosted = self.coordinators.hosted.borrow_mut();
        hosted.retain(|index, h| {
            let stays = owned.get(index).is_some_and(|p| Rc::ptr_eq(p, h.partition()));
            if !stays {
                h.end();
            }
            stays
        });
        let mut begun = Vec::new();
        for (index, partition) in owned {
            hosted.entry(index).or_insert_with(|| {
                let new = Hosted::new(partition);
                begun.push(new.clone());
                new
            });
        }
        drop(hosted);
        // A task runs as soon as it is spawned: nothing is borrowed then.
        for new in begun {
            runtime::spawn(charged(Activity::Coordination, new.run(self.clone())));
        }
    }

    /// No coordinator answers any more; who waits is told so.
    pub(super) fn end_coordinators(&self) {
        for (_, hosted) in std::mem::take(&mut *self.coordinators.hosted.borrow_mut()) {
            hosted.end();
        }
        self.coordinators.events.end();
    }
}

/// What an image changes for the groups.
fn changes(before: &Image, image: &Arc<Image>, shard: &Shard) -> Vec<Input> {
    let text = |name: &str| StrBytes::from_string(name.to_string());
    let mut inputs = Vec::new();
    let gone: Vec<_> = before
        .topics
        .values()
        .filter(|t| image.topics.get(&t.name).is_none_or(|now| now.id != t.id))
        .map(|t| (text(&t.name), t.id))
        .collect();
    let changed: Vec<StrBytes> = image
        .topics
        .values()
        .filter(|t| before.topics.get(&t.name).is_none_or(|old| !Arc::ptr_eq(old, t)))
        .map(|t| text(&t.name))
        .chain(gone.iter().map(|(name, _)| name.clone()))
        .collect();
    if !gone.is_empty() {
        inputs.push(Input::TopicsDeleted { topics: gone });
    }
    if !changed.is_empty() {
        inputs.push(Input::TopicsChanged { names: changed });
    }
    let groups = |image: &Image| {
        let keys = image.configs.iter().filter(|((kind, _), _)| *kind == ResourceType::Group);
        keys.map(|((_, name), keys)| (name.clone(), keys.clone())).collect::<BTreeMap<_, _>>()
    };
    let (old, new) = (groups(before), groups(image));
    for group in old.keys().chain(new.keys().filter(|g| !old.contains_key(*g))) {
        if old.get(group) != new.get(group) {
            let keys = new.get(group).cloned().unwrap_or_default();
            let overrides = config::overrides(&shard.config.groups, &keys);
            inputs.push(Input::GroupConfigChanged { group_id: text(group), overrides });
        }
    }
    inputs
}

/// Kafka's: the absolute value of Java's hash of the group id, over the partitions.
pub fn partition_of_group(group_id: &str, partitions: i32) -> i32 {
    let hash = group_id
        .encode_utf16()
        .fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `Utils.abs(groupId.hashCode()) % 50` in Java.
    #[test]
    fn groups_hash_as_in_java() {
        for (group, partition) in HASHES {
            assert_eq!(partition_of_group(group, 50), *partition, "{group:?}");
        }
    }

    const HASHES: &[(&str, i32)] = &[
        ("", 0),
        ("a", 47),
        ("my-group", 12),
        ("console-consumer-12345", 6),
        ("gr\u{fc}ppe", 12),
        ("\u{1f600}", 49),
        // Its hash is the smallest number of 32 bits, which has no absolute value.
        ("polygenelubricants", 0),
    ];
}
