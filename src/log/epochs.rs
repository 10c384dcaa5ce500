//! Leader epochs of one log (KIP-101): which epoch starts at which offset, and Kafka's
//! `leader-epoch-checkpoint` text (version 0, count, lines "epoch startOffset").
//! Invariant: epochs and start offsets both grow strictly. The file is written at rolls,
//! checkpoints and close; later entries are found again in the batch headers that recovery scans.

use crate::types::Offset;

pub(super) const FILE_NAME: &str = "leader-epoch-checkpoint";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LeaderEpochs {
    entries: Vec<(i32, Offset)>,
    /// Differs from the file.
    pub dirty: bool,
}

impl LeaderEpochs {
    pub fn latest(&self) -> Option<i32> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// A no-op unless `epoch` is newer than every known one.
    pub fn assign(&mut self, epoch: i32, start: Offset) {
        if epoch < 0 || self.latest().is_some_and(|latest| epoch <= latest) {
            return;
        }
        while self.entries.last().is_some_and(|(_, s)| *s >= start) {
            self.entries.pop();
        }
        self.entries.push((epoch, start));
        self.dirty = true;
    }

    /// Drops epochs that start at or beyond the end of the log.
    pub fn truncate_end(&mut self, end: Offset) {
        let n = self.entries.partition_point(|(_, s)| *s < end);
        if n < self.entries.len() {
            self.entries.truncate(n);
            self.dirty = true;
        }
    }

    /// Drops epochs that end at or below `start`; the one that is current at `start` begins there.
    pub fn truncate_start(&mut self, start: Offset) {
        let n = self.entries.partition_point(|(_, s)| *s <= start);
        if n == 0 {
            return;
        }
        if n > 1 || self.entries[0].1 != start {
            self.entries.drain(..n - 1);
            self.entries[0].1 = start;
            self.dirty = true;
        }
    }

    /// See `Log::end_offset_for_epoch`.
    pub fn end_offset_for(&self, epoch: i32, log_end: Offset) -> (i32, Offset) {
        if epoch < 0 {
            return (-1, -1);
        }
        if self.latest() == Some(epoch) {
            return (epoch, log_end);
        }
        let higher = self.entries.partition_point(|(e, _)| *e <= epoch);
        match self.entries.get(higher) {
            None => (-1, -1),
            Some((_, start)) if higher == 0 => (epoch, *start),
            Some((_, start)) => (self.entries[higher - 1].0, *start),
        }
    }

    pub fn at(&self, offset: Offset) -> Option<i32> {
        let n = self.entries.partition_point(|(_, s)| *s <= offset);
        self.entries[..n].last().map(|(epoch, _)| *epoch)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("0\n{}\n", self.entries.len());
        for (epoch, start) in &self.entries {
            text.push_str(&format!("{epoch} {start}\n"));
        }
        text.into_bytes()
    }

    /// `None` when the text is not whole.
    pub fn decode(text: &[u8]) -> Option<LeaderEpochs> {
        let text = std::str::from_utf8(text).ok()?;
        let mut lines = text.lines();
        if lines.next()?.trim() != "0" {
            return None;
        }
        let count: usize = lines.next()?.trim().parse().ok()?;
        let mut entries: Vec<(i32, Offset)> = Vec::new();
        for line in lines.filter(|l| !l.trim().is_empty()) {
            let (epoch, start) = line.trim().split_once(' ')?;
            let entry: (i32, Offset) = (epoch.parse().ok()?, start.trim().parse().ok()?);
            if entries.last().is_some_and(|last| entry.0 <= last.0 || entry.1 < last.1) {
                return None;
            }
            entries.push(entry);
        }
        (entries.len() == count).then_some(LeaderEpochs { entries, dirty: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> LeaderEpochs {
        let mut e = LeaderEpochs::default();
        e.assign(1, 0);
        e.assign(4, 10);
        e.assign(6, 30);
        e
    }

    #[test]
    fn answers_as_kafka_does() {
        let e = three();
        assert_eq!(e.end_offset_for(6, 50), (6, 50));
        assert_eq!(e.end_offset_for(5, 50), (4, 30));
        assert_eq!(e.end_offset_for(4, 50), (4, 30));
        assert_eq!(e.end_offset_for(1, 50), (1, 10));
        assert_eq!(e.end_offset_for(0, 50), (0, 0));
        assert_eq!(e.end_offset_for(7, 50), (-1, -1));
        assert_eq!(e.end_offset_for(-1, 50), (-1, -1));
        assert_eq!((e.at(0), e.at(9), e.at(10), e.at(99)), (Some(1), Some(1), Some(4), Some(6)));
    }

    #[test]
    fn truncates_both_ends() {
        let mut e = three();
        e.truncate_end(30);
        assert_eq!(e.latest(), Some(4));
        e.truncate_start(12);
        assert_eq!((e.at(11), e.at(12)), (None, Some(4)));
        // An epoch without a record gives way to the next one at the same offset.
        e.assign(7, 12);
        assert_eq!(e.encode(), b"0\n1\n7 12\n");
    }

    #[test]
    fn text_is_kafkas() {
        let e = three();
        assert_eq!(e.encode(), b"0\n3\n1 0\n4 10\n6 30\n");
        assert_eq!(LeaderEpochs::decode(&e.encode()).map(|d| d.entries), Some(e.entries));
        for bad in ["", "1\n0\n", "0\n2\n1 0\n", "0\nx\n", "0\n1\n1\n", "0\n2\n2 0\n1 5\n"] {
            assert_eq!(LeaderEpochs::decode(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
