//! What consumers and administrators get wrong about groups, over the wire, and Kafka's code for each: the same tests
//! run against Apache Kafka (`SPINDLE_TEST_BOOTSTRAP`), which answers the same. Not here: what is too large for the
//! log, and damaged logs (`tests/clients/group_bounds.rs`, `group_records.rs`).

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::common::wire::{PATIENCE, Wire, topic_name};
use crate::common::{Broker, unique, wait_for};

const NONE: i16 = 0;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const OFFSET_METADATA_TOO_LARGE: i16 = 12;
const ILLEGAL_GENERATION: i16 = 22;
const INCONSISTENT_GROUP_PROTOCOL: i16 = 23;
const INVALID_GROUP_ID: i16 = 24;
const UNKNOWN_MEMBER_ID: i16 = 25;
const INVALID_SESSION_TIMEOUT: i16 = 26;
const INVALID_REQUEST: i16 = 42;
const GROUP_ID_NOT_FOUND: i16 = 69;
const MEMBER_ID_REQUIRED: i16 = 79;
const GROUP_SUBSCRIBED_TO_TOPIC: i16 = 86;
const UNKNOWN_TOPIC_ID: i16 = 100;
const FENCED_MEMBER_EPOCH: i16 = 110;
const UNSUPPORTED_ASSIGNOR: i16 = 112;
const STALE_MEMBER_EPOCH: i16 = 113;
const INVALID_REGULAR_EXPRESSION: i16 = 128;
/// Of a coordinator that is made or loads.
const NOT_YET: [i16; 3] = [14, 15, 16];

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

fn group_id(name: &str) -> GroupId {
    GroupId(text(name))
}

/// One connection, and a topic of two partitions.
struct Client {
    wire: Wire,
    topic: String,
}

/// A classic member in its generation.
struct Seat {
    group: String,
    member: String,
    generation: i32,
}

impl Client {
    fn new(broker: &Broker) -> Client {
        let mut wire = Wire::connect(broker.address());
        let topic = unique("read");
        wire.create_topic_and_wait(&topic, 2);
        Client { wire, topic }
    }

    /// A group that nobody knows, whose coordinator answers.
    fn fresh(&mut self, name: &str) -> String {
        let group = unique(name);
        wait_for("the coordinator", PATIENCE, || {
            let find = FindCoordinatorRequest::default().with_key(text(&group));
            let found: FindCoordinatorResponse =
                self.wire.call(ApiKey::FindCoordinator, 3, &find).expect("an answer");
            (found.error_code == NONE && !NOT_YET.contains(&self.describe(&group, 5).0))
                .then_some(())
        });
        group
    }

    /// Code and state.
    fn describe(&mut self, group: &str, version: i16) -> (i16, String) {
        let request = DescribeGroupsRequest::default().with_groups(vec![group_id(group)]);
        let answer: DescribeGroupsResponse =
            self.wire.call(ApiKey::DescribeGroups, version, &request).expect("an answer");
        (answer.groups[0].error_code, answer.groups[0].group_state.to_string())
    }

    fn join(
        &mut self,
        group: &str,
        member: &str,
        kind: &str,
        protocols: &[&str],
    ) -> JoinGroupResponse {
        // ConsumerProtocolSubscription v0: of the topic, without user data.
        let mut metadata = vec![0, 0, 0, 0, 0, 1, 0, self.topic.len() as u8];
        metadata.extend(self.topic.as_bytes());
        metadata.extend((-1i32).to_be_bytes());
        let protocol = |name: &&str| {
            JoinGroupRequestProtocol::default()
                .with_name(text(name))
                .with_metadata(Bytes::from(metadata.clone()))
        };
        let request = JoinGroupRequest::default()
            .with_group_id(group_id(group))
            .with_member_id(text(member))
            .with_session_timeout_ms(30_000)
            .with_rebalance_timeout_ms(30_000)
            .with_protocol_type(text(kind))
            .with_protocols(protocols.iter().map(protocol).collect());
        self.wire.call(ApiKey::JoinGroup, 5, &request).expect("an answer")
    }

    fn sync(
        &mut self,
        seat: &Seat,
        version: i16,
        change: impl FnOnce(SyncGroupRequest) -> SyncGroupRequest,
    ) -> i16 {
        let assignment = SyncGroupRequestAssignment::default().with_member_id(text(&seat.member));
        let request = SyncGroupRequest::default()
            .with_group_id(group_id(&seat.group))
            .with_generation_id(seat.generation)
            .with_member_id(text(&seat.member))
            .with_assignments(vec![assignment]);
        let answer: SyncGroupResponse =
            self.wire.call(ApiKey::SyncGroup, version, &change(request)).expect("an answer");
        answer.error_code
    }

    fn heartbeat(&mut self, seat: &Seat) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(group_id(&seat.group))
            .with_generation_id(seat.generation)
            .with_member_id(text(&seat.member));
        let answer: HeartbeatResponse =
            self.wire.call(ApiKey::Heartbeat, 4, &request).expect("an answer");
        answer.error_code
    }

    /// The group's code, and the member's.
    fn leave(&mut self, seat: &Seat) -> (i16, Option<i16>) {
        let member = MemberIdentity::default().with_member_id(text(&seat.member));
        let request = LeaveGroupRequest::default()
            .with_group_id(group_id(&seat.group))
            .with_members(vec![member]);
        let answer: LeaveGroupResponse =
            self.wire.call(ApiKey::LeaveGroup, 4, &request).expect("an answer");
        (answer.error_code, answer.members.first().map(|m| m.error_code))
    }

    fn stable(&mut self, name: &str) -> Seat {
        let group = self.fresh(name);
        let first = self.join(&group, "", "consumer", &["range"]);
        assert_eq!(first.error_code, MEMBER_ID_REQUIRED);
        let joined = self.join(&group, &first.member_id, "consumer", &["range"]);
        assert_eq!(joined.error_code, NONE);
        let (member, generation) = (joined.member_id.to_string(), joined.generation_id);
        let seat = Seat { group, member, generation };
        assert_eq!(self.sync(&seat, 3, |r| r), NONE);
        seat
    }

    /// The code of each partition: of `topic`, with this much metadata.
    fn commit_to(
        &mut self,
        version: i16,
        seat: &Seat,
        topic: &str,
        rows: &[(i32, &str)],
    ) -> Vec<i16> {
        let row = |(index, metadata): &(i32, &str)| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(*index)
                .with_committed_offset(1)
                .with_committed_metadata(Some(text(metadata)))
        };
        let topic = OffsetCommitRequestTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(rows.iter().map(row).collect());
        let request = OffsetCommitRequest::default()
            .with_group_id(group_id(&seat.group))
            .with_generation_id_or_member_epoch(seat.generation)
            .with_member_id(text(&seat.member))
            .with_topics(vec![topic]);
        let answer: OffsetCommitResponse =
            self.wire.call(ApiKey::OffsetCommit, version, &request).expect("an answer");
        answer.topics[0].partitions.iter().map(|p| p.error_code).collect()
    }

    /// v10 is v9 with an id in the place of a topic's name, in the answer too.
    fn commit_by_id(&mut self, seat: &Seat, id: Uuid) -> i16 {
        let topic = OffsetCommitRequestTopic::default()
            .with_name(topic_name("NAME"))
            .with_partitions(vec![OffsetCommitRequestPartition::default()]);
        let request = OffsetCommitRequest::default()
            .with_group_id(group_id(&seat.group))
            .with_generation_id_or_member_epoch(seat.generation)
            .with_member_id(text(&seat.member))
            .with_topics(vec![topic]);
        let mut frame = self.wire.request_bytes(ApiKey::OffsetCommit, 9, &request).to_vec();
        frame[3] = 10;
        let name = frame.windows(5).position(|bytes| bytes == b"\x05NAME").expect("the name");
        frame.splice(name..name + 5, *id.as_bytes());
        self.wire.send_frame(&frame).expect("send");
        let answer = self.wire.read_frame().expect("an answer");
        // Correlation, tags, throttle time, one topic, its id, one partition, its index.
        let code_at = 4 + 1 + 4 + 1 + 16 + 1 + 4;
        i16::from_be_bytes([answer[code_at], answer[code_at + 1]])
    }

    fn commit(&mut self, version: i16, seat: &Seat) -> i16 {
        let topic = self.topic.clone();
        self.commit_to(version, seat, &topic, &[(0, "m")])[0]
    }

    /// The group's code and the offset of partition 0.
    fn fetch(&mut self, group: &str, member: Option<(&str, i32)>) -> (i16, i64) {
        let topic = OffsetFetchRequestTopics::default()
            .with_name(topic_name(&self.topic))
            .with_partition_indexes(vec![0]);
        let mut one = OffsetFetchRequestGroup::default()
            .with_group_id(group_id(group))
            .with_member_epoch(-1)
            .with_topics(Some(vec![topic]));
        if let Some((id, epoch)) = member {
            one = one.with_member_id(Some(text(id))).with_member_epoch(epoch);
        }
        let request = OffsetFetchRequest::default().with_groups(vec![one]);
        let answer: OffsetFetchResponse =
            self.wire.call(ApiKey::OffsetFetch, 9, &request).expect("an answer");
        let group = &answer.groups[0];
        let offset = group.topics.first().map_or(-2, |t| t.partitions[0].committed_offset);
        (group.error_code, offset)
    }

    fn delete(&mut self, group: &str) -> i16 {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(group)]);
        let answer: DeleteGroupsResponse =
            self.wire.call(ApiKey::DeleteGroups, 2, &request).expect("an answer");
        answer.results[0].error_code
    }

    /// The group's code, and the partition's.
    fn delete_offset(&mut self, group: &str, topic: &str) -> (i16, Option<i16>) {
        let topic = OffsetDeleteRequestTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![OffsetDeleteRequestPartition::default()]);
        let request =
            OffsetDeleteRequest::default().with_group_id(group_id(group)).with_topics(vec![topic]);
        let answer: OffsetDeleteResponse =
            self.wire.call(ApiKey::OffsetDelete, 0, &request).expect("an answer");
        let partition = answer.topics.first().map(|topic| topic.partitions[0].error_code);
        (answer.error_code, partition)
    }

    fn describe_consumer(&mut self, group: &str) -> i16 {
        let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(group)]);
        let answer: ConsumerGroupDescribeResponse =
            self.wire.call(ApiKey::ConsumerGroupDescribe, 1, &request).expect("an answer");
        answer.groups[0].error_code
    }

    fn beat(&mut self, request: &ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        self.wire.call(ApiKey::ConsumerGroupHeartbeat, 1, request).expect("an answer")
    }

    /// A member that joins, of the topic.
    fn joining(&self, group: &str) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group_id(group))
            .with_member_id(text(&unique("member")))
            .with_rebalance_timeout_ms(30_000)
            .with_subscribed_topic_names(Some(vec![topic_name(&self.topic)]))
            .with_subscribed_topic_regex(None)
            .with_topic_partitions(Some(Vec::new()))
    }

    fn consumer(&mut self, name: &str) -> Seat {
        let group = self.fresh(name);
        let request = self.joining(&group);
        let joined = self.beat(&request);
        assert_eq!(joined.error_code, NONE, "{joined:?}");
        let member = request.member_id.to_string();
        Seat { group, member, generation: joined.member_epoch }
    }
}

/// Without what was said when it joined.
fn later(seat: &Seat, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group_id(&seat.group))
        .with_member_id(text(&seat.member))
        .with_member_epoch(epoch)
        .with_rebalance_timeout_ms(-1)
        .with_subscribed_topic_names(None)
        .with_subscribed_topic_regex(None)
        .with_topic_partitions(None)
}

fn client() -> (Broker, Client) {
    let broker = match crate::common::external() {
        Some(_) => Broker::any(),
        None => {
            Broker::own(&["group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=3"])
        }
    };
    let client = Client::new(&broker);
    (broker, client)
}

#[test]
fn a_group_that_nobody_knows() {
    let (_broker, mut c) = client();
    let group = c.fresh("unknown");
    let seat = Seat { group: group.clone(), member: "nobody".into(), generation: 1 };
    assert_eq!(c.join(&group, "nobody", "consumer", &["range"]).error_code, UNKNOWN_MEMBER_ID);
    assert_eq!(
        c.sync(&seat, 5, |r| r
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range")))),
        UNKNOWN_MEMBER_ID
    );
    assert_eq!(c.heartbeat(&seat), UNKNOWN_MEMBER_ID);
    assert_eq!(c.leave(&seat), (NONE, Some(UNKNOWN_MEMBER_ID)));
    assert_eq!(c.describe(&group, 5), (NONE, "Dead".to_string()));
    assert_eq!(c.describe(&group, 6), (GROUP_ID_NOT_FOUND, "Dead".to_string()));
    assert_eq!(c.describe_consumer(&group), GROUP_ID_NOT_FOUND);
    assert_eq!(c.delete(&group), GROUP_ID_NOT_FOUND);
    let topic = c.topic.clone();
    assert_eq!(c.delete_offset(&group, &topic), (GROUP_ID_NOT_FOUND, None));
    assert_eq!(c.fetch(&group, None), (NONE, -1));
    assert_eq!(c.commit(8, &seat), ILLEGAL_GENERATION);
    assert_eq!(c.commit(9, &seat), GROUP_ID_NOT_FOUND);
    let beat = c.beat(&later(&seat, 1));
    assert_eq!(beat.error_code, GROUP_ID_NOT_FOUND);
    // Nothing of that made one.
    assert_eq!(c.describe(&group, 6).0, GROUP_ID_NOT_FOUND);
}

#[test]
fn a_group_without_a_name() {
    let (_broker, mut c) = client();
    c.fresh("warm");
    let seat = Seat { group: String::new(), member: "m".into(), generation: 1 };
    assert_eq!(c.join("", "", "consumer", &["range"]).error_code, INVALID_GROUP_ID);
    assert_eq!(c.sync(&seat, 3, |r| r), INVALID_GROUP_ID);
    assert_eq!(c.heartbeat(&seat), INVALID_GROUP_ID);
    assert_eq!(c.leave(&seat).0, INVALID_GROUP_ID);
    assert_eq!(c.delete(""), GROUP_ID_NOT_FOUND);
    assert_eq!(c.describe_consumer(""), INVALID_GROUP_ID);
    let nameless = c.joining("");
    assert_eq!(c.beat(&nameless).error_code, INVALID_REQUEST);
}

#[test]
fn an_old_or_future_generation() {
    let (_broker, mut c) = client();
    let seat = c.stable("generation");
    for generation in [seat.generation - 1, seat.generation + 1] {
        let wrong = Seat { generation, group: seat.group.clone(), member: seat.member.clone() };
        assert_eq!(c.heartbeat(&wrong), ILLEGAL_GENERATION);
        assert_eq!(c.sync(&wrong, 3, |r| r), ILLEGAL_GENERATION);
        assert_eq!(c.commit(8, &wrong), ILLEGAL_GENERATION);
        assert_eq!(c.commit(9, &wrong), ILLEGAL_GENERATION);
    }
    let stranger = Seat { member: "nobody".into(), group: seat.group.clone(), ..seat };
    assert_eq!(c.heartbeat(&stranger), UNKNOWN_MEMBER_ID);
    assert_eq!(c.sync(&stranger, 3, |r| r), UNKNOWN_MEMBER_ID);
    assert_eq!(c.commit(9, &stranger), UNKNOWN_MEMBER_ID);
    assert_eq!(c.leave(&stranger), (NONE, Some(UNKNOWN_MEMBER_ID)));
    // Nobody's commit, while the group has members.
    let nobody = Seat { member: String::new(), generation: -1, ..stranger };
    assert_eq!(c.commit(8, &nobody), UNKNOWN_MEMBER_ID);
    assert_eq!(c.fetch(&nobody.group, None), (NONE, -1));
}

#[test]
fn an_old_or_future_epoch() {
    let (_broker, mut c) = client();
    let seat = c.consumer("epoch");
    let (group, epoch) = (seat.group.clone(), seat.generation);
    assert_eq!(c.beat(&later(&seat, epoch + 1)).error_code, FENCED_MEMBER_EPOCH);
    assert_eq!(c.beat(&later(&seat, epoch)).error_code, NONE);
    let future = Seat { generation: epoch + 1, group: group.clone(), member: seat.member.clone() };
    assert_eq!(c.commit(9, &future), STALE_MEMBER_EPOCH);
    assert_eq!(c.fetch(&group, Some((&seat.member, epoch + 1))).0, STALE_MEMBER_EPOCH);
    assert_eq!(c.fetch(&group, Some(("nobody", epoch))).0, UNKNOWN_MEMBER_ID);
    let stranger = Seat { member: "nobody".into(), group: group.clone(), generation: epoch };
    assert_eq!(c.beat(&later(&stranger, epoch)).error_code, UNKNOWN_MEMBER_ID);
    assert_eq!(c.commit(9, &stranger), UNKNOWN_MEMBER_ID);
    assert_eq!(c.commit(9, &seat), NONE);
    assert_eq!(c.fetch(&group, Some((&seat.member, epoch))), (NONE, 1));
    assert_eq!(c.fetch(&group, None), (NONE, 1));
}

#[test]
fn another_protocol() {
    let (_broker, mut c) = client();
    let seat = c.stable("protocol");
    let code =
        |c: &mut Client, kind: &str, all: &[&str]| c.join(&seat.group, "", kind, all).error_code;
    assert_eq!(code(&mut c, "connect", &["range"]), INCONSISTENT_GROUP_PROTOCOL);
    assert_eq!(code(&mut c, "consumer", &["roundrobin"]), INCONSISTENT_GROUP_PROTOCOL);
    assert_eq!(code(&mut c, "consumer", &[]), INCONSISTENT_GROUP_PROTOCOL);
    assert_eq!(code(&mut c, "", &["range"]), INCONSISTENT_GROUP_PROTOCOL);
    let group = c.fresh("protocol");
    assert_eq!(c.join(&group, "", "", &["range"]).error_code, INCONSISTENT_GROUP_PROTOCOL);
    let named = |kind: &'static str, name: &'static str| {
        move |r: SyncGroupRequest| {
            r.with_protocol_type(Some(text(kind))).with_protocol_name(Some(text(name)))
        }
    };
    assert_eq!(c.sync(&seat, 5, named("connect", "range")), INCONSISTENT_GROUP_PROTOCOL);
    assert_eq!(c.sync(&seat, 5, named("consumer", "roundrobin")), INCONSISTENT_GROUP_PROTOCOL);
    assert_eq!(c.sync(&seat, 5, named("consumer", "range")), NONE);

    // The consumer protocol's door is closed to groups that are none of consumers.
    let group = c.fresh("connect");
    let first = c.join(&group, "", "connect", &["range"]);
    let joined = c.join(&group, &first.member_id, "connect", &["range"]);
    assert_eq!(joined.error_code, NONE);
    let joining = c.joining(&group);
    assert_eq!(c.beat(&joining).error_code, GROUP_ID_NOT_FOUND);
    assert_eq!(c.describe_consumer(&group), GROUP_ID_NOT_FOUND);

    let consumer = c.consumer("protocol");
    let joined = c.join(&consumer.group, "", "connect", &["range"]);
    assert_eq!(joined.error_code, INCONSISTENT_GROUP_PROTOCOL);
    assert_eq!(c.heartbeat(&consumer), UNKNOWN_MEMBER_ID);
    assert_eq!(c.sync(&consumer, 3, |r| r), UNKNOWN_MEMBER_ID);
    // v9 is the first version in which such members may commit.
    assert_eq!(c.commit(8, &consumer), UNSUPPORTED_VERSION);
    assert_eq!(c.describe(&consumer.group, 6).0, GROUP_ID_NOT_FOUND);
}

const UNSUPPORTED_VERSION: i16 = 35;

#[test]
fn sessions_out_of_range() {
    let (_broker, mut c) = client();
    let group = c.fresh("session");
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
    for ms in [5999, 1_800_001, 0, -1] {
        let request = JoinGroupRequest::default()
            .with_group_id(group_id(&group))
            .with_session_timeout_ms(ms)
            .with_rebalance_timeout_ms(30_000)
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol.clone()]);
        let answer: JoinGroupResponse =
            c.wire.call(ApiKey::JoinGroup, 5, &request).expect("an answer");
        assert_eq!(answer.error_code, INVALID_SESSION_TIMEOUT, "{ms} ms");
    }
}

#[test]
fn metadata_that_is_too_long_is_refused_for_its_partition() {
    let (_broker, mut c) = client();
    let seat = c.stable("metadata");
    let topic = c.topic.clone();
    let (most, over) = ("m".repeat(4096), "m".repeat(4097));
    let codes = c.commit_to(9, &seat, &topic, &[(0, &over), (1, &most)]);
    assert_eq!(codes, [OFFSET_METADATA_TOO_LARGE, NONE]);
    assert_eq!(c.fetch(&seat.group, None), (NONE, -1));
    // Java counts UTF-16 units.
    let (most, over) = ("\u{20ac}".repeat(4096), "\u{1f600}".repeat(2049));
    let codes = c.commit_to(9, &seat, &topic, &[(0, &most), (1, &over)]);
    assert_eq!(codes, [NONE, OFFSET_METADATA_TOO_LARGE]);
    assert_eq!(c.fetch(&seat.group, None), (NONE, 1));
}

#[test]
fn a_topic_that_is_not_there() {
    let (_broker, mut c) = client();
    let (seat, consumer) = (c.stable("topics"), c.consumer("topics"));
    let topic = c.topic.clone();
    for seat in [&seat, &consumer] {
        let codes = c.commit_to(9, seat, "not-there", &[(0, "m"), (1, "m")]);
        assert_eq!(codes, [UNKNOWN_TOPIC_OR_PARTITION; 2]);
        // Each by itself: the other partition is there.
        let codes = c.commit_to(9, seat, &topic, &[(2, "m"), (-1, "m"), (1, "m")]);
        assert_eq!(codes, [UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_OR_PARTITION, NONE]);
        assert_eq!(c.commit_by_id(seat, Uuid::from_u128(7)), UNKNOWN_TOPIC_ID);
    }
    let group = seat.group.clone();
    assert_eq!(c.delete_offset(&group, "not-there"), (NONE, Some(UNKNOWN_TOPIC_OR_PARTITION)));
    assert_eq!(c.delete_offset(&group, &topic), (NONE, Some(GROUP_SUBSCRIBED_TO_TOPIC)));
    // A subscription to what is not there waits for it.
    let group = c.fresh("waits");
    let waits = c.joining(&group).with_subscribed_topic_names(Some(vec![topic_name("not-there")]));
    assert_eq!(c.beat(&waits).error_code, NONE);
}

#[test]
fn expressions_that_are_none() {
    let (_broker, mut c) = client();
    let group = c.fresh("regex");
    let with = |c: &Client, regex: &str| {
        c.joining(&group)
            .with_subscribed_topic_names(None)
            .with_subscribed_topic_regex(Some(text(regex)))
    };
    for regex in ["[", "(", "a{2,1}", "*", "(?=a)", "\\1", "a**", "[z-a]", "(?P<n>a)(?P<n>b)"] {
        let request = with(&c, regex);
        let answer = c.beat(&request);
        assert_eq!(answer.error_code, INVALID_REGULAR_EXPRESSION, "{regex:?}: {answer:?}");
        let why = answer.error_message.as_deref().unwrap_or("").to_string();
        let says = format!("SubscribedTopicRegex `{regex}` is not a valid regular expression: ");
        assert!(why.starts_with(&says), "{why}");
    }
    assert_eq!(c.describe_consumer(&group), GROUP_ID_NOT_FOUND, "none of them made the group");
    let good = with(&c, "read.*");
    let answer = c.beat(&good);
    assert_eq!(answer.error_code, NONE);
    // And one that a member has does not go for one that is none.
    let seat = Seat { group, member: good.member_id.to_string(), generation: answer.member_epoch };
    let bad = later(&seat, seat.generation).with_subscribed_topic_regex(Some(text("(")));
    assert_eq!(c.beat(&bad).error_code, INVALID_REGULAR_EXPRESSION);
    assert_eq!(c.beat(&later(&seat, seat.generation)).error_code, NONE);
}

#[test]
fn heartbeats_that_say_too_little_or_too_much() {
    let (_broker, mut c) = client();
    let group = c.fresh("heartbeat");
    let joining = c.joining(&group);
    let invalid = [
        joining.clone().with_member_id(text("")),
        joining.clone().with_instance_id(Some(text(""))),
        joining.clone().with_rack_id(Some(text(""))),
        joining.clone().with_rebalance_timeout_ms(-1),
        joining.clone().with_subscribed_topic_names(None),
        joining.clone().with_topic_partitions(None),
        joining.clone().with_member_epoch(-3),
        joining.clone().with_member_epoch(-2),
    ];
    for request in invalid {
        let answer = c.beat(&request);
        assert_eq!(answer.error_code, INVALID_REQUEST, "{request:?}");
    }
    let assignor = joining.clone().with_server_assignor(Some(text("sticky")));
    assert_eq!(c.beat(&assignor).error_code, UNSUPPORTED_ASSIGNOR);
    assert_eq!(c.describe_consumer(&group), GROUP_ID_NOT_FOUND);
}
