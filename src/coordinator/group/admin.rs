//! DescribeGroups, ListGroups and DeleteGroups.

use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;

use super::answer::{Answer, Description, ListedGroup, MemberDescription};
use super::classic::{CONSUMER, ClassicGroup, ClassicState, text};
use super::input::{Client, ListRequest};
use super::records::Record;
use super::{Cause, EventKind, Group, GroupError, Groups, RequestId, Turn};

impl Groups {
    pub(super) fn describe(&self, turn: &mut Turn<'_>, from: RequestId, group_id: &StrBytes) {
        let description = match self.groups.get(group_id.as_str()) {
            Some(Group::Classic(group)) => describe(group),
            // Older versions of the request do without the error: the state says it.
            other => Description {
                error: Some(GroupError::GroupIdNotFound),
                message: Some(match other {
                    None => format!("Group {group_id} not found."),
                    Some(_) => format!("Group {group_id} is not a classic group."),
                }),
                group_id: group_id.clone(),
                state: "Dead",
                ..Description::default()
            },
        };
        turn.answer_after_append(from, Answer::Describe(description));
    }

    pub(super) fn list(&self, turn: &mut Turn<'_>, from: RequestId, request: &ListRequest) {
        let passes = |filter: &[StrBytes], value: &str| {
            filter.is_empty() || filter.iter().any(|f| f.trim().eq_ignore_ascii_case(value))
        };
        let list = |id: &Arc<str>, group: &Group| {
            let (state, group_type) = (group.state_name(), group.type_name());
            let shown = passes(&request.states, state) && passes(&request.types, group_type);
            shown.then(|| ListedGroup {
                group_id: text(id),
                protocol_type: match group {
                    Group::Classic(group) => {
                        group.protocol_type().map(|t| text(t)).unwrap_or_default()
                    }
                    Group::Consumer(_) => StrBytes::from_static_str(CONSUMER),
                },
                state,
                group_type,
            })
        };
        let simple = Group::Classic(Box::new(ClassicGroup::new(Arc::from(""), -1)));
        let have_offsets_only =
            self.offsets.group_names().filter(|id| !self.groups.contains_key(*id));
        let listed = self.groups.iter().filter_map(|(id, group)| list(id, group));
        let mut listed: Vec<ListedGroup> =
            listed.chain(have_offsets_only.filter_map(|id| list(id, &simple))).collect();
        listed.sort_unstable_by(|a, b| a.group_id.as_str().cmp(&b.group_id));
        turn.answer_after_append(from, Answer::List(listed));
    }

    pub(super) fn delete(
        &mut self,
        turn: &mut Turn<'_>,
        from: RequestId,
        client: &Client,
        group_id: &StrBytes,
    ) {
        let error = match self.groups.get(group_id.as_str()) {
            None => Some(GroupError::GroupIdNotFound),
            Some(group) if !group.is_empty() => Some(GroupError::NonEmptyGroup),
            Some(_) => None,
        };
        if let Some(error) = error {
            return turn.answer(from, Answer::Delete(Err(error)));
        }
        let id = self.known_name(group_id);
        let tombstones = self.offset_tombstones(&id);
        let cause = Cause::AdminRequest { offsets: tombstones.len() };
        self.group_event(turn, &id, EventKind::GroupDeleted, Some(client), cause);
        self.append_tombstones(turn, tombstones);
        self.remove_group(turn, &id);
        turn.answer_after_append(from, Answer::Delete(Ok(())));
    }

    /// An empty group is gone: from the state, the timers and the log. Its offsets are another matter.
    pub(super) fn remove_group(&mut self, turn: &mut Turn<'_>, id: &Arc<str>) {
        let tombstones = match self.groups.get(id) {
            None => return,
            Some(Group::Classic(group)) => {
                group.cancel_timers(&mut self.timers);
                vec![group.tombstone()]
            }
            Some(Group::Consumer(group)) => {
                let tombstones: Vec<Record> = group.tombstones();
                self.cancel_consumer_timers(id);
                tombstones
            }
        };
        self.groups.swap_remove(id);
        turn.append_in_parts(tombstones);
    }
}

fn describe(group: &ClassicGroup) -> Description {
    // What members say of themselves counts for a generation that is complete.
    let protocol = group.protocol().filter(|_| group.state() == ClassicState::Stable);
    Description {
        error: None,
        message: None,
        group_id: text(&group.id),
        state: group.state().name(),
        protocol_type: group.protocol_type().map(|t| text(t)).unwrap_or_default(),
        protocol: protocol.map(|p| text(p)).unwrap_or_default(),
        members: group
            .members()
            .values()
            .map(|member| MemberDescription {
                member_id: text(&member.id),
                instance_id: member.instance_id.as_deref().map(text),
                client_id: text(&member.client_id),
                client_host: text(&member.client_host),
                metadata: protocol.map(|p| member.metadata(p)).unwrap_or_default(),
                assignment: member.assignment.clone(),
            })
            .collect(),
    }
}
