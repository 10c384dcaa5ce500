//! Was anything lost, doubled or reordered? One `SequenceCheck` for each (producer, partition), fed
//! by a consumer in the order it reads; compared at the end with what the producer knows.
//! Pure: no clock, no I/O. Memory is bounded: beyond `GAPS_MAX` gaps they are only counted.

use std::collections::BTreeMap;

const GAPS_MAX: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    InOrder,
    /// Some before it have not been seen (yet).
    Gap,
    /// It was missed before and came late.
    Reordered,
    Duplicate,
}

#[derive(Clone, Debug, Default)]
pub struct SequenceCheck {
    next: u64,
    /// Missed so far: first -> end (exclusive), disjoint.
    gaps: BTreeMap<u64, u64>,
    gaps_untracked: u64,
    pub duplicates: u64,
    pub reordered: u64,
}

impl SequenceCheck {
    pub fn observe(&mut self, sequence: u64) -> Verdict {
        if sequence == self.next {
            self.next += 1;
            return Verdict::InOrder;
        }
        if sequence > self.next {
            if self.gaps.len() < GAPS_MAX {
                self.gaps.insert(self.next, sequence);
            } else {
                self.gaps_untracked += sequence - self.next;
            }
            self.next = sequence + 1;
            return Verdict::Gap;
        }
        let gap = self.gaps.range(..=sequence).next_back().map(|(&first, &end)| (first, end));
        match gap {
            Some((first, end)) if sequence < end => {
                self.gaps.remove(&first);
                if first < sequence {
                    self.gaps.insert(first, sequence);
                }
                if sequence + 1 < end {
                    self.gaps.insert(sequence + 1, end);
                }
                self.reordered += 1;
                Verdict::Reordered
            }
            _ => {
                self.duplicates += 1;
                Verdict::Duplicate
            }
        }
    }

    /// How many of `0..sent` were never seen, without those that were never acknowledged:
    /// `not_acked` holds ranges first..end.
    pub fn lost(&self, sent: u64, not_acked: &[(u64, u64)]) -> u64 {
        let tail = (self.next < sent).then_some((self.next, sent));
        let missing = self.gaps.iter().map(|(&first, &end)| (first, end)).chain(tail);
        let mut lost = self.gaps_untracked;
        for (first, end) in missing {
            let excused: u64 = not_acked
                .iter()
                .map(|&(from, to)| to.min(end).saturating_sub(from.max(first)))
                .sum();
            lost += (end - first).saturating_sub(excused);
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(sequences: &[u64]) -> SequenceCheck {
        let mut check = SequenceCheck::default();
        for &s in sequences {
            check.observe(s);
        }
        check
    }

    #[test]
    fn in_order_is_clean() {
        let check = fed(&[0, 1, 2, 3]);
        assert_eq!((check.duplicates, check.reordered, check.lost(4, &[])), (0, 0, 0));
        assert_eq!(check.lost(6, &[]), 2);
        assert_eq!(check.lost(6, &[(4, 6)]), 0);
    }

    #[test]
    fn a_late_record_is_reordered_not_lost() {
        let mut check = fed(&[0, 1, 5]);
        assert_eq!(check.lost(6, &[]), 3);
        assert_eq!(check.observe(3), Verdict::Reordered);
        assert_eq!(check.observe(3), Verdict::Duplicate);
        assert_eq!(check.lost(6, &[]), 2);
        assert_eq!(check.observe(2), Verdict::Reordered);
        assert_eq!(check.observe(4), Verdict::Reordered);
        assert_eq!(check.lost(6, &[]), 0);
        assert_eq!((check.duplicates, check.reordered), (1, 3));
    }

    #[test]
    fn what_was_never_acknowledged_is_not_lost() {
        let check = fed(&[0, 10]);
        assert_eq!(check.lost(11, &[(1, 4), (8, 10)]), 4);
    }
}
