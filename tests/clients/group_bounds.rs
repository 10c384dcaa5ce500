//! The coordinator's host with real sockets: what is too large for `__consumer_offsets` is refused by itself, a damaged
//! log is said and not served, and a client that goes while it waits for others is not kept.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use crate::common::wire::{PATIENCE, Wire, topic_name};
use crate::common::{Broker, wait_for};

const UNKNOWN_SERVER_ERROR: i16 = -1;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const NOT_COORDINATOR: i16 = 16;
const REBALANCE_IN_PROGRESS: i16 = 27;

const LARGE: usize = 1_200_000;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

fn join(group_id: &str, member: &str, metadata: Bytes) -> JoinGroupRequest {
    let protocol =
        JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(metadata);
    JoinGroupRequest::default()
        .with_group_id(group(group_id))
        .with_member_id(text(member))
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(60_000)
        .with_protocol_type(text("x"))
        .with_protocols(vec![protocol])
}

/// Versions without the handshake of member ids.
fn joined(wire: &mut Wire, request: &JoinGroupRequest) -> JoinGroupResponse {
    wire.call(ApiKey::JoinGroup, 3, request).expect("an answer to the join")
}

fn sync(wire: &mut Wire, name: &str, joined: &JoinGroupResponse, part: Bytes) -> SyncGroupResponse {
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id.clone())
        .with_assignment(part);
    let request = SyncGroupRequest::default()
        .with_group_id(group(name))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_assignments(vec![assignment]);
    wire.call(ApiKey::SyncGroup, 3, &request).expect("an answer to the sync")
}

fn heartbeat(wire: &mut Wire, name: &str, joined: &JoinGroupResponse) -> i16 {
    let request = HeartbeatRequest::default()
        .with_group_id(group(name))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone());
    let answer: HeartbeatResponse = wire.call(ApiKey::Heartbeat, 3, &request).expect("an answer");
    answer.error_code
}

/// Offset 5 of partition 0 of `t`, with so much metadata: its code.
pub fn commit(wire: &mut Wire, name: &str, metadata: usize) -> i16 {
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(5)
        .with_committed_metadata(Some(text(&"m".repeat(metadata))));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name("t"))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group(name))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let answer: OffsetCommitResponse =
        wire.call(ApiKey::OffsetCommit, 8, &request).expect("an answer");
    answer.topics[0].partitions[0].error_code
}

/// All groups in one partition of `__consumer_offsets`.
pub fn broker() -> Broker {
    Broker::own(&[
        "offsets.topic.num.partitions=1",
        "group.initial.rebalance.delay.ms=0",
        "offset.metadata.max.bytes=10000000",
    ])
}

pub fn connect(broker: &Broker) -> Wire {
    let mut wire = Wire::connect(broker.address());
    wire.create_topic_and_wait("t", 1);
    let request = FindCoordinatorRequest::default().with_key(text("first"));
    // It makes the topic.
    let found: FindCoordinatorResponse =
        wire.call(ApiKey::FindCoordinator, 3, &request).expect("an answer");
    assert!([0, COORDINATOR_NOT_AVAILABLE].contains(&found.error_code), "{found:?}");
    wait_for("the coordinator", PATIENCE, || (commit(&mut wire, "first", 1) == 0).then_some(()));
    wire
}

fn stable(wire: &mut Wire, name: &str) -> JoinGroupResponse {
    let member = joined(wire, &join(name, "", Bytes::from_static(b"m")));
    assert_eq!(member.error_code, 0);
    assert_eq!(sync(wire, name, &member, Bytes::from_static(b"part")).error_code, 0);
    member
}

#[test]
fn what_is_too_large_for_the_log_is_refused_by_itself() {
    let broker = broker();
    let mut wire = connect(&broker);
    let bystander = stable(&mut wire, "bystander");

    assert_eq!(commit(&mut wire, "large", LARGE), UNKNOWN_SERVER_ERROR);
    assert_eq!(heartbeat(&mut wire, "bystander", &bystander), 0);

    let refused = joined(&mut wire, &join("large-join", "", Bytes::from(vec![7; LARGE])));
    assert_eq!(refused.error_code, UNKNOWN_SERVER_ERROR);
    assert_eq!(heartbeat(&mut wire, "bystander", &bystander), 0);

    let leader = joined(&mut wire, &join("large-sync", "", Bytes::from_static(b"m")));
    let refused = sync(&mut wire, "large-sync", &leader, Bytes::from(vec![7; LARGE]));
    assert_eq!(refused.error_code, UNKNOWN_SERVER_ERROR);
    assert_eq!(heartbeat(&mut wire, "bystander", &bystander), 0);
    // As in Kafka, its member has to join again; with a smaller assignment the group works.
    assert_eq!(heartbeat(&mut wire, "large-sync", &leader), REBALANCE_IN_PROGRESS);
    let again = joined(&mut wire, &join("large-sync", &leader.member_id, Bytes::from_static(b"m")));
    assert_eq!(sync(&mut wire, "large-sync", &again, Bytes::from_static(b"part")).error_code, 0);

    let names = (0..LARGE / 100).map(|i| text(&format!("{i:0>99}"))).map(TopicName);
    let request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group("large-subscription"))
        .with_member_id(text("a-member"))
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(names.collect()))
        .with_topic_partitions(Some(Vec::new()));
    let answer: ConsumerGroupHeartbeatResponse =
        wire.call(ApiKey::ConsumerGroupHeartbeat, 1, &request).expect("an answer");
    assert_eq!(answer.error_code, UNKNOWN_SERVER_ERROR);
    assert_eq!(heartbeat(&mut wire, "bystander", &bystander), 0);

    assert_eq!(commit(&mut wire, "small", 1), 0);
    let log = broker.log_text();
    assert!(!log.contains("loaded again"), "{log}");
}

pub fn segment(broker: &Broker) -> PathBuf {
    broker.data_dir().join("__consumer_offsets-0").join(format!("{:020}.log", 0))
}

#[test]
fn a_damaged_log_is_said_and_not_served_from_a_part() {
    let mut broker = broker();
    let mut wire = connect(&broker);
    assert_eq!(commit(&mut wire, "g", 1), 0);
    // A clean stop: after a kill the log would be cut where the damage is.
    broker.terminate();
    let mut file =
        std::fs::OpenOptions::new().read(true).write(true).open(segment(&broker)).expect("open");
    let mut byte = [0];
    file.seek(SeekFrom::Start(70)).expect("seek");
    file.read_exact(&mut byte).expect("read");
    file.seek(SeekFrom::Start(70)).expect("seek");
    file.write_all(&[byte[0] ^ 0x55]).expect("write");
    drop(file);

    broker.restart();
    let mut wire = Wire::connect(broker.address());
    wait_for("the refusal", PATIENCE, || {
        (commit(&mut wire, "g", 1) == NOT_COORDINATOR).then_some(())
    });
    let log = broker.log_text();
    let line = log.lines().find(|l| l.contains("can't be loaded")).expect("a line about it");
    for part in ["__consumer_offsets-0", "offset 0", "move the directory away"] {
        assert!(line.contains(part), "{part:?} is not in {line}");
    }

    // What the line says helps.
    broker.terminate();
    let dir = broker.data_dir().join("__consumer_offsets-0");
    std::fs::rename(&dir, broker.data_dir().parent().expect("scratch").join("damaged"))
        .expect("move the directory away");
    broker.restart();
    let mut wire = Wire::connect(broker.address());
    wait_for("the coordinator", PATIENCE, || (commit(&mut wire, "g", 1) == 0).then_some(()));
}

fn open_sockets(broker: &Broker) -> usize {
    let dir = std::fs::read_dir(format!("/proc/{}/fd", broker.pid())).expect("/proc");
    let links = dir.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

#[test]
fn a_client_that_goes_while_it_joins_is_not_kept() {
    // Joins wait longer than this test is patient.
    let broker = Broker::own(&["group.initial.rebalance.delay.ms=300000"]);
    let mut wire = connect(&broker);
    let before = open_sockets(&broker);
    let request = join("g", "", Bytes::from_static(b"m")).with_rebalance_timeout_ms(300_000);
    let mut waiting: Vec<Wire> = Vec::new();
    for _ in 0..20 {
        let mut member = Wire::connect(broker.address());
        let bytes = member.request_bytes(ApiKey::JoinGroup, 3, &request);
        member.send_frame(&bytes).expect("send");
        waiting.push(member);
    }
    // A request behind the join does not hide the end.
    let behind = waiting[0].request_bytes(ApiKey::Heartbeat, 3, &HeartbeatRequest::default());
    waiting[0].send_frame(&behind).expect("send");
    let described = |wire: &mut Wire| {
        let request = DescribeGroupsRequest::default().with_groups(vec![group("g")]);
        let answer: DescribeGroupsResponse =
            wire.call(ApiKey::DescribeGroups, 5, &request).expect("an answer");
        answer.groups[0].members.len()
    };
    wait_for("20 members", PATIENCE, || (described(&mut wire) == 20).then_some(()));
    assert_eq!(open_sockets(&broker), before + 20);
    drop(waiting);
    wait_for("20 sockets closed", Duration::from_secs(60), || {
        (open_sockets(&broker) == before).then_some(())
    });
    // As in Kafka, the members stay for their session.
    assert_eq!(described(&mut wire), 20);
}
