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
        CpuClock { clock: thread_clock(thread_id()) }
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

/// CPU time of a process of this machine, all its threads; `None` when there is no such process.
pub fn cpu_time_of_process(pid: u32) -> Option<Duration> {
    // 0 would be the calling process.
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0)?;
    clock_time((!pid << 3) | 2)
}

/// Of the calling thread, as the kernel numbers it.
pub fn thread_id() -> i32 {
    // SAFETY: no arguments to get wrong.
    unsafe { libc::gettid() }
}

/// CPU time of a thread of this process by its id; `None` when it has ended.
pub fn cpu_time_of_thread(tid: i32) -> Option<Duration> {
    (tid > 0).then(|| clock_time(thread_clock(tid)))?
}

/// The living threads of this process whose name starts with `prefix`: name and id.
pub fn threads_named(prefix: &str) -> Vec<(String, i32)> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let ids = tasks.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let named = ids.filter_map(|tid| {
        let name = std::fs::read_to_string(format!("/proc/self/task/{tid}/comm")).ok()?;
        Some((name.trim_end().to_string(), tid))
    });
    named.filter(|(name, _)| name.starts_with(&prefix[..prefix.len().min(15)])).collect()
}

/// CPU time of the living threads whose name starts with `prefix` (names are cut at 15 bytes).
pub fn cpu_time_of_threads(prefix: &str) -> Duration {
    threads_named(prefix).into_iter().filter_map(|(_, tid)| cpu_time_of_thread(tid)).sum()
}

/// The kernel's numbering of per-thread CPU clocks (CPUCLOCK_SCHED | CPUCLOCK_PERTHREAD), which is
/// what pthread_getcpuclockid computes; unlike that, it may be asked after the thread has ended.
fn thread_clock(tid: i32) -> libc::clockid_t {
    (!tid << 3) | 6
}
