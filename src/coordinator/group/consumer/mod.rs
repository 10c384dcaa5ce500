//! Groups of the consumer protocol (KIP-848): the coordinator makes the assignment, members are told of changes in their
//! heartbeats and move one by one. Behaviour, texts and records are those of Kafka 4.3.1's GroupMetadataManager.
//!
//! `group` is what the records say, `apply` what each does, `work` one step of one group, `heartbeat`, `leave` and
//! `classic_members` the requests, `convert` the way from the classic protocol and back, `requests` what each does with
//! one group, `doors` which group that is. Two things differ from Kafka: a regular expression is matched within the heartbeat that brings it, not
//! after it, and the assignors break ties by the member ids, not by the order of a hash map.

mod apply;
#[cfg(test)]
mod checker;
mod classic_members;
mod convert;
mod describe;
#[cfg(test)]
mod door_tests;
mod doors;
pub mod embedded;
mod group;
mod hash;
mod heartbeat;
mod leave;
mod member;
mod owned;
mod re2;
#[cfg(test)]
mod re2_tests;
mod reconcile;
mod requests;
#[cfg(test)]
mod size_tests;
mod sizes;
mod subscriptions;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod work;

pub use convert::{ClassicSeat, ClassicView, upgrade};
pub use describe::CommitFrom;
pub use group::{ConsumerGroup, GroupState};
pub use heartbeat::{Refusal, check_room, refused, validate};
pub use member::Member;
pub use requests::{After, ConsumerTools, Downgrade, not_a_consumer_group};
pub use subscriptions::Subscriptions;
