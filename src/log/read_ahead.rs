//! Reads of the device by those who catch up: what a reader that goes on asks for next is read before it
//! asks, and serves everyone who comes to its place while it is there; and all such reads of a shard
//! share a bound of bytes in flight, so that no write queues behind more than those.
//! One `ReadMeans` a shard; what was read ahead is its segment's. Invariant: bytes that a cut takes away
//! are in nothing that was read ahead: it forgets all of the segment, and what it takes nobody was shown.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::catch_up::CatchUp;
use super::segment::{Segment, SharedSegment};
use super::{FetchedRecords, Log, Memory, Result, reader};
use crate::limits::{CATCH_UP_BYTES_IN_FLIGHT, CATCH_UP_STEP_BYTES, READS_AHEAD};
use crate::runtime::mailbox::{OneshotSender, oneshot};
use crate::runtime::{File, Notify, ReadBuf, spawn, yield_if_needed};
use crate::types::Offset;

/// Keeps memory accounted for as long as it is there.
pub type Hold = Box<dyn std::any::Any>;

/// What a shard gives to reads of its files.
pub struct ReadMeans {
    /// Memory to read on in advance, if there is some.
    lend: Box<dyn Fn(usize) -> Option<Hold>>,
    /// When they may begin.
    pub(super) catch_up: Rc<CatchUp>,
    turns: Rc<Turns>,
}

/// Reads wait here, first come first served.
#[derive(Default)]
struct Turns {
    bytes: Cell<usize>,
    waiting: RefCell<VecDeque<(usize, OneshotSender<Turn>)>>,
}

pub(super) struct Turn {
    turns: Rc<Turns>,
    bytes: usize,
}

impl ReadMeans {
    pub fn new(lend: impl Fn(usize) -> Option<Hold> + 'static, catch_up: Rc<CatchUp>) -> ReadMeans {
        ReadMeans { lend: Box::new(lend), catch_up, turns: Rc::default() }
    }

    /// From the device, in its turn and time; beside writes in steps.
    pub(super) async fn read(
        &self,
        file: &File,
        position: u64,
        length: usize,
    ) -> std::io::Result<ReadBuf> {
        let _turn = self.turn(length).await;
        let reading = self.catch_up.begin(length).await;
        match reading.beside_writes {
            true => file.read_in_steps(position, length, CATCH_UP_STEP_BYTES).await,
            false => file.read_at(position, length).await,
        }
    }

    /// Held while the device is read. One that is larger than the bound is read alone.
    pub(super) async fn turn(&self, bytes: usize) -> Turn {
        self.turns.take(bytes).await
    }
}

impl Turns {
    async fn take(self: &Rc<Self>, bytes: usize) -> Turn {
        let (tell, turn) = oneshot();
        self.waiting.borrow_mut().push_back((bytes, tell));
        self.pump();
        match turn.await {
            Ok(turn) => turn,
            Err(_) => unreachable!("the queue answers everyone it lets go"),
        }
    }

    fn pump(self: &Rc<Self>) {
        loop {
            let tell = {
                let mut waiting = self.waiting.borrow_mut();
                let Some((bytes, _)) = waiting.front() else { return };
                let under_way = self.bytes.get();
                if under_way > 0 && under_way + bytes > CATCH_UP_BYTES_IN_FLIGHT {
                    return;
                }
                waiting.pop_front()
            };
            if let Some((bytes, tell)) = tell {
                self.bytes.set(self.bytes.get() + bytes);
                // One whose reader is gone gives it back by dropping it.
                let _ = tell.send(Turn { turns: self.clone(), bytes });
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.bytes.set(self.turns.bytes.get() - self.bytes);
        self.turns.pump();
    }
}

/// The reads beyond what was asked for, oldest first.
#[derive(Default)]
pub(super) struct ReadsAhead(VecDeque<Rc<Ahead>>);

struct Ahead {
    position: u64,
    length: usize,
    /// `None`: under way, or it failed.
    bytes: RefCell<Option<ReadBuf>>,
    under_way: Cell<bool>,
    done: Notify,
    /// Somebody has had it; readers close behind may come for it.
    served: Cell<bool>,
    /// The shard's memory that it takes.
    _hold: Hold,
}

impl ReadsAhead {
    fn find(&self, position: u64) -> Option<&Rc<Ahead>> {
        self.0.iter().find(|ahead| ahead.position == position)
    }

    /// For one more: of those that were served only the newest stays.
    fn make_room(&mut self) {
        let newest = self.0.iter().rposition(|ahead| ahead.served.get());
        let mut at = 0;
        self.0.retain(|ahead| {
            at += 1;
            !ahead.served.get() || newest == Some(at - 1)
        });
        while self.0.len() >= READS_AHEAD {
            self.0.pop_front();
        }
    }
}

impl Segment {
    /// Bytes from `position` on that were read ahead: at least `need`, at most `length`.
    pub async fn take_ahead(&self, position: u64, need: usize, length: usize) -> Option<ReadBuf> {
        let ahead = self.reads.borrow().as_ref()?.ahead.find(position)?.clone();
        while ahead.under_way.get() {
            let done = ahead.done.notified();
            if ahead.under_way.get() {
                done.await;
            }
        }
        ahead.served.set(true);
        let bytes = ahead.bytes.borrow().clone().filter(|bytes| bytes.len() >= need)?;
        let length = bytes.len().min(length);
        Some(bytes.slice(..length))
    }

    /// Begins to read what a sequential reader asks for next, if that is not here already.
    fn read_ahead(&self, file: &File, position: u64, length: usize, means: &Rc<ReadMeans>) -> bool {
        let mut reads = self.reads.borrow_mut();
        let reads = reads.get_or_insert_default();
        if reads.ahead.find(position).is_some() {
            return false;
        }
        // What goes through the page cache is for the reader itself to see to.
        if self.finished.get() && reads.see(position, length) {
            return false;
        }
        reads.ahead.make_room();
        let Some(hold) = (means.lend)(length) else { return false };
        let ahead = Rc::new(Ahead {
            position,
            length,
            bytes: RefCell::default(),
            under_way: Cell::new(true),
            done: Notify::new(),
            served: Cell::new(false),
            _hold: hold,
        });
        reads.ahead.0.push_back(ahead.clone());
        let (file, means) = (file.clone(), means.clone());
        spawn(async move {
            // An error is met again, and told, by the reader itself.
            let read = means.read(&file, ahead.position, ahead.length).await;
            *ahead.bytes.borrow_mut() = read.ok();
            ahead.under_way.set(false);
            ahead.done.notify_waiters();
        });
        true
    }

    /// Whether something was read ahead and nothing of it is under way.
    #[cfg(test)]
    pub fn is_read_ahead(&self) -> bool {
        let reads = self.reads.borrow();
        let ahead = reads.as_ref().map(|reads| &reads.ahead.0);
        ahead.is_some_and(|all| !all.is_empty() && all.iter().all(|a| !a.under_way.get()))
    }

    /// Nobody came for it in time.
    pub fn forget_ahead(&self) {
        if let Some(reads) = self.reads.borrow_mut().as_mut() {
            reads.ahead = ReadsAhead::default();
        }
    }
}

impl Log {
    /// As `read`, for a reader that will probably go on where this read ends, within the shard's means.
    pub async fn read_on(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        min_one: bool,
        means: &Rc<ReadMeans>,
    ) -> Result<FetchedRecords> {
        let resumed = self.inner.state.borrow().segment_for(from).stopped_at(from).is_some();
        let records = self.read_with(from, up_to, max_bytes, min_one, Some(means)).await?;
        let last = records.chunks.last().map(|chunk| &chunk.memory);
        if resumed && matches!(last, Some(Memory::Read(_))) {
            self.begin_ahead(&records, (from, up_to), max_bytes, means);
        }
        // To check a megabyte took a while.
        yield_if_needed().await;
        Ok(records)
    }

    /// The read that follows this one, of the same size.
    fn begin_ahead(
        &self,
        records: &FetchedRecords,
        (from, up_to): (Offset, Offset),
        max_bytes: usize,
        means: &Rc<ReadMeans>,
    ) {
        let next = reader::next_offset(records).filter(|next| *next > from && *next < up_to);
        let Some(next) = next else { return };
        let segment: SharedSegment = {
            let state = self.inner.state.borrow();
            if state.tail.sealed().front().is_some_and(|first| first.base <= next) {
                return;
            }
            state.segment_for(next)
        };
        let position = segment.stopped_at(next).or((segment.base == next).then_some(0));
        let (Some(position), Some(file)) = (position, segment.file_now()) else { return };
        let left = segment.written.get().saturating_sub(position);
        let length = reader::read_bytes(position, max_bytes).min(left as usize);
        if length == 0 || !segment.read_ahead(&file, position, length, means) {
            return;
        }
        let read_ahead = &mut self.inner.state.borrow_mut().read_ahead;
        if !read_ahead.iter().any(|s| Rc::ptr_eq(s, &segment)) {
            read_ahead.push(segment);
        }
    }

    /// Each second: what was read ahead and not asked for is let go.
    pub fn forget_ahead(&self) {
        let read_ahead = std::mem::take(&mut self.inner.state.borrow_mut().read_ahead);
        for segment in read_ahead {
            segment.forget_ahead();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn reads_wait_for_those_before_them() {
        let catch_up = Rc::new(CatchUp::new(0, vec![Default::default()], 1 << 20));
        let means = ReadMeans::new(|_| None, catch_up);
        let most = CATCH_UP_BYTES_IN_FLIGHT;
        let first = means.turn(most / 2).now_or_never().expect("there is room");
        let mut large = Box::pin(means.turn(most * 2));
        let mut small = Box::pin(means.turn(1));
        let mut gone = Box::pin(means.turn(most));
        assert!(large.as_mut().now_or_never().is_none());
        assert!(small.as_mut().now_or_never().is_none(), "it would fit, but it came later");
        assert!(gone.as_mut().now_or_never().is_none());
        drop(first);
        let large = large.now_or_never().expect("it is alone");
        drop(gone);
        assert!(small.as_mut().now_or_never().is_none());
        drop(large);
        drop(small.now_or_never().expect("it is next"));
        assert_eq!(means.turns.bytes.get(), 0);
    }
}
