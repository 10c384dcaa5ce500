//! Starting shards on pinned threads, spawning tasks in the current executor, yielding, randomness.

use std::future::Future;

/// What one pinned executor thread gets.
#[derive(Clone, Debug)]
pub struct ExecutorSpec {
    pub name: String,
    /// CPU to pin to; `None` leaves the thread unpinned.
    pub cpu: Option<usize>,
    /// Spin this long before parking, µs; 0 parks at once.
    pub spin_us: u64,
}

/// Starts an OS thread with its own glommio executor that runs `main` to its end.
/// Errors (io_uring refused by seccomp, memlock too small) come back as a sentence with the cure.
pub fn start_thread<F, Fut>(
    _spec: ExecutorSpec,
    _main: F,
) -> std::io::Result<std::thread::JoinHandle<()>>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    todo!()
}

/// Runs a future to its end on a glommio executor on the calling thread (tests, tools).
pub fn block_on<F, Fut, T>(_spec: ExecutorSpec, _main: F) -> std::io::Result<T>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = T> + 'static,
    T: 'static,
{
    todo!()
}

/// Spawns a detached task on the current executor (for `sim`: in the current simulated process).
pub fn spawn(_f: impl Future<Output = ()> + 'static) {
    todo!()
}

/// Runs a blocking closure off the shard (glommio: blocking pool; sim: inline after a random delay).
pub async fn run_blocking<T: Send + 'static>(_f: impl FnOnce() -> T + Send + 'static) -> T {
    todo!()
}

/// Gives every other ready task a turn.
pub async fn yield_now() {
    todo!()
}

/// Yields only when the executor wants to preempt this task (cheap check).
pub async fn yield_if_needed() {
    todo!()
}

/// From the executor's generator: seeded in `sim`, from the OS otherwise. Not for secrets.
pub fn random_u64() -> u64 {
    todo!()
}

/// Same-executor wake-up: `notify_waiters` completes every `notified()` future created before it
/// (a counter, so a notification between creation and first poll is not lost). Not Send; Clone shares.
#[derive(Clone, Default)]
pub struct Notify {}

impl Notify {
    pub fn new() -> Notify {
        Notify::default()
    }
    pub fn notify_waiters(&self) {
        todo!()
    }
    /// The future observes the counter when this is called, not when first polled. 'static, droppable.
    pub fn notified(&self) -> impl Future<Output = ()> + 'static + use<> {
        async { todo!() }
    }
}
