//! The deadlines of one `Groups`, on the monotonic clock. A deadline that moves later costs no heap operation: its entry
//! stays where it is and is put back when its turn comes, so a heartbeat is one look-up.
//! `next_ms` may therefore be early: a tick that finds nothing due is harmless.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;

#[derive(Debug)]
pub struct Timers<K> {
    deadlines: HashMap<K, Entry>,
    heap: BinaryHeap<Reverse<(i64, u64)>>,
    keys: HashMap<u64, K>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Entry {
    at_ms: i64,
    queued_ms: i64,
    ticket: u64,
}

impl<K> Default for Timers<K> {
    fn default() -> Timers<K> {
        Timers {
            deadlines: HashMap::new(),
            heap: BinaryHeap::new(),
            keys: HashMap::new(),
            next_ticket: 0,
        }
    }
}

impl<K: Hash + Eq + Clone> Timers<K> {
    /// Sets or moves the deadline of `key`.
    pub fn arm(&mut self, key: &K, at_ms: i64) {
        if let Some(entry) = self.deadlines.get_mut(key) {
            entry.at_ms = at_ms;
            if entry.queued_ms <= at_ms {
                return;
            }
            self.keys.remove(&entry.ticket);
            self.deadlines.remove(key);
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.deadlines.insert(key.clone(), Entry { at_ms, queued_ms: at_ms, ticket });
        self.keys.insert(ticket, key.clone());
        self.heap.push(Reverse((at_ms, ticket)));
        // What was cancelled or moved up is still in the heap until its time: members that come and go must not fill it.
        if self.heap.len() > 64 + 4 * self.keys.len() {
            self.heap.retain(|Reverse((_, ticket))| self.keys.contains_key(ticket));
        }
    }

    pub fn cancel(&mut self, key: &K) -> bool {
        let Some(entry) = self.deadlines.remove(key) else { return false };
        self.keys.remove(&entry.ticket);
        true
    }

    pub fn deadline_ms(&self, key: &K) -> Option<i64> {
        self.deadlines.get(key).map(|entry| entry.at_ms)
    }

    /// Takes one deadline that has come.
    pub fn pop_due(&mut self, now_ms: i64) -> Option<K> {
        while let Some(&Reverse((queued_ms, ticket))) = self.heap.peek() {
            if queued_ms > now_ms {
                return None;
            }
            self.heap.pop();
            let Some(key) = self.keys.get(&ticket) else { continue };
            let entry = self.deadlines.get_mut(key).expect("a key has a deadline");
            if entry.at_ms > now_ms {
                entry.queued_ms = entry.at_ms;
                self.heap.push(Reverse((entry.at_ms, ticket)));
                continue;
            }
            let key = self.keys.remove(&ticket).expect("it was there");
            self.deadlines.remove(&key);
            return Some(key);
        }
        None
    }

    pub fn next_ms(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse((at_ms, _))| *at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_moves_both_ways_and_comes_once() {
        let mut timers = Timers::default();
        timers.arm(&"a", 10);
        timers.arm(&"b", 20);
        timers.arm(&"a", 30);
        assert_eq!(timers.pop_due(15), None);
        assert_eq!(timers.next_ms(), Some(20));
        timers.arm(&"a", 12);
        assert_eq!(timers.pop_due(15), Some("a"));
        assert_eq!(timers.pop_due(15), None);
        assert_eq!(timers.pop_due(40), Some("b"));
        assert_eq!(timers.pop_due(40), None);
        assert_eq!(timers.next_ms(), None);
    }

    #[test]
    fn what_is_cancelled_never_comes() {
        let mut timers = Timers::default();
        timers.arm(&"a", 10);
        assert!(timers.cancel(&"a"));
        assert!(!timers.cancel(&"a"));
        timers.arm(&"a", 50);
        assert_eq!(timers.pop_due(40), None);
        assert_eq!(timers.deadline_ms(&"a"), Some(50));
        assert_eq!(timers.pop_due(50), Some("a"));
    }

    #[test]
    fn what_comes_and_goes_leaves_nothing_behind() {
        let mut timers = Timers::default();
        for key in 0..10_000 {
            timers.arm(&key, 1_000_000 + key);
            timers.cancel(&key);
        }
        assert!(timers.heap.len() <= 65);
    }
}
