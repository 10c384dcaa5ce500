//! Every bound of a queue, loop or buffer, with the reason for its number. Imports no room.

/// Messages waiting in one shard's mailbox. A message is small (bytes are shared); beyond this the
/// sender refuses and its client retries, which is kinder than unbounded memory.
pub const MAILBOX_MESSAGES: usize = 16 * 1024;

/// Produce requests of one connection that wait for their acknowledgement. librdkafka allows
/// 1,000,000 in flight; the socket holds what does not fit here.
pub const CONNECTION_PENDING_ACKS: usize = 512;

/// Request bytes of those: some tens of milliseconds of a fast disk. One request may be larger.
pub const CONNECTION_PENDING_BYTES: usize = 16 * 1024 * 1024;

/// Requests up to this size are read whatever the memory: heartbeats and consumers go on when
/// producers have to wait. A connection takes one at a time then.
pub const REQUEST_BYTES_UNADMITTED: usize = 4 * 1024;

/// Answers that may be under way at full size, of a shard's memory for answers: a fetch is not read
/// larger than this share of it.
pub const ANSWERS_AT_FULL_SIZE: usize = 4;

/// A fetch gets as much however little memory is left (and always one whole batch).
pub const ANSWER_BYTES_MIN: usize = 64 * 1024;

/// Smallest frame: key, version, correlation id.
pub const FRAME_BYTES_MIN: usize = 8;

/// Requests one connection may serve before it lets others run (glommio rule 2).
pub const CONNECTION_TURN_REQUESTS: usize = 16;
/// Small answers to requests that came together, gathered into one write: many heartbeats' answers, and no more
/// memory than a few pages for a connection.
pub const CONNECTION_HELD_REPLY_BYTES: usize = 16 * 1024;

/// Decompressed bytes of one batch that the broker is willing to look at: 64 times the largest batch
/// that it takes by default, and a shard looks at one at a time. Larger batches may be this times their size.
pub const DECOMPRESSED_BATCH_BYTES: usize = 64 * 1024 * 1024;
pub const DECOMPRESSED_RATIO: usize = 32;

/// Appends that one partition queues while its log opens (recovery after a kill can take a while).
pub const APPENDS_WAITING_FOR_OPEN: usize = 10_000;

/// Logs one shard opens at a time after a start: enough to keep a disk busy with recovery reads.
pub const CONCURRENT_LOG_OPENS: usize = 16;

/// Logs one shard closes or deletes at a time: each holds a file and its index bytes meanwhile.
pub const CONCURRENT_LOG_CLOSES: usize = 64;

/// Producer ids a shard takes from the controller at once; Kafka's block size (KIP-730).
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// What an idle connection's buffer asks for: one small request.
pub const READ_BUFFER_BYTES_MIN: usize = 1024;

/// The most one read of a connection asks for: enough to amortise the system call, small enough
/// that a slow frame does not hold megabytes of untouched memory.
pub const READ_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// Slices of one gather write: the kernel's UIO_MAXIOV.
pub const GATHER_SLICES: usize = 1024;
/// Partitions of one admin or ListOffsets request asked of their owners at once: enough to keep every
/// shard busy, far below what a mailbox holds.
pub const REQUEST_PARTITIONS_IN_FLIGHT: usize = 64;

/// Partitions in one DescribeTopicPartitions answer (Kafka's max.request.partition.size.limit).
pub const DESCRIBE_PARTITIONS_MAX: usize = 2000;

/// Partitions one command to the controller may create: Kafka's bound on one request, so that one
/// record batch and one image stay small.
pub const COMMAND_PARTITIONS: usize = 10_000;

/// Longest topic name: with the partition's number it must fit a file name of 255 bytes.
pub const TOPIC_NAME_BYTES: usize = 249;

/// Records that one change of client quotas may come to (Kafka's bound).
pub const COMMAND_RECORDS: usize = 10_000;

/// Commands made durable by one sync of the metadata log: the rest waits for the next.
pub const CONTROLLER_GROUP_COMMANDS: usize = 256;

/// Records of groups and offsets in one batch: well below the largest batch that a topic takes by default. The
/// records of one step stay together, whatever their size.
pub const GROUP_BATCH_BYTES: usize = 256 * 1024;

/// Events of groups that wait to be written: a rebalance of a thousand members, on every shard.
pub const GROUP_EVENTS_QUEUED: usize = 4096;

/// Of those, written in one batch.
pub const GROUP_EVENTS_IN_BATCH: usize = 256;

/// Metadata bytes read at once when the log is replayed.
pub const METADATA_READ_BYTES: usize = 4 * 1024 * 1024;

/// Failed writes of one partition whose appends are told apart from later ones: a request that waits
/// through more of them is answered with an error, whatever became of it.
pub const CUTS_REMEMBERED: usize = 256;

/// Readers of one closed segment whose place is remembered: more look theirs up in the index.
pub const READ_STOPS_REMEMBERED: usize = 32;

/// Checked parts of one segment in the page cache: the oldest is read (and checked) again.
pub const READ_RANGES_REMEMBERED: usize = 32;

/// Rounds in which the uniform assignor looks for partitions to move between members with different
/// subscriptions; Kafka's bound. Two or three are enough in all but contrived groups.
pub const ASSIGNOR_BALANCE_ROUNDS: usize = 16;

/// Files that one shard makes room in ahead of the writes, at a time: each holds a disk for a
/// millisecond, and what gets no turn asks again with its next write.
pub const PREPARATIONS_AT_ONCE: usize = 4;

/// Room with zeros in it that one log is ahead of its writes at most: a log of small writes takes
/// long to fill it, and what is not used when the broker is killed was written for nothing.
pub const ZERO_AHEAD_BYTES: u64 = 1024 * 1024;

/// Compiled bytes of one regular expression that members subscribe with: RE2's own budget for a program.
pub const GROUP_REGEX_PROGRAM_BYTES: usize = 1 << 20;

/// Names of topics that one step matches expressions against, in bytes, for a program of up to
/// `GROUP_REGEX_SMALL_BYTES`; the larger the program, the fewer. A byte mostly costs some nanoseconds; but for
/// `[ab]*a[ab]{100}` it took 4 us (every state of the program is looked at), a second for a thousand names of 249 bytes:
/// this much then takes some 10 ms.
pub const GROUP_REGEX_NAME_BYTES_AT_ONCE: usize = 8 * 1024;

/// See `GROUP_REGEX_NAME_BYTES_AT_ONCE`.
pub const GROUP_REGEX_SMALL_BYTES: usize = 4 * 1024;

/// Groups within groups of one; each is a call deep while it is compiled.
pub const GROUP_REGEX_NESTING: u32 = 100;

/// Regular expressions that one coordinator keeps compiled: the least used is compiled again when its turn comes.
pub const GROUP_REGEXES_COMPILED: usize = 64;

/// A group's regular expressions are matched against new topics no more often than this (Kafka's bound).
pub const GROUP_REGEX_REFRESH_MS_MIN: i64 = 10_000;

/// Member ids of one classic group that were given out and have not joined (KIP-394): each goes after its session
/// timeout. Ten times the largest groups that are known.
pub const GROUP_PENDING_MEMBERS: usize = 10_000;

/// Tombstones of offsets in one batch: some 100 KiB, far below what a batch may be.
pub const GROUP_TOMBSTONES_IN_BATCH: usize = 1000;

/// Offsets that one step of the retention round looks at: some milliseconds.
pub const GROUP_OFFSETS_EXPIRED_AT_ONCE: usize = 10_000;

/// Groups, and offsets of them, that one step searches for those of a deleted topic: about a millisecond.
pub const GROUPS_SEARCHED_AT_ONCE: usize = 2000;

/// Bytes of catch-up reads that one shard has in flight at its device: one large read. That is enough for the
/// rate of the devices measured, and a write waits behind no more (0.2 ms at 2 GB/s; four times as much: 1.2 ms).
pub const CATCH_UP_BYTES_IN_FLIGHT: usize = 1024 * 1024;

/// The same while there are writes: of each catch-up read so much is at the device at a time. Half of it took a third of
/// the rate of a replay and gave writes no more.
pub const CATCH_UP_STEP_BYTES: usize = 256 * 1024;

/// Reads of one segment that were read ahead and are kept: for some readers at different places.
pub const READS_AHEAD: usize = 8;
