//! For tests: a `Groups` with a clock, a log that keeps what it appends as bytes, and answers by request. Reloading
//! replays the bytes into a new `Groups`, as a restart of the broker would.

use std::collections::HashMap;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use super::answer::{Answer, JoinAnswer, SyncAnswer};
use super::input::*;
use super::*;
use crate::types::TopicId;

pub struct NoTopics;

impl Topics for NoTopics {
    fn by_name(&self, _: &str) -> Option<TopicInfo> {
        None
    }
    fn name_of(&self, _: TopicId) -> Option<&str> {
        None
    }
    fn each_name(&self, _: Option<&str>, _: &mut dyn FnMut(&str) -> bool) {}
    fn racks(&self, _: TopicId, _: i32) -> Vec<String> {
        Vec::new()
    }
    fn version(&self) -> i64 {
        1
    }
}

/// One record of the log, or a marker.
pub enum Logged {
    Record { key: Vec<u8>, value: Option<Vec<u8>>, transactional: Option<Producer> },
    Marker { producer: Producer, committed: bool },
}

pub struct Bench {
    pub groups: Groups,
    pub now: Now,
    pub log: Vec<Logged>,
    pub answers: HashMap<RequestId, Answer>,
    pub events: Vec<Event>,
    next_request: RequestId,
    seed: u64,
}

pub fn s(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

/// A ConsumerProtocolSubscription of version 0.
pub fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}

pub fn joining(group: &str, member: &str) -> JoinRequest {
    JoinRequest {
        group_id: s(group),
        member_id: s(member),
        protocol_type: s("consumer"),
        protocols: vec![Protocol { name: s("range"), metadata: subscription(&["t"]) }],
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        requires_known_member_id: true,
        supports_skip_assignment: true,
        ..JoinRequest::default()
    }
}

pub fn committing(group: &str, member: &str, generation: i32, offset: i64) -> CommitRequest {
    let partition =
        CommitPartition { partition: 0, offset, leader_epoch: 3, metadata: Some(s("m")) };
    CommitRequest {
        group_id: s(group),
        member_id: s(member),
        generation_or_epoch: generation,
        topics: vec![CommitTopic {
            name: s("t"),
            id: TopicId::from_u128(7),
            partitions: vec![partition],
        }],
        ..CommitRequest::default()
    }
}

/// What is larger than a batch of the log fails each append.
pub fn check_fits(records: &[Record], whole: bool, batch_bytes_max: usize) {
    let parts = if whole { records.len().max(1) } else { 1 };
    for part in records.chunks(parts) {
        let bytes = records::batch_bytes(part);
        assert!(bytes <= batch_bytes_max, "{bytes} bytes of {batch_bytes_max}: {:?}", part[0]);
    }
}

pub fn client(id: &str) -> Client {
    Client { id: s(id), host: s("/127.0.0.1") }
}

impl Bench {
    pub fn new(config: GroupConfig) -> Bench {
        Bench::seeded(config, 7)
    }

    pub fn seeded(config: GroupConfig, seed: u64) -> Bench {
        let mut bench = Bench {
            groups: Groups::new(config, seed),
            now: Now { monotonic_ms: 1_000_000, wall_ms: 1_700_000_000_000 },
            log: Vec::new(),
            answers: HashMap::new(),
            events: Vec::new(),
            next_request: 0,
            seed,
        };
        let mut out = Vec::new();
        bench.groups.loaded(bench.now, &NoTopics, &mut out);
        bench.take(out);
        bench
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Append { records, transactional, whole } => {
                    check_fits(&records, whole, self.groups.config.batch_bytes_max);
                    for record in records {
                        let (mut key, mut value) = (Vec::new(), Vec::new());
                        let value = record.encode(&mut key, &mut value).then_some(value);
                        self.log.push(Logged::Record { key, value, transactional });
                    }
                }
                Effect::Answer { to, answer, .. } => {
                    let old = self.answers.insert(to, answer);
                    assert!(old.is_none(), "request {to} is answered twice");
                }
                Effect::Event(event) => self.events.push(event),
            }
        }
    }

    pub fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.groups.step(self.now, &NoTopics, input, &mut out);
        self.take(out);
    }

    pub fn request(&mut self, input: impl FnOnce(RequestId) -> Input) -> RequestId {
        self.next_request += 1;
        let from = self.next_request;
        self.step(input(from));
        from
    }

    /// Time passes; every deadline is served in its turn.
    pub fn pass(&mut self, ms: i64) {
        let end_ms = self.now.monotonic_ms + ms;
        while let Some(at_ms) = self.groups.next_deadline_ms().filter(|at_ms| *at_ms <= end_ms) {
            let step_ms = (at_ms - self.now.monotonic_ms).max(0);
            self.now.monotonic_ms += step_ms;
            self.now.wall_ms += step_ms;
            self.step(Input::Tick);
        }
        self.now.wall_ms += end_ms - self.now.monotonic_ms;
        self.now.monotonic_ms = end_ms;
    }

    /// What the log says.
    pub fn replayed(&self) -> Groups {
        let mut groups = Groups::new(self.groups.config.clone(), self.seed);
        for logged in &self.log {
            match logged {
                Logged::Record { key, value, transactional } => {
                    let record = LoadedRecord {
                        key: Some(key),
                        value: value.as_deref(),
                        transactional: *transactional,
                    };
                    groups.replay(&record).expect("a record that was written here");
                }
                Logged::Marker { producer, committed } => {
                    groups.replay_marker(*producer, *committed);
                }
            }
        }
        groups
    }

    /// The broker restarts: what waited is never answered.
    pub fn reload(&mut self) {
        self.groups = self.replayed();
        self.seed += 1;
        self.groups.random = fastrand::Rng::with_seed(self.seed);
        let mut out = Vec::new();
        self.groups.loaded(self.now, &NoTopics, &mut out);
        self.take(out);
    }

    pub fn mark(&mut self, producer: Producer, committed: bool) {
        self.log.push(Logged::Marker { producer, committed });
        let Producer { id: producer_id, epoch: producer_epoch } = producer;
        self.step(Input::TxnCompleted { producer_id, producer_epoch, committed });
    }

    pub fn answer(&mut self, from: RequestId) -> Option<Answer> {
        self.answers.remove(&from)
    }

    pub fn send_join(&mut self, request: JoinRequest) -> RequestId {
        self.request(|from| Input::Join { from, client: client("c"), request })
    }

    pub fn joined(&mut self, from: RequestId) -> JoinAnswer {
        match self.answer(from) {
            Some(Answer::Join(answer)) => answer,
            other => panic!("not an answer to a join: {other:?}"),
        }
    }

    pub fn join(&mut self, request: JoinRequest) -> JoinAnswer {
        let from = self.send_join(request);
        self.joined(from)
    }

    /// The id that a member is to come back with.
    pub fn new_id(&mut self, group: &str) -> String {
        let answer = self.join(joining(group, ""));
        assert_eq!(answer.error, Some(GroupError::MemberIdRequired));
        answer.member_id.to_string()
    }

    pub fn send_sync(
        &mut self,
        joined: &JoinAnswer,
        group: &str,
        parts: &[(&str, &str)],
    ) -> RequestId {
        let request = SyncRequest {
            group_id: s(group),
            generation: joined.generation,
            member_id: joined.member_id.clone(),
            protocol_type: joined.protocol_type.clone(),
            protocol_name: joined.protocol_name.clone(),
            assignments: parts
                .iter()
                .map(|(id, part)| (s(id), Bytes::copy_from_slice(part.as_bytes())))
                .collect(),
            ..SyncRequest::default()
        };
        self.request(|from| Input::Sync { from, client: client("c"), request })
    }

    pub fn synced(&mut self, from: RequestId) -> SyncAnswer {
        match self.answer(from) {
            Some(Answer::Sync(answer)) => answer,
            other => panic!("not an answer to a sync: {other:?}"),
        }
    }

    pub fn heartbeat(
        &mut self,
        group: &str,
        member: &str,
        generation: i32,
    ) -> Result<(), GroupError> {
        let request = HeartbeatRequest {
            group_id: s(group),
            generation,
            member_id: s(member),
            ..HeartbeatRequest::default()
        };
        let from = self.request(|from| Input::Heartbeat { from, client: client("c"), request });
        match self.answer(from) {
            Some(Answer::Heartbeat(result)) => result,
            other => panic!("not an answer to a heartbeat: {other:?}"),
        }
    }

    pub fn leave(
        &mut self,
        group: &str,
        members: &[(&str, Option<&str>)],
    ) -> Vec<Option<GroupError>> {
        let leaving = |(id, instance): &(&str, Option<&str>)| LeavingMember {
            member_id: s(id),
            instance_id: instance.map(s),
            reason: Some(s("test")),
        };
        let request =
            LeaveRequest { group_id: s(group), members: members.iter().map(leaving).collect() };
        let from = self.request(|from| Input::Leave { from, client: client("c"), request });
        match self.answer(from) {
            Some(Answer::Leave(Ok(left))) => left.into_iter().map(|l| l.error).collect(),
            other => panic!("not an answer to a leave: {other:?}"),
        }
    }

    /// `Ok` when each partition is.
    pub fn commit(&mut self, request: CommitRequest) -> Result<(), GroupError> {
        let from = self.request(|from| Input::Commit { from, client: client("c"), request });
        match self.answer(from) {
            Some(Answer::Commit(result)) => {
                let errors = result?.into_iter().flat_map(|t| t.partitions).find_map(|(_, e)| e);
                errors.map_or(Ok(()), Err)
            }
            other => panic!("not an answer to a commit: {other:?}"),
        }
    }

    /// Partition 0 of topic `t`.
    pub fn fetch(&mut self, group: &str, require_stable: bool) -> Result<i64, GroupError> {
        let topics = Some(vec![FetchOffsetsTopic {
            name: s("t"),
            partitions: vec![0],
            ..Default::default()
        }]);
        let request = FetchOffsetsRequest {
            group_id: s(group),
            member_epoch: -1,
            topics,
            require_stable,
            ..FetchOffsetsRequest::default()
        };
        let from = self.request(|from| Input::FetchOffsets { from, request });
        match self.answer(from) {
            Some(Answer::FetchOffsets(Ok(topics))) => {
                let row = &topics[0].partitions[0];
                row.error.map_or(Ok(row.offset), Err)
            }
            other => panic!("not an answer to a fetch: {other:?}"),
        }
    }

    pub fn state(&mut self, group: &str) -> &'static str {
        let none = if self.groups.offsets.has_group(group) { "Empty" } else { "Dead" };
        self.groups.groups.get(group).map_or(none, Group::state_name)
    }

    pub fn causes(&self, kind: EventKind) -> Vec<&Cause> {
        self.events.iter().filter(|e| e.kind == kind).map(|e| &e.cause).collect()
    }

    /// A stable group of that many members, whose first is the leader; their answers, in the order of their ids.
    pub fn stable(&mut self, group: &str, members: usize) -> Vec<JoinAnswer> {
        let ids: Vec<String> = (0..members).map(|_| self.new_id(group)).collect();
        let sent: Vec<RequestId> =
            ids.iter().map(|id| self.send_join(joining(group, id))).collect();
        self.pass(10_000);
        let mut joined: Vec<JoinAnswer> = sent.into_iter().map(|from| self.joined(from)).collect();
        let leader = joined[0].leader.clone();
        joined.sort_by_key(|j| (j.member_id != leader, j.member_id.to_string()));
        let parts: Vec<(String, String)> =
            ids.iter().map(|id| (id.clone(), format!("of {id}"))).collect();
        let parts: Vec<(&str, &str)> =
            parts.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let synced: Vec<RequestId> =
            joined.iter().map(|j| self.send_sync(j, group, &parts)).collect();
        for from in synced {
            assert_eq!(self.synced(from).error, None);
        }
        assert_eq!(self.state(group), "Stable");
        joined
    }
}
