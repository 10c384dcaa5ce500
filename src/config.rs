//! `server.properties`: Kafka's key names and Spindle's `shard.*`; parsing, ranges, and the tables
//! that DescribeConfigs shows. Imports no room.

pub mod broker;
pub mod definitions;
pub mod topic;

pub use broker::{BrokerConfig, ListenerConfig};
pub use topic::TopicConfig;
