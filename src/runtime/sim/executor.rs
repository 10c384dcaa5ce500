//! The executor and its virtual clock: picks one runnable task by the seed, polls it, and moves
//! time forward to the next event when nothing can run.
//! Invariants: a future is out of the task table while it is polled or dropped; a task id is in
//! the ready queue at most once; events of one instant run in the order they were scheduled.
//! Not here: processes (who owns a task) are in `process.rs`.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::process::{self, ProcessId};
use super::world::{Entered, World, try_world, world};
use crate::runtime::clock::Instant;

type BoxedFuture = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Default)]
pub(super) struct Tasks {
    by_id: BTreeMap<u64, Task>,
    ready: VecDeque<u64>,
    next_id: u64,
}

struct Task {
    process: ProcessId,
    /// `None` while it is being polled.
    future: Option<BoxedFuture>,
    wake: Arc<TaskWake>,
}

struct TaskWake {
    id: u64,
    queued: AtomicBool,
    wakes: Arc<Mutex<VecDeque<u64>>>,
}

impl Wake for TaskWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.wakes.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.id);
        }
    }
}

/// What is due at some virtual time, by (time, order of scheduling).
#[derive(Default)]
pub(super) struct Events {
    queue: BTreeMap<EventKey, Event>,
    next: u64,
}

type EventKey = (u64, u64);
type EventCall = Box<dyn FnOnce(&Rc<World>)>;

enum Event {
    Wake(Waker),
    Call(EventCall),
}

impl World {
    fn add_event(&self, at: u64, event: Event) -> EventKey {
        let mut events = self.events.borrow_mut();
        let key = (at, events.next);
        events.next += 1;
        events.queue.insert(key, event);
        key
    }

    /// Runs `f` at virtual time `at`, whatever becomes of the task that asked for it.
    pub(super) fn schedule(&self, at: u64, f: impl FnOnce(&Rc<World>) + 'static) {
        self.add_event(at, Event::Call(Box::new(f)));
    }
}

pub(super) fn run<T: 'static>(world: &Rc<World>, root: impl Future<Output = T> + 'static) -> T {
    let entered = Entered::new(world);
    let result = Rc::new(RefCell::new(None));
    let slot = result.clone();
    spawn(async move {
        let value = root.await;
        *slot.borrow_mut() = Some(value);
    });
    let value = loop {
        step(world);
        if let Some(value) = result.borrow_mut().take() {
            break value;
        }
    };
    process::end_all(world);
    drop(entered);
    value
}

fn step(world: &Rc<World>) {
    fire_due_events(world);
    let Some(id) = next_ready(world) else {
        let next = world.events.borrow().queue.first_key_value().map(|(key, _)| key.0);
        let Some(at) = next else {
            panic!(
                "simulation seed {}: deadlock at {} ns: no runnable task and no timer; {} tasks wait",
                world.seed,
                world.now.get(),
                world.tasks.borrow().by_id.len()
            );
        };
        world.now.set(world.now.get().max(at));
        let limit = world.knobs.borrow().time_limit;
        assert!(
            u128::from(at) <= limit.as_nanos(),
            "simulation seed {}: the root has not ended after {limit:?} of virtual time",
            world.seed
        );
        return;
    };
    poll_task(world, id);
}

fn fire_due_events(world: &Rc<World>) {
    loop {
        let event = {
            let mut events = world.events.borrow_mut();
            match events.queue.first_entry() {
                Some(first) if first.key().0 <= world.now.get() => first.remove(),
                _ => return,
            }
        };
        match event {
            Event::Wake(waker) => waker.wake(),
            Event::Call(f) => f(world),
        }
    }
}

fn next_ready(world: &World) -> Option<u64> {
    let mut tasks = world.tasks.borrow_mut();
    let tasks = &mut *tasks;
    tasks.ready.extend(world.wakes.lock().unwrap_or_else(PoisonError::into_inner).drain(..));
    let fifo = world.knobs.borrow().fifo;
    while !tasks.ready.is_empty() {
        let id = if fifo {
            tasks.ready.pop_front()
        } else {
            tasks.ready.swap_remove_back(world.below(tasks.ready.len()))
        }?;
        if tasks.by_id.contains_key(&id) {
            return Some(id);
        }
    }
    None
}

fn poll_task(world: &Rc<World>, id: u64) {
    let (mut future, wake, owner) = {
        let mut tasks = world.tasks.borrow_mut();
        let Some(task) = tasks.by_id.get_mut(&id) else { return };
        let Some(future) = task.future.take() else { return };
        (future, task.wake.clone(), task.process)
    };
    let cost_ns = world.between(&world.knobs.borrow().poll_cost_ns.clone()).max(1);
    world.now.set(world.now.get() + cost_ns);
    world.trace("poll", id, owner.0);
    world.current.set(owner);
    wake.queued.store(false, Ordering::Relaxed);
    let waker = Waker::from(wake);
    let ended = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
    // A task that is gone from the table killed its own process: it does not run again.
    let finished = {
        let mut tasks = world.tasks.borrow_mut();
        match tasks.by_id.get_mut(&id) {
            Some(task) if !ended => {
                task.future = Some(future);
                None
            }
            _ => {
                tasks.by_id.remove(&id);
                Some(future)
            }
        }
    };
    drop(finished);
    world.current.set(ProcessId::ROOT);
}

/// Drops every task of a process; their destructors run inside the simulation, as that process.
pub(super) fn drop_tasks(world: &World, owner: ProcessId) {
    let current = world.current.replace(owner);
    loop {
        let task = {
            let mut tasks = world.tasks.borrow_mut();
            let id = tasks.by_id.iter().find(|(_, t)| t.process == owner).map(|(id, _)| *id);
            id.and_then(|id| tasks.by_id.remove(&id))
        };
        match task {
            Some(task) => drop(task),
            None => break,
        }
    }
    world.current.set(current);
}

/// A detached task of the current process. In a process that is already dead (a destructor of a
/// killed task spawns) the future is dropped at once.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    let w = world();
    spawn_in(&w, w.current.get(), Box::pin(future));
}

pub(super) fn spawn_in(world: &World, owner: ProcessId, future: BoxedFuture) {
    if !process::alive(world, owner) {
        drop(future);
        return;
    }
    let mut tasks = world.tasks.borrow_mut();
    let id = tasks.next_id;
    tasks.next_id += 1;
    let wake = Arc::new(TaskWake { id, queued: AtomicBool::new(true), wakes: world.wakes.clone() });
    tasks.by_id.insert(id, Task { process: owner, future: Some(future), wake });
    tasks.ready.push_back(id);
}

/// Completes at virtual time `at`. Dropping it cancels the timer.
pub fn sleep_until(at: Instant) -> Sleep {
    Sleep { at: at.0, timer: None }
}

pub(super) fn sleep_ns(world: &World, ns: u64) -> Sleep {
    Sleep { at: world.now.get().saturating_add(ns), timer: None }
}

pub struct Sleep {
    at: u64,
    timer: Option<EventKey>,
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let w = world();
        if let Some(key) = self.timer.take() {
            w.events.borrow_mut().queue.remove(&key);
        }
        if w.now.get() >= self.at {
            return Poll::Ready(());
        }
        self.timer = Some(w.add_event(self.at, Event::Wake(cx.waker().clone())));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let (Some(key), Some(w)) = (self.timer.take(), try_world()) {
            w.events.borrow_mut().queue.remove(&key);
        }
    }
}

/// Gives every other ready task a chance (with `Knobs::fifo`, a turn).
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Runs `f` inline after a random virtual delay, as if a pool of threads had done it.
pub async fn run_blocking<T>(f: impl FnOnce() -> T) -> T {
    let w = world();
    let delay_ns = w.between_ns(&w.knobs.borrow().blocking_delay.clone());
    sleep_ns(&w, delay_ns).await;
    f()
}

/// The result of an operation that goes on when the task that awaits it is dropped.
pub(super) struct Completion<T> {
    state: Rc<RefCell<(Option<T>, Option<Waker>)>>,
}

impl<T> Completion<T> {
    pub fn new() -> Completion<T> {
        Completion { state: Rc::new(RefCell::new((None, None))) }
    }
    pub fn handle(&self) -> Completion<T> {
        Completion { state: self.state.clone() }
    }
    pub fn complete(&self, value: T) {
        let mut state = self.state.borrow_mut();
        state.0 = Some(value);
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}

impl<T> Future for Completion<T> {
    type Output = T;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut state = self.state.borrow_mut();
        match state.0.take() {
            Some(value) => Poll::Ready(value),
            None => {
                state.1 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
