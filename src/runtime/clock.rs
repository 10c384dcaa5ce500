//! Monotonic and wall time, sleeping, timeouts; virtual in the simulator.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};

use super::{real, sim};

/// Nanoseconds of the executor's monotonic clock (since an arbitrary start; virtual in `sim`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    pub fn saturating_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, d: Duration) -> Instant {
        let nanos = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(nanos))
    }
}

pub fn now() -> Instant {
    if sim::active() { sim::now() } else { real::clock::now() }
}

/// Milliseconds since the Unix epoch (virtual in `sim`).
pub fn wall_clock_ms() -> i64 {
    if sim::active() { sim::wall_clock_ms() } else { real::clock::wall_clock_ms() }
}

pub async fn sleep(d: Duration) {
    sleep_until(now() + d).await
}

pub async fn sleep_until(t: Instant) {
    if sim::active() { sim::sleep_until(t).await } else { real::clock::sleep_until(t).await }
}

/// `None` when `d` passed first (the future is dropped: never wrap accept, open or a write).
pub async fn timeout<F: Future>(d: Duration, f: F) -> Option<F::Output> {
    match select(pin!(f), pin!(sleep(d))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(((), _)) => None,
    }
}
