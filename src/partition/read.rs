//! Reads: epoch checks, offset ranges, and what a fetch, ListOffsets, OffsetForLeaderEpoch,
//! DeleteRecords and DescribeProducers see. Consumers see below the high watermark only.

use std::rc::Rc;

use super::{OffsetAnswer, OffsetQuery, Partition, PartitionError, ProducerInfo};
use crate::log::{FetchedRecords, LogError, ReadMeans};
use crate::types::{Offset, TopicPartition};

/// One partition of a fetch.
#[derive(Clone, Debug)]
pub struct FetchSpec {
    pub topic_partition: TopicPartition,
    pub offset: Offset,
    pub max_bytes: usize,
    /// -1: not checked.
    pub current_leader_epoch: i32,
    /// -1: the client does not know (KIP-595's divergence check is skipped).
    pub last_fetched_epoch: i32,
    /// The records go to a socket, this shard's or another's, and nobody looks into them.
    pub only_sent: bool,
}

#[derive(Clone, Default)]
pub struct FetchedPartition {
    pub error: Option<PartitionError>,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    pub log_start_offset: Offset,
    pub diverging_epoch: Option<(i32, Offset)>,
    pub records: FetchedRecords,
}

impl FetchedPartition {
    pub fn failed(error: PartitionError) -> FetchedPartition {
        FetchedPartition {
            error: Some(error),
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            ..FetchedPartition::default()
        }
    }
}

impl Partition {
    pub fn check_leader_epoch(&self, current: i32) -> Result<(), PartitionError> {
        let ours = self.leader_epoch();
        match current {
            -1 => Ok(()),
            e if e < ours => Err(PartitionError::FencedLeaderEpoch),
            e if e > ours => Err(PartitionError::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// Reads whole batches from `spec.offset`; from tail memory without waiting when it can.
    /// `means` are for what has to come from files.
    pub async fn fetch(
        &self,
        spec: &FetchSpec,
        max_bytes: usize,
        min_one: bool,
        means: &Rc<ReadMeans>,
    ) -> FetchedPartition {
        match self.try_fetch(spec, max_bytes, min_one, means).await {
            Ok(fetched) => fetched,
            Err(error) => FetchedPartition::failed(error),
        }
    }

    /// Kafka's answers: a damaged batch is CORRUPT_MESSAGE, at which a consumer gives up with the
    /// offset in its hand; what can't be read is a storage error, which it tries again.
    fn read_failed(&self, e: LogError, offset: Offset) -> PartitionError {
        let (text, error) = match e {
            LogError::OffsetOutOfRange { offset, start, end } => {
                return PartitionError::OffsetOutOfRange { offset, start, end };
            }
            LogError::Corrupt { .. } => {
                ("a segment is damaged: not served", PartitionError::CorruptMessage(e.to_string()))
            }
            _ => ("a read failed", PartitionError::Storage(e.to_string())),
        };
        // Clients ask again and again: one line for one fault.
        let words = error.to_string();
        let mut state = self.state.borrow_mut();
        if state.read_trouble.as_ref() != Some(&words) {
            tracing::error!(partition = %self.topic_partition, offset, error = words, "{text}");
            state.read_trouble = Some(words);
        }
        error
    }

    async fn try_fetch(
        &self,
        spec: &FetchSpec,
        max_bytes: usize,
        min_one: bool,
        means: &Rc<ReadMeans>,
    ) -> Result<FetchedPartition, PartitionError> {
        let log = match self.log() {
            Ok(log) => log,
            Err(_) => self.open().await?,
        };
        self.check_leader_epoch(spec.current_leader_epoch)?;
        let high_watermark = self.high_watermark();
        let log_start_offset = log.log_start_offset();
        let mut fetched = FetchedPartition {
            high_watermark,
            last_stable_offset: high_watermark,
            log_start_offset,
            ..FetchedPartition::default()
        };
        if spec.last_fetched_epoch >= 0 {
            let (epoch, end) = log.end_offset_for_epoch(spec.last_fetched_epoch);
            if end < 0 {
                return Err(PartitionError::OffsetOutOfRange {
                    offset: spec.offset,
                    start: log_start_offset,
                    end: log.log_end_offset(),
                });
            }
            if epoch < spec.last_fetched_epoch || end < spec.offset {
                fetched.diverging_epoch = Some((epoch, end));
                return Ok(fetched);
            }
        }
        if spec.offset < log_start_offset || spec.offset > log.log_end_offset() {
            return Err(PartitionError::OffsetOutOfRange {
                offset: spec.offset,
                start: log_start_offset,
                end: log.log_end_offset(),
            });
        }
        if spec.offset >= high_watermark || (max_bytes == 0 && !min_one) {
            return Ok(fetched);
        }
        let read = match log.read_tail(spec.offset, high_watermark, max_bytes, min_one) {
            Some(read) => read,
            None => {
                let (offset, end) = (spec.offset, high_watermark);
                let read = match spec.only_sent {
                    true => log.read_to_send(offset, end, max_bytes, min_one, means).await,
                    false => log.read_on(offset, end, max_bytes, min_one, means).await,
                };
                log.release_files_if_scarce().await;
                read
            }
        };
        fetched.records = read.map_err(|e| self.read_failed(e, spec.offset))?;
        Ok(fetched)
    }
}

impl Partition {
    pub async fn list_offset(&self, query: OffsetQuery) -> Result<OffsetAnswer, PartitionError> {
        let log = self.open().await?;
        let high_watermark = self.high_watermark();
        let none = OffsetAnswer { offset: -1, timestamp_ms: -1, leader_epoch: -1 };
        let at = |offset: Offset| OffsetAnswer {
            offset,
            timestamp_ms: -1,
            leader_epoch: log.leader_epoch_at(offset).unwrap_or(self.leader_epoch()),
        };
        let found = match query {
            OffsetQuery::Earliest => return Ok(at(log.log_start_offset())),
            OffsetQuery::Latest { .. } => {
                return Ok(OffsetAnswer {
                    offset: high_watermark,
                    timestamp_ms: -1,
                    leader_epoch: self.leader_epoch(),
                });
            }
            OffsetQuery::MaxTimestamp => log.max_timestamp(high_watermark).await,
            OffsetQuery::Timestamp { timestamp_ms, .. } => {
                log.offset_for_timestamp(timestamp_ms, high_watermark).await
            }
        };
        let found = found.map_err(|e| self.read_failed(e, high_watermark))?;
        Ok(found.map_or(none, |f| OffsetAnswer {
            offset: f.offset,
            timestamp_ms: f.timestamp_ms,
            leader_epoch: f.leader_epoch,
        }))
    }

    pub fn end_offset_for_epoch(&self, epoch: i32) -> Result<(i32, Offset), PartitionError> {
        let log = self.log()?;
        // The current epoch ends at the log's end, also when it has no record yet (KIP-101).
        if epoch == self.leader_epoch() {
            return Ok((epoch, log.log_end_offset()));
        }
        Ok(log.end_offset_for_epoch(epoch))
    }

    pub async fn delete_records(&self, offset: Offset) -> Result<Offset, PartitionError> {
        let log = self.open().await?;
        {
            let config = self.state.borrow().config.clone();
            if !config.topic.cleanup_delete {
                return Err(PartitionError::PolicyViolation(
                    "DeleteRecords needs cleanup.policy to contain delete".into(),
                ));
            }
        }
        let high_watermark = self.high_watermark();
        let offset = if offset == -1 { high_watermark } else { offset };
        if offset < 0 || offset > high_watermark {
            return Err(PartitionError::OffsetOutOfRange {
                offset,
                start: log.log_start_offset(),
                end: high_watermark,
            });
        }
        if offset > log.log_start_offset() {
            log.advance_log_start(offset)
                .await
                .map_err(|e| PartitionError::Storage(e.to_string()))?;
        }
        Ok(log.log_start_offset())
    }

    pub fn describe_producers(&self) -> Vec<ProducerInfo> {
        let state = self.state.borrow();
        let mut all: Vec<ProducerInfo> = state
            .producers
            .iter()
            .map(|(producer_id, e)| ProducerInfo {
                producer_id,
                epoch: e.epoch,
                last_sequence: e.last_sequence(),
                last_timestamp_ms: e.last_timestamp_ms,
                coordinator_epoch: e.coordinator_epoch,
                current_txn_start_offset: -1,
            })
            .collect();
        all.sort_by_key(|p| p.producer_id);
        all
    }

    /// 0 when the log can't be opened.
    pub async fn size_bytes(&self) -> u64 {
        self.open().await.map_or(0, |log| log.size_bytes())
    }
}
