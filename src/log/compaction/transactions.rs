//! Which transactions a cleaning run is in the middle of: what was aborted goes, and a marker stays
//! until nothing of its transaction is left before it (KIP-98). Pure; fed with every batch in offset
//! order. Not here: when a marker that may go goes (its delete horizon, `filter`).

use std::collections::BTreeMap;

use super::super::txn_index::AbortedTxn;
use crate::types::Offset;
use crate::wire::record_batch::BatchHeader;
use crate::wire::records::for_each_record;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    Abort,
    Commit,
    /// Of another kind (a leader change): not about a transaction.
    Other,
    /// An empty control batch: its marker was removed earlier.
    Removed,
}

/// What a control batch says: version and type stand in its record's key.
pub(super) fn marker_of(header: &BatchHeader, batch: &[u8]) -> Marker {
    if header.record_count == 0 {
        return Marker::Removed;
    }
    let mut marker = Marker::Other;
    // Anything that does not read as a marker is left alone.
    let _ = for_each_record(batch, &mut |record| {
        marker = match record.key {
            Some([_, _, 0, 0, ..]) => Marker::Abort,
            Some([_, _, 0, 1, ..]) => Marker::Commit,
            _ => Marker::Other,
        };
        false
    });
    marker
}

#[derive(Default)]
pub(super) struct Transactions {
    /// Aborted ones whose first offset is not reached yet, by it and the producer.
    ahead: BTreeMap<(Offset, i64), AbortedTxn>,
    /// By producer: the aborted transaction that is going on, and whether a batch of it was seen.
    aborted: BTreeMap<i64, (AbortedTxn, bool)>,
    /// By producer: first offset seen of a transaction that was not aborted (as far as is known).
    committed: BTreeMap<i64, Offset>,
    /// Aborted ones of which something is left, in the order of their markers.
    retained: Vec<AbortedTxn>,
}

impl Transactions {
    pub fn add_aborted(&mut self, transactions: impl IntoIterator<Item = AbortedTxn>) {
        for t in transactions {
            self.ahead.insert((t.first_offset, t.producer_id), t);
        }
    }

    fn reach(&mut self, offset: Offset) {
        while let Some(entry) = self.ahead.first_entry()
            && entry.key().0 <= offset
        {
            let txn = entry.remove();
            self.aborted.entry(txn.producer_id).or_insert((txn, false));
        }
    }

    /// Whether the batch belongs to an aborted transaction.
    pub fn on_batch(&mut self, header: &BatchHeader) -> bool {
        self.reach(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        if let Some((_, seen)) = self.aborted.get_mut(&header.producer_id) {
            *seen = true;
            return true;
        }
        self.committed.entry(header.producer_id).or_insert(header.base_offset);
        false
    }

    /// Whether nothing is left of what the marker ends.
    pub fn on_marker(&mut self, header: &BatchHeader, marker: Marker) -> bool {
        self.reach(header.last_offset());
        match marker {
            Marker::Abort => match self.aborted.remove(&header.producer_id) {
                Some((txn, true)) => {
                    self.retained.push(txn);
                    false
                }
                // Also one that the index did not name: what it ends was not taken for aborted.
                Some((_, false)) => true,
                None => self.committed.remove(&header.producer_id).is_none(),
            },
            Marker::Commit => self.committed.remove(&header.producer_id).is_none(),
            Marker::Other => false,
            Marker::Removed => true,
        }
    }

    /// First offset of the oldest transaction that has no marker yet.
    pub fn first_open(&self) -> Option<Offset> {
        self.committed.values().min().copied()
    }

    /// Entries for the transaction index of the segment that was cleaned since the last call.
    pub fn take_retained(&mut self) -> Vec<AbortedTxn> {
        std::mem::take(&mut self.retained)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Compression;
    use crate::wire::record_batch::check_crc;
    use crate::wire::records::BatchBuilder;

    fn data(producer_id: i64, base_offset: Offset) -> BatchHeader {
        let mut b = BatchBuilder::new(Compression::None);
        b.producer(producer_id, 0, 0).kind(true, false).push(0, Some(b"k"), Some(b"v"), &[]);
        BatchHeader { base_offset, ..check_crc(&b.finish()).unwrap() }
    }

    fn marker(producer_id: i64, base_offset: Offset, kind: u8) -> (BatchHeader, Marker) {
        let mut b = BatchBuilder::new(Compression::None);
        b.producer(producer_id, 0, -1).kind(true, true);
        b.push(0, Some(&[0, 0, 0, kind]), Some(&[0; 6]), &[]);
        let bytes = b.finish();
        let header = BatchHeader { base_offset, ..check_crc(&bytes).unwrap() };
        (header, marker_of(&header, &bytes))
    }

    fn aborted(producer_id: i64, first_offset: Offset, last_offset: Offset) -> AbortedTxn {
        AbortedTxn { producer_id, first_offset, last_offset, last_stable_offset: last_offset + 1 }
    }

    #[test]
    fn a_commit_marker_may_go_when_its_data_is_gone() {
        let mut t = Transactions::default();
        assert!(!t.on_batch(&data(1, 10)));
        assert_eq!(t.first_open(), Some(10));
        let (header, commit) = marker(1, 11, 1);
        assert_eq!(commit, Marker::Commit);
        assert!(!t.on_marker(&header, commit));
        assert_eq!(t.first_open(), None);
        // Nothing was seen of the next one.
        assert!(t.on_marker(&marker(1, 15, 1).0, Marker::Commit));
    }

    #[test]
    fn aborted_batches_are_told_from_later_ones_of_their_producer() {
        let mut t = Transactions::default();
        t.add_aborted([aborted(1, 10, 20), aborted(2, 50, 60)]);
        assert!(!t.on_batch(&data(1, 5)), "before the aborted one begins");
        assert!(!t.on_marker(&marker(1, 7, 1).0, Marker::Commit));
        assert!(t.on_batch(&data(1, 10)));
        assert!(!t.on_batch(&data(2, 12)), "another producer's");
        assert!(!t.on_marker(&marker(1, 20, 0).0, Marker::Abort), "its data was still there");
        assert_eq!(t.take_retained(), [aborted(1, 10, 20)]);
        assert!(!t.on_batch(&data(1, 30)));
        // The data of this one went in an earlier run.
        assert!(t.on_marker(&marker(2, 60, 0).0, Marker::Abort));
        assert!(t.take_retained().is_empty());
    }

    #[test]
    fn other_markers_are_left_alone() {
        let mut t = Transactions::default();
        let (header, other) = marker(1, 3, 2);
        assert_eq!(other, Marker::Other);
        assert!(!t.on_marker(&header, other));
        assert!(t.on_marker(&header, Marker::Removed));
    }
}
