//! One OS thread that wakes every executor each 5 ms.
//! Why: when glommio's thread was descheduled for longer than the preempt timer between arming it
//! and running its queues, it parks with runnable tasks and sleeps until something outside wakes
//! it. Timers of the executor itself do not unstick it; a wake from another thread does.
//! Invariant: the wake never depends on the executor having handled the one before it (a bounded
//! channel would be full exactly when the executor is stuck).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::super::machine;

const WAKE_EVERY: Duration = Duration::from_millis(5);

/// Each unanswered wake holds one reference of glommio's i16 waker count (#391): after so many
/// (5 s of an executor that does not come round), wakes get rare.
const UNANSWERED_WAKES_MAX: u32 = 1000;

#[derive(Default)]
struct Watched {
    waker: Mutex<Option<Waker>>,
    unanswered: AtomicU32,
}

static WATCHED: OnceLock<Arc<Mutex<Vec<Arc<Watched>>>>> = OnceLock::new();

fn watched() -> &'static Arc<Mutex<Vec<Arc<Watched>>>> {
    WATCHED.get_or_init(|| {
        let list: Arc<Mutex<Vec<Arc<Watched>>>> = Arc::default();
        let of_thread = list.clone();
        std::thread::Builder::new()
            .name("spindle-watchdog".into())
            .spawn(move || {
                machine::use_process_cpus();
                let mut tick = 0u32;
                loop {
                    std::thread::sleep(WAKE_EVERY);
                    tick = tick.wrapping_add(1);
                    let all = of_thread.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    for one in all {
                        one.wake(tick);
                    }
                }
            })
            .expect("cannot start the watchdog thread");
        list
    })
}

impl Watched {
    fn wake(&self, tick: u32) {
        let unanswered = self.unanswered.fetch_add(1, Ordering::Relaxed);
        if unanswered > UNANSWERED_WAKES_MAX && !tick.is_multiple_of(100) {
            return;
        }
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = waker.as_ref() {
            waker.wake_by_ref();
        }
    }
}

struct Registration(Arc<Watched>);

impl Drop for Registration {
    fn drop(&mut self) {
        watched()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|other| !Arc::ptr_eq(other, &self.0));
        self.0.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// The task an executor runs for as long as it lives.
pub async fn be_woken() {
    let registration = Registration(Arc::default());
    watched().lock().unwrap_or_else(PoisonError::into_inner).push(registration.0.clone());
    std::future::poll_fn(|cx| {
        let me = &registration.0;
        let mut waker = me.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        me.unanswered.store(0, Ordering::Relaxed);
        Poll::<()>::Pending
    })
    .await;
}
