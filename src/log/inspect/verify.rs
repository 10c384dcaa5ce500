//! `spindle log verify`: every file of a data directory, or of one partition's, against its own CRCs, the
//! rules of its format and its neighbours. A fault is what a clean stop can't leave; what recovery mends
//! at the next start (an unfinished tail, leftovers) is a note. Nothing is ever changed.

use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow::{self, Break, Continue};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::kind::{Kind, partition_of};
use super::small::{self, EpochEntry};
use super::verify_segment::{Segment, verify_segment};
use super::{Fault, file_name, read_small};
use crate::log::checkpoint;
use crate::runtime::disk::DirEntry;
use crate::runtime::offline;
use crate::types::Offset;

/// Kept of each; more are counted.
const LISTED_MAX: usize = 10_000;
const CLEANER_FILE: &str = "cleaner-offset-checkpoint";

#[derive(Clone, Copy, Debug, Default)]
pub struct VerifyOptions {
    /// Go on after the first fault.
    pub all: bool,
    /// Offsets may be missing everywhere, not only where the cleaner's checkpoint says that it was.
    pub allow_gaps: bool,
}

/// How far a check is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    pub bytes: u64,
    pub bytes_total: u64,
    /// The partition that is looked at.
    pub at: String,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct VerifyReport {
    pub good: bool,
    pub partitions: u64,
    pub segments: u64,
    pub batches: u64,
    pub records: u64,
    pub bytes: u64,
    pub fault_count: u64,
    pub faults: Vec<Fault>,
    /// Nothing wrong, but worth knowing; the same shape.
    pub note_count: u64,
    pub notes: Vec<Fault>,
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} partitions, {} segments, {} batches, {} records, {} bytes of logs: ",
            self.partitions, self.segments, self.batches, self.records, self.bytes
        )?;
        match (self.good, self.fault_count) {
            (true, _) => f.write_str("good"),
            (false, 1) => f.write_str("1 fault"),
            (false, n) => write!(f, "{n} faults"),
        }
    }
}

/// `Break` once the first fault is found and no more are wanted.
pub(super) type Flow = ControlFlow<()>;

pub(super) struct Check<'a> {
    pub options: VerifyOptions,
    pub report: VerifyReport,
    progress: Progress,
    on_progress: &'a mut dyn FnMut(&Progress),
}

/// What the checkpoints beside a partition's directory say of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// The mark of a clean stop is there: nothing may be unfinished.
    pub clean: bool,
    /// `None`: no checkpoint names it.
    pub recovery_point: Option<Offset>,
    pub log_start: Offset,
    /// Below it the cleaner may have made holes.
    pub cleaned_to: Offset,
    pub epochs: Vec<EpochEntry>,
}

impl Surroundings {
    /// Whether a start after a kill would look at `offset` again, and cut there.
    pub fn unfinished_at(&self, offset: Offset) -> bool {
        !self.clean && self.recovery_point.is_none_or(|point| offset >= point)
    }
}

impl Check<'_> {
    pub fn fault(&mut self, fault: Fault) -> Flow {
        self.report.fault_count += 1;
        if self.report.faults.len() < LISTED_MAX {
            self.report.faults.push(fault);
        }
        if self.options.all { Continue(()) } else { Break(()) }
    }

    pub fn fault_at(
        &mut self,
        file: &Path,
        position: u64,
        offset: Option<Offset>,
        what: impl Into<String>,
    ) -> Flow {
        let (file, position, what) = (file.to_path_buf(), Some(position), what.into());
        self.fault(Fault { file, position, offset, what })
    }

    pub fn note(&mut self, file: &Path, position: Option<u64>, what: impl Into<String>) {
        self.report.note_count += 1;
        if self.report.notes.len() < LISTED_MAX {
            let (file, what) = (file.to_path_buf(), what.into());
            self.report.notes.push(Fault { file, position, offset: None, what });
        }
    }

    pub fn moved(&mut self, bytes: u64) {
        self.progress.bytes += bytes;
        (self.on_progress)(&self.progress);
    }

    fn list(&mut self, dir: &Path) -> ControlFlow<(), Vec<DirEntry>> {
        match offline::list_dir(dir) {
            Ok(entries) => Continue(entries),
            Err(e) => {
                self.fault(Fault::of_io(dir, &e))?;
                Continue(Vec::new())
            }
        }
    }

    /// The items of a small file; a file that is not there has none.
    pub fn small<T>(
        &mut self,
        path: &Path,
        parse: impl FnOnce(&[u8]) -> small::Parsed<T>,
    ) -> ControlFlow<(), Vec<T>> {
        let bytes = match read_small(path) {
            Ok(bytes) => bytes,
            Err(fault) => {
                self.fault(fault)?;
                return Continue(Vec::new());
            }
        };
        let (items, bad) = parse(&bytes);
        if let Some(bad) = bad {
            self.fault(Fault::of_bytes(path, bad))?;
        }
        Continue(items)
    }

    fn data_dir(&mut self, dir: &Path, entries: &[DirEntry]) -> Flow {
        let files = entries.iter().filter(|e| !e.is_dir);
        for path in files.map(|e| dir.join(&e.name)) {
            self.file_of_data_dir(&path)?;
        }
        for entry in entries.iter().filter(|e| e.is_dir) {
            let path = dir.join(&entry.name);
            if partition_of(&entry.name).is_some() {
                self.partition_dir(&path)?;
            } else if entry.name.ends_with("-delete") {
                self.note(&path, None, "deleted: removed at the next start, not checked");
            } else if entry.name.ends_with("-stray") || entry.name.ends_with("-future") {
                self.note(&path, None, "set aside: not checked");
            } else {
                self.note(&path, None, "no partition's directory: not checked");
            }
        }
        Continue(())
    }

    fn file_of_data_dir(&mut self, path: &Path) -> Flow {
        match Kind::of(&file_name(path)) {
            Kind::OffsetCheckpoint => self.small(path, small::offset_checkpoint).map_continue(drop),
            Kind::MetaProperties => self.small(path, small::meta_properties).map_continue(drop),
            Kind::Json => self.small(path, small::json).map_continue(drop),
            Kind::MetadataSnapshot(_) => self.metadata_snapshot(path),
            Kind::Leftover => {
                self.note(path, None, "a leftover: not checked");
                Continue(())
            }
            _ => Continue(()),
        }
    }

    fn metadata_snapshot(&mut self, path: &Path) -> Flow {
        let closed = Surroundings { clean: true, ..Surroundings::default() };
        let segment = Segment { base: 0, next_base: None, dense: true };
        verify_segment(self, path, &segment, &closed, (&[], &[])).map_continue(drop)
    }

    fn partition_dir(&mut self, dir: &Path) -> Flow {
        self.progress.at = file_name(dir);
        self.report.partitions += 1;
        let entries = self.list(dir)?;
        let mut around = self.surroundings(dir)?;
        let mut bases = Vec::new();
        let of = |entries: &[DirEntry], wanted: Kind| {
            entries.iter().find(|e| Kind::of(&e.name) == wanted).map(|e| dir.join(&e.name))
        };
        for entry in entries.iter().filter(|e| !e.is_dir) {
            let path = dir.join(&entry.name);
            match Kind::of(&entry.name) {
                Kind::Log(base) => bases.push(base),
                Kind::EpochCheckpoint => around.epochs = self.small(&path, small::leader_epochs)?,
                Kind::PartitionMetadata => drop(self.small(&path, small::partition_metadata)?),
                Kind::Json => drop(self.small(&path, small::json)?),
                Kind::MetadataSnapshot(_) => self.metadata_snapshot(&path)?,
                Kind::Leftover => self.note(&path, None, "a leftover: not checked"),
                Kind::Other => self.note(&path, None, "not a file of a log: not checked"),
                _ => {}
            }
        }
        // Names of twenty digits: their order is that of the offsets.
        let mut end = None;
        for (n, base) in bases.iter().enumerate() {
            let indexes = self.indexes(*base, |kind| of(&entries, kind))?;
            let segment = Segment {
                base: *base,
                next_base: bases.get(n + 1).copied(),
                dense: !self.options.allow_gaps,
            };
            self.report.segments += 1;
            let path = match of(&entries, Kind::Log(*base)) {
                Some(path) => path,
                None => continue,
            };
            let whole = verify_segment(self, &path, &segment, &around, (&indexes.0, &indexes.1))?;
            end = whole.end;
            if whole.unfinished && n + 1 < bases.len() {
                self.note(&path, None, "the segments after it go with its unfinished tail");
                break;
            }
        }
        let Some(end) = end else { return self.orphans(dir, &entries, &bases) };
        self.against_the_end(dir, &entries, &around, end)?;
        self.orphans(dir, &entries, &bases)
    }

    fn indexes(
        &mut self,
        base: Offset,
        of: impl Fn(Kind) -> Option<PathBuf>,
    ) -> ControlFlow<(), (Vec<small::IndexEntry>, Vec<small::TimeEntry>)> {
        let offsets = match of(Kind::OffsetIndex(base)) {
            Some(path) => self.small(&path, |b| small::offset_index(base, b))?,
            None => Vec::new(),
        };
        let times = match of(Kind::TimeIndex(base)) {
            Some(path) => self.small(&path, |b| small::time_index(base, b))?,
            None => Vec::new(),
        };
        if let Some(path) = of(Kind::TxnIndex(base)) {
            self.small(&path, |b| small::txn_index(base, b))?;
        }
        Continue((offsets, times))
    }

    /// What speaks of offsets must not speak of any beyond the log's end.
    fn against_the_end(
        &mut self,
        dir: &Path,
        entries: &[DirEntry],
        around: &Surroundings,
        end: Offset,
    ) -> Flow {
        let epochs = dir.join("leader-epoch-checkpoint");
        if let Some(last) = around.epochs.last().filter(|e| e.start_offset > end) {
            let why = format!("epoch {} starts beyond the log's end, {end}", last.epoch);
            self.beyond(around, &epochs, last.start_offset, why)?;
        }
        for entry in entries {
            let Kind::ProducerSnapshot(offset) = Kind::of(&entry.name) else { continue };
            let path = dir.join(&entry.name);
            self.small(&path, small::producer_snapshot)?;
            if offset > end {
                let why = format!("a producer snapshot beyond the log's end, {end}");
                self.beyond(around, &path, offset, why)?;
            }
        }
        if let Some(point) = around.recovery_point.filter(|p| *p > end) {
            let file = dir.with_file_name(checkpoint::RECOVERY_POINT_FILE);
            let why =
                format!("{} has recovery point {point} but its log ends at {end}", file_name(dir));
            self.fault(Fault { file, position: None, offset: Some(point), what: why })?;
        }
        Continue(())
    }

    fn beyond(&mut self, around: &Surroundings, file: &Path, at: Offset, why: String) -> Flow {
        if around.unfinished_at(at) {
            self.note(file, None, format!("{why}: mended at the next start"));
            return Continue(());
        }
        self.fault(Fault { file: file.to_path_buf(), position: None, offset: Some(at), what: why })
    }

    fn orphans(&mut self, dir: &Path, entries: &[DirEntry], bases: &[Offset]) -> Flow {
        for entry in entries {
            let (Kind::OffsetIndex(base) | Kind::TimeIndex(base) | Kind::TxnIndex(base)) =
                Kind::of(&entry.name)
            else {
                continue;
            };
            if bases.binary_search(&base).is_err() {
                self.note(
                    &dir.join(&entry.name),
                    None,
                    "an index without its segment: removed at the next start",
                );
            }
        }
        Continue(())
    }

    /// What the data directory that holds `dir` knows of it; nothing when it is none.
    fn surroundings(&mut self, dir: &Path) -> ControlFlow<(), Surroundings> {
        let (Some(parent), name) = (dir.parent(), file_name(dir)) else {
            return Continue(Surroundings { clean: true, ..Surroundings::default() });
        };
        let Some((topic, partition)) = partition_of(&name) else {
            return Continue(Surroundings { clean: true, ..Surroundings::default() });
        };
        let mut found = HashMap::new();
        for file in
            [checkpoint::RECOVERY_POINT_FILE, checkpoint::LOG_START_OFFSET_FILE, CLEANER_FILE]
        {
            // A fault of theirs is told where the data directory's own files are checked.
            let Ok(bytes) = read_small(&parent.join(file)) else { continue };
            for e in small::offset_checkpoint(&bytes).0 {
                if e.topic == topic && e.partition == partition {
                    found.insert(file, e.offset);
                }
            }
        }
        let there = |file: &str| offline::is_dir(&parent.join(file)).is_ok();
        // The metadata log has no entry in a checkpoint: it is read whole at each start.
        let metadata = name == "__cluster_metadata-0";
        let stopped = there(checkpoint::CLEAN_SHUTDOWN_FILE);
        let data_dir = there(checkpoint::META_PROPERTIES_FILE);
        Continue(Surroundings {
            clean: stopped || !data_dir,
            recovery_point: match found.get(checkpoint::RECOVERY_POINT_FILE) {
                None if !metadata && data_dir => Some(0),
                point => point.copied(),
            },
            log_start: found.get(checkpoint::LOG_START_OFFSET_FILE).copied().unwrap_or(0),
            cleaned_to: found.get(CLEANER_FILE).copied().unwrap_or(0),
            epochs: Vec::new(),
        })
    }
}

/// Checks each directory: a data directory, or one partition's. `on_progress` is called often.
pub fn verify(
    dirs: &[PathBuf],
    options: VerifyOptions,
    on_progress: &mut dyn FnMut(&Progress),
) -> VerifyReport {
    let progress =
        Progress { bytes_total: dirs.iter().map(|d| log_bytes(d)).sum(), ..Progress::default() };
    let mut check = Check { options, report: VerifyReport::default(), progress, on_progress };
    for dir in dirs {
        if verify_dir(&mut check, dir).is_break() {
            break;
        }
    }
    let mut report = check.report;
    report.good = report.fault_count == 0;
    report
}

fn verify_dir(check: &mut Check<'_>, dir: &Path) -> Flow {
    // "." and the like have no name of their own.
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
    let entries = check.list(&dir)?;
    let is_partition = entries.iter().any(|e| matches!(Kind::of(&e.name), Kind::Log(_)))
        || partition_of(&file_name(&dir)).is_some() && entries.iter().all(|e| !e.is_dir);
    match is_partition {
        true => check.partition_dir(&dir),
        false => check.data_dir(&dir, &entries),
    }
}

/// Bytes of the logs below a directory, as far as they can be listed.
fn log_bytes(dir: &Path) -> u64 {
    let Ok(entries) = offline::list_dir(dir) else { return 0 };
    let mut sum = 0;
    for entry in entries {
        match entry.is_dir {
            true if partition_of(&entry.name).is_some() => sum += log_bytes(&dir.join(entry.name)),
            true => {}
            false if matches!(Kind::of(&entry.name), Kind::Log(_)) => sum += entry.len,
            false => {}
        }
    }
    sum
}
