//! What the records of a consumer group take in the log, known before they are written: a record larger than a batch
//! would fail each append. Upper bounds, pure.

use super::group::ConsumerGroup;
use super::member::{Current, Member};
use super::owned::Owned;
use crate::coordinator::group::assignor::Assignment;
use crate::coordinator::group::config::GroupConfig;
use crate::coordinator::group::records::{BATCH_BYTES, RECORD_BYTES, RECORD_FRAME_BYTES};
use crate::limits::TOPIC_NAME_BYTES;

/// A topic of a member's current assignment: its id, the lengths of partitions and of their epochs, tags.
const TOPIC_BYTES: usize = 40;

/// A partition and the epoch of its assignment.
const PARTITION_BYTES: usize = 8;

/// The largest record of a member with this target, on its way there too: then a topic may be among what it has and
/// among what it gives back.
pub fn assigned_bytes(group: &ConsumerGroup, member: &str, target: &Assignment) -> usize {
    let topic = |(_, all): &(_, Vec<i32>)| 2 * TOPIC_BYTES + PARTITION_BYTES * all.len();
    around(group, member) + target.topics().iter().map(topic).sum::<usize>()
}

pub fn current_bytes(group: &ConsumerGroup, member: &str, current: &Current) -> usize {
    around(group, member)
        + owned_bytes(&current.assigned)
        + owned_bytes(&current.pending_revocation)
}

fn owned_bytes(owned: &Owned) -> usize {
    let topic = |(_, all): &(_, Vec<_>)| TOPIC_BYTES + PARTITION_BYTES * all.len();
    owned.topics().iter().map(topic).sum()
}

fn around(group: &ConsumerGroup, member: &str) -> usize {
    BATCH_BYTES + RECORD_BYTES + group.id.len() + member.len()
}

impl ConsumerGroup {
    /// Going back to the classic protocol is one batch: the tombstones of all that the group has in the log, those of
    /// a member that is replaced just now, and the classic group's record. When that does not fit, the group stays
    /// what it is. `said_bytes`: what the one that takes that member's place says of itself.
    pub(super) fn fits_as_classic(&self, said_bytes: usize, config: &GroupConfig) -> bool {
        let seat = |member: &Member| {
            let about = &member.about;
            let names = [Some(&member.id), about.instance_id.as_ref()];
            let more = [Some(&about.client_id), Some(&about.client_host)];
            let said = about.classic.iter().flat_map(|classic| &classic.protocols);
            let target = self.target_of(&member.id).topics().iter().map(|(_, all)| all.len());
            let held = [&member.current.assigned, &member.current.pending_revocation];
            let held = held.into_iter().flat_map(|owned| owned.topics());
            let assigned: usize = match member.current.is_reconciled_to(self.assignment_epoch) {
                true => target.map(embedded_bytes).sum(),
                // The step may still move it.
                false => target.chain(held.map(|(_, all)| all.len())).map(embedded_bytes).sum(),
            };
            RECORD_BYTES
                + names.into_iter().chain(more).flatten().map(|name| name.len()).sum::<usize>()
                + said.map(|(_, metadata)| metadata.len()).max().unwrap_or(0)
                + assigned
        };
        let tombstone = |name: usize| 6 + self.id.len() + name + RECORD_FRAME_BYTES;
        let members = self.members.values().map(|m| seat(m) + 3 * tombstone(m.id.len()));
        let replaced = self.members.keys().map(|id| 3 * tombstone(id.len())).max().unwrap_or(0);
        let regexes = self.resolved.keys().map(|regex| tombstone(regex.len()));
        let group = RECORD_BYTES + self.id.len() + 3 * tombstone(0);
        let bytes =
            BATCH_BYTES + group + replaced + said_bytes + members.chain(regexes).sum::<usize>();
        bytes <= config.batch_bytes_max
    }
}

/// A topic in the assignment that a classic member reads, by its name.
fn embedded_bytes(partitions: usize) -> usize {
    TOPIC_NAME_BYTES + 8 + 4 * partitions
}
