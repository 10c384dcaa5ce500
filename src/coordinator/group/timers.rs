//! The deadlines of one `Groups`, on the monotonic clock. A deadline that moves later costs no heap operation: its entry
//! stays where it is and is put back when its turn comes; and whoever moves the same one again and again (a session, with
//! every heartbeat) keeps a `Place`, which spares the look-up too.
//! `next_ms` may therefore be early: a tick that finds nothing due is harmless.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};

use hashbrown::HashTable;

#[derive(Debug)]
pub struct Timers<K> {
    entries: Vec<Entry<K>>,
    free: Vec<u32>,
    /// Of the entries in use.
    by_key: HashTable<u32>,
    hasher: RandomState,
    /// When, its ticket, its entry. Between two of one time the one that was armed first comes first.
    heap: BinaryHeap<Reverse<(i64, u64, u32)>>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Entry<K> {
    /// `None`: free.
    key: Option<K>,
    at_ms: i64,
    queued_ms: i64,
    /// Never used twice, so that what the heap or a `Place` still says of another use is seen to be old.
    ticket: u64,
}

/// Where a deadline was when it was last moved: never wrong, at most old. So it says nothing of its owner, and any two
/// of them are equal.
#[derive(Clone, Default)]
pub struct Place(Cell<Option<(u32, u64)>>);

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

impl PartialEq for Place {
    fn eq(&self, _: &Place) -> bool {
        true
    }
}

impl Eq for Place {}

impl<K> Default for Timers<K> {
    fn default() -> Timers<K> {
        Timers {
            entries: Vec::new(),
            free: Vec::new(),
            by_key: HashTable::new(),
            hasher: RandomState::new(),
            heap: BinaryHeap::new(),
            next_ticket: 0,
        }
    }
}

impl<K: Hash + Eq + Clone> Timers<K> {
    /// Sets or moves the deadline of `key`.
    pub fn arm(&mut self, key: &K, at_ms: i64) {
        self.arm_found(key, at_ms);
    }

    /// The same, for who arms the same key again and again.
    pub fn arm_at(&mut self, place: &Place, at_ms: i64, key: impl FnOnce() -> K) {
        if let Some((at, ticket)) = place.0.get()
            && let Some(entry) = self.entries.get_mut(at as usize)
            && entry.ticket == ticket
            && entry.queued_ms <= at_ms
        {
            entry.at_ms = at_ms;
            return;
        }
        let at = self.arm_found(&key(), at_ms);
        place.0.set(Some((at, self.entries[at as usize].ticket)));
    }

    fn arm_found(&mut self, key: &K, at_ms: i64) -> u32 {
        let ticket = self.next_ticket;
        let new = |key| Entry { key, at_ms, queued_ms: at_ms, ticket };
        let at = match self.find(key) {
            Some(at) => {
                let entry = &mut self.entries[at as usize];
                entry.at_ms = at_ms;
                if entry.queued_ms <= at_ms {
                    return at;
                }
                (entry.queued_ms, entry.ticket) = (at_ms, ticket);
                at
            }
            None => {
                let new = new(Some(key.clone()));
                let at = match self.free.pop() {
                    Some(at) => {
                        self.entries[at as usize] = new;
                        at
                    }
                    None => {
                        self.entries.push(new);
                        self.entries.len() as u32 - 1
                    }
                };
                let Timers { entries, by_key, hasher, .. } = self;
                let hash = |at: &u32| hasher.hash_one(entries[*at as usize].key.as_ref());
                by_key.insert_unique(hash(&at), at, hash);
                at
            }
        };
        self.next_ticket += 1;
        self.heap.push(Reverse((at_ms, ticket, at)));
        // What was cancelled or moved up is still in the heap until its time: members that come and go must not fill it.
        if self.heap.len() > 64 + 4 * self.by_key.len() {
            let entries = &self.entries;
            self.heap.retain(|Reverse((_, ticket, at))| entries[*at as usize].ticket == *ticket);
        }
        at
    }

    fn find(&self, key: &K) -> Option<u32> {
        let same = |at: &u32| self.entries[*at as usize].key.as_ref() == Some(key);
        self.by_key.find(self.hasher.hash_one(Some(key)), same).copied()
    }

    fn free(&mut self, at: u32) -> Option<K> {
        let hash = self.hasher.hash_one(self.entries[at as usize].key.as_ref());
        let found = self.by_key.find_entry(hash, |other| *other == at);
        found.expect("an entry in use is in the table").remove();
        self.free.push(at);
        let entry = &mut self.entries[at as usize];
        entry.ticket = u64::MAX;
        entry.key.take()
    }

    pub fn cancel(&mut self, key: &K) -> bool {
        let Some(at) = self.find(key) else { return false };
        self.free(at);
        true
    }

    pub fn deadline_ms(&self, key: &K) -> Option<i64> {
        self.find(key).map(|at| self.entries[at as usize].at_ms)
    }

    /// Takes one deadline that has come.
    pub fn pop_due(&mut self, now_ms: i64) -> Option<K> {
        while let Some(&Reverse((queued_ms, ticket, at))) = self.heap.peek() {
            if queued_ms > now_ms {
                return None;
            }
            self.heap.pop();
            let entry = &mut self.entries[at as usize];
            if entry.ticket != ticket {
                continue;
            }
            if entry.at_ms > now_ms {
                entry.queued_ms = entry.at_ms;
                self.heap.push(Reverse((entry.at_ms, ticket, at)));
                continue;
            }
            return self.free(at);
        }
        None
    }

    pub fn next_ms(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse((at_ms, ..))| *at_ms)
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

    /// A place is of one use of one entry: moved up, cancelled, come and armed by another.
    #[test]
    fn a_place_that_is_old_moves_nobody_elses_deadline() {
        let (mut timers, place) = (Timers::default(), Place::default());
        timers.arm_at(&place, 10, || "a");
        timers.arm_at(&place, 20, || unreachable!("it is known where"));
        assert_eq!((timers.deadline_ms(&"a"), timers.pop_due(15)), (Some(20), None));
        timers.arm_at(&place, 5, || "a");
        assert_eq!(timers.next_ms(), Some(5));
        assert!(timers.cancel(&"a"));
        timers.arm(&"b", 30);
        timers.arm_at(&place, 40, || "a");
        assert_eq!((timers.deadline_ms(&"a"), timers.deadline_ms(&"b")), (Some(40), Some(30)));
        assert_eq!((timers.pop_due(50), timers.pop_due(50)), (Some("b"), Some("a")));
        timers.arm(&"c", 60);
        timers.arm_at(&place, 70, || "a");
        assert_eq!((timers.pop_due(99), timers.pop_due(99)), (Some("c"), Some("a")));
        assert_eq!((timers.pop_due(99), timers.entries.len()), (None, 2));
    }

    #[test]
    fn what_comes_and_goes_leaves_nothing_behind() {
        let mut timers = Timers::default();
        for key in 0..10_000 {
            timers.arm(&key, 1_000_000 + key);
            timers.cancel(&key);
        }
        assert!(timers.heap.len() <= 65 && timers.entries.len() == 1);
    }
}
