//! A consumer: its own fetch loop over one topic, with or without fetch sessions (KIP-227), one
//! fetch to one leader at a time. What it is served goes to the history; now and then it goes back
//! and reads again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use spindle::client::ClientError;
use spindle::runtime::sleep;
use spindle::types::TopicId;
use spindle::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};

use crate::client::{Client, LIMIT, expect_transient, is_transient};
use crate::history::History;
use crate::plan::ConsumerPlan;

const OFFSET_OUT_OF_RANGE: i16 = 1;
/// FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH: the client opens a new session.
const SESSION_ERRORS: [i16; 2] = [70, 71];

#[derive(Default)]
struct Session {
    id: i32,
    epoch: i32,
    /// What the broker knows: partition -> offset.
    told: BTreeMap<i32, i64>,
}

pub struct Consumer {
    name: String,
    topic_index: usize,
    topic: &'static str,
    plan: ConsumerPlan,
    history: Rc<RefCell<History>>,
    client: Client,
    rng: fastrand::Rng,
    positions: BTreeMap<i32, i64>,
    sessions: BTreeMap<SocketAddr, Session>,
    /// Positions, for the one who waits until all is read.
    pub progress: Rc<RefCell<BTreeMap<i32, i64>>>,
    pub stop: Rc<Cell<bool>>,
    /// Goes back now and then; switched off for the end of the run.
    pub wanders: Rc<Cell<bool>>,
}

impl Consumer {
    pub fn new(history: &Rc<RefCell<History>>, index: usize) -> Consumer {
        let h = history.borrow();
        let plan = h.plan.consumers[index].clone();
        let topic = &h.plan.topics[plan.topic];
        let positions: BTreeMap<i32, i64> = (0..topic.partitions).map(|p| (p, 0)).collect();
        Consumer {
            name: format!("consumer {index} of {}", topic.name),
            topic_index: plan.topic,
            topic: topic.name,
            history: history.clone(),
            client: Client::new(format!("consumer-{index}")),
            rng: fastrand::Rng::with_seed(h.plan.seed ^ (index as u64 + 1) << 48),
            progress: Rc::new(RefCell::new(positions.clone())),
            positions,
            sessions: BTreeMap::new(),
            stop: Rc::default(),
            wanders: Rc::new(Cell::new(true)),
            plan,
        }
    }

    pub async fn run(mut self) {
        while !self.stop.get() {
            if let Err(e) = self.round().await {
                expect_transient(&self.name, &e);
                self.sessions.clear();
                self.client.rest().await;
                self.wander(2);
            }
            self.wander(60);
            *self.progress.borrow_mut() = self.positions.clone();
            sleep(Duration::from_micros(self.rng.u64(100..40_000))).await;
        }
    }

    /// With a chance of one in `n`, goes back to read something again.
    fn wander(&mut self, n: u32) {
        if self.wanders.get() && self.rng.u32(..n) == 0 {
            for position in self.positions.values_mut() {
                if *position > 0 && self.rng.bool() {
                    *position = self.rng.i64(0..*position);
                }
            }
        }
    }

    /// One fetch to each leader.
    async fn round(&mut self) -> Result<(), ClientError> {
        let mut by_leader: BTreeMap<SocketAddr, Vec<i32>> = BTreeMap::new();
        let mut topic_id = TopicId::nil();
        for partition in self.positions.keys() {
            let (addr, id) = self.client.leader(self.topic, *partition).await?;
            by_leader.entry(addr).or_default().push(*partition);
            topic_id = id;
        }
        let id = if self.plan.by_topic_id { topic_id } else { TopicId::nil() };
        for (addr, partitions) in by_leader {
            self.fetch(addr, id, &partitions).await?;
        }
        Ok(())
    }

    async fn fetch(
        &mut self,
        addr: SocketAddr,
        id: TopicId,
        partitions: &[i32],
    ) -> Result<(), ClientError> {
        let connection = self.client.at(addr).await?;
        let request = self.request(addr, id, partitions);
        let asked = self.positions.clone();
        let power_cuts = self.history.borrow().power_cuts;
        let version = connection.fetch_version(id)?;
        let response = connection.fetch(version, &request, LIMIT).await?;
        if SESSION_ERRORS.contains(&response.error_code) && request.session_epoch > 0 {
            self.sessions.remove(&addr);
            return Ok(());
        }
        if response.error_code != 0 {
            let what = format!("{}: fetch", self.name);
            return Err(ClientError::Broker { what, code: response.error_code, message: None });
        }
        if power_cuts != self.history.borrow().power_cuts {
            // Sent before the power went: nothing can be said about it any more.
            self.sessions.remove(&addr);
            return Ok(());
        }
        self.session_moves(addr, &request, &response);
        let durable = self.history.borrow().plan.topics[self.topic_index].durable;
        for p in response.topics.iter().flat_map(|t| &t.partitions) {
            let position = asked[&p.index];
            match p.error_code {
                0 => {
                    let records: Vec<u8> = p.records.concat();
                    let next = self.history.borrow_mut().served(
                        (self.topic_index, p.index),
                        position,
                        p.high_watermark,
                        &records,
                    );
                    self.positions.insert(p.index, next);
                }
                OFFSET_OUT_OF_RANGE => {
                    assert!(
                        !durable,
                        "{}: offset {position} of partition {} was served and is out of range now",
                        self.name, p.index
                    );
                    self.positions.insert(p.index, 0);
                }
                code => {
                    assert!(is_transient(code), "{}: partition {}: {code}", self.name, p.index);
                    return Err(ClientError::Broker {
                        what: format!("{}: fetch of partition {}", self.name, p.index),
                        code,
                        message: None,
                    });
                }
            }
        }
        Ok(())
    }

    fn request(&mut self, addr: SocketAddr, id: TopicId, partitions: &[i32]) -> FetchRequest {
        // The first partition with data is always served: take turns.
        let mut wanted = partitions.to_vec();
        self.rng.shuffle(&mut wanted);
        let (mut session_id, mut session_epoch) = (0, -1);
        if self.plan.session {
            let session = self.sessions.entry(addr).or_default();
            (session_id, session_epoch) = (session.id, session.epoch);
            if session.epoch > 0 {
                wanted.retain(|p| session.told.get(p) != Some(&self.positions[p]));
            }
            session.told.extend(wanted.iter().map(|p| (*p, self.positions[p])));
        }
        let row = |p: &i32| FetchPartition {
            index: *p,
            current_leader_epoch: -1,
            fetch_offset: self.positions[p],
            last_fetched_epoch: -1,
            log_start_offset: -1,
            max_bytes: self.plan.partition_bytes,
        };
        let topic = FetchTopic {
            name: if id.is_nil() { self.topic.into() } else { Bytes::new() },
            topic_id: id,
            partitions: wanted.iter().map(row).collect(),
        };
        FetchRequest {
            replica_id: -1,
            max_wait_ms: self.plan.max_wait_ms,
            min_bytes: self.plan.min_bytes,
            max_bytes: 2 << 20,
            isolation_level: 0,
            session_id,
            session_epoch,
            topics: if wanted.is_empty() { Vec::new() } else { vec![topic] },
            forgotten: Vec::new(),
            rack_id: Bytes::new(),
        }
    }

    fn session_moves(
        &mut self,
        addr: SocketAddr,
        request: &FetchRequest,
        response: &FetchResponse<Bytes>,
    ) {
        if request.session_epoch < 0 {
            return;
        }
        let Some(session) = self.sessions.get_mut(&addr) else { return };
        if request.session_epoch == 0 {
            session.id = response.session_id;
            // 0: the broker gave none; the next fetch is a full one again.
            session.epoch = i32::from(response.session_id != 0);
        } else {
            assert_eq!(response.session_id, request.session_id, "{}", self.name);
            session.epoch += 1;
        }
    }
}
