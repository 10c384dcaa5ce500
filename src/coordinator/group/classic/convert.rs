//! A classic group of consumers handed over to the consumer protocol, and taken back (KIP-848): see
//! `consumer::ClassicView`.

use std::sync::Arc;

use super::{CONSUMER, ClassicGroup, ClassicMember, ClassicState, Tools, text};
use crate::coordinator::group::GroupError;
use crate::coordinator::group::answer::{Answer, JoinAnswer, SyncAnswer};
use crate::coordinator::group::consumer::{ClassicSeat, ClassicView};
use crate::coordinator::group::event::Cause;

impl ClassicGroup {
    pub fn view(&self) -> ClassicView {
        let seat = |member: &ClassicMember| ClassicSeat {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            protocols: member.protocols.clone(),
            assignment: member.assignment.clone(),
        };
        ClassicView {
            group: self.id.clone(),
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            generation: self.generation,
            members: self.members.values().map(|member| seat(member)).collect(),
        }
    }

    /// Stable at the generation that it is given; the first member leads.
    pub fn from_view(view: ClassicView, wall_ms: i64) -> ClassicGroup {
        let mut group = ClassicGroup::new(view.group, wall_ms);
        group.state = ClassicState::Stable;
        group.generation = view.generation;
        group.protocol_type = Some(CONSUMER.into());
        for seat in view.members {
            group.add(ClassicMember {
                instance_id: seat.instance_id,
                rebalance_timeout_ms: seat.rebalance_timeout_ms,
                session_timeout_ms: seat.session_timeout_ms,
                protocols: seat.protocols,
                assignment: seat.assignment,
                ..ClassicMember::new(seat.member_id, seat.client_id, seat.client_host)
            });
        }
        group.protocol = group.select_protocol();
        group.compute_subscribed();
        group
    }

    /// Sessions begin, and when what it was given no longer holds, a rebalance.
    pub fn take_over(&mut self, cx: &mut Tools<'_, '_>, rebalance: bool) {
        self.loaded(cx);
        if rebalance && self.state == ClassicState::Stable {
            self.prepare(cx, None, Cause::Downgrade);
        }
    }

    /// It goes: who waits is told to join again, nothing rings any more.
    pub fn hand_over(&mut self, cx: &mut Tools<'_, '_>) {
        let again = GroupError::RebalanceInProgress;
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in &ids {
            let member = self.members.get_mut(id).expect("it is here");
            if let Some(from) = member.joining.take() {
                self.joining -= 1;
                cx.turn.answer(from, Answer::Join(JoinAnswer::refused(again, text(id))));
            }
            if let Some(from) = member.syncing.take() {
                cx.turn.answer(from, Answer::Sync(SyncAnswer::refused(again)));
            }
        }
        self.cancel_timers(cx.timers);
    }
}
