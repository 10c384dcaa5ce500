//! The whole broker in the simulator, one fault at a time at every place where it can fall: a short
//! fixed workload is run once to count its writes and disk operations, then again and again with the
//! power cut at write k, an EIO at operation k, or a disk that is full from operation k on. The
//! checker is that of `simulator.rs`: what was acknowledged with acks=all is there, once, in order,
//! unaltered, also after the power goes; offsets are dense; what was served stays as it was.
//!
//! Every place:  SPINDLE_FAULTS=all cargo test --test simulator_faults
//! One place:    SPINDLE_FAULT=power:17:3 (or eio:17:3, full:17:3; the last number is the seed)
//!               cargo test --test simulator_faults -- one_fault --nocapture
//! Single scenarios (a stalled disk, a bit flip, a full disk, old records) are in faults/.

#![allow(dead_code)] // the other simulator test uses more of the shared rooms

#[path = "simulator/broker.rs"]
mod broker;
#[path = "simulator/client.rs"]
mod client;
#[path = "simulator/consumer.rs"]
mod consumer;
#[path = "simulator/history.rs"]
mod history;
#[path = "simulator/machine.rs"]
mod machine;
#[path = "simulator/plan.rs"]
mod plan;
#[path = "simulator/producer.rs"]
mod producer;
#[path = "simulator/records.rs"]
mod records;
#[path = "simulator/scenario.rs"]
mod scenario;
#[path = "simulator/side_topic.rs"]
mod side_topic;

#[path = "faults/clean_stop.rs"]
mod clean_stop;
#[path = "faults/every_place.rs"]
mod every_place;
#[path = "faults/forwarded.rs"]
mod forwarded;
#[path = "faults/full_start.rs"]
mod full_start;
#[path = "faults/retention.rs"]
mod retention;
#[path = "faults/single.rs"]
mod single;
