//! What a file of a data directory is, by its name alone, as Kafka names them. Pure.

use super::super::segment::{FileKind, parse_file_name};
use super::super::{checkpoint, epochs};
use crate::types::Offset;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Log(Offset),
    OffsetIndex(Offset),
    TimeIndex(Offset),
    TxnIndex(Offset),
    ProducerSnapshot(Offset),
    /// Batches of metadata records: a snapshot of KRaft's (its end offset), or what `format` left.
    MetadataSnapshot(Offset),
    EpochCheckpoint,
    OffsetCheckpoint,
    MetaProperties,
    PartitionMetadata,
    /// One JSON document: the mark of a clean stop, a quorum's state.
    Json,
    /// Half-done work that the next start completes or removes.
    Leftover,
    Other,
}

impl Kind {
    pub fn of(name: &str) -> Kind {
        match name {
            epochs::FILE_NAME => return Kind::EpochCheckpoint,
            checkpoint::META_PROPERTIES_FILE => return Kind::MetaProperties,
            checkpoint::PARTITION_METADATA_FILE => return Kind::PartitionMetadata,
            checkpoint::CLEAN_SHUTDOWN_FILE | "quorum-state" => return Kind::Json,
            "bootstrap.checkpoint" => return Kind::MetadataSnapshot(0),
            _ => {}
        }
        if name.ends_with("-offset-checkpoint") {
            return Kind::OffsetCheckpoint;
        }
        if [".deleted", ".cleaned", ".swap", ".tmp", ".part"].iter().any(|s| name.ends_with(s)) {
            return Kind::Leftover;
        }
        if let Some(offset) = metadata_snapshot_offset(name) {
            return Kind::MetadataSnapshot(offset);
        }
        match parse_file_name(name) {
            Some((base, FileKind::Log)) => Kind::Log(base),
            Some((base, FileKind::Index)) => Kind::OffsetIndex(base),
            Some((base, FileKind::TimeIndex)) => Kind::TimeIndex(base),
            Some((base, FileKind::TxnIndex)) => Kind::TxnIndex(base),
            Some((offset, FileKind::Snapshot)) => Kind::ProducerSnapshot(offset),
            None => Kind::Other,
        }
    }

    /// The word for it in reports.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Log(_) => "log",
            Kind::OffsetIndex(_) => "index",
            Kind::TimeIndex(_) => "timeindex",
            Kind::TxnIndex(_) => "txnindex",
            Kind::ProducerSnapshot(_) => "snapshot",
            Kind::MetadataSnapshot(_) => "metadata-snapshot",
            Kind::EpochCheckpoint => "leader-epochs",
            Kind::OffsetCheckpoint => "offset-checkpoint",
            Kind::MetaProperties => "meta-properties",
            Kind::PartitionMetadata => "partition-metadata",
            Kind::Json => "json",
            Kind::Leftover => "leftover",
            Kind::Other => "unknown",
        }
    }
}

/// `<20-digit end offset>-<10-digit epoch>.checkpoint` (KIP-630).
fn metadata_snapshot_offset(name: &str) -> Option<Offset> {
    let (offset, epoch) = name.strip_suffix(".checkpoint")?.split_once('-')?;
    let digits = |s: &str, n: usize| s.len() == n && s.bytes().all(|b| b.is_ascii_digit());
    (digits(offset, 20) && digits(epoch, 10)).then(|| offset.parse().ok())?
}

/// `topic-3`: topic and partition of a directory's name. What is on its way out is none.
pub(super) fn partition_of(name: &str) -> Option<(&str, i32)> {
    let (topic, index) = name.rsplit_once('-')?;
    let digits = !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
    (digits && !topic.is_empty()).then(|| Some((topic, index.parse().ok()?)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_a_file_is() {
        for (name, kind) in [
            ("00000000000000000042.log", Kind::Log(42)),
            ("00000000000000000042.timeindex", Kind::TimeIndex(42)),
            ("00000000000000000042.log.deleted", Kind::Leftover),
            ("00000000000000000007-0000000003.checkpoint", Kind::MetadataSnapshot(7)),
            ("0000000000000000000é-0000000003.checkpoint", Kind::Other),
            ("99999999999999999999-0000000003.checkpoint", Kind::Other),
            ("recovery-point-offset-checkpoint", Kind::OffsetCheckpoint),
            ("leader-epoch-checkpoint", Kind::EpochCheckpoint),
            (".lock", Kind::Other),
        ] {
            assert_eq!(Kind::of(name), kind, "{name}");
        }
        assert_eq!(partition_of("a-b-12"), Some(("a-b", 12)));
        for none in ["a", "-1", "a-", "a-x", "a-99999999999", "a-1.ff-delete", "a-1.0-stray"] {
            assert_eq!(partition_of(none), None, "{none}");
        }
    }
}
