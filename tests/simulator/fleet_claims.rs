//! Who consumes what at this moment, as the members themselves see it, over all of them: what no member
//! may know. A member that the coordinator counts as alive (its session and its time to give back are
//! not over) is *entitled*; a partition that two entitled members consume at once is a bug.
//!
//! Both limits are counted from when a heartbeat that was answered was sent, which is before the
//! coordinator began to count: so nobody is called entitled who may have been evicted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use spindle::runtime::{Instant, sim};
use spindle::types::TopicId;

pub type Partition = (TopicId, i32);

/// A coordinator that was started again has read its log after so long.
const LOAD: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Standing {
    pub holds: BTreeSet<Partition>,
    /// Told to have, taken or not.
    pub assigned: BTreeSet<Partition>,
    /// When the last request was sent that was answered well.
    pub heard: Instant,
    /// The same of one after which it had nothing to give back.
    pub quiet: Instant,
    /// It was told to give something back then, and has it still.
    asked: Option<Instant>,
    /// It is in the group, as far as it knows.
    pub joined: bool,
    pub classic: bool,
    /// Of a classic member: what the coordinator calls it.
    pub member_id: String,
    /// It is to be in the group at the end.
    pub stays: bool,
    /// Another has its instance id, by nobody's fault but ours.
    pub replaced: bool,
    pub epoch: i32,
    /// Requests of its own that may come late or twice: on their way, and when the last one came.
    pub astray: (usize, Option<Instant>),
    /// One of them may have changed what the coordinator thinks of it: it has to say everything again.
    pub restate: bool,
}

#[derive(Debug)]
pub struct Claims {
    session: Duration,
    rebalance: Duration,
    /// Slots in which a late join may come any time.
    haunted: BTreeSet<String>,
    pub members: BTreeMap<String, Standing>,
    pub taken: usize,
    /// When the broker was started last: its coordinator gives everybody the whole time again.
    pub coordinator_since: Instant,
    /// Members that kept what they had to give back for longer than they may.
    pub kept_too_long: usize,
}

impl Standing {
    fn new(id: &str, classic: bool) -> Standing {
        let now = sim::now();
        Standing {
            holds: BTreeSet::new(),
            assigned: BTreeSet::new(),
            heard: now,
            quiet: now,
            asked: None,
            joined: false,
            classic,
            member_id: id.to_string(),
            stays: true,
            replaced: false,
            epoch: 0,
            astray: (0, None),
            restate: false,
        }
    }
}

impl Claims {
    pub fn new(session: Duration, rebalance: Duration) -> Claims {
        Claims {
            session,
            rebalance,
            members: BTreeMap::new(),
            haunted: BTreeSet::new(),
            taken: 0,
            coordinator_since: sim::now(),
            kept_too_long: 0,
        }
    }

    pub fn begin(&mut self, id: &str, classic: bool) {
        let mut standing = Standing::new(id, classic);
        standing.replaced = self.haunted.iter().any(|of_slot| id.starts_with(of_slot));
        let before = self.members.insert(id.to_string(), standing);
        assert!(before.is_none(), "{id} is new");
    }

    pub fn end(&mut self, id: &str) {
        self.members.remove(id);
    }

    pub fn of(&mut self, id: &str) -> &mut Standing {
        self.members.get_mut(id).unwrap_or_else(|| panic!("{id} is not here"))
    }

    pub fn holds(&self, id: &str) -> BTreeSet<Partition> {
        self.members.get(id).map(|m| m.holds.clone()).unwrap_or_default()
    }

    /// A request that was sent then was answered well.
    pub fn heard(&mut self, id: &str, sent: Instant) {
        let member = self.of(id);
        member.heard = sent;
        if member.holds.is_subset(&member.assigned) {
            member.quiet = sent;
            member.asked = None;
        } else {
            member.asked.get_or_insert(sim::now());
        }
    }

    /// A heartbeat that was sent then was answered with a new assignment, or with none: who keeps what it had to give
    /// back for longer than its rebalance timeout is fenced.
    pub fn may_keep(&mut self, id: &str, sent: Instant, assigned: Option<&BTreeSet<Partition>>) {
        let limit = self.rebalance + LOAD;
        let since = self.coordinator_since;
        let member = self.of(id);
        if assigned.is_some_and(|assigned| *assigned != member.assigned) {
            member.asked = None;
        }
        let Some(asked) = member.asked else { return };
        let too_long = sent > asked.max(since) + limit;
        assert!(!too_long, "{id} was asked at {asked:?} and is still heard: {member:#?}");
    }

    /// It was fenced; whether that was for keeping too long.
    pub fn fenced(&mut self, id: &str) {
        let rebalance = self.rebalance;
        let kept = self.of(id).asked.is_some_and(|asked| sim::now() >= asked + rebalance);
        self.kept_too_long += usize::from(kept);
    }

    /// Who came after `id` in its slot, and whoever comes, may lose its instance id to it: nobody knows when the
    /// broker reads its request.
    pub fn taken_over(&mut self, slot: usize, id: &str) {
        let of_slot = format!("s{slot}-");
        let others = self.members.iter_mut().filter(|(other, _)| *other != id);
        for (_, member) in others.filter(|(other, _)| other.starts_with(&of_slot)) {
            member.replaced = true;
        }
        self.haunted.insert(of_slot);
    }

    /// The coordinator has no reason to take anything from it.
    pub fn is_entitled(&self, id: &str) -> bool {
        let member = &self.members[id];
        let now = sim::now();
        !member.replaced && now < member.heard + self.session && now < member.quiet + self.rebalance
    }

    /// A request of its own was late or double since it last heard something.
    pub fn is_astray(&self, id: &str) -> bool {
        let member = &self.members[id];
        member.astray.0 > 0 || member.astray.1.is_some_and(|at| at >= member.heard)
    }

    /// It consumes these from now on.
    pub fn take(&mut self, id: &str, partitions: &BTreeSet<Partition>) {
        if self.is_entitled(id) {
            for (other, standing) in &self.members {
                let shared: Vec<&Partition> = standing.holds.intersection(partitions).collect();
                let both = other != id && !shared.is_empty() && self.is_entitled(other);
                assert!(
                    !both,
                    "{shared:?} is consumed by {other} and by {id}: {standing:#?}\n{:#?}",
                    self.members[id]
                );
            }
        }
        self.taken += partitions.len();
        self.of(id).holds.extend(partitions);
    }

    /// It no longer does.
    pub fn give_back(&mut self, id: &str, partitions: &BTreeSet<Partition>) {
        let member = self.of(id);
        member.holds.retain(|partition| !partitions.contains(partition));
    }

    /// It lost everything, and joins again if at all.
    pub fn abandon(&mut self, id: &str) {
        let member = self.of(id);
        member.holds.clear();
        member.assigned.clear();
        member.asked = None;
        member.joined = false;
        member.epoch = 0;
    }

    /// Somebody is on the way: a good moment for a fault.
    pub fn moving(&self) -> bool {
        self.members.values().any(|member| member.holds != member.assigned)
    }
}
