//! Which offset is the newest of each key, in bounded memory: open addressing over 24-byte slots,
//! 16 of a hash and 8 of the offset, as compact as Kafka's own map. Keys are not stored.
//! The hash is SipHash-1-3 with 128 bits of output under a key drawn for each run: two of n keys
//! collide with probability n²/2^129, about 5e-26 for the 5 million keys of the default buffer, and
//! nobody who can't see that key can make two that do (with a plain hash a producer could, and have
//! another key's record removed).

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::types::Offset;

pub(super) const SLOT_BYTES: usize = 24;

pub(super) struct OffsetMap {
    hash_key: (u64, u64),
    /// Hash, hash, offset + 1; all zero when free (so that memory comes zeroed from the system and
    /// pages that are not used cost nothing).
    slots: Vec<[u64; 3]>,
    used: usize,
    used_max: usize,
    /// Everything below was looked at: a record above it is not the map's to judge.
    latest: Offset,
}

impl OffsetMap {
    /// `bytes` and `load_factor` bound it; it is no larger than `keys` need.
    pub fn new(bytes: usize, load_factor: f64, keys: u64, hash_key: (u64, u64)) -> OffsetMap {
        let load = load_factor.clamp(0.01, 0.99);
        let wanted = ((keys as f64 / load) as u64).saturating_add(2);
        let slots = ((bytes / SLOT_BYTES) as u64).min(wanted).max(2) as usize;
        OffsetMap {
            hash_key,
            slots: vec![[0; 3]; slots],
            used: 0,
            used_max: ((slots as f64 * load) as usize).clamp(1, slots - 1),
            latest: -1,
        }
    }

    pub fn is_full(&self) -> bool {
        self.used >= self.used_max
    }

    pub fn latest(&self) -> Offset {
        self.latest
    }

    pub fn looked_up_to(&mut self, offset: Offset) {
        self.latest = self.latest.max(offset);
    }

    /// The slot that has `key`, or the free one where it belongs.
    fn find(&self, key: &[u8]) -> (usize, [u64; 2]) {
        let mut hasher = SipHasher13::new_with_keys(self.hash_key.0, self.hash_key.1);
        hasher.write(key);
        let hash = hasher.finish128();
        let mut at = ((u128::from(hash.h1) * self.slots.len() as u128) >> 64) as usize;
        // Ends: there is always a free slot.
        while self.slots[at][2] != 0 && self.slots[at][..2] != [hash.h1, hash.h2] {
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        (at, [hash.h1, hash.h2])
    }

    pub fn put(&mut self, key: &[u8], offset: Offset) {
        let (at, [h1, h2]) = self.find(key);
        if self.slots[at][2] == 0 {
            assert!(!self.is_full(), "put into a full map");
            self.used += 1;
        }
        self.slots[at] = [h1, h2, offset as u64 + 1];
        self.latest = self.latest.max(offset);
    }

    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let offset = self.slots[self.find(key).0][2];
        (offset != 0).then(|| (offset - 1) as Offset)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn it_answers_as_a_map_does_up_to_its_bound() {
        let mut map = OffsetMap::new(24 * 1000, 0.9, u64::MAX, (1, 2));
        let mut model = HashMap::new();
        let mut offset = 0;
        while !map.is_full() {
            let key = (offset * 7919 % 1300).to_string();
            map.put(key.as_bytes(), offset);
            model.insert(key, offset);
            offset += 1;
        }
        assert_eq!(model.len(), 900);
        assert_eq!(map.latest(), offset - 1);
        for n in 0..1300 {
            let key = n.to_string();
            assert_eq!(map.get(key.as_bytes()), model.get(&key).copied(), "{key}");
        }
    }

    #[test]
    fn it_takes_no_more_memory_than_its_keys_need() {
        let map = OffsetMap::new(1 << 27, 0.9, 100, (1, 2));
        assert!(map.slots.len() < 120 && map.used_max >= 100);
        let least = OffsetMap::new(0, 0.9, 100, (1, 2));
        assert!(least.used_max >= 1 && least.used_max < least.slots.len());
    }

    #[test]
    fn offset_zero_is_an_offset() {
        let mut map = OffsetMap::new(1 << 10, 0.9, 10, (3, 4));
        map.put(b"", 0);
        assert_eq!(map.get(b""), Some(0));
        assert_eq!(map.get(b"x"), None);
    }
}
