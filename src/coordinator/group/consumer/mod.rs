//! Groups of the consumer protocol (KIP-848). Not here yet.

pub mod hash;
pub mod member;
pub mod owned;
pub mod re2;
#[cfg(test)]
mod re2_tests;
pub mod reconcile;

/// A group of the consumer protocol.
#[derive(Debug)]
pub struct ConsumerGroup {}
