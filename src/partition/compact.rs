//! Compaction of one partition: how dirty its log is, one cleaning run, and how far it is clean.
//! Not here: how batches are cleaned (log/compaction), which partition is next (shard/cleaner).

use super::{LogSlot, Partition};
use crate::config::CleanerConfig;
use crate::log::{CleanRun, CleanWhen, Cleaned, Dirt, Log, LogError, Pace};
use crate::types::Offset;

/// A log whose disk failed under a run is left alone for this long.
const RETRY_MS: i64 = 60_000;

/// What the cleaner remembers of a partition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CleanState {
    /// What is below was cleaned; `None`: never. For cleaner-offset-checkpoint.
    pub end: Option<Offset>,
    /// No run before this time: i64::MAX when the log is damaged.
    retry_at_ms: i64,
}

impl Partition {
    /// From the checkpoint, before the log is opened.
    pub fn set_cleaned_to(&self, offset: Option<Offset>) {
        self.state.borrow_mut().clean.end = offset;
    }

    pub fn cleaned_to(&self) -> Option<Offset> {
        self.state.borrow().clean.end
    }

    pub fn is_compacted(&self) -> bool {
        self.state.borrow().config.topic.cleanup_compact
    }

    /// `None`: not to be cleaned, or nothing there to clean.
    pub async fn dirt(&self, now_ms: i64) -> Option<Dirt> {
        let (log, when) = {
            let state = self.state.borrow();
            let LogSlot::Open(log) = &state.slot else { return None };
            let topic = &state.config.topic;
            if !topic.cleanup_compact || !log.is_writable() || now_ms < state.clean.retry_at_ms {
                return None;
            }
            let when = CleanWhen {
                now_ms,
                cleaned_to: state.clean.end,
                high_watermark: state.high_watermark,
                min_compaction_lag_ms: topic.min_compaction_lag_ms,
                max_compaction_lag_ms: topic.max_compaction_lag_ms,
                min_cleanable_ratio: topic.min_cleanable_ratio,
            };
            (log.clone(), when)
        };
        // An idle log too is closed in time for max.compaction.lag.ms.
        let dirt = match log.roll_if_due(now_ms).await {
            Ok(()) => log.dirt(&when).await,
            Err(e) => Err(e),
        };
        match dirt {
            Ok(dirt) => dirt,
            Err(e) => {
                self.cleaning_failed(&log, now_ms, e);
                None
            }
        }
    }

    /// One run. `None`: nothing came of it, for now.
    pub async fn clean(
        &self,
        dirt: &Dirt,
        now_ms: i64,
        config: &CleanerConfig,
        pace: &Pace,
        stopping: &dyn Fn() -> bool,
    ) -> Option<Cleaned> {
        let (log, delete_retention_ms) = {
            let state = self.state.borrow();
            let LogSlot::Open(log) = &state.slot else { return None };
            (log.clone(), state.config.topic.delete_retention_ms)
        };
        let cleaned = log
            .clean(&CleanRun {
                first_dirty: dirt.first_dirty,
                upper: dirt.upper,
                now_ms,
                delete_retention_ms,
                map_bytes: config.dedupe_buffer_bytes,
                map_load_factor: config.load_factor,
                io_bytes: config.io_buffer_bytes,
                pace,
                must_stop: &|| stopping() || !self.is_compacted(),
                last_of_producer: &|id| self.state.borrow().producers.last_record(id),
            })
            .await;
        match cleaned {
            Ok(cleaned) => {
                let cleaned = cleaned?;
                self.state.borrow_mut().clean.end = Some(cleaned.end);
                tracing::info!(partition = %self.topic_partition, from = dirt.first_dirty,
                    to = cleaned.end, bytes_before = cleaned.bytes_before,
                    bytes_after = cleaned.bytes_after, "compacted");
                Some(cleaned)
            }
            Err(e) => {
                self.cleaning_failed(&log, now_ms, e);
                None
            }
        }
    }

    fn cleaning_failed(&self, log: &Log, now_ms: i64, e: LogError) {
        let mut state = self.state.borrow_mut();
        state.clean.retry_at_ms = now_ms.saturating_add(RETRY_MS);
        if log.is_half_swapped() {
            tracing::error!(partition = %self.topic_partition, error = %e,
                "compaction could not finish the swap of a segment: reads go on, produces are \
                 refused until it is finished, which is tried until the disk works");
            // The flusher takes back what waits for its write, and repairs.
            state.trouble = Some(e);
        } else if let LogError::Corrupt { .. } = e {
            state.clean.retry_at_ms = i64::MAX;
            tracing::error!(partition = %self.topic_partition, error = %e,
                "a segment is damaged: the partition is not compacted until the broker restarts");
        } else {
            tracing::error!(partition = %self.topic_partition, error = %e,
                "compaction failed: the next attempt is in a minute");
        }
    }
}
