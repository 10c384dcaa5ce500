//! Starting a glommio executor on a thread, and on it the engine that runs the broker's tasks.
//! Invariants: the preempt timer is 10 ms (below that an executor can park with runnable tasks
//! even when nothing else runs on its CPU); when `main` ends, every task still there is dropped in
//! the executor, so that its sockets and files close, and what the kernel still has is waited for.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};

use super::super::executor::ExecutorSpec;
use super::super::machine;
use super::engine::{self, Engine, Pause};
use super::{blocking, io_error, preflight, watchdog};

const PREEMPT_TIMER: Duration = Duration::from_millis(10);

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
            Ok((executor, engine)) => {
                let _ = started.send(Ok(()));
                run(executor, engine, main);
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
    let result = make_executor(&spec).map(|(executor, engine)| run(executor, engine, main));
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

fn make_executor(spec: &ExecutorSpec) -> io::Result<(LocalExecutor, Rc<Engine>)> {
    preflight::check_io_uring()?;
    let placement = match spec.cpu {
        Some(cpu) => Placement::Fixed(cpu),
        None => Placement::Unbound,
    };
    let executor = LocalExecutorBuilder::new(placement)
        .name(&spec.name)
        .io_memory(preflight::io_memory_bytes())
        .ring_depth(preflight::RING_DEPTH)
        .preempt_timer(PREEMPT_TIMER)
        // Else its blocking thread sits on the shard's own CPU.
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
        .make()
        .map_err(io_error)
        .map_err(|e| match e.raw_os_error() {
            Some(_) => preflight::explain(&e),
            None => e,
        })?;
    // A thread that is not pinned would spin on a CPU that others want.
    let spin_us = spec.cpu.map_or(0, |_| spec.spin_us);
    let engine =
        Engine::start(Duration::from_micros(spin_us)).map_err(|e| preflight::explain(&e))?;
    Ok((executor, engine))
}

fn run<F, Fut, T>(executor: LocalExecutor, engine: Rc<Engine>, main: F) -> T
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = T> + 'static,
    T: 'static,
{
    executor.run(async move {
        let installed = engine.install();
        let ended = Rc::new(Cell::new(false));
        let result = Rc::new(Cell::new(None));
        let (main, end, answer) = (main(), ended.clone(), result.clone());
        engine.spawn(async move {
            answer.set(Some(main.await));
            end.set(true);
        });
        while engine.run(&ended) == Pause::Glommio {
            watchdog::glommio_turn().await;
            engine.glommio_had_its_turn();
        }
        engine.drop_all_tasks();
        // Closes of dropped files go out.
        for _ in 0..3 {
            watchdog::glommio_turn().await;
        }
        engine.ring.finish();
        drop(installed);
        result.take().unwrap_or_else(|| unreachable!("main has ended"))
    })
}

pub fn spawn(future: impl Future<Output = ()> + 'static) {
    engine::with(|engine| engine.spawn(future));
}

/// Lets every other ready task run; the ring is looked at before this one goes on.
pub async fn yield_now() {
    super::super::executor::requeue().await;
}

pub async fn yield_if_needed() {
    if engine::with(|engine| engine.turn_is_over()) == Some(true) {
        yield_now().await;
    }
}
