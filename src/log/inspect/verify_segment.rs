//! One segment, in one walk: batches against their CRC, the records in them, the offsets around them, the
//! epochs' checkpoint, and both indexes, whose entries are met on the way.

use std::ops::ControlFlow::{self, Continue};
use std::path::Path;

use super::Fault;
use super::batches::{Batches, Step};
use super::dump::crc_sentence;
use super::small::{IndexEntry, TimeEntry};
use super::verify::{Check, Flow, Surroundings};
use crate::types::Offset;
use crate::wire::record_batch::{BatchError, BatchHeader};
use crate::wire::records::for_each_record;

/// What a segment must be by its name and its neighbours'.
pub(super) struct Segment {
    pub base: Offset,
    pub next_base: Option<Offset>,
    /// Offsets have no holes, but where the cleaner was.
    pub dense: bool,
}

/// How far a segment goes.
pub(super) struct Whole {
    /// One past its last offset; `None` when its end could not be found.
    pub end: Option<Offset>,
    /// It ends in bytes that recovery will cut off.
    pub unfinished: bool,
}

struct Walk<'a> {
    path: &'a Path,
    segment: &'a Segment,
    around: &'a Surroundings,
    offsets: &'a [IndexEntry],
    times: &'a [TimeEntry],
    /// The offset that comes next.
    next: Offset,
    epoch: i32,
    max_timestamp: i64,
    /// Byte after the last batch.
    end: u64,
}

pub(super) fn verify_segment(
    check: &mut Check<'_>,
    path: &Path,
    segment: &Segment,
    around: &Surroundings,
    (offsets, times): (&[IndexEntry], &[TimeEntry]),
) -> ControlFlow<(), Whole> {
    let mut batches = match Batches::open(path) {
        Ok(batches) => batches,
        Err(e) => {
            check.fault(Fault::of_io(path, &e))?;
            return Continue(Whole { end: None, unfinished: false });
        }
    };
    let mut walk = Walk {
        path,
        segment,
        around,
        offsets,
        times,
        next: segment.base,
        epoch: -1,
        max_timestamp: -1,
        end: 0,
    };
    let whole = walk.run(check, &mut batches);
    // What is not batches was looked at as well.
    check.moved(batches.file_bytes().saturating_sub(walk.end));
    whole
}

impl Walk<'_> {
    fn run(&mut self, check: &mut Check<'_>, batches: &mut Batches) -> ControlFlow<(), Whole> {
        let mut old_format = false;
        let mut indexes_trusted = true;
        loop {
            let step = match batches.next() {
                Ok(step) => step,
                Err(e) => {
                    check.fault(Fault::of_io(self.path, &e))?;
                    return Continue(Whole { end: None, unfinished: false });
                }
            };
            match step {
                Step::Batch { position, header, computed_crc } => {
                    if computed_crc != header.crc {
                        let why = crc_sentence(computed_crc, header.crc);
                        if self.around.unfinished_at(header.base_offset.max(self.next)) {
                            return self.unfinished(check, position, &why);
                        }
                        check.fault_at(self.path, position, Some(header.base_offset), why)?;
                    } else {
                        self.batch(check, batches, position, &header)?;
                    }
                    indexes_trusted &= computed_crc == header.crc;
                    self.passed(check, &header, position, indexes_trusted)?;
                }
                Step::Old { position, magic, offset, bytes, crc_matches } => {
                    if !old_format {
                        let what = format!(
                            "messages of format v{magic}, of before Kafka 0.11: only their CRC and \
                             order are checked, and Spindle does not serve them"
                        );
                        check.note(self.path, Some(position), what);
                    }
                    old_format = true;
                    indexes_trusted = false;
                    if !crc_matches {
                        let why = "CRC-32 of a message in an old format does not match";
                        check.fault_at(self.path, position, Some(offset), why)?;
                    }
                    self.offset_in_bounds(check, position, offset, offset)?;
                    self.next = self.next.max(offset.saturating_add(1));
                    self.end = position + bytes;
                    check.report.batches += 1;
                    check.report.bytes += bytes;
                    check.moved(bytes);
                }
                Step::Zeros { position, bytes } => {
                    let what = format!("{bytes} zero bytes: preallocated and not written yet");
                    check.note(self.path, Some(position), what);
                }
                Step::Bad { position, offset, why } => {
                    if self.around.unfinished_at(self.next) {
                        return self.unfinished(check, position, &why);
                    }
                    check.fault_at(self.path, position, offset.or(Some(self.next)), why)?;
                    return Continue(Whole { end: None, unfinished: false });
                }
                Step::End => break,
            }
        }
        if indexes_trusted {
            self.rest_of_indexes(check)?;
        }
        if let Some(next_base) = self.segment.next_base
            && self.next < next_base
            && self.gap_is_wrong(self.next)
            && self.end > 0
        {
            let why = format!("it ends before {next_base}, where the next segment begins: {GAP}");
            check.fault_at(self.path, self.end, Some(self.next), why)?;
        }
        Continue(Whole { end: Some(self.next), unfinished: false })
    }

    fn unfinished(
        &mut self,
        check: &mut Check<'_>,
        position: u64,
        why: &str,
    ) -> ControlFlow<(), Whole> {
        let what = format!(
            "an unclean tail from offset {} on, after the recovery point: it is cut at the next start ({why})",
            self.next
        );
        check.note(self.path, Some(position), what);
        Continue(Whole { end: Some(self.next), unfinished: true })
    }

    fn gap_is_wrong(&self, from: Offset) -> bool {
        self.segment.dense && from >= self.around.cleaned_to
    }

    fn offset_in_bounds(
        &mut self,
        check: &mut Check<'_>,
        position: u64,
        first: Offset,
        last: Offset,
    ) -> Flow {
        let why = if first < self.next {
            match self.end {
                0 => format!("its first offset is {first}, its name says {}", self.segment.base),
                _ => format!("offset {first} where {} comes next", self.next),
            }
        } else if self.segment.next_base.is_some_and(|next| last >= next) {
            format!("offset {last} belongs to the next segment")
        } else {
            return Continue(());
        };
        check.fault_at(self.path, position, Some(first), why)
    }

    fn batch(
        &mut self,
        check: &mut Check<'_>,
        batches: &mut Batches,
        position: u64,
        header: &BatchHeader,
    ) -> Flow {
        let first = header.base_offset;
        self.offset_in_bounds(check, position, first, header.last_offset())?;
        if first > self.next && self.gap_is_wrong(self.next) {
            let why = format!("offset {first} where {} comes next: {GAP}", self.next);
            check.fault_at(self.path, position, Some(first), why)?;
        }
        if header.partition_leader_epoch >= 0 {
            if header.partition_leader_epoch < self.epoch {
                let why = format!(
                    "leader epoch {} after {}: epochs never fall",
                    header.partition_leader_epoch, self.epoch
                );
                check.fault_at(self.path, position, Some(first), why)?;
            }
            self.epoch = self.epoch.max(header.partition_leader_epoch);
            self.epoch_checkpoint(check, position, header)?;
        }
        let bytes = match batches.batch_bytes(position, header) {
            Ok(bytes) => bytes,
            Err(e) => return check.fault(Fault::of_io(self.path, &e)),
        };
        match records_fault(bytes, header, self.gap_is_wrong(first)) {
            Ok(None) => Continue(()),
            Ok(Some(what)) => {
                check.note(self.path, Some(position), what);
                Continue(())
            }
            Err((offset, why)) => check.fault_at(self.path, position, Some(offset), why),
        }
    }

    fn epoch_checkpoint(
        &mut self,
        check: &mut Check<'_>,
        position: u64,
        header: &BatchHeader,
    ) -> Flow {
        let (first, epoch) = (header.base_offset, header.partition_leader_epoch);
        let n = self.around.epochs.partition_point(|e| e.start_offset <= first);
        let Some(known) = self.around.epochs[..n].last() else { return Continue(()) };
        let behind = n == self.around.epochs.len() && known.epoch < epoch;
        // The checkpoint of a broker that was killed may not have its last epochs yet.
        if known.epoch == epoch || first < self.around.log_start || (behind && !self.around.clean) {
            return Continue(());
        }
        let why = format!(
            "leader epoch {epoch}, but leader-epoch-checkpoint has {} from offset {} on",
            known.epoch, known.start_offset
        );
        check.fault_at(self.path, position, Some(first), why)
    }

    /// After a batch: the counters, and the index entries that speak of it.
    fn passed(
        &mut self,
        check: &mut Check<'_>,
        header: &BatchHeader,
        position: u64,
        indexes_trusted: bool,
    ) -> Flow {
        let before = self.next;
        let last = header.last_offset();
        let bytes = header.size_bytes() as u64;
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
        self.next = self.next.max(last.saturating_add(1));
        self.end = position + bytes;
        check.report.batches += 1;
        check.report.records += u64::try_from(header.record_count).unwrap_or(0);
        check.report.bytes += bytes;
        check.moved(bytes);
        while let Some((entry, rest)) = self.offsets.split_first() {
            if u64::from(entry.position) >= self.end {
                break;
            }
            self.offsets = rest;
            if !indexes_trusted {
                continue;
            }
            if u64::from(entry.position) != position {
                self.index_fault(check, entry, "where no batch begins")?;
            } else if entry.offset < last || before > entry.offset {
                let why = format!("where the batch {}..={last} is", header.base_offset);
                self.index_fault(check, entry, &why)?;
            }
        }
        while let Some((entry, rest)) = self.times.split_first() {
            if entry.offset > last {
                break;
            }
            self.times = rest;
            if indexes_trusted && entry.timestamp != self.max_timestamp {
                let why = format!(
                    "timestamp {} for offset {}, but the largest up to there is {}",
                    entry.timestamp, entry.offset, self.max_timestamp
                );
                let path = self.path.with_extension("timeindex");
                let what =
                    Fault { file: path, position: None, offset: Some(entry.offset), what: why };
                check.fault(what)?;
            }
        }
        Continue(())
    }

    fn index_fault(&self, check: &mut Check<'_>, entry: &IndexEntry, why: &str) -> Flow {
        let file = self.path.with_extension("index");
        let what = format!("the entry points to byte {} of the log, {why}", entry.position);
        check.fault(Fault { file, position: None, offset: Some(entry.offset), what })
    }

    /// Entries that no batch has answered.
    fn rest_of_indexes(&mut self, check: &mut Check<'_>) -> Flow {
        let mended = self.around.unfinished_at(self.next);
        if let Some(entry) = self.offsets.first() {
            match mended {
                true => check.note(&self.path.with_extension("index"), None, BEYOND),
                false => self.index_fault(check, entry, "which is after the last batch")?,
            }
        }
        if let Some(entry) = self.times.first() {
            let file = self.path.with_extension("timeindex");
            if mended {
                check.note(&file, None, BEYOND);
            } else {
                let what = format!("timestamp {} for an offset after the last", entry.timestamp);
                let fault = Fault { file, position: None, offset: Some(entry.offset), what };
                check.fault(fault)?;
            }
        }
        Continue(())
    }
}

const GAP: &str = "offsets are missing (right only for a topic that was compacted: --allow-gaps)";
const BEYOND: &str = "it goes on after the log's end: made again at the next start";

/// The records of a batch: as many as it says, offsets inside it and in order. Ok(Some): could not be
/// looked into, which is no fault.
fn records_fault(
    bytes: &[u8],
    header: &BatchHeader,
    dense: bool,
) -> Result<Option<String>, (Offset, String)> {
    let base = header.base_offset;
    if header.record_count < 0 {
        return Err((base, format!("record count is {}", header.record_count)));
    }
    // An emptied batch is how the cleaner keeps a producer's last sequence.
    let full = i64::from(header.last_offset_delta) + 1 == i64::from(header.record_count);
    if dense && !full {
        let (count, delta) = (header.record_count, header.last_offset_delta);
        return Err((
            base,
            format!("{count} records, but the last offset delta is {delta}: {GAP}"),
        ));
    }
    let (mut last, mut wrong, mut seen) = (-1, None, 0);
    let walked = for_each_record(bytes, &mut |record| {
        let delta = record.offset_delta;
        let right = delta > last && delta <= header.last_offset_delta && (!dense || delta == seen);
        if !right {
            wrong = Some(delta);
            return false;
        }
        if header.is_control() && record.key.is_none_or(|key| key.len() < 4) {
            wrong = Some(delta);
            return false;
        }
        (last, seen) = (delta, seen + 1);
        true
    });
    match (walked, wrong) {
        (_, Some(delta)) => {
            let at = base.saturating_add(delta.into());
            Err((at, format!("record {seen} of the batch has offset delta {delta}")))
        }
        (Err(BatchError::TooLarge { limit }), _) => {
            Ok(Some(format!("records of more than {limit} bytes: not looked into")))
        }
        (Err(e), _) => Err((base, e.to_string())),
        (Ok(()), None) => Ok(None),
    }
}
