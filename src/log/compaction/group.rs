//! The second half of a cleaning run: some segments, one after the other, become one new file, which
//! then takes their place.

use super::super::Log;
use super::super::segment::SharedSegment;
use super::super::txn_index;
use super::files::{Batches, CleanedFile};
use super::filter::{Filtered, Rules};
use super::transactions::Transactions;
use super::{CleanRun, Cleaned, Ended, corrupt};

impl Log {
    pub(super) async fn clean_group(
        &self,
        run: &CleanRun<'_>,
        group: &[SharedSegment],
        rules: &Rules<'_>,
        transactions: &mut Transactions,
        cleaned: &mut Cleaned,
    ) -> std::result::Result<(), Ended> {
        let stop = || self.cleaning_must_stop(run);
        let dir = &self.inner.dir;
        let (base, next) = (group[0].base, group[group.len() - 1].next.get());
        let bytes_before: u64 = group.iter().map(|s| s.size.get()).sum();
        transactions.add_aborted(self.aborted_in(group, base, next).await?);
        let mut has_transaction_index = false;
        for segment in group {
            has_transaction_index |= self.transaction_index(segment).await?.is_some();
        }
        let interval = self.inner.state.borrow().config.index_interval_bytes;
        let mut file = CleanedFile::create(dir, base, interval, run.io_bytes).await?;
        let mut changed = group.len() > 1;
        for (at, segment) in group.iter().enumerate() {
            let last_with_data = group[at + 1..].iter().all(|s| s.size.get() == 0);
            let mut batches = Batches::open(dir, segment, run.io_bytes).await?;
            while let Some(read) = batches.next().await? {
                if read.moved > 0 {
                    cleaned.bytes_read += read.moved;
                    run.pace.moved(read.moved, &stop).await?;
                }
                let is_last = last_with_data && batches.is_at_end();
                let filtered = rules
                    .apply(transactions, &read.header, &read.bytes, is_last)
                    .map_err(|e| corrupt(dir, segment, read.position, e))?;
                changed |= filtered != Filtered::Same;
                let written = match filtered {
                    Filtered::Same => file.append(&read.bytes).await,
                    Filtered::Other(bytes) => file.append(&bytes).await,
                    Filtered::Gone => Ok(0),
                }?;
                if written > 0 {
                    run.pace.moved(written, &stop).await?;
                }
                run.pace.worked().await;
            }
        }
        cleaned.bytes_before += bytes_before;
        let aborted = transactions.take_retained();
        if !changed {
            // One segment of which everything stays: it may stay itself.
            cleaned.bytes_after += bytes_before;
            file.discard().await;
            return Ok(());
        }
        cleaned.bytes_after += file.bytes();
        let created_ms = group.iter().map(|s| s.created_ms).max().unwrap_or(0);
        let aborted = has_transaction_index.then(|| txn_index::encode(&aborted));
        let new = file.finish(next, created_ms, aborted).await?;
        match self.swap_in(group, new).await? {
            true => Ok(()),
            // Something else changed these segments: the next run looks again.
            false => Err(Ended::Stopped),
        }
    }
}
