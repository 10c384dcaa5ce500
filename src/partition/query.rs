//! What ListOffsets and DescribeProducers ask of a partition, and its answers. Plain, Send values.

use crate::types::Offset;

/// What ListOffsets asks of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetQuery {
    Earliest,
    /// High watermark, or last stable offset with read_committed.
    Latest {
        read_committed: bool,
    },
    Timestamp {
        timestamp_ms: i64,
        read_committed: bool,
    },
    MaxTimestamp,
}

/// offset -1 and timestamp -1 when nothing matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAnswer {
    pub offset: Offset,
    pub timestamp_ms: i64,
    pub leader_epoch: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerInfo {
    pub producer_id: i64,
    pub epoch: i16,
    pub last_sequence: i32,
    pub last_timestamp_ms: i64,
    pub coordinator_epoch: i32,
    /// -1 when no transaction is open.
    pub current_txn_start_offset: Offset,
}

impl super::Partition {
    pub fn tail_memory_bytes(&self) -> usize {
        self.log().map_or(0, |l| l.tail_memory_bytes())
    }

    /// The largest batch that an append takes now.
    pub fn batch_bytes_max(&self) -> usize {
        let state = self.state.borrow();
        let topic = &state.config.topic;
        let segment = usize::try_from(topic.segment_bytes).unwrap_or(usize::MAX);
        topic.max_message_bytes.min(segment)
    }

    /// As `shrink_tail`, but for the last buffer, whose end may be the start of the next write.
    pub fn trim_tail(&self, keep_bytes: usize) {
        if let Ok(log) = self.log() {
            log.trim_tail(keep_bytes);
        }
    }

    pub fn shrink_tail(&self, keep_bytes: usize) {
        if let Ok(log) = self.log() {
            log.shrink_tail(keep_bytes);
        }
    }
}
