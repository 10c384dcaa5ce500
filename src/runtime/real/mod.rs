//! The real backend: the only directory that names glommio, io_uring or libc I/O. Glommio gives the
//! pinned executor, opens, allocates and closes files; what a request costs every time (sockets,
//! direct reads and writes, timers, waiting) is the engine's, on a ring of its own.
//! Everything in here runs on the executor thread that made it, except the blocking pool and the
//! watchdog, which are plain OS threads shared by every executor of the process.
//! Not here: which backend serves a call (the facade files beside this directory decide).

pub mod aligned;
pub mod allocator;
pub mod blocking;
pub mod cached;
pub mod clock;
pub mod directory;
pub mod disk;
pub mod engine;
pub mod executor;
pub mod gather;
pub mod preflight;
pub mod probe;
pub mod ring;
pub mod socket;
pub mod timers;
pub mod watchdog;

use std::io;

/// Keeps the OS error number: glommio's own conversion to `io::Error` turns ENOSPC, EMFILE and
/// EIO of a file operation into text, and callers decide by the number.
pub(crate) fn io_error<T>(error: glommio::GlommioError<T>) -> io::Error {
    match error {
        glommio::GlommioError::IoError(source) => source,
        glommio::GlommioError::EnhancedIoError { source, .. } => source,
        other => io::Error::other(other.to_string()),
    }
}
