//! Starting a glommio executor on a thread and the tasks that live in it.
//! Invariants: the preempt timer is 10 ms (below that an executor can park with runnable tasks
//! even when nothing else runs on its CPU); every executor is watched by the watchdog; when `main`
//! ends, every task still there is dropped in the executor, so that its sockets and files close
//! (glommio itself leaks the futures of pending tasks).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};

use super::super::clock::Instant;
use super::super::executor::ExecutorSpec;
use super::super::machine;
use super::{blocking, clock, io_error, preflight, watchdog};

const PREEMPT_TIMER: Duration = Duration::from_millis(10);

/// A queue that never drains sees new socket readiness only at the preempt timer: a yield after
/// this long goes through the rings instead of to the end of the queue.
const RINGS_UNSEEN_MAX: Duration = Duration::from_micros(250);

type BoxedFuture = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks of this thread's executor.
#[derive(Default)]
struct Tasks {
    running: Cell<bool>,
    next_id: Cell<u64>,
    futures: RefCell<BTreeMap<u64, Rc<RefCell<Option<BoxedFuture>>>>>,
    rings_seen: Cell<Instant>,
}

thread_local! {
    static TASKS: Tasks = Tasks::default();
}

pub fn start_thread<F, Fut>(spec: ExecutorSpec, main: F) -> io::Result<JoinHandle<()>>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    check_cpu(&spec)?;
    blocking::start();
    let (started, outcome) = std::sync::mpsc::channel();
    let handle = std::thread::Builder::new().name(spec.name.clone()).spawn(move || {
        match make_executor(&spec) {
            Ok(executor) => {
                let _ = started.send(Ok(()));
                run(executor, main);
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
    })?;
    match outcome.recv() {
        Ok(Ok(())) => Ok(handle),
        Ok(Err(error)) => {
            let _ = handle.join();
            Err(error)
        }
        Err(_) => Err(io::Error::other("the executor's thread ended before it started")),
    }
}

pub fn block_on<F, Fut, T>(spec: ExecutorSpec, main: F) -> io::Result<T>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = T> + 'static,
    T: 'static,
{
    check_cpu(&spec)?;
    blocking::start();
    let cpus_before = machine::thread_cpus()?;
    let result = make_executor(&spec).map(|executor| run(executor, main));
    if spec.cpu.is_some() {
        machine::set_thread_cpus(&cpus_before)?;
    }
    result
}

fn check_cpu(spec: &ExecutorSpec) -> io::Result<()> {
    let allowed = machine::process_cpus(); // also: read before any thread is pinned
    match spec.cpu {
        Some(cpu) if !allowed.contains(&cpu) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "executor {} is to run on CPU {cpu}, but this process may only use CPUs \
                 {allowed:?}: change shard.cpus, or the process's affinity (taskset, the \
                 container's cpuset)",
                spec.name
            ),
        )),
        _ => Ok(()),
    }
}

fn make_executor(spec: &ExecutorSpec) -> io::Result<LocalExecutor> {
    preflight::check_io_uring()?;
    let placement = match spec.cpu {
        Some(cpu) => Placement::Fixed(cpu),
        None => Placement::Unbound,
    };
    LocalExecutorBuilder::new(placement)
        .name(&spec.name)
        .io_memory(preflight::io_memory_bytes())
        .ring_depth(preflight::RING_DEPTH)
        .preempt_timer(PREEMPT_TIMER)
        .spin_before_park(Duration::from_micros(spec.spin_us))
        // Else its blocking thread sits on the shard's own CPU.
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
        .make()
        .map_err(io_error)
        .map_err(|e| match e.raw_os_error() {
            Some(_) => preflight::explain(&e),
            None => e,
        })
}

fn run<F, Fut, T>(executor: LocalExecutor, main: F) -> T
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = T>,
{
    executor.run(async move {
        TASKS.with(|tasks| tasks.running.set(true));
        spawn(watchdog::be_woken());
        let result = main().await;
        drop_all_tasks();
        // A few turns of the rings: cancelled polls and closes of dropped files go out.
        for _ in 0..3 {
            glommio::timer::Timer::new(Duration::ZERO).await;
        }
        result
    })
}

/// A dropped future may spawn on its way out, so this repeats until nothing is left; from the
/// first drop on, `spawn` drops what it is given.
fn drop_all_tasks() {
    TASKS.with(|tasks| tasks.running.set(false));
    while let Some((_, slot)) = TASKS.with(|tasks| tasks.futures.borrow_mut().pop_first()) {
        let future = slot.borrow_mut().take();
        drop(future);
    }
}

pub fn spawn(future: impl Future<Output = ()> + 'static) {
    let running = TASKS.with(|tasks| tasks.running.get());
    if !running {
        return; // the executor is ending: the task would never run
    }
    let slot: Rc<RefCell<Option<BoxedFuture>>> = Rc::new(RefCell::new(Some(Box::pin(future))));
    let id = TASKS.with(|tasks| {
        let id = tasks.next_id.get();
        tasks.next_id.set(id + 1);
        tasks.futures.borrow_mut().insert(id, slot.clone());
        id
    });
    glommio::spawn_local(Spawned { id, slot }).detach();
}

/// What glommio runs: a future that can be taken away from outside.
struct Spawned {
    id: u64,
    slot: Rc<RefCell<Option<BoxedFuture>>>,
}

impl Future for Spawned {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Taken out while it runs: it may end the executor's tasks itself.
        let Some(mut future) = self.slot.borrow_mut().take() else {
            return Poll::Ready(());
        };
        match future.as_mut().poll(cx) {
            Poll::Pending => {
                *self.slot.borrow_mut() = Some(future);
                Poll::Pending
            }
            Poll::Ready(()) => {
                TASKS.with(|tasks| tasks.futures.borrow_mut().remove(&self.id));
                Poll::Ready(())
            }
        }
    }
}

/// Lets every other ready task run, and, when the rings have not been looked at for a while,
/// also whatever became ready in the kernel.
pub async fn yield_now() {
    let now = clock::now();
    let seen = TASKS.with(|tasks| tasks.rings_seen.get());
    if now.saturating_since(seen) < RINGS_UNSEEN_MAX {
        return super::super::executor::requeue().await;
    }
    // A timer fires only after the executor has been through its rings.
    glommio::timer::Timer::new(Duration::ZERO).await;
    TASKS.with(|tasks| tasks.rings_seen.set(clock::now()));
}

pub async fn yield_if_needed() {
    let seen = TASKS.with(|tasks| tasks.rings_seen.get());
    if glommio::executor().need_preempt() || clock::now().saturating_since(seen) > RINGS_UNSEEN_MAX
    {
        yield_now().await;
    }
}
