//! What goes wrong below `api`, as a Kafka error code and a sentence. The only place that does this,
//! so that one cause has one code in every API.

use kafka_protocol::protocol::StrBytes;

use crate::controller::ControllerError;
use crate::partition::PartitionError;
use crate::wire::error_code::*;

/// Code and message of a failure of one item of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub code: i16,
    pub message: String,
}

impl ApiError {
    pub fn new(code: i16, message: impl Into<String>) -> ApiError {
        ApiError { code, message: message.into() }
    }

    pub fn invalid_request(message: impl Into<String>) -> ApiError {
        ApiError::new(INVALID_REQUEST, message)
    }

    pub fn unknown_topic_or_partition() -> ApiError {
        ApiError::new(UNKNOWN_TOPIC_OR_PARTITION, PartitionError::Unknown.to_string())
    }

    /// The message as a response field.
    pub fn text(&self) -> Option<StrBytes> {
        Some(StrBytes::from_string(self.message.clone()))
    }
}

pub fn partition_code(error: &PartitionError) -> i16 {
    match error {
        PartitionError::Unknown => UNKNOWN_TOPIC_OR_PARTITION,
        PartitionError::NotLeader => NOT_LEADER_OR_FOLLOWER,
        PartitionError::FencedLeaderEpoch => FENCED_LEADER_EPOCH,
        PartitionError::UnknownLeaderEpoch => UNKNOWN_LEADER_EPOCH,
        PartitionError::OffsetOutOfRange { .. } => OFFSET_OUT_OF_RANGE,
        PartitionError::CorruptMessage(_) => CORRUPT_MESSAGE,
        PartitionError::InvalidRecord(_) | PartitionError::RecordsRejected { .. } => INVALID_RECORD,
        PartitionError::InvalidTimestamp(_) => INVALID_TIMESTAMP,
        PartitionError::MessageTooLarge(_) => MESSAGE_TOO_LARGE,
        PartitionError::RecordListTooLarge(_) => RECORD_LIST_TOO_LARGE,
        PartitionError::OutOfOrderSequence(_) => OUT_OF_ORDER_SEQUENCE_NUMBER,
        PartitionError::InvalidProducerEpoch(_) => INVALID_PRODUCER_EPOCH,
        PartitionError::InvalidTxnState(_) => INVALID_TXN_STATE,
        PartitionError::NotEnoughReplicas(_) => NOT_ENOUGH_REPLICAS,
        PartitionError::PolicyViolation(_) => POLICY_VIOLATION,
        PartitionError::Storage(_) => KAFKA_STORAGE_ERROR,
        PartitionError::TimedOut => REQUEST_TIMED_OUT,
        // Kafka has no code for "busy" that every client knows; all of them retry this one.
        PartitionError::Overloaded(_) => REQUEST_TIMED_OUT,
    }
}

pub fn controller_code(error: &ControllerError) -> i16 {
    match error {
        ControllerError::TopicAlreadyExists(_) => TOPIC_ALREADY_EXISTS,
        ControllerError::InvalidTopic(_) => INVALID_TOPIC_EXCEPTION,
        ControllerError::InvalidPartitions(_) => INVALID_PARTITIONS,
        ControllerError::InvalidReplicationFactor(_) => INVALID_REPLICATION_FACTOR,
        ControllerError::InvalidReplicaAssignment(_) => INVALID_REPLICA_ASSIGNMENT,
        ControllerError::InvalidConfig(_) => INVALID_CONFIG,
        ControllerError::InvalidRequest(_) => INVALID_REQUEST,
        ControllerError::PolicyViolation(_) => POLICY_VIOLATION,
        ControllerError::UnknownTopicOrPartition => UNKNOWN_TOPIC_OR_PARTITION,
        ControllerError::UnknownTopicId => UNKNOWN_TOPIC_ID,
        ControllerError::TopicDeletionDisabled => TOPIC_DELETION_DISABLED,
        ControllerError::Storage(_) => KAFKA_STORAGE_ERROR,
    }
}

impl From<&PartitionError> for ApiError {
    fn from(error: &PartitionError) -> ApiError {
        ApiError::new(partition_code(error), error.to_string())
    }
}

impl From<PartitionError> for ApiError {
    fn from(error: PartitionError) -> ApiError {
        ApiError::from(&error)
    }
}

impl From<ControllerError> for ApiError {
    fn from(error: ControllerError) -> ApiError {
        ApiError::new(controller_code(&error), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_messages_travel_together() {
        let range = PartitionError::OffsetOutOfRange { offset: 9, start: 1, end: 5 };
        let error = ApiError::from(&range);
        assert_eq!(error.code, 1);
        assert!(error.message.contains('9'));
        assert_eq!(partition_code(&PartitionError::Overloaded(3)), 7);
        assert_eq!(controller_code(&ControllerError::UnknownTopicId), 100);
        let exists = ApiError::from(ControllerError::TopicAlreadyExists("t".into()));
        assert_eq!(exists.code, 36);
        assert!(exists.message.contains("'t'"));
    }
}
