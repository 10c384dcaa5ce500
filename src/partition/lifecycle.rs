//! A partition's log from its opening to its close or deletion: the slot that holds it.
//! The log opens at the first use (`open`), so 100,000 partitions start at no cost; whoever comes
//! while it opens waits for it. Invariants: one task opens a log at a time; a compaction run is over
//! before the log closes or goes. Not here: what recovery does with the files (log/recovery).

use std::time::Duration;

use super::producers::Producers;
use super::{Partition, PartitionError};
use crate::log::{Log, LogConfig, LogError, OpenHints};
use crate::runtime::{self, Instant};

/// A log that could not be opened is tried again after this, when somebody asks for it.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

pub(super) enum LogSlot {
    Unopened,
    /// One task is opening it; others wait for `changed`.
    Opening,
    Open(Log),
    /// Opened anew when somebody asks and the time has come; never, without one.
    Failed {
        why: String,
        retry_at: Option<Instant>,
    },
    Deleted,
}

impl LogSlot {
    pub(super) fn is_to_be_opened(&self) -> bool {
        match self {
            LogSlot::Unopened => true,
            LogSlot::Failed { retry_at: Some(at), .. } => runtime::now() >= *at,
            _ => false,
        }
    }
}

impl Partition {
    /// The open log, or why there is none.
    pub(super) fn log(&self) -> Result<Log, PartitionError> {
        match &self.state.borrow().slot {
            LogSlot::Open(log) => Ok(log.clone()),
            LogSlot::Failed { why, .. } => Err(PartitionError::Storage(why.clone())),
            LogSlot::Deleted => Err(PartitionError::Unknown),
            LogSlot::Unopened | LogSlot::Opening => {
                Err(PartitionError::Storage(format!("{} is not open yet", self.topic_partition)))
            }
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state.borrow().slot, LogSlot::Open(_))
    }

    /// Opens the log if nobody has; otherwise waits for whoever is opening it.
    pub async fn open(&self) -> Result<Log, PartitionError> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state.borrow_mut();
                if state.slot.is_to_be_opened() {
                    state.slot = LogSlot::Opening;
                    break;
                }
                if !matches!(state.slot, LogSlot::Opening) {
                    drop(state);
                    return self.log();
                }
            }
            changed.await;
        }
        let (config, hints) = {
            let state = self.state.borrow();
            (state.config.log_config(), state.hints)
        };
        let opened = self.open_log(config, hints).await;
        self.opened(opened);
        self.log()
    }

    async fn open_log(
        &self,
        config: LogConfig,
        hints: OpenHints,
    ) -> Result<(Log, Producers), LogError> {
        let log = Log::open(self.dir.clone(), config, hints).await?;
        log.name_topic(&self.topic_id).await?;
        let mut producers = Producers::default();
        let mut from = log.log_start_offset();
        if let Some((offset, bytes)) = log.latest_producer_snapshot().await? {
            match Producers::from_snapshot(&bytes) {
                Ok(p) => {
                    producers = p;
                    from = offset;
                }
                Err(why) => tracing::warn!(
                    partition = %self.topic_partition, offset, why,
                    "producer snapshot ignored: producers are rebuilt from the log"
                ),
            }
        }
        if from < log.log_end_offset() {
            let replayed = log
                .replay_headers(from, &mut |batch| {
                    if batch.base_offset >= from {
                        producers.appended(batch);
                    }
                })
                .await;
            match replayed {
                // One bad batch does not take the others away: reads look at each by its CRC.
                Err(e @ LogError::Corrupt { .. }) => tracing::error!(
                    partition = %self.topic_partition, error = %e,
                    "a segment is damaged: what idempotent producers wrote after it is not known"
                ),
                other => other?,
            }
        }
        log.release_files_if_scarce().await;
        Ok((log, producers))
    }

    fn opened(&self, opened: Result<(Log, Producers), LogError>) {
        {
            let mut state = self.state.borrow_mut();
            if matches!(state.slot, LogSlot::Deleted) {
                return;
            }
            match opened {
                Ok((log, producers)) => {
                    log.assign_leader_epoch(state.leader_epoch);
                    // A log that was cut below what was cleaned: what comes there next is not clean.
                    state.clean.end = state.clean.end.filter(|end| *end <= log.log_end_offset());
                    state.high_watermark = log.log_end_offset();
                    state.sync_to = log.log_end_offset();
                    state.producers = producers;
                    log.set_config(state.config.log_config());
                    state.open_failed = None;
                    state.slot = LogSlot::Open(log);
                }
                Err(e) => {
                    let why = e.to_string();
                    // A disk may come back; damaged files stay so.
                    let again = matches!(e, LogError::Io { .. });
                    if state.open_failed.as_ref() != Some(&why) {
                        let until = if again { "a later try succeeds" } else { "a restart" };
                        tracing::error!(partition = %self.topic_partition, error = why,
                            "the log can't be opened: the partition is offline until {until}");
                    }
                    state.open_failed = Some(why.clone());
                    let retry_at = again.then(|| runtime::now() + REOPEN_AFTER);
                    state.slot = LogSlot::Failed { why, retry_at };
                }
            }
        }
        self.drain_waiting_for_open();
        self.changed.notify_waiters();
    }

    async fn opening_ended(&self) {
        while matches!(self.state.borrow().slot, LogSlot::Opening) {
            let changed = self.changed.notified();
            if matches!(self.state.borrow().slot, LogSlot::Opening) {
                changed.await;
            }
        }
    }

    /// Clean stop: producer snapshot, everything synced, files trimmed. Ok(false): nothing was open.
    pub async fn close(&self) -> Result<bool, PartitionError> {
        // At once when nothing is to be recovered; a stop does not wait for a recovery, which comes again.
        if self.state.borrow().hints.clean {
            self.opening_ended().await;
        }
        let log = match &self.state.borrow().slot {
            LogSlot::Open(log) => log.clone(),
            LogSlot::Failed { why, .. } => return Err(PartitionError::Storage(why.clone())),
            // Never opened: its files are as an earlier stop left them.
            LogSlot::Unopened => return Ok(false),
            LogSlot::Opening => {
                return Err(PartitionError::Storage("stopped while the log was opening".into()));
            }
            LogSlot::Deleted => return Ok(false),
        };
        let snapshot = {
            let state = self.state.borrow();
            (!state.producers.is_empty()).then(|| state.producers.to_snapshot())
        };
        if let Some(bytes) = snapshot {
            log.put_producer_snapshot(log.log_end_offset(), bytes);
        }
        log.stop_cleaning().await;
        // As a flush, so that what it covers is acknowledged; the close then finds nothing to write.
        self.flush().await;
        if log.is_suspect() {
            self.repair().await?;
        }
        log.close().await.map_err(|e| PartitionError::Storage(e.to_string()))?;
        Ok(true)
    }

    /// The topic was deleted: waiters get `Unknown`, the directory is renamed at once and removed.
    pub async fn delete(&self) -> Result<(), LogError> {
        // Whoever is opening it must finish first, or it would create files under our feet.
        self.opening_ended().await;
        // It must not make files where a topic of the same name may soon be.
        if let Ok(log) = self.log() {
            log.stop_cleaning().await;
        }
        let (slot, config) = {
            let mut state = self.state.borrow_mut();
            let slot = std::mem::replace(&mut state.slot, LogSlot::Deleted);
            (slot, state.config.log_config())
        };
        self.drain_waiting_for_open();
        self.changed.notify_waiters();
        self.wake_watchers();
        let log = match slot {
            LogSlot::Open(log) => log,
            // Trusting the files is right here: they are about to go.
            _ => {
                let hints = OpenHints { clean: true, recovery_point: 0, log_start_offset: 0 };
                Log::open(self.dir.clone(), config, hints).await?
            }
        };
        log.delete().await
    }
}
