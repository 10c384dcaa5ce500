//! Simulated processes: who owns a task, a socket, a write in flight or a lock, and what ends them.
//! A process belongs to a machine; all processes of a machine share its disk.
//! Invariants: a dead process runs nothing and spawns nothing; the root process (the test itself)
//! dies only with the simulation; the end of a process's main future ends the process.

use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::executor::{drop_tasks, spawn_in};
use super::socket_state;
use super::world::{SharedVolume, World, world};
use crate::runtime::disk::DirEntry;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub u64);

impl ProcessId {
    /// The test's own tasks: those spawned outside every process.
    pub const ROOT: ProcessId = ProcessId(0);
}

pub(super) struct Process {
    name: String,
    machine: String,
    alive: bool,
    waiters: Vec<Waker>,
}

impl Process {
    pub fn root() -> Process {
        Process::new("root", "host")
    }

    fn new(name: &str, machine: &str) -> Process {
        Process {
            name: name.to_owned(),
            machine: machine.to_owned(),
            alive: true,
            waiters: Vec::new(),
        }
    }
}

/// Starts a process on the machine of the same name (made with an empty disk when it is new).
pub fn spawn_process(name: &str, main: impl Future<Output = ()> + 'static) -> ProcessId {
    spawn_process_on(name, name, main)
}

/// Starts a process on `machine`. Tasks that it spawns belong to it.
pub fn spawn_process_on(
    machine: &str,
    name: &str,
    main: impl Future<Output = ()> + 'static,
) -> ProcessId {
    let w = world();
    let pid = {
        let mut processes = w.processes.borrow_mut();
        let pid = ProcessId(processes.len() as u64);
        processes.insert(pid, Process::new(name, machine));
        pid
    };
    w.trace("process starts", pid.0, 0);
    let main = async move {
        main.await;
        end(&world(), pid, "process exits");
    };
    spawn_in(&w, pid, Box::pin(main));
    pid
}

pub fn current_process() -> ProcessId {
    world().current.get()
}

pub fn is_alive(pid: ProcessId) -> bool {
    alive(&world(), pid)
}

/// Completes when the process has ended, by itself or killed.
pub fn wait_exit(pid: ProcessId) -> impl Future<Output = ()> + 'static {
    std::future::poll_fn(move |cx| {
        let w = world();
        match w.processes.borrow_mut().get_mut(&pid) {
            Some(process) if process.alive => {
                process.waiters.push(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    })
}

/// kill -9: its tasks are dropped where they stand, its sockets reset, its locks released. What it
/// had written stays in the cache of its machine; a write in flight happens wholly, partly or not.
pub fn kill(pid: ProcessId) {
    assert!(pid != ProcessId::ROOT, "the root process is the test itself");
    end(&world(), pid, "process killed");
}

/// Kills every process of the machine, then takes from its disk what was not synced: each dirty
/// 512-byte sector and each unsynced directory change is kept or lost by the seed.
pub fn power_cut(machine: &str) {
    let w = world();
    let pids: Vec<ProcessId> = w
        .processes
        .borrow()
        .iter()
        .filter(|(pid, p)| p.alive && p.machine == machine && **pid != ProcessId::ROOT)
        .map(|(pid, _)| *pid)
        .collect();
    for pid in pids {
        end(&w, pid, "process loses power");
    }
    w.trace("power cut", 0, 0);
    w.volume(machine).borrow_mut().power_cut(&w);
}

pub(super) fn alive(world: &World, pid: ProcessId) -> bool {
    world.processes.borrow().get(&pid).is_some_and(|p| p.alive)
}

pub(super) fn current_machine(world: &World) -> String {
    let processes = world.processes.borrow();
    processes.get(&world.current.get()).map_or("host", |p| p.machine.as_str()).to_owned()
}

/// The disk that the current process sees.
pub(super) fn current_volume(world: &World) -> SharedVolume {
    world.volume(&current_machine(world))
}

/// Turns bits over in a file of a machine's disk, on the medium itself: no sync knows of it.
pub fn flip_bits(machine: &str, path: &Path, position: u64, mask: u8) -> std::io::Result<()> {
    let w = world();
    let volume = w.volume(machine);
    let mut volume = volume.borrow_mut();
    let inode = volume.lookup(path)?;
    volume.content_mut(inode)?.flip_bits(position, mask);
    // What was read before is not what is on the disk: nobody sees the flip until it is read again.
    w.page_cache.set(w.page_cache.get() + 1);
    Ok(())
}

/// Nothing that was read is resident any more.
pub fn empty_page_cache() {
    let w = world();
    w.page_cache.set(w.page_cache.get() + 1);
}

/// Which page cache this is: what was read in an earlier one is gone.
pub fn page_cache() -> u64 {
    world().page_cache.get()
}

/// Names and lengths of what a directory of a machine's disk holds, as programs see it.
pub fn list_dir_of(machine: &str, path: &Path) -> std::io::Result<Vec<DirEntry>> {
    world().volume(machine).borrow().list(path)
}

fn end(world: &Rc<World>, pid: ProcessId, how: &'static str) {
    let (machine, waiters) = {
        let mut processes = world.processes.borrow_mut();
        let Some(process) = processes.get_mut(&pid).filter(|p| p.alive) else { return };
        process.alive = false;
        tracing::debug!(name = process.name, pid = pid.0, "{how}");
        (process.machine.clone(), std::mem::take(&mut process.waiters))
    };
    world.trace(how, pid.0, 0);
    world.volume(&machine).borrow_mut().kill_process(world, pid);
    // Before the tasks go: a destructor must not be able to close a killed socket gracefully.
    socket_state::kill_process(world, pid);
    drop_tasks(world, pid);
    for waker in waiters {
        waker.wake();
    }
}

/// The end of a run: nothing of it may be left when the thread leaves the simulation.
pub(super) fn end_all(world: &Rc<World>) {
    let pids: Vec<ProcessId> = world.processes.borrow().keys().copied().rev().collect();
    for pid in pids.iter().filter(|pid| **pid != ProcessId::ROOT) {
        end(world, *pid, "process ends with the run");
    }
    // Children first, then the observer itself; it is alive again for the next run.
    end(world, ProcessId::ROOT, "run ends");
    if let Some(root) = world.processes.borrow_mut().get_mut(&ProcessId::ROOT) {
        root.alive = true;
    }
}
