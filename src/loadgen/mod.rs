//! The bundled load generator: open-loop clock, producers, consumers, report.
pub mod admin;
pub mod client;
