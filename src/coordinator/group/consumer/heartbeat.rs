//! ConsumerGroupHeartbeat: a member joins, stays, changes its mind, says what it owns (KIP-848). Everything that can be
//! refused is refused before anything is written. A heartbeat that says nothing new writes nothing.

use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;

use super::group::ConsumerGroup;
use super::member::{AWAY_EPOCH, LEAVE_EPOCH, Member, MemberState, Update, regex_of, sorted};
use super::work::{NotReconciled, Work};
use crate::coordinator::group::answer::ConsumerHeartbeatAnswer;
use crate::coordinator::group::config::ConsumerConfig;
use crate::coordinator::group::input::{ConsumerHeartbeatRequest, TopicPartitions};
use crate::coordinator::group::{Answer, Cause, Client, EventKind, GroupError, Record, RequestId};

/// A refusal and its sentence for the client.
pub type Refusal = (GroupError, String);

pub(super) fn refuse<T>(error: GroupError, text: impl Into<String>) -> Result<T, Refusal> {
    Err((error, text.into()))
}

pub fn refused((error, message): Refusal) -> Answer {
    let message = Some(message);
    Answer::ConsumerHeartbeat(ConsumerHeartbeatAnswer {
        message,
        ..ConsumerHeartbeatAnswer::refused(error)
    })
}

/// What is wrong with a request whatever the group, in Kafka's words.
pub fn validate(
    request: &ConsumerHeartbeatRequest,
    config: &ConsumerConfig,
) -> Result<(), Refusal> {
    let invalid = |text: &str| refuse(GroupError::InvalidRequest, text);
    let blank = |text: &StrBytes| text.trim().is_empty();
    let epoch = request.member_epoch;
    let needs_id = request.client_makes_member_id || epoch > 0 || epoch == LEAVE_EPOCH;
    if needs_id && blank(&request.member_id) {
        return invalid("MemberId can't be empty.");
    }
    if blank(&request.group_id) {
        return invalid("GroupId can't be empty.");
    }
    if request.instance_id.as_ref().is_some_and(blank) {
        return invalid("InstanceId can't be empty.");
    }
    if request.rack_id.as_ref().is_some_and(blank) {
        return invalid("RackId can't be empty.");
    }
    if epoch == 0 {
        if request.rebalance_timeout_ms == -1 {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        if request.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
            return invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
            );
        }
    } else if epoch == AWAY_EPOCH && request.instance_id.is_none() {
        return invalid("InstanceId can't be null.");
    } else if epoch < AWAY_EPOCH {
        return invalid("MemberEpoch is invalid.");
    }
    if let Some(name) = &request.server_assignor
        && !config.assignors.iter().any(|known| **known == **name)
    {
        let known = config.assignors.join(", ");
        return refuse(
            GroupError::UnsupportedAssignor,
            format!("ServerAssignor {name} is not supported. Supported assignors: {known}."),
        );
    }
    Ok(())
}

/// A new member does not fit.
pub fn check_room(group: &ConsumerGroup, member: &str, max_size: usize) -> Result<(), Refusal> {
    if group.len() >= max_size && group.member(member).is_none() {
        return refuse(
            GroupError::GroupMaxSizeReached,
            format!("The consumer group has reached its maximum capacity of {max_size} members."),
        );
    }
    Ok(())
}

/// Who sends this heartbeat.
enum Sender {
    Known(Arc<str>),
    New,
    /// A static member under a new member id, in the place of this one.
    Returns {
        replaces: Arc<str>,
    },
}

impl Work<'_, '_> {
    /// Of a request that `validate` let pass, with an epoch of 0 or more and a member id. False: refused, and nothing
    /// is changed.
    pub fn heartbeat(
        &mut self,
        made_by: Vec<Record>,
        from: RequestId,
        client: &Client,
        request: &ConsumerHeartbeatRequest,
    ) -> bool {
        match self.try_heartbeat(client, request) {
            Ok(answer) => {
                // What upgraded the group is whole, whatever comes after it.
                self.turn.append(made_by);
                self.finish();
                self.turn.answer_after_append(from, Answer::ConsumerHeartbeat(answer));
                true
            }
            Err(refusal) => {
                self.fenced(request, refusal.0);
                self.turn.answer(from, refused(refusal));
                false
            }
        }
    }

    fn try_heartbeat(
        &mut self,
        client: &Client,
        request: &ConsumerHeartbeatRequest,
    ) -> Result<ConsumerHeartbeatAnswer, Refusal> {
        check_room(self.group, &request.member_id, self.config.consumer.max_size)?;
        let sender = self.sender(request)?;
        self.check_regex(request)?;
        if let Sender::Known(id) = &sender
            && self.says_nothing_new(&self.group.members[id], client, request)
        {
            let id = id.clone();
            self.arm_session(&id, self.session_timeout_ms());
            return Ok(self.answer(&id, request, false));
        }
        let joins = request.member_epoch == 0;
        let (id, new) = match sender {
            Sender::Known(id) => (id, false),
            Sender::New => (Arc::from(&*request.member_id), true),
            Sender::Returns { replaces } => {
                let id: Arc<str> = Arc::from(&*request.member_id);
                self.replace_static(&replaces, &id);
                (id, false)
            }
        };
        let before = match self.group.member(&id) {
            Some(member) => member.clone(),
            None => Member::new(id.clone()),
        };
        let about = update_of(request).apply(&before.about, client);
        let names_changed = about.subscribed_topic_names != before.about.subscribed_topic_names;
        let regex_changed = regex_of(&about) != before.regex();
        if about != before.about {
            self.pen().about(&id, about);
        }
        if joins && new {
            self.event(EventKind::MemberJoined, Some(&id), Cause::NewMember, None);
        } else if joins {
            self.event(EventKind::MemberJoined, Some(&id), Cause::MemberRejoined, None);
        }
        let regexes_changed = self.refresh_regexes();
        let subscription_changed = names_changed || regex_changed;
        let cause = match new {
            true => Cause::NewMember,
            false => Cause::SubscriptionChanged,
        };
        let changed = match (subscription_changed, regexes_changed) {
            (true, _) => Some(cause),
            (false, true) => Some(Cause::TopicsChanged { topics: Vec::new() }),
            (false, false) => None,
        };
        self.refresh_metadata(changed);
        self.update_target();
        let owned = request.owned.as_deref();
        let moved = self.reconcile(&id, subscription_changed, owned);
        self.arm_session(&id, self.session_timeout_ms());
        match moved {
            Ok(_) => {}
            Err(NotReconciled::TooLarge(bytes)) => return Ok(self.too_large(bytes)),
            Err(NotReconciled::UnknownState) => unreachable!("an unknown state was refused"),
        }
        if joins && let Some(bytes) = self.refused_target_of(&id) {
            return Ok(self.too_large(bytes));
        }
        let moved = self.group.members[&id].current.assigned != before.current.assigned;
        Ok(self.answer(&id, request, moved))
    }

    /// As Kafka answers when its append is refused. The member stays until it leaves or its session is over.
    fn too_large(&self, bytes: usize) -> ConsumerHeartbeatAnswer {
        let max = self.config.batch_bytes_max;
        let text = format!(
            "The member's assignment takes {bytes} bytes in the log and a batch has room for {max}."
        );
        let refused = ConsumerHeartbeatAnswer::refused(GroupError::UnknownServerError);
        ConsumerHeartbeatAnswer { message: Some(text), ..refused }
    }

    fn answer(
        &self,
        id: &Arc<str>,
        request: &ConsumerHeartbeatRequest,
        moved: bool,
    ) -> ConsumerHeartbeatAnswer {
        let current = &self.group.members[id].current;
        let subscribes =
            request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some();
        let full = request.rebalance_timeout_ms != -1 && subscribes && request.owned.is_some();
        let shown = request.member_epoch == 0 || full || moved;
        ConsumerHeartbeatAnswer {
            error: None,
            message: None,
            member_id: Some(request.member_id.clone()),
            member_epoch: current.epoch,
            heartbeat_interval_ms: self.heartbeat_interval_ms(),
            assignment: shown.then(|| current.assigned.to_answer()),
        }
    }

    fn sender(&self, request: &ConsumerHeartbeatRequest) -> Result<Sender, Refusal> {
        let joins = request.member_epoch == 0;
        let id = &request.member_id;
        let known = match &request.instance_id {
            None => match self.group.member(id) {
                Some(member) => member,
                None if joins => return Ok(Sender::New),
                None => return unknown_member(id, &self.group.id),
            },
            Some(instance) => match self.group.static_member(instance) {
                None if joins => return Ok(Sender::New),
                None => return unknown_instance(instance),
                Some(known) if joins => {
                    if !known.is_classic() && known.current.epoch != AWAY_EPOCH {
                        return refuse(
                            GroupError::UnreleasedInstanceId,
                            format!(
                                "Static member {id} with instance id {instance} cannot join the group \
                                 because the instance id is owned by {} member.",
                                known.id
                            ),
                        );
                    }
                    return Ok(Sender::Returns { replaces: known.id.clone() });
                }
                Some(known) => {
                    check_instance(known, id, instance)?;
                    known
                }
            },
        };
        check_epoch(known, request.member_epoch, request.owned.as_deref())?;
        let nothing = request.owned.as_ref().is_some_and(|owned| owned.is_empty());
        if known.current.state == MemberState::Unknown && !nothing {
            return refuse(
                GroupError::FencedMemberEpoch,
                "The consumer group member is in a unknown state. \
                 The member must abandon all its partitions and rejoin.",
            );
        }
        Ok(Sender::Known(known.id.clone()))
    }

    /// A pattern that nobody has yet is read before anything else is done.
    fn check_regex(&mut self, request: &ConsumerHeartbeatRequest) -> Result<(), Refusal> {
        let Some(regex) = request.subscribed_topic_regex.as_ref().filter(|regex| !regex.is_empty())
        else {
            return Ok(());
        };
        if self.group.regexes.contains_key(&**regex) {
            return Ok(());
        }
        self.subscriptions.check(regex).map_err(|why| {
            let text =
                format!("SubscribedTopicRegex `{regex}` is not a valid regular expression: {why}.");
            (GroupError::InvalidRegularExpression, text)
        })
    }

    /// The heartbeat of every few seconds: nothing changes and nothing is due.
    fn says_nothing_new(
        &self,
        member: &Member,
        client: &Client,
        request: &ConsumerHeartbeatRequest,
    ) -> bool {
        let (group, about) = (&*self.group, &member.about);
        let same = |new: &Option<StrBytes>, had: &Option<Arc<str>>| match (new, had) {
            (None, _) => true,
            (Some(new), Some(had)) => **new == **had,
            (Some(_), None) => false,
        };
        request.subscribed_topic_names.is_none()
            && request.subscribed_topic_regex.is_none()
            && same(&request.server_assignor, &about.server_assignor)
            && same(&request.rack_id, &about.rack_id)
            && [-1, about.rebalance_timeout_ms].contains(&request.rebalance_timeout_ms)
            && *client.id == *about.client_id
            && *client.host == *about.client_host
            && !member.is_classic()
            && group.epoch == group.assignment_epoch
            && member.current.is_reconciled_to(group.assignment_epoch)
            && !self.regexes_due()
            && group.checked_version == Some(self.turn.topics.version())
    }

    /// A static member under another member id takes the place, the target and the partitions of the one before.
    pub(super) fn replace_static(&mut self, old: &Arc<str>, id: &Arc<str>) {
        let mut member = Member::clone(&self.group.members[old]);
        let target = self.group.target_of(old).clone();
        let cause = Cause::StaticReplaced { old_member: old.clone() };
        self.event(EventKind::StaticReplaced, Some(old), cause, None);
        self.cancel_timers(old);
        member.current.epoch = 0;
        member.current.previous_epoch = 0;
        let mut pen = self.pen();
        pen.no_member(old);
        pen.about(id, member.about);
        pen.target(id, &target);
        pen.current(id, &member.current);
    }

    fn fenced(&mut self, request: &ConsumerHeartbeatRequest, error: GroupError) {
        let Some(member) = self.group.member(&request.member_id) else { return };
        let (id, current) = (member.id.clone(), member.current.epoch);
        let cause = match error {
            GroupError::FencedMemberEpoch => {
                Cause::StaleEpoch { given: request.member_epoch, current }
            }
            GroupError::FencedInstanceId => Cause::WrongInstance,
            _ => return,
        };
        self.event(EventKind::MemberFenced, Some(&id), cause, None);
    }
}

fn update_of(request: &ConsumerHeartbeatRequest) -> Update {
    let own = |text: &Option<StrBytes>| text.as_ref().map(|text| Arc::from(&**text));
    let names = |all: &Vec<StrBytes>| sorted(all.iter().map(|name| Arc::from(&**name)).collect());
    Update {
        instance_id: own(&request.instance_id),
        rack_id: own(&request.rack_id),
        rebalance_timeout_ms: Some(request.rebalance_timeout_ms)
            .filter(|timeout_ms| *timeout_ms != -1),
        server_assignor: own(&request.server_assignor),
        topic_names: request.subscribed_topic_names.as_ref().map(names),
        regex: own(&request.subscribed_topic_regex),
        classic: None,
    }
}

pub(super) fn unknown_member<T>(id: &str, group: &str) -> Result<T, Refusal> {
    refuse(GroupError::UnknownMemberId, format!("Member {id} is not a member of group {group}."))
}

pub(super) fn unknown_instance<T>(instance: &str) -> Result<T, Refusal> {
    refuse(GroupError::UnknownMemberId, format!("Instance id {instance} is unknown."))
}

pub(super) fn check_instance(known: &Member, id: &str, instance: &str) -> Result<(), Refusal> {
    if &*known.id == id {
        return Ok(());
    }
    refuse(
        GroupError::FencedInstanceId,
        format!(
            "Static member {id} with instance id {instance} was fenced by member {}.",
            known.id
        ),
    )
}

/// A member may be one epoch behind when the answer that told it of the next was lost: it then owns nothing but what
/// it was given.
fn check_epoch(
    member: &Member,
    given: i32,
    owned: Option<&[TopicPartitions]>,
) -> Result<(), Refusal> {
    let current = &member.current;
    let lost_answer = given == current.previous_epoch
        && owned.is_some_and(|owned| current.assigned.contains_all(owned));
    let than = match given.cmp(&current.epoch) {
        _ if given == 0 => return Ok(()),
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Less if lost_answer => return Ok(()),
        std::cmp::Ordering::Less => "smaller",
        std::cmp::Ordering::Greater => "greater",
    };
    refuse(
        GroupError::FencedMemberEpoch,
        format!(
            "The consumer group member has a {than} member epoch ({given}) than the one known by the \
             group coordinator ({}). The member must abandon all its partitions and rejoin.",
            current.epoch
        ),
    )
}
