//! The seeded twin of the glommio backend: one thread, virtual time, simulated disks and network.
//! The whole broker runs in it unchanged, and one seed replays one history exactly.
//! Owner: the thread inside `Simulation::run`; `active()` tells the facade that it is there.
//! Invariants: nothing here reads the real clock, the OS's randomness, the order of a HashMap, or
//! starts a thread; every choice is drawn from the one generator of the simulation.
//! Not here: what a test does with all this (scenarios and checkers live with the tests).

pub mod cached;
pub mod disk;
mod executor;
mod knobs;
pub mod net;
mod process;
mod socket_state;
mod volume;
mod volume_content;
mod volume_crash;
mod world;

#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::rc::Rc;

use super::clock::Instant;
pub use executor::{Sleep, YieldNow, run_blocking, sleep_until, spawn, yield_now};
pub use knobs::{DiskKnobs, Knobs, NetKnobs};
pub use process::{
    ProcessId, current_process, empty_page_cache, flip_bits, is_alive, kill, list_dir_of,
    page_cache, power_cut, spawn_process, spawn_process_on, wait_exit,
};
use world::{World, try_world, world};

/// One seeded world. It may be run several times: disks and the clock carry over.
pub struct Simulation {
    world: Rc<World>,
}

impl Simulation {
    pub fn new(seed: u64) -> Simulation {
        Simulation { world: World::new(seed) }
    }

    /// Adjusts the fault knobs before (or between) runs; inside a run use `sim::with_knobs`.
    pub fn with_knobs<R>(&self, f: impl FnOnce(&mut Knobs) -> R) -> R {
        f(&mut self.world.knobs.borrow_mut())
    }

    /// Runs until `root` ends, then kills what is left. The root is the observer: it belongs to a
    /// process that no `power_cut` kills. Panics, with the seed in the message, on deadlock or
    /// when `Knobs::time_limit` of virtual time has passed; a task's panic propagates.
    pub fn run<T: 'static>(&self, root: impl Future<Output = T> + 'static) -> T {
        executor::run(&self.world, root)
    }

    /// Hash of every event so far: equal for two runs of one seed.
    pub fn trace_hash(&self) -> u64 {
        self.world.trace_hash()
    }

    /// Virtual time reached.
    pub fn now(&self) -> Instant {
        Instant(self.world.now.get())
    }
}

/// Whether this thread is inside `Simulation::run`.
pub fn active() -> bool {
    try_world().is_some()
}

pub fn now() -> Instant {
    Instant(world().now.get())
}

/// Virtual time counted from a fixed date, moved by `Knobs::wall_clock_offset_ms`.
pub fn wall_clock_ms() -> i64 {
    const START_MS: i64 = 1_780_000_000_000;
    let w = world();
    let offset_ms = w.knobs.borrow().wall_clock_offset_ms;
    START_MS + offset_ms + (w.now.get() / 1_000_000) as i64
}

pub fn random_u64() -> u64 {
    world().random()
}

/// The seed of the running simulation.
pub fn seed() -> u64 {
    world().seed
}

/// Hash of every event so far in the running simulation.
pub fn trace_hash() -> u64 {
    world().trace_hash()
}

/// Adds an event of the test's own to the trace (and to the dump that follows a panic).
pub fn note(what: &'static str, a: u64, b: u64) {
    world().trace(what, a, b);
}

/// Reads or changes the fault knobs of the running simulation.
pub fn with_knobs<R>(f: impl FnOnce(&mut Knobs) -> R) -> R {
    f(&mut world().knobs.borrow_mut())
}

/// Disk operations asked for so far, and of those the writes and syncs.
pub fn disk_ops() -> (u64, u64) {
    world().disk_ops.get()
}

/// Cuts every open connection: what is on the way is lost, both ends see a reset soon after.
pub fn cut_connections() {
    let w = world();
    socket_state::cut_all(&w);
}
