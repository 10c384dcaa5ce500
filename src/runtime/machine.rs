//! What the machine gives this process: CPUs, kernel, memory and descriptor limits.
//! Read at start-up by any thread; nothing here belongs to a shard. The real machine always: the
//! simulator has no counterpart, since nothing of the broker's behaviour may depend on it.

use std::io;
use std::sync::OnceLock;

/// For the page that start-up prints.
#[derive(Clone, Debug)]
pub struct Machine {
    pub kernel: String,
    pub cpus_online: usize,
    /// CPUs this process may run on.
    pub cpus: Vec<usize>,
    /// RLIMIT_MEMLOCK when it binds this process; `None`: unlimited or privileged.
    pub memlock_limit_bytes: Option<u64>,
    pub open_files_soft: u64,
    pub open_files_hard: u64,
    /// Pinned by each executor, three times (one per ring).
    pub io_memory_bytes: usize,
    /// The sentence with the cure when io_uring is refused.
    pub io_uring: Result<(), String>,
}

impl Machine {
    pub fn look() -> Machine {
        let (open_files_soft, open_files_hard) = limit(libc::RLIMIT_NOFILE);
        Machine {
            kernel: kernel_version(),
            cpus_online: cpus_online(),
            cpus: process_cpus().to_vec(),
            memlock_limit_bytes: memlock_limit(),
            open_files_soft,
            open_files_hard,
            io_memory_bytes: super::real::preflight::io_memory_bytes(),
            io_uring: super::real::preflight::check_io_uring().map_err(|e| e.to_string()),
        }
    }

    /// Shards whose pinned I/O memory fits the limit; beyond it reads and writes work, slower.
    pub fn memlock_fits_shards(&self, shards: usize) -> bool {
        let needed = 3 * self.io_memory_bytes as u64 * shards as u64;
        self.memlock_limit_bytes.is_none_or(|limit| needed <= limit)
    }
}

pub fn kernel_version() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map(|s| s.trim().to_string())
        .unwrap_or_else(|_| "unknown".into())
}

/// All memory of the machine; 0 when the kernel does not say.
pub fn memory_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

pub fn cpus_online() -> usize {
    // SAFETY: no arguments to get wrong.
    let n = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(n).unwrap_or(1).max(1)
}

static PROCESS_CPUS: OnceLock<Vec<usize>> = OnceLock::new();

/// The CPUs the process was started on: read once, before any executor pins its thread.
pub fn process_cpus() -> &'static [usize] {
    PROCESS_CPUS.get_or_init(|| thread_cpus().unwrap_or_else(|_| (0..cpus_online()).collect()))
}

/// The calling thread's CPUs.
pub fn thread_cpus() -> io::Result<Vec<usize>> {
    // SAFETY: an all-zero cpu_set_t is the empty set; the size given is its own.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let size = std::mem::size_of::<libc::cpu_set_t>();
    if unsafe { libc::sched_getaffinity(0, size, &mut set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let all = 0..libc::CPU_SETSIZE as usize;
    Ok(all.filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect())
}

/// Binds the calling thread to these CPUs.
pub fn set_thread_cpus(cpus: &[usize]) -> io::Result<()> {
    // SAFETY: as above; CPU_SET ignores numbers past the set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus.iter().filter(|&&cpu| cpu < libc::CPU_SETSIZE as usize) {
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    let size = std::mem::size_of::<libc::cpu_set_t>();
    match unsafe { libc::sched_setaffinity(0, size, &set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Undoes the pinning a thread inherits from the pinned thread that started it.
pub fn use_process_cpus() {
    let _ = set_thread_cpus(process_cpus());
}

fn limit(resource: libc::__rlimit_resource_t) -> (u64, u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives the call.
    match unsafe { libc::getrlimit(resource, &mut limit) } {
        0 => (limit.rlim_cur, limit.rlim_max),
        _ => (0, 0),
    }
}

/// The soft limit as it is written, privileged or not; `None`: unlimited.
pub fn memlock_soft_limit() -> Option<u64> {
    let (soft, _) = limit(libc::RLIMIT_MEMLOCK);
    (soft != libc::RLIM_INFINITY).then_some(soft)
}

/// The limit that binds: root is not counted against RLIMIT_MEMLOCK (CAP_IPC_LOCK).
pub fn memlock_limit() -> Option<u64> {
    const CAP_IPC_LOCK: u64 = 1 << 14;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    if capabilities & CAP_IPC_LOCK != 0 { None } else { memlock_soft_limit() }
}

/// (soft, hard) limit of open files.
pub fn open_files_limit() -> (u64, u64) {
    limit(libc::RLIMIT_NOFILE)
}

/// Raises the soft limit of open files to the hard one; the limit now in force.
pub fn raise_open_files_limit() -> io::Result<u64> {
    let (_, hard) = limit(libc::RLIMIT_NOFILE);
    set_open_files_limit(hard)?;
    Ok(hard)
}

/// Sets the soft limit of open files (never above the hard one).
pub fn set_open_files_limit(soft: u64) -> io::Result<()> {
    let (_, hard) = limit(libc::RLIMIT_NOFILE);
    let wanted = libc::rlimit { rlim_cur: soft.min(hard), rlim_max: hard };
    // SAFETY: `wanted` outlives the call.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &wanted) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
