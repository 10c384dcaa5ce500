//! What the report says of the machine, and CPU time: of a thread of ours (schedstat, nanoseconds), of another
//! process by its id (stat, clock ticks). Reads /proc; never on a data path.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub kernel: String,
    pub memory_bytes: u64,
    /// Model, size, file system and mount options of what holds the data, when the broker is local.
    pub disk: Option<String>,
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

pub fn describe() -> Machine {
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find(|l| l.starts_with("model name"));
    let meminfo = read("/proc/meminfo");
    let total = meminfo.lines().find(|l| l.starts_with("MemTotal:"));
    let kib: u64 =
        total.and_then(|l| l.split_whitespace().nth(1)).and_then(|n| n.parse().ok()).unwrap_or(0);
    Machine {
        cpu: model
            .and_then(|l| l.split_once(':'))
            .map_or("unknown".to_string(), |(_, name)| name.trim().to_string()),
        cores: cores(),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_string(),
        memory_bytes: kib * 1024,
        disk: None,
    }
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

pub fn current_thread_id() -> i32 {
    // SAFETY: gettid takes nothing and can't fail.
    unsafe { libc::gettid() }
}

/// CPU seconds of a thread of this process, while it lives.
pub fn thread_cpu_seconds(thread_id: i32) -> Option<f64> {
    let line = std::fs::read_to_string(format!("/proc/self/task/{thread_id}/schedstat")).ok()?;
    let ns: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(ns as f64 / 1e9)
}

/// User and system seconds of a process, all its threads.
pub fn process_cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name is in brackets and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    // SAFETY: sysconf only reads.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    (ticks > 0).then(|| (user + system) as f64 / ticks as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_of_this_process_and_thread_is_read() {
        assert!(process_cpu_seconds(std::process::id()).is_some());
        assert!(thread_cpu_seconds(current_thread_id()).is_some());
        assert!(process_cpu_seconds(u32::MAX).is_none());
        assert!(describe().cores > 0);
    }
}
