//! Executors on pinned threads, and the watchdog that keeps them awake.
//!
//! The trap: when a thread is descheduled for longer than the preempt timer between arming it and
//! running, glommio parks with runnable tasks and sleeps until something outside wakes it. So the preempt timer is long,
//! and one OS thread wakes every executor each 5 ms through a channel.

use std::future::Future;
use std::io;
use std::sync::{Mutex, Once};
use std::time::Duration;

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};

use crate::runtime::executor::ExecutorSpec;

/// 10 ms and more survive CPU contention with the watchdog; 1 ms does not even with it.
const PREEMPT_TIMER: Duration = Duration::from_millis(100);
const WATCHDOG_PERIOD: Duration = Duration::from_millis(5);
/// Pinned memory of each of the three rings: 3 x this x shards must fit RLIMIT_MEMLOCK (8 MiB for
/// a user who is not root). Larger buffers come from the allocator.
pub(in crate::runtime) const IO_MEMORY_BYTES: usize = 128 * 1024;
const RING_DEPTH: usize = 512;
const BLOCKING_THREADS: usize = 2;

pub(in crate::runtime) fn make(spec: &ExecutorSpec) -> io::Result<LocalExecutor> {
    let placement = match spec.cpu {
        Some(cpu) => Placement::Fixed(cpu),
        None => Placement::Unbound,
    };
    let mut builder = LocalExecutorBuilder::new(placement)
        .name(&spec.name)
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(RING_DEPTH)
        .preempt_timer(PREEMPT_TIMER)
        // Else the blocking thread sits on the shard's own CPU.
        .blocking_thread_pool_placement(PoolPlacement::Unbound(BLOCKING_THREADS));
    if spec.spin_us > 0 && spec.cpu.is_some() {
        builder = builder.spin_before_park(Duration::from_micros(spec.spin_us));
    }
    builder.make().map_err(|e| explain(spec, e.into()))
}

/// What most often stops a ring from being set up, and what helps.
fn explain(spec: &ExecutorSpec, e: io::Error) -> io::Error {
    let cure = match e.raw_os_error() {
        Some(libc::EPERM) | Some(libc::ENOSYS) | Some(libc::EACCES) => {
            "io_uring is not allowed here: a container's default seccomp profile blocks it \
             (docker run --security-opt seccomp=unconfined), or sysctl kernel.io_uring_disabled is \
             not 0"
        }
        Some(libc::ENOMEM) => {
            "the locked-memory limit is too small for io_uring: raise it (ulimit -l unlimited, \
             LimitMEMLOCK=infinity)"
        }
        Some(libc::EMFILE) | Some(libc::ENFILE) => {
            "no file descriptors left: raise the limit (ulimit -n, LimitNOFILE=)"
        }
        _ => match spec.cpu {
            Some(_) => {
                "check that the CPU exists and that this process may use it (taskset, cpuset)"
            }
            None => "io_uring could not be set up",
        },
    };
    let place = spec.cpu.map_or(String::new(), |cpu| format!(" on CPU {cpu}"));
    io::Error::new(e.kind(), format!("can't start {}{place} ({e}): {cure}", spec.name))
}

/// Runs `main` on the executor, with the watchdog's bell answered.
pub(in crate::runtime) fn run<T>(executor: &LocalExecutor, main: impl Future<Output = T>) -> T {
    executor.run(async move {
        let bell = register_with_watchdog();
        glommio::spawn_local(async move { while bell.recv().await.is_ok() {} }).detach();
        main.await
    })
}

static BELLS: Mutex<Vec<async_channel::Sender<()>>> = Mutex::new(Vec::new());
static WATCHDOG: Once = Once::new();

fn register_with_watchdog() -> async_channel::Receiver<()> {
    let (sender, receiver) = async_channel::bounded(1);
    if let Ok(mut bells) = BELLS.lock() {
        bells.push(sender);
    }
    WATCHDOG.call_once(|| {
        let started = std::thread::Builder::new().name("watchdog".into()).spawn(|| {
            loop {
                std::thread::sleep(WATCHDOG_PERIOD);
                if let Ok(mut bells) = BELLS.lock() {
                    bells.retain(|bell| !bell.is_closed());
                    for bell in bells.iter() {
                        let _ = bell.try_send(());
                    }
                }
            }
        });
        if let Err(e) = started {
            tracing::error!(error = %e, "no watchdog: an executor may stall under CPU contention");
        }
    });
    receiver
}

pub(in crate::runtime) fn spawn(f: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(f).detach();
}

pub(in crate::runtime) async fn yield_now() {
    glommio::executor().yield_task_queue_now().await;
}

pub(in crate::runtime) async fn yield_if_needed() {
    glommio::yield_if_needed().await;
}

pub(in crate::runtime) async fn sleep(d: Duration) {
    glommio::timer::sleep(d).await;
}

/// A closure that panics would kill the pool's worker and leave its caller hanging: the panic is
/// carried over and goes on where it was asked for.
pub(in crate::runtime) async fn run_blocking<T: Send + 'static>(
    f: impl FnOnce() -> T + Send + 'static,
) -> T {
    let caught = glommio::executor()
        .spawn_blocking(move || std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)))
        .await;
    match caught {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
