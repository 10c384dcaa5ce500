//! Spindle: a Kafka-protocol broker for Linux. One pinned thread per core, io_uring through glommio,
//! direct-I/O segments in Kafka's own formats. See ARCHITECTURE.md for the rooms and their arrows.

pub mod admin;
pub mod api;
pub mod cli;
pub mod client;
pub mod config;
pub mod controller;
pub mod coordinator;
pub mod error;
pub mod limits;
pub mod loadgen;
pub mod log;
pub mod metrics;
pub mod node;
pub mod partition;
pub mod runtime;
pub mod server;
pub mod shard;
pub mod tune;
pub mod types;
pub mod wire;
