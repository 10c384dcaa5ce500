//! Monotonic and wall time, sleeping, timeouts; virtual in the simulator.

use std::future::Future;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use futures::future::{Either, select};

use super::sim;

/// Nanoseconds of the executor's monotonic clock (since an arbitrary start; virtual in `sim`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    pub fn saturating_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, d: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

pub fn now() -> Instant {
    if sim::active() {
        return sim::now();
    }
    static START: OnceLock<std::time::Instant> = OnceLock::new();
    Instant(START.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64)
}

/// Milliseconds since the Unix epoch (virtual in `sim`).
pub fn wall_clock_ms() -> i64 {
    if sim::active() {
        return sim::wall_clock_ms();
    }
    // A clock before 1970 is 1970.
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

pub async fn sleep(d: Duration) {
    if sim::active() {
        sim::sleep_until(sim::now() + d).await;
    } else {
        glommio_sleep(d).await;
    }
}

async fn glommio_sleep(d: Duration) {
    super::real::executor::sleep(d).await;
}

pub async fn sleep_until(t: Instant) {
    sleep(t.saturating_since(now())).await;
}

/// `None` when `d` passed first (the future is dropped: never wrap accept, open or a write).
pub async fn timeout<F: Future>(d: Duration, f: F) -> Option<F::Output> {
    let f = std::pin::pin!(f);
    let timer = std::pin::pin!(sleep(d));
    match select(f, timer).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}
