//! Starting shards on pinned threads, spawning tasks in the current executor, yielding, randomness,
//! CPU time of a thread.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use super::{real, sim};

/// What one pinned executor thread gets.
#[derive(Clone, Debug)]
pub struct ExecutorSpec {
    pub name: String,
    /// CPU to pin to; `None` leaves the thread unpinned.
    pub cpu: Option<usize>,
    /// Spin this long before parking, µs; 0 parks at once.
    pub spin_us: u64,
}

/// CPUs this process may run on.
pub fn cpus() -> Vec<usize> {
    core_affinity::get_core_ids().map_or(vec![0], |ids| ids.iter().map(|c| c.id).collect())
}

/// Starts an OS thread with its own glommio executor that runs `main` to its end.
/// Errors (io_uring refused by seccomp, memlock too small) come back as a sentence with the cure.
pub fn start_thread<F, Fut>(spec: ExecutorSpec, main: F) -> io::Result<std::thread::JoinHandle<()>>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let (made, wait) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(spec.name.clone()).spawn(move || {
        match real::executor::make(&spec) {
            Ok(executor) => {
                let _ = made.send(Ok(()));
                real::executor::run(&executor, main());
            }
            Err(e) => {
                let _ = made.send(Err(e));
            }
        }
    })?;
    match wait.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(e)) => Err(e),
        Err(_) => Err(io::Error::other("an executor thread died while it was starting")),
    }
}

/// Runs a future to its end on a glommio executor on the calling thread (tests, tools).
pub fn block_on<F, Fut, T>(spec: ExecutorSpec, main: F) -> io::Result<T>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = T> + 'static,
    T: 'static,
{
    let executor = real::executor::make(&spec)?;
    Ok(real::executor::run(&executor, main()))
}

/// Spawns a detached task on the current executor (for `sim`: in the current simulated process).
pub fn spawn(f: impl Future<Output = ()> + 'static) {
    if sim::active() {
        sim::spawn(f);
    } else {
        real::executor::spawn(f);
    }
}

/// Runs a blocking closure off the shard (glommio: blocking pool; sim: inline after a random delay).
pub async fn run_blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    if sim::active() { sim::run_blocking(f).await } else { real::executor::run_blocking(f).await }
}

/// Gives every other ready task a turn.
pub async fn yield_now() {
    if sim::active() { sim::yield_now().await } else { real::executor::yield_now().await }
}

/// Yields only when the executor wants to preempt this task (cheap check).
pub async fn yield_if_needed() {
    if sim::active() { sim::yield_now().await } else { real::executor::yield_if_needed().await }
}

/// From the executor's generator: seeded in `sim`, from the OS otherwise. Not for secrets.
pub fn random_u64() -> u64 {
    if sim::active() { sim::random_u64() } else { fastrand::u64(..) }
}

/// Each executor calls this once, before it opens any other file, with a small file that is not
/// empty, on the log device: glommio's probe of the device goes wrong otherwise (glommio.md, rule 4).
pub async fn open_probe_file(path: &Path) -> io::Result<()> {
    if sim::active() { Ok(()) } else { real::disk::open_probe_file(path).await }
}

/// CPU time of one thread, readable from any thread, also after it ended.
#[derive(Clone, Debug)]
pub struct CpuClock {
    clock: libc::clockid_t,
    last_ns: Arc<AtomicU64>,
}

impl CpuClock {
    pub fn of_this_thread() -> CpuClock {
        let mut clock: libc::clockid_t = 0;
        // SAFETY: pthread_self is this thread, `clock` a valid out-parameter.
        let failed = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
        // It can't fail for the calling thread; the process clock is the nearest there is.
        let clock = if failed == 0 { clock } else { libc::CLOCK_PROCESS_CPUTIME_ID };
        CpuClock { clock, last_ns: Arc::default() }
    }

    /// Seconds used so far; the last reading once the thread has ended.
    pub fn seconds(&self) -> f64 {
        let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `t` is a valid out-parameter; a clock of an ended thread gives EINVAL.
        if unsafe { libc::clock_gettime(self.clock, &mut t) } == 0 {
            self.last_ns.store(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64, Relaxed);
        }
        self.last_ns.load(Relaxed) as f64 / 1e9
    }
}

/// Same-executor wake-up: `notify_waiters` completes every `notified()` future created before it
/// (a counter, so a notification between creation and first poll is not lost). Not Send; Clone shares.
#[derive(Clone, Default)]
pub struct Notify {
    inner: Rc<NotifyInner>,
}

#[derive(Default)]
struct NotifyInner {
    generation: Cell<u64>,
    wakers: RefCell<Vec<Waker>>,
}

impl Notify {
    pub fn new() -> Notify {
        Notify::default()
    }

    pub fn notify_waiters(&self) {
        self.inner.generation.set(self.inner.generation.get().wrapping_add(1));
        // Woken tasks may register again at once: the list is taken first.
        for waker in self.inner.wakers.take() {
            waker.wake();
        }
    }

    /// The future observes the counter when this is called, not when first polled. 'static, droppable.
    pub fn notified(&self) -> Notified {
        Notified { notify: self.clone(), generation: self.inner.generation.get() }
    }
}

/// What `Notify::notified` returns.
pub struct Notified {
    notify: Notify,
    generation: u64,
}

impl Future for Notified {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let inner = &self.notify.inner;
        if inner.generation.get() != self.generation {
            return Poll::Ready(());
        }
        let mut wakers = inner.wakers.borrow_mut();
        if !wakers.iter().any(|w| w.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}
