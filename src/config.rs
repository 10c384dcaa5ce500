//! `server.properties`: Kafka's key names and Spindle's `shard.*`; parsing, ranges, and the tables
//! that DescribeConfigs shows. Imports no room.

pub mod broker;
pub mod definitions;
mod listeners;
mod properties;
mod shards;
pub mod topic;

#[cfg(test)]
mod tests;

pub use broker::{BrokerConfig, ListenerConfig};
pub use topic::TopicConfig;
