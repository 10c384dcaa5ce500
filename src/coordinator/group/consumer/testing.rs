//! One consumer group under test: topics, time, the log that it wrote, and the state that the log gives back.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;

use super::group::ConsumerGroup;
use super::requests::{After, ConsumerTools};
use super::subscriptions::Subscriptions;
use crate::coordinator::group::answer::ConsumerHeartbeatAnswer;
use crate::coordinator::group::input::ConsumerHeartbeatRequest;
use crate::coordinator::group::testing::check_fits;
use crate::coordinator::group::timers::Timers;
use crate::coordinator::group::topics::{TopicInfo, Topics};
use crate::coordinator::group::{
    Answer, Client, Effect, Event, GroupConfig, GroupError, Now, Record, TimerKey, Turn,
};
use crate::types::TopicId;

#[derive(Clone, Debug, Default)]
pub struct FakeTopics {
    pub topics: BTreeMap<String, TopicInfo>,
    pub version: i64,
    next_id: u128,
}

impl FakeTopics {
    pub fn add(&mut self, name: &str, partitions: i32) -> TopicId {
        self.next_id += 1;
        self.version += 1;
        let id = TopicId::from_u128(self.next_id);
        self.topics.insert(name.to_string(), TopicInfo { id, partitions });
        id
    }

    pub fn grow(&mut self, name: &str, by: i32) {
        self.version += 1;
        self.topics.get_mut(name).expect("it is there").partitions += by;
    }

    pub fn remove(&mut self, name: &str) {
        self.version += 1;
        self.topics.remove(name);
    }
}

impl Topics for FakeTopics {
    fn by_name(&self, name: &str) -> Option<TopicInfo> {
        self.topics.get(name).cloned()
    }

    fn name_of(&self, id: TopicId) -> Option<&str> {
        self.topics.iter().find(|(_, info)| info.id == id).map(|(name, _)| name.as_str())
    }

    fn each_name(&self, after: Option<&str>, f: &mut dyn FnMut(&str) -> bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let _ = self.topics.range::<str, _>((from, Bound::Unbounded)).all(|(name, _)| f(name));
    }

    fn racks(&self, _: TopicId, _: i32) -> Vec<String> {
        Vec::new()
    }

    fn version(&self) -> i64 {
        self.version
    }
}

pub struct Bench {
    pub config: GroupConfig,
    pub topics: FakeTopics,
    pub group: Option<ConsumerGroup>,
    pub subscriptions: Subscriptions,
    pub timers: Timers<TimerKey>,
    pub now_ms: i64,
    pub log: Vec<Record>,
    pub events: Vec<Event>,
    /// A group that went back to the classic protocol.
    pub downgraded: Option<super::convert::ClassicView>,
    /// Steps that went on matching expressions.
    pub slices: usize,
}

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

pub fn names(all: &[&str]) -> Option<Vec<StrBytes>> {
    Some(all.iter().map(|name| text(name)).collect())
}

/// A first heartbeat, of topics by name.
pub fn joining(member: &str, topics: &[&str]) -> ConsumerHeartbeatRequest {
    ConsumerHeartbeatRequest {
        group_id: text("g"),
        member_id: text(member),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: names(topics),
        owned: Some(Vec::new()),
        client_makes_member_id: true,
        ..ConsumerHeartbeatRequest::default()
    }
}

/// A later one, which says nothing new.
pub fn beating(member: &str, epoch: i32) -> ConsumerHeartbeatRequest {
    ConsumerHeartbeatRequest {
        group_id: text("g"),
        member_id: text(member),
        member_epoch: epoch,
        rebalance_timeout_ms: -1,
        client_makes_member_id: true,
        ..ConsumerHeartbeatRequest::default()
    }
}

impl Bench {
    /// The assignment interval is 0: each change has its target at once.
    pub fn new() -> Bench {
        let mut config = GroupConfig::default();
        config.consumer.assignment_interval_ms = 0;
        Bench {
            config,
            topics: FakeTopics::default(),
            group: None,
            subscriptions: Subscriptions::default(),
            timers: Timers::default(),
            now_ms: 1_000_000,
            log: Vec::new(),
            events: Vec::new(),
            downgraded: None,
            slices: 0,
        }
    }

    pub fn group(&self) -> &ConsumerGroup {
        self.group.as_ref().expect("there is a group")
    }

    /// Runs one door; answers come back, records and events are kept.
    pub fn step(
        &mut self,
        door: impl FnOnce(&mut ConsumerTools<'_, '_>, &mut ConsumerGroup) -> After,
    ) -> Vec<Answer> {
        let now = Now { monotonic_ms: self.now_ms, wall_ms: self.now_ms };
        let (mut out, mut answers) = (Vec::new(), Vec::new());
        let mut turn = Turn::new(now, &self.topics, &mut out);
        let mut tools = ConsumerTools {
            turn: &mut turn,
            timers: &mut self.timers,
            config: &self.config,
            subscriptions: &mut self.subscriptions,
        };
        let before = self.group.is_some();
        let mut group = self.group.take().unwrap_or_else(|| ConsumerGroup::new("g".into()));
        match door(&mut tools, &mut group) {
            After::Same => self.group = Some(group),
            After::Refused => self.group = before.then_some(group),
            After::Classic(done) => {
                self.log.extend(done.records.clone());
                self.downgraded = Some(done.view);
                answers.extend(done.answer.map(|(_, answer)| answer));
            }
        }
        for effect in out {
            match effect {
                Effect::Append { records, whole, .. } => {
                    check_fits(&records, whole, self.config.batch_bytes_max);
                    self.log.extend(records);
                }
                Effect::Answer { answer, .. } => answers.push(answer),
                Effect::Event(event) => self.events.push(event),
            }
        }
        answers
    }

    pub fn heartbeat(&mut self, request: &ConsumerHeartbeatRequest) -> ConsumerHeartbeatAnswer {
        if let Err(refusal) = super::heartbeat::validate(request, &self.config.consumer) {
            let Answer::ConsumerHeartbeat(answer) = super::heartbeat::refused(refusal) else {
                unreachable!()
            };
            return answer;
        }
        let client = Client { id: text("client"), host: text("/127.0.0.1") };
        if self.group.is_none() && request.member_epoch != 0 {
            return ConsumerHeartbeatAnswer::refused(GroupError::GroupIdNotFound);
        }
        self.subscriptions.begin_step();
        let mut answers =
            self.step(|tools, group| tools.heartbeat(group, Vec::new(), 1, &client, request));
        match answers.pop() {
            Some(Answer::ConsumerHeartbeat(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// Time passes; what is due happens.
    pub fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
        while let Some(key) = self.timers.pop_due(self.now_ms) {
            self.subscriptions.begin_step();
            self.slices += usize::from(matches!(key, TimerKey::ConsumerGroup(_)));
            let (member, session) = match key {
                TimerKey::ConsumerGroup(_) => {
                    if self.group.is_some() {
                        let _ = self.step(|tools, group| {
                            tools.match_more(group);
                            After::Same
                        });
                    }
                    continue;
                }
                TimerKey::ConsumerSession(_, member) => (member, true),
                TimerKey::ConsumerRebalance(_, member) => (member, false),
                other => panic!("{other:?}"),
            };
            if self.group.is_some() {
                let _ = self.step(|tools, group| tools.timer(group, &member, session));
            }
        }
    }

    /// What a broker has that loads the log, through the bytes of the records.
    pub fn load(&self, compacted: bool) -> Option<ConsumerGroup> {
        let mut group: Option<ConsumerGroup> = None;
        let mut encoded = Vec::new();
        for record in &self.log {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            let has_value = record.encode(&mut key, &mut value);
            encoded.push((key, has_value.then_some(value)));
        }
        if compacted {
            let newest: HashMap<Vec<u8>, usize> =
                encoded.iter().enumerate().map(|(at, (key, _))| (key.clone(), at)).collect();
            let all = encoded.into_iter().enumerate();
            encoded =
                all.filter(|(at, (key, _))| newest[key] == *at).map(|(_, kept)| kept).collect();
        }
        for (key, value) in encoded {
            let record = Record::decode(&key, value.as_deref()).expect("we wrote it");
            let made = group.get_or_insert_with(|| ConsumerGroup::new("g".into()));
            if !made.apply(&record) {
                group = None;
            }
        }
        if let Some(group) = &mut group {
            group.recount_owners();
        }
        group
    }

    /// The coordinator goes and another loads what is left of the log.
    pub fn reload_whatever_was(&mut self) {
        self.group = self.load(false);
        self.reload();
    }

    /// The coordinator goes and another loads its log: nothing that lasts may be another.
    pub fn reload(&mut self) {
        let (loaded, compacted) = (self.load(false), self.load(true));
        match (&self.group, &loaded, &compacted) {
            (Some(live), Some(loaded), Some(compacted)) => {
                assert_eq!(lasting(live), lasting(loaded));
                assert_eq!(lasting(live), lasting(compacted), "after compaction");
            }
            (live, loaded, _) => assert_eq!(live.is_some(), loaded.is_some()),
        }
        self.group = loaded;
        self.timers = Timers::default();
        self.subscriptions = Subscriptions::default();
        if self.group.is_some() {
            let _ = self.step(|tools, group| {
                tools.loaded(group);
                After::Same
            });
        }
    }
}

/// Everything of a group but what is soft, in an order.
pub fn lasting(group: &ConsumerGroup) -> String {
    let mut members = group.members.clone();
    members.values_mut().for_each(|member| member.wait = None);
    let target: BTreeMap<_, _> = group.target.iter().collect();
    let owners: BTreeMap<_, &Arc<str>> = group.owners.iter().collect();
    let statics: BTreeMap<_, _> = group.static_members.iter().collect();
    format!(
        "{} {} {} {}\n{members:#?}\n{target:#?}\n{owners:#?}\n{statics:?}\n{:?}\n{:?}\n{:?}\n{:?}",
        group.epoch,
        group.metadata_hash,
        group.assignment_epoch,
        group.assignment_ms,
        group.topics,
        group.regexes,
        group.resolved.iter().map(|(regex, known)| (regex, &known.topics)).collect::<Vec<_>>(),
        group.state(),
    )
}
