//! The glommio backend: the only files that import it. Its traps, and what is done about each, are
//! said where they are met; `tests/runtime_traps.rs` has a test for each.

pub(super) mod disk;
pub(super) mod executor;
pub(super) mod socket;

fn io_error(e: glommio::GlommioError<()>) -> std::io::Error {
    e.into()
}
