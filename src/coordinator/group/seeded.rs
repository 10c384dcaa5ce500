//! Hash maps whose keys clients choose: SipHash under a key from the seed, so that nobody can choose keys that collide
//! and a run of the simulator is the same every time.

use std::collections::HashMap;
use std::hash::BuildHasher;

use indexmap::IndexMap;
use siphasher::sip::SipHasher13;

#[derive(Clone, Copy, Debug)]
pub struct Seeded(u64);

pub type SeededMap<K, V> = HashMap<K, V, Seeded>;

/// One whose entries have places, so that a walk over many of them can be cut into steps. From the end to the start:
/// what is added meanwhile is behind the walk, and `swap_remove` moves only what it has passed.
pub type SeededIndex<K, V> = IndexMap<K, V, Seeded>;

impl Seeded {
    pub fn new(seed: u64) -> Seeded {
        Seeded(seed)
    }
}

impl BuildHasher for Seeded {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, !self.0.rotate_left(17))
    }
}
