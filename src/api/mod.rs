//! One file an API, in Kafka's names: what a request means, in terms of `shard::Router`.
//! This module matches on the key and declares versions and gaps. Only `api` and `wire` name Kafka's
//! error codes. Never touches `log` or `runtime`.

use std::net::SocketAddr;

/// Who asks, and how.
#[derive(Clone, Debug)]
pub struct RequestContext {
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<bytes::Bytes>,
    /// Index of the listener the connection came in on.
    pub listener: usize,
    pub peer: SocketAddr,
}
