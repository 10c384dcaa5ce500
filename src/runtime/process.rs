//! Child processes in a group of their own, and signals to that group: for tools that start a broker beside
//! themselves. Invariant: a child is killed by the kernel when the thread that started it ends, so that none is
//! left over whatever happens to us. The real machine always.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Terminate,
    Kill,
}

/// Starts a command as the leader of a new group.
pub fn spawn_group(command: &mut Command) -> io::Result<Child> {
    command.process_group(0);
    // SAFETY: between fork and exec only prctl, which is safe to call after fork.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    command.spawn()
}

/// To every process of a group that `spawn_group` made and whose leader has not been reaped.
pub fn signal_group(leader: &Child, signal: Signal) {
    let number = match signal {
        Signal::Terminate => libc::SIGTERM,
        Signal::Kill => libc::SIGKILL,
    };
    if let Ok(group) = i32::try_from(leader.id()) {
        // SAFETY: a call without memory; the id is our child's until it is reaped.
        unsafe { libc::kill(-group, number) };
    }
}
