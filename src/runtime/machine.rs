//! What start-up reports of the machine, and the limits it can raise itself.

use super::real;

pub fn kernel_version() -> String {
    // SAFETY: a zeroed utsname is a valid out-parameter; its fields are NUL-terminated.
    unsafe {
        let mut name: libc::utsname = std::mem::zeroed();
        if libc::uname(&mut name) != 0 {
            return "unknown".into();
        }
        std::ffi::CStr::from_ptr(name.release.as_ptr()).to_string_lossy().into_owned()
    }
}

fn limit(resource: libc::__rlimit_resource_t) -> Option<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid out-parameter.
    (unsafe { libc::getrlimit(resource, &mut limit) } == 0).then_some(limit)
}

/// Raises the soft limit of open files to the hard one; says what it is now.
pub fn raise_file_limit() -> String {
    let Some(mut files) = limit(libc::RLIMIT_NOFILE) else { return "limit unknown".into() };
    if files.rlim_cur < files.rlim_max {
        files.rlim_cur = files.rlim_max;
        // SAFETY: a valid rlimit; on failure the old one stays.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &files) };
    }
    let now = limit(libc::RLIMIT_NOFILE).map_or(0, |l| l.rlim_cur);
    match now {
        n if n < 10_000 => {
            format!("{n} may be open: too few for many clients (ulimit -n, LimitNOFILE=)")
        }
        n => format!("{n} may be open"),
    }
}

/// Whether the rings' pinned memory fits the limit, and the cure when it does not.
pub fn memlock_advice(shards: usize) -> String {
    let need = 3 * real::executor::IO_MEMORY_BYTES * shards;
    // SAFETY: no arguments, no failure.
    let root = unsafe { libc::geteuid() } == 0;
    let Some(lock) = limit(libc::RLIMIT_MEMLOCK) else { return "limit unknown".into() };
    let have = lock.rlim_cur;
    if root || have == libc::RLIM_INFINITY || have >= need as u64 {
        return format!("{} KiB pinned for io_uring buffers, within the limit", need / 1024);
    }
    format!(
        "{} KiB wanted for io_uring buffers, limit {} KiB: reads fall back to plain buffers \
         (ulimit -l unlimited, LimitMEMLOCK=infinity)",
        need / 1024,
        have / 1024
    )
}
