//! Requests beyond a shard's memory wait in their sockets: nothing is refused, nobody is disconnected, and
//! who asks for little is served meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use kafka_protocol::messages::ApiKey;

use crate::common::wire::{Batch, PATIENCE, Wire};
use crate::common::{Broker, is_spindle, unique};
use crate::still_serves;

const REQUEST_BYTES: usize = 1_000_000;

/// A produce request that has begun: half of it is sent.
struct Half {
    wire: Wire,
    rest: Vec<u8>,
}

fn large_request(wire: &mut Wire, topic: &str) -> Vec<u8> {
    let records = Batch::of(&[&vec![b'x'; REQUEST_BYTES]]).bytes();
    let body = wire.request_bytes(ApiKey::Produce, 9, &Wire::produce_request(topic, records));
    let mut frame = (body.len() as i32).to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    frame
}

fn half(broker: &Broker, topic: &str) -> Half {
    let mut wire = Wire::connect(broker.address());
    let mut frame = large_request(&mut wire, topic);
    let rest = frame.split_off(frame.len() / 2);
    wire.stream.write_all(&frame).expect("half a request fits");
    Half { wire, rest }
}

/// Error code of a produce answer in version 9, of one topic and partition.
fn is_acknowledged(wire: &mut Wire) -> bool {
    let answer = wire.read_frame().expect("an answer");
    // The partition's index and error code follow topic and count; no error has a base offset >= 0.
    answer.windows(6).any(|w| w == [0; 6])
}

#[test]
fn large_requests_wait_for_memory_and_small_ones_do_not() {
    if !is_spindle() {
        return eprintln!("needs a Spindle with little memory: not run");
    }
    // A quarter of it is for requests: four of those below.
    let broker = Broker::own(&["shard.count=1", "shard.memory.bytes=16777216"]);
    let topic = unique("crowd");
    Wire::connect(broker.address()).create_topic_and_wait(&topic, 1);
    still_serves(&broker);
    let before = broker.resident_bytes();
    let holders: Vec<Half> = (0..4).map(|_| half(&broker, &topic)).collect();
    // They are read before the others begin: the broker has answered a request that came after.
    still_serves(&broker);
    let crowd: Vec<_> = (0..100)
        .map(|_| {
            let mut wire = Wire::connect(broker.address());
            let frame = large_request(&mut wire, &topic);
            std::thread::spawn(move || {
                wire.stream.write_all(&frame).expect("the broker reads in the end");
                assert!(is_acknowledged(&mut wire));
            })
        })
        .collect();
    let mut waiting = Wire::connect(broker.address());
    let frame = large_request(&mut waiting, &topic);
    let mut writer = waiting.stream.try_clone().expect("a second handle");
    let written = std::thread::spawn(move || writer.write_all(&frame));
    waiting.stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    let early = waiting.stream.read(&mut [0]).expect_err("there is no memory for it yet").kind();
    assert!(matches!(early, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{early:?}");
    still_serves(&broker);
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < 24 << 20, "a hundred requests of 1 MB cost {grown} bytes");
    for mut half in holders {
        half.wire.stream.write_all(&half.rest).expect("the other half");
        assert!(is_acknowledged(&mut half.wire));
    }
    waiting.stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    assert!(is_acknowledged(&mut waiting));
    written.join().expect("the writer").expect("all of it was read");
    for client in crowd {
        client.join().expect("everyone is served");
    }
    still_serves(&broker);
}

/// At full speed: what is kept for readers goes first, and who brings more waits; nobody is refused.
#[test]
fn writers_at_full_speed_stay_inside_a_small_memory() {
    if !is_spindle() {
        return eprintln!("needs a Spindle with little memory: not run");
    }
    const WRITERS: usize = 8;
    const REQUESTS: usize = 40;
    let broker = Broker::own(&["shard.count=1", "shard.memory.bytes=16777216"]);
    let topic = unique("flood");
    Wire::connect(broker.address()).create_topic_and_wait(&topic, WRITERS as i32);
    still_serves(&broker);
    let before = broker.resident_bytes();
    let mut most = 0;
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|partition| {
                let (broker, topic) = (&broker, &topic);
                scope.spawn(move || {
                    let mut wire = Wire::connect(broker.address());
                    let records = Batch::of(&[&vec![b'x'; REQUEST_BYTES]]).bytes();
                    for n in 0..REQUESTS {
                        let done = wire.produce_to(topic, partition as i32, records.clone());
                        assert_eq!(done.expect("an answer").0, 0, "request {n}");
                    }
                })
            })
            .collect();
        while writers.iter().any(|w| !w.is_finished()) {
            most = most.max(broker.resident_bytes());
            std::thread::yield_now();
        }
    });
    // 16 MiB it may use; 28 to 32 are seen, with what the allocators keep. Tails alone would take 120.
    let grown = most.saturating_sub(before);
    assert!(grown < 64 << 20, "memory grew by {} MB", grown >> 20);
}

/// A connection that was busy and is idle holds no buffer of the size that it was read with.
#[test]
fn idle_connections_hold_nothing() {
    if !is_spindle() {
        return eprintln!("counts a Spindle's memory: not run");
    }
    const CONNECTIONS: usize = 400;
    let broker = Broker::own(&["shard.count=1"]);
    let topic = unique("idle");
    let mut first = Wire::connect(broker.address());
    first.create_topic_and_wait(&topic, 1);
    let records = Batch::of(&[&vec![b'x'; REQUEST_BYTES]]).bytes();
    let busy = |wire: &mut Wire| {
        for _ in 0..2 {
            assert_eq!(wire.produce(&topic, records.clone()).expect("an answer").0, 0);
        }
    };
    // The tail's cache is full then.
    (0..10).for_each(|_| busy(&mut first));
    let before = broker.resident_bytes();
    let _idle: Vec<Wire> = (0..CONNECTIONS)
        .map(|_| {
            let mut wire = Wire::connect(broker.address());
            busy(&mut wire);
            wire
        })
        .collect();
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "memory grew by {} MB", grown >> 20);
}
