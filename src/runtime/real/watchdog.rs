//! One OS thread that wakes every executor that is with glommio, each 5 ms.
//! Why: when glommio's thread was descheduled for longer than the preempt timer between arming it
//! and running its queues, it parks with runnable tasks and sleeps until something outside wakes
//! it. Timers of the executor itself do not unstick it; a wake from another thread does.
//! An executor is with glommio only while a file is opened, closed or allocated (`engine`): the
//! thread sleeps until there is one. Invariant: the wake never depends on the executor having
//! handled the one before it (a bounded channel would be full exactly when the executor is stuck).

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use glommio::timer::Timer;

use super::super::machine;

const WAKE_EVERY: Duration = Duration::from_millis(5);

/// Each unanswered wake holds one reference of glommio's i16 waker count (#391): after so many
/// (5 s of an executor that does not come round), wakes get rare.
const WAKES_MAX: u32 = 1000;

/// Longer than it takes to arm a timer.
const SOON: Duration = Duration::from_micros(1);

/// Those that are with glommio now.
#[derive(Default)]
struct Watched {
    executors: Mutex<Vec<Arc<Mutex<Turn>>>>,
    some: Condvar,
}

struct Turn {
    waker: Waker,
    wakes: u32,
}

static WATCHED: OnceLock<Arc<Watched>> = OnceLock::new();

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watched() -> &'static Watched {
    WATCHED.get_or_init(|| {
        let watched: Arc<Watched> = Arc::default();
        let of_thread = watched.clone();
        std::thread::Builder::new()
            .name("spindle-watchdog".into())
            .spawn(move || of_thread.watch())
            .expect("cannot start the watchdog thread");
        watched
    })
}

impl Watched {
    fn watch(&self) {
        machine::use_process_cpus();
        let mut tick = 0u32;
        loop {
            let mut executors = locked(&self.executors);
            while executors.is_empty() {
                executors = self.some.wait(executors).unwrap_or_else(PoisonError::into_inner);
            }
            drop(executors);
            std::thread::sleep(WAKE_EVERY);
            tick = tick.wrapping_add(1);
            let stuck = locked(&self.executors).clone();
            for turn in stuck {
                locked(&turn).wake(tick);
            }
        }
    }
}

impl Turn {
    fn wake(&mut self, tick: u32) {
        self.wakes = self.wakes.saturating_add(1);
        if self.wakes <= WAKES_MAX || tick.is_multiple_of(100) {
            self.waker.wake_by_ref();
        }
    }
}

struct Registration(Option<Arc<Mutex<Turn>>>);

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(mine) = &self.0 {
            locked(&watched().executors).retain(|other| !Arc::ptr_eq(other, mine));
        }
    }
}

/// Gives the thread to glommio until its rings have been looked at.
pub async fn glommio_turn() {
    let mut registration = Registration(None);
    let mut timer: Option<Timer> = None;
    poll_fn(|cx| {
        if registration.0.is_some() {
            // Glommio had nothing to run but its rings before it came back.
            return Poll::Ready(());
        }
        let turn = Arc::new(Mutex::new(Turn { waker: cx.waker().clone(), wakes: 0 }));
        let watched = watched();
        locked(&watched.executors).push(turn.clone());
        watched.some.notify_one();
        registration.0 = Some(turn);
        // A task that wakes itself is run again before the rings are looked at, and a timer that
        // has fired when it is polled is no wait at all.
        let mut after = SOON;
        loop {
            let next = timer.insert(Timer::new(after));
            if pin!(next).poll(cx).is_pending() {
                return Poll::Pending;
            }
            after *= 2;
        }
    })
    .await;
}
