//! What this broker says it speaks: (API key, lowest, highest version), in key order. ApiVersions
//! answers from it and the dispatch refuses what is outside of it, so the two can't differ.
//! Ranges are Apache Kafka 4.3.1's. What is not served is not here.
//!
//! Declared gaps: no transactions (24-28), no security (17,
//! 29-31, 36, 38-41, 51), no second log directory (34), no quorum
//! changes (80, 81), no share or streams groups (76-92).

pub const PRODUCE: i16 = 0;
pub const FETCH: i16 = 1;
pub const LIST_OFFSETS: i16 = 2;
pub const METADATA: i16 = 3;
pub const OFFSET_COMMIT: i16 = 8;
pub const OFFSET_FETCH: i16 = 9;
pub const FIND_COORDINATOR: i16 = 10;
pub const JOIN_GROUP: i16 = 11;
pub const HEARTBEAT: i16 = 12;
pub const LEAVE_GROUP: i16 = 13;
pub const SYNC_GROUP: i16 = 14;
pub const DESCRIBE_GROUPS: i16 = 15;
pub const LIST_GROUPS: i16 = 16;
pub const API_VERSIONS: i16 = 18;
pub const CREATE_TOPICS: i16 = 19;
pub const DELETE_TOPICS: i16 = 20;
pub const DELETE_RECORDS: i16 = 21;
pub const INIT_PRODUCER_ID: i16 = 22;
pub const OFFSET_FOR_LEADER_EPOCH: i16 = 23;
pub const DESCRIBE_CONFIGS: i16 = 32;
pub const ALTER_CONFIGS: i16 = 33;
pub const DESCRIBE_LOG_DIRS: i16 = 35;
pub const CREATE_PARTITIONS: i16 = 37;
pub const DELETE_GROUPS: i16 = 42;
pub const ELECT_LEADERS: i16 = 43;
pub const INCREMENTAL_ALTER_CONFIGS: i16 = 44;
pub const ALTER_PARTITION_REASSIGNMENTS: i16 = 45;
pub const LIST_PARTITION_REASSIGNMENTS: i16 = 46;
pub const OFFSET_DELETE: i16 = 47;
pub const DESCRIBE_CLIENT_QUOTAS: i16 = 48;
pub const ALTER_CLIENT_QUOTAS: i16 = 49;
pub const DESCRIBE_USER_SCRAM_CREDENTIALS: i16 = 50;
pub const DESCRIBE_QUORUM: i16 = 55;
pub const UPDATE_FEATURES: i16 = 57;
pub const DESCRIBE_CLUSTER: i16 = 60;
pub const DESCRIBE_PRODUCERS: i16 = 61;
pub const UNREGISTER_BROKER: i16 = 64;
pub const DESCRIBE_TRANSACTIONS: i16 = 65;
pub const LIST_TRANSACTIONS: i16 = 66;
pub const CONSUMER_GROUP_HEARTBEAT: i16 = 68;
pub const CONSUMER_GROUP_DESCRIBE: i16 = 69;
pub const LIST_CONFIG_RESOURCES: i16 = 74;
pub const DESCRIBE_TOPIC_PARTITIONS: i16 = 75;

/// (API key, lowest version, highest version).
pub const ADVERTISED: &[(i16, i16, i16)] = &[
    // Produce 0-2 are refused with UNSUPPORTED_VERSION when used. Kafka lists them all the same
    // (KAFKA-18659): librdkafka reads the lowest version to learn which codecs a broker takes.
    (PRODUCE, 0, 13),
    (FETCH, 4, 18),
    (LIST_OFFSETS, 1, 11),
    (METADATA, 0, 13),
    (OFFSET_COMMIT, 2, 10),
    (OFFSET_FETCH, 1, 10),
    (FIND_COORDINATOR, 0, 6),
    (JOIN_GROUP, 0, 9),
    (HEARTBEAT, 0, 4),
    (LEAVE_GROUP, 0, 5),
    (SYNC_GROUP, 0, 5),
    (DESCRIBE_GROUPS, 0, 6),
    (LIST_GROUPS, 0, 5),
    (API_VERSIONS, 0, 4),
    (CREATE_TOPICS, 2, 7),
    (DELETE_TOPICS, 1, 6),
    (DELETE_RECORDS, 0, 2),
    (INIT_PRODUCER_ID, 0, 5),
    (OFFSET_FOR_LEADER_EPOCH, 2, 4),
    (DESCRIBE_CONFIGS, 1, 4),
    (ALTER_CONFIGS, 0, 2),
    (DESCRIBE_LOG_DIRS, 1, 5),
    (CREATE_PARTITIONS, 0, 3),
    (DELETE_GROUPS, 0, 2),
    (ELECT_LEADERS, 0, 2),
    (INCREMENTAL_ALTER_CONFIGS, 0, 1),
    (ALTER_PARTITION_REASSIGNMENTS, 0, 1),
    (LIST_PARTITION_REASSIGNMENTS, 0, 0),
    (OFFSET_DELETE, 0, 0),
    (DESCRIBE_CLIENT_QUOTAS, 0, 1),
    (ALTER_CLIENT_QUOTAS, 0, 1),
    (DESCRIBE_USER_SCRAM_CREDENTIALS, 0, 0),
    (DESCRIBE_QUORUM, 0, 2),
    (UPDATE_FEATURES, 0, 2),
    (DESCRIBE_CLUSTER, 0, 2),
    (DESCRIBE_PRODUCERS, 0, 0),
    (UNREGISTER_BROKER, 0, 0),
    (DESCRIBE_TRANSACTIONS, 0, 0),
    (LIST_TRANSACTIONS, 0, 2),
    (CONSUMER_GROUP_HEARTBEAT, 0, 1),
    (CONSUMER_GROUP_DESCRIBE, 0, 1),
    (LIST_CONFIG_RESOURCES, 0, 1),
    (DESCRIBE_TOPIC_PARTITIONS, 0, 0),
];

/// Whether groups of KIP-848 are served.
pub fn serves_consumer_groups() -> bool {
    served(68, 0)
}

/// Whether the broker answers this version of this API. Produce 0-2 are listed and not served.
pub fn served(api_key: i16, version: i16) -> bool {
    ADVERTISED.iter().any(|&(key, min, max)| {
        let min = if key == PRODUCE { 3 } else { min };
        key == api_key && (min..=max).contains(&version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_ascend_and_ranges_are_ranges() {
        for pair in ADVERTISED.windows(2) {
            assert!(pair[0].0 < pair[1].0);
        }
        assert!(ADVERTISED.iter().all(|&(_, min, max)| 0 <= min && min <= max));
    }

    #[test]
    fn old_produce_is_listed_but_not_served() {
        assert!(ADVERTISED.contains(&(PRODUCE, 0, 13)));
        assert!(!served(PRODUCE, 2) && served(PRODUCE, 3) && served(PRODUCE, 13));
        assert!(!served(PRODUCE, 14) && !served(7, 3) && served(API_VERSIONS, 0));
    }
}
