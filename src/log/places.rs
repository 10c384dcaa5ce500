//! Logs of this thread that may be opening at a time, the others wait in line: each opens a directory
//! and a file or two, and a burst to many partitions after a start must not use up the descriptors.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

#[derive(Default)]
pub(super) struct Places {
    taken: Cell<usize>,
    line: RefCell<VecDeque<Rc<Waiter>>>,
}

#[derive(Default)]
struct Waiter {
    /// The place is this one's: whoever left gave it on.
    granted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Given on when dropped, also by who was granted one and went away.
pub(super) struct Place {
    places: Rc<Places>,
    waiter: Option<Rc<Waiter>>,
}

impl Places {
    pub fn take(self: &Rc<Self>, most: usize) -> impl Future<Output = Place> + use<> {
        let mut place = Place { places: self.clone(), waiter: None };
        if self.taken.get() < most {
            self.taken.set(self.taken.get() + 1);
        } else {
            let waiter = Rc::new(Waiter::default());
            self.line.borrow_mut().push_back(waiter.clone());
            place.waiter = Some(waiter);
        }
        async move {
            if let Some(waiter) = place.waiter.clone() {
                poll_fn(|cx| {
                    if waiter.granted.get() {
                        return Poll::Ready(());
                    }
                    *waiter.waker.borrow_mut() = Some(cx.waker().clone());
                    Poll::Pending
                })
                .await;
            }
            place
        }
    }

    fn give_on(&self) {
        let next = self.line.borrow_mut().pop_front();
        match next {
            Some(waiter) => {
                waiter.granted.set(true);
                let waker = waiter.waker.borrow_mut().take();
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            None => self.taken.set(self.taken.get() - 1),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        match &self.waiter {
            Some(waiter) if !waiter.granted.get() => {
                self.places.line.borrow_mut().retain(|w| !Rc::ptr_eq(w, waiter));
            }
            _ => self.places.give_on(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_place_is_given_on_in_order_and_past_those_who_left() {
        let places = Rc::new(Places::default());
        let first = places.take(1).now_or_never().unwrap();
        let second = places.take(1);
        let mut third = Box::pin(places.take(1));
        let mut fourth = Box::pin(places.take(1));
        assert!((&mut third).now_or_never().is_none());
        drop(second);
        drop(first);
        assert!((&mut fourth).now_or_never().is_none());
        // Granted, and gone before it knew.
        drop(third);
        let last = (&mut fourth).now_or_never().unwrap();
        assert!(places.take(1).now_or_never().is_none());
        drop(last);
        assert_eq!(places.taken.get(), 0);
    }
}
