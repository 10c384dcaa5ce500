//! Errors that cross rooms, and the exit codes of the binary. Imports no room.

/// A problem of the environment or of the configuration: one sentence with the cure, an exit code
/// that is not 0, nothing changed on disk.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StartError {
    pub message: String,
    pub exit_code: i32,
}

impl StartError {
    /// Wrong configuration or command line.
    pub fn config(message: impl Into<String>) -> StartError {
        StartError { message: message.into(), exit_code: 2 }
    }
    /// The machine can't serve: port in use, directory locked or not writable, no io_uring.
    pub fn environment(message: impl Into<String>) -> StartError {
        StartError { message: message.into(), exit_code: 3 }
    }
}
