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

/// How many groups the round under way has still to look at: it goes from the last to the first.
#[derive(Debug, Default)]
pub struct RetentionRound(usize);

impl Groups {
    pub(in crate::coordinator::group) fn arm_retention(&mut self, turn: &Turn<'_>) {
        let at_ms = turn.now.monotonic_ms + self.config.offsets_retention_check_interval_ms;
        self.timers.arm(&TimerKey::Retention, at_ms);
    }

    pub(in crate::coordinator::group) fn retention_due(&mut self, turn: &mut Turn<'_>) {
        if self.retention.0 == 0 {
            self.retention.0 = self.groups.len();
        }
        let mut seen = 0;
        while seen < GROUP_OFFSETS_EXPIRED_AT_ONCE {
            let next = self.retention.0.min(self.groups.len()).checked_sub(1);
            let Some((group, _)) = next.and_then(|at| self.groups.get_index(at)) else {
                self.retention.0 = 0;
                return self.arm_retention(turn);
            };
            let group = group.clone();
            self.retention.0 = next.unwrap_or(0);
            seen += 1 + self.expire_group(turn, &group);
        }
        match self.retention.0 {
            0 => self.arm_retention(turn),
            // The rest as soon as others have had their turn.
            _ => self.timers.arm(&TimerKey::Retention, turn.now.monotonic_ms),
        }
    }

    /// How many offsets it looked at.
    fn expire_group(&mut self, turn: &mut Turn<'_>, id: &Arc<str>) -> usize {
        let Some(group) = self.groups.get(id) else { return 0 };
        let Some(base) = group.retention_base() else { return 1 };
        let now_ms = turn.now.wall_ms;
        let retention_ms = self.config.offsets_retention_ms;
        let mut tombstones: Vec<Record> = Vec::new();
        let (mut seen, mut kept) = (0, 0);
        if let Some(offsets) = self.offsets.groups.get(id) {
            for (topic, rows) in offsets.by_topic() {
                seen += rows.len();
                if group.is_subscribed_to(topic) {
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
        let is_over = kept == 0 && group.is_empty() && !self.offsets.has_open_transactions(id);
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

impl Group {
    fn retention_base(&self) -> Option<RetentionBase> {
        match self {
            Group::Classic(group) => group.retention_base(),
            Group::Consumer(_) => Some(RetentionBase::Commit),
        }
    }
}
