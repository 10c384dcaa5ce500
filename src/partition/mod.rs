//! One replica's truth: role, epochs, high watermark, producers, append and read rules.
//! Owned by one shard; `Partition` is shared there as `Rc` and no borrow of its state lives across
//! an await.
//! High watermark with one replica: everything written, but never past a batch that was promised a
//! sync (acks=all) and has not had it: a reader never sees what a power cut could take back from it.
//! Not here: files (log/), who waits (shard/purgatory), Kafka's error codes (api/).

mod append;
mod compact;
mod cuts;
mod error;
mod lifecycle;
pub mod producers;
mod query;
mod read;
mod suspect;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;

pub use append::{Appended, Ticket};
pub use error::PartitionError;
pub use query::{OffsetAnswer, OffsetQuery, ProducerInfo};
pub use read::{FetchSpec, FetchedPartition};

use crate::config::TopicConfig;
use crate::log::{Log, LogConfig, LogError, OpenHints};
use crate::runtime::Notify;
use crate::types::{Offset, TopicId, TopicPartition};
use cuts::Cuts;
use lifecycle::LogSlot;
use producers::{Producers, Undo};

/// When an append is made durable before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushPolicy {
    /// Nothing configured: acks=all waits for a group-committed fdatasync, acks=1 does not.
    Durable,
    /// `flush.messages` / `flush.ms` were set: Kafka's meaning.
    Kafka { messages: i64, interval_ms: i64 },
}

/// What a partition obeys; replaced whole when the topic's configuration changes.
#[derive(Clone, Debug)]
pub struct PartitionConfig {
    pub topic: TopicConfig,
    pub flush: FlushPolicy,
}

impl PartitionConfig {
    fn log_config(&self) -> LogConfig {
        let t = &self.topic;
        // Only closed segments are compacted: the active one is closed in time (KIP-354).
        let segment_ms = match t.cleanup_compact {
            true => t.segment_ms.min(t.max_compaction_lag_ms),
            false => t.segment_ms,
        };
        LogConfig {
            segment_bytes: t.segment_bytes,
            segment_ms,
            segment_jitter_ms: t.segment_jitter_ms.min(segment_ms),
            index_interval_bytes: t.index_interval_bytes,
            segment_index_bytes: t.segment_index_bytes,
            retention_ms: t.retention_ms,
            retention_bytes: t.retention_bytes,
            cleanup_delete: t.cleanup_delete,
            file_delete_delay_ms: t.file_delete_delay_ms,
            preallocate: t.preallocate,
        }
    }
}

struct State {
    slot: LogSlot,
    config: Rc<PartitionConfig>,
    hints: OpenHints,
    leader_epoch: i32,
    producers: Producers,
    high_watermark: Offset,
    /// First offset of the oldest batch that was promised a sync and has not had it.
    sync_from: Option<Offset>,
    /// End of the newest batch that was promised a sync.
    sync_to: Offset,
    /// First offset of the oldest batch that a write acknowledges (acks=0, 1) and that is not durable
    /// yet, and the end of the newest.
    written_from: Option<Offset>,
    written_to: Offset,
    /// What takes back each idempotent batch that a failed write may still take from the log.
    undo: VecDeque<Undo>,
    cuts: Cuts,
    /// What the last attempt to open the log said: logged once.
    open_failed: Option<String>,
    /// What the last read failed with: logged once.
    read_trouble: Option<String>,
    /// Why the log can't be written at present.
    trouble: Option<LogError>,
    /// Records appended since the last sync, and when the first of them came (Kafka's flush keys).
    unflushed: i64,
    unflushed_since_ms: i64,
    /// Appends that arrived before the log was open, in order.
    waiting_for_open: VecDeque<append::PendingAppend>,
    clean: compact::CleanState,
}

pub struct Partition {
    pub topic_partition: TopicPartition,
    pub topic_id: TopicId,
    dir: PathBuf,
    state: RefCell<State>,
    /// Fires when the written offset, the high watermark or the slot changes.
    changed: Notify,
    /// Parked fetches, woken once when the high watermark moves.
    watchers: RefCell<Vec<Rc<Watcher>>>,
    /// In the shard's flush queue or being flushed.
    pub flushing: Cell<bool>,
    /// Of its unwritten bytes, those in the shard's sum.
    pub unwritten_counted: Cell<usize>,
    /// Of its tail cache, the bytes in the shard's sum; and whether it wrote since housekeeping last looked.
    pub tail_counted: Cell<usize>,
    pub tail_used: Cell<bool>,
}

/// One parked fetch: registered with every partition it waits for.
#[derive(Default)]
pub struct Watcher {
    pub notify: Notify,
    pub fired: Cell<bool>,
}

impl Partition {
    pub fn new(
        topic_partition: TopicPartition,
        topic_id: TopicId,
        dir: PathBuf,
        config: Rc<PartitionConfig>,
        hints: OpenHints,
        leader_epoch: i32,
    ) -> Rc<Partition> {
        Rc::new(Partition {
            topic_partition,
            topic_id,
            dir,
            state: RefCell::new(State {
                slot: LogSlot::Unopened,
                config,
                hints,
                leader_epoch,
                producers: Producers::default(),
                high_watermark: 0,
                sync_from: None,
                sync_to: 0,
                written_from: None,
                written_to: 0,
                undo: VecDeque::new(),
                cuts: Cuts::default(),
                open_failed: None,
                read_trouble: None,
                trouble: None,
                unflushed: 0,
                unflushed_since_ms: 0,
                waiting_for_open: VecDeque::new(),
                clean: compact::CleanState::default(),
            }),
            changed: Notify::new(),
            watchers: RefCell::new(Vec::new()),
            flushing: Cell::new(false),
            unwritten_counted: Cell::new(0),
            tail_counted: Cell::new(0),
            tail_used: Cell::new(false),
        })
    }

    pub fn set_config(&self, config: Rc<PartitionConfig>) {
        let mut state = self.state.borrow_mut();
        if let LogSlot::Open(log) = &state.slot {
            log.set_config(config.log_config());
        }
        state.config = config;
    }

    pub fn high_watermark(&self) -> Offset {
        self.state.borrow().high_watermark
    }

    pub fn leader_epoch(&self) -> i32 {
        self.state.borrow().leader_epoch
    }

    /// Recomputes the high watermark from the log's offsets and wakes who waits for it.
    fn advance(&self, log: &Log) {
        let moved = {
            let mut state = self.state.borrow_mut();
            let durable = log.durable_offset();
            if state.sync_from.is_some() {
                if durable >= state.sync_to {
                    state.sync_from = None;
                } else if let Some(from) = state.sync_from {
                    state.sync_from = Some(from.max(durable));
                }
            }
            let visible = match state.sync_from {
                Some(from) => log.written_offset().min(from.max(durable)),
                None => log.written_offset(),
            };
            let moved = visible > state.high_watermark;
            if moved {
                state.high_watermark = visible;
            }
            state.settle(durable);
            moved
        };
        self.changed.notify_waiters();
        if moved {
            self.wake_watchers();
        }
    }

    fn wake_watchers(&self) {
        for watcher in self.watchers.borrow_mut().drain(..) {
            watcher.fired.set(true);
            watcher.notify.notify_waiters();
        }
    }

    /// Registers a parked fetch. Watchers whose fetch is gone are dropped here.
    pub fn watch(&self, watcher: &Rc<Watcher>) {
        let mut watchers = self.watchers.borrow_mut();
        watchers.retain(|w| Rc::strong_count(w) > 1);
        watchers.push(watcher.clone());
    }

    /// What is due every `log.retention.check.interval.ms`: segment roll and retention, producer
    /// expiry. True: needs a flush.
    pub async fn housekeeping(&self, now_ms: i64, producer_expiration_ms: i64) -> bool {
        let Ok(log) = self.log() else { return false };
        let high_watermark = {
            let mut state = self.state.borrow_mut();
            state.producers.expire(now_ms, producer_expiration_ms);
            state.high_watermark
        };
        match log.enforce_retention(now_ms, high_watermark).await {
            Ok(0) => {}
            Ok(dropped) => tracing::info!(partition = %self.topic_partition, dropped,
                log_start_offset = log.log_start_offset(), "retention dropped segments"),
            Err(e) if log.is_suspect() => {
                self.state.borrow_mut().trouble.get_or_insert(e);
            }
            Err(e) => tracing::error!(partition = %self.topic_partition, error = %e,
                "retention failed"),
        }
        if log.is_suspect() {
            return true;
        }
        log.release_files_if_scarce().await;
        false
    }

    /// flush.ms of Kafka's flushes: what was written longer ago is to be flushed. True: needs a flush.
    pub fn flush_if_aged(&self, now_ms: i64) -> bool {
        let Ok(log) = self.log() else { return false };
        let mut state = self.state.borrow_mut();
        if let FlushPolicy::Kafka { interval_ms, .. } = state.config.flush
            && state.unflushed > 0
            && now_ms.saturating_sub(state.unflushed_since_ms) >= interval_ms
        {
            state.sync_to = log.log_end_offset();
            return true;
        }
        false
    }

    /// (recovery point, log start offset) for the checkpoints. An open log writes its indexes and
    /// epochs first: below the recovery point the next start trusts those files.
    pub async fn checkpoint(&self) -> (Offset, Offset) {
        let Ok(log) = self.log() else { return self.last_checkpoint() };
        if log.is_suspect() || log.is_offline() {
            return self.last_checkpoint();
        }
        let hinted = self.state.borrow().hints.recovery_point;
        if log.durable_offset() > hinted {
            match log.checkpoint().await {
                Ok(point) => self.state.borrow_mut().hints.recovery_point = point,
                // A closed log has written them all.
                Err(LogError::Failed(_)) if log.durable_offset() == log.log_end_offset() => {
                    self.state.borrow_mut().hints.recovery_point = log.durable_offset();
                }
                // Every partition meets a full disk, at every checkpoint: the broker says it once.
                Err(e) if e.is_full() => tracing::debug!(partition = %self.topic_partition,
                    error = %e, "no checkpoint"),
                Err(e) => tracing::warn!(partition = %self.topic_partition, error = %e,
                    "no checkpoint: a recovery would read more"),
            }
        }
        self.last_checkpoint()
    }

    /// As `checkpoint`, with the recovery point of the last one: nothing is written.
    pub fn last_checkpoint(&self) -> (Offset, Offset) {
        let hints = self.state.borrow().hints;
        let start = self.log().map_or(hints.log_start_offset, |log| log.log_start_offset());
        (hints.recovery_point, start)
    }

    /// Bytes appended and not yet given to the device.
    pub fn unwritten_bytes(&self) -> usize {
        self.log().map_or(0, |l| l.unwritten_bytes())
    }

    pub fn forget_ahead(&self) {
        if let Ok(log) = self.log() {
            log.forget_ahead();
        }
    }
}
