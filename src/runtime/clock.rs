//! Monotonic and wall time, sleeping, timeouts; virtual in the simulator.

use std::future::Future;
use std::time::Duration;

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
        Instant(self.0.saturating_add(d.as_nanos() as u64))
    }
}

pub fn now() -> Instant {
    todo!()
}

/// Milliseconds since the Unix epoch (virtual in `sim`).
pub fn wall_clock_ms() -> i64 {
    todo!()
}

pub async fn sleep(_d: Duration) {
    todo!()
}

pub async fn sleep_until(_t: Instant) {
    todo!()
}

/// `None` when `d` passed first (the future is dropped: never wrap accept, open or a write).
pub async fn timeout<F: Future>(_d: Duration, _f: F) -> Option<F::Output> {
    todo!()
}
