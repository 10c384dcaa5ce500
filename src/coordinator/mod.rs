//! Coordinators: pure state machines that turn an input into records, answers and events; loading replays the same
//! records. No I/O, no clock, no tasks; the shard that leads the partition hosts one and owns what it says.
//! Names no Kafka error code: `api` maps `group::GroupError`. The transaction coordinator is not here yet.

pub mod group;
