//! The bundled load generator: open-loop clock, producers, consumers, report.
pub mod admin;
pub mod check;
pub mod client;
pub mod consumer;
pub mod control;
pub mod producer;
pub mod stamp;
pub mod stats;
pub mod workload;
