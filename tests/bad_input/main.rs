//! What a broker must shrug off: bytes that are no request, batches that lie, too many connections, more bytes
//! than there is memory for, and configurations that cannot be served. After each the broker still serves another client.
//! Raw sockets only; what well-behaved clients see is in `tests/clients`.

#[path = "../common/mod.rs"]
mod common;

mod batches;
mod connections;
mod frames;
mod groups;
mod memory;
mod pipelines;
mod startup;

use bytes::Bytes;
use common::wire::{Batch, Wire};
use common::{Broker, unique};

/// A client that did nothing wrong writes and reads.
fn still_serves(broker: &Broker) {
    let mut wire = Wire::connect(broker.address());
    let topic = unique("bystander");
    wire.create_topic_and_wait(&topic, 1);
    let batch = Batch::of(&[b"one", b"two"]).bytes();
    assert_eq!(wire.produce(&topic, batch.clone()).expect("produce"), (0, 0));
    let (code, high_watermark, bytes) = wire.fetch(&topic, 0, 0).expect("fetch");
    assert_eq!((code, high_watermark), (0, 2));
    assert_eq!(behind_epoch(&bytes), behind_epoch(&batch), "stored bytes differ");
}

/// A batch from its magic on: base offset and leader epoch are the broker's to set.
fn behind_epoch(bytes: &Bytes) -> &[u8] {
    &bytes[16..]
}
