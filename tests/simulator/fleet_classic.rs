//! One member of the classic protocol in `fleet.rs`, as consumers are: JoinGroup and SyncGroup with the embedded
//! consumer protocol, eager (it gives everything back before it joins) or cooperative (it keeps what it has, and the
//! leader gives nothing that another still has). It does not know what kind of group it is in.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::consumer_protocol_subscription::TopicPartition;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::join_group_response::JoinGroupResponse;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerProtocolSubscription, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    SyncGroupRequest, TopicName,
};
use kafka_protocol::protocol::Encodable;
use spindle::coordinator::group::consumer::embedded::{
    EmbeddedAssignment, PROTOCOL_TYPE, Subscription, write_assignment,
};
use spindle::runtime::{Instant, sim, sleep};

use crate::client::{Client, LIMIT};
use crate::coordinator::{
    COORDINATOR, ILLEGAL_GENERATION, MEMBER_ID_REQUIRED, NONE, REBALANCE_IN_PROGRESS,
    UNKNOWN_MEMBER_ID, coordinator, failed, group_id, text,
};
use crate::fleet::{COMES_AND_GOES, GROUP, REBALANCE, SESSION, TOPICS, World};
use crate::fleet_claims::Partition;
use crate::fleet_commits::{Owner, commit, positions};

const FENCED_INSTANCE_ID: i16 = 82;
const SUBSCRIPTION_VERSION: i16 = 2;

pub struct Member {
    world: Rc<World>,
    slot: usize,
    client: Client,
    /// By which the scenario knows it.
    id: String,
    /// Which the coordinator gave it.
    member_id: String,
    instance: Option<String>,
    generation: i32,
    joined: bool,
    number: u64,
    positions: BTreeMap<Partition, i64>,
}

impl Member {
    pub fn new(world: Rc<World>, slot: usize, id: String) -> Member {
        Member {
            client: Client::new(id.clone()),
            world,
            slot,
            id,
            member_id: String::new(),
            instance: slot.is_multiple_of(2).then(|| format!("i{slot}")),
            generation: -1,
            joined: false,
            number: 0,
            positions: BTreeMap::new(),
        }
    }

    pub async fn run(mut self) {
        while !self.world.over.get() {
            if !self.turn().await {
                self.world.claims.borrow_mut().end(&self.id);
                self.world.spawn_member(self.slot);
                return;
            }
            sleep(self.world.between(20..250)).await;
        }
    }

    /// False: its life is over.
    async fn turn(&mut self) -> bool {
        let world = self.world.clone();
        if world.mishap(70) {
            sim::note("classic member dies", self.slot as u64, 0);
            return false;
        }
        if world.mishap(25) && self.joined {
            self.leave().await;
            return false;
        }
        if world.mishap(25) {
            sim::note("classic member sleeps", self.slot as u64, 0);
            sleep(world.between(200..4500)).await;
        }
        if !self.joined {
            return self.join().await;
        }
        let told = match world.chance(2) {
            true => self.commit().await,
            false => self.heartbeat().await,
        };
        self.hears(told)
    }

    /// False: it was fenced for good.
    fn hears(&mut self, told: Option<i16>) -> bool {
        match told {
            None | Some(NONE) => {}
            Some(REBALANCE_IN_PROGRESS) => self.joined = false,
            Some(ILLEGAL_GENERATION) => self.loses_all(),
            Some(UNKNOWN_MEMBER_ID) => {
                self.loses_all();
                self.member_id.clear();
                self.world.fenced.set(self.world.fenced.get() + 1);
            }
            Some(FENCED_INSTANCE_ID) if self.instance.is_some() => return false,
            Some(code) => assert!(COORDINATOR.contains(&code), "{} was told {code}", self.id),
        }
        true
    }

    fn loses_all(&mut self) {
        self.joined = false;
        self.generation = -1;
        self.positions.clear();
        self.world.claims.borrow_mut().abandon(&self.id);
    }

    async fn join(&mut self) -> bool {
        {
            let mut claims = self.world.claims.borrow_mut();
            claims.of(&self.id).joined = false;
            if !self.world.cooperative {
                let all = claims.holds(&self.id);
                claims.give_back(&self.id, &all);
            }
        }
        let Some(connection) = coordinator(&mut self.client, GROUP).await else { return true };
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("ours"))
            .with_metadata(self.subscription());
        let request = JoinGroupRequest::default()
            .with_group_id(group_id(GROUP))
            .with_session_timeout_ms(SESSION.as_millis() as i32)
            .with_rebalance_timeout_ms(REBALANCE.as_millis() as i32)
            .with_member_id(text(&self.member_id))
            .with_group_instance_id(self.instance.as_deref().map(text))
            .with_protocol_type(text(PROTOCOL_TYPE))
            .with_protocols(vec![protocol]);
        let joined = match connection.call(7, &request, REBALANCE + LIMIT).await {
            Ok(joined) => joined,
            Err(e) => {
                failed(&mut self.client, &e).await;
                return true;
            }
        };
        match joined.error_code {
            NONE => {}
            MEMBER_ID_REQUIRED => {
                self.member_id = joined.member_id.to_string();
                return true;
            }
            code => {
                let goes_on = self.hears(Some(code));
                self.client.rest().await;
                return goes_on;
            }
        }
        self.member_id = joined.member_id.to_string();
        self.generation = joined.generation_id;
        {
            let mut claims = self.world.claims.borrow_mut();
            let member = claims.of(&self.id);
            member.member_id = self.member_id.clone();
            member.epoch = joined.generation_id;
        }
        let assignments = match joined.leader == joined.member_id {
            true => match self.assign(&joined).await {
                Some(assignments) => assignments,
                None => return true,
            },
            false => Vec::new(),
        };
        if self.world.mishap(10) {
            // Between join and sync: the others wait for its sync.
            sleep(self.world.between(200..4500)).await;
        }
        let request = SyncGroupRequest::default()
            .with_group_id(group_id(GROUP))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.member_id))
            .with_group_instance_id(self.instance.as_deref().map(text))
            .with_assignments(assignments);
        let sent = sim::now();
        match connection.call(3, &request, REBALANCE + LIMIT).await {
            Ok(synced) if synced.error_code == NONE => {
                self.synced(&synced.assignment, sent).await;
                true
            }
            Ok(synced) => {
                let goes_on = self.hears(Some(synced.error_code));
                self.client.rest().await;
                goes_on
            }
            Err(e) => {
                failed(&mut self.client, &e).await;
                true
            }
        }
    }

    /// What it was given: it gives back the rest, and then takes what is new.
    async fn synced(&mut self, assignment: &[u8], sent: Instant) {
        let given = EmbeddedAssignment::read(assignment).expect("an assignment");
        let ids: BTreeMap<String, _> =
            self.world.names.borrow().iter().map(|(id, name)| (name.clone(), *id)).collect();
        let mut assigned: BTreeSet<Partition> = BTreeSet::new();
        for (name, all) in &given.partitions {
            assigned.extend(all.iter().map(|index| (ids[&**name], *index)));
        }
        let (gone, new) = {
            let mut claims = self.world.claims.borrow_mut();
            let holds = claims.holds(&self.id);
            let gone: BTreeSet<Partition> = holds.difference(&assigned).copied().collect();
            let new: BTreeSet<Partition> = assigned.difference(&holds).copied().collect();
            claims.of(&self.id).assigned = assigned;
            claims.give_back(&self.id, &gone);
            claims.heard(&self.id, sent);
            (gone, new)
        };
        self.joined = true;
        let found = positions(&self.world, &mut self.client, &self.id, None, &new).await;
        let Some(found) = found else {
            // It joins again, and begins where it can.
            self.joined = false;
            return;
        };
        self.positions.extend(found);
        let mut claims = self.world.claims.borrow_mut();
        claims.take(&self.id, &new);
        claims.of(&self.id).joined = true;
        // What it gave back is another's in the next generation.
        self.joined = !self.world.cooperative || gone.is_empty();
    }

    fn subscription(&self) -> Bytes {
        let mut owned: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for (id, index) in self.world.claims.borrow().holds(&self.id) {
            let name = self.world.names.borrow()[&id].clone();
            owned.entry(name).or_default().push(index);
        }
        let owned = owned.into_iter().map(|(name, all)| {
            TopicPartition::default().with_topic(TopicName(text(&name))).with_partitions(all)
        });
        let topics = TOPICS.iter().map(|(name, _)| *name).filter(|name| *name != COMES_AND_GOES);
        let subscription = ConsumerProtocolSubscription::default()
            .with_topics(topics.map(text).collect())
            .with_owned_partitions(owned.collect())
            .with_generation_id(self.generation);
        let mut bytes = BytesMut::new();
        bytes.extend(SUBSCRIPTION_VERSION.to_be_bytes());
        subscription.encode(&mut bytes, SUBSCRIPTION_VERSION).expect("a subscription");
        bytes.freeze()
    }

    /// As the leader: round robin; of the cooperative kind, nobody gets what another says it has.
    async fn assign(
        &mut self,
        joined: &JoinGroupResponse,
    ) -> Option<Vec<SyncGroupRequestAssignment>> {
        let there = self.world.learn_names(&mut self.client).await;
        let mut all: Vec<(Arc<str>, i32)> = Vec::new();
        for (name, (_, count)) in there.iter().filter(|(name, _)| *name != COMES_AND_GOES) {
            all.extend((0..*count).map(|index| (Arc::from(name.as_str()), index)));
        }
        if all.is_empty() {
            return None;
        }
        let mut members: Vec<(String, Subscription)> = joined
            .members
            .iter()
            .map(|m| (m.member_id.to_string(), Subscription::read(&m.metadata).expect("ours")))
            .collect();
        members.sort_by(|a, b| a.0.cmp(&b.0));
        let has = |said: &Subscription, partition: &(Arc<str>, i32)| {
            said.owned.iter().any(|(name, of)| *name == partition.0 && of.contains(&partition.1))
        };
        let mut shares: Vec<BTreeMap<Arc<str>, Vec<i32>>> = vec![BTreeMap::new(); members.len()];
        for (at, partition) in all.iter().enumerate() {
            let to = at % members.len();
            let others = members.iter().enumerate().filter(|(other, _)| *other != to);
            if others.into_iter().any(|(_, (_, said))| has(said, partition)) {
                continue;
            }
            shares[to].entry(partition.0.clone()).or_default().push(partition.1);
        }
        let rows = members.iter().zip(&shares).map(|((id, _), share)| {
            let share = share.iter().map(|(name, all)| (&**name, all.as_slice()));
            SyncGroupRequestAssignment::default()
                .with_member_id(text(id))
                .with_assignment(write_assignment(SUBSCRIPTION_VERSION, share))
        });
        Some(rows.collect())
    }

    async fn heartbeat(&mut self) -> Option<i16> {
        let connection = coordinator(&mut self.client, GROUP).await?;
        let request = HeartbeatRequest::default()
            .with_group_id(group_id(GROUP))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.member_id))
            .with_group_instance_id(self.instance.as_deref().map(text));
        let sent = sim::now();
        match connection.call(4, &request, LIMIT).await {
            Ok(answer) => {
                if answer.error_code == NONE {
                    self.world.claims.borrow_mut().heard(&self.id, sent);
                }
                Some(answer.error_code)
            }
            Err(e) => {
                failed(&mut self.client, &e).await;
                None
            }
        }
    }

    async fn commit(&mut self) -> Option<i16> {
        let own: Vec<Partition> = self.world.claims.borrow().holds(&self.id).into_iter().collect();
        let partition = self.world.rng.borrow_mut().choice(&own).copied()?;
        let had = self.positions.get(&partition).copied().unwrap_or(0);
        let offset = had + self.world.rng.borrow_mut().i64(1..5);
        self.positions.insert(partition, offset);
        self.number += 1;
        let owner =
            Owner { member_id: &self.member_id, epoch: self.generation, number: self.number };
        commit(&self.world, &mut self.client, owner, partition, (offset, false)).await
    }

    async fn leave(&mut self) {
        sim::note("classic member leaves", self.slot as u64, 0);
        self.world.claims.borrow_mut().abandon(&self.id);
        let Some(connection) = coordinator(&mut self.client, GROUP).await else { return };
        let member = MemberIdentity::default()
            .with_member_id(text(&self.member_id))
            .with_group_instance_id(self.instance.as_deref().map(text));
        let request =
            LeaveGroupRequest::default().with_group_id(group_id(GROUP)).with_members(vec![member]);
        if let Err(e) = connection.call(4, &request, LIMIT).await {
            failed(&mut self.client, &e).await;
        }
    }
}
