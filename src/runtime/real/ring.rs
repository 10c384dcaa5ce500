//! The io_uring of one executor: readiness of its sockets, direct reads and writes of its files,
//! wakes from other threads. One system call submits what was queued and waits for what comes,
//! where glommio's three rings take about ten. Owner: the executor's thread.
//! Invariants: a slot is free again only when the kernel has posted its last completion; memory and
//! file of a read or write stay here until then, whoever gave up waiting.
//! Not here: what runs next (`engine`), system calls on sockets (`socket`).

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::aligned::AlignedBuf;
use super::disk::File;

/// What one round of tasks queues; more is submitted in between.
const SUBMISSIONS: u32 = 256;
/// A wake of many sockets at once; beyond it the kernel keeps completions until there is room.
const COMPLETIONS: u32 = 4096;

/// What is queued is submitted before the executor waits, or at so many, or after so many turns.
const SUBMIT_QUEUED: usize = 64;
const SUBMIT_AFTER_TURNS: u32 = 4;

/// Completions that nobody waits for.
const IGNORED: u64 = u64::MAX;

const ENTER_GETEVENTS: u32 = 1;

/// At the end, polls are gone at once; what a disk still holds is waited for so long.
const LAST_COMPLETIONS_MAX: Duration = Duration::from_secs(10);

pub struct Ring {
    inner: RefCell<Inner>,
    /// One poll reports again and again (Linux 6.1 and newer, see `open`).
    multishot: bool,
}

struct Inner {
    uring: IoUring,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Those that the completions just seen wake.
    woken: Vec<Waker>,
    /// Polls to cancel once more: the kernel refuses (EALREADY) while it has one's completion in hand, and a poll
    /// that reports again and again then goes on, with the socket in its grip.
    cancel_again: Vec<u32>,
    /// Turns that left something queued.
    put_off: u32,
}

enum Slot {
    Free,
    Poll(Rc<Readiness>),
    Disk(DiskSlot),
}

struct DiskSlot {
    outcome: Option<i32>,
    waker: Option<Waker>,
    abandoned: bool,
    held: Held,
}

/// What the kernel works with while a read or write is under way.
pub struct Held {
    pub _file: File,
    pub memory: Memory,
}

pub enum Memory {
    None,
    ToWrite { _buf: Rc<AlignedBuf> },
    ToFill(AlignedBuf),
}

/// Whether a descriptor is ready in one direction, and who waits for it.
#[derive(Default)]
pub struct Readiness {
    ready: Cell<bool>,
    /// The other side is gone or the socket has failed: ready for good.
    ended: Cell<bool>,
    /// For a writer: the kernel had something to say, but not that there is room.
    unsure: Cell<bool>,
    writes: bool,
    /// Nobody asks any more: the poll is to go.
    forgotten: Cell<bool>,
    slot: Cell<Option<u32>>,
    waker: RefCell<Option<Waker>>,
}

const FAILED: i32 = (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) as i32;

impl Readiness {
    /// Ready until a system call says otherwise.
    pub fn to_read() -> Rc<Readiness> {
        Rc::new(Readiness { ready: Cell::new(true), ..Readiness::default() })
    }

    pub fn to_write() -> Rc<Readiness> {
        Rc::new(Readiness { ready: Cell::new(true), writes: true, ..Readiness::default() })
    }

    /// Once: whether ready may mean anything.
    pub fn was_unsure(&self) -> bool {
        self.unsure.take()
    }

    /// All that was there was taken: the next one to wait waits for the kernel's word, unless the
    /// end has been reported already.
    pub fn clear(&self) {
        self.ready.set(self.ended.get());
    }

    /// A system call would have to wait: so does its task, whatever was reported before.
    pub fn would_block(&self) {
        self.ended.set(false);
        self.ready.set(false);
    }

    fn completed(&self, result: i32, more: bool) -> Option<Waker> {
        if !more {
            self.slot.set(None);
        }
        if result == -libc::ECANCELED {
            return None;
        }
        // Whoever waits to write is told as well that the peer has stopped writing, which says
        // nothing of the room there is.
        let ended = if self.writes { FAILED } else { FAILED | libc::POLLRDHUP as i32 };
        if self.writes && result > 0 && result & (ended | libc::POLLOUT as i32) == 0 {
            if more {
                return None;
            }
            self.unsure.set(true);
        }
        if result < 0 || result & ended != 0 {
            self.ended.set(true);
        }
        self.ready.set(true);
        self.waker.borrow_mut().take()
    }
}

fn open() -> io::Result<(IoUring, bool)> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(COMPLETIONS).setup_clamp();
    let plain = builder.clone();
    // For tests: what older kernels give.
    if std::env::var_os("SPINDLE_PLAIN_RING").is_some() {
        return Ok((plain.build(SUBMISSIONS)?, false));
    }
    // Completions are worked off when we ask for them and interrupt nobody (Linux 6.1).
    builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
    match builder.build(SUBMISSIONS) {
        Ok(ring) => Ok((ring, true)),
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok((plain.build(SUBMISSIONS)?, false)),
        Err(e) => Err(e),
    }
}

impl Ring {
    pub fn new() -> io::Result<Ring> {
        let (uring, multishot) = open()?;
        if !uring.params().is_feature_ext_arg() {
            return Err(io::Error::from_raw_os_error(libc::ENOSYS));
        }
        // Saves a look-up a call; kernels without it do the look-up.
        let _ = uring.submitter().register_ring_fd();
        let inner = Inner {
            uring,
            slots: Vec::new(),
            free: Vec::new(),
            woken: Vec::new(),
            cancel_again: Vec::new(),
            put_off: 0,
        };
        Ok(Ring { inner: RefCell::new(inner), multishot })
    }

    /// Ready at once, or when the kernel says so; asks the kernel when nobody has.
    pub fn poll_ready(
        &self,
        cx: &Context<'_>,
        fd: RawFd,
        readiness: &Rc<Readiness>,
        events: libc::c_short,
    ) -> Poll<()> {
        if readiness.ready.get() {
            return Poll::Ready(());
        }
        match &mut *readiness.waker.borrow_mut() {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        if readiness.slot.get().is_none() {
            let events = (events | libc::POLLRDHUP) as u32;
            let multi = self.multishot;
            let mut inner = self.inner.borrow_mut();
            let slot = inner.take_slot(Slot::Poll(readiness.clone()));
            readiness.slot.set(Some(slot));
            inner.push(opcode::PollAdd::new(Fd(fd), events).multi(multi).build(), slot.into());
        }
        Poll::Pending
    }

    /// Whatever was asked for this descriptor is over: the kernel lets go of it.
    pub fn forget(&self, readiness: &Readiness) {
        readiness.forgotten.set(true);
        if let Some(slot) = readiness.slot.get() {
            let remove = opcode::PollRemove::new(slot.into()).build();
            self.inner.borrow_mut().push(remove, IGNORED);
        }
    }

    /// Runs a read, write or sync to its end: the number of bytes, and what was lent for it.
    pub async fn disk(
        self: &Rc<Self>,
        entry: squeue::Entry,
        held: Held,
    ) -> (io::Result<usize>, Held) {
        let slot = {
            let disk = DiskSlot { outcome: None, waker: None, abandoned: false, held };
            let mut inner = self.inner.borrow_mut();
            let slot = inner.take_slot(Slot::Disk(disk));
            inner.push(entry, slot.into());
            slot
        };
        let mut wait = DiskWait { ring: self, slot: Some(slot) };
        let (result, held) = poll_fn(|cx| wait.poll(cx)).await;
        match result {
            n if n >= 0 => (Ok(n as usize), held),
            error => (Err(io::Error::from_raw_os_error(-error)), held),
        }
    }

    /// Whether the kernel has something for us.
    pub fn has_completions(&self) -> bool {
        let mut inner = self.inner.borrow_mut();
        let waiting = {
            let queue = inner.uring.submission();
            queue.taskrun() || queue.cq_overflow()
        };
        waiting || !inner.uring.completion().is_empty()
    }

    /// Wakes those whose completions are there, without waiting. What is queued is submitted only
    /// when it has been put off for a while: what one wake of the executor queues goes together,
    /// mostly with the next wait, and a device that is told once of many writes costs less.
    pub fn turn(&self) {
        let must_enter = {
            let mut inner = self.inner.borrow_mut();
            let queue = inner.uring.submission();
            let kernel_has_work = queue.taskrun() || queue.cq_overflow();
            let queued = queue.len();
            drop(queue);
            inner.put_off = if queued > 0 { inner.put_off + 1 } else { 0 };
            kernel_has_work || queued >= SUBMIT_QUEUED || inner.put_off >= SUBMIT_AFTER_TURNS
        };
        if must_enter {
            self.inner.borrow_mut().submit();
        }
        self.wake_completed();
    }

    /// Submits what is queued now and wakes those whose completions are there.
    pub fn submit(&self) {
        if !self.inner.borrow_mut().uring.submission().is_empty() {
            self.inner.borrow_mut().submit();
        }
        self.turn();
    }

    /// As `turn`, but waits for a completion, `timeout` at most.
    pub fn wait(&self, timeout: Option<Duration>) {
        {
            let mut inner = self.inner.borrow_mut();
            inner.put_off = 0;
            let submitter = inner.uring.submitter();
            // A signal, the timeout or a full completion queue end the wait; the caller looks again.
            let _ = match timeout {
                None => submitter.submit_and_wait(1),
                Some(timeout) => {
                    let timeout = Timespec::from(timeout);
                    submitter.submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
                }
            };
        }
        self.wake_completed();
    }

    fn wake_completed(&self) {
        let mut woken = {
            let mut inner = self.inner.borrow_mut();
            inner.collect();
            for slot in std::mem::take(&mut inner.cancel_again) {
                inner.push(opcode::PollRemove::new(slot.into()).build(), IGNORED);
            }
            std::mem::take(&mut inner.woken)
        };
        for waker in woken.drain(..) {
            waker.wake();
        }
        self.inner.borrow_mut().woken = woken;
    }

    /// Cancels every poll and waits for what is under way on disks. What a disk does not give back
    /// in time stays allocated for good: the kernel may still write there.
    pub fn finish(&self) {
        let polls: Vec<Rc<Readiness>> = {
            let inner = self.inner.borrow();
            let poll = |slot: &Slot| match slot {
                Slot::Poll(readiness) => Some(readiness.clone()),
                _ => None,
            };
            inner.slots.iter().filter_map(poll).collect()
        };
        for readiness in polls {
            self.forget(&readiness);
        }
        let begin = Instant::now();
        while self.inner.borrow().is_busy() {
            if begin.elapsed() > LAST_COMPLETIONS_MAX {
                return;
            }
            self.wait(Some(Duration::from_millis(100)));
        }
    }
}

impl Inner {
    fn take_slot(&mut self, slot: Slot) -> u32 {
        match self.free.pop() {
            Some(n) => {
                self.slots[n as usize] = slot;
                n
            }
            None => {
                self.slots.push(slot);
                self.slots.len() as u32 - 1
            }
        }
    }

    fn is_busy(&self) -> bool {
        self.slots.iter().any(|slot| !matches!(slot, Slot::Free))
    }

    fn push(&mut self, entry: squeue::Entry, user_data: u64) {
        let entry = entry.user_data(user_data);
        // SAFETY: the slot of `user_data` keeps what the entry points to until it has completed.
        while unsafe { self.uring.submission().push(&entry) }.is_err() {
            self.submit();
        }
    }

    /// Also lets the kernel post what it has put off.
    fn submit(&mut self) {
        self.put_off = 0;
        let queued = self.uring.submission().len() as u32;
        // SAFETY: no argument is passed; entries are valid, see `push`.
        let entered = unsafe {
            self.uring.submitter().enter::<libc::sigset_t>(queued, 0, ENTER_GETEVENTS, None)
        };
        // The completion queue is full: room is made, and the kernel goes on at the next call.
        if entered.is_err() {
            self.collect();
        }
    }

    fn collect(&mut self) {
        let Inner { uring, slots, free, woken, cancel_again, .. } = self;
        for completion in uring.completion() {
            if completion.user_data() == IGNORED {
                continue;
            }
            let n = completion.user_data() as u32;
            let more = cqueue::more(completion.flags());
            let slot = &mut slots[n as usize];
            match slot {
                Slot::Free => unreachable!("a completion of nothing"),
                Slot::Poll(readiness) => {
                    woken.extend(readiness.completed(completion.result(), more));
                    if !more {
                        *slot = Slot::Free;
                        free.push(n);
                    } else if readiness.forgotten.get() {
                        cancel_again.push(n);
                    }
                }
                Slot::Disk(disk) if disk.abandoned => {
                    *slot = Slot::Free;
                    free.push(n);
                }
                Slot::Disk(disk) => {
                    disk.outcome = Some(completion.result());
                    woken.extend(disk.waker.take());
                }
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let slots = std::mem::take(&mut self.slots);
        // The kernel may still write there, or read from there (a panic: `finish` was not run).
        let lent = slots.iter().any(|slot| matches!(slot, Slot::Disk(d) if d.outcome.is_none()));
        if lent {
            std::mem::forget(slots);
        }
    }
}

struct DiskWait<'a> {
    ring: &'a Ring,
    slot: Option<u32>,
}

impl DiskWait<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<(i32, Held)> {
        let mut inner = self.ring.inner.borrow_mut();
        let Some(n) = self.slot else { unreachable!("polled after its end") };
        let Slot::Disk(disk) = &mut inner.slots[n as usize] else { unreachable!("not ours") };
        let Some(result) = disk.outcome else {
            match &mut disk.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        };
        self.slot = None;
        let slot = std::mem::replace(&mut inner.slots[n as usize], Slot::Free);
        inner.free.push(n);
        let Slot::Disk(disk) = slot else { unreachable!("it was a moment ago") };
        Poll::Ready((result, disk.held))
    }
}

impl Drop for DiskWait<'_> {
    fn drop(&mut self) {
        let Some(n) = self.slot else { return };
        let mut inner = self.ring.inner.borrow_mut();
        let Some(Slot::Disk(disk)) = inner.slots.get_mut(n as usize) else { return };
        let done = disk.outcome.is_some();
        let (waker, slot) = match done {
            true => (None, Some(std::mem::replace(&mut inner.slots[n as usize], Slot::Free))),
            false => {
                disk.abandoned = true;
                (disk.waker.take(), None)
            }
        };
        if done {
            inner.free.push(n);
        }
        drop(inner);
        drop((waker, slot));
    }
}
