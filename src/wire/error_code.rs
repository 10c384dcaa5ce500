//! Kafka's error codes by name (org.apache.kafka.common.protocol.Errors), with Spindle's own words
//! for each. Only `api` and `wire` name them.

macro_rules! error_codes {
    ($($name:ident = $code:literal, $message:literal;)*) => {
        $(pub const $name: i16 = $code;)*

        /// Kafka's name, for logs and tests; "?" for a code Kafka 4.3 does not have.
        pub fn name(code: i16) -> &'static str {
            match code {
                $($code => stringify!($name),)*
                _ => "?",
            }
        }

        /// One sentence for people, without a full stop.
        pub fn message(code: i16) -> &'static str {
            match code {
                $($code => $message,)*
                _ => "unknown error code",
            }
        }
    };
}

error_codes! {
    UNKNOWN_SERVER_ERROR = -1, "the broker met an error it did not expect";
    NONE = 0, "no error";
    OFFSET_OUT_OF_RANGE = 1, "the offset is outside of what the partition holds";
    CORRUPT_MESSAGE = 2, "the record batch is damaged: CRC, length or a missing key";
    UNKNOWN_TOPIC_OR_PARTITION = 3, "this broker has no such topic or partition";
    INVALID_FETCH_SIZE = 4, "the fetch size is not valid";
    LEADER_NOT_AVAILABLE = 5, "the partition has no leader yet";
    NOT_LEADER_OR_FOLLOWER = 6, "this broker does not lead, or does not hold, the partition";
    REQUEST_TIMED_OUT = 7, "the request took longer than its timeout";
    BROKER_NOT_AVAILABLE = 8, "the broker can't be reached";
    REPLICA_NOT_AVAILABLE = 9, "the replica is not available";
    MESSAGE_TOO_LARGE = 10, "the record batch is larger than the broker or topic takes";
    STALE_CONTROLLER_EPOCH = 11, "the controller epoch is old";
    OFFSET_METADATA_TOO_LARGE = 12, "the metadata of the offset is too large";
    NETWORK_EXCEPTION = 13, "the connection broke before a response came";
    COORDINATOR_LOAD_IN_PROGRESS = 14, "the coordinator is still loading";
    COORDINATOR_NOT_AVAILABLE = 15, "there is no coordinator yet";
    NOT_COORDINATOR = 16, "another broker is the coordinator";
    INVALID_TOPIC_EXCEPTION = 17, "the topic name is not valid, or the topic is not for this use";
    RECORD_LIST_TOO_LARGE = 18, "the record batch is larger than a segment";
    NOT_ENOUGH_REPLICAS = 19, "fewer replicas are in sync than min.insync.replicas asks";
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20, "written, but to fewer in-sync replicas than min.insync.replicas asks";
    INVALID_REQUIRED_ACKS = 21, "acks must be 0, 1 or -1";
    ILLEGAL_GENERATION = 22, "the group generation is not the current one";
    INCONSISTENT_GROUP_PROTOCOL = 23, "the member shares no protocol with its group";
    INVALID_GROUP_ID = 24, "the group id is not valid";
    UNKNOWN_MEMBER_ID = 25, "the group has no such member";
    INVALID_SESSION_TIMEOUT = 26, "the session timeout is outside of the broker's range";
    REBALANCE_IN_PROGRESS = 27, "the group rebalances: join again";
    INVALID_COMMIT_OFFSET_SIZE = 28, "the offset commit is too large";
    TOPIC_AUTHORIZATION_FAILED = 29, "not allowed on this topic";
    GROUP_AUTHORIZATION_FAILED = 30, "not allowed on this group";
    CLUSTER_AUTHORIZATION_FAILED = 31, "not allowed on the cluster";
    INVALID_TIMESTAMP = 32, "the record's timestamp is outside of the allowed range";
    UNSUPPORTED_SASL_MECHANISM = 33, "the SASL mechanism is not enabled";
    ILLEGAL_SASL_STATE = 34, "the request does not fit the state of the SASL exchange";
    UNSUPPORTED_VERSION = 35, "this version of the API is not served";
    TOPIC_ALREADY_EXISTS = 36, "the topic exists already";
    INVALID_PARTITIONS = 37, "the number of partitions is not valid";
    INVALID_REPLICATION_FACTOR = 38, "the replication factor is below 1 or above the number of brokers";
    INVALID_REPLICA_ASSIGNMENT = 39, "the replica assignment is not valid";
    INVALID_CONFIG = 40, "the configuration is not valid";
    NOT_CONTROLLER = 41, "another node is the controller";
    INVALID_REQUEST = 42, "the request makes no sense";
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43, "the record format of the log does not allow this";
    POLICY_VIOLATION = 44, "a policy of the cluster forbids this";
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45, "the sequence number is not the next one";
    DUPLICATE_SEQUENCE_NUMBER = 46, "the sequence number was written already";
    INVALID_PRODUCER_EPOCH = 47, "the producer epoch is old";
    INVALID_TXN_STATE = 48, "the transaction is not in a state for this";
    INVALID_PRODUCER_ID_MAPPING = 49, "the producer id does not belong to the transactional id";
    INVALID_TRANSACTION_TIMEOUT = 50, "the transaction timeout is above transaction.max.timeout.ms";
    CONCURRENT_TRANSACTIONS = 51, "another operation on the transaction is under way";
    TRANSACTION_COORDINATOR_FENCED = 52, "a newer transaction coordinator took over";
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53, "not allowed on this transactional id";
    SECURITY_DISABLED = 54, "security is off";
    OPERATION_NOT_ATTEMPTED = 55, "not tried, as another operation of the request failed";
    KAFKA_STORAGE_ERROR = 56, "the disk failed";
    LOG_DIR_NOT_FOUND = 57, "the broker has no such log directory";
    SASL_AUTHENTICATION_FAILED = 58, "SASL authentication failed";
    UNKNOWN_PRODUCER_ID = 59, "the broker no longer knows this producer id on the partition";
    REASSIGNMENT_IN_PROGRESS = 60, "a reassignment of the partition is under way";
    DELEGATION_TOKEN_AUTH_DISABLED = 61, "delegation tokens are off";
    DELEGATION_TOKEN_NOT_FOUND = 62, "there is no such delegation token";
    DELEGATION_TOKEN_OWNER_MISMATCH = 63, "the principal neither owns nor renews the token";
    DELEGATION_TOKEN_REQUEST_NOT_ALLOWED = 64, "delegation tokens can't be managed over this connection";
    DELEGATION_TOKEN_AUTHORIZATION_FAILED = 65, "not allowed on this delegation token";
    DELEGATION_TOKEN_EXPIRED = 66, "the delegation token is expired";
    INVALID_PRINCIPAL_TYPE = 67, "the principal type is not supported";
    NON_EMPTY_GROUP = 68, "the group has members";
    GROUP_ID_NOT_FOUND = 69, "there is no such group";
    FETCH_SESSION_ID_NOT_FOUND = 70, "there is no such fetch session";
    INVALID_FETCH_SESSION_EPOCH = 71, "the fetch session epoch is not the expected one";
    LISTENER_NOT_FOUND = 72, "the leader has no listener of that name";
    TOPIC_DELETION_DISABLED = 73, "delete.topic.enable is false";
    FENCED_LEADER_EPOCH = 74, "the request's leader epoch is older than the broker's";
    UNKNOWN_LEADER_EPOCH = 75, "the request's leader epoch is newer than the broker's";
    UNSUPPORTED_COMPRESSION_TYPE = 76, "this version of the request does not allow the compression type";
    STALE_BROKER_EPOCH = 77, "the broker epoch is old";
    OFFSET_NOT_AVAILABLE = 78, "the high watermark of the new leader is not known yet";
    MEMBER_ID_REQUIRED = 79, "join again with the member id of this response";
    PREFERRED_LEADER_NOT_AVAILABLE = 80, "the preferred leader is not available";
    GROUP_MAX_SIZE_REACHED = 81, "the group is full";
    FENCED_INSTANCE_ID = 82, "another member registered with the same group.instance.id";
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83, "no replica may become leader";
    ELECTION_NOT_NEEDED = 84, "the partition needs no election";
    NO_REASSIGNMENT_IN_PROGRESS = 85, "no reassignment is under way";
    GROUP_SUBSCRIBED_TO_TOPIC = 86, "the group is subscribed to the topic";
    INVALID_RECORD = 87, "a record breaks a rule of the broker";
    UNSTABLE_OFFSET_COMMIT = 88, "offsets of an open transaction are pending";
    THROTTLING_QUOTA_EXCEEDED = 89, "the quota is used up";
    PRODUCER_FENCED = 90, "a newer producer with the transactional id took over";
    RESOURCE_NOT_FOUND = 91, "there is no such resource";
    DUPLICATE_RESOURCE = 92, "the request names a resource twice";
    UNACCEPTABLE_CREDENTIAL = 93, "the credential is not acceptable";
    INCONSISTENT_VOTER_SET = 94, "sender or receiver is not among the voters";
    INVALID_UPDATE_VERSION = 95, "the version to update to is not valid";
    FEATURE_UPDATE_FAILED = 96, "the features could not be updated";
    PRINCIPAL_DESERIALIZATION_FAILURE = 97, "the forwarded principal can't be read";
    SNAPSHOT_NOT_FOUND = 98, "there is no such snapshot";
    POSITION_OUT_OF_RANGE = 99, "the position is outside of the snapshot";
    UNKNOWN_TOPIC_ID = 100, "this broker has no topic of this id";
    DUPLICATE_BROKER_REGISTRATION = 101, "the broker id is in use";
    BROKER_ID_NOT_REGISTERED = 102, "the broker id is not registered";
    INCONSISTENT_TOPIC_ID = 103, "the topic id is not that of the log";
    INCONSISTENT_CLUSTER_ID = 104, "the cluster id is not this cluster's";
    TRANSACTIONAL_ID_NOT_FOUND = 105, "there is no such transactional id";
    FETCH_SESSION_TOPIC_ID_ERROR = 106, "the fetch session mixes topic names and ids";
    INELIGIBLE_REPLICA = 107, "a replica of the new ISR may not join it";
    NEW_LEADER_ELECTED = 108, "the ISR changed and so did the leader";
    OFFSET_MOVED_TO_TIERED_STORAGE = 109, "the offset is in tiered storage";
    FENCED_MEMBER_EPOCH = 110, "the member epoch is fenced: give up all partitions and join again";
    UNRELEASED_INSTANCE_ID = 111, "another member still holds the instance id";
    UNSUPPORTED_ASSIGNOR = 112, "the group does not support the assignor";
    STALE_MEMBER_EPOCH = 113, "the member epoch is old";
    MISMATCHED_ENDPOINT_TYPE = 114, "this endpoint is of another type";
    UNSUPPORTED_ENDPOINT_TYPE = 115, "the endpoint type is not supported";
    UNKNOWN_CONTROLLER_ID = 116, "there is no such controller";
    UNKNOWN_SUBSCRIPTION_ID = 117, "the telemetry subscription is not valid any more";
    TELEMETRY_TOO_LARGE = 118, "the telemetry is larger than the broker takes";
    INVALID_REGISTRATION = 119, "the controller refuses the registration";
    TRANSACTION_ABORTABLE = 120, "the transaction failed and can be aborted";
    INVALID_RECORD_STATE = 121, "the record's delivery state does not allow this";
    SHARE_SESSION_NOT_FOUND = 122, "there is no such share session";
    INVALID_SHARE_SESSION_EPOCH = 123, "the share session epoch is not the expected one";
    FENCED_STATE_EPOCH = 124, "the share group's state epoch is another";
    INVALID_VOTER_KEY = 125, "the voter key is not the receiver's";
    DUPLICATE_VOTER = 126, "the voter is in the set already";
    VOTER_NOT_FOUND = 127, "the voter is not in the set";
    INVALID_REGULAR_EXPRESSION = 128, "the regular expression is not valid";
    REBOOTSTRAP_REQUIRED = 129, "the client's metadata is too old: bootstrap again";
    STREAMS_INVALID_TOPOLOGY = 130, "the topology is not valid";
    STREAMS_INVALID_TOPOLOGY_EPOCH = 131, "the topology epoch is not valid";
    STREAMS_TOPOLOGY_FENCED = 132, "the topology epoch is old";
    SHARE_SESSION_LIMIT_REACHED = 133, "there are as many share sessions as allowed";
}
