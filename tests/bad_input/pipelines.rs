//! Many requests in one write, as pipelining clients send them: every one is answered, in order, whichever kind stands
//! beside which, and nothing that could be answered waits behind a request that has to wait.

use std::io::Write;

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, FetchRequest, HeartbeatRequest};

use crate::common::wire::{Batch, Wire};
use crate::common::{Broker, unique};

fn put(out: &mut BytesMut, body: &[u8]) {
    out.put_u32(body.len() as u32);
    out.extend_from_slice(body);
}

/// The correlation id of the next answer.
fn next(wire: &mut Wire) -> i32 {
    let frame = wire.read_frame().expect("an answer");
    i32::from_be_bytes(frame[..4].try_into().expect("a header"))
}

/// Answers that wait for data for a minute, unless some comes.
fn long_fetch(topic: &str, offset: i64) -> FetchRequest {
    Wire::fetch_request(topic, 0, offset).with_max_wait_ms(60_000)
}

#[test]
fn requests_that_come_together_are_answered_in_order_and_none_waits_for_a_later_one() {
    let broker = Broker::any();
    let topic = unique("pipeline");
    let (mut wire, mut other) = (Wire::connect(broker.address()), Wire::connect(broker.address()));
    other.create_topic_and_wait(&topic, 1);
    let versions = ApiVersionsRequest::default();
    let heartbeat = HeartbeatRequest::default();
    let mut all = BytesMut::new();
    let mut count = 0;
    let mut add = |bytes: bytes::Bytes| {
        put(&mut all, &bytes);
        count += 1;
    };
    // More than one connection's turn, and more than is held back at once.
    for _ in 0..100 {
        add(wire.request_bytes(ApiKey::ApiVersions, 0, &versions));
        add(wire.request_bytes(ApiKey::Heartbeat, 0, &heartbeat));
    }
    let produce = Wire::produce_request(&topic, Batch::of(&[b"one"]).bytes());
    add(wire.request_bytes(ApiKey::Produce, 9, &produce));
    add(wire.request_bytes(ApiKey::Heartbeat, 0, &heartbeat));
    add(wire.request_bytes(ApiKey::Produce, 9, &produce));
    add(wire.request_bytes(ApiKey::Produce, 9, &produce));
    add(wire.request_bytes(ApiKey::ApiVersions, 0, &versions));
    add(wire.request_bytes(ApiKey::Heartbeat, 0, &heartbeat));
    let before_the_fetch = count;
    let mut add = |bytes: bytes::Bytes| {
        put(&mut all, &bytes);
        count += 1;
    };
    add(wire.request_bytes(ApiKey::Fetch, 11, &long_fetch(&topic, 3)));
    add(wire.request_bytes(ApiKey::Heartbeat, 0, &heartbeat));
    add(wire.request_bytes(ApiKey::ApiVersions, 0, &versions));
    wire.stream.write_all(&all).expect("all of them in one write");
    for correlation in 1..=before_the_fetch {
        assert_eq!(next(&mut wire), correlation);
    }
    let (code, offset) = other.produce(&topic, Batch::of(&[b"more"]).bytes()).expect("an answer");
    assert_eq!((code, offset), (0, 3));
    for correlation in before_the_fetch + 1..=count {
        assert_eq!(next(&mut wire), correlation);
    }
}

#[test]
fn what_was_answered_leaves_before_the_connection_ends_at_a_frame_that_cannot_be() {
    let broker = Broker::any();
    let mut wire = Wire::connect(broker.address());
    let versions = ApiVersionsRequest::default();
    let mut all = BytesMut::new();
    for _ in 0..3 {
        put(&mut all, &wire.request_bytes(ApiKey::ApiVersions, 0, &versions));
    }
    all.put_i32(-5);
    wire.stream.write_all(&all).expect("all of them in one write");
    for correlation in 1..=3 {
        assert_eq!(next(&mut wire), correlation);
    }
    assert!(wire.is_closed());
}
