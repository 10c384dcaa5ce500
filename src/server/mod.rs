//! Listeners and connections: accept, frames in, ordered replies out, connection limits.
//! Each shard serves the connections that it accepted; nothing here crosses shards.
//! Not here: what a request means (api/).

mod connection;
mod frames;
pub mod listener;

pub use listener::{Acceptor, ListenerOptions};
