//! What an executor's thread runs: its tasks in the order in which they were woken, its timers, and
//! the wait for the kernel. All of it inside one glommio task, which goes back to glommio only when
//! a file operation of glommio's is under way: one wait is one system call.
//! Owner: the executor's thread; only `Remote` is for others. Invariants: every ready task runs once
//! before the ring is looked at again; a task that another thread wakes while this one is about to
//! wait is seen before the wait or ends it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::super::clock::Instant;
use super::clock;
use super::ring::{Readiness, Ring};
use super::timers::Timers;

/// While glommio has something under way its rings are looked at so often; an operation that takes
/// longer is looked at twice, four times … as seldom.
const GLOMMIO_AFTER_MIN: Duration = Duration::from_micros(25);
const GLOMMIO_AFTER_MAX: Duration = Duration::from_millis(1);

/// A task that works on asks after this long whether others wait.
const TURN_MAX: Duration = Duration::from_micros(250);

type BoxedFuture = Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    static ENGINE: RefCell<Option<Rc<Engine>>> = const { RefCell::new(None) };
    /// Of the engine that runs on this thread; 0: none.
    static ENGINE_ID: Cell<u64> = const { Cell::new(0) };
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

pub struct Engine {
    pub ring: Rc<Ring>,
    pub timers: Timers,
    ready: RefCell<VecDeque<Arc<Task>>>,
    futures: RefCell<Futures>,
    running: Cell<bool>,
    turn_began: Cell<Instant>,
    spin: Duration,
    glommio: GlommioWork,
    remote: Arc<Remote>,
    woken_from_outside: Rc<Readiness>,
}

#[derive(Default)]
struct Futures {
    slots: Vec<Option<BoxedFuture>>,
    /// While a future runs it is not in its slot, which is its own all the same.
    free: Vec<usize>,
}

/// What a waker points to.
struct Task {
    slot: usize,
    queued: AtomicBool,
    done: AtomicBool,
    remote: Arc<Remote>,
}

/// The way in for other threads.
struct Remote {
    engine: u64,
    woken: Mutex<Vec<Arc<Task>>>,
    count: AtomicUsize,
    waiting: AtomicBool,
    event: OwnedFd,
}

/// When to give glommio a turn.
struct GlommioWork {
    under_way: Cell<usize>,
    /// Something was queued there that has not been submitted.
    queued: Cell<bool>,
    next: Cell<Instant>,
    after: Cell<Duration>,
}

/// Why `Engine::run` came back.
#[derive(PartialEq, Eq)]
pub enum Pause {
    /// Glommio's rings want a look.
    Glommio,
    Ended,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        if ENGINE_ID.get() == self.remote.engine {
            with(|engine| engine.ready.borrow_mut().push_back(self));
        } else {
            Remote::wake(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.load(Ordering::Acquire) {
            self.clone().wake();
        }
    }
}

impl Remote {
    fn wake(task: Arc<Task>) {
        let remote = task.remote.clone();
        remote.woken.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        remote.count.fetch_add(1, Ordering::SeqCst);
        // Either we see that it is about to wait, or it sees the count.
        if remote.waiting.swap(false, Ordering::SeqCst) {
            let one = 1u64.to_ne_bytes();
            // SAFETY: eight bytes from our own stack to an open eventfd.
            unsafe { libc::write(remote.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }
}

/// An engine on its thread; dropped, what is left of its tasks goes.
pub struct Installed(Rc<Engine>);

impl Drop for Installed {
    fn drop(&mut self) {
        self.0.drop_all_tasks();
        self.0.ready.take();
        ENGINE_ID.set(0);
        let engine = ENGINE.take();
        drop(engine);
    }
}

/// The engine of this thread, if one runs.
pub fn with<R>(f: impl FnOnce(&Rc<Engine>) -> R) -> Option<R> {
    let engine = |engine: &RefCell<Option<Rc<Engine>>>| engine.borrow().as_ref().map(f);
    // A thread that ends has none either.
    ENGINE.try_with(engine).ok().flatten()
}

pub fn current() -> Rc<Engine> {
    with(Rc::clone).expect("only inside an executor")
}

impl Engine {
    /// On the thread that is to run it.
    pub fn start(spin: Duration) -> io::Result<Rc<Engine>> {
        let ring = Rc::new(Ring::new()?);
        // SAFETY: a plain system call; the descriptor is nobody else's.
        let event = unsafe {
            match libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) {
                fd if fd >= 0 => OwnedFd::from_raw_fd(fd),
                _ => return Err(io::Error::last_os_error()),
            }
        };
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let remote = Arc::new(Remote {
            engine: id,
            woken: Mutex::default(),
            count: AtomicUsize::new(0),
            waiting: AtomicBool::new(false),
            event,
        });
        Ok(Rc::new(Engine {
            ring,
            timers: Timers::default(),
            ready: RefCell::default(),
            futures: RefCell::default(),
            running: Cell::new(true),
            turn_began: Cell::new(clock::now()),
            spin,
            glommio: GlommioWork {
                under_way: Cell::new(0),
                queued: Cell::new(false),
                next: Cell::new(Instant(0)),
                after: Cell::new(GLOMMIO_AFTER_MIN),
            },
            remote,
            woken_from_outside: Rc::default(),
        }))
    }

    /// From here on this thread's sockets, files and timers are this engine's.
    pub fn install(self: &Rc<Self>) -> Installed {
        ENGINE_ID.set(self.remote.engine);
        let before = ENGINE.replace(Some(self.clone()));
        assert!(before.is_none(), "one executor a thread");
        Installed(self.clone())
    }

    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        if !self.running.get() {
            return; // the executor is ending: the task would never run
        }
        let future: BoxedFuture = Box::pin(future);
        let mut futures = self.futures.borrow_mut();
        let slot = match futures.free.pop() {
            Some(slot) => {
                futures.slots[slot] = Some(future);
                slot
            }
            None => {
                futures.slots.push(Some(future));
                futures.slots.len() - 1
            }
        };
        let task = Task {
            slot,
            queued: AtomicBool::new(true),
            done: AtomicBool::new(false),
            remote: self.remote.clone(),
        };
        self.ready.borrow_mut().push_back(Arc::new(task));
    }

    /// A dropped future may spawn on its way out, so from here on `spawn` drops what it is given.
    pub fn drop_all_tasks(&self) {
        self.running.set(false);
        let mut at = 0;
        loop {
            let future = {
                let mut futures = self.futures.borrow_mut();
                let Some(slot) = futures.slots.get_mut(at) else { return };
                slot.take()
            };
            drop(future);
            at += 1;
        }
    }

    /// Runs until `ended`, or until glommio wants a turn.
    pub fn run(&self, ended: &Cell<bool>) -> Pause {
        loop {
            self.take_remote();
            if self.timers.earliest().is_some() {
                self.timers.wake_due(clock::now());
            }
            self.run_ready();
            if ended.get() {
                return Pause::Ended;
            }
            if self.glommio.is_due() {
                self.ring.submit();
                return Pause::Glommio;
            }
            if self.ready.borrow().is_empty() {
                self.wait();
            } else {
                self.ring.turn();
            }
        }
    }

    /// Each task that is ready now, once.
    fn run_ready(&self) {
        let count = self.ready.borrow().len();
        if count > 0 {
            self.turn_began.set(clock::now());
        }
        for _ in 0..count {
            let Some(task) = self.ready.borrow_mut().pop_front() else { return };
            self.run_one(task);
        }
    }

    fn run_one(&self, task: Arc<Task>) {
        if task.done.load(Ordering::Relaxed) {
            return;
        }
        // From here on it may be woken again.
        task.queued.store(false, Ordering::Release);
        let slot = task.slot;
        let Some(mut future) = self.futures.borrow_mut().slots[slot].take() else { return };
        let waker = Waker::from(task.clone());
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => self.futures.borrow_mut().slots[slot] = Some(future),
            Poll::Ready(()) => {
                task.done.store(true, Ordering::Relaxed);
                drop(future);
                self.futures.borrow_mut().free.push(slot);
            }
        }
    }

    fn take_remote(&self) {
        if self.remote.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut woken = self.remote.woken.lock().unwrap_or_else(PoisonError::into_inner);
        self.remote.count.store(0, Ordering::SeqCst);
        self.ready.borrow_mut().extend(woken.drain(..));
    }

    /// Until the kernel, a timer, another thread or glommio's turn.
    fn wait(&self) {
        let next = [self.timers.earliest(), self.glommio.next_look()].into_iter().flatten().min();
        let mut left = next.map(|at| at.saturating_since(clock::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return self.ring.submit();
        }
        if !self.spin.is_zero() {
            self.ring.submit();
            let begin = clock::now();
            let spin = left.map_or(self.spin, |left| left.min(self.spin));
            while clock::now().saturating_since(begin) < spin {
                if self.remote.count.load(Ordering::Relaxed) > 0 || !self.ready.borrow().is_empty()
                {
                    return;
                }
                if self.ring.has_completions() {
                    return self.ring.turn();
                }
                std::hint::spin_loop();
            }
            left = left.map(|left| left.saturating_sub(spin));
            if !self.ready.borrow().is_empty() || left.is_some_and(|left| left.is_zero()) {
                return;
            }
        }
        self.listen_to_others();
        self.remote.waiting.store(true, Ordering::SeqCst);
        if self.remote.count.load(Ordering::SeqCst) == 0 {
            self.ring.wait(left);
        }
        self.remote.waiting.store(false, Ordering::SeqCst);
    }

    /// The ring reports writes to the eventfd.
    fn listen_to_others(&self) {
        let cx = Context::from_waker(Waker::noop());
        let (event, readiness) = (self.remote.event.as_raw_fd(), &self.woken_from_outside);
        while self.ring.poll_ready(&cx, event, readiness, libc::POLLIN).is_ready() {
            let mut count = [0u8; 8];
            // SAFETY: eight bytes to our own stack from an open eventfd, which does not block.
            unsafe { libc::read(event, count.as_mut_ptr().cast(), count.len()) };
            readiness.would_block();
        }
    }

    /// The task that runs has had its turn and others may wait.
    pub fn turn_is_over(&self) -> bool {
        clock::now().saturating_since(self.turn_began.get()) > TURN_MAX
    }

    /// Something was given to glommio that nobody waits for: a close.
    pub fn glommio_has_work(&self) {
        self.glommio.queued.set(true);
    }

    /// Glommio has looked at its rings.
    pub fn glommio_had_its_turn(&self) {
        let work = &self.glommio;
        work.queued.set(false);
        work.next.set(clock::now() + work.after.get());
        work.after.set((work.after.get() * 2).min(GLOMMIO_AFTER_MAX));
    }
}

impl GlommioWork {
    fn is_due(&self) -> bool {
        self.queued.get() || (self.under_way.get() > 0 && clock::now() >= self.next.get())
    }

    fn next_look(&self) -> Option<Instant> {
        (self.under_way.get() > 0).then(|| self.next.get())
    }
}

struct UnderWay(Rc<Engine>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let work = &self.0.glommio;
        work.under_way.set(work.under_way.get() - 1);
        work.queued.set(true); // a cancellation, perhaps
    }
}

/// Awaits an operation of glommio's; its rings are looked at until that has ended.
pub async fn through_glommio<T>(operation: impl Future<Output = T>) -> T {
    let engine = current();
    let work = &engine.glommio;
    work.under_way.set(work.under_way.get() + 1);
    work.after.set(GLOMMIO_AFTER_MIN);
    work.queued.set(true);
    let _under_way = UnderWay(engine.clone());
    // An operation with several steps queues each when it is polled.
    let mut operation = std::pin::pin!(operation);
    std::future::poll_fn(|cx| {
        engine.glommio.queued.set(true);
        operation.as_mut().poll(cx)
    })
    .await
}
