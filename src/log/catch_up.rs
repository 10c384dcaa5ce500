//! When a catch-up read may begin: at once while no shard writes, else within what every shard that
//! writes allows (`give_way`). The shards share a device and not their state: each tells the others when it
//! wrote, when and how much it read and what it allows in counters of its own, which they read.
//! One a shard; its flusher tells it of writes. Invariant: a read waits for a bounded time, for there is a least rate.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use super::give_way::{GiveWay, WINDOW};
use crate::metrics::{Held, ShardCounters};
use crate::runtime::{Instant, now, sleep_until};

/// A shard without an append for so long is free for readers.
const IN_USE_FOR: Duration = Duration::from_millis(100);

/// Beside writes all shards' catch-up reads rest for the first part of each such period, by the one clock that all
/// have: what writes take then is what is usual.
const REST_EVERY: Duration = Duration::from_secs(3);
const REST_FOR: Duration = Duration::from_millis(100);

/// A write that began so long after the last read met nothing of it.
const QUIET_AFTER: Duration = Duration::from_millis(20);

/// Who waits looks again after this long: the writes may be over.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What was not read in time is made up for, up to so much of it.
const LATE_MAX: Duration = Duration::from_millis(5);

pub struct CatchUp {
    shard: usize,
    counters: Vec<Arc<ShardCounters>>,
    give_way: RefCell<GiveWay>,
    /// The next read's time.
    next: Cell<Instant>,
    window: RefCell<Window>,
}

/// Bytes that each shard had read, and received, when the window began.
struct Window {
    began: Instant,
    read: Vec<u64>,
    came: Vec<u64>,
}

/// A catch-up read at the device.
pub(super) struct Reading<'a> {
    counters: &'a ShardCounters,
    bytes: usize,
    /// A shard writes now.
    pub(super) beside_writes: bool,
    _under_way: Held<'a>,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.counters.catch_up_bytes.add(self.bytes as u64);
        self.counters.catch_up_at_ns.set(now().0);
    }
}

impl CatchUp {
    /// `counters` are all shards'.
    pub fn new(shard: usize, counters: Vec<Arc<ShardCounters>>, bytes_per_s_min: u64) -> CatchUp {
        let (read, came) = (vec![0; counters.len()], vec![0; counters.len()]);
        CatchUp {
            shard,
            counters,
            give_way: RefCell::new(GiveWay::new(bytes_per_s_min)),
            next: Cell::default(),
            window: RefCell::new(Window { began: Instant::default(), read, came }),
        }
    }

    fn own(&self) -> &ShardCounters {
        &self.counters[self.shard]
    }

    /// Something is to be written.
    pub fn appended(&self) {
        self.own().appended_at_ns.set(now().0);
    }

    /// What began then is written, and synced if it was to be.
    pub fn flushed(&self, began: Instant) {
        let now = now();
        self.own().appended_at_ns.set(now.0);
        let took = now.saturating_since(began);
        let mut give_way = self.give_way.borrow_mut();
        let mut window = self.window.borrow_mut();
        if self.was_quiet_since(began) {
            give_way.wrote_in_quiet(took);
        } else {
            give_way.wrote_beside_reads(now, took);
        }
        let passed = now.saturating_since(window.began);
        if passed >= WINDOW {
            let window = &mut *window;
            let most = |before: &mut [u64], now: &dyn Fn(&ShardCounters) -> u64| {
                let passed_since = |(before, counters): (&mut u64, &Arc<ShardCounters>)| {
                    let now = now(counters);
                    now - std::mem::replace(before, now)
                };
                let most = before.iter_mut().zip(&self.counters).map(passed_since).max();
                (u128::from(most.unwrap_or(0)) * 1_000_000_000 / passed.as_nanos()) as u64
            };
            let reads = most(&mut window.read, &|c| c.catch_up_bytes.get());
            let writes = most(&mut window.came, &|c| c.bytes_in.get());
            window.began = now;
            give_way.window_ended(now, reads, writes);
        }
        self.own().catch_up_limit.set(give_way.limit().unwrap_or(0));
    }

    /// The least that a shard that writes allows; `None`: nobody writes.
    fn limit(&self, now: Instant) -> Option<u64> {
        let in_use = |c: &&Arc<ShardCounters>| {
            let at = c.appended_at_ns.get();
            at > 0 && now.saturating_since(Instant(at)) < IN_USE_FOR
        };
        let limit = |c: &Arc<ShardCounters>| match c.catch_up_limit.get() {
            0 => u64::MAX,
            limit => limit,
        };
        self.counters.iter().filter(in_use).map(limit).min()
    }

    /// Whether no shard has read since then, and for a moment before.
    fn was_quiet_since(&self, began: Instant) -> bool {
        self.counters.iter().all(|c| {
            let last = Instant(c.catch_up_at_ns.get());
            c.catch_up_reads.get() == 0 && (last.0 == 0 || began > last + QUIET_AFTER)
        })
    }

    /// Waits for its time.
    pub(super) async fn begin(&self, bytes: usize) -> Reading<'_> {
        let beside_writes = loop {
            let now = now();
            let Some(limit) = self.limit(now) else { break false };
            let rested = Duration::from_nanos(now.0 % REST_EVERY.as_nanos() as u64);
            let next = match rested < REST_FOR {
                true => now + (REST_FOR - rested),
                false => self.next.get(),
            };
            if next <= now {
                let takes = bytes as u128 * 1_000_000_000 / limit as u128;
                let from = next.0.max(now.0.saturating_sub(LATE_MAX.as_nanos() as u64));
                self.next.set(Instant(from) + Duration::from_nanos(takes as u64));
                break true;
            }
            sleep_until(next.min(now + LOOK_AGAIN)).await;
        };
        let counters = self.own();
        counters.catch_up_at_ns.set(now().0);
        Reading { counters, bytes, beside_writes, _under_way: counters.catch_up_reads.hold() }
    }
}
