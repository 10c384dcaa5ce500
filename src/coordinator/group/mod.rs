//! The group coordinator of one partition of `__consumer_offsets`: groups of the classic and the consumer protocol and
//! committed offsets. Owned by the shard that leads the partition. Pure: `step(now, topics, input) -> effects`.
//! State changes when a step makes records, answers wait for their commit; when an append fails the host drops the
//! whole `Groups` and loads again from the log, so there are no snapshots and no undo.

pub mod answer;
pub mod assignor;
pub mod config;
pub mod consumer;
pub mod effect;
pub mod error;
pub mod event;
pub mod input;
pub mod records;
mod refusal;
pub mod timers;
pub mod topics;
mod turn;

use std::collections::HashMap;
use std::sync::Arc;

pub use answer::Answer;
pub use config::GroupConfig;
pub use effect::{Effect, Producer};
pub use error::GroupError;
pub use event::{Cause, EVENTS_TOPIC, Event, EventKind};
pub use input::{Client, Input, RequestId};
pub use records::{BadRecord, LoadedRecord, Record};
pub use topics::{TopicInfo, Topics};
pub use turn::Turn;

use consumer::ConsumerGroup;
use timers::Timers;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub monotonic_ms: i64,
    pub wall_ms: i64,
}

/// The groups of one partition.
pub struct Groups {
    config: GroupConfig,
    random: fastrand::Rng,
    #[expect(dead_code, reason = "no handler is here yet")]
    groups: HashMap<Arc<str>, Group>,
    timers: Timers<TimerKey>,
}

/// The protocol that a group's members speak.
#[derive(Debug)]
pub enum Group {
    Consumer(ConsumerGroup),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TimerKey {
    /// offsets.retention.check.interval.ms
    Retention,
    /// A member's session in a classic group, or that of a classic member in a consumer group.
    ClassicSession(Arc<str>, Arc<str>),
    /// Waiting for joins.
    ClassicJoin(Arc<str>),
    /// Waiting for SyncGroup.
    ClassicSync(Arc<str>),
    ConsumerSession(Arc<str>, Arc<str>),
    /// A member has to give partitions back, or a classic member of a consumer group to join or sync.
    ConsumerRebalance(Arc<str>, Arc<str>),
    /// Regular expressions are matched again; the next assignment may be computed.
    ConsumerGroup(Arc<str>),
}

impl Groups {
    /// `seed`: of the member ids that it makes.
    pub fn new(config: GroupConfig, seed: u64) -> Groups {
        Groups {
            config,
            random: fastrand::Rng::with_seed(seed),
            groups: HashMap::new(),
            timers: Timers::default(),
        }
    }

    /// One record of the log, in its order, before `loaded`.
    pub fn replay(&mut self, record: &LoadedRecord<'_>) -> Result<(), BadRecord> {
        let Some(key) = record.key else {
            return Err(BadRecord("a record without a key".to_string()));
        };
        let record = Record::decode(key, record.value)?;
        self.apply(&record)
    }

    /// The marker that ends a transaction, in the log's order, before `loaded`.
    pub fn replay_marker(&mut self, producer: Producer, committed: bool) {
        let _ = (producer, committed);
    }

    /// Everything is replayed: sessions of the members that the log named begin now.
    pub fn loaded(&mut self, now: Now, topics: &dyn Topics, out: &mut Vec<Effect>) {
        let _ = (now, topics, out);
    }

    pub fn step(&mut self, now: Now, topics: &dyn Topics, input: Input, out: &mut Vec<Effect>) {
        let mut turn = Turn::new(now, topics, out);
        let _ = (&mut turn, &self.random, &self.config);
        match input {
            Input::Tick => while self.timers.pop_due(now.monotonic_ms).is_some() {},
            Input::ConfigChanged { config } => self.config = *config,
            input => {
                if let (Some(to), Some(answer)) =
                    (input.from(), input.refused(GroupError::CoordinatorNotAvailable))
                {
                    turn.answer(to, answer);
                }
            }
        }
    }

    /// Monotonic; the host sends `Input::Tick` then.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.timers.next_ms()
    }

    /// What a record does to the state: while loading, and right after a step made it.
    fn apply(&mut self, record: &Record) -> Result<(), BadRecord> {
        match record {
            Record::Unused { .. } => Ok(()),
            _ => Err(BadRecord("no record is known yet".to_string())),
        }
    }
}
