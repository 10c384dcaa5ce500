//! The same small request for many groups, again and again: as fast as the broker answers with a bounded number in
//! flight, or so many a second. Counts, times, and reads the broker's CPU at both ends of the measured part.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use hdrhistogram::Histogram;

use super::report::Load;
use super::wire::Template;
use crate::client::{Connection, error_name};
use crate::loadgen::machine::process_cpu_seconds;
use crate::loadgen::stats::latency_histogram;
use crate::runtime::{Instant, Notify, now, sleep_until};

/// Requests of one paced wake-up leave together.
const PACE: Duration = Duration::from_millis(1);
/// Paced requests without an answer: beyond it the broker is behind, and the rate is what it answers.
const PACED_IN_FLIGHT_MAX: usize = 20_000;

/// One connection and the requests that go over it, in turn.
pub struct Lane {
    pub connection: Connection,
    pub requests: Vec<Template>,
}

#[derive(Clone, Copy)]
pub enum Pace {
    /// So many on each connection, always.
    InFlight(usize),
    PerSecond(f64),
}

pub struct Plan<'a> {
    pub name: &'a str,
    pub pace: Pace,
    pub warmup: Duration,
    pub duration: Duration,
    pub broker_pid: Option<u32>,
    /// Where in the answer the error code is.
    pub code: fn(&Bytes) -> Option<i16>,
}

struct Running {
    lanes: Vec<Lane>,
    next: Vec<Cell<usize>>,
    again: bool,
    code: fn(&Bytes) -> Option<i16>,
    from: Instant,
    until: Instant,
    in_flight: Cell<usize>,
    ended: Notify,
    answers: Cell<u64>,
    latencies: RefCell<Histogram<u64>>,
    errors: RefCell<BTreeMap<String, u64>>,
    broken: RefCell<Option<String>>,
}

impl Running {
    fn fire(self: &Rc<Self>, lane: usize) {
        let at = self.next[lane].get();
        let requests = &self.lanes[lane].requests;
        self.next[lane].set((at + 1) % requests.len());
        self.in_flight.set(self.in_flight.get() + 1);
        let (sent, this) = (now(), self.clone());
        requests[at].send(&self.lanes[lane].connection, move |answer| {
            this.answered(lane, sent, answer);
        });
    }

    fn answered(self: &Rc<Self>, lane: usize, sent: Instant, answer: Result<Bytes, String>) {
        self.in_flight.set(self.in_flight.get() - 1);
        let at = now();
        let measured = at >= self.from && at < self.until;
        match answer {
            Ok(body) => {
                if measured {
                    self.answers.set(self.answers.get() + 1);
                    let nanos = at.saturating_since(sent).as_nanos() as u64;
                    self.latencies.borrow_mut().saturating_record(nanos);
                }
                let code = (self.code)(&body);
                if code != Some(0) {
                    let name = code.map_or("a malformed answer".to_string(), error_name);
                    *self.errors.borrow_mut().entry(name).or_default() += 1;
                }
            }
            Err(why) => {
                self.broken.borrow_mut().get_or_insert(why);
                return self.ended.notify_waiters();
            }
        }
        if at >= self.until {
            if self.in_flight.get() == 0 {
                self.ended.notify_waiters();
            }
        } else if self.again {
            self.fire(lane);
        }
    }

    async fn pace(self: &Rc<Self>, per_second: f64) {
        let (begun, mut sent, mut lane) = (now(), 0u64, 0);
        let mut at = begun;
        while at < self.until && self.broken.borrow().is_none() {
            let due = at.saturating_since(begun).as_secs_f64() * per_second;
            while (sent as f64) < due {
                sent += 1;
                if self.in_flight.get() < PACED_IN_FLIGHT_MAX {
                    self.fire(lane);
                }
                lane = (lane + 1) % self.lanes.len();
            }
            sleep_until(at + PACE).await;
            at = now();
        }
    }

    async fn is_over(&self) {
        while self.in_flight.get() > 0 && self.broken.borrow().is_none() {
            self.ended.notified().await;
        }
    }
}

/// `Err`: a connection broke, or answers said so. Gives the lanes back.
pub async fn run(plan: Plan<'_>, lanes: Vec<Lane>) -> Result<(Load, Vec<Lane>), String> {
    let lanes: Vec<Lane> = lanes.into_iter().filter(|lane| !lane.requests.is_empty()).collect();
    let begun = now();
    let from = begun + plan.warmup;
    let until = from + plan.duration;
    let running = Rc::new(Running {
        next: lanes.iter().map(|_| Cell::new(0)).collect(),
        lanes,
        again: matches!(plan.pace, Pace::InFlight(_)),
        code: plan.code,
        from,
        until,
        in_flight: Cell::new(0),
        ended: Notify::new(),
        answers: Cell::new(0),
        latencies: RefCell::new(latency_histogram()),
        errors: RefCell::default(),
        broken: RefCell::default(),
    });
    let cpu = || plan.broker_pid.and_then(process_cpu_seconds);
    let own = || process_cpu_seconds(std::process::id()).unwrap_or(0.0);
    let at_edges = async {
        sleep_until(from).await;
        let before = (cpu(), own());
        sleep_until(until).await;
        let used = cpu().zip(before.0).map(|(after, before)| after - before);
        (used, own() - before.1)
    };
    let driven = async {
        match plan.pace {
            Pace::PerSecond(rate) => running.pace(rate).await,
            Pace::InFlight(each) => {
                for _ in 0..each {
                    (0..running.lanes.len()).for_each(|lane| running.fire(lane));
                }
            }
        }
    };
    let ((broker_cpu_s, driver_cpu_s), ()) = futures::future::join(at_edges, driven).await;
    running.is_over().await;
    if let Some(why) = running.broken.take() {
        return Err(format!("{}: {why}", plan.name));
    }
    let latencies = running.latencies.borrow();
    let quantile = |q: f64| latencies.value_at_quantile(q) as f64 / 1e6;
    let (answers, seconds) = (running.answers.get(), plan.duration.as_secs_f64());
    let load = Load {
        name: plan.name.to_string(),
        connections: running.lanes.len(),
        in_flight: match plan.pace {
            Pace::InFlight(each) => Some(each * running.lanes.len()),
            Pace::PerSecond(_) => None,
        },
        seconds,
        requests: answers,
        per_second: answers as f64 / seconds,
        broker_cpu_us: broker_cpu_s.map(|s| 1e6 * s / answers.max(1) as f64),
        broker_cpus: broker_cpu_s.map(|s| s / seconds),
        driver_cpu_us: 1e6 * driver_cpu_s / answers.max(1) as f64,
        p50_ms: quantile(0.5),
        p99_ms: quantile(0.99),
        max_ms: latencies.max() as f64 / 1e6,
        errors: running.errors.take(),
    };
    drop(latencies);
    // The requests' callbacks are all done: nobody else holds it.
    let lanes = Rc::into_inner(running).map(|r| r.lanes).ok_or("answers are still to come")?;
    Ok((load, lanes))
}

/// Of Heartbeat and ConsumerGroupHeartbeat: after the throttle time.
pub fn code_of_heartbeat(body: &Bytes) -> Option<i16> {
    Some(body.get(4..6)?.get_i16())
}

/// Of OffsetCommit in flexible versions, of the one partition that was asked for: throttle time, one topic and its
/// name, one partition and its index.
pub fn code_of_commit(body: &Bytes) -> Option<i16> {
    let name_bytes = usize::from(*body.get(5)?).checked_sub(1)?;
    let at = 4 + 1 + 1 + name_bytes + 1 + 4;
    Some(body.get(at..at + 2)?.get_i16())
}
