//! Where a partition's log was cut back after failed writes, and whose append that took away.
//! Offsets alone can't tell: after a cut others are appended at the same offsets. So each append
//! remembers the generation it belongs to, and a cut ends one. Pure: no I/O, no clock.

use std::collections::VecDeque;

use crate::limits;
use crate::types::Offset;

#[derive(Default)]
pub(super) struct Cuts {
    /// Where the generations that ended were cut; the first of them is `first`.
    ends: VecDeque<Offset>,
    first: u64,
}

impl Cuts {
    pub fn generation(&self) -> u64 {
        self.first + self.ends.len() as u64
    }

    /// The log ends at `to` now.
    pub fn cut(&mut self, to: Offset) {
        self.ends.push_back(to);
        if self.ends.len() > limits::CUTS_REMEMBERED {
            self.ends.pop_front();
            self.first += 1;
        }
    }

    /// Whether what was appended in `generation` and ends at `end_offset` is gone. What survives the
    /// end of its generation is durable before the next one begins: no later cut reaches it.
    pub fn took(&self, generation: u64, end_offset: Offset) -> bool {
        if generation >= self.generation() {
            return false;
        }
        let end = generation.checked_sub(self.first).and_then(|i| self.ends.get(i as usize));
        end.is_none_or(|end| *end < end_offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_is_gone_when_its_own_generation_was_cut_below_it() {
        let mut cuts = Cuts::default();
        assert!(!cuts.took(0, 50));
        cuts.cut(20);
        assert!(cuts.took(0, 21) && !cuts.took(0, 20) && !cuts.took(1, 50));
        cuts.cut(60);
        assert!(cuts.took(0, 30), "the second cut is above it, the first was not");
        assert!(!cuts.took(1, 60) && cuts.took(1, 61));
        for _ in 0..limits::CUTS_REMEMBERED {
            cuts.cut(100);
        }
        assert!(cuts.took(0, 1), "forgotten: better refused than acknowledged");
        assert!(!cuts.took(cuts.generation(), 1000));
    }
}
