//! What time takes away (KIP-211): offsets after offsets.retention.minutes, counted from when the group became empty or
//! from the commit, or at the time that an old client gave; and groups that have no members and no offsets left.
//!
//! A round looks at every group, a bounded number of offsets a step, so that no step takes long.

use std::sync::Arc;

use crate::coordinator::group::classic::RetentionBase;
use crate::coordinator::group::records::Record;
use crate::coordinator::group::{Cause, EventKind, Group, Groups, TimerKey, Turn};
use crate::limits::GROUP_OFFSETS_EXPIRED_AT_ONCE;

use super::delete::tombstone;

/// How many groups the round under way has still to look at, of those with offsets (which it does when they have
/// nothing else), then of the others: it goes from the last to the first.
#[derive(Debug, Default)]
pub struct RetentionRound {
    with_offsets: usize,
    groups: usize,
}

impl Groups {
    pub(in crate::coordinator::group) fn arm_retention(&mut self, turn: &Turn<'_>) {
        let at_ms = turn.now.monotonic_ms + self.config.offsets_retention_check_interval_ms;
        self.timers.arm(&TimerKey::Retention, at_ms);
    }

    pub(in crate::coordinator::group) fn retention_due(&mut self, turn: &mut Turn<'_>) {
        if self.retention.is_over() {
            let with_offsets = self.offsets.groups.len();
            self.retention = RetentionRound { with_offsets, groups: self.groups.len() };
        }
        let mut seen = 0;
        while seen < GROUP_OFFSETS_EXPIRED_AT_ONCE {
            let Some(group) = self.next_to_expire() else { break };
            seen += 1 + group.map_or(0, |group| self.expire_group(turn, &group));
        }
        match self.retention.is_over() {
            true => self.arm_retention(turn),
            // The rest as soon as others have had their turn.
            false => self.timers.arm(&TimerKey::Retention, turn.now.monotonic_ms),
        }
    }

    /// The round's next place, and the group there when it is this one's turn to look at it.
    fn next_to_expire(&mut self) -> Option<Option<Arc<str>>> {
        let RetentionRound { with_offsets, groups } = &mut self.retention;
        if let Some(at) = (*with_offsets).min(self.offsets.groups.len()).checked_sub(1) {
            *with_offsets = at;
            let (id, _) = self.offsets.groups.get_index(at)?;
            return Some((!self.groups.contains_key(id)).then(|| id.clone()));
        }
        *with_offsets = 0;
        let Some(at) = (*groups).min(self.groups.len()).checked_sub(1) else {
            *groups = 0;
            return None;
        };
        *groups = at;
        self.groups.get_index(at).map(|(id, _)| Some(id.clone()))
    }

    /// How many offsets it looked at.
    fn expire_group(&mut self, turn: &mut Turn<'_>, id: &Arc<str>) -> usize {
        let group = self.groups.get(id);
        let base = group.map_or(Some(RetentionBase::Commit), Group::retention_base);
        let Some(base) = base else { return 1 };
        let now_ms = turn.now.wall_ms;
        let retention_ms = self.config.offsets_retention_ms;
        let mut tombstones: Vec<Record> = Vec::new();
        let (mut seen, mut kept) = (0, 0);
        if let Some(offsets) = self.offsets.groups.get(id) {
            for (topic, rows) in offsets.by_topic() {
                seen += rows.len();
                if group.is_some_and(|group| group.is_subscribed_to(topic)) {
                    kept += rows.len();
                    continue;
                }
                for row in rows {
                    let expired = match (row.expire_ms, base) {
                        (0.., _) => now_ms >= row.expire_ms,
                        (_, RetentionBase::At(at_ms)) => now_ms - at_ms >= retention_ms,
                        (_, RetentionBase::Commit) => now_ms - row.commit_ms >= retention_ms,
                    };
                    if expired && !self.offsets.is_unstable(id, topic, row.partition) {
                        tombstones.push(tombstone(id, topic, row.partition));
                    } else {
                        kept += 1;
                    }
                }
            }
        }
        let is_empty = group.is_none_or(Group::is_empty);
        let is_over = kept == 0 && is_empty && !self.offsets.has_open_transactions(id);
        let cause = Cause::Retention { after_ms: retention_ms, offsets: tombstones.len() };
        if !tombstones.is_empty() {
            self.group_event(turn, id, EventKind::OffsetsExpired, None, cause.clone());
            self.append_tombstones(turn, tombstones);
        }
        if is_over {
            self.group_event(turn, id, EventKind::GroupDeleted, None, cause);
            self.remove_group(turn, id);
        }
        seen
    }
}

impl RetentionRound {
    fn is_over(&self) -> bool {
        self.with_offsets == 0 && self.groups == 0
    }
}

impl Group {
    fn retention_base(&self) -> Option<RetentionBase> {
        match self {
            Group::Classic(group) => group.retention_base(),
            Group::Consumer(_) => Some(RetentionBase::Commit),
        }
    }
}
