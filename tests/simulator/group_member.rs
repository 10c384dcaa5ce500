//! One member of the group in `group.rs`: joins, syncs, commits, and misbehaves as its seed says. The leader gives
//! partitions out round robin.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;
use spindle::runtime::{sleep, spawn};

use crate::client::{Client, LIMIT};
use crate::coordinator::{
    COORDINATOR, ILLEGAL_GENERATION, MEMBER_ID_REQUIRED, NONE, REBALANCE_IN_PROGRESS,
    UNKNOWN_MEMBER_ID, committed, coordinator, failed, group_id, text,
};
use crate::group::{Commit, GROUP, PARTITIONS, TOPIC, World};

const SESSION_MS: i32 = 1500;
const REBALANCE_MS: i32 = 1500;

pub struct Member {
    world: Rc<World>,
    name: String,
    client: Client,
    id: String,
    generation: i32,
    partitions: BTreeSet<i32>,
    positions: BTreeMap<i32, i64>,
    number: u64,
}

/// What a member does after what it heard.
enum Next {
    GoOn,
    Rejoin,
    /// With a new member id.
    Anew,
}

impl Member {
    pub fn new(world: Rc<World>, name: String) -> Member {
        Member {
            world,
            client: Client::new(name.clone()),
            name,
            id: String::new(),
            generation: -1,
            partitions: BTreeSet::new(),
            positions: BTreeMap::new(),
            number: 0,
        }
    }

    fn chance(&self, one_in: u32) -> bool {
        self.world.rng.borrow_mut().u32(..one_in) == 0
    }

    pub async fn run(mut self) {
        while !self.world.over.get() {
            if !self.join().await {
                continue;
            }
            let committed = committed(&mut self.client, GROUP).await;
            for p in &self.partitions {
                // -1 when there is none yet. What is there may be newer than what this member did.
                let from = committed.get(&(TOPIC.to_string(), *p)).map_or(0, |(offset, _)| *offset);
                self.positions.insert(*p, from);
            }
            let settled = (self.generation, self.partitions.clone());
            self.world.settled.borrow_mut().insert(self.name.clone(), settled);
            let died = self.work().await;
            self.world.settled.borrow_mut().remove(&self.name);
            if died {
                self.world.alive.set(self.world.alive.get() - 1);
                self.world.spawn_member(format!("{}x", self.name));
                return;
            }
        }
    }

    /// True when it is in a generation.
    async fn join(&mut self) -> bool {
        let Some(connection) = coordinator(&mut self.client, GROUP).await else { return false };
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("round-robin"))
            .with_metadata(Bytes::copy_from_slice(self.name.as_bytes()));
        let request = JoinGroupRequest::default()
            .with_group_id(group_id(GROUP))
            .with_session_timeout_ms(SESSION_MS)
            .with_rebalance_timeout_ms(REBALANCE_MS)
            .with_member_id(text(&self.id))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        let joined = match connection.call(7, &request, LIMIT * 2).await {
            Ok(joined) => joined,
            Err(e) => {
                failed(&mut self.client, &e).await;
                return false;
            }
        };
        match joined.error_code {
            NONE => {}
            MEMBER_ID_REQUIRED => {
                self.id = joined.member_id.to_string();
                return false;
            }
            code => {
                self.heard(code).await;
                return false;
            }
        }
        self.id = joined.member_id.to_string();
        self.generation = joined.generation_id;
        let mut assignments = Vec::new();
        if joined.leader == joined.member_id {
            let mut ids: Vec<&StrBytes> = joined.members.iter().map(|m| &m.member_id).collect();
            ids.sort();
            for (n, id) in ids.iter().enumerate() {
                let own: Vec<u8> =
                    (0..PARTITIONS as u8).filter(|p| *p as usize % ids.len() == n).collect();
                let row = SyncGroupRequestAssignment::default()
                    .with_member_id((*id).clone())
                    .with_assignment(Bytes::from(own));
                assignments.push(row);
            }
        }
        if self.chance(10) && !self.world.calm.get() {
            // Dies between join and sync: the others wait for its rebalance timeout.
            self.pause().await;
        }
        let request = SyncGroupRequest::default()
            .with_group_id(group_id(GROUP))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_assignments(assignments);
        match connection.call(3, &request, LIMIT * 2).await {
            Ok(synced) if synced.error_code == NONE => {
                self.partitions = synced.assignment.iter().map(|p| i32::from(*p)).collect();
                self.world.claim(self.generation, &self.id, &self.partitions);
                true
            }
            Ok(synced) => {
                self.heard(synced.error_code).await;
                false
            }
            Err(e) => {
                failed(&mut self.client, &e).await;
                false
            }
        }
    }

    async fn heard(&mut self, code: i16) -> Next {
        match code {
            NONE => Next::GoOn,
            REBALANCE_IN_PROGRESS | ILLEGAL_GENERATION => Next::Rejoin,
            UNKNOWN_MEMBER_ID => {
                self.id.clear();
                Next::Anew
            }
            code => {
                assert!(COORDINATOR.contains(&code), "{} was told {code}", self.name);
                self.client.rest().await;
                Next::GoOn
            }
        }
    }

    async fn pause(&self) {
        let ms = self.world.rng.borrow_mut().u64(500..4000);
        sleep(Duration::from_millis(ms)).await;
    }

    /// Until it has to join again; true: it is dead.
    async fn work(&mut self) -> bool {
        while !self.world.over.get() {
            let calm = self.world.calm.get();
            if !calm && self.chance(60) {
                return true;
            }
            if !calm && self.chance(60) {
                self.leave().await;
                return false;
            }
            if !calm && self.chance(25) {
                self.pause().await;
            }
            let next = match self.chance(2) {
                true => self.commit().await,
                false => self.heartbeat().await,
            };
            match next {
                Next::GoOn => {}
                // A member that has not heard of it yet: what it commits must be refused.
                Next::Rejoin if !calm && self.chance(3) => {}
                Next::Rejoin | Next::Anew => return false,
            }
            let ms = self.world.rng.borrow_mut().u64(5..200);
            sleep(Duration::from_millis(ms)).await;
        }
        false
    }

    async fn leave(&mut self) {
        let Some(connection) = coordinator(&mut self.client, GROUP).await else { return };
        let member = MemberIdentity::default().with_member_id(text(&self.id));
        let request =
            LeaveGroupRequest::default().with_group_id(group_id(GROUP)).with_members(vec![member]);
        if let Err(e) = connection.call(4, &request, LIMIT).await {
            failed(&mut self.client, &e).await;
        }
        self.id.clear();
    }

    async fn heartbeat(&mut self) -> Next {
        let Some(connection) = coordinator(&mut self.client, GROUP).await else {
            return Next::GoOn;
        };
        let request = HeartbeatRequest::default()
            .with_group_id(group_id(GROUP))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id));
        match connection.call(4, &request, LIMIT).await {
            Ok(answer) => self.heard(answer.error_code).await,
            Err(e) => {
                failed(&mut self.client, &e).await;
                Next::GoOn
            }
        }
    }

    async fn commit(&mut self) -> Next {
        let Some(connection) = coordinator(&mut self.client, GROUP).await else {
            return Next::GoOn;
        };
        let own: Vec<i32> = self.partitions.iter().copied().collect();
        if own.is_empty() {
            return Next::GoOn;
        }
        let (partition, step) = {
            let mut rng = self.world.rng.borrow_mut();
            (own[rng.usize(..own.len())], rng.i64(1..5))
        };
        let position = self.positions.get(&partition).copied().unwrap_or(0) + step;
        self.positions.insert(partition, position);
        self.number += 1;
        let commit =
            Commit { generation: self.generation, member: self.id.clone(), number: self.number };
        let request = self.request(partition, position, &commit);
        if self.chance(6) {
            self.world.late.borrow_mut().insert((partition, commit.clone()));
            let ms = self.world.rng.borrow_mut().u64(0..3000);
            spawn(send_late(self.world.clone(), request.clone(), Duration::from_millis(ms)));
        }
        match connection.call(8, &request, LIMIT).await {
            Ok(answer) => {
                let code = answer.topics[0].partitions[0].error_code;
                if code == NONE {
                    self.world.acked.borrow_mut().insert((partition, commit));
                }
                self.heard(code).await
            }
            Err(e) => {
                // It may be on its way still, and arrive after a newer one.
                self.world.late.borrow_mut().insert((partition, commit));
                failed(&mut self.client, &e).await;
                Next::GoOn
            }
        }
    }

    fn request(&self, partition: i32, offset: i64, commit: &Commit) -> OffsetCommitRequest {
        let row = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text(&commit.metadata())));
        let topic = OffsetCommitRequestTopic::default()
            .with_name(TopicName(text(TOPIC)))
            .with_partitions(vec![row]);
        OffsetCommitRequest::default()
            .with_group_id(group_id(GROUP))
            .with_generation_id_or_member_epoch(commit.generation)
            .with_member_id(text(&commit.member))
            .with_topics(vec![topic])
    }
}

/// The same commit once more, later, from elsewhere.
async fn send_late(world: Rc<World>, request: OffsetCommitRequest, after: Duration) {
    sleep(after).await;
    if world.over.get() {
        return;
    }
    let mut client = Client::new("late".into());
    if let Some(connection) = coordinator(&mut client, GROUP).await {
        let _ = connection.call(8, &request, LIMIT).await;
    }
}
