//! Moves appended bytes to the disk: one task a shard, one flush in flight a partition. While a
//! partition's write and fdatasync run, what is appended to it waits and goes together: that is the
//! group commit.

use std::cell::RefCell;
use std::rc::Rc;

use futures::StreamExt;
use futures::future::select;
use futures::stream::FuturesUnordered;

use super::Shard;
use crate::partition::Partition;
use crate::runtime::Notify;

#[derive(Default)]
pub(super) struct FlushQueue {
    dirty: RefCell<Vec<Rc<Partition>>>,
    more: Notify,
}

impl FlushQueue {
    /// Called after an append; cheap when the partition is queued or being flushed already.
    pub(super) fn mark(&self, partition: &Rc<Partition>) {
        if !partition.flushing.replace(true) {
            let mut dirty = self.dirty.borrow_mut();
            dirty.push(partition.clone());
            if dirty.len() == 1 {
                self.more.notify_waiters();
            }
        }
    }
}

pub(super) async fn run(shard: Rc<Shard>) {
    let queue = &shard.flush_queue;
    let mut running = FuturesUnordered::new();
    loop {
        let more = queue.more.notified();
        for partition in queue.dirty.take() {
            running.push(flush_until_clean(partition));
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

async fn flush_until_clean(partition: Rc<Partition>) {
    loop {
        partition.flush().await;
        // No await between the check and the mark: an append either is seen here or marks again.
        if !partition.needs_flush() {
            partition.flushing.set(false);
            return;
        }
    }
}
