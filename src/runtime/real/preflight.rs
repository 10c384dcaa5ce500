//! Asks the kernel for an io_uring before glommio does: glommio panics where io_uring is refused,
//! and its errors do not say what to do. Also the choice of the pinned I/O memory.
//! Invariant: every error from here is one sentence with its cure.

use std::io;

use super::super::machine;

/// Below this glommio refuses to start.
const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;
const IO_MEMORY_BYTES_MAX: u64 = 1024 * 1024;
const IO_MEMORY_BYTES_MIN: u64 = 64 * 1024;
/// Submission entries of each of the three rings (glommio's default).
pub const RING_DEPTH: usize = 128;

const IORING_SETUP_IOPOLL: u32 = 1;

/// Pinned memory of one executor. Glommio pins it once in each of its three rings, so three times
/// this, times the executors, must fit RLIMIT_MEMLOCK (8 MiB for a user that is not root), or
/// glommio falls back to plain buffers. Root and "unlimited" get 1 MiB; else three quarters of the
/// limit is shared among the CPUs: 1 MiB up to 2 CPUs of 8 MiB, 64 KiB at 32.
pub fn io_memory_bytes() -> usize {
    let bytes = match machine::memlock_limit() {
        None => IO_MEMORY_BYTES_MAX,
        Some(limit) => {
            let share = limit / 4 * 3 / (3 * machine::process_cpus().len().max(1) as u64);
            let share = share.clamp(IO_MEMORY_BYTES_MIN, IO_MEMORY_BYTES_MAX);
            1 << share.ilog2()
        }
    };
    bytes as usize
}

/// Can this process make the rings an executor needs?
pub fn check_io_uring() -> io::Result<()> {
    if let Some(limit) = machine::memlock_soft_limit()
        && limit < MEMLOCK_BYTES_MIN
    {
        return Err(memlock_too_small(limit));
    }
    for flags in [0, IORING_SETUP_IOPOLL] {
        try_ring(flags).map_err(|e| explain(&e))?;
    }
    Ok(())
}

fn memlock_too_small(limit: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::OutOfMemory,
        format!(
            "the limit of locked memory is {limit} bytes and io_uring needs at least \
             {MEMLOCK_BYTES_MIN}: raise it with `ulimit -l unlimited` (systemd: \
             LimitMEMLOCK=infinity; docker: --ulimit memlock=-1)"
        ),
    )
}

fn try_ring(flags: u32) -> io::Result<()> {
    // struct io_uring_params: 120 bytes; sq_entries, cq_entries, flags are its first three words.
    let mut params = [0u32; 30];
    params[2] = flags;
    // SAFETY: `params` has the size of the kernel's structure and outlives the call.
    let fd = unsafe {
        libc::syscall(libc::SYS_io_uring_setup, RING_DEPTH as libc::c_uint, params.as_mut_ptr())
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above made this descriptor and nobody else has it.
    unsafe { libc::close(fd as libc::c_int) };
    Ok(())
}

/// The sentence for a refused ring.
pub fn explain(error: &io::Error) -> io::Error {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        .map(|s| s.trim().to_string())
        .unwrap_or_default();
    let cure = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) if !matches!(disabled.as_str(), "" | "0") => format!(
            "the kernel forbids io_uring (kernel.io_uring_disabled = {disabled}): \
             `sysctl -w kernel.io_uring_disabled=0`"
        ),
        Some(libc::EPERM | libc::EACCES) => "a seccomp profile forbids io_uring, as container \
             runtimes do by default: `docker run --security-opt seccomp=unconfined`"
            .to_string(),
        Some(libc::ENOSYS) => "this kernel has no io_uring or a seccomp profile hides it: Linux \
             5.11 or newer is needed, and in a container \
             `docker run --security-opt seccomp=unconfined`"
            .to_string(),
        Some(libc::ENOMEM) => "the limit of locked memory is too small for it: \
             `ulimit -l unlimited` (docker: --ulimit memlock=-1)"
            .to_string(),
        Some(libc::EMFILE | libc::ENFILE) => {
            "no file descriptor is left for it: raise `ulimit -n`".to_string()
        }
        _ => "see `dmesg` for what the kernel says".to_string(),
    };
    io::Error::new(error.kind(), format!("cannot set up io_uring ({error}): {cure}"))
}
