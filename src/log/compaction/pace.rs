//! The cleaner's own budget on its shard: bytes a second of reading and writing
//! (log.cleaner.io.max.bytes.per.second), and at most half of the core. It rests by sleeping, not by
//! yielding: only a queue that drains lets the executor look at the sockets (glommio rule 2).
//! Invariant: nobody who stops waits for more than one rest.

use std::cell::Cell;
use std::time::Duration;

use crate::runtime::{self, Instant, sleep};

/// Work at a stretch before as long a rest.
const SLICE: Duration = Duration::from_micros(200);
const REST_MAX: Duration = Duration::from_millis(5);
/// A long wait for the byte budget is cut into these, to look whether to stop.
const NAP: Duration = Duration::from_millis(50);
/// What an idle time saves up for.
const BURST: Duration = Duration::from_millis(100);

/// The run has to end: the topic goes, the policy changed, or the broker stops.
#[derive(Debug)]
pub(super) struct Stopped;

/// Of one shard, whatever it cleans.
pub struct Pace {
    bytes_per_second: Cell<f64>,
    /// When what was read and written so far is paid for.
    paid_at: Cell<Instant>,
    working_since: Cell<Instant>,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            bytes_per_second: Cell::new(f64::MAX),
            paid_at: Cell::new(Instant(0)),
            working_since: Cell::new(Instant(0)),
        }
    }
}

impl Pace {
    pub fn set_bytes_per_second(&self, rate: f64) {
        self.bytes_per_second.set(rate.max(1.0));
    }

    /// After a read or a write of `bytes`.
    pub(super) async fn moved(
        &self,
        bytes: u64,
        must_stop: &dyn Fn() -> bool,
    ) -> Result<(), Stopped> {
        let cost = Duration::try_from_secs_f64(bytes as f64 / self.bytes_per_second.get())
            .unwrap_or(Duration::MAX);
        let now = runtime::now();
        let from = Instant(now.0.saturating_sub(BURST.as_nanos() as u64)).max(self.paid_at.get());
        self.paid_at.set(from + cost);
        loop {
            if must_stop() {
                return Err(Stopped);
            }
            let wait = self.paid_at.get().saturating_since(runtime::now());
            if wait.is_zero() {
                break;
            }
            sleep(wait.min(NAP)).await;
        }
        self.working_since.set(runtime::now());
        Ok(())
    }

    /// After a batch.
    pub(super) async fn worked(&self) {
        let worked = runtime::now().saturating_since(self.working_since.get());
        if worked > SLICE {
            sleep(worked.min(REST_MAX)).await;
            self.working_since.set(runtime::now());
        }
    }
}
