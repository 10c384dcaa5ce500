//! The bundled load generator: open-loop clock, producers, consumers, report. Drives any Kafka broker;
//! every record carries a stamp that times it and proves that it arrived once, in order, unaltered.
//! `client` and `admin` are a small Kafka client of their own, for tests and the simulator too.
//! Runs on its own executor threads (`run`); knows brokers only over the wire.
//! Not here: the command line (`cli/bench.rs`), starting a broker.

mod check;
pub mod compare;
mod consumer;
mod control;
mod disk;
mod find;
pub mod groups;
pub mod html;
pub mod lifecycle;
pub mod live;
mod machine;
mod observe;
mod prefill;
mod prepare;
mod producer;
pub mod report;
mod run;
pub mod stamp;
mod stats;
mod text;
mod workload;

pub use control::{Control, Failure};
pub use machine::{cores, process_cpu_seconds};
pub use observe::{LocalBroker, ShardReading, THREADS};
pub use report::{Percentiles, Report, Tick};
pub use run::{Surroundings, run};
pub use text::{tick, tick_header};
pub use workload::{
    Acks, ArrivalLaw, KeyLaw, LatencyBound, PayloadSource, PhaseSpec, Rate, SizeLaw, Workload,
};
