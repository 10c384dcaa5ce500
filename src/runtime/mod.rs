//! The only room that touches the machine: executor, sockets, files, clock, randomness, mailboxes.
//! Two backends behind one set of concrete types: glommio (`real`) and `sim` (seeded, virtual time).
//! Which one serves a call is decided by the thread: a thread inside `sim::Simulation::run` is the
//! simulator's, every other thread that runs an executor is glommio's.
//! Not here: anything that knows what Kafka is.

pub mod activity;
mod cached;
pub mod clock;
pub mod cpu;
pub mod disk;
pub mod executor;
pub mod machine;
pub mod mailbox;
pub mod offline;
pub mod process;
mod real;
pub mod signal;
pub mod sim;
pub mod socket;

pub use cached::CachedFile;
pub use clock::{Instant, now, sleep, sleep_until, timeout, wall_clock_ms};
pub use cpu::{
    CpuClock, cpu_time_of_process, cpu_time_of_thread, cpu_time_of_threads, process_cpu_time,
    thread_cpu_time, thread_id, threads_named,
};
pub use disk::{AlignedBuf, BLOCK, File, OpenMode, ReadBuf};
pub use executor::{Notify, random_u64, spawn, yield_if_needed, yield_now};
pub use real::allocator::{Allocator, give_back};
pub use socket::{Listener, Stream};
