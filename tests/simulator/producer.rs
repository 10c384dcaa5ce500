//! A lane: one producer in one partition. Batches go out in order, up to `in_flight` at a time; what
//! fails is sent again with the same sequence numbers (idempotent), as a new batch (a double is
//! then allowed), or not at all.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use spindle::client::ClientError;
use spindle::runtime::{sleep, wall_clock_ms};
use spindle::types::TopicId;
use spindle::wire::produce::ProducePartitionResponse;
use spindle::wire::records::BatchBuilder;

use crate::client::{Client, LIMIT, expect_transient, is_transient};
use crate::history::{Ack, History, SentBatch};
use crate::plan::LanePlan;
use crate::records::Record;

const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;

type Answer = Result<ProducePartitionResponse, ClientError>;

struct InFlight {
    batch: usize,
    bytes: Bytes,
    power_cuts: u32,
    state: Sending,
}

enum Sending {
    Waiting,
    Sent(Pin<Box<dyn Future<Output = Answer>>>),
    Answered(Answer),
}

pub struct Lane {
    index: usize,
    plan: LanePlan,
    seed: u64,
    topic: &'static str,
    history: Rc<RefCell<History>>,
    client: Client,
    rng: fastrand::Rng,
    producer: Option<(i64, i16)>,
    next_producer_sequence: i32,
    next_sequence: u64,
    made: usize,
    window: VecDeque<InFlight>,
    /// More than one batch was in flight when something failed.
    pipeline_broke: bool,
}

impl Lane {
    pub fn new(history: &Rc<RefCell<History>>, index: usize) -> Lane {
        let h = history.borrow();
        let plan = h.plan.lanes[index].clone();
        let topic = h.plan.topics[plan.topic].name;
        Lane {
            index,
            seed: h.plan.seed,
            topic,
            history: history.clone(),
            client: Client::new(format!("lane-{index}")),
            rng: fastrand::Rng::with_seed(h.plan.seed ^ (index as u64 + 1) << 32),
            producer: None,
            next_producer_sequence: 0,
            next_sequence: 0,
            made: 0,
            window: VecDeque::new(),
            pipeline_broke: false,
            plan,
        }
    }

    fn name(&self) -> String {
        format!("lane {} ({}-{})", self.index, self.topic, self.plan.partition)
    }

    /// Until every batch has been sent (and acknowledged, when it retries).
    pub async fn run(mut self) {
        while self.made < self.plan.batches || !self.window.is_empty() {
            if self.plan.idempotent && self.producer.is_none() {
                self.new_producer().await;
                continue;
            }
            self.fill().await;
            if self.send().await {
                self.take_answer().await;
            }
        }
    }

    async fn new_producer(&mut self) {
        let asked = match self.client.any().await {
            Ok(connection) => connection.init_producer_id(LIMIT).await,
            Err(e) => Err(e),
        };
        match asked {
            Ok((id, epoch)) => {
                let new = self.history.borrow_mut().producer_ids.insert(id);
                assert!(new, "{}: producer id {id} was handed out twice", self.name());
                self.producer = Some((id, epoch));
                self.next_producer_sequence = 0;
                let mut window = std::mem::take(&mut self.window);
                for waiting in &mut window {
                    self.renew(waiting);
                }
                self.window = window;
            }
            Err(e) => self.failed(&e).await,
        }
    }

    async fn failed(&mut self, e: &ClientError) {
        expect_transient(&self.name(), e);
        self.client.rest().await;
    }

    async fn fill(&mut self) {
        while self.window.len() < self.plan.in_flight && self.made < self.plan.batches {
            let think = self.plan.think.clone();
            let mut think_ns =
                self.rng.u64(think.start.as_nanos() as u64..think.end.as_nanos() as u64);
            if self.history.borrow().healed {
                // The faults are over: what is left goes without much thought.
                think_ns /= 20;
            }
            if self.window.is_empty() || self.rng.bool() {
                sleep(std::time::Duration::from_nanos(think_ns)).await;
            }
            let count = self.rng.usize(self.plan.records.clone());
            let producer =
                self.producer.map(|(id, epoch)| (id, epoch, self.next_producer_sequence));
            let sent = SentBatch {
                first_sequence: self.next_sequence,
                count,
                timestamp_ms: wall_clock_ms(),
                producer,
                attempts: 0,
                acked: None,
                renewed: false,
            };
            self.next_sequence += count as u64;
            self.next_producer_sequence += count as i32;
            let bytes = self.encode(&sent);
            self.history.borrow_mut().lanes[self.index].push(sent);
            self.window.push_back(InFlight {
                batch: self.made,
                bytes,
                power_cuts: 0,
                state: Sending::Waiting,
            });
            self.made += 1;
            if self.rng.u8(..4) == 0 {
                break;
            }
        }
    }

    fn encode(&self, sent: &SentBatch) -> Bytes {
        let mut builder = BatchBuilder::new(self.plan.codec);
        if let Some((id, epoch, sequence)) = sent.producer {
            builder.producer(id, epoch, sequence);
        }
        for i in 0..sent.count as u64 {
            let sequence = sent.first_sequence + i;
            Record::of(self.seed, self.index as u32, &self.plan, sequence)
                .push_to(&mut builder, sent.timestamp_ms + i as i64);
        }
        builder.finish().into()
    }

    /// The producer id changed: the same records under new sequence numbers.
    fn renew(&mut self, waiting: &mut InFlight) {
        let (id, epoch) = self.producer.unwrap();
        let sent = {
            let mut h = self.history.borrow_mut();
            let sent = &mut h.lanes[self.index][waiting.batch];
            sent.producer = Some((id, epoch, self.next_producer_sequence));
            sent.renewed |= sent.attempts > 0;
            sent.clone()
        };
        self.next_producer_sequence += sent.count as i32;
        waiting.bytes = self.encode(&sent);
    }

    /// Puts all that waits on the wire, in order; false when there is no connection.
    async fn send(&mut self) -> bool {
        if !self.window.iter().any(|f| matches!(f.state, Sending::Waiting)) {
            return true;
        }
        let leader = self.client.leader_connection(self.topic, self.plan.partition).await;
        let (connection, id) = match leader {
            Ok(found) => found,
            Err(e) => {
                // A new connection must not overtake what is in flight on the old one.
                self.unsend();
                self.failed(&e).await;
                return false;
            }
        };
        let id = if self.plan.by_topic_id { id } else { TopicId::nil() };
        let (topic, partition, acks) = (self.topic, self.plan.partition, self.plan.acks);
        let window = &mut self.window;
        for f in window.iter_mut().filter(|f| matches!(f.state, Sending::Waiting)) {
            {
                let mut h = self.history.borrow_mut();
                f.power_cuts = h.power_cuts;
                h.lanes[self.index][f.batch].attempts += 1;
            }
            let (connection, bytes) = (connection.clone(), f.bytes.clone());
            let mut sending: Pin<Box<dyn Future<Output = Answer>>> = Box::pin(async move {
                connection.produce((topic, id), partition, acks, bytes, LIMIT).await
            });
            // The first poll queues the frame: polled here, in order.
            f.state = match futures::poll!(&mut sending) {
                Poll::Ready(answer) => Sending::Answered(answer),
                Poll::Pending => Sending::Sent(sending),
            };
        }
        true
    }

    fn unsend(&mut self) {
        let in_flight = self.window.iter().filter(|f| !matches!(f.state, Sending::Waiting)).count();
        self.pipeline_broke |= in_flight > 1;
        if self.plan.retries {
            for f in &mut self.window {
                f.state = Sending::Waiting;
            }
        } else {
            self.window.retain(|f| matches!(f.state, Sending::Waiting));
        }
    }

    async fn take_answer(&mut self) {
        let Some(mut oldest) = self.window.pop_front() else { return };
        let answer = match oldest.state {
            Sending::Sent(sending) => sending.await,
            Sending::Answered(answer) => answer,
            Sending::Waiting => unreachable!("it was sent just now"),
        };
        let failure = match answer {
            Ok(r) if r.error_code == 0 => {
                assert_eq!(r.index, self.plan.partition, "{}", self.name());
                let ack = Ack { base_offset: r.base_offset, append_time_ms: r.log_append_time_ms };
                assert!(ack.base_offset >= 0, "{}: acknowledged at {ack:?}", self.name());
                let mut h = self.history.borrow_mut();
                h.acked(self.index, oldest.batch, ack, oldest.power_cuts);
                return;
            }
            Ok(r) => ClientError::Broker {
                what: format!("{}: produce", self.name()),
                code: r.error_code,
                message: r.error_message,
            },
            Err(e) => e,
        };
        tracing::debug!(lane = self.name(), batch = oldest.batch, %failure, "not acknowledged");
        oldest.state = Sending::Answered(Err(failure.clone()));
        self.window.push_front(oldest);
        self.unsend();
        match failure {
            // Brokers remember one batch of each producer across a restart, Kafka's snapshot format
            // holds no more: a pipeline that broke may be answered so, and the client starts anew.
            ClientError::Broker { code: OUT_OF_ORDER_SEQUENCE_NUMBER, .. }
                if self.plan.idempotent && self.pipeline_broke =>
            {
                self.producer = None;
                self.client.rest().await;
            }
            // A request that came too late over an old connection, or while the broker is down.
            ClientError::Broker { code, .. } if is_transient(code) => self.client.rest().await,
            e => self.failed(&e).await,
        }
    }
}
