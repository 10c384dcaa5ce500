//! Produce on the way to its owner: the append starts at once, in request order; the ticket is
//! what the acknowledgement waits for.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::{Shard, TopicShard};
use crate::partition::{Appended, Partition, PartitionError, Ticket};
use crate::runtime::activity::{Activity, scope};
use crate::runtime::mailbox::OneshotReceiver;
use crate::runtime::{self, Instant, spawn, wall_clock_ms};

pub enum ProduceTicket {
    Refused(PartitionError),
    Here { partition: Rc<Partition>, ticket: Ticket, acks: i16 },
    Elsewhere(OneshotReceiver<Result<Appended, PartitionError>>),
}

impl ProduceTicket {
    /// Appended here, or refused.
    pub fn is_appended(&self) -> bool {
        match self {
            ProduceTicket::Refused(_) => true,
            ProduceTicket::Here { ticket, .. } => matches!(ticket, Ticket::Done(_)),
            ProduceTicket::Elsewhere(_) => false,
        }
    }

    /// Ends when the records are on the device's queue, or never will be (acks=0's own pace).
    pub async fn written(self) -> Result<(), PartitionError> {
        match self {
            ProduceTicket::Refused(e) => Err(e),
            ProduceTicket::Here { partition, ticket, .. } => {
                let appended = ticket.appended().await?;
                partition.committed(&appended, 1).await
            }
            ProduceTicket::Elsewhere(receiver) => {
                receiver.await.unwrap_or(Err(PartitionError::Unknown)).map(|_| ())
            }
        }
    }

    /// Ends when the promise of `acks` is kept, or with `TimedOut`.
    pub async fn committed(self, deadline: Instant) -> Result<Appended, PartitionError> {
        match self {
            ProduceTicket::Refused(e) => Err(e),
            ProduceTicket::Here { partition, ticket, acks } => {
                let appended = ticket.appended().await?;
                within(deadline, partition.committed(&appended, acks)).await??;
                Ok(appended)
            }
            ProduceTicket::Elsewhere(receiver) => within(deadline, receiver)
                .await?
                .unwrap_or(Err(PartitionError::Storage("shutting down".into()))),
        }
    }
}

async fn within<T>(
    deadline: Instant,
    future: impl Future<Output = T>,
) -> Result<T, PartitionError> {
    let mut future = std::pin::pin!(future);
    // Most acknowledgements are there already or soon: a timer is armed only for those that wait.
    if let std::task::Poll::Ready(v) = futures::poll!(&mut future) {
        return Ok(v);
    }
    let left: Duration = deadline.saturating_since(runtime::now());
    runtime::timeout(left, future).await.ok_or(PartitionError::TimedOut)
}

impl Shard {
    /// Starts an append to a partition of a known topic, wherever its owner is.
    pub(super) fn begin_produce(
        self: &Rc<Self>,
        topic: &TopicShard,
        partition: i32,
        records: Bytes,
        acks: i16,
    ) -> ProduceTicket {
        let Some(owner) = topic.owner(partition) else {
            return ProduceTicket::Refused(PartitionError::Unknown);
        };
        if owner == self.id {
            let Some(p) = topic.partition(partition) else {
                return ProduceTicket::Refused(PartitionError::Unknown);
            };
            let ticket = self.append_here(&p, &records, acks);
            return ProduceTicket::Here { partition: p, ticket, acks };
        }
        self.counters().data_crossings.add(1);
        let name = topic.image.name.clone();
        let id = topic.image.id;
        let posted = self.post(owner, move |shard: &Rc<Shard>| {
            let started = shard.topic(&name).filter(|t| t.image.id == id).and_then(|topic| {
                let p = topic.partition(partition)?;
                let ticket = shard.append_here(&p, &records, acks);
                Some((p, ticket))
            });
            async move {
                let (p, ticket) = started.ok_or(PartitionError::Unknown)?;
                let appended = ticket.appended().await?;
                // With acks=0 nobody is answered, but the sender's pace is that of the writes.
                p.committed(&appended, if acks == 0 { 1 } else { acks }).await?;
                Ok(appended)
            }
        });
        match posted {
            Ok(receiver) => ProduceTicket::Elsewhere(receiver),
            Err(e) => ProduceTicket::Refused(e),
        }
    }

    fn append_here(self: &Rc<Self>, p: &Rc<Partition>, records: &Bytes, acks: i16) -> Ticket {
        let _append = scope(Activity::Append);
        // A disk that stalls: clients give up and send more, but the memory has a bound.
        if self.memory.is_stalled() {
            return Ticket::Done(Err(PartitionError::Overloaded(self.id)));
        }
        let ticket = p.begin_append(records, acks, wall_clock_ms());
        match &ticket {
            Ticket::Done(Ok(appended)) => {
                self.counters().records_in.add(appended.record_count as u64);
                self.counters().produce_batches.add(1);
                self.flush_queue.mark(p);
            }
            Ticket::Done(Err(_)) => {}
            Ticket::Opening(_) => {
                let (shard, p) = (self.clone(), p.clone());
                spawn(async move {
                    // The error, if any, reaches the waiting appends through their tickets.
                    let _ = p.open().await;
                    shard.flush_queue.mark(&p);
                });
            }
        }
        ticket
    }
}
