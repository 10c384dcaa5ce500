//! `server.properties`: Kafka's key names and Spindle's `shard.*`; parsing, ranges, and the tables
//! that DescribeConfigs shows. Imports no room.

pub mod broker;
mod cleaner;
pub mod definitions;
mod groups;
mod listeners;
mod properties;
pub mod shards;
pub mod topic;

#[cfg(test)]
mod tests;

pub use broker::{BrokerConfig, ListenerConfig};
pub use cleaner::CleanerConfig;
pub use groups::{BoundedMs, ConsumerGroupsConfig, GroupsConfig, OffsetsConfig};
pub use topic::TopicConfig;
