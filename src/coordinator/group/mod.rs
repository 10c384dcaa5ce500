//! The group coordinator of one partition of `__consumer_offsets`: groups of the classic and the consumer protocol and
//! committed offsets. Owned by the shard that leads the partition. Pure: `step(now, topics, input) -> effects`.
//! State changes when a step makes records, answers wait for their commit; when an append fails the host drops the
//! whole `Groups` and loads again from the log, so there are no snapshots and no undo.

mod admin;
pub mod answer;
pub mod assignor;
#[cfg(test)]
mod checker;
pub mod classic;
pub mod config;
pub mod consumer;
pub mod effect;
pub mod error;
pub mod event;
pub mod input;
mod load;
pub mod offsets;
pub mod records;
mod refusal;
mod requests;
mod seeded;
#[cfg(test)]
mod testing;
pub mod timers;
pub mod topics;
mod turn;

use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;

pub use answer::Answer;
pub use config::GroupConfig;
pub use effect::{Effect, Producer};
pub use error::GroupError;
pub use event::{Cause, EVENTS_TOPIC, Event, EventKind};
pub use input::{Client, Input, RequestId};
pub use records::{BadRecord, LoadedRecord, Record};
pub use topics::{TopicInfo, Topics};
pub use turn::Turn;

use classic::{ClassicGroup, Tools};
use config::GroupOverrides;
use consumer::{ConsumerGroup, Subscriptions};
use offsets::{DeletedTopics, Offsets, RetentionRound};
use seeded::{Seeded, SeededIndex};
use timers::Timers;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub monotonic_ms: i64,
    pub wall_ms: i64,
}

/// What a member's record has beside what its request brought, and the batch around it.
const MEMBER_RECORD_BYTES: usize = 512;

/// The groups of one partition.
pub struct Groups {
    config: GroupConfig,
    random: fastrand::Rng,
    /// But those that have committed offsets and nothing else: see `settle`.
    groups: SeededIndex<Arc<str>, Group>,
    offsets: Offsets,
    timers: Timers<TimerKey>,
    retention: RetentionRound,
    deleted_topics: DeletedTopics,
    subscriptions: Subscriptions,
}

/// The protocol that a group's members speak.
#[derive(Debug)]
pub enum Group {
    Classic(Box<ClassicGroup>),
    Consumer(Box<ConsumerGroup>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TimerKey {
    /// offsets.retention.check.interval.ms
    Retention,
    /// Offsets of deleted topics: the next slice of groups.
    DeletedTopics,
    /// A member's session in a classic group, or an id that has not joined.
    ClassicSession(Arc<str>, Arc<str>),
    /// Waiting for joins.
    ClassicJoin(Arc<str>),
    /// Waiting for SyncGroup.
    ClassicSync(Arc<str>),
    /// A member's session in a consumer group, whichever protocol it speaks.
    ConsumerSession(Arc<str>, Arc<str>),
    /// A member has to give partitions back, or a classic member of a consumer group to join or sync.
    ConsumerRebalance(Arc<str>, Arc<str>),
    /// Regular expressions are not through the names of all topics.
    ConsumerGroup(Arc<str>),
}

/// How much there is, for the metrics page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupCounts {
    pub classic: usize,
    pub consumer: usize,
    pub offsets: usize,
}

impl Groups {
    /// `seed`: of the member ids that it makes.
    pub fn new(config: GroupConfig, seed: u64) -> Groups {
        let mut random = fastrand::Rng::with_seed(seed);
        let hash = Seeded::new(random.u64(..));
        Groups {
            config,
            random,
            groups: SeededIndex::with_hasher(hash),
            offsets: Offsets::new(hash),
            timers: Timers::default(),
            retention: RetentionRound::default(),
            deleted_topics: DeletedTopics::default(),
            subscriptions: Subscriptions::default(),
        }
    }

    pub fn step(&mut self, now: Now, topics: &dyn Topics, input: Input, out: &mut Vec<Effect>) {
        let mut turn = Turn::new(now, topics, out);
        self.subscriptions.begin_step();
        if input.is_oversized() {
            return refuse(&mut turn, &input, GroupError::InvalidRequest);
        }
        if input.member_bytes() + MEMBER_RECORD_BYTES > self.config.batch_bytes_max {
            return refuse(&mut turn, &input, GroupError::UnknownServerError);
        }
        match input {
            Input::Join { from, client, request } => self.join(&mut turn, from, client, request),
            Input::Sync { from, client, request } => self.sync(&mut turn, from, client, request),
            Input::Heartbeat { from, client, request } => {
                self.heartbeat(&mut turn, from, client, request);
            }
            Input::Leave { from, client, request } => self.leave(&mut turn, from, client, request),
            Input::ConsumerHeartbeat { from, client, request } => {
                self.consumer_heartbeat(&mut turn, from, client, request);
            }
            Input::ConsumerDescribe { from, group_id } => {
                self.settle(&group_id);
                self.consumer_describe(&mut turn, from, group_id);
            }
            Input::Commit { from, client, request } => {
                self.commit(&mut turn, from, &client, &request);
            }
            Input::TxnCommit { from, request, .. } => {
                self.commit_transactional(&mut turn, from, &request);
            }
            Input::FetchOffsets { from, request } => self.fetch_offsets(&mut turn, from, &request),
            Input::DeleteOffsets { from, client, request } => {
                self.settle(&request.group_id);
                self.delete_offsets(&mut turn, from, &client, &request);
            }
            Input::Describe { from, group_id } => {
                self.settle(&group_id);
                self.describe(&mut turn, from, &group_id);
            }
            Input::List { from, request } => self.list(&mut turn, from, &request),
            Input::Delete { from, client, group_id } => {
                self.settle(&group_id);
                self.delete(&mut turn, from, &client, &group_id);
            }
            Input::TopicsChanged { names } => self.consumer_topics_changed(&mut turn, &names),
            Input::TopicsDeleted { topics } => self.topics_deleted(&mut turn, &topics),
            Input::TxnCompleted { producer_id, committed, .. } => {
                self.offsets.complete(producer_id, committed);
            }
            Input::ConfigChanged { config } => self.config = *config,
            Input::GroupConfigChanged { group_id, overrides } => {
                let id = group_id.as_str();
                match overrides == GroupOverrides::default() {
                    true => self.config.overrides.remove(id),
                    false => self.config.overrides.insert(Arc::from(id), overrides),
                };
            }
            Input::Tick => self.tick(&mut turn),
        }
    }

    fn tick(&mut self, turn: &mut Turn<'_>) {
        // One slice of each walk a tick, whatever its timer says.
        let (mut retention_is_due, mut deleted_topics_are_due) = (false, false);
        let mut regexes_are_due = Vec::new();
        while let Some(key) = self.timers.pop_due(turn.now.monotonic_ms) {
            match &key {
                TimerKey::Retention => retention_is_due = true,
                TimerKey::DeletedTopics => deleted_topics_are_due = true,
                TimerKey::ConsumerGroup(id) => regexes_are_due.push(id.clone()),
                TimerKey::ClassicSession(id, _)
                | TimerKey::ClassicJoin(id)
                | TimerKey::ClassicSync(id) => {
                    let (groups, mut cx) = self.tools(turn);
                    let Some(Group::Classic(group)) = groups.get_mut(id) else { continue };
                    match &key {
                        TimerKey::ClassicSession(_, member) => group.session_due(&mut cx, member),
                        TimerKey::ClassicJoin(_) => group.join_due(&mut cx),
                        _ => group.sync_due(&mut cx),
                    }
                }
                TimerKey::ConsumerSession(..) | TimerKey::ConsumerRebalance(..) => {
                    self.consumer_due(turn, key);
                }
            }
        }
        for id in regexes_are_due {
            self.consumer_regexes_due(turn, &id);
        }
        if retention_is_due {
            self.retention_due(turn);
        }
        if deleted_topics_are_due {
            self.deleted_topics_due(turn);
        }
    }

    /// The largest batch that the log takes now.
    pub fn set_batch_bytes_max(&mut self, bytes: usize) {
        self.config.batch_bytes_max = bytes;
    }

    /// Monotonic; the host sends `Input::Tick` then.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.timers.next_ms()
    }

    pub fn counts(&self) -> GroupCounts {
        let consumer = self.groups.values().filter(|g| matches!(g, Group::Consumer(_))).count();
        let classic = self.groups.len() - consumer + self.simple_count();
        GroupCounts { classic, consumer, offsets: self.offsets.count() }
    }

    /// The groups, and what a classic group's step needs beside them.
    fn tools<'a, 't>(
        &'a mut self,
        turn: &'a mut Turn<'t>,
    ) -> (&'a mut SeededIndex<Arc<str>, Group>, Tools<'a, 't>) {
        let Groups { groups, timers, config, random, .. } = self;
        (groups, Tools { turn, timers, config, random })
    }

    /// The name as it is kept, if it is.
    fn known_name(&self, group_id: &StrBytes) -> Arc<str> {
        let id = group_id.as_str();
        let known = self.groups.get_key_value(id).map(|(name, _)| name);
        known.or_else(|| self.offsets.name_of(id)).cloned().unwrap_or_else(|| Arc::from(id))
    }

    /// Of the group as a whole.
    fn group_event(
        &self,
        turn: &mut Turn<'_>,
        group: &Arc<str>,
        kind: EventKind,
        client: Option<&Client>,
        cause: Cause,
    ) {
        let at_ms = turn.now.wall_ms;
        turn.event(Event {
            at_ms,
            group: group.clone(),
            kind,
            member: None,
            instance_id: None,
            client_id: client.map(|c| classic::name(&c.id)),
            client_host: client.map(|c| classic::name(&c.host)),
            cause,
            generation: self.groups.get(group).map_or(0, Group::generation),
            took_ms: None,
        });
    }
}

impl Group {
    pub fn is_empty(&self) -> bool {
        match self {
            Group::Classic(group) => group.is_empty(),
            Group::Consumer(group) => group.is_empty(),
        }
    }

    pub fn generation(&self) -> i32 {
        match self {
            Group::Classic(group) => group.generation(),
            Group::Consumer(group) => group.epoch(),
        }
    }

    pub fn state_name(&self) -> &'static str {
        match self {
            Group::Classic(group) => group.state().name(),
            Group::Consumer(group) => group.state_name(),
        }
    }

    pub fn type_name(&self) -> &'static str {
        match self {
            Group::Classic(_) => "Classic",
            Group::Consumer(_) => "Consumer",
        }
    }

    fn is_subscribed_to(&self, topic: &str) -> bool {
        match self {
            Group::Classic(group) => group.is_subscribed_to(topic),
            Group::Consumer(group) => group.is_subscribed_to(topic),
        }
    }

    /// Not only offsets.
    fn had_members(&self) -> bool {
        match self {
            Group::Classic(group) => group.protocol_type().is_some(),
            Group::Consumer(_) => true,
        }
    }
}

fn refuse(turn: &mut Turn<'_>, input: &Input, error: GroupError) {
    if let (Some(to), Some(answer)) = (input.from(), input.refused(error)) {
        turn.answer(to, answer);
    }
}
