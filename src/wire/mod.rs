//! Bytes <-> types; no I/O, no clock. Frames and headers, record batches, zero-copy produce and
//! fetch views, compression with bounds, Kafka's error codes. Message types of every API and version
//! come from the `kafka-protocol` crate; what it lacks or copies is hand-written here.

pub mod api_versions;
pub mod committed_offsets;
pub mod compression;
pub mod describe_log_dirs;
pub mod error_code;
pub mod fetch;
pub mod frame;
pub mod list_offsets;
mod lz4;
pub mod primitives;
pub mod produce;
pub mod record_batch;
mod record_scan;
pub mod records;
mod request_shape;
pub mod rewrite;
#[cfg(test)]
mod tests;
