//! What the report says of the machine, and what /proc knows of a process: CPU time, memory, threads,
//! context switches. Reads only; never on a data path.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::disk;
use crate::runtime;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub kernel: String,
    pub memory_bytes: u64,
    pub numa_nodes: usize,
    /// Model, size, file system and mount options of what holds the data, when the broker is local.
    pub disk: Option<String>,
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// `data`: where the broker keeps its log, when it is on this machine.
pub fn describe(data: Option<&Path>) -> Machine {
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find(|l| l.starts_with("model name"));
    let meminfo = read("/proc/meminfo");
    Machine {
        cpu: model
            .and_then(|l| l.split_once(':'))
            .map_or("unknown".to_string(), |(_, name)| name.trim().to_string()),
        cores: cores(),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_string(),
        memory_bytes: number(&meminfo, "MemTotal:").unwrap_or(0) * 1024,
        numa_nodes: numa_nodes(),
        disk: data.and_then(disk::describe),
    }
}

fn numa_nodes() -> usize {
    let Ok(all) = std::fs::read_dir("/sys/devices/system/node") else { return 1 };
    let numbered = |name: &str| {
        name.strip_prefix("node").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
    };
    let nodes = all.flatten().filter(|e| e.file_name().to_str().is_some_and(numbered));
    nodes.count().max(1)
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// CPU seconds of a thread of this process, while it lives.
pub fn thread_cpu_seconds(thread_id: i32) -> Option<f64> {
    Some(runtime::cpu_time_of_thread(thread_id)?.as_secs_f64())
}

/// User and system seconds of a process, all its threads.
pub fn process_cpu_seconds(pid: u32) -> Option<f64> {
    Some(runtime::cpu_time_of_process(pid)?.as_secs_f64())
}

/// When it started, in the kernel's ticks; `None` when there is no such process or it has ended and
/// only waits to be reaped.
pub fn process_start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name is in brackets and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(start)
}

#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessStatus {
    pub rss_bytes: Option<u64>,
    /// The most it ever was.
    pub high_water_bytes: Option<u64>,
    pub threads: Option<u64>,
}

pub fn process_status(pid: u32) -> Option<ProcessStatus> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = |key| number(&text, key).map(|n| n * 1024);
    Some(ProcessStatus {
        rss_bytes: kib("VmRSS:"),
        high_water_bytes: kib("VmHWM:"),
        threads: number(&text, "Threads:"),
    })
}

/// Of each living thread of a process: its id, voluntary and involuntary switches together.
pub fn context_switches(pid: u32) -> Vec<(i32, u64)> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let ids = tasks.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let counted = ids.filter_map(|id: i32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{id}/status")).ok()?;
        let voluntary = number(&text, "voluntary_ctxt_switches:")?;
        Some((id, voluntary + number(&text, "nonvoluntary_ctxt_switches:")?))
    });
    counted.collect()
}

/// The first number after a key of /proc's `key: value` lines.
fn number(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_of_this_process_and_thread_is_read() {
        assert!(process_cpu_seconds(std::process::id()).is_some());
        assert!(thread_cpu_seconds(runtime::thread_id()).is_some());
        assert!(thread_cpu_seconds(0).is_none() && process_cpu_seconds(0).is_none());
        assert!(process_cpu_seconds(u32::MAX).is_none());
        let status = process_status(std::process::id()).unwrap();
        assert!(status.rss_bytes > Some(0) && status.high_water_bytes >= status.rss_bytes);
        assert!(context_switches(std::process::id()).len() as u64 >= 1);
        assert!(process_start_ticks(std::process::id()).is_some());
        assert!(describe(None).cores > 0);
    }
}
