//! A group of the classic protocol: who is in it, which generation it is at, who waits for what. Behaviour is that of
//! Kafka 4.3.1's ClassicGroup. There is no Dead state: a deleted group is not there.
//!
//! `member` one member, `roster` who comes and goes, `join`, `sync`, `leave` the requests, `rebalance` from the first
//! join to the new generation, `record` to and from the log.
//! Invariants: `joining` counts the members with a join that waits; `votes` counts each protocol's members; a static
//! member's instance id names a member that is here; only `rebalance` and `sync` change the state.

mod convert;
mod join;
mod leave;
mod member;
mod rebalance;
mod record;
mod roster;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;

use super::config::GroupConfig;
use super::event::{Cause, Event, EventKind};
use super::timers::Timers;
use super::{TimerKey, Turn};

pub use member::ClassicMember;

/// What the consumer's embedded protocol is called: only of it does the coordinator read subscriptions.
pub const CONSUMER: &str = "consumer";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassicState {
    Empty,
    /// Waiting for members to join.
    PreparingRebalance,
    /// Everybody has joined; the leader has not sent the assignment yet.
    CompletingRebalance,
    Stable,
}

impl ClassicState {
    pub fn name(self) -> &'static str {
        match self {
            ClassicState::Empty => "Empty",
            ClassicState::PreparingRebalance => "PreparingRebalance",
            ClassicState::CompletingRebalance => "CompletingRebalance",
            ClassicState::Stable => "Stable",
        }
    }
}

#[derive(Debug)]
pub struct ClassicGroup {
    pub id: Arc<str>,
    state: ClassicState,
    /// Wall clock of the last change of state; -1: not known.
    state_ms: i64,
    generation: i32,
    /// `None`: nobody has joined yet; the group has offsets only.
    protocol_type: Option<Arc<str>>,
    protocol: Option<Arc<str>>,
    leader: Option<Arc<str>>,
    /// In the order of their ids, so that what is sent does not depend on a hash.
    /// Boxed: a node of the map has room for eleven, and most groups have one.
    members: BTreeMap<Arc<str>, Box<ClassicMember>>,
    /// Instance id to member id (KIP-345).
    statics: BTreeMap<Arc<str>, Arc<str>>,
    /// Member ids that were given out and have not joined (KIP-394).
    pending: BTreeSet<Arc<str>>,
    /// Members of this generation whose SyncGroup has not come.
    pending_sync: BTreeSet<Arc<str>>,
    votes: Vec<(Arc<str>, usize)>,
    joining: usize,
    /// Of the current generation; `None`: not known, which counts as every topic for a consumer group.
    subscribed: Option<BTreeSet<Arc<str>>>,
    /// The first rebalance of an empty group waits for more members.
    initial: Option<InitialDelay>,
    /// Monotonic: when the rebalance under way began.
    rebalance_since_ms: i64,
}

#[derive(Clone, Copy, Debug)]
struct InitialDelay {
    delay_ms: i64,
    /// How much longer it may be extended.
    remaining_ms: i64,
    member_added: bool,
}

/// What a group's step works with beside the group.
pub struct Tools<'a, 't> {
    pub turn: &'a mut Turn<'t>,
    pub timers: &'a mut Timers<TimerKey>,
    pub config: &'a GroupConfig,
    pub random: &'a mut fastrand::Rng,
}

impl ClassicGroup {
    pub fn new(id: Arc<str>, wall_ms: i64) -> ClassicGroup {
        ClassicGroup {
            id,
            state: ClassicState::Empty,
            state_ms: wall_ms,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            votes: Vec::new(),
            joining: 0,
            subscribed: None,
            initial: None,
            rebalance_since_ms: 0,
        }
    }

    pub fn state(&self) -> ClassicState {
        self.state
    }

    pub fn is_empty(&self) -> bool {
        self.state == ClassicState::Empty
    }

    /// It has offsets and nothing else: nobody has ever joined it.
    pub fn is_simple(&self) -> bool {
        self.protocol_type.is_none() && self.is_empty() && self.pending.is_empty()
    }

    pub fn generation(&self) -> i32 {
        self.generation
    }

    pub fn protocol_type(&self) -> Option<&Arc<str>> {
        self.protocol_type.as_ref()
    }

    pub fn protocol(&self) -> Option<&Arc<str>> {
        self.protocol.as_ref()
    }

    pub fn leader(&self) -> Option<&Arc<str>> {
        self.leader.as_ref()
    }

    pub fn members(&self) -> &BTreeMap<Arc<str>, Box<ClassicMember>> {
        &self.members
    }

    fn member(&self, id: &str) -> Option<&ClassicMember> {
        self.members.get(id).map(Box::as_ref)
    }

    pub fn static_member(&self, instance_id: &str) -> Option<&Arc<str>> {
        self.statics.get(instance_id)
    }

    pub fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Kafka's rule: when the subscriptions can't be read, every topic counts.
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    /// From which time on offsets without one of their own expire (KIP-211). `None`: not now.
    pub fn retention_base(&self) -> Option<RetentionBase> {
        let by_commit = match &self.protocol_type {
            None => true,
            Some(_) if self.is_empty() => {
                return Some(match self.state_ms {
                    -1 => RetentionBase::Commit,
                    at_ms => RetentionBase::At(at_ms),
                });
            }
            Some(_) => {
                self.uses_consumer_protocol()
                    && self.subscribed.is_some()
                    && self.state == ClassicState::Stable
            }
        };
        by_commit.then_some(RetentionBase::Commit)
    }

    fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    fn leader_text(&self) -> StrBytes {
        text(self.leader.as_deref().unwrap_or_default())
    }

    fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|m| i64::from(m.rebalance_timeout_ms)).max().unwrap_or(0)
    }

    fn enter(&mut self, cx: &Tools<'_, '_>, state: ClassicState) {
        use ClassicState::*;
        let legal = matches!(
            (self.state, state),
            (Stable | CompletingRebalance | Empty, PreparingRebalance)
                | (PreparingRebalance, CompletingRebalance | Empty)
                | (CompletingRebalance, Stable)
        );
        assert!(legal, "group {} from {:?} to {state:?}", self.id, self.state);
        self.state = state;
        self.state_ms = cx.turn.now.wall_ms;
    }

    fn session_key(&self, member: &Arc<str>) -> TimerKey {
        TimerKey::ClassicSession(self.id.clone(), member.clone())
    }

    fn join_key(&self) -> TimerKey {
        TimerKey::ClassicJoin(self.id.clone())
    }

    fn sync_key(&self) -> TimerKey {
        TimerKey::ClassicSync(self.id.clone())
    }

    fn arm_session(&self, cx: &mut Tools<'_, '_>, member: &str) {
        self.keep_alive(cx, &self.members[member]);
    }

    fn keep_alive(&self, cx: &mut Tools<'_, '_>, member: &ClassicMember) {
        let at_ms = cx.turn.now.monotonic_ms + i64::from(member.session_timeout_ms);
        cx.timers.arm_at(&member.session, at_ms, || self.session_key(&member.id));
    }

    /// All that may still ring for it.
    pub fn cancel_timers(&self, timers: &mut Timers<TimerKey>) {
        for member in self.members.keys().chain(&self.pending) {
            timers.cancel(&self.session_key(member));
        }
        timers.cancel(&self.join_key());
        timers.cancel(&self.sync_key());
    }

    fn event(
        &self,
        cx: &mut Tools<'_, '_>,
        kind: EventKind,
        member: Option<&ClassicMember>,
        cause: Cause,
    ) {
        let took_ms = matches!(kind, EventKind::RebalanceCompleted)
            .then(|| cx.turn.now.monotonic_ms - self.rebalance_since_ms);
        let at_ms = cx.turn.now.wall_ms;
        cx.turn.event(Event {
            at_ms,
            group: self.id.clone(),
            kind,
            member: member.map(|m| m.id.clone()),
            instance_id: member.and_then(|m| m.instance_id.clone()),
            client_id: member.map(|m| m.client_id.clone()),
            client_host: member.map(|m| m.client_host.clone()),
            cause,
            generation: self.generation,
            took_ms,
        });
    }
}

/// Where the time of retention is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionBase {
    Commit,
    At(i64),
}

pub(super) fn text(name: &str) -> StrBytes {
    match name {
        "" => StrBytes::default(),
        name => StrBytes::from_string(name.to_string()),
    }
}

pub(super) fn name(text: &StrBytes) -> Arc<str> {
    Arc::from(text.as_str())
}
