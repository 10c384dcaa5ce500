//! The load generator against the built broker and against what is no broker, through the library: what
//! it reads, what it says when something is wrong. Figures are not asserted, only what must add up.

#[path = "../common/mod.rs"]
mod common;

mod bad_input;
mod groups;
mod proxy;
mod reading;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use spindle::loadgen::{self, Report, SizeLaw, Surroundings, Tick, Workload};

/// A second of two producers and two consumers at 2,000 records a second.
fn workload(bootstrap: String) -> Workload {
    Workload {
        bootstrap,
        broker_name: "broker".to_string(),
        topic: common::unique("load"),
        producers: 2,
        consumers: 2,
        sizes: SizeLaw::Fixed(200),
        rate: 2000.0,
        request_timeout: Duration::from_secs(20),
        drain_timeout: Duration::from_secs(5),
        ..Workload::default()
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
        broker_shard_times: None,
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
