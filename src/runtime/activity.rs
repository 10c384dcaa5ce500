//! Where a shard's time goes: the thread's current activity, changed by scopes. A nested scope takes the time
//! away from the one around it. Two reads of the processor's time stamp counter and some additions a scope
//! (29 ns on a
//! virtual EPYC, some six in a request); nothing is shared but the counters that it ends up in. A thread keeps time from
//! `keep_time` on: the simulator's never does, its time is virtual and many shards share a thread.
//! Not here: what the figures mean (`loadgen/report`).

use std::cell::{Cell, OnceCell};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::real::clock::ticks;
use super::sim;
pub use crate::metrics::Activity;
use crate::metrics::ShardCounters;

struct Clock {
    kept_in: OnceCell<Arc<ShardCounters>>,
    current: Cell<Activity>,
    since: Cell<u64>,
}

thread_local! {
    static CLOCK: Clock = const {
        Clock {
            kept_in: OnceCell::new(),
            current: Cell::new(Activity::Between),
            since: Cell::new(0),
        }
    };
}

/// From now on this thread's time goes into `counters` (the first call counts).
pub fn keep_time(counters: Arc<ShardCounters>) {
    if !sim::active() {
        CLOCK.with(|clock| {
            clock.since.set(ticks());
            let _ = clock.kept_in.set(counters);
        });
    }
}

/// What passed since the last change is the current activity's. Returns that one.
fn change(to: Activity) -> Activity {
    CLOCK.with(|clock| {
        let from = clock.current.replace(to);
        if let Some(counters) = clock.kept_in.get() {
            let now = ticks();
            // Another CPU's counter may be behind where they are not one clock.
            counters.activity.add(from, now.saturating_sub(clock.since.replace(now)));
        }
        from
    })
}

/// The thread does something else until it is dropped. Never held across an await: see `charged`.
pub struct Scope {
    before: Activity,
    of_this_thread: PhantomData<*const ()>,
}

pub fn scope(activity: Activity) -> Scope {
    Scope { before: change(activity), of_this_thread: PhantomData }
}

impl Drop for Scope {
    fn drop(&mut self) {
        change(self.before);
    }
}

/// Each poll of the future is `activity`.
pub fn charged<F: Future>(activity: Activity, future: F) -> Charged<F> {
    Charged { activity, future }
}

pub struct Charged<F> {
    activity: Activity,
    future: F,
}

impl<F: Future> Future for Charged<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _scope = scope(self.activity);
        // SAFETY: the future is never moved out, and there is no Drop that could.
        let future = unsafe { self.map_unchecked_mut(|charged| &mut charged.future) };
        future.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::runtime::executor::{ExecutorSpec, block_on};
    use crate::runtime::yield_now;

    fn work() {
        let end = Instant::now() + Duration::from_millis(5);
        while Instant::now() < end {}
    }

    #[test]
    fn time_is_charged_to_the_innermost_scope_and_none_is_lost() {
        let counters: Arc<ShardCounters> = Arc::default();
        let kept = counters.clone();
        let spec = ExecutorSpec::unpinned("activity-test");
        let (least, most) = block_on(spec, move || async move {
            let before = ticks();
            keep_time(kept);
            let begin = ticks();
            let end = charged(Activity::Network, async {
                work();
                {
                    let _append = scope(Activity::Append);
                    work();
                }
                // The other task's turn is not ours.
                crate::runtime::spawn(charged(Activity::Disk, async { work() }));
                yield_now().await;
                work();
                ticks()
            })
            .await;
            (end - begin, ticks() - before)
        })
        .unwrap();
        let spent = counters.activity.get();
        let of = |activity: Activity| spent[activity as usize];
        assert!(of(Activity::Network) > of(Activity::Append), "{spent:?}");
        assert!(of(Activity::Append) > 0 && of(Activity::Disk) > 0, "{spent:?}");
        assert_eq!(of(Activity::Fetch), 0);
        let sum: u64 = spent.iter().sum();
        assert!((least..=most).contains(&sum), "{spent:?}: not {least} to {most}");
    }
}
