//! Messages between shards (and from OS threads to a shard): bounded, never blocking the sender.
//! A full mailbox refuses at once (`try_send` returns the message): never await a send inside a
//! receive loop (glommio #555).

/// Sending half: Send + Clone; usable from any thread.
pub struct Sender<T> {
    pub(super) inner: async_channel::Sender<T>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender { inner: self.inner.clone() }
    }
}

pub struct Receiver<T> {
    pub(super) inner: async_channel::Receiver<T>,
}

pub fn mailbox<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (s, r) = async_channel::bounded(capacity);
    (Sender { inner: s }, Receiver { inner: r })
}

impl<T> Sender<T> {
    /// The message comes back when the mailbox is full or its shard is gone.
    pub fn try_send(&self, message: T) -> Result<(), T> {
        self.inner.try_send(message).map_err(|e| e.into_inner())
    }
}

impl<T> Receiver<T> {
    /// `None` when every sender is gone.
    pub async fn recv(&self) -> Option<T> {
        self.inner.recv().await.ok()
    }
    pub fn try_recv(&self) -> Option<T> {
        self.inner.try_recv().ok()
    }
}

/// One answer across shards: the receiver is awaited where it was made; the sender is Send.
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    futures::channel::oneshot::channel()
}
pub type OneshotSender<T> = futures::channel::oneshot::Sender<T>;
/// Resolves to `Err(Canceled)` when the sender was dropped.
pub type OneshotReceiver<T> = futures::channel::oneshot::Receiver<T>;
