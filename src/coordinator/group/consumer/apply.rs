//! The records of a consumer group: what each does to the state, and the pen that writes them. A step writes a record
//! and applies it in one call, so that state and log can't part; loading applies what it reads.

use std::sync::Arc;

use super::group::ConsumerGroup;
use super::member::{Current, Member};
use super::subscriptions::Resolved;
use crate::coordinator::group::assignor::Assignment;
use crate::coordinator::group::records::{
    Assigned, ConsumerGroupValue, ConsumerMemberValue, ConsumerTargetValue, Record,
};

impl ConsumerGroup {
    /// False: the group is gone.
    pub fn apply(&mut self, record: &Record) -> bool {
        match record {
            Record::ConsumerGroup { value: None, .. } => return false,
            Record::ConsumerGroup { value: Some(value), .. } => {
                self.epoch = value.epoch;
                self.metadata_hash = value.metadata_hash;
            }
            Record::ConsumerPartitions { value, .. } => {
                self.has_partitions_record = value.is_some();
            }
            Record::ConsumerMember { member, value, .. } => {
                self.apply_about(member, value.as_deref())
            }
            Record::ConsumerTarget { value, .. } => match value {
                Some(value) => self.put_assignment_epoch(value.epoch, value.at_ms),
                None => self.put_assignment_epoch(-1, 0),
            },
            Record::ConsumerTargetMember { member, value: Some(topics), .. } => {
                let topics = topics.iter().map(|topic| (topic.topic_id, topic.partitions.clone()));
                self.target.insert(member.clone(), Assignment::from_unsorted(topics));
            }
            Record::ConsumerTargetMember { member, value: None, .. } => {
                self.target.remove(member);
            }
            Record::ConsumerCurrent { member, value, .. } => match value {
                Some(value) => self.apply_current(member, Current::from_record(value)),
                None if self.members.contains_key(member) => {
                    self.apply_current(member, Current::gone());
                }
                None => {}
            },
            Record::ConsumerRegex { regex, value, .. } => {
                self.put_resolved(regex, value.as_ref().map(Resolved::from_record));
            }
            Record::Offset { .. } | Record::Group { .. } | Record::Unused { .. } => {}
        }
        true
    }

    fn apply_about(&mut self, id: &Arc<str>, value: Option<&ConsumerMemberValue>) {
        match value {
            Some(about) => {
                let mut member = self.member_or_new(id);
                member.about = about.clone();
                self.put_member(member);
            }
            None => {
                self.take_member(id);
                self.target.remove(id);
            }
        }
    }

    fn apply_current(&mut self, id: &Arc<str>, current: Current) {
        let mut member = self.member_or_new(id);
        member.current = current;
        self.put_member(member);
    }

    fn member_or_new(&self, id: &Arc<str>) -> Member {
        self.member(id).cloned().unwrap_or_else(|| Member::new(id.clone()))
    }
}

/// Writes records of one group and applies them.
pub struct Pen<'a> {
    pub group: &'a mut ConsumerGroup,
    pub records: &'a mut Vec<Record>,
}

impl Pen<'_> {
    fn write(&mut self, record: Record) {
        self.group.apply(&record);
        self.records.push(record);
    }

    fn id(&self) -> Arc<str> {
        self.group.id.clone()
    }

    pub fn about(&mut self, member: &Arc<str>, about: ConsumerMemberValue) {
        let (group, member) = (self.id(), member.clone());
        self.write(Record::ConsumerMember { group, member, value: Some(Box::new(about)) });
    }

    pub fn current(&mut self, member: &Arc<str>, current: &Current) {
        let value = Some(current.to_record());
        self.write(Record::ConsumerCurrent { group: self.id(), member: member.clone(), value });
    }

    pub fn target(&mut self, member: &Arc<str>, target: &Assignment) {
        let assigned = |(topic, partitions): &(_, Vec<i32>)| Assigned {
            topic_id: *topic,
            partitions: partitions.clone(),
        };
        let value = Some(target.topics().iter().map(assigned).collect());
        self.write(Record::ConsumerTargetMember {
            group: self.id(),
            member: member.clone(),
            value,
        });
    }

    pub fn target_epoch(&mut self, epoch: i32, at_ms: i64) {
        let value = Some(ConsumerTargetValue { epoch, at_ms });
        self.write(Record::ConsumerTarget { group: self.id(), value });
    }

    pub fn epoch(&mut self, epoch: i32, metadata_hash: i64) {
        assert!(epoch > self.group.epoch, "epochs never go back");
        self.first_epoch(epoch, metadata_hash);
    }

    /// Of a group that takes over another's generation.
    pub fn first_epoch(&mut self, epoch: i32, metadata_hash: i64) {
        let value = Some(ConsumerGroupValue { epoch, metadata_hash });
        self.write(Record::ConsumerGroup { group: self.id(), value });
    }

    pub fn no_partitions_record(&mut self) {
        self.write(Record::ConsumerPartitions { group: self.id(), value: None });
    }

    pub fn regex(&mut self, regex: &Arc<str>, resolved: Option<&Resolved>) {
        let value = resolved.map(Resolved::to_record);
        self.write(Record::ConsumerRegex { group: self.id(), regex: regex.clone(), value });
    }

    /// In Kafka's order: where it stands, what it shall have, itself.
    pub fn no_member(&mut self, member: &Arc<str>) {
        let (group, member) = (self.id(), member.clone());
        self.write(Record::ConsumerCurrent {
            group: group.clone(),
            member: member.clone(),
            value: None,
        });
        self.write(Record::ConsumerTargetMember {
            group: group.clone(),
            member: member.clone(),
            value: None,
        });
        self.write(Record::ConsumerMember { group, member, value: None });
    }
}

impl ConsumerGroup {
    /// Takes everything that it has out of the log. They are not applied: the group goes as a whole.
    pub fn tombstones(&self) -> Vec<Record> {
        let id = || self.id.clone();
        let members = || self.members.keys().cloned();
        let mut records = Vec::new();
        records.extend(members().map(|member| Record::ConsumerCurrent {
            group: id(),
            member,
            value: None,
        }));
        records.extend(members().map(|member| Record::ConsumerTargetMember {
            group: id(),
            member,
            value: None,
        }));
        records.push(Record::ConsumerTarget { group: id(), value: None });
        records.extend(members().map(|member| Record::ConsumerMember {
            group: id(),
            member,
            value: None,
        }));
        records.extend(self.resolved.keys().map(|regex| Record::ConsumerRegex {
            group: id(),
            regex: regex.clone(),
            value: None,
        }));
        if self.has_partitions_record {
            records.push(Record::ConsumerPartitions { group: id(), value: None });
        }
        records.push(Record::ConsumerGroup { group: id(), value: None });
        records
    }
}
