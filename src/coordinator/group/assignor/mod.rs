//! Server-side assignors of the consumer protocol (KIP-848): from who is subscribed to what, and who
//! was meant to have what before, to who shall have what. Pure functions, owned by no core: the same
//! input gives the same output on every core and after every restart, whatever the order of a map.
//!
//! Neither assignor looks at racks: Kafka 4 has them in the metadata hash only (a change of racks is
//! a new epoch), and so has Spindle.

mod assignment;
mod heterogeneous;
mod homogeneous;
mod range;
#[cfg(test)]
mod tests;

pub use assignment::{Assignment, TopicSet};

use crate::types::TopicId;

/// Names of the assignors, in the order of `group.consumer.assignors`' default: the first is the
/// one for members that name none.
pub const ASSIGNORS: [&str; 2] = ["uniform", "range"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    Uniform,
    Range,
}

/// One member as an assignor sees it.
#[derive(Clone, Debug)]
pub struct MemberSpec<'a> {
    pub id: &'a str,
    pub instance_id: Option<&'a str>,
    /// Topics that exist among those it is subscribed to.
    pub topics: TopicSet,
    /// Its target assignment so far; for a static member that comes back, that of its predecessor.
    pub current: &'a Assignment,
}

/// A group as an assignor sees it.
pub struct GroupSpec<'a> {
    /// In the order of their ids: ties are broken by it.
    pub members: Vec<MemberSpec<'a>>,
    /// All members are subscribed to the same topics.
    pub homogeneous: bool,
    /// Partitions of a topic; 0 for one that does not exist.
    pub partitions: &'a dyn Fn(&TopicId) -> i32,
}

impl Assignor {
    pub fn parse(name: &str) -> Option<Assignor> {
        Some(match name {
            "uniform" => Assignor::Uniform,
            "range" => Assignor::Range,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => ASSIGNORS[0],
            Assignor::Range => ASSIGNORS[1],
        }
    }

    /// The assignment of each member, in the order of `group.members`.
    pub fn assign(self, group: &GroupSpec<'_>) -> Vec<Assignment> {
        if group.members.is_empty() {
            return Vec::new();
        }
        debug_assert!(group.members.is_sorted_by_key(|member| member.id));
        match self {
            Assignor::Uniform if group.homogeneous => homogeneous::assign(group),
            Assignor::Uniform => heterogeneous::assign(group),
            Assignor::Range => range::assign(group),
        }
    }
}
