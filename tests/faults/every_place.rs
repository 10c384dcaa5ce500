//! One fault at every place of a short fixed workload: see the head of `simulator_faults.rs`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use spindle::runtime::sim::{self, Knobs, Simulation};
use spindle::runtime::{sleep, spawn};
use spindle::types::Compression;

use crate::broker::Broker;
use crate::consumer::Consumer;
use crate::history::History;
use crate::plan::{ConsumerPlan, LanePlan, Plan, TopicPlan};
use crate::producer::Lane;
use crate::scenario::{Running, check, create_topics, read_all};

/// The simulator's state is of one thread, so runs go side by side.
const THREADS: usize = 2;
/// How long the disk stays full.
const FULL_FOR: Duration = Duration::from_millis(400);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// While the k-th write or sync since the first start is under way, or right after it.
    PowerCut(u64),
    /// The k-th disk operation after the start fails with EIO.
    Eio(u64),
    /// From the k-th disk operation after the start on there is no room, for a while.
    Full(u64),
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Two shards, segments of a few batches, checkpoints all the time, every kind of producer.
fn plan(seed: u64) -> Plan {
    let durable = TopicPlan {
        name: "durable",
        partitions: 2,
        configs: vec![("segment.ms", "40".into()), ("index.interval.bytes", "0".into())],
        log_append_time: false,
        durable: true,
    };
    let mixed = TopicPlan {
        name: "mixed",
        partitions: 1,
        configs: vec![("segment.ms", "60".into())],
        log_append_time: false,
        durable: false,
    };
    let lane = |topic, partition, acks, idempotent, in_flight| LanePlan {
        topic,
        partition,
        acks,
        idempotent,
        retries: true,
        in_flight,
        codec: Compression::None,
        batches: 7,
        records: 1..4,
        value_bytes: 30..1500,
        think: ms(0)..ms(30),
        by_topic_id: true,
    };
    Plan {
        seed,
        overrides: [
            "listeners=PLAINTEXT://10.0.0.1:9092",
            "log.dirs=/data",
            "shard.count=2",
            "auto.create.topics.enable=false",
            "log.flush.offset.checkpoint.interval.ms=50",
            "log.retention.check.interval.ms=1000",
        ]
        .map(String::from)
        .to_vec(),
        topics: vec![durable, mixed],
        lanes: vec![
            lane(0, 0, -1, true, 3),
            lane(0, 1, -1, true, 1),
            lane(0, 1, -1, false, 1),
            lane(1, 0, 1, false, 1),
            lane(1, 0, -1, true, 2),
        ],
        consumers: vec![ConsumerPlan {
            topic: 0,
            session: true,
            by_topic_id: true,
            max_wait_ms: 20,
            min_bytes: 1,
            partition_bytes: 3_000,
        }],
        knobs: Knobs { time_limit: Duration::from_secs(300), ..Knobs::default() },
        faults: Vec::new(),
        side_topic: false,
    }
}

/// (operations, writes and syncs) of the run; counted from where the fault's are.
fn run(seed: u64, fault: Fault) -> (u64, u64) {
    let plan = plan(seed);
    let simulation = Simulation::new(seed);
    simulation.with_knobs(|k| *k = plan.knobs.clone());
    simulation.run(async move {
        let history = Rc::new(RefCell::new(History::new(plan)));
        let broker = Broker::new(&history);
        let over = Rc::new(Cell::new(false));
        if let Fault::PowerCut(k) = fault {
            sim::with_knobs(|knobs| knobs.disk.power_cut_at_write = Some(k));
            let (broker, history, over) = (broker.clone(), history.clone(), over.clone());
            broker.start();
            spawn(async move {
                broker.machine.ended().await;
                // Some seeds write less than the one that was counted.
                if !over.get() {
                    history.borrow_mut().power_cut();
                    broker.start();
                }
            });
        } else {
            broker.start();
        }
        create_topics(&history).await;
        let (ops_before, _) = sim::disk_ops();
        sim::with_knobs(|knobs| match fault {
            Fault::Eio(k) => knobs.disk.fail_at_op = Some(k),
            Fault::Full(k) => knobs.disk.full_at_op = Some(k),
            _ => {}
        });
        if matches!(fault, Fault::Full(_)) {
            spawn(async {
                while !sim::with_knobs(|k| k.disk.full) {
                    sleep(ms(5)).await;
                }
                sleep(FULL_FOR).await;
                sim::with_knobs(|k| k.disk.full = false);
            });
        }
        let lanes = Running::default();
        for index in 0..history.borrow().plan.lanes.len() {
            lanes.spawn(Lane::new(&history, index).run());
        }
        let consumer = Consumer::new(&history, 0);
        let stop = consumer.stop.clone();
        spawn(consumer.run());
        lanes.all_within_the_limit("producers").await;
        stop.set(true);
        let (ops, writes) = sim::disk_ops();
        broker.heal();
        over.set(true);
        assert!(broker.machine.is_up() || fault != Fault::None, "the broker ended");
        sim::cut_connections();
        sleep(ms(300)).await;

        let read = read_all(&history).await;
        check(&history, &read);
        // What was acknowledged is durable: also when the disk had failed before.
        broker.power_cut();
        broker.start();
        let again = read_all(&history).await;
        check(&history, &again);
        for (((topic, partition), before), (_, after)) in read.iter().zip(&again) {
            let durable = history.borrow().plan.topics[*topic].durable;
            assert!(!durable || before.bytes == after.bytes, "partition {partition} changed");
        }
        broker.clean_stop().await;
        broker.start();
        check(&history, &read_all(&history).await);
        (ops - ops_before, writes)
    })
}

fn run_all(cases: Vec<(u64, Fault)>) {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|threads| {
        for _ in 0..THREADS {
            threads.spawn(|| {
                while let Some((seed, fault)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if std::panic::catch_unwind(|| run(*seed, *fault)).is_err() {
                        failed.lock().unwrap().push((*seed, *fault));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} of {} runs failed: {failed:?} (seed, fault); replay one: SPINDLE_FAULT=power:K:SEED \
         (eio, full) cargo test --test simulator_faults -- one_fault --nocapture",
        failed.len(),
        cases.len()
    );
}

/// Every place once, with one of the seeds; with SPINDLE_FAULTS=all each place with each seed.
fn cases(places: u64, fault: impl Fn(u64) -> Fault) -> Vec<(u64, Fault)> {
    const SEEDS: u64 = 6;
    let all = std::env::var("SPINDLE_FAULTS").is_ok_and(|v| v == "all");
    let of = |k: u64| if all { 1..=SEEDS } else { 1 + k % SEEDS..=1 + k % SEEDS };
    (0..places).flat_map(|k| of(k).map(|seed| (seed, fault(k))).collect::<Vec<_>>()).collect()
}

#[test]
fn the_power_goes_at_every_write() {
    let (_, writes) = run(1, Fault::None);
    assert!(writes > 100, "{writes} writes and syncs");
    run_all(cases(writes, Fault::PowerCut));
}

#[test]
fn an_eio_at_every_disk_operation() {
    let (ops, _) = run(1, Fault::None);
    assert!(ops > 100, "{ops} operations");
    run_all(cases(ops, Fault::Eio));
}

#[test]
fn the_disk_is_full_from_every_disk_operation_on() {
    let (ops, _) = run(1, Fault::None);
    run_all(cases(ops, Fault::Full));
}

#[test]
fn one_fault() {
    let Ok(text) = std::env::var("SPINDLE_FAULT") else { return };
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).without_time().try_init();
    let words: Vec<&str> = text.split(':').collect();
    let number = |at: usize| words[at].parse::<u64>().expect("kind:place:seed");
    let fault = match words[0] {
        "power" => Fault::PowerCut(number(1)),
        "eio" => Fault::Eio(number(1)),
        "full" => Fault::Full(number(1)),
        "none" => Fault::None,
        other => panic!("{other}: power, eio, full or none"),
    };
    let started = std::time::Instant::now();
    println!("{:?} (operations, writes) in {:?}", run(number(2), fault), started.elapsed());
}
