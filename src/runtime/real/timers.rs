//! Timers of one executor, in memory only: the earliest one bounds how long the executor waits.
//! Arming and dropping one costs no system call, whatever becomes of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::task::{Context, Waker};

use super::super::clock::Instant;

#[derive(Default)]
pub struct Timers {
    armed: RefCell<BTreeMap<(Instant, u64), Waker>>,
    next: Cell<u64>,
}

impl Timers {
    pub fn earliest(&self) -> Option<Instant> {
        self.armed.borrow().first_key_value().map(|((at, _), _)| *at)
    }

    /// Wakes the task of `cx` at `at`; the key it is changed or dropped by.
    pub fn arm(&self, at: Instant, cx: &Context<'_>) -> u64 {
        let key = self.next.get();
        self.next.set(key + 1);
        self.armed.borrow_mut().insert((at, key), cx.waker().clone());
        key
    }

    /// Another task waits for it now, perhaps.
    pub fn update(&self, at: Instant, key: u64, cx: &Context<'_>) {
        if let Some(waker) = self.armed.borrow_mut().get_mut(&(at, key)) {
            waker.clone_from(cx.waker());
        }
    }

    pub fn drop_one(&self, at: Instant, key: u64) {
        // Dropped when the borrow has ended: a waker may be the last owner of its task's handle.
        let waker = self.armed.borrow_mut().remove(&(at, key));
        drop(waker);
    }

    pub fn wake_due(&self, now: Instant) {
        loop {
            let waker = {
                let mut armed = self.armed.borrow_mut();
                match armed.first_entry() {
                    Some(first) if first.key().0 <= now => first.remove(),
                    _ => return,
                }
            };
            waker.wake();
        }
    }
}
