//! librdkafka, through the `rdkafka` crate, against the built binary: topics, produce in every
//! combination that clients use, reads byte for byte, groups, and restarts after kill -9. But for groups, consumers use
//! assign() with explicit offsets and need no group. Bad input is in `tests/bad_input`.

#[path = "../common/mod.rs"]
mod common;

mod admin;
mod compaction;
mod disk_faults;
mod durability;
mod fetch;
mod group_bounds;
mod group_records;
mod groups;
mod produce;
mod quotas;
mod session;
