//! Groups of the consumer protocol (KIP-848). Not here yet.

/// A group of the consumer protocol.
#[derive(Debug)]
pub struct ConsumerGroup {}
