//! Moves appended bytes to the disk: one task a shard, one flush in flight a partition, and no more
//! partitions at once than there are files to open (the others wait in line). While a partition's write and fdatasync run, what is appended to it waits and goes together: that is the
//! group commit. A partition whose write failed is repaired here: at once, then again and again,
//! so that writing resumes by itself. Not here: what a failure takes back (partition/suspect).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::{Either, pending, select};
use futures::stream::FuturesUnordered;

use super::{Memory, Shard};
use crate::log::CatchUp;
use crate::partition::Partition;
use crate::runtime::{Notify, disk, now, sleep};

/// Between two attempts to repair a partition; doubles up to the second.
const REPAIR_AFTER: Duration = Duration::from_millis(50);
const REPAIR_AFTER_MAX: Duration = Duration::from_secs(1);

pub(super) struct FlushQueue {
    /// In the order of their appends.
    dirty: RefCell<VecDeque<Rc<Partition>>>,
    more: Notify,
    /// Is told of what is appended and written.
    catch_up: Rc<CatchUp>,
    /// Is told of bytes appended here and not yet given to a device.
    memory: Rc<Memory>,
}

impl FlushQueue {
    pub(super) fn new(memory: Rc<Memory>, catch_up: Rc<CatchUp>) -> FlushQueue {
        FlushQueue { dirty: RefCell::default(), more: Notify::new(), catch_up, memory }
    }

    /// Called after an append; cheap when the partition is queued or being flushed already.
    pub(super) fn mark(&self, partition: &Rc<Partition>) {
        self.count(partition);
        if !partition.flushing.replace(true) {
            self.catch_up.appended();
            let mut dirty = self.dirty.borrow_mut();
            dirty.push_back(partition.clone());
            // Else it is looked at again as soon as a flush ends.
            if dirty.len() == 1 {
                self.more.notify_waiters();
            }
        }
    }

    fn count(&self, partition: &Partition) {
        let now = partition.unwritten_bytes();
        let before = partition.unwritten_counted.replace(now);
        self.memory.set_unwritten(self.memory.unwritten() + now - before);
    }

    /// What was written is kept for readers as far as the shard's memory goes: beyond that who writes gives
    /// up what it kept before, at once; what others keep is housekeeping's to look at.
    fn count_tail(&self, partition: &Partition) {
        let now = partition.tail_memory_bytes();
        partition.tail_used.set(true);
        let excess = self.memory.count_tail(partition.tail_counted.replace(now), now);
        if excess > 0 {
            partition.trim_tail(now.saturating_sub(excess));
            let left = partition.tail_memory_bytes();
            self.memory.count_tail(partition.tail_counted.replace(left), left);
        }
    }
}

pub(super) async fn run(shard: Rc<Shard>) {
    let queue = &shard.flush_queue;
    let wanted = shard.config.shards.of(shard.id).io_depth;
    let at_once = wanted.min(disk::files_at_once(shard.shard_count()));
    let (mut flushing, mut repairing) = (FuturesUnordered::new(), FuturesUnordered::new());
    // A disk that fails all at once: as many are tried as may flush.
    let mut broken = VecDeque::new();
    loop {
        let more = queue.more.notified();
        while flushing.len() < at_once {
            let Some(partition) = queue.dirty.borrow_mut().pop_front() else { break };
            flushing.push(flush_until_clean(&shard, partition));
        }
        while repairing.len() < at_once {
            let Some(partition) = broken.pop_front() else { break };
            repairing.push(repair(&shard, partition));
        }
        if flushing.is_empty() && repairing.is_empty() {
            if shard.stopping.get() {
                return;
            }
            more.await;
            continue;
        }
        let more = std::pin::pin!(more);
        // An empty one is for ever over: its place is taken by what never ends.
        let flushed = std::pin::pin!(async {
            if flushing.is_empty() { pending().await } else { flushing.next().await }
        });
        let repaired = std::pin::pin!(async {
            if repairing.is_empty() { pending().await } else { repairing.next().await }
        });
        match select(flushed, select(repaired, more)).await {
            Either::Left((Some(After::Broken(partition)), _)) => broken.push_back(partition),
            Either::Left((Some(After::More(partition)), _))
            | Either::Right((Either::Left((Some(partition), _)), _)) => {
                queue.dirty.borrow_mut().push_back(partition);
            }
            _ => {}
        }
    }
}

/// What becomes of a partition whose flush is over.
enum After {
    Clean,
    /// Others wait, and it has more: to the end of the line.
    More(Rc<Partition>),
    Broken(Rc<Partition>),
}

async fn flush_until_clean(shard: &Shard, partition: Rc<Partition>) -> After {
    loop {
        let began = now();
        partition.flush().await;
        shard.flush_queue.catch_up.flushed(began);
        shard.flush_queue.count(&partition);
        shard.flush_queue.count_tail(&partition);
        if partition.is_suspect() && !shard.stopping.get() {
            return After::Broken(partition);
        }
        // No await between the check and the mark: an append either is seen here or marks again.
        if !partition.needs_flush() || shard.stopping.get() && partition.is_suspect() {
            partition.flushing.set(false);
            return After::Clean;
        }
        if !shard.flush_queue.dirty.borrow().is_empty() {
            return After::More(partition);
        }
    }
}

/// Ends when the partition is writable again, offline, deleted, or the shard stops.
async fn repair(shard: &Shard, partition: Rc<Partition>) -> Rc<Partition> {
    shard.disk_failed(&partition).await;
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
    shard.disk_recovered(&partition);
    partition
}
