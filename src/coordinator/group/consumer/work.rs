//! One step on one group: its records as they are written, and what every request does in the same way, a new
//! epoch, a new target, one member's way to it, timers and events. Nothing here waits or fails.

use std::sync::Arc;

use super::apply::Pen;
use super::group::{ConsumerGroup, GroupState, RefusedTarget};
use super::member::{MemberState, Wait};
use super::reconcile::Reconcile;
use super::sizes::{assigned_bytes, current_bytes};
use super::subscriptions::{Subscriptions, TopicIds, is_subscribed, unused};
use crate::coordinator::group::assignor::{Assignment, Assignor, GroupSpec, MemberSpec};
use crate::coordinator::group::config::GroupOverrides;
use crate::coordinator::group::input::TopicPartitions;
use crate::coordinator::group::timers::Timers;
use crate::coordinator::group::{Cause, Event, EventKind, GroupConfig, Record, TimerKey, Turn};
use crate::limits::GROUP_REGEX_REFRESH_MS_MIN;

/// Why a member does not move towards its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReconciled {
    /// Kafka fences a member in a state that it does not know until it comes with nothing.
    UnknownState,
    /// What it would have takes more than the log has room for in one record: so many bytes.
    TooLarge(usize),
}

pub struct Work<'a, 't> {
    pub turn: &'a mut Turn<'t>,
    pub config: &'a GroupConfig,
    pub timers: &'a mut Timers<TimerKey>,
    pub subscriptions: &'a mut Subscriptions,
    pub group: &'a mut ConsumerGroup,
    pub records: Vec<Record>,
}

impl Work<'_, '_> {
    pub(super) fn pen(&mut self) -> Pen<'_> {
        Pen { group: self.group, records: &mut self.records }
    }

    /// Hands the records over: answers that follow stand behind them. The epoch goes first: whatever a crash leaves of
    /// a step larger than a batch is then a group whose target is to be computed again.
    pub fn finish(&mut self) {
        if self.group.rebalance_since_ms.is_some() {
            self.maybe_completed();
        }
        let mut records = std::mem::take(&mut self.records);
        let first = records.iter().take_while(|r| matches!(r, Record::Group { .. })).count();
        let epoch = |r: &Record| matches!(r, Record::ConsumerGroup { value: Some(_), .. });
        if let Some(at) = records.iter().position(epoch) {
            records[first..=at].rotate_right(1);
        }
        self.turn.append_in_parts(records);
    }

    fn overrides(&self) -> Option<&GroupOverrides> {
        self.config.overrides.get(&*self.group.id)
    }

    pub(super) fn session_timeout_ms(&self) -> i32 {
        let own = self.overrides().and_then(|own| own.consumer_session_timeout_ms);
        own.unwrap_or(self.config.consumer.session_timeout_ms)
    }

    pub(super) fn heartbeat_interval_ms(&self) -> i32 {
        let own = self.overrides().and_then(|own| own.consumer_heartbeat_interval_ms);
        own.unwrap_or(self.config.consumer.heartbeat_interval_ms)
    }

    fn assignment_interval_ms(&self) -> i32 {
        let own = self.overrides().and_then(|own| own.consumer_assignment_interval_ms);
        own.unwrap_or(self.config.consumer.assignment_interval_ms)
    }

    /// Drops what nobody subscribes to, matches what is new or due. Whether the topics are others now.
    pub(super) fn refresh_regexes(&mut self) -> bool {
        let mut changed = false;
        if self.group.regexes.is_empty() && self.group.resolved.is_empty() {
            return changed;
        }
        for regex in unused(self.group) {
            self.pen().regex(&regex, None);
            changed = true;
        }
        let now_ms = self.turn.now.wall_ms;
        let regexes: Vec<Arc<str>> = self.group.regexes.keys().cloned().collect();
        for regex in regexes {
            if !self.regex_due(&regex) {
                continue;
            }
            let known = self.group.resolved.get(&regex);
            let Some(resolved) = self.subscriptions.resolve(&regex, self.turn.topics, now_ms)
            else {
                // The rest as soon as others have had their turn.
                let key = TimerKey::ConsumerGroup(self.group.id.clone());
                self.timers.arm(&key, self.turn.now.monotonic_ms);
                break;
            };
            changed |= known.is_none_or(|known| known.topics != resolved.topics);
            let key_bytes = self.group.id.len() + regex.len();
            if resolved.record_bytes() + key_bytes > self.config.batch_bytes_max {
                // More names than the log takes in one record: it is matched again after a load.
                self.group.put_resolved(&regex, Some(resolved));
                continue;
            }
            self.pen().regex(&regex, Some(&resolved));
        }
        changed
    }

    pub(super) fn regexes_due(&self) -> bool {
        self.group.regexes.keys().any(|regex| self.regex_due(regex))
    }

    /// It was never matched; or topics are new, or it is long ago, but not more often than every few seconds.
    fn regex_due(&self, regex: &str) -> bool {
        let Some(known) = self.group.resolved.get(regex) else { return true };
        let age_ms = self.turn.now.wall_ms.saturating_sub(known.at_ms);
        let new_topics = known.version < self.subscriptions.new_topics_version;
        let refresh_ms = i64::from(self.config.consumer.regex_refresh_interval_ms);
        age_ms < 0 || age_ms > GROUP_REGEX_REFRESH_MS_MIN && (new_topics || age_ms > refresh_ms)
    }

    /// The next slice of the names, between heartbeats.
    pub(super) fn match_more(&mut self) {
        let changed = self.refresh_regexes();
        self.refresh_metadata(changed.then(|| Cause::TopicsChanged { topics: Vec::new() }));
        self.update_target();
        self.finish();
    }

    /// A new epoch when `changed`, or when the topics are others than at the last one.
    pub(super) fn refresh_metadata(&mut self, changed: Option<Cause>) {
        let version = self.turn.topics.version();
        if changed.is_none() && self.group.checked_version == Some(version) {
            return;
        }
        // After a load, when the names did not fit the log: nothing may be taken away before they are known again.
        let group = &*self.group;
        let unmatched = group.regexes.keys().any(|regex| !group.resolved.contains_key(regex));
        if changed.is_none() && unmatched {
            return;
        }
        let hash = self.subscriptions.hash_of(self.group, self.turn.topics);
        let topics_changed = hash != self.group.metadata_hash;
        if changed.is_some() || topics_changed {
            let cause = changed.unwrap_or_else(|| Cause::TopicsChanged { topics: Vec::new() });
            self.bump(hash, cause);
        }
        self.group.checked_version = Some(version);
        if self.group.has_partitions_record {
            self.pen().no_partitions_record();
        }
    }

    pub(super) fn bump(&mut self, metadata_hash: i64, cause: Cause) {
        let epoch = self.group.epoch + 1;
        self.pen().epoch(epoch, metadata_hash);
        self.group.rebalance_since_ms.get_or_insert(self.turn.now.monotonic_ms);
        self.event(EventKind::RebalanceStarted, None, cause, None);
    }

    /// Computes the target for the group's epoch, unless the last one is too young.
    pub(super) fn update_target(&mut self) {
        let (group, now_ms) = (&*self.group, self.turn.now.wall_ms);
        if group.assignment_epoch >= group.epoch || group.is_empty() {
            return;
        }
        let limit = (group.epoch, self.config.batch_bytes_max);
        let had = group.refused_target.as_ref();
        if had.is_some_and(|refused| (refused.epoch, refused.batch_bytes_max) == limit) {
            return;
        }
        let interval_ms = i64::from(self.assignment_interval_ms());
        let age_ms = now_ms.saturating_sub(group.assignment_ms);
        // A clock that went back does not stop the group.
        if group.assignment_ms != 0 && (0..interval_ms).contains(&age_ms) {
            return;
        }
        let named = group.preferred_assignor().and_then(|name| Assignor::parse(name));
        let default =
            || self.config.consumer.assignors.first().and_then(|name| Assignor::parse(name));
        let assignor = named.or_else(default).unwrap_or(Assignor::Uniform);
        let mut ids = TopicIds::new(group, self.turn.topics);
        let mut members = Vec::with_capacity(group.len());
        for member in group.members.values() {
            members.push(MemberSpec {
                id: &member.id,
                instance_id: member.instance_id().map(|id| &**id),
                topics: ids.of(member),
                current: group.target_of(&member.id),
            });
        }
        let topics = self.turn.topics;
        let count = |id: &_| {
            let info = topics.name_of(*id).and_then(|name| topics.by_name(name));
            info.map_or(0, |info| info.partitions)
        };
        let homogeneous = group.is_homogeneous();
        let spec = GroupSpec { members, homogeneous, partitions: &count };
        let assigned = assignor.assign(&spec);
        let mut changed: Vec<(Arc<str>, Assignment)> =
            group.members.keys().cloned().zip(assigned).collect();
        changed.retain(|(id, target)| group.target.get(id) != Some(target));
        if self.refuses(&changed) {
            return;
        }
        for (id, target) in &changed {
            self.pen().target(id, target);
        }
        let epoch = self.group.epoch;
        self.pen().target_epoch(epoch, now_ms);
    }

    /// Such a target would fail each append. The last one stays: who has something goes on with it.
    fn refuses(&mut self, targets: &[(Arc<str>, Assignment)]) -> bool {
        let max = self.config.batch_bytes_max;
        let bytes = |(id, target): &(Arc<str>, Assignment)| {
            let bytes = assigned_bytes(self.group, id, target);
            (bytes > max).then(|| (id.clone(), bytes))
        };
        let members: Vec<(Arc<str>, usize)> = targets.iter().filter_map(bytes).collect();
        self.group.refused_target = None;
        let Some((id, bytes)) = members.first().cloned() else { return false };
        let cause = Cause::RecordTooLarge { bytes: bytes as i64, max_bytes: max as i64 };
        self.event(EventKind::RebalanceStarted, Some(&id), cause, None);
        let epoch = self.group.epoch;
        let refused = RefusedTarget { epoch, batch_bytes_max: max, members };
        self.group.refused_target = Some(Box::new(refused));
        true
    }

    /// The bytes of what a member that joins would get, when the log does not take it.
    pub(super) fn refused_target_of(&self, id: &str) -> Option<usize> {
        let refused = self.group.refused_target.as_ref()?;
        if refused.epoch != self.group.epoch {
            return None;
        }
        let own = refused.members.iter().find(|(member, _)| **member == *id);
        let has_nothing = self.group.members[id].current.epoch == 0;
        own.or(refused.members.first().filter(|_| has_nothing)).map(|(_, bytes)| *bytes)
    }

    /// One step of a member towards its target. Whether there was one.
    pub(super) fn reconcile(
        &mut self,
        id: &Arc<str>,
        subscription_changed: bool,
        reported: Option<&[TopicPartitions]>,
    ) -> Result<bool, NotReconciled> {
        let (group, topics) = (&*self.group, self.turn.topics);
        let member = &group.members[id];
        if !subscription_changed && member.current.is_reconciled_to(group.assignment_epoch) {
            return Ok(false);
        }
        let reconcile = Reconcile {
            target_epoch: group.assignment_epoch,
            target: group.target_of(id),
            subscription_changed,
            subscribed: &|topic| is_subscribed(group, member, topics, topic),
            taken: &|topic, partition| group.is_taken_from(id, topic, partition),
            reported,
        };
        let next = reconcile.next(&member.current).map_err(|_| NotReconciled::UnknownState)?;
        let Some(next) = next else { return Ok(false) };
        let bytes = current_bytes(group, id, &next);
        if bytes > self.config.batch_bytes_max {
            return Err(NotReconciled::TooLarge(bytes));
        }
        let (classic, timeout_ms) = (member.is_classic(), member.about.rebalance_timeout_ms);
        self.pen().current(id, &next);
        if !classic {
            match next.state {
                MemberState::UnrevokedPartitions => {
                    self.wait(id, Wait::Revoke { epoch: next.epoch }, timeout_ms);
                }
                _ => self.wait_no_more(id),
            }
        }
        Ok(true)
    }

    pub(super) fn arm_session(&mut self, id: &Arc<str>, timeout_ms: i32) {
        let key = || TimerKey::ConsumerSession(self.group.id.clone(), id.clone());
        let at_ms = self.turn.now.monotonic_ms + i64::from(timeout_ms);
        match self.group.members.get(id) {
            Some(member) => self.timers.arm_at(&member.session, at_ms, key),
            None => self.timers.arm(&key(), at_ms),
        }
    }

    /// The member has to do something in time.
    pub(super) fn wait(&mut self, id: &Arc<str>, wait: Wait, timeout_ms: i32) {
        let key = TimerKey::ConsumerRebalance(self.group.id.clone(), id.clone());
        self.timers.arm(&key, self.turn.now.monotonic_ms + i64::from(timeout_ms));
        if let Some(member) = self.group.members.get_mut(id) {
            member.wait = Some(wait);
        }
    }

    pub(super) fn wait_no_more(&mut self, id: &Arc<str>) {
        let Some(member) = self.group.members.get_mut(id) else { return };
        if member.wait.take().is_some() {
            let key = TimerKey::ConsumerRebalance(self.group.id.clone(), id.clone());
            self.timers.cancel(&key);
        }
    }

    pub(super) fn cancel_timers(&mut self, id: &Arc<str>) {
        let (group, id) = (self.group.id.clone(), id.clone());
        self.timers.cancel(&TimerKey::ConsumerSession(group.clone(), id.clone()));
        self.timers.cancel(&TimerKey::ConsumerRebalance(group, id));
    }

    fn maybe_completed(&mut self) {
        let cause = match self.group.state() {
            GroupState::Stable => Cause::AllMembersJoined,
            GroupState::Empty => Cause::LastMemberLeft,
            _ => return,
        };
        let since_ms = self.group.rebalance_since_ms.take().unwrap_or(self.turn.now.monotonic_ms);
        let took_ms = self.turn.now.monotonic_ms - since_ms;
        self.event(EventKind::RebalanceCompleted, None, cause, Some(took_ms));
    }

    /// `member` has to be here still when it is named.
    pub(super) fn event(
        &mut self,
        kind: EventKind,
        member: Option<&Arc<str>>,
        cause: Cause,
        took_ms: Option<i64>,
    ) {
        let about = member.and_then(|id| self.group.members.get(id)).map(|member| &member.about);
        let event = Event {
            at_ms: self.turn.now.wall_ms,
            group: self.group.id.clone(),
            kind,
            member: member.cloned(),
            instance_id: about.and_then(|about| about.instance_id.clone()),
            client_id: about.map(|about| about.client_id.clone()),
            client_host: about.map(|about| about.client_host.clone()),
            cause,
            generation: self.group.epoch,
            took_ms,
        };
        self.turn.event(event);
    }
}
