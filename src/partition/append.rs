//! Append: what a batch must satisfy, its offsets, its copy into the log, and what its
//! acknowledgement waits for. Synchronous once the log is open: appends keep the order in which they came.

use bytes::Bytes;

use super::producers::Verdict;
use super::{FlushPolicy, LogSlot, Partition, PartitionError};
use crate::config::TopicConfig;
use crate::limits;
use crate::log::{Log, Patch};
use crate::runtime::activity::{Activity, scope};
use crate::runtime::mailbox::{OneshotReceiver, OneshotSender, oneshot};
use crate::types::{Compression, Offset, TimestampType};
use crate::wire::record_batch::{self, BatchError, BatchHeader};
use crate::wire::records;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: Offset,
    /// Offset after the last record: what the acknowledgement waits for.
    pub end_offset: Offset,
    /// -1 with CreateTime.
    pub log_append_time_ms: i64,
    pub log_start_offset: Offset,
    pub record_count: i32,
    /// Of the partition, when it was appended: see `Cuts`.
    pub generation: u64,
}

/// An append that is in the log, or one that waits for the log to open.
pub enum Ticket {
    Done(Result<Appended, PartitionError>),
    Opening(OneshotReceiver<Result<Appended, PartitionError>>),
}

impl Ticket {
    pub async fn appended(self) -> Result<Appended, PartitionError> {
        match self {
            Ticket::Done(result) => result,
            Ticket::Opening(receiver) => receiver.await.unwrap_or(Err(PartitionError::Unknown)),
        }
    }
}

pub(super) struct PendingAppend {
    records: Bytes,
    acks: i16,
    now_ms: i64,
    reply: OneshotSender<Result<Appended, PartitionError>>,
}

impl Partition {
    /// Appends now, or queues behind the opening of the log (the caller sees to it that somebody
    /// calls `open`).
    pub fn begin_append(&self, records: &Bytes, acks: i16, now_ms: i64) -> Ticket {
        {
            let mut state = self.state.borrow_mut();
            if matches!(state.slot, LogSlot::Opening) || state.slot.is_to_be_opened() {
                if state.waiting_for_open.len() >= limits::APPENDS_WAITING_FOR_OPEN {
                    return Ticket::Done(Err(PartitionError::Storage(
                        "too many appends wait for the log to open".into(),
                    )));
                }
                let (reply, receiver) = oneshot();
                let records = records.clone();
                state.waiting_for_open.push_back(PendingAppend { records, acks, now_ms, reply });
                return Ticket::Opening(receiver);
            }
        }
        Ticket::Done(self.append(records, acks, now_ms))
    }

    pub(super) fn drain_waiting_for_open(&self) {
        loop {
            let Some(p) = self.state.borrow_mut().waiting_for_open.pop_front() else { return };
            let result = self.append(&p.records, p.acks, p.now_ms);
            let _ = p.reply.send(result);
        }
    }

    fn append(&self, records: &[u8], acks: i16, now_ms: i64) -> Result<Appended, PartitionError> {
        let log = self.log()?;
        if !log.is_writable() {
            return Err(self.refusal());
        }
        let batch = self.check_batch(records, acks, now_ms)?;
        let mut state = self.state.borrow_mut();
        let log_start_offset = log.log_start_offset();
        if batch.has_producer_id()
            && let Verdict::Duplicate(b) = state.producers.check(&batch)?
        {
            return Ok(Appended {
                base_offset: b.first_offset(),
                end_offset: b.last_offset + 1,
                log_append_time_ms: log_append_time(
                    &state.config.topic.timestamp_type,
                    b.timestamp_ms,
                ),
                log_start_offset,
                record_count: 0,
                generation: state.cuts.generation(),
            });
        }
        let recompressed = self.recompressed(records, &batch, &state.config.topic)?;
        let records = recompressed.as_deref().unwrap_or(records);
        let base_offset = log.log_end_offset();
        let append_time = match state.config.topic.timestamp_type {
            TimestampType::LogAppendTime => Some(now_ms),
            TimestampType::CreateTime => None,
        };
        let patch = Patch {
            base_offset,
            leader_epoch: state.leader_epoch,
            log_append_time_ms: append_time,
        };
        let rolled =
            log.append(records, patch).map_err(|e| PartitionError::Storage(e.to_string()))?;
        if let Some(base) = rolled
            && !state.producers.is_empty()
        {
            log.put_producer_snapshot(base, state.producers.to_snapshot());
        }
        let final_batch = BatchHeader {
            base_offset,
            max_timestamp: append_time.unwrap_or(batch.max_timestamp),
            ..batch
        };
        let undo = state.producers.appended(&final_batch);
        state.undo.extend(undo);
        let end_offset = final_batch.last_offset() + 1;
        if state.unflushed == 0 {
            state.unflushed_since_ms = now_ms;
        }
        state.unflushed += batch.record_count as i64;
        let sync = match state.config.flush {
            FlushPolicy::Durable => acks == -1,
            FlushPolicy::Kafka { messages, .. } => state.unflushed >= messages,
        };
        if sync {
            state.sync_from.get_or_insert(base_offset);
            state.sync_to = end_offset;
        }
        if acks != -1 {
            state.written_from.get_or_insert(base_offset);
            state.written_to = end_offset;
        }
        Ok(Appended {
            base_offset,
            end_offset,
            log_append_time_ms: append_time.unwrap_or(-1),
            log_start_offset,
            record_count: batch.record_count,
            generation: state.cuts.generation(),
        })
    }

    /// Everything that can be refused without the producers' state.
    fn check_batch(
        &self,
        data: &[u8],
        acks: i16,
        now_ms: i64,
    ) -> Result<BatchHeader, PartitionError> {
        let config = self.state.borrow().config.clone();
        let topic = &config.topic;
        if acks == -1 && topic.min_insync_replicas > 1 {
            return Err(PartitionError::NotEnoughReplicas(format!(
                "The size of the current ISR 1 is insufficient to satisfy the min.isr requirement \
                 of {} for partition {}",
                topic.min_insync_replicas, self.topic_partition
            )));
        }
        let header = BatchHeader::parse(data).map_err(refused)?;
        // Size before everything else: what is too large is not worth a CRC.
        self.check_size(header.size_bytes(), topic)?;
        // Since v3 a produce request holds exactly one batch a partition.
        if header.size_bytes() < data.len() {
            return Err(PartitionError::InvalidRecord(
                "Produce requests are only allowed to contain exactly one record batch per \
                 partition"
                    .into(),
            ));
        }
        let checked = {
            let compressed = header.compression() != Some(Compression::None);
            let _unpack = compressed.then(|| scope(Activity::Decompression));
            record_batch::validate_produced(data, topic.cleanup_compact)
        };
        let (header, keyless) = checked.map_err(refused)?;
        if header.is_control() {
            return Err(PartitionError::InvalidRecord(
                "Clients are not allowed to write control records.".into(),
            ));
        }
        if header.is_transactional() {
            return Err(PartitionError::InvalidTxnState(
                "transactions are not supported by this broker yet".into(),
            ));
        }
        if topic.timestamp_type == TimestampType::CreateTime {
            let (oldest, newest) = (header.base_timestamp, header.max_timestamp);
            if newest >= 0 && newest.saturating_sub(now_ms) > topic.timestamp_after_max_ms {
                return Err(PartitionError::InvalidTimestamp(format!(
                    "Timestamp {newest} of message is too far in the future: the broker's time is \
                     {now_ms} and message.timestamp.after.max.ms is {}",
                    topic.timestamp_after_max_ms
                )));
            }
            if oldest >= 0 && now_ms.saturating_sub(oldest) > topic.timestamp_before_max_ms {
                return Err(PartitionError::InvalidTimestamp(format!(
                    "Timestamp {oldest} of message is too old: the broker's time is {now_ms} and \
                     message.timestamp.before.max.ms is {}",
                    topic.timestamp_before_max_ms
                )));
            }
        }
        if !keyless.is_empty() {
            return Err(self.refuse_keyless(keyless));
        }
        Ok(header)
    }

    /// What is stored in place of a batch whose codec is not the topic's; `None` when it is. What was
    /// small enough as it came may not be in the topic's codec.
    fn recompressed(
        &self,
        records: &[u8],
        batch: &BatchHeader,
        topic: &TopicConfig,
    ) -> Result<Option<Vec<u8>>, PartitionError> {
        let Some(codec) = topic.compression.filter(|codec| batch.compression() != Some(*codec))
        else {
            return Ok(None);
        };
        let stored =
            records::recompress(records, codec, topic.compression_level()).map_err(refused)?;
        self.check_size(stored.len(), topic)?;
        Ok(Some(stored))
    }

    fn check_size(&self, bytes: usize, topic: &TopicConfig) -> Result<(), PartitionError> {
        if bytes > topic.max_message_bytes {
            return Err(PartitionError::MessageTooLarge(format!(
                "The record batch size in the append to {} is {bytes} bytes which exceeds the \
                 maximum configured value of {}.",
                self.topic_partition, topic.max_message_bytes
            )));
        }
        if bytes as u64 > topic.segment_bytes {
            return Err(PartitionError::RecordListTooLarge(format!(
                "a batch of {bytes} bytes does not fit a segment of {} bytes",
                topic.segment_bytes
            )));
        }
        Ok(())
    }

    /// A compacted topic is nothing without keys.
    fn refuse_keyless(&self, indexes: Vec<i32>) -> PartitionError {
        let why = format!(
            "Compacted topic cannot accept message without key in topic partition {}.",
            self.topic_partition
        );
        PartitionError::RecordsRejected {
            why: format!("{} records were rejected: {why}", indexes.len()),
            records: indexes.into_iter().map(|index| (index, why.clone())).collect(),
        }
    }

    /// Waits for what `acks` promises: the device's queue (1), or the high watermark (all).
    pub async fn committed(&self, appended: &Appended, acks: i16) -> Result<(), PartitionError> {
        loop {
            let changed = self.changed.notified();
            let log = self.log()?;
            let end_offset = appended.end_offset;
            // Before the offsets: others may have been appended in its place since.
            if self.state.borrow().cuts.took(appended.generation, end_offset) {
                return Err(self.refusal());
            }
            let reached = if acks == -1 { self.high_watermark() } else { log.written_offset() };
            if reached >= end_offset {
                return Ok(());
            }
            if log.is_offline() {
                return Err(self.refusal());
            }
            changed.await;
        }
    }

    pub fn needs_flush(&self) -> bool {
        let Ok(log) = self.log() else { return false };
        if !log.is_writable() {
            return log.is_suspect();
        }
        log.written_offset() < log.log_end_offset()
            || log.durable_offset() < self.state.borrow().sync_to
    }

    /// One write of all that is pending, and one fdatasync if somebody was promised it: the group
    /// commit. Whatever arrives meanwhile goes with the next round. A failure takes back what
    /// nobody was promised: then `is_suspect`, and `repair` is due.
    pub async fn flush(&self) {
        let Ok(log) = self.log() else { return };
        let failed = match log.is_suspect() {
            true => None,
            false => self.flush_log(&log).await.err(),
        };
        if log.is_suspect() {
            self.cut_back(&log, failed).await;
        } else {
            log.release_files_if_scarce().await;
        }
    }

    async fn flush_log(&self, log: &Log) -> Result<(), crate::log::LogError> {
        let (unflushed, at_once) = {
            let state = self.state.borrow();
            // Whoever waits for the write alone is not to wait for the sync.
            let write_awaited = state.written_to > log.written_offset();
            (state.unflushed, state.sync_to > log.durable_offset() && !write_awaited)
        };
        // Also when nothing is pending: a roll by time or a close may have it in flight, and then
        // this waits for its turn. To look at the pending bytes alone would spin until it is done.
        if log.written_offset() < log.log_end_offset() {
            match at_once {
                true => log.write_durably().await?,
                false => log.write_pending().await?,
            };
        }
        self.advance(log);
        let sync = self.state.borrow().sync_to.min(log.written_offset()) > log.durable_offset();
        if sync {
            log.sync().await?;
            self.advance(log);
        }
        if sync || at_once {
            self.state.borrow_mut().unflushed -= unflushed;
        }
        Ok(())
    }
}

fn log_append_time(kind: &TimestampType, timestamp_ms: i64) -> i64 {
    match kind {
        TimestampType::LogAppendTime => timestamp_ms,
        TimestampType::CreateTime => -1,
    }
}

fn refused(e: BatchError) -> PartitionError {
    let text = e.to_string();
    match e {
        BatchError::Truncated { .. } | BatchError::BadLength(_) | BatchError::BadCrc { .. } => {
            PartitionError::CorruptMessage(text)
        }
        // What Kafka answers to v0 and v1 messages since it dropped them (KIP-724).
        BatchError::BadMagic(_) | BatchError::Invalid(_) => PartitionError::InvalidRecord(text),
        BatchError::TooLarge { .. } => PartitionError::MessageTooLarge(text),
    }
}
