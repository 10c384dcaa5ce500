//! The bit fields of KIP-430: bit n is the AclOperation with code n. Without an authorizer everything
//! that makes sense on the resource is allowed, as in Kafka.

const READ: i32 = 1 << 3;
const WRITE: i32 = 1 << 4;
const CREATE: i32 = 1 << 5;
const DELETE: i32 = 1 << 6;
const ALTER: i32 = 1 << 7;
const DESCRIBE: i32 = 1 << 8;
const CLUSTER_ACTION: i32 = 1 << 9;
const DESCRIBE_CONFIGS: i32 = 1 << 10;
const ALTER_CONFIGS: i32 = 1 << 11;
const IDEMPOTENT_WRITE: i32 = 1 << 12;

pub const TOPIC: i32 =
    READ | WRITE | CREATE | DELETE | ALTER | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS;
pub const CLUSTER: i32 = CREATE
    | ALTER
    | DESCRIBE
    | CLUSTER_ACTION
    | DESCRIBE_CONFIGS
    | ALTER_CONFIGS
    | IDEMPOTENT_WRITE;

pub const GROUP: i32 = READ | DELETE | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS;

/// The value when the client did not ask.
pub const NOT_ASKED: i32 = i32::MIN;

pub fn topic(asked: bool) -> i32 {
    if asked { TOPIC } else { NOT_ASKED }
}

pub fn group(asked: bool) -> i32 {
    if asked { GROUP } else { NOT_ASKED }
}

pub fn cluster(asked: bool) -> i32 {
    if asked { CLUSTER } else { NOT_ASKED }
}

#[cfg(test)]
mod tests {
    #[test]
    fn values_kafka_sends() {
        // As captured from Apache Kafka 4.3.1 without an authorizer.
        assert_eq!(super::TOPIC, 3576);
        assert_eq!(super::CLUSTER, 8096);
        // By Kafka's AclEntry.supportedOperations.
        assert_eq!(super::GROUP, 3400);
    }
}
