//! One member of the consumer protocol (KIP-848) in `fleet.rs`, as clients implement it: it gives back what
//! it is no longer told to have before it says so, and takes what it is told. It misbehaves as its seed
//! says: dies, leaves, goes away and comes back under another id, sleeps beyond its session, changes its
//! mind, and its requests come late and twice.
//!
//! What the protocol can't tell apart is not tried: a late copy that says that the member owns less than it does now
//! (same epoch) would be believed, by Kafka too; no client sends on after it opened another connection.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, TopicName};
use spindle::runtime::{sim, sleep, spawn};

use crate::client::{Client, LIMIT};
use crate::coordinator::{
    COORDINATOR, NONE, STALE_MEMBER_EPOCH, UNKNOWN_MEMBER_ID, coordinator, failed, group_id, text,
};
use crate::fleet::{COMES_AND_GOES, GROUP, Kind, REBALANCE, SESSION, TOPICS, World};
use crate::fleet_claims::{Claims, Partition};
use crate::fleet_commits::{Owner, commit, positions};

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
const GROUP_ID_NOT_FOUND: i16 = 69;
const FENCED_INSTANCE_ID: i16 = 82;
const FENCED_MEMBER_EPOCH: i16 = 110;
const UNRELEASED_INSTANCE_ID: i16 = 111;
const LEAVES: i32 = -1;
const GOES_AWAY: i32 = -2;

pub struct Member {
    world: Rc<World>,
    slot: usize,
    client: Client,
    id: String,
    instance: Option<String>,
    names: Vec<&'static str>,
    regex: &'static str,
    /// Its subscription is not yet heard.
    resubscribed: bool,
    /// It wants what everybody wants at the end.
    wants_all: bool,
    /// It says everything with its next heartbeat.
    full: bool,
    /// What it said last that it owns.
    reported: Option<BTreeSet<Partition>>,
    /// Heartbeats without an answer since the last one that had one.
    lost: u32,
    number: u64,
    positions: BTreeMap<Partition, i64>,
    /// It goes on beating and gives nothing back: until it is fenced, or changes its mind.
    clings: bool,
}

/// Whether its life goes on.
#[derive(PartialEq)]
enum Next {
    GoesOn,
    Ends,
}

impl Member {
    pub fn new(world: Rc<World>, slot: usize, id: String) -> Member {
        let mut member = Member {
            client: Client::new(id.clone()),
            world,
            slot,
            id,
            instance: slot.is_multiple_of(2).then(|| format!("i{slot}")),
            names: Vec::new(),
            regex: "",
            resubscribed: false,
            wants_all: false,
            full: true,
            reported: None,
            lost: 0,
            number: 0,
            positions: BTreeMap::new(),
            clings: false,
        };
        member.subscribe();
        member
    }

    fn subscribe(&mut self) {
        let all = self.world.calm.get() || self.world.kind == Kind::Converting;
        let mut rng = self.world.rng.borrow_mut();
        let everything: Vec<&'static str> = TOPICS.iter().map(|(name, _)| *name).collect();
        (self.names, self.regex) = match rng.u8(..3) {
            0 => (Vec::new(), "f.*"),
            _ if all => (everything, ""),
            1 => (everything.into_iter().filter(|_| rng.bool()).collect(), ""),
            _ => (vec!["fa"], ["f[bc]", "fc|fa", ""][rng.usize(..3)]),
        };
        self.wants_all = all;
        self.resubscribed = true;
    }

    pub async fn run(mut self) {
        while !self.world.over.get() && self.turn().await == Next::GoesOn {
            sleep(self.world.between(20..250)).await;
        }
    }

    fn epoch(&self) -> i32 {
        self.world.claims.borrow_mut().of(&self.id).epoch
    }

    async fn turn(&mut self) -> Next {
        let world = self.world.clone();
        if world.mishap(70) {
            sim::note("member dies", self.slot as u64, 0);
            return self.succeeded();
        }
        let restless = if world.kind == Kind::Converting { 25 } else { 60 };
        if world.mishap(restless) && self.epoch() > 0 {
            self.leave().await;
            return self.succeeded();
        }
        if world.mishap(25) {
            if self.instance.is_some() && world.mishap(3) {
                self.haunt().await;
                return Next::Ends;
            }
            sim::note("member sleeps", self.slot as u64, 0);
            sleep(world.between(200..4500)).await;
        }
        if world.mishap(40) || (world.calm.get() && !self.wants_all) {
            self.subscribe();
        }
        if self.epoch() > 0 && world.chance(2) {
            self.commit().await;
        }
        if self.beat().await == Next::Ends {
            return self.succeeded();
        }
        if self.epoch() > 0 {
            self.move_on().await;
        }
        Next::GoesOn
    }

    /// It is gone without a word, and another comes in its place.
    fn succeeded(&mut self) -> Next {
        self.world.claims.borrow_mut().end(&self.id);
        self.world.spawn_member(self.slot);
        Next::Ends
    }

    /// It sleeps beyond its session while another takes its instance id, and says one more thing afterwards.
    async fn haunt(&mut self) {
        sim::note("member sleeps too long", self.slot as u64, 0);
        {
            let mut claims = self.world.claims.borrow_mut();
            let member = claims.of(&self.id);
            member.stays = false;
            // A classic member does not wait for the session of the one before.
            member.replaced = self.world.kind == Kind::Converting;
        }
        self.world.spawn_member(self.slot);
        sleep(SESSION + self.world.between(100..3000)).await;
        self.commit().await;
        if self.epoch() == 0 && self.world.kind == Kind::Converting {
            // What it says is that it joins.
            self.world.claims.borrow_mut().taken_over(self.slot, &self.id);
        }
        self.beat().await;
        self.world.claims.borrow_mut().end(&self.id);
    }

    async fn leave(&mut self) {
        let epoch = match self.instance.is_some() && self.world.chance(2) {
            true => GOES_AWAY,
            false => LEAVES,
        };
        sim::note("member leaves", self.slot as u64, epoch.unsigned_abs().into());
        self.world.claims.borrow_mut().abandon(&self.id);
        let request = self.plain(epoch);
        if self.world.mishap(4) {
            self.send_late(request.clone());
        }
        let Some(connection) = coordinator(&mut self.client, GROUP).await else { return };
        if let Err(e) = connection.call(1, &request, LIMIT).await {
            failed(&mut self.client, &e).await;
        }
    }

    fn plain(&self, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group_id(GROUP))
            .with_member_id(text(&self.id))
            .with_member_epoch(epoch)
            .with_instance_id(self.instance.as_deref().map(text))
            .with_rebalance_timeout_ms(-1)
            .with_subscribed_topic_names(None)
            .with_subscribed_topic_regex(None)
            .with_topic_partitions(None)
    }

    fn request(&mut self) -> ConsumerGroupHeartbeatRequest {
        let holds = self.world.claims.borrow().holds(&self.id);
        let epoch = self.epoch();
        let restate = std::mem::take(&mut self.world.claims.borrow_mut().of(&self.id).restate);
        self.full |= restate || epoch == 0;
        let mut request = self.plain(epoch);
        if self.full {
            request = request
                .with_rebalance_timeout_ms(REBALANCE.as_millis() as i32)
                .with_server_assignor(self.world.assignor.map(text));
        }
        if self.full || self.resubscribed {
            let names = self.names.iter().map(|name| TopicName(text(name))).collect();
            request = request
                .with_subscribed_topic_names(Some(names))
                .with_subscribed_topic_regex(Some(text(self.regex)));
        }
        if self.full || self.reported.as_ref() != Some(&holds) {
            let mut owned: BTreeMap<_, Vec<i32>> = BTreeMap::new();
            for (topic, index) in &holds {
                owned.entry(*topic).or_default().push(*index);
            }
            let owned = owned.into_iter().map(|(topic, all)| {
                TopicPartitions::default().with_topic_id(topic).with_partitions(all)
            });
            request = request.with_topic_partitions(Some(owned.collect()));
            self.reported = Some(holds);
        }
        request
    }

    async fn beat(&mut self) -> Next {
        let Some(connection) = coordinator(&mut self.client, GROUP).await else {
            return Next::GoesOn;
        };
        let request = self.request();
        if self.world.mishap(10) {
            self.send_late(request.clone());
        }
        let sent = sim::now();
        let answer = match connection.call(1, &request, LIMIT).await {
            Ok(answer) => answer,
            Err(e) => {
                if self.takes_over(&request) {
                    self.world.claims.borrow_mut().taken_over(self.slot, &self.id);
                }
                self.lost += 1;
                self.full = true;
                failed(&mut self.client, &e).await;
                return Next::GoesOn;
            }
        };
        let joins = request.member_epoch == 0;
        match answer.error_code {
            NONE => {}
            FENCED_MEMBER_EPOCH | UNKNOWN_MEMBER_ID | GROUP_ID_NOT_FOUND if !joins => {
                self.fenced(answer.error_code);
                return Next::GoesOn;
            }
            // Of the member that had its instance id; the group goes back to the classic protocol.
            UNRELEASED_INSTANCE_ID if joins && self.instance.is_some() => {
                self.full = true;
                return Next::GoesOn;
            }
            FENCED_INSTANCE_ID if self.instance.is_some() => {
                self.fenced(FENCED_INSTANCE_ID);
                return Next::Ends;
            }
            code => {
                let why = &answer.error_message;
                assert!(COORDINATOR.contains(&code), "{} was told {code}: {why:?}", self.id);
                // An append that failed may have told the coordinator more than it says.
                self.lost += u32::from(code != COORDINATOR_LOAD_IN_PROGRESS);
                self.full = true;
                self.client.rest().await;
                return Next::GoesOn;
            }
        }
        self.lost = 0;
        self.full = false;
        self.resubscribed &= request.subscribed_topic_names.is_none();
        let assigned: Option<BTreeSet<Partition>> = answer.assignment.map(|assignment| {
            let all = assignment.topic_partitions.into_iter();
            all.flat_map(|t| t.partitions.into_iter().map(move |p| (t.topic_id, p))).collect()
        });
        let mut claims = self.world.claims.borrow_mut();
        claims.may_keep(&self.id, sent, assigned.as_ref());
        let member = claims.of(&self.id);
        let (before, now) = (member.epoch, answer.member_epoch);
        assert!(now > 0 && now >= before, "{}: epoch {now} after {before}", self.id);
        member.epoch = now;
        member.joined = true;
        if let Some(assigned) = assigned {
            member.assigned = assigned;
            // As Kafka's client: what it has is said again once it knows of another assignment, the same or not.
            self.reported = None;
        }
        claims.heard(&self.id, sent);
        Next::GoesOn
    }

    /// It may be only when the coordinator had a reason: too long a silence, or a request that went astray.
    fn check_excuse(&self, code: i16) {
        let claims = self.world.claims.borrow();
        let excused = !claims.is_entitled(&self.id) || claims.is_astray(&self.id) || self.lost >= 2;
        assert!(
            excused,
            "{} was told {code} for nothing, {} answers lost: {:#?}",
            self.id, self.lost, claims.members[&self.id]
        );
    }

    fn fenced(&mut self, code: i16) {
        sim::note("member is fenced", self.slot as u64, code as u64);
        self.check_excuse(code);
        self.world.fenced.set(self.world.fenced.get() + 1);
        self.world.claims.borrow_mut().fenced(&self.id);
        self.world.claims.borrow_mut().abandon(&self.id);
        self.positions.clear();
        self.clings = false;
        self.reported = None;
        self.full = true;
        self.lost = 0;
    }

    /// Half of the way to what it was told: it gives back, or takes.
    async fn move_on(&mut self) {
        let (holds, assigned) = {
            let mut claims = self.world.claims.borrow_mut();
            let member = claims.of(&self.id);
            (member.holds.clone(), member.assigned.clone())
        };
        let gone: BTreeSet<Partition> = holds.difference(&assigned).copied().collect();
        if !gone.is_empty() {
            self.clings |= self.world.mishap(15);
            if self.clings {
                self.clings = !self.world.mishap(30);
                return;
            }
            if self.world.mishap(4) {
                sleep(self.world.between(0..700)).await;
            }
            self.world.claims.borrow_mut().give_back(&self.id, &gone);
            return;
        }
        let new: BTreeSet<Partition> = assigned.difference(&holds).copied().collect();
        if new.is_empty() {
            return;
        }
        let epoch = self.epoch();
        let member = Some((self.id.as_str(), epoch));
        let found = positions(&self.world, &mut self.client, &self.id, member, &new).await;
        if let Some(found) = found {
            self.positions.extend(found);
            self.world.claims.borrow_mut().take(&self.id, &new);
        }
    }

    async fn commit(&mut self) {
        let own: Vec<Partition> = self.world.claims.borrow().holds(&self.id).into_iter().collect();
        let Some(partition) = self.world.rng.borrow_mut().choice(&own).copied() else { return };
        let had = self.positions.get(&partition).copied().unwrap_or(0);
        let rewinds = had > 1 && self.world.mishap(15);
        let offset = {
            let mut rng = self.world.rng.borrow_mut();
            if rewinds { rng.i64(1..had) } else { had + rng.i64(1..5) }
        };
        self.number += 1;
        let (epoch, number) = (self.epoch(), self.number);
        let owner = Owner { member_id: &self.id, epoch, number };
        let told = commit(&self.world, &mut self.client, owner, partition, (offset, rewinds)).await;
        // A step back that was not taken is none.
        if told == Some(NONE) || !rewinds {
            self.positions.insert(partition, offset);
        }
        match told {
            None | Some(NONE) => {}
            // Until its next heartbeat it may be behind, but only when it missed an answer.
            Some(STALE_MEMBER_EPOCH) => {
                self.world.stale.set(self.world.stale.get() + 1);
                if self.lost == 0 {
                    self.check_excuse(STALE_MEMBER_EPOCH);
                }
            }
            Some(code @ (UNKNOWN_MEMBER_ID | GROUP_ID_NOT_FOUND)) => self.check_excuse(code),
            Some(UNKNOWN_TOPIC_OR_PARTITION) => {
                let names = self.world.names.borrow();
                let gone = names.get(&partition.0).is_none_or(|name| name == COMES_AND_GOES);
                assert!(gone, "{partition:?} is unknown to the broker");
            }
            Some(code) => assert!(COORDINATOR.contains(&code), "a commit was told {code}"),
        }
    }

    /// A classic member does not wait for anybody: a late join takes its instance id from it.
    fn takes_over(&self, request: &ConsumerGroupHeartbeatRequest) -> bool {
        let joins = request.member_epoch == 0 && request.instance_id.is_some();
        joins && self.world.kind == Kind::Converting
    }

    /// The same request once more, later, from elsewhere.
    fn send_late(&self, request: ConsumerGroupHeartbeatRequest) {
        self.world.claims.borrow_mut().of(&self.id).astray.0 += 1;
        let (world, id, slot) = (self.world.clone(), self.id.clone(), self.slot);
        let takes_over = self.takes_over(&request);
        spawn(async move {
            sleep(world.between(0..3000)).await;
            let mut client = Client::new(id.clone());
            let safe = says_all(&world.claims.borrow(), &id, &request);
            if !world.over.get()
                && safe
                && let Some(connection) = coordinator(&mut client, GROUP).await
                && says_all(&world.claims.borrow(), &id, &request)
            {
                if takes_over {
                    world.claims.borrow_mut().taken_over(slot, &id);
                }
                let _ = connection.call(1, &request, LIMIT).await;
            }
            if let Some(member) = world.claims.borrow_mut().members.get_mut(&id) {
                member.astray = (member.astray.0 - 1, Some(sim::now()));
                member.restate = true;
            }
        });
    }
}

/// It does not say of the member that it owns less than it does.
fn says_all(claims: &Claims, id: &str, request: &ConsumerGroupHeartbeatRequest) -> bool {
    let holds = claims.holds(id);
    let Some(owned) = &request.topic_partitions else { return true };
    let said: BTreeSet<Partition> =
        owned.iter().flat_map(|t| t.partitions.iter().map(|p| (t.topic_id, *p))).collect();
    holds.is_subset(&said)
}
