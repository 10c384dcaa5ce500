//! Every bound of a queue, loop or buffer, with the reason for its number. Imports no room.

/// Messages waiting in one shard's mailbox. A message is small (bytes are shared); beyond this the
/// sender refuses and its client retries, which is kinder than unbounded memory.
pub const MAILBOX_MESSAGES: usize = 16 * 1024;

/// Produce requests of one connection that wait for their acknowledgement. librdkafka allows
/// 1,000,000 in flight; the socket holds what does not fit here.
pub const CONNECTION_PENDING_ACKS: usize = 512;

/// Smallest frame: key, version, correlation id.
pub const FRAME_BYTES_MIN: usize = 8;

/// Requests one connection may serve before it lets others run (glommio rule 2).
pub const CONNECTION_TURN_REQUESTS: usize = 16;

/// Decompressed bytes of one batch that the broker is willing to look at.
pub const DECOMPRESSED_BATCH_BYTES: usize = 128 * 1024 * 1024;

/// Partitions of one admin or ListOffsets request asked of their owners at once: enough to keep every
/// shard busy, far below what a mailbox holds.
pub const REQUEST_PARTITIONS_IN_FLIGHT: usize = 64;

/// Partitions in one DescribeTopicPartitions answer (Kafka's max.request.partition.size.limit).
pub const DESCRIBE_PARTITIONS_MAX: usize = 2000;
