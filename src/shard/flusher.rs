//! Moves appended bytes to the disk: one task a shard, one flush in flight a partition. While a
//! partition's write and fdatasync run, what is appended to it waits and goes together: that is the
//! group commit. A partition whose write failed is repaired here: at once, then again and again,
//! so that writing resumes by itself. Not here: what a failure takes back (partition/suspect).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::select;
use futures::stream::FuturesUnordered;

use super::Shard;
use crate::partition::Partition;
use crate::runtime::{Notify, sleep};

/// Between two attempts to repair a partition; doubles up to the second.
const REPAIR_AFTER: Duration = Duration::from_millis(50);
const REPAIR_AFTER_MAX: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct FlushQueue {
    dirty: RefCell<Vec<Rc<Partition>>>,
    more: Notify,
    /// Bytes appended here and not yet given to a device.
    unwritten: Cell<usize>,
}

impl FlushQueue {
    /// Called after an append; cheap when the partition is queued or being flushed already.
    pub(super) fn mark(&self, partition: &Rc<Partition>) {
        self.count(partition);
        if !partition.flushing.replace(true) {
            let mut dirty = self.dirty.borrow_mut();
            dirty.push(partition.clone());
            if dirty.len() == 1 {
                self.more.notify_waiters();
            }
        }
    }

    fn count(&self, partition: &Partition) {
        let now = partition.pending_bytes();
        let before = partition.unwritten_counted.replace(now);
        self.unwritten.set(self.unwritten.get() + now - before);
    }

    pub(super) fn unwritten_bytes(&self) -> usize {
        self.unwritten.get()
    }
}

pub(super) async fn run(shard: Rc<Shard>) {
    let queue = &shard.flush_queue;
    let mut running = FuturesUnordered::new();
    loop {
        let more = queue.more.notified();
        for partition in queue.dirty.take() {
            running.push(flush_until_clean(&shard, partition));
        }
        if running.is_empty() {
            if shard.stopping.get() {
                return;
            }
            more.await;
        } else {
            select(running.next(), std::pin::pin!(more)).await;
        }
    }
}

async fn flush_until_clean(shard: &Shard, partition: Rc<Partition>) {
    loop {
        partition.flush().await;
        shard.flush_queue.count(&partition);
        if partition.is_suspect() && !shard.stopping.get() {
            repair(shard, &partition).await;
        }
        // No await between the check and the mark: an append either is seen here or marks again.
        if !partition.needs_flush() || shard.stopping.get() && partition.is_suspect() {
            partition.flushing.set(false);
            return;
        }
    }
}

/// Ends when the partition is writable again, offline, deleted, or the shard stops.
async fn repair(shard: &Shard, partition: &Partition) {
    shard.disk_failed(partition).await;
    let mut wait = REPAIR_AFTER;
    while partition.is_suspect() && !shard.stopping.get() {
        match partition.repair().await {
            Ok(()) => break,
            Err(e) => tracing::debug!(partition = %partition.topic_partition, error = %e,
                "not repaired"),
        }
        if partition.is_suspect() {
            sleep(wait).await;
            wait = (wait * 2).min(REPAIR_AFTER_MAX);
        }
    }
    shard.disk_recovered(partition);
}
