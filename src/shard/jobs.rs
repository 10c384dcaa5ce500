//! Work for another shard: a closure that starts there, in mailbox order, and a future that ends
//! there. The synchronous start keeps appends in order; the futures then run side by side.

use std::future::Future;
use std::rc::Rc;

use futures::StreamExt;
use futures::future::{Either, LocalBoxFuture, select};
use futures::stream::FuturesUnordered;

use super::Shard;
use crate::partition::PartitionError;
use crate::runtime::mailbox::{OneshotReceiver, Receiver, oneshot};
use crate::types::ShardId;

pub type Job = Box<dyn FnOnce(&Rc<Shard>) -> LocalBoxFuture<'static, ()> + Send>;

/// Runs what other shards post here.
pub(super) async fn pump(shard: Rc<Shard>, mailbox: Receiver<Job>) {
    let mut running: FuturesUnordered<LocalBoxFuture<'static, ()>> = FuturesUnordered::new();
    let mut open = true;
    while open || !running.is_empty() {
        let job = if running.is_empty() {
            mailbox.recv().await
        } else if !open {
            running.next().await;
            continue;
        } else {
            let received = {
                let next = std::pin::pin!(mailbox.recv());
                match select(next, running.next()).await {
                    Either::Left((job, _)) => Some(job),
                    Either::Right(_) => None,
                }
            };
            match received {
                Some(job) => job,
                None => continue,
            }
        };
        match job {
            Some(job) => {
                running.push(job(&shard));
                while let Some(job) = mailbox.try_recv() {
                    running.push(job(&shard));
                }
            }
            None => open = false,
        }
    }
}

impl Shard {
    /// Posts work to `owner` (another shard) and returns at once with the place of its answer.
    pub(super) fn post<T, F, Fut>(
        &self,
        owner: ShardId,
        work: F,
    ) -> Result<OneshotReceiver<T>, PartitionError>
    where
        T: Send + 'static,
        F: FnOnce(&Rc<Shard>) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        let (mut sender, receiver) = oneshot();
        let job: Job = Box::new(move |shard: &Rc<Shard>| {
            let answer = work(shard);
            Box::pin(async move {
                // Whoever asked may have gone: then the work stops too.
                let answer = std::pin::pin!(answer);
                let answered = {
                    let gone = std::pin::pin!(sender.cancellation());
                    match select(answer, gone).await {
                        Either::Left((answer, _)) => Some(answer),
                        Either::Right(_) => None,
                    }
                };
                if let Some(answer) = answered {
                    let _ = sender.send(answer);
                }
            })
        });
        self.mailboxes[owner].try_send(job).map_err(|_| PartitionError::Overloaded(owner))?;
        Ok(receiver)
    }

    /// Runs `work` on the shard that owns it: here directly, elsewhere by a job.
    pub(super) async fn ask<T, F, Fut>(
        self: &Rc<Self>,
        owner: ShardId,
        work: F,
    ) -> Result<T, PartitionError>
    where
        T: Send + 'static,
        F: FnOnce(&Rc<Shard>) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        if owner == self.id {
            return Ok(work(self).await);
        }
        self.post(owner, work)?.await.map_err(|_| PartitionError::Storage("shutting down".into()))
    }
}
