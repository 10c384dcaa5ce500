//! Bytes that are no request, requests that are none of Kafka's, and versions nobody speaks.

use std::io::Write;
use std::net::Shutdown;

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, MetadataRequest};
use kafka_protocol::protocol::Decodable;

use crate::common::wire::Wire;
use crate::common::{Broker, external, unique};
use crate::still_serves;

/// Each of these ends the connection it came on, without an answer.
#[test]
fn frames_that_close_the_connection() {
    let broker = Broker::any();
    let too_large = 104_857_600_i32 + 1;
    let lengths = [too_large, i32::MAX, -1, i32::MIN, 0];
    for length in lengths {
        let mut wire = Wire::connect(broker.address());
        wire.stream.write_all(&length.to_be_bytes()).expect("send a length");
        assert!(wire.is_closed(), "a frame of {length} bytes");
    }
    let short: [&[u8]; 4] = [b"\0", b"\0\x12", b"\0\x12\0\x03", b"\0\x12\0\x03\0\0\0"];
    for body in short {
        let mut wire = Wire::connect(broker.address());
        wire.send_frame(body).expect("send a frame");
        assert!(wire.is_closed(), "a frame of {body:?}");
    }
    still_serves(&broker);
}

#[test]
fn unknown_api_closes_the_connection() {
    let broker = Broker::any();
    for key in [999_i16, -1, i16::MAX, 4, 7] {
        let mut wire = Wire::connect(broker.address());
        let mut body = BytesMut::new();
        body.put_i16(key);
        body.put_i16(0);
        body.put_i32(5);
        body.put_i16(-1);
        wire.send_frame(&body).expect("send a frame");
        assert!(wire.is_closed(), "API key {key}");
    }
    still_serves(&broker);
}

#[test]
fn unknown_version_closes_the_connection() {
    let broker = Broker::any();
    for (key, version) in [(ApiKey::Metadata, 99), (ApiKey::Produce, 2), (ApiKey::Fetch, -1)] {
        let mut wire = Wire::connect(broker.address());
        let mut body = BytesMut::new();
        body.put_i16(key as i16);
        body.put_i16(version);
        body.put_i32(5);
        body.put_i16(-1);
        body.put_u8(0);
        wire.send_frame(&body).expect("send a frame");
        assert!(wire.is_closed(), "{key:?} version {version}");
    }
    still_serves(&broker);
}

/// KIP-511: the answer is version 0 with UNSUPPORTED_VERSION, and the connection goes on.
#[test]
fn unknown_api_versions_version_is_answered_in_version_0() {
    let broker = Broker::any();
    let mut wire = Wire::connect(broker.address());
    let request = ApiVersionsRequest::default();
    let bytes = wire.request_bytes(ApiKey::ApiVersions, 3, &request);
    let mut bytes = BytesMut::from(&bytes[..]);
    bytes[2..4].copy_from_slice(&120_i16.to_be_bytes());
    wire.send_frame(&bytes).expect("send");
    let reply = wire.read_frame().expect("a reply");
    let mut body = reply.slice(4..);
    let response = ApiVersionsResponse::decode(&mut body, 0).expect("version 0");
    assert_eq!(response.error_code, 35);
    let own = response.api_keys.iter().find(|k| k.api_key == ApiKey::ApiVersions as i16);
    assert!(own.is_some_and(|k| k.max_version >= 3), "the versions it does speak");
    assert_eq!(wire.api_versions().expect("the connection goes on").error_code, 0);
}

#[test]
fn truncated_frames() {
    let broker = Broker::any();
    let mut wire = Wire::connect(broker.address());
    let whole = wire.request_bytes(ApiKey::Metadata, 9, &MetadataRequest::default());
    let mut held = Vec::new();
    for cut in 0..whole.len() {
        let mut wire = Wire::connect(broker.address());
        wire.stream.write_all(&(whole.len() as i32).to_be_bytes()).expect("length");
        wire.stream.write_all(&whole[..cut]).expect("a part");
        if cut % 2 == 0 {
            wire.stream.shutdown(Shutdown::Write).expect("half close");
            assert!(wire.is_closed(), "cut at {cut}");
        } else {
            held.push(wire);
        }
        // The same bytes as a whole frame: the body ends too early.
        let mut wire = Wire::connect(broker.address());
        wire.send_frame(&whole[..cut]).expect("send");
        if cut < 8 {
            assert!(wire.is_closed(), "a frame cut at {cut}");
        }
    }
    still_serves(&broker);
    drop(held);
    still_serves(&broker);
}

/// A request that comes a byte at a time is a request.
#[test]
fn slow_frames_are_answered() {
    let broker = Broker::any();
    let mut wire = Wire::connect(broker.address());
    let request = ApiVersionsRequest::default();
    let bytes = wire.request_bytes(ApiKey::ApiVersions, 0, &request);
    let mut frame = (bytes.len() as i32).to_be_bytes().to_vec();
    frame.extend_from_slice(&bytes);
    for byte in frame {
        wire.stream.write_all(&[byte]).expect("one byte");
    }
    assert!(wire.read_frame().is_ok());
}

#[test]
fn random_bytes() {
    let broker = Broker::any();
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes: Vec<u8> = (0..random.usize(0..600)).map(|_| random.u8(..)).collect();
        if seed % 2 == 0 && bytes.len() >= 4 {
            let length = (bytes.len() - 4) as i32;
            bytes[..4].copy_from_slice(&length.to_be_bytes());
        }
        let mut wire = Wire::connect(broker.address());
        // The broker may have closed already: that is an answer too.
        let _ = wire.stream.write_all(&bytes);
        let _ = wire.stream.shutdown(Shutdown::Write);
    }
    still_serves(&broker);
}

/// Every API and version with a true header and a body of noise, or of plausible length prefixes.
#[test]
fn random_bodies_behind_true_headers() {
    let mut broker = Broker::any();
    let versions = Wire::connect(broker.address()).api_versions().expect("versions");
    // CreateTopics and what else changes the cluster may by chance be well-formed: no harm here.
    for (number, api) in versions.api_keys.iter().enumerate() {
        for version in api.min_version..=api.max_version {
            for seed in 0..4 {
                let mut random = fastrand::Rng::with_seed((number * 1000 + seed) as u64);
                let mut body = BytesMut::new();
                body.put_i16(api.api_key);
                body.put_i16(version);
                body.put_i32(1);
                body.put_i16(-1);
                body.put_u8(0);
                for _ in 0..random.usize(0..40) {
                    match random.u8(0..5) {
                        0 => body.put_i32(i32::MAX),
                        1 => body.put_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]),
                        2 => body.put_i16(i16::MAX),
                        3 => body.put_bytes(0, 8),
                        _ => body.put_u64(random.u64(..)),
                    }
                }
                let mut wire = Wire::connect(broker.address());
                let _ = wire.send_frame(&body);
                let _ = wire.stream.shutdown(Shutdown::Write);
            }
        }
    }
    still_serves(&broker);
    if external().is_none() {
        assert!(broker.is_running());
    }
}

/// One client's nonsense is not another's: requests in flight elsewhere are answered.
#[test]
fn others_go_on_meanwhile() {
    let broker = Broker::any();
    let mut good = Wire::connect(broker.address());
    good.create_topic_and_wait(&unique("meanwhile"), 1);
    for round in 0..50_u8 {
        let mut bad = Wire::connect(broker.address());
        let _ = bad.stream.write_all(&[round; 64]);
        assert_eq!(good.api_versions().expect("an answer").error_code, 0);
    }
}
