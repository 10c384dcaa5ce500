//! Golden bytes: every advertised API and version, request and response, as Kafka 4.3.1's own message
//! classes write them (`golden/gen/Golden.java` says how to make them again), decoded and encoded
//! again by what the broker uses: equal byte for byte. Produce and Fetch go through `wire`'s own
//! codecs, and through `kafka-protocol` too; DescribeLogDirs v5 responses through `wire`; the rest
//! through `kafka-protocol`.

use std::collections::BTreeSet;
use std::fmt::Write;

use bytes::Bytes;
use kafka_protocol::messages as m;
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable};
use spindle::types::Compression;
use spindle::wire::record_batch::{self, BatchHeader};
use spindle::wire::records::{BatchBuilder, for_each_record};
use spindle::wire::{
    committed_offsets, compression, describe_log_dirs, fetch, frame, list_offsets, produce,
};

const CORRELATION_ID: i32 = 77;
const CLIENT_ID: &str = "golden";

use spindle::api::ADVERTISED;

/// Listed for librdkafka's sake and refused when used, as Kafka does (KAFKA-18659).
const PRODUCE_SERVED_FROM: i16 = 3;

struct Golden {
    key: i16,
    version: i16,
    request: bool,
    variant: &'static str,
    frame: Bytes,
    /// For messages of failures.
    line: String,
}

fn unhex(hex: &str) -> Bytes {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, b| {
        write!(out, "{b:02x}").unwrap();
        out
    })
}

fn api_key(name: &str) -> i16 {
    match name {
        "Produce" => 0,
        "Fetch" => 1,
        "ListOffsets" => 2,
        "Metadata" => 3,
        "OffsetCommit" => 8,
        "OffsetFetch" => 9,
        "FindCoordinator" => 10,
        "JoinGroup" => 11,
        "Heartbeat" => 12,
        "LeaveGroup" => 13,
        "SyncGroup" => 14,
        "DescribeGroups" => 15,
        "ListGroups" => 16,
        "ApiVersions" => 18,
        "CreateTopics" => 19,
        "DeleteTopics" => 20,
        "DeleteRecords" => 21,
        "InitProducerId" => 22,
        "OffsetForLeaderEpoch" => 23,
        "TxnOffsetCommit" => 28,
        "DescribeConfigs" => 32,
        "AlterConfigs" => 33,
        "DescribeLogDirs" => 35,
        "CreatePartitions" => 37,
        "DeleteGroups" => 42,
        "ElectLeaders" => 43,
        "IncrementalAlterConfigs" => 44,
        "AlterPartitionReassignments" => 45,
        "ListPartitionReassignments" => 46,
        "OffsetDelete" => 47,
        "DescribeClientQuotas" => 48,
        "AlterClientQuotas" => 49,
        "DescribeUserScramCredentials" => 50,
        "DescribeQuorum" => 55,
        "UpdateFeatures" => 57,
        "DescribeCluster" => 60,
        "DescribeProducers" => 61,
        "UnregisterBroker" => 64,
        "DescribeTransactions" => 65,
        "ListTransactions" => 66,
        "ConsumerGroupHeartbeat" => 68,
        "ConsumerGroupDescribe" => 69,
        "ListConfigResources" => 74,
        "DescribeTopicPartitions" => 75,
        other => panic!("no API is called {other}"),
    }
}

fn goldens() -> Vec<Golden> {
    let mut out = Vec::new();
    for line in include_str!("golden/messages.txt").lines().filter(|l| !l.starts_with('#')) {
        let words: Vec<&'static str> = line.split(' ').collect();
        let [name, version, direction, variant, bytes] = words[..] else { panic!("{line}") };
        out.push(Golden {
            key: api_key(name),
            version: version.parse().unwrap(),
            request: direction == "request",
            variant,
            frame: unhex(bytes),
            line: format!("{name} v{version} {direction} {variant}"),
        });
    }
    out
}

/// The frame's header, checked; the body.
fn split_header(golden: &Golden) -> Bytes {
    let mut frame = golden.frame.clone();
    if golden.request {
        let request = frame::decode_request(frame.clone()).expect(&golden.line);
        assert_eq!((request.api_key, request.api_version), (golden.key, golden.version));
        assert_eq!(request.correlation_id, CORRELATION_ID);
        assert_eq!(request.client_id.as_deref(), Some(CLIENT_ID.as_bytes()));
        let (header, _) = frame::header_versions(golden.key, golden.version).unwrap();
        RequestHeader::decode(&mut frame, header).expect(&golden.line);
        assert_eq!(request.body, frame, "{}", golden.line);
    } else {
        let (_, header) = frame::header_versions(golden.key, golden.version).unwrap();
        let header = ResponseHeader::decode(&mut frame, header).expect(&golden.line);
        assert_eq!(header.correlation_id, CORRELATION_ID);
    }
    frame
}

/// Compares a whole frame, length included.
fn assert_frame(golden: &Golden, made: &[u8], by: &str) {
    let len = (golden.frame.len() as i32).to_be_bytes();
    let wanted = [&len, &golden.frame[..]].concat();
    assert!(
        made == wanted,
        "{} by {by}\nKafka   {}\nSpindle {}",
        golden.line,
        hex(&wanted),
        hex(made)
    );
}

/// Through `kafka-protocol` and `frame`. The crate's version may be below the frame's.
fn round_trip<M: Decodable + Encodable>(golden: &Golden, crate_version: i16) {
    let mut body = split_header(golden);
    let message = M::decode(&mut body, crate_version).expect(&golden.line);
    assert!(body.is_empty(), "{}: {} bytes are left", golden.line, body.len());
    let made = if golden.request {
        frame::encode_request(golden.key, golden.version, CORRELATION_ID, CLIENT_ID, &message)
    } else {
        frame::encode_response(golden.key, golden.version, CORRELATION_ID, &message)
    };
    assert_frame(golden, &made.expect(&golden.line), "kafka-protocol");
}

fn produce_request(golden: &Golden) {
    let view = produce::decode_request(golden.version, &split_header(golden)).expect(&golden.line);
    let mut body = split_header(golden);
    let other = m::ProduceRequest::decode(&mut body, golden.version).unwrap();
    assert_eq!(view.transactional_id.is_none(), other.transactional_id.is_none());
    assert_eq!((view.acks, view.timeout_ms), (other.acks, other.timeout_ms));
    for (topic, other) in view.topics.iter().zip(&other.topic_data) {
        assert_eq!((&topic.name[..], topic.topic_id), (other.name.as_bytes(), other.topic_id));
        for (partition, other) in topic.partitions.iter().zip(&other.partition_data) {
            assert_eq!(partition.index, other.index);
            assert_eq!(partition.records, other.records);
        }
    }
    if golden.variant == "plain" {
        let topic = &view.topics[0];
        let records = topic.partitions[0].records.as_deref().unwrap();
        record_batch::validate(records, true).expect(&golden.line);
        let (mut made, tail) = produce::encode_single_partition_request(
            golden.version,
            CORRELATION_ID,
            CLIENT_ID,
            view.acks,
            view.timeout_ms,
            std::str::from_utf8(&topic.name).unwrap(),
            topic.topic_id,
            topic.partitions[0].index,
            records.len(),
        );
        made.extend_from_slice(records);
        made.extend_from_slice(&tail);
        assert_frame(golden, &made, "produce");
    }
}

fn produce_response(golden: &Golden) {
    let view = produce::decode_response(golden.version, &split_header(golden)).expect(&golden.line);
    assert_eq!(view.topics.len(), 2);
    if golden.variant == "plain" {
        let made = produce::encode_response(golden.version, CORRELATION_ID, &view);
        assert_frame(golden, &made, "produce");
    }
}

fn fetch_request(golden: &Golden) {
    let view = fetch::decode_request(golden.version, &split_header(golden)).expect(&golden.line);
    let mut body = split_header(golden);
    let other = m::FetchRequest::decode(&mut body, golden.version).unwrap();
    let replica_id =
        if golden.version < 15 { other.replica_id } else { other.replica_state.replica_id };
    assert_eq!(view.replica_id, replica_id.0);
    assert_eq!((view.session_id, view.session_epoch), (other.session_id, other.session_epoch));
    assert_eq!(view.topics.len(), other.topics.len());
    assert_eq!(
        view.topics[1].partitions[1].fetch_offset,
        other.topics[1].partitions[1].fetch_offset
    );
    if golden.variant != "full" || golden.version < 12 {
        let made = fetch::encode_request(golden.version, CORRELATION_ID, CLIENT_ID, &view);
        assert_frame(golden, &made, "fetch");
    }
}

fn fetch_response(golden: &Golden) {
    let view = fetch::decode_response(golden.version, &split_header(golden)).expect(&golden.line);
    for partition in view.topics.iter().flat_map(|t| &t.partitions) {
        record_batch::validate(&partition.records[0], true).expect(&golden.line);
    }
    if golden.variant != "full" || golden.version < 12 {
        let pieces = fetch::encode_response(golden.version, CORRELATION_ID, view);
        let made: Vec<u8> = pieces
            .iter()
            .flat_map(|p| match p {
                fetch::Piece::Bytes(b) | fetch::Piece::Records(b) => b.as_ref(),
            })
            .copied()
            .collect();
        assert_frame(golden, &made, "fetch");
    }
}

fn describe_log_dirs_v5_response(golden: &Golden) {
    let response =
        describe_log_dirs::decode_response(5, &split_header(golden)).expect(&golden.line);
    assert_eq!(response.cordoned, [true, true]);
    let made = describe_log_dirs::encode_response(5, CORRELATION_ID, &response);
    assert_frame(golden, &made.unwrap(), "describe_log_dirs");
}

macro_rules! round_trip {
    ($golden:expr, $version:expr, $request:ty, $response:ty) => {
        if $golden.request {
            round_trip::<$request>($golden, $version)
        } else {
            round_trip::<$response>($golden, $version)
        }
    };
}

fn check(golden: &Golden) {
    let v = golden.version;
    match golden.key {
        0 => {
            if golden.request {
                produce_request(golden)
            } else {
                produce_response(golden)
            }
            round_trip!(golden, v, m::ProduceRequest, m::ProduceResponse);
        }
        1 => {
            if golden.request {
                fetch_request(golden)
            } else {
                fetch_response(golden)
            }
            round_trip!(golden, v, m::FetchRequest, m::FetchResponse);
        }
        2 => {
            let v = v.min(list_offsets::VERSION_OF_CRATE);
            round_trip!(golden, v, m::ListOffsetsRequest, m::ListOffsetsResponse);
        }
        3 => round_trip!(golden, v, m::MetadataRequest, m::MetadataResponse),
        8 if v == committed_offsets::VERSION_BY_ID && golden.request => {
            let request = committed_offsets::decode_commit(&split_header(golden)).unwrap();
            let made = committed_offsets::encode_commit(CORRELATION_ID, CLIENT_ID, &request);
            assert_frame(golden, &made, "committed_offsets");
        }
        8 => round_trip!(golden, v, m::OffsetCommitRequest, m::OffsetCommitResponse),
        9 if v == committed_offsets::VERSION_BY_ID && golden.request => {
            let request = committed_offsets::decode_fetch(&split_header(golden)).unwrap();
            let made = committed_offsets::encode_fetch(CORRELATION_ID, CLIENT_ID, &request);
            assert_frame(golden, &made, "committed_offsets");
        }
        9 => round_trip!(golden, v, m::OffsetFetchRequest, m::OffsetFetchResponse),
        10 => round_trip!(golden, v, m::FindCoordinatorRequest, m::FindCoordinatorResponse),
        18 => round_trip!(golden, v, m::ApiVersionsRequest, m::ApiVersionsResponse),
        19 => round_trip!(golden, v, m::CreateTopicsRequest, m::CreateTopicsResponse),
        20 => round_trip!(golden, v, m::DeleteTopicsRequest, m::DeleteTopicsResponse),
        21 => round_trip!(golden, v, m::DeleteRecordsRequest, m::DeleteRecordsResponse),
        22 => round_trip!(golden, v, m::InitProducerIdRequest, m::InitProducerIdResponse),
        23 => {
            round_trip!(golden, v, m::OffsetForLeaderEpochRequest, m::OffsetForLeaderEpochResponse)
        }
        32 => round_trip!(golden, v, m::DescribeConfigsRequest, m::DescribeConfigsResponse),
        33 => round_trip!(golden, v, m::AlterConfigsRequest, m::AlterConfigsResponse),
        35 if v == 5 && !golden.request => describe_log_dirs_v5_response(golden),
        35 => round_trip!(golden, v.min(4), m::DescribeLogDirsRequest, m::DescribeLogDirsResponse),
        37 => round_trip!(golden, v, m::CreatePartitionsRequest, m::CreatePartitionsResponse),
        44 => round_trip!(
            golden,
            v,
            m::IncrementalAlterConfigsRequest,
            m::IncrementalAlterConfigsResponse
        ),
        60 => round_trip!(golden, v, m::DescribeClusterRequest, m::DescribeClusterResponse),
        61 => round_trip!(golden, v, m::DescribeProducersRequest, m::DescribeProducersResponse),
        75 => round_trip!(
            golden,
            v,
            m::DescribeTopicPartitionsRequest,
            m::DescribeTopicPartitionsResponse
        ),
        11 => round_trip!(golden, v, m::JoinGroupRequest, m::JoinGroupResponse),
        12 => round_trip!(golden, v, m::HeartbeatRequest, m::HeartbeatResponse),
        13 => round_trip!(golden, v, m::LeaveGroupRequest, m::LeaveGroupResponse),
        14 => round_trip!(golden, v, m::SyncGroupRequest, m::SyncGroupResponse),
        15 => round_trip!(golden, v, m::DescribeGroupsRequest, m::DescribeGroupsResponse),
        16 => round_trip!(golden, v, m::ListGroupsRequest, m::ListGroupsResponse),
        28 => round_trip!(golden, v, m::TxnOffsetCommitRequest, m::TxnOffsetCommitResponse),
        42 => round_trip!(golden, v, m::DeleteGroupsRequest, m::DeleteGroupsResponse),
        43 => round_trip!(golden, v, m::ElectLeadersRequest, m::ElectLeadersResponse),
        45 => round_trip!(
            golden,
            v,
            m::AlterPartitionReassignmentsRequest,
            m::AlterPartitionReassignmentsResponse
        ),
        46 => round_trip!(
            golden,
            v,
            m::ListPartitionReassignmentsRequest,
            m::ListPartitionReassignmentsResponse
        ),
        47 => round_trip!(golden, v, m::OffsetDeleteRequest, m::OffsetDeleteResponse),
        48 => {
            round_trip!(golden, v, m::DescribeClientQuotasRequest, m::DescribeClientQuotasResponse)
        }
        49 => round_trip!(golden, v, m::AlterClientQuotasRequest, m::AlterClientQuotasResponse),
        50 => round_trip!(
            golden,
            v,
            m::DescribeUserScramCredentialsRequest,
            m::DescribeUserScramCredentialsResponse
        ),
        55 => round_trip!(golden, v, m::DescribeQuorumRequest, m::DescribeQuorumResponse),
        57 => round_trip!(golden, v, m::UpdateFeaturesRequest, m::UpdateFeaturesResponse),
        64 => round_trip!(golden, v, m::UnregisterBrokerRequest, m::UnregisterBrokerResponse),
        65 => {
            round_trip!(golden, v, m::DescribeTransactionsRequest, m::DescribeTransactionsResponse)
        }
        66 => round_trip!(golden, v, m::ListTransactionsRequest, m::ListTransactionsResponse),
        68 => round_trip!(
            golden,
            v,
            m::ConsumerGroupHeartbeatRequest,
            m::ConsumerGroupHeartbeatResponse
        ),
        69 => round_trip!(
            golden,
            v,
            m::ConsumerGroupDescribeRequest,
            m::ConsumerGroupDescribeResponse
        ),
        74 => round_trip!(golden, v, m::ListConfigResourcesRequest, m::ListConfigResourcesResponse),
        key => panic!("no codec for API key {key}"),
    }
}

#[test]
fn every_golden_message_survives_a_round_trip() {
    let mut failures = Vec::new();
    for golden in goldens() {
        let checked = std::panic::catch_unwind(|| check(&golden));
        if checked.is_err() {
            failures.push(golden.line);
        }
    }
    assert!(failures.is_empty(), "{} fail: {failures:#?}", failures.len());
}

#[test]
fn every_advertised_version_has_golden_bytes() {
    let have: BTreeSet<(i16, i16, bool)> =
        goldens().iter().map(|g| (g.key, g.version, g.request)).collect();
    for &(key, min, max) in ADVERTISED {
        let min = if key == 0 { PRODUCE_SERVED_FROM } else { min };
        for version in min..=max {
            for request in [true, false] {
                assert!(
                    have.contains(&(key, version, request)),
                    "no golden line for key {key} version {version} request {request}"
                );
            }
        }
    }
}

/// The shape check before the message crate ends exactly where the message does.
#[test]
fn a_cut_request_is_refused_before_it_is_decoded() {
    for golden in goldens().iter().filter(|g| g.request && g.key > 1) {
        if split_header(golden).is_empty() {
            continue;
        }
        let cut = golden.frame.slice(..golden.frame.len() - 1);
        let e = frame::decode_request(cut).expect_err(&golden.line);
        assert!(matches!(e, frame::FrameError::Malformed { .. }), "{}: {e}", golden.line);
    }
}

/// The four records of `Golden.java`, built by us; the same records read from Kafka's batch.
#[test]
fn batches_of_kafka_are_read_and_uncompressed_ones_are_made_the_same() {
    let value: &[u8] = b"a value that repeats: abcabcabcabcabcabcabcabcabcabcabcabc";
    let headers: &[(&str, Option<&[u8]>)] =
        &[("trace", Some(b"id-1")), ("null", None), ("", Some(b""))];
    type Record<'a> = (i64, Option<&'a [u8]>, Option<&'a [u8]>, &'a [(&'a str, Option<&'a [u8]>)]);
    let records: [Record<'_>; 4] = [
        (1_700_000_000_000, Some(b"key-0"), Some(value), headers),
        (1_700_000_000_500, None, Some(value), &[]),
        (1_699_999_999_000, Some(b"key-2"), None, &[]),
        (1_700_000_100_000, None, None, headers),
    ];
    let mut seen = 0;
    for line in include_str!("golden/batches.txt").lines().filter(|l| !l.starts_with('#')) {
        let (name, bytes) = line.split_once(' ').unwrap();
        let codec = Compression::parse(name).unwrap();
        let kafka = unhex(bytes);
        let header = record_batch::validate(&kafka, true).unwrap();
        assert_eq!(header.compression(), Some(codec));
        assert_eq!(
            (header.producer_id, header.producer_epoch, header.base_sequence),
            (4000, 3, 17)
        );
        let mut builder = BatchBuilder::new(codec);
        builder.producer(4000, 3, 17);
        for (timestamp, key, value, headers) in records {
            builder.push(timestamp, key, value, headers);
        }
        let ours = builder.finish();
        for batch in [&kafka[..], &ours[..]] {
            let mut i = 0;
            for_each_record(batch, &mut |r| {
                let (timestamp, key, value, headers) = records[i];
                assert_eq!(header.base_timestamp + r.timestamp_delta, timestamp);
                assert_eq!((r.key, r.value), (key, value));
                let wanted = headers.iter().map(|(k, v)| (k.as_bytes(), *v));
                assert!(r.header_pairs().eq(wanted));
                i += 1;
                true
            })
            .unwrap();
            assert_eq!(i, 4);
        }
        if codec == Compression::None {
            assert_eq!(hex(&ours), hex(&kafka));
        }
        let ours = BatchHeader { crc: 0, batch_length: 0, ..BatchHeader::parse(&ours).unwrap() };
        assert_eq!(ours, BatchHeader { crc: 0, batch_length: 0, ..header });
        seen += 1;
    }
    assert_eq!(seen, 5);
}

/// Compressed records, alone: what each codec makes can be read back without the batch around it.
#[test]
fn every_codec_reads_its_own_output() {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let codec = Compression::parse(codec).unwrap();
        let mut packed = Vec::new();
        let mut out = Vec::new();
        compression::compress(codec, b"one two three", &mut packed);
        compression::decompress(codec, &packed, &mut out, 13).unwrap();
        assert_eq!(out, b"one two three");
    }
}
