//! Starting shards on pinned threads, spawning tasks in the current executor, yielding, randomness.
//! Everything here is of the calling thread's executor; only `start_thread` reaches another.
//! Not here: CPU time (`cpu`), what the machine allows (`machine`).

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::{real, sim};

pub use super::cpu::CpuClock;

/// What one pinned executor thread gets.
#[derive(Clone, Debug)]
pub struct ExecutorSpec {
    pub name: String,
    /// CPU to pin to; `None` leaves the thread unpinned.
    pub cpu: Option<usize>,
    /// Spin this long before parking, µs; 0 parks at once. Ignored when unpinned.
    pub spin_us: u64,
}

impl ExecutorSpec {
    /// An executor on no CPU in particular (tests, tools).
    pub fn unpinned(name: &str) -> ExecutorSpec {
        ExecutorSpec { name: name.into(), cpu: None, spin_us: 0 }
    }
}

/// Starts an OS thread with its own glommio executor that runs `main` to its end.
/// Errors (io_uring refused by seccomp, memlock too small) come back as a sentence with the cure.
/// Tasks that are still there when `main` ends are dropped.
pub fn start_thread<F, Fut>(
    spec: ExecutorSpec,
    main: F,
) -> std::io::Result<std::thread::JoinHandle<()>>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    real::executor::start_thread(spec, main)
}

/// Runs a future to its end on a glommio executor on the calling thread (tests, tools).
pub fn block_on<F, Fut, T>(spec: ExecutorSpec, main: F) -> std::io::Result<T>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = T> + 'static,
    T: 'static,
{
    real::executor::block_on(spec, main)
}

/// Spawns a detached task on the current executor (for `sim`: in the current simulated process).
pub fn spawn(f: impl Future<Output = ()> + 'static) {
    if sim::active() { sim::spawn(f) } else { real::executor::spawn(f) }
}

/// Runs a blocking closure off the shard (glommio: blocking pool; sim: inline after a random delay).
/// A panic of the closure goes on in the caller.
pub async fn run_blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    if sim::active() { sim::run_blocking(f).await } else { real::blocking::run(f).await }
}

/// Gives every other ready task a turn.
pub async fn yield_now() {
    if sim::active() { sim::yield_now().await } else { real::executor::yield_now().await }
}

/// Yields only when the executor wants to preempt this task (cheap check).
pub async fn yield_if_needed() {
    if sim::active() { sim::yield_now().await } else { real::executor::yield_if_needed().await }
}

/// To the end of the queue of ready tasks, in whichever executor polls this.
pub(super) async fn requeue() {
    let mut polled = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// From the executor's generator: seeded in `sim`, from the OS otherwise. Not for secrets.
pub fn random_u64() -> u64 {
    if sim::active() { sim::random_u64() } else { fastrand::u64(..) }
}

/// Room for waiters that a `Notify` keeps when nobody waits.
const WAITERS_KEPT: usize = 64;

/// Same-executor wake-up: `notify_waiters` completes every `notified()` future created before it
/// (a counter, so a notification between creation and first poll is not lost). Not Send; Clone shares.
#[derive(Clone, Default)]
pub struct Notify {
    state: Rc<RefCell<NotifyState>>,
}

#[derive(Default)]
struct NotifyState {
    notifications: u64,
    next_waiter: u64,
    /// Ordered by creation, so that waiters wake first come, first served (and the same in `sim`).
    /// The memory stays: to wait and to be woken allocates nothing once it has been done before.
    waiters: Vec<(u64, Waker)>,
    /// The other of two that take turns.
    spare: Vec<(u64, Waker)>,
}

impl NotifyState {
    /// Where a waiter is, or would be.
    fn place(&self, waiter: u64) -> Result<usize, usize> {
        match self.waiters.last() {
            Some((last, _)) if *last < waiter => Err(self.waiters.len()),
            _ => self.waiters.binary_search_by_key(&waiter, |(id, _)| *id),
        }
    }
}

impl Notify {
    pub fn new() -> Notify {
        Notify::default()
    }

    pub fn notify_waiters(&self) {
        let mut waiters = {
            let mut state = self.state.borrow_mut();
            state.notifications += 1;
            if state.waiters.is_empty() {
                return;
            }
            let spare = std::mem::take(&mut state.spare);
            std::mem::replace(&mut state.waiters, spare)
        };
        for (_, waker) in waiters.drain(..) {
            waker.wake();
        }
        if waiters.capacity() <= WAITERS_KEPT {
            self.state.borrow_mut().spare = waiters;
        }
    }

    /// The future observes the counter when this is called, not when first polled. 'static, droppable.
    pub fn notified(&self) -> impl Future<Output = ()> + 'static + use<> {
        let mut state = self.state.borrow_mut();
        let waiter = state.next_waiter;
        state.next_waiter += 1;
        Notified { state: self.state.clone(), seen: state.notifications, waiter }
    }
}

struct Notified {
    state: Rc<RefCell<NotifyState>>,
    seen: u64,
    waiter: u64,
}

impl Future for Notified {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        if state.notifications != self.seen {
            return Poll::Ready(());
        }
        match state.place(self.waiter) {
            Ok(at) => state.waiters[at].1.clone_from(cx.waker()),
            Err(at) => state.waiters.insert(at, (self.waiter, cx.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Notified {
    fn drop(&mut self) {
        // Taken out before it is dropped: dropping a waker may run other code.
        let waker = {
            let mut state = self.state.borrow_mut();
            state.place(self.waiter).ok().map(|at| state.waiters.remove(at))
        };
        drop(waker);
    }
}
