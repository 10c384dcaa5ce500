//! Our own pool of blocking OS threads, shared by all executors of the process.
//! Glommio's pool is not used for closures: a closure that panics kills its worker and hangs the
//! caller, and an executor that ends while a request is out makes the worker panic (an abort in
//! our builds). Here the answer travels through a oneshot, so a caller may go away at any time.
//! Invariant: these threads run on the process's CPUs, never on the pinned CPU of their starter.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;

use futures::channel::oneshot;

use super::super::machine;

/// Enough for a few slow directory operations beside each other; more would only queue on the
/// journal lock of the file system.
const BLOCKING_THREADS: usize = 4;

type Job = Box<dyn FnOnce() + Send + 'static>;

static JOBS: OnceLock<async_channel::Sender<Job>> = OnceLock::new();

fn jobs() -> &'static async_channel::Sender<Job> {
    JOBS.get_or_init(|| {
        // Unbounded is bounded by its callers: a task has at most one blocking call under way.
        let (sender, receiver) = async_channel::unbounded::<Job>();
        for n in 0..BLOCKING_THREADS {
            let receiver = receiver.clone();
            let started =
                std::thread::Builder::new().name(format!("spindle-block-{n}")).spawn(move || {
                    machine::use_process_cpus();
                    while let Ok(job) = receiver.recv_blocking() {
                        job();
                    }
                });
            // One thread is enough to go on; with none, calls report it below.
            if let Err(error) = started {
                tracing::error!("cannot start a blocking thread: {error}");
            }
        }
        sender
    })
}

/// Starts the threads now, before any executor pins its own thread.
pub fn start() {
    let _ = jobs();
}

/// Runs `f` on the pool. A panic in `f` goes on in the caller and leaves the pool whole.
pub async fn run<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    type Outcome<T> = Result<T, Box<dyn Any + Send>>;
    let (sender, receiver) = oneshot::channel::<Outcome<T>>();
    let job: Job = Box::new(move || {
        let outcome = catch_unwind(AssertUnwindSafe(f));
        let _ = sender.send(outcome); // the caller may be gone
    });
    if jobs().try_send(job).is_err() {
        panic!("the blocking pool has no threads");
    }
    match receiver.await {
        Ok(Ok(value)) => value,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => panic!("the blocking pool dropped a job"),
    }
}
