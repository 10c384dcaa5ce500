//! CPU time of threads and of the process, for reports: the bench runs broker and generator in
//! one process and must tell their CPU apart.

use std::time::Duration;

use super::real::clock::clock_time;

/// The CPU clock of one thread, readable from every thread while that one lives.
#[derive(Clone, Copy, Debug)]
pub struct CpuClock {
    clock: libc::clockid_t,
}

impl CpuClock {
    /// Of the calling thread (inside an executor: the shard's).
    pub fn of_this_thread() -> CpuClock {
        // SAFETY: no arguments to get wrong.
        let tid = unsafe { libc::gettid() };
        CpuClock { clock: thread_clock(tid) }
    }

    /// CPU time used so far; `None` when the thread has ended.
    pub fn time(&self) -> Option<Duration> {
        clock_time(self.clock)
    }
}

/// CPU time of the calling thread.
pub fn thread_cpu_time() -> Duration {
    clock_time(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or_default()
}

/// CPU time of the whole process.
pub fn process_cpu_time() -> Duration {
    clock_time(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or_default()
}

/// CPU time of the living threads whose name starts with `prefix` (names are cut at 15 bytes).
pub fn cpu_time_of_threads(prefix: &str) -> Duration {
    let prefix = prefix.as_bytes();
    let prefix = &prefix[..prefix.len().min(15)];
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return Duration::ZERO;
    };
    let of_task = |tid: i32| -> Option<Duration> {
        let name = std::fs::read(format!("/proc/self/task/{tid}/comm")).ok()?;
        if !name.starts_with(prefix) {
            return None;
        }
        clock_time(thread_clock(tid))
    };
    tasks
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(of_task)
        .sum()
}

/// The kernel's numbering of per-thread CPU clocks (CPUCLOCK_SCHED | CPUCLOCK_PERTHREAD), which is
/// what pthread_getcpuclockid computes; unlike that, it may be asked after the thread has ended.
fn thread_clock(tid: i32) -> libc::clockid_t {
    (!tid << 3) | 6
}
