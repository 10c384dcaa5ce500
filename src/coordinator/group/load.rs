//! Replaying the log, and applying what a step has made. Both go the same way, but for classic groups: a step changes
//! those in place, since requests wait in them, and their record says how they stand.

use std::sync::Arc;

use super::classic::ClassicGroup;
use super::event::{Cause, EventKind};
use super::records::{BadRecord, LoadedRecord, OffsetRef, Record};
use super::{Effect, Group, Groups, Now, Producer, Topics, Turn};

impl Groups {
    /// One record of the log, in its order, before `loaded`.
    pub fn replay(&mut self, record: &LoadedRecord<'_>) -> Result<(), BadRecord> {
        let Some(key) = record.key else {
            return Err(BadRecord("a record without a key".to_string()));
        };
        match OffsetRef::read(key, record.value)? {
            Some(offset) => self.replay_offset(&offset, record.transactional),
            None => match Record::decode(key, record.value)? {
                Record::Group { group, value: Some(value) } => {
                    let loaded = ClassicGroup::from_record(group.clone(), &value);
                    self.groups.insert(group, Group::Classic(Box::new(loaded)));
                }
                Record::Group { group, value: None } => {
                    // A consumer group that was converted has its own tombstones.
                    if let Some(Group::Classic(_)) = self.groups.get(&group) {
                        self.groups.swap_remove(&group);
                    }
                }
                Record::Unused { .. } => {}
                record => self.apply_consumer(&record)?,
            },
        }
        Ok(())
    }

    fn replay_offset(&mut self, offset: &OffsetRef<'_>, transactional: Option<Producer>) {
        let OffsetRef { group, topic, partition, value } = *offset;
        let Some(value) = value else { return self.offsets.remove(group, topic, partition) };
        match transactional {
            None => {
                let Groups { groups, offsets, .. } = self;
                let name = || match groups.get_key_value(group) {
                    Some((name, _)) => name.clone(),
                    None => group.into(),
                };
                offsets.put(group, name, topic, partition, value);
            }
            Some(producer) => {
                // It is a group before its offsets count.
                self.keep_simple(group);
                self.offsets.put_pending(producer.id, group, topic, partition, value);
            }
        }
    }

    /// Who has committed offsets and nothing else (a simple consumer) is in the table of offsets alone: there may be
    /// millions. It becomes a group like others when a request wants more of it than its offsets.
    pub(super) fn settle(&mut self, group: &str) {
        if self.offsets.has_group(group) {
            self.keep_simple(group);
        }
    }

    fn keep_simple(&mut self, group: &str) {
        if self.groups.contains_key(group) {
            return;
        }
        let id = self.offsets.name_of(group).cloned().unwrap_or_else(|| group.into());
        // Kafka's name for when it became so is now; nothing depends on it.
        let simple = Group::Classic(Box::new(ClassicGroup::new(id.clone(), -1)));
        self.groups.insert(id, simple);
    }

    /// Groups that have offsets only.
    pub(super) fn simple_count(&self) -> usize {
        let both = self.groups.keys().filter(|id| self.offsets.has_group(id)).count();
        self.offsets.group_count() - both
    }

    /// The marker that ends a transaction, in the log's order, before `loaded`.
    pub fn replay_marker(&mut self, producer: Producer, committed: bool) {
        self.offsets.complete(producer.id, committed);
    }

    /// Everything is replayed: sessions of the members that the log named begin now.
    pub fn loaded(&mut self, now: Now, topics: &dyn Topics, out: &mut Vec<Effect>) {
        let mut turn = Turn::new(now, topics, out);
        // Of a million groups most may have offsets only.
        let used = self.groups.iter().filter(|(_, group)| match group {
            Group::Classic(group) => !group.is_empty(),
            Group::Consumer(_) => true,
        });
        let used: Vec<Arc<str>> = used.map(|(id, _)| id.clone()).collect();
        let cause = Cause::Loaded {
            groups: self.groups.len() + self.simple_count(),
            offsets: self.offsets.count(),
        };
        for id in &used {
            let (groups, mut cx) = self.tools(&mut turn);
            match groups.get_mut(id).expect("it is there") {
                Group::Classic(group) => group.loaded(&mut cx),
                Group::Consumer(_) => self.consumer_loaded(&mut turn, id),
            }
            self.group_event(&mut turn, id, EventKind::CoordinatorLoaded, None, cause.clone());
        }
        self.arm_retention(&turn);
    }

    /// An offset's record that a step made.
    pub(super) fn apply_made(&mut self, record: &Record) {
        let offset = made_offset(record);
        self.replay_offset(&offset, None);
    }

    pub(super) fn apply_made_pending(&mut self, producer: Producer, record: &Record) {
        let offset = made_offset(record);
        self.replay_offset(&offset, Some(producer));
    }
}

fn made_offset(record: &Record) -> OffsetRef<'_> {
    let Record::Offset { group, topic, partition, value } = record else {
        unreachable!("a step makes other records with the group that they are of")
    };
    let value = value.as_ref().map(|value| value.as_ref());
    OffsetRef { group, topic, partition: *partition, value }
}
