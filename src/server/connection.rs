//! One connection: a reader task that takes frames in order and a writer task for produce
//! acknowledgements. Produce appends at once and its acknowledgement waits in the queue, so
//! pipelined requests share a write and an fdatasync; every other request waits until the queue is
//! empty and is answered by the reader itself; small answers to requests that came together leave in
//! one write. Replies leave in request order: what is held back leaves before anything is waited for.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use futures::future::{Either, select};

use super::frames::{FrameReadError, FrameReader, Read};
use crate::api::{self, Finished, PendingProduce, Reply, Started};
use crate::limits::{
    CONNECTION_HELD_REPLY_BYTES, CONNECTION_PENDING_ACKS, CONNECTION_PENDING_BYTES,
    CONNECTION_TURN_REQUESTS, GATHER_SLICES,
};
use crate::runtime::activity::{Activity, charged, scope};
use crate::runtime::{self, Instant, Notify, Stream};
use crate::shard::{Chunk, Lent, Place, Router};
use crate::wire::fetch::{Piece, RecordBytes};

pub(super) struct Connection {
    stream: Stream,
    peer: SocketAddr,
    asks: Rc<api::Peer>,
    listener: usize,
    router: Router,
    acks: RefCell<VecDeque<(PendingProduce, Lent)>>,
    /// Request bytes of those, and of the one that is being waited for.
    ack_bytes: Cell<usize>,
    /// The writer task holds one that is not in `acks` any more.
    writing: Cell<bool>,
    /// Answers that leave with that of the next request, which is here already. Then `acks` is empty.
    held: RefCell<BytesMut>,
    writer_started: Cell<bool>,
    more_acks: Notify,
    fewer_acks: Notify,
    pub(super) last_active: Cell<Instant>,
    closed: Cell<bool>,
}

impl Connection {
    pub(super) fn new(
        stream: Stream,
        peer: SocketAddr,
        listener: usize,
        router: Router,
    ) -> Rc<Connection> {
        Rc::new(Connection {
            stream,
            peer,
            asks: Rc::new(api::Peer::new(peer)),
            listener,
            router,
            acks: RefCell::default(),
            ack_bytes: Cell::new(0),
            writing: Cell::new(false),
            held: RefCell::default(),
            writer_started: Cell::new(false),
            more_acks: Notify::new(),
            fewer_acks: Notify::new(),
            last_active: Cell::new(runtime::now()),
            closed: Cell::new(false),
        })
    }

    pub(super) fn close(&self) {
        self.closed.set(true);
        self.stream.shutdown();
        self.more_acks.notify_waiters();
        self.fewer_acks.notify_waiters();
    }

    /// Reads and serves until the peer goes, errs, or `close`.
    pub(super) async fn serve(self: Rc<Self>) {
        let frame_max = self.router.config().request_max_bytes;
        let mut frames =
            FrameReader::new(self.stream.clone(), frame_max, self.router.memory().clone());
        let mut turn = 0;
        let mut lent = None;
        loop {
            let frame = match frames.next().await {
                Ok(Read::Frame(frame)) => frame,
                Ok(Read::Announced(bytes)) => match self.admitted(bytes).await {
                    Some(memory) => {
                        lent = Some(memory);
                        continue;
                    }
                    None => break,
                },
                Ok(Read::End) => break,
                Err(FrameReadError::Io(e)) => {
                    tracing::debug!(peer = %self.peer, error = %e, "connection lost");
                    break;
                }
                Err(e) => {
                    self.reject(&e.to_string());
                    break;
                }
            };
            if self.closed.get() {
                break;
            }
            self.last_active.set(runtime::now());
            self.router.counters().bytes_in.add(frame.len() as u64 + 4);
            self.router.counters().requests.add(1);
            let memory = self.router.memory();
            let lent = lent.take().unwrap_or_else(|| memory.lend(frame.len()));
            // An await of the future itself would move its kilobytes, twice.
            if !pin!(self.take(&mut frames, frame, lent)).await {
                break;
            }
            turn += 1;
            if turn >= CONNECTION_TURN_REQUESTS {
                turn = 0;
                // Others may have much to do before this connection's next turn.
                if !self.write_held().await {
                    break;
                }
                runtime::yield_now().await;
            }
        }
        // What was done is answered, what was appended acknowledged, if the peer still reads.
        self.write_held().await;
        self.drained().await;
        self.close();
    }

    /// Memory for a request that has begun to come; the socket is not read until there is some.
    /// `None`: the connection was closed meanwhile.
    async fn admitted(&self, bytes: usize) -> Option<Lent> {
        let memory = self.router.memory().clone();
        let mut admit = pin!(memory.admit(bytes));
        loop {
            let woken = pin!(self.fewer_acks.notified());
            if self.closed.get() {
                return None;
            }
            match select(admit.as_mut(), woken).await {
                Either::Left((lent, _)) => return Some(lent),
                Either::Right(_) => {}
            }
        }
    }

    /// False: the connection must close.
    async fn take(self: &Rc<Self>, frames: &mut FrameReader, frame: Bytes, mut lent: Lent) -> bool {
        let started = {
            let _wire = scope(Activity::Wire);
            api::start(&self.router, self.listener, &self.asks, frame)
        };
        match started {
            Ok(Started::Produce(pending)) => {
                if pending.is_appended() {
                    lent.appended();
                }
                // The acknowledgement is another task's, and comes after them.
                if !self.write_held().await {
                    return false;
                }
                self.ack_bytes.set(self.ack_bytes.get() + pending.bytes);
                self.acks.borrow_mut().push_back((pending, lent));
                self.router.counters().waiting.add(1);
                if !self.writer_started.replace(true) {
                    runtime::spawn(charged(Activity::Network, self.clone().write_acks()));
                } else {
                    self.more_acks.notify_waiters();
                }
                while self.has_enough_to_do() && !self.closed.get() {
                    self.fewer_acks.notified().await;
                }
                true
            }
            Ok(Started::Other(request)) => {
                self.drained().await;
                if self.closed.get() {
                    return false;
                }
                let (more, waits) = (frames.has_more(), request.waits_for_other_clients());
                // Pinned before it is wrapped: its kilobytes are not moved.
                let answer = pin!(api::handle(&self.router, request));
                let mut answer = charged(Activity::Wire, answer);
                // It may be ready at once; if not, what is held back must not wait for it.
                let holds = !self.held.borrow().is_empty();
                let ready = match holds {
                    true => futures::poll!(&mut answer),
                    false => Poll::Pending,
                };
                let answer = match ready {
                    Poll::Ready(answer) => answer,
                    Poll::Pending => {
                        if !self.write_held().await {
                            return false;
                        }
                        match waits {
                            false => answer.await,
                            // It may take minutes: a client that goes meanwhile is not kept (its member is, for its
                            // session).
                            true => match select(answer, pin!(frames.ended())).await {
                                Either::Left((answer, _)) => answer,
                                Either::Right(_) => return false,
                            },
                        }
                    }
                };
                match answer {
                    Ok(reply) => self.reply(reply, more).await,
                    Err(why) => {
                        self.reject(&why);
                        false
                    }
                }
            }
            Err(why) => {
                self.drained().await;
                self.reject(&why);
                false
            }
        }
    }

    /// The bound on what one connection may have in flight; the socket holds the rest back.
    fn has_enough_to_do(&self) -> bool {
        let waiting = self.acks.borrow().len();
        waiting >= CONNECTION_PENDING_ACKS
            || (waiting > 0
                && (self.ack_bytes.get() >= CONNECTION_PENDING_BYTES
                    || self.router.memory().is_short()))
    }

    fn reject(&self, why: &str) {
        self.router.counters().frames_rejected.add(1);
        tracing::warn!(peer = %self.peer, why, "connection closed: the client sent what can't be served");
    }

    /// Waits until every acknowledgement has been written.
    async fn drained(&self) {
        while (self.writing.get() || !self.acks.borrow().is_empty()) && !self.closed.get() {
            self.fewer_acks.notified().await;
        }
    }

    async fn write_acks(self: Rc<Self>) {
        while !self.closed.get() {
            let more = self.more_acks.notified();
            let Some((pending, lent)) = self.acks.borrow_mut().pop_front() else {
                more.await;
                continue;
            };
            self.writing.set(true);
            let bytes = pending.bytes;
            let ok = match charged(Activity::Wire, pin!(pending.finish())).await {
                Finished::Reply(reply) => self.write(reply).await,
                Finished::Silent => true,
                Finished::Close => false,
            };
            drop(lent);
            self.ack_bytes.set(self.ack_bytes.get() - bytes);
            self.writing.set(false);
            self.router.counters().waiting.sub(1);
            if !ok {
                self.close();
            }
            self.fewer_acks.notify_waiters();
        }
    }

    /// Now, or, when it is small, with the answer to the request that is here already.
    async fn reply(&self, reply: Reply, more: bool) -> bool {
        let held = match &reply {
            Reply::Frame(bytes) => self.hold(bytes, more),
            Reply::Pieces(..) => false,
        };
        if held {
            return more || self.write_held().await;
        }
        self.write_held().await && self.write(reply).await
    }

    /// False: it is to be written by itself, after what is held.
    fn hold(&self, reply: &Bytes, more: bool) -> bool {
        let mut held = self.held.borrow_mut();
        let fits = held.len() + reply.len() <= CONNECTION_HELD_REPLY_BYTES;
        let joins = fits && (more || !held.is_empty());
        if joins {
            held.extend_from_slice(reply);
        }
        joins
    }

    async fn write_held(&self) -> bool {
        let held = self.held.take();
        held.is_empty() || self.write(Reply::Frame(held.freeze())).await
    }

    async fn write(&self, reply: Reply) -> bool {
        let written = match &reply {
            Reply::Frame(bytes) => {
                self.router.counters().bytes_out.add(bytes.len() as u64);
                self.stream.write_all(bytes).await
            }
            Reply::Pieces(pieces, _) => self.write_pieces(pieces).await,
        };
        if let Err(e) = &written {
            tracing::debug!(peer = %self.peer, error = %e, "connection lost while answering");
        }
        written.is_ok()
    }

    /// Runs of bytes in memory go out in gather writes, ranges of files by sendfile, in order.
    async fn write_pieces(&self, pieces: &[Piece<Chunk>]) -> std::io::Result<()> {
        let mut slices: Vec<&[u8]> = Vec::with_capacity(pieces.len().min(GATHER_SLICES));
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => slices.push(bytes),
                Piece::Records(chunk) => match chunk.place() {
                    Place::Memory(bytes) => slices.push(bytes),
                    Place::File { file, position } => {
                        self.write_slices(&mut slices).await?;
                        let length = chunk.size_bytes();
                        self.router.counters().bytes_out.add(length as u64);
                        self.router.counters().bytes_sent_from_cache.add(length as u64);
                        self.stream.send_file(file, position, length).await?;
                    }
                },
            }
            if slices.len() == GATHER_SLICES {
                self.write_slices(&mut slices).await?;
            }
        }
        self.write_slices(&mut slices).await
    }

    async fn write_slices(&self, slices: &mut Vec<&[u8]>) -> std::io::Result<()> {
        let total: usize = slices.iter().map(|s| s.len()).sum();
        if total > 0 {
            self.router.counters().bytes_out.add(total as u64);
            self.stream.write_vectored_all(slices).await?;
        }
        slices.clear();
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let unsent = self.acks.borrow().len() + usize::from(self.writing.get());
        self.router.counters().waiting.sub(unsent as u64);
    }
}
