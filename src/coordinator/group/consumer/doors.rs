//! From `Groups` to the consumer group that is meant: which one it is, whether there is one, whether a classic group has
//! to become one first, and what takes the place of one that is classic again.

use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;

use super::group::ConsumerGroup;
use super::heartbeat::{refused, validate};
use super::requests::{After, ConsumerTools, Downgrade, not_a_consumer_group};
use crate::coordinator::group::answer::{Answer, ConsumerDescription, ConsumerHeartbeatAnswer};
use crate::coordinator::group::classic::ClassicGroup;
use crate::coordinator::group::input::{
    ConsumerHeartbeatRequest, HeartbeatRequest, JoinRequest, LeaveRequest, SyncRequest,
};
use crate::coordinator::group::records::{BadRecord, Record};
use crate::coordinator::group::{Client, Group, GroupError, Groups, RequestId, TimerKey, Turn};

impl Groups {
    pub(in crate::coordinator::group) fn consumer_heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        from: RequestId,
        client: Client,
        mut request: ConsumerHeartbeatRequest,
    ) {
        if !self.config.consumer.enabled {
            let answer = ConsumerHeartbeatAnswer::refused(GroupError::UnsupportedVersion);
            return turn.answer(from, Answer::ConsumerHeartbeat(answer));
        }
        if let Err(refusal) = validate(&request, &self.config.consumer) {
            return turn.answer(from, refused(refusal));
        }
        if request.member_id.is_empty() {
            request.member_id = self.new_consumer_id();
        }
        // Nearly always it is there, and nothing else has to be looked up.
        let found = self.with_consumer(turn, &request.group_id, |tools, group| {
            tools.heartbeat(group, Vec::new(), from, &client, &request)
        });
        if found {
            return;
        }
        self.settle(&request.group_id);
        let id = self.known_name(&request.group_id);
        let joins = request.member_epoch == 0;
        match self.groups.get(&id) {
            None if joins => {
                let group = ConsumerGroup::new(id.clone());
                self.first_heartbeat(turn, group, Vec::new(), from, &client, &request);
            }
            Some(Group::Classic(classic)) if joins && classic.is_empty() => {
                let made_by = vec![classic.tombstone()];
                let group = ConsumerGroup::new(id.clone());
                self.first_heartbeat(turn, group, made_by, from, &client, &request);
            }
            Some(Group::Classic(classic)) if joins => {
                let view = classic.view();
                let made = super::convert::upgrade(
                    &view,
                    &self.config,
                    turn.topics,
                    &mut self.subscriptions,
                );
                match made {
                    Err(refusal) => turn.answer(from, refused(refusal)),
                    Ok((group, made_by)) => {
                        self.first_heartbeat(turn, group, made_by, from, &client, &request);
                    }
                }
            }
            other => turn.answer(from, refused(not_a_consumer_group(&id, other.is_some()))),
        }
    }

    /// Of a group that is one only if this is not refused.
    fn first_heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        mut group: ConsumerGroup,
        made_by: Vec<Record>,
        from: RequestId,
        client: &Client,
        request: &ConsumerHeartbeatRequest,
    ) {
        let id = group.id.clone();
        let upgraded = !group.is_empty();
        let Groups { timers, config, subscriptions, .. } = self;
        let mut tools = ConsumerTools { turn: &mut *turn, timers, config, subscriptions };
        match tools.heartbeat(&mut group, made_by, from, client, request) {
            After::Refused => return,
            After::Same if upgraded => tools.arm_upgraded(&mut group),
            After::Same => {}
            After::Classic(_) => unreachable!("nobody leaves with epoch 0"),
        }
        let (groups, mut cx) = self.tools(turn);
        if let Some(Group::Classic(classic)) = groups.get_mut(&id) {
            classic.hand_over(&mut cx);
        }
        groups.insert(id, Group::Consumer(Box::new(group)));
    }

    pub(in crate::coordinator::group) fn consumer_describe(
        &mut self,
        turn: &mut Turn<'_>,
        from: RequestId,
        group_id: StrBytes,
    ) {
        let default = self.config.consumer.assignors.first().map_or("", |name| name);
        let description = match self.groups.get(group_id.as_str()) {
            Some(Group::Consumer(group)) => group.describe(default, turn.topics),
            other => ConsumerDescription {
                error: Some(GroupError::GroupIdNotFound),
                message: Some(match other {
                    None => format!("Group {group_id} not found."),
                    Some(_) => format!("Group {group_id} is not a consumer group."),
                }),
                group_id,
                ..ConsumerDescription::default()
            },
        };
        turn.answer_after_append(from, Answer::ConsumerDescribe(description));
    }

    /// JoinGroup to a consumer group that is not empty.
    pub(in crate::coordinator::group) fn join_consumer_group(
        &mut self,
        turn: &mut Turn<'_>,
        from: RequestId,
        client: Client,
        request: JoinRequest,
    ) {
        let member_id: Arc<str> = match request.member_id.is_empty() {
            true => self.new_consumer_id().as_str().into(),
            false => request.member_id.as_str().into(),
        };
        self.with_consumer(turn, &request.group_id, |tools, group| {
            tools.classic_join(group, from, &client, &request, &member_id)
        });
    }

    pub(in crate::coordinator::group) fn sync_consumer_group(
        &mut self,
        turn: &mut Turn<'_>,
        from: RequestId,
        _: Client,
        request: SyncRequest,
    ) {
        self.with_consumer(turn, &request.group_id, |tools, group| {
            tools.classic_sync(group, from, &request);
            After::Same
        });
    }

    pub(in crate::coordinator::group) fn heartbeat_consumer_group(
        &mut self,
        turn: &mut Turn<'_>,
        from: RequestId,
        _: Client,
        request: HeartbeatRequest,
    ) {
        self.with_consumer(turn, &request.group_id, |tools, group| {
            tools.classic_heartbeat(group, from, &request);
            After::Same
        });
    }

    pub(in crate::coordinator::group) fn leave_consumer_group(
        &mut self,
        turn: &mut Turn<'_>,
        from: RequestId,
        _: Client,
        request: LeaveRequest,
    ) {
        self.with_consumer(turn, &request.group_id, |tools, group| {
            tools.classic_leave(group, from, &request)
        });
    }

    /// A consumer group's record of the log. A classic group with members in its place is a log that went wrong.
    pub(in crate::coordinator::group) fn apply_consumer(
        &mut self,
        record: &Record,
    ) -> Result<(), BadRecord> {
        let (id, tombstone) = match record {
            Record::ConsumerGroup { group, value } => (group, value.is_none()),
            Record::ConsumerPartitions { group, value } => (group, value.is_none()),
            Record::ConsumerMember { group, value, .. } => (group, value.is_none()),
            Record::ConsumerTarget { group, value } => (group, value.is_none()),
            Record::ConsumerTargetMember { group, value, .. } => (group, value.is_none()),
            Record::ConsumerCurrent { group, value, .. } => (group, value.is_none()),
            Record::ConsumerRegex { group, value, .. } => (group, value.is_none()),
            Record::Offset { .. } | Record::Group { .. } | Record::Unused { .. } => return Ok(()),
        };
        match self.groups.get_mut(id) {
            Some(Group::Consumer(group)) => {
                if !group.apply(record) {
                    self.groups.swap_remove(id);
                }
            }
            _ if tombstone => {}
            Some(Group::Classic(group)) if !group.is_empty() => {
                return Err(BadRecord(format!("group {id} is not a consumer group")));
            }
            _ => {
                let mut group = ConsumerGroup::new(id.clone());
                group.apply(record);
                self.groups.insert(id.clone(), Group::Consumer(Box::new(group)));
            }
        }
        Ok(())
    }

    /// Its records are all replayed: sessions begin.
    pub(in crate::coordinator::group) fn consumer_loaded(
        &mut self,
        turn: &mut Turn<'_>,
        id: &Arc<str>,
    ) {
        self.with_consumer(turn, id, |tools, group| {
            tools.loaded(group);
            After::Same
        });
    }

    pub(in crate::coordinator::group) fn consumer_due(
        &mut self,
        turn: &mut Turn<'_>,
        key: TimerKey,
    ) {
        let (id, member, session) = match key {
            TimerKey::ConsumerSession(id, member) => (id, member, true),
            TimerKey::ConsumerRebalance(id, member) => (id, member, false),
            _ => return,
        };
        self.with_consumer(turn, &id, |tools, group| tools.timer(group, &member, session));
    }

    pub(in crate::coordinator::group) fn consumer_regexes_due(
        &mut self,
        turn: &mut Turn<'_>,
        id: &Arc<str>,
    ) {
        self.with_consumer(turn, id, |tools, group| {
            tools.match_more(group);
            After::Same
        });
    }

    /// Groups see it with their next heartbeat, by the version of the image.
    pub(in crate::coordinator::group) fn consumer_topics_changed(
        &mut self,
        turn: &mut Turn<'_>,
        names: &[StrBytes],
    ) {
        if names.iter().any(|name| turn.topics.by_name(name).is_some()) {
            self.subscriptions.topics_changed(turn.topics);
        }
    }

    /// Timers of a group that goes.
    pub(in crate::coordinator::group) fn cancel_consumer_timers(&mut self, id: &Arc<str>) {
        let Some(Group::Consumer(group)) = self.groups.get(id) else { return };
        self.timers.cancel(&TimerKey::ConsumerGroup(id.clone()));
        for member in group.members.keys() {
            self.timers.cancel(&TimerKey::ConsumerSession(id.clone(), member.clone()));
            self.timers.cancel(&TimerKey::ConsumerRebalance(id.clone(), member.clone()));
        }
    }

    /// False: there is no such consumer group.
    fn with_consumer(
        &mut self,
        turn: &mut Turn<'_>,
        id: &str,
        door: impl FnOnce(&mut ConsumerTools<'_, '_>, &mut ConsumerGroup) -> After,
    ) -> bool {
        let Groups { groups, timers, config, subscriptions, .. } = self;
        let Some(Group::Consumer(group)) = groups.get_mut(id) else { return false };
        let mut tools = ConsumerTools { turn: &mut *turn, timers, config, subscriptions };
        match door(&mut tools, group) {
            After::Refused | After::Same => {}
            After::Classic(downgrade) => self.become_classic(turn, *downgrade),
        }
        true
    }

    fn become_classic(&mut self, turn: &mut Turn<'_>, downgrade: Downgrade) {
        let Downgrade { view, mut records, answer, rebalance } = downgrade;
        let id = view.group.clone();
        let mut classic = Box::new(ClassicGroup::from_view(view, turn.now.wall_ms));
        records.push(classic.to_record());
        turn.append(records);
        if let Some((to, answer)) = answer {
            turn.answer_after_append(to, answer);
        }
        let (groups, mut cx) = self.tools(turn);
        classic.take_over(&mut cx, rebalance);
        groups.insert(id, Group::Classic(classic));
    }

    fn new_consumer_id(&mut self) -> StrBytes {
        let id = uuid::Builder::from_random_bytes(self.random.u128(..).to_be_bytes()).into_uuid();
        StrBytes::from_string(id.to_string())
    }
}
