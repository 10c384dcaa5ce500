//! What the operator is told when a disk fails: one line when a shard's trouble begins (one a
//! partition, but for a full disk, which every partition meets), one when it is over, however many
//! produces are refused meanwhile. Not here: what is done about it (flusher, partition/suspect).

use std::cell::Cell;
use std::time::Duration;

use super::Shard;
use crate::partition::Partition;
use crate::runtime::{self, Instant, disk};

/// A disk that is full again and again is told of this often.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct DiskTrouble {
    /// Partitions that can't be written at present.
    partitions: Cell<usize>,
    /// When the full disk was told of; `None` when its end was too.
    full_told: Cell<Option<Instant>>,
    /// The disk was full since the last recovery.
    full: Cell<bool>,
}

impl Shard {
    pub(super) async fn disk_failed(&self, partition: &Partition) {
        let trouble = &self.disk_trouble;
        trouble.partitions.set(trouble.partitions.get() + 1);
        let Some((why, full)) = partition.trouble() else { return };
        if !full {
            tracing::error!(partition = %partition.topic_partition, error = why,
                "a write failed: produces are refused until what is on the disk has been checked and \
                 written again, reads go on; see the kernel log and the disk's health");
            return;
        }
        trouble.full.set(true);
        let now = runtime::now();
        if trouble.full_told.get().is_some_and(|told| now < told + TOLD_AGAIN_AFTER) {
            return;
        }
        trouble.full_told.set(Some(now));
        let (total, free) = disk::disk_space(&self.data_dir).await.unwrap_or_default();
        tracing::error!(partition = %partition.topic_partition, error = why,
            "log.dirs={} is full ({free} of {total} bytes free): produces are refused, reads go on, \
             and writing resumes by itself when there is room: delete topics or records, lower \
             retention.bytes or retention.ms, or move other files away",
            self.data_dir.display());
    }

    pub(super) fn disk_recovered(&self, partition: &Partition) {
        let trouble = &self.disk_trouble;
        let left = trouble.partitions.get().saturating_sub(1);
        trouble.partitions.set(left);
        if self.stopping.get() {
            return;
        }
        if partition.is_offline() {
            let why = partition.trouble().map(|(why, _)| why);
            tracing::error!(partition = %partition.topic_partition, error = why,
                "what was acknowledged can't be read back: the partition takes no records until the \
                 broker is restarted, which cuts the log there; reads before it go on");
        } else if !trouble.full.get() {
            tracing::info!(partition = %partition.topic_partition, "writing goes on: all is checked");
        } else if left == 0 {
            trouble.full.set(false);
            tracing::info!("log.dirs={} has room again: writing goes on", self.data_dir.display());
        }
    }
}
