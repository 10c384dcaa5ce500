//! CLOCK_MONOTONIC, the wall clock, and sleeping until a time of the former.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::clock::Instant;
use super::engine::{self, Engine};

pub fn now() -> Instant {
    let t = clock_time(libc::CLOCK_MONOTONIC).unwrap_or_default();
    Instant(t.as_nanos() as u64)
}

/// Time of any clock id; `None` when the clock is gone (a thread that ended).
pub fn clock_time(clock: libc::clockid_t) -> Option<Duration> {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` outlives the call.
    let result = unsafe { libc::clock_gettime(clock, &mut t) };
    (result == 0).then(|| Duration::new(t.tv_sec as u64, t.tv_nsec as u32))
}

pub fn wall_clock_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(d) => d.as_millis() as i64,
        Err(before) => -(before.duration().as_millis() as i64),
    }
}

/// Ends when `t` has come.
pub struct Sleep {
    at: Instant,
    armed: Option<(Rc<Engine>, u64)>,
}

pub fn sleep_until(at: Instant) -> Sleep {
    Sleep { at, armed: None }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if now() >= self.at {
            return Poll::Ready(());
        }
        match &self.armed {
            Some((engine, key)) => engine.timers.update(self.at, *key, cx),
            None => {
                let engine = engine::current();
                let key = engine.timers.arm(self.at, cx);
                self.armed = Some((engine, key));
            }
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some((engine, key)) = &self.armed {
            engine.timers.drop_one(self.at, *key);
        }
    }
}

/// A clock that costs next to nothing to read, in ticks of its own: the processor's where we know how to.
#[cfg(target_arch = "x86_64")]
pub fn ticks() -> u64 {
    // SAFETY: reads a counter that every x86-64 processor has.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
pub fn ticks() -> u64 {
    now().0
}
