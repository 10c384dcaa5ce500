//! One core's kingdom: its partitions, the router that finds the owner of any partition, purgatory,
//! housekeeping. API handlers talk to the broker through `Router` only.

pub mod router;

pub use router::Router;
