//! What a partition does when its log failed to write: it takes back what nobody was promised (in
//! the producers' state too), refuses appends in words a client can use, and repairs the log.
//! What stays: all that was acknowledged or shown to a consumer. If that is only what is durable,
//! the log is cut there; else to what was written. So what is answered with an error is gone, and the
//! same batch sent again is neither a duplicate nor out of order.
//! Not here: the files (log/repair), when to try again and what is logged (shard/flusher).

use super::{LogSlot, Partition, PartitionError, State};
use crate::log::{Log, LogError};
use crate::types::Offset;

impl State {
    /// Where a cut would be: the durable offset, unless more is owed to somebody.
    pub(super) fn owed(&self, written: Offset, durable: Offset) -> Offset {
        let acknowledged = self.written_from.is_some_and(|from| from < written);
        if acknowledged || self.high_watermark > durable { written } else { durable }
    }

    /// Forgets how to take back what will not be.
    pub(super) fn settle(&mut self, durable: Offset) {
        if self.written_from.is_some() {
            self.written_from = (durable < self.written_to)
                .then_some(self.written_from.map_or(durable, |from| from.max(durable)));
        }
        let stays = self.high_watermark.max(durable);
        while self.undo.front().is_some_and(|undo| undo.base_offset < stays) {
            self.undo.pop_front();
        }
    }

    fn cut(&mut self, to: Offset) {
        while self.undo.back().is_some_and(|undo| undo.base_offset >= to) {
            if let Some(undo) = self.undo.pop_back() {
                self.producers.take_back(undo);
            }
        }
        self.sync_to = self.sync_to.min(to);
        self.sync_from = self.sync_from.filter(|from| *from < to);
        self.written_to = self.written_to.min(to);
        self.written_from = self.written_from.filter(|from| *from < to);
        self.cuts.cut(to);
    }
}

impl Partition {
    /// A write or sync failed (`None`: not one of this flush). No append is taken until `repair`.
    pub(super) async fn cut_back(&self, log: &Log, failed: Option<LogError>) {
        let choose = |written, durable| self.state.borrow().owed(written, durable);
        // An error means that it was closed or deleted meanwhile, and then who waits is told so.
        if let Ok(Some(to)) = log.cut_back(choose).await {
            let mut state = self.state.borrow_mut();
            state.cut(to);
            if let Some(e) = failed.filter(|e| !matches!(e, LogError::Suspect(_))) {
                state.trouble = Some(e);
            }
        }
        self.changed.notify_waiters();
    }

    /// Appends are refused until `repair` succeeds.
    pub fn is_suspect(&self) -> bool {
        self.log().is_ok_and(|log| log.is_suspect())
    }

    pub fn is_offline(&self) -> bool {
        self.log().is_ok_and(|log| log.is_offline())
    }

    /// What the last write or repair failed with: (in words, whether the disk is full).
    pub fn trouble(&self) -> Option<(String, bool)> {
        self.state.borrow().trouble.as_ref().map(|e| (e.to_string(), e.is_full()))
    }

    /// One attempt to make the log writable again.
    pub async fn repair(&self) -> Result<(), PartitionError> {
        let log = self.log()?;
        match log.repair().await {
            Ok(()) => {
                {
                    let mut state = self.state.borrow_mut();
                    state.trouble = None;
                    state.unflushed = 0;
                }
                self.advance(&log);
                Ok(())
            }
            Err(e) => {
                let why = PartitionError::Storage(e.to_string());
                // "Suspect" says no more than what is known already.
                if !matches!(e, LogError::Suspect(_)) {
                    self.state.borrow_mut().trouble = Some(e);
                }
                // Offline: nobody waits any longer.
                self.changed.notify_waiters();
                Err(why)
            }
        }
    }

    /// What an append is told while the log can't be written.
    pub(super) fn refusal(&self) -> PartitionError {
        let state = self.state.borrow();
        let offline = matches!(&state.slot, LogSlot::Open(log) if log.is_offline());
        let after = match offline {
            true => "the partition takes no records until the broker is restarted",
            false => "the batch was not stored; send it again, writing resumes by itself",
        };
        let why = state.trouble.as_ref().map_or("a write failed".to_string(), LogError::to_string);
        PartitionError::Storage(format!("{}: {why}: {after}", self.topic_partition))
    }
}
