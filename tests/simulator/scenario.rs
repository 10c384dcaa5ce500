//! One seed from start to end: topics, clients, faults, the heal, and the last checks.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use spindle::runtime::sim::{self, Simulation};
use spindle::runtime::{Notify, sleep, spawn, timeout};

use crate::broker::Broker;
use crate::client::{Client, WholePartition, create_at_last, read_at_last};
use crate::consumer::Consumer;
use crate::history::History;
use crate::plan::Plan;
use crate::producer::Lane;
use crate::side_topic::SideTopic;

/// After the heal everything must be done within this much virtual time: the longest stalls and
/// several client timeouts fit, a lost wake-up does not.
pub const PROGRESS_LIMIT: Duration = Duration::from_secs(60);

/// What a run tells: equal for two runs of one seed.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub trace_hash: u64,
    pub virtual_ms: u64,
    pub batches_sent: usize,
    pub batches_served: u64,
}

pub fn run(seed: u64) -> Outcome {
    run_plan(Plan::new(seed))
}

pub fn run_plan(plan: Plan) -> Outcome {
    let simulation = Simulation::new(plan.seed);
    simulation.with_knobs(|k| *k = plan.knobs.clone());
    let (batches_sent, batches_served) = simulation.run(scenario(plan));
    Outcome {
        trace_hash: simulation.trace_hash(),
        virtual_ms: simulation.now().0 / 1_000_000,
        batches_sent,
        batches_served,
    }
}

/// Tasks that are waited for together.
#[derive(Clone, Default)]
pub struct Running {
    count: Rc<Cell<usize>>,
    ended: Notify,
}

impl Running {
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.count.set(self.count.get() + 1);
        let this = self.clone();
        spawn(async move {
            task.await;
            this.count.set(this.count.get() - 1);
            this.ended.notify_waiters();
        });
    }

    async fn all(&self) {
        loop {
            let ended = self.ended.notified();
            if self.count.get() == 0 {
                return;
            }
            ended.await;
        }
    }

    pub async fn all_within_the_limit(&self, who: &str) {
        let done = timeout(PROGRESS_LIMIT, self.all()).await;
        let left = self.count.get();
        assert!(done.is_some(), "{left} {who} not done {PROGRESS_LIMIT:?} after the last fault");
    }
}

async fn scenario(plan: Plan) -> (usize, u64) {
    let faults = plan.faults.clone();
    let history = Rc::new(RefCell::new(History::new(plan)));
    let broker = Broker::new(&history);
    broker.start();
    create_topics(&history).await;

    let (lanes, side, consuming) = (Running::default(), Running::default(), Running::default());
    for index in 0..history.borrow().plan.lanes.len() {
        lanes.spawn(Lane::new(&history, index).run());
    }
    let mut consumers = Vec::new();
    for index in 0..history.borrow().plan.consumers.len() {
        let consumer = Consumer::new(&history, index);
        consumers.push((
            index,
            consumer.progress.clone(),
            consumer.stop.clone(),
            consumer.wanders.clone(),
        ));
        consuming.spawn(consumer.run());
    }
    let side_topic = SideTopic::new(history.borrow().plan.seed);
    let stop_side = side_topic.stop.clone();
    if history.borrow().plan.side_topic {
        side.spawn(side_topic.run());
    }

    for (wait, fault) in &faults {
        sleep(*wait).await;
        broker.suffer(fault).await;
    }
    broker.heal();
    history.borrow_mut().healed = true;
    stop_side.set(true);
    lanes.all_within_the_limit("producers").await;
    side.all_within_the_limit("side topics").await;

    // What a lane gave up on may still be on its way: it must not arrive between the checks.
    sim::cut_connections();
    sleep(Duration::from_millis(500)).await;
    // Every consumer must come to the end of every partition.
    consumers.iter().for_each(|(_, _, _, wanders)| wanders.set(false));
    let read = read_all(&history).await;
    let caught_up = async {
        for (index, progress, stop, _) in &consumers {
            let topic = history.borrow().plan.consumers[*index].topic;
            let behind = || {
                let progress = progress.borrow();
                read.iter().any(|((t, p), whole)| {
                    *t == topic && progress.get(p).is_none_or(|at| *at < whole.high_watermark)
                })
            };
            while behind() {
                sleep(Duration::from_millis(20)).await;
            }
            stop.set(true);
        }
        consuming.all().await;
    };
    assert!(
        timeout(PROGRESS_LIMIT, caught_up).await.is_some(),
        "a consumer does not come to the end: {:?} of {:?}",
        consumers.iter().map(|c| c.1.borrow().clone()).collect::<Vec<_>>(),
        read.iter().map(|(k, whole)| (*k, whole.high_watermark)).collect::<Vec<_>>()
    );
    check(&history, &read);

    // What is read once more after the last restart is what was read before it.
    let cut = history.borrow().plan.seed.is_multiple_of(2);
    if cut {
        broker.power_cut();
        broker.start();
    } else {
        broker.kill_and_restart();
    }
    let again = read_all(&history).await;
    check(&history, &again);
    for ((topic, partition), before) in &read {
        let durable = history.borrow().plan.topics[*topic].durable;
        if durable || !cut {
            let after = &again.iter().find(|(k, _)| k == &(*topic, *partition)).unwrap().1;
            assert!(before.bytes == after.bytes, "partition {partition} of topic {topic} changed");
        }
    }
    let h = history.borrow();
    (h.lanes.iter().map(Vec::len).sum(), h.batches_served)
}

pub async fn create_topics(history: &Rc<RefCell<History>>) {
    let mut client = Client::new("admin".to_string());
    let count = history.borrow().plan.topics.len();
    for index in 0..count {
        let (name, partitions, configs) = {
            let h = history.borrow();
            let t = &h.plan.topics[index];
            (t.name, t.partitions, t.configs.clone())
        };
        let configs: Vec<(&str, &str)> = configs.iter().map(|(k, v)| (*k, v.as_str())).collect();
        create_at_last(&mut client, name, partitions, &configs).await;
    }
}

pub type Read = Vec<((usize, i32), WholePartition)>;

pub async fn read_all(history: &Rc<RefCell<History>>) -> Read {
    let mut client = Client::new("reader".to_string());
    let partitions: Vec<(usize, i32, &'static str)> = {
        let h = history.borrow();
        h.partitions.keys().map(|(t, p)| (*t, *p, h.plan.topics[*t].name)).collect()
    };
    let mut read = Vec::new();
    let all = async {
        for (topic, partition, name) in partitions {
            let whole = read_at_last(&mut client, name, partition).await;
            read.push(((topic, partition), whole));
        }
    };
    assert!(timeout(PROGRESS_LIMIT, all).await.is_some(), "the partitions can't be read");
    read
}

pub fn check(history: &Rc<RefCell<History>>, read: &Read) {
    for ((topic, partition), whole) in read {
        assert_eq!(whole.log_start, 0, "nothing was deleted from partition {partition}");
        history.borrow_mut().served((*topic, *partition), 0, whole.high_watermark, &whole.bytes);
        history.borrow().check_partition(*topic, *partition, whole.high_watermark, &whole.bytes);
    }
}
