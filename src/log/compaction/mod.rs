//! Compaction (cleanup.policy=compact): a cleaning run over the closed segments of one log, as
//! Kafka's LogCleaner does it. First the keys of the dirty part go into an offset map, as far as it
//! has room; then every segment from the start up to there is rewritten, some into one, without the
//! records that the map knows a newer one for; then the new files take the place of the old ones.
//! Owned by the log's shard; runs beside appends and reads and holds the log's turn only while files
//! change names. Invariants: offsets and order never change; the active segment is not touched; a
//! crash at any point leaves the old segments or the new one. Not here: when a log is cleaned
//! (shard/cleaner), which producers are active (partition/).

mod files;
mod filter;
mod group;
mod keys;
mod offset_map;
mod pace;
mod plan;
mod swap;
mod swap_recovery;
#[cfg(test)]
mod tests;
mod transactions;

use std::cell::Cell;
use std::path::Path;

pub use pace::Pace;
pub use plan::{CleanWhen, Dirt};
pub(super) use swap::HalfSwap;
pub(super) use swap_recovery::settle_swaps;

use super::appender::Turn;
use super::segment::{FileKind, SharedSegment};
use super::{Health, Log, LogError, Result};
use crate::types::Offset;
use files::remove_cleaned;
use filter::Rules;
use pace::Stopped;
use transactions::Transactions;

/// One run at a time, and whoever wants the log to go away ends it.
#[derive(Default)]
pub(super) struct Cleaning {
    turn: Turn,
    stop: Cell<bool>,
}

/// What is known of an active producer, as the broker would tell it after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRecord {
    /// `None`: only a marker is left of it.
    pub data_offset: Option<Offset>,
    pub epoch: i16,
}

/// What a run needs to know beside the log.
pub struct CleanRun<'a> {
    pub first_dirty: Offset,
    pub upper: Offset,
    pub now_ms: i64,
    pub delete_retention_ms: i64,
    /// Of the offset map: log.cleaner.dedupe.buffer.size, log.cleaner.io.buffer.load.factor.
    pub map_bytes: usize,
    pub map_load_factor: f64,
    /// Of one buffer; there are two.
    pub io_bytes: usize,
    pub pace: &'a Pace,
    /// The run ends soon after this says so.
    pub must_stop: &'a dyn Fn() -> bool,
    pub last_of_producer: &'a dyn Fn(i64) -> Option<LastRecord>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// What is below is clean: the offset for cleaner-offset-checkpoint.
    pub end: Offset,
    pub bytes_read: u64,
    /// Of the segments before and after.
    pub bytes_before: u64,
    pub bytes_after: u64,
}

enum Ended {
    Stopped,
    Failed(LogError),
}

impl From<LogError> for Ended {
    fn from(e: LogError) -> Ended {
        Ended::Failed(e)
    }
}

impl From<Stopped> for Ended {
    fn from(_: Stopped) -> Ended {
        Ended::Stopped
    }
}

impl Log {
    /// One run. `Ok(None)`: nothing was to be done, or it was told to stop; what it had already
    /// replaced stays so, and the next run does the rest.
    pub async fn clean(&self, run: &CleanRun<'_>) -> Result<Option<Cleaned>> {
        let _turn = self.inner.cleaning.turn.take().await;
        match self.clean_segments(run).await {
            Ok(cleaned) => Ok(cleaned),
            // A segment went meanwhile (retention, DeleteRecords): the next run sees what is left.
            Err(Ended::Stopped | Ended::Failed(LogError::Replaced(_))) => Ok(None),
            // What ended the log ended the run; but it may be a swap that did.
            Err(Ended::Failed(_)) if self.cleaning_must_stop(run) && !self.is_half_swapped() => {
                Ok(None)
            }
            Err(Ended::Failed(e)) => Err(e),
        }
    }

    /// Ends the run that is going on, if any, and lets none begin: the log is about to close.
    pub async fn stop_cleaning(&self) {
        self.inner.cleaning.stop.set(true);
        let _turn = self.inner.cleaning.turn.take().await;
    }

    fn cleaning_must_stop(&self, run: &CleanRun<'_>) -> bool {
        self.inner.cleaning.stop.get()
            || self.inner.state.borrow().health != Health::Open
            || (run.must_stop)()
    }

    async fn clean_segments(
        &self,
        run: &CleanRun<'_>,
    ) -> std::result::Result<Option<Cleaned>, Ended> {
        run.pace.moved(0, &|| self.cleaning_must_stop(run)).await?;
        let mut cleaned = Cleaned::default();
        let Some((map, upper)) = self.map_keys(run, &mut cleaned).await? else { return Ok(None) };
        cleaned.end = map.latest() + 1;
        let rules = Rules {
            map: &map,
            upper,
            now_ms: run.now_ms,
            delete_retention_ms: run.delete_retention_ms,
            last_of_producer: run.last_of_producer,
        };
        let (all, interval, limits) = {
            let state = self.inner.state.borrow();
            let all: Vec<SharedSegment> =
                state.segments.iter().filter(|s| s.base < cleaned.end).cloned().collect();
            let config = &state.config;
            let index_bytes = u64::from(config.segment_index_bytes);
            (all, config.index_interval_bytes, [config.segment_bytes, index_bytes, index_bytes])
        };
        let mut sizes = Vec::with_capacity(all.len());
        for segment in &all {
            let dir = &self.inner.dir;
            let (offsets, times) = segment.with_index(dir, interval, |i| i.file_bytes()).await?;
            sizes.push([segment.size.get(), offsets, times]);
        }
        let mut transactions = Transactions::default();
        let mut at = 0;
        while at < all.len() {
            let len = plan::group_len(&all[at..], &sizes[at..], limits, upper);
            let group = &all[at..at + len];
            let done = self.clean_group(run, group, &rules, &mut transactions, &mut cleaned).await;
            if done.is_err() {
                remove_cleaned(&self.inner.dir, group[0].base).await;
            }
            done?;
            at += len;
        }
        Ok(Some(cleaned))
    }
}

fn corrupt(dir: &Path, segment: &SharedSegment, position: u64, why: impl ToString) -> LogError {
    let path = segment.path(dir, FileKind::Log);
    LogError::Corrupt { path, position, why: why.to_string() }
}
