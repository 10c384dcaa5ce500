//! What a shard lends of `shard.memory.bytes`: half of it is for tail caches, a quarter for requests from
//! their first byte until the disk has what they brought, a quarter for answers until they are written.
//! Requests beyond their quarter wait, in the order they came, and their sockets are not read
//! meanwhile; answers beyond theirs get smaller and never wait: what consumers take frees memory.
//! One a shard. Not here: who asks (`server/connection`, `shard/purgatory`).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::limits::{ANSWER_BYTES_MIN, ANSWERS_AT_FULL_SIZE};
use crate::metrics::ShardCounters;
use crate::runtime::mailbox::{OneshotSender, oneshot};
use crate::runtime::{Instant, now};

/// A disk that takes nothing for so long has stalled.
const STALLED_AFTER: Duration = Duration::from_secs(1);

pub struct Memory {
    requests_max: usize,
    answers_max: usize,
    tails_max: usize,
    /// Held in frames: a request that is appended as a whole, here, is none any more.
    requests: Cell<usize>,
    /// Appended here and not on the device yet.
    unwritten: Cell<usize>,
    /// When the disk last took some of it, or there was none.
    last_written: Cell<Instant>,
    /// Written, and kept for readers.
    tails: Cell<usize>,
    /// Somebody kept less than it might have since housekeeping last looked.
    tails_short: Cell<bool>,
    answers: Cell<usize>,
    waiting: RefCell<VecDeque<(usize, OneshotSender<Lent>)>>,
    counters: Arc<ShardCounters>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Request,
    Answer,
}

/// Memory of the shard that somebody holds; given back on drop.
pub struct Lent {
    memory: Rc<Memory>,
    bytes: usize,
    purpose: Purpose,
}

impl Memory {
    pub fn new(shard_bytes: usize, counters: Arc<ShardCounters>) -> Rc<Memory> {
        Rc::new(Memory {
            requests_max: shard_bytes / 4,
            answers_max: shard_bytes / 4,
            tails_max: shard_bytes / 2,
            requests: Cell::new(0),
            unwritten: Cell::new(0),
            last_written: Cell::default(),
            tails: Cell::new(0),
            tails_short: Cell::new(false),
            answers: Cell::new(0),
            waiting: RefCell::default(),
            counters,
        })
    }

    fn used_by_requests(&self) -> usize {
        self.requests.get() + self.unwritten.get()
    }

    /// No more than one request a connection should be taken now.
    pub fn is_short(&self) -> bool {
        self.used_by_requests() > self.requests_max || !self.waiting.borrow().is_empty()
    }

    /// For a request that is too small to wait, and is here already.
    pub fn lend(self: &Rc<Self>, bytes: usize) -> Lent {
        self.lent(bytes, Purpose::Request)
    }

    /// For a request that is still in the socket: waits its turn. One that is larger than all there
    /// is gets in when it is alone.
    pub async fn admit(self: &Rc<Self>, bytes: usize) -> Lent {
        let (tell, turn) = oneshot();
        self.waiting.borrow_mut().push_back((bytes, tell));
        self.pump();
        let mut turn = turn;
        if let Ok(Some(lent)) = turn.try_recv() {
            return lent;
        }
        self.counters.memory_waits.add(1);
        match turn.await {
            Ok(lent) => lent,
            Err(_) => unreachable!("the queue answers everyone it lets go"),
        }
    }

    /// An answer of up to `wanted` bytes: less when much is being written already.
    pub fn lend_answer(self: &Rc<Self>, wanted: usize) -> Lent {
        let largest = (self.answers_max / ANSWERS_AT_FULL_SIZE).max(ANSWER_BYTES_MIN);
        let free = self.answers_max.saturating_sub(self.answers.get());
        self.lent(wanted.min(free.clamp(ANSWER_BYTES_MIN, largest)), Purpose::Answer)
    }

    /// For what a reader will probably ask for next: only while less than half is under way.
    pub fn lend_ahead(self: &Rc<Self>, bytes: usize) -> Option<Lent> {
        let fits = self.answers.get() + bytes <= self.answers_max / 2;
        fits.then(|| self.lent(bytes, Purpose::Answer))
    }

    /// The flusher's count, after each append and each flush.
    pub fn set_unwritten(self: &Rc<Self>, bytes: usize) {
        let before = self.unwritten.replace(bytes);
        if bytes < before || before == 0 {
            self.last_written.set(now());
        }
        if bytes < before {
            self.pump();
        }
        self.show();
    }

    pub fn unwritten(&self) -> usize {
        self.unwritten.get()
    }

    /// More waits for a disk than requests may hold, and it does not move: no more is appended. While it
    /// moves, those who brought it wait themselves.
    pub fn is_stalled(&self) -> bool {
        self.unwritten.get() > self.requests_max
            && now().saturating_since(self.last_written.get()) >= STALLED_AFTER
    }

    /// A tail cache has `after` bytes where it had `before`: by how much there are too many now.
    pub fn count_tail(&self, before: usize, after: usize) -> usize {
        self.set_tails(self.tails.get() + after - before);
        let excess = self.tails.get().saturating_sub(self.tails_max);
        if excess > 0 {
            self.tails_short.set(true);
        }
        excess
    }

    /// Counted anew, as partitions also come and go.
    pub fn set_tails(&self, bytes: usize) {
        self.tails.set(bytes);
        self.counters.memory_tails_bytes.set(bytes as u64);
    }

    pub fn tails_max(&self) -> usize {
        self.tails_max
    }

    /// Whether there was less room for tails than somebody could use, since the last call.
    pub fn were_tails_short(&self) -> bool {
        self.tails_short.replace(false)
    }

    fn lent(self: &Rc<Self>, bytes: usize, purpose: Purpose) -> Lent {
        self.count(purpose).set(self.count(purpose).get() + bytes);
        self.show();
        Lent { memory: self.clone(), bytes, purpose }
    }

    fn count(&self, purpose: Purpose) -> &Cell<usize> {
        match purpose {
            Purpose::Request => &self.requests,
            Purpose::Answer => &self.answers,
        }
    }

    fn show(&self) {
        self.counters.memory_requests_bytes.set(self.used_by_requests() as u64);
        self.counters.memory_answers_bytes.set(self.answers.get() as u64);
    }

    /// Lets in whoever fits, first come first served.
    fn pump(self: &Rc<Self>) {
        loop {
            let tell = {
                let mut waiting = self.waiting.borrow_mut();
                let Some((bytes, tell)) = waiting.front() else { return };
                let used = self.used_by_requests();
                // A connection that was closed while it waited takes nothing.
                let gone = tell.is_canceled();
                if !gone && used > 0 && used + bytes > self.requests_max {
                    return;
                }
                waiting.pop_front().filter(|_| !gone)
            };
            if let Some((bytes, tell)) = tell {
                // One that goes away right now gives it back by dropping it.
                let _ = tell.send(self.lent(bytes, Purpose::Request));
            }
        }
    }
}

impl Lent {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The request is appended, and counted among what waits for the disk.
    pub fn appended(&mut self) {
        self.resize(0);
        self.memory.pump();
    }

    /// What was really needed, which may be more: a batch is never cut.
    pub fn resize(&mut self, bytes: usize) {
        let count = self.memory.count(self.purpose);
        count.set(count.get() - self.bytes + bytes);
        self.bytes = bytes;
        self.memory.show();
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let count = self.memory.count(self.purpose);
        count.set(count.get() - self.bytes);
        self.memory.show();
        if self.purpose == Purpose::Request {
            self.memory.pump();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const MIB: usize = 1 << 20;

    fn memory() -> Rc<Memory> {
        Memory::new(16 * MIB, Arc::default())
    }

    #[test]
    fn requests_wait_their_turn_and_answers_shrink() {
        let memory = memory();
        let first = memory.admit(3 * MIB).now_or_never().expect("there is room");
        let mut large = Box::pin(memory.admit(2 * MIB));
        let mut small = Box::pin(memory.admit(MIB));
        assert!(large.as_mut().now_or_never().is_none() && memory.is_short());
        assert!(small.as_mut().now_or_never().is_none(), "it would fit, but it came later");
        drop(first);
        let large = large.now_or_never().expect("the first is gone");
        let small = small.now_or_never().expect("and the next fits");
        assert_eq!(memory.requests.get(), 3 * MIB);
        drop((large, small));
        assert_eq!(memory.requests.get(), 0);
        let answers: Vec<Lent> = (0..20).map(|_| memory.lend_answer(50 * MIB)).collect();
        assert_eq!(answers[0].bytes(), 4 * MIB / ANSWERS_AT_FULL_SIZE);
        assert_eq!(answers[19].bytes(), ANSWER_BYTES_MIN, "never nothing");
        assert_eq!(memory.lend_answer(100).bytes(), 100);
        drop(answers);
        assert_eq!(memory.answers.get(), 0);
    }

    #[test]
    fn one_that_is_too_large_gets_in_alone() {
        let memory = memory();
        let small = memory.lend(10);
        let mut huge = Box::pin(memory.admit(100 * MIB));
        assert!(huge.as_mut().now_or_never().is_none());
        drop(small);
        let mut huge = huge.now_or_never().expect("it is alone");
        let mut next = Box::pin(memory.admit(10));
        assert!(next.as_mut().now_or_never().is_none());
        huge.resize(MIB);
        drop(huge);
        assert!(next.now_or_never().is_some());
    }

    #[test]
    fn who_goes_while_waiting_holds_up_nobody() {
        let memory = memory();
        let first = memory.admit(4 * MIB).now_or_never().expect("there is room");
        let mut gone = Box::pin(memory.admit(4 * MIB));
        let mut next = Box::pin(memory.admit(4 * MIB));
        assert!(gone.as_mut().now_or_never().is_none());
        assert!(next.as_mut().now_or_never().is_none());
        drop(gone);
        drop(first);
        assert!(next.now_or_never().is_some());
        assert_eq!(memory.requests.get(), 0);
    }

    #[test]
    fn what_the_disk_has_not_taken_counts() {
        let memory = memory();
        memory.set_unwritten(4 * MIB);
        let mut waits = Box::pin(memory.admit(MIB));
        assert!(waits.as_mut().now_or_never().is_none());
        memory.set_unwritten(0);
        assert!(waits.now_or_never().is_some());
    }

    /// What is appended counts once: as many requests get in as there is room for, no more.
    #[test]
    fn a_request_that_is_appended_waits_for_the_disk_alone() {
        let memory = memory();
        let mut first = memory.admit(2 * MIB).now_or_never().expect("there is room");
        memory.set_unwritten(2 * MIB);
        first.appended();
        let mut second = memory.admit(2 * MIB).now_or_never().expect("there is room");
        let mut third = Box::pin(memory.admit(2 * MIB));
        assert!(third.as_mut().now_or_never().is_none(), "two are written, two are read");
        memory.set_unwritten(4 * MIB);
        second.appended();
        assert!(third.as_mut().now_or_never().is_none());
        memory.set_unwritten(2 * MIB);
        assert!(third.now_or_never().is_some());
    }

    #[test]
    fn a_tail_too_many_is_told() {
        let memory = memory();
        assert_eq!(memory.count_tail(0, 5 * MIB), 0);
        assert_eq!(memory.count_tail(0, 4 * MIB), MIB);
        assert!(memory.were_tails_short());
        assert_eq!(memory.count_tail(4 * MIB, 3 * MIB), 0);
        assert!(!memory.were_tails_short());
    }
}
