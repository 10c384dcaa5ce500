//! The load generator against the built broker and against what is no broker, through the library: what
//! it reads, what it says when something is wrong. Figures are not asserted, only what must add up.

#[path = "../common/mod.rs"]
mod common;

mod bad_input;
mod proxy;
mod reading;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use spindle::loadgen::{
    self, Acks, ArrivalLaw, KeyLaw, PayloadSource, Report, SizeLaw, Surroundings, Tick, Workload,
};
use spindle::types::Compression;

/// A second of two producers and two consumers at 2,000 records a second.
fn workload(bootstrap: String) -> Workload {
    Workload {
        bootstrap,
        broker_name: "broker".to_string(),
        topic: common::unique("load"),
        topics: 1,
        partitions: None,
        partitions_default: 4,
        replication_factor: -1,
        topic_configs: Vec::new(),
        keep_topic: false,
        producers: 2,
        consumers: 2,
        threads: 1,
        cpus: Vec::new(),
        sizes: SizeLaw::Fixed(200),
        keys: KeyLaw::None,
        key_bytes: 16,
        payload: PayloadSource::Entropy(6.0),
        headers: 0,
        header_bytes: 16,
        arrivals: ArrivalLaw::Fixed,
        rate: 2000.0,
        duration: Duration::from_secs(1),
        warmup: Duration::ZERO,
        phases: Vec::new(),
        records: None,
        find: None,
        replay_consumers: 0,
        replay_after: Duration::ZERO,
        prefill: 0,
        acks: Acks::All,
        compression: Compression::None,
        linger: Duration::from_millis(5),
        batch_bytes: 65_536,
        in_flight: 5,
        idempotence: false,
        seed: 1,
        request_timeout: Duration::from_secs(20),
        drain_timeout: Duration::from_secs(5),
        fetch_wait: Duration::from_millis(100),
        fetch_min_bytes: 1,
        fetch_partition_bytes: 1 << 20,
        fetch_bytes: 8 << 20,
    }
}

fn run(workload: Workload) -> Result<Report, String> {
    run_watched(workload, None, &mut |_| {})
}

fn run_watched(
    workload: Workload,
    broker_pid: Option<u32>,
    on_tick: &mut dyn FnMut(&Tick),
) -> Result<Report, String> {
    let around = Surroundings {
        broker: None,
        broker_pid,
        interrupted: Arc::new(AtomicBool::new(false)),
        command: "a test".to_string(),
        on_tick,
        on_ready: &mut |_| {},
    };
    loadgen::run(workload, around)
}

/// The report of a run that has nothing to complain about.
fn good(workload: Workload) -> Report {
    let report = run(workload).expect("a report");
    assert_eq!(report.problems(), [""; 0], "{}", report.text());
    report
}
