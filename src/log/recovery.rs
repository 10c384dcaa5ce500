//! Opening a log: what is on disk, what of it is whole, and where it ends.
//! After a clean stop only the batches past the last index entry are looked at. After any other,
//! segments below the recovery point are trusted and the rest is scanned by CRC-32C and offsets; at
//! the first bad batch the log is cut, durably, before anything can be appended. The size of a file
//! says nothing: zeros may follow the last batch. Directories that Kafka wrote open the same way.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::compaction::settle_swaps;
use super::epochs::{self, LeaderEpochs};
use super::index::SegmentIndex;
use super::scan::{BatchScan, Scanned};
use super::segment::{
    FileKind, Segment, SharedSegment, UNKNOWN, file_name, indexed, load_index_or_empty,
    parse_file_name,
};
use super::snapshot::snapshot_offset;
use super::tail::Tail;
use super::{Health, LogConfig, OpenHints, Result, State, appender, checkpoint, io_error};
use crate::runtime::{File, disk, wall_clock_ms};
use crate::types::Offset;

/// Zeros after the last batch are left in the file (no cut, no journal commit) up to this many.
const ZEROS_LEFT_MAX: u64 = 1024 * 1024;

pub(super) async fn recover(dir: &Path, config: LogConfig, hints: OpenHints) -> Result<State> {
    let mut opening = Opening {
        dir: dir.to_path_buf(),
        config,
        hints,
        segments: Vec::new(),
        epochs: LeaderEpochs::default(),
        epochs_known: false,
        snapshots: Vec::new(),
        has_partition_metadata: false,
        synced: true,
    };
    let dir_created = opening.list().await?;
    if dir_created && !opening.segments.is_empty() {
        opening.load_epochs().await;
        opening.recover_segments().await?;
    }
    opening.finish(dir_created).await
}

struct Opening {
    dir: PathBuf,
    config: LogConfig,
    hints: OpenHints,
    segments: Vec<SharedSegment>,
    epochs: LeaderEpochs,
    /// The epoch checkpoint was there and whole.
    epochs_known: bool,
    snapshots: Vec<Offset>,
    has_partition_metadata: bool,
    /// Nothing was scanned that could still be in a volatile cache only.
    synced: bool,
}

/// Where a scan of one segment ended.
struct ScanEnd {
    /// First byte after the last whole batch.
    valid: u64,
    next: Offset,
    /// Why the bytes after it are no batch.
    bad: Option<String>,
}

impl Opening {
    /// Reads the directory, removes leftovers; false when there is none.
    async fn list(&mut self) -> Result<bool> {
        let mut entries = match disk::list_dir(&self.dir).await {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(io_error(&self.dir)(e)),
        };
        if settle_swaps(&self.dir, &entries).await? {
            entries = disk::list_dir(&self.dir).await.map_err(io_error(&self.dir))?;
        }
        let mut files: Vec<(Offset, FileKind, u64)> = Vec::new();
        for entry in entries.iter().filter(|e| !e.is_dir) {
            let name = entry.name.as_str();
            if [".deleted", ".tmp"].iter().any(|s| name.ends_with(s)) {
                self.remove(name).await?;
            } else if name == checkpoint::PARTITION_METADATA_FILE {
                // Never synced: a power cut may have left it empty.
                self.has_partition_metadata = entry.len == checkpoint::PARTITION_METADATA_BYTES;
            } else if let Some(offset) = snapshot_offset(name) {
                self.snapshots.push(offset);
            } else if let Some((base, kind)) = parse_file_name(name) {
                files.push((base, kind, entry.len));
            }
        }
        let now_ms = wall_clock_ms();
        for (base, kind, len) in &files {
            if *kind == FileKind::Log {
                self.segments.push(Rc::new(Segment::existing(*base, *len, now_ms)));
            }
        }
        self.segments.sort_by_key(|s| s.base);
        self.snapshots.sort_unstable();
        for (base, kind, _) in &files {
            let orphan = self.segments.binary_search_by_key(base, |s| s.base).is_err();
            if *kind != FileKind::Log && orphan {
                self.remove(&file_name(*base, *kind)).await?;
            }
        }
        Ok(true)
    }

    async fn remove(&self, name: &str) -> Result<()> {
        let path = self.dir.join(name);
        match disk::remove_file(&path).await {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io_error(&path)(e)),
            _ => Ok(()),
        }
    }

    async fn load_epochs(&mut self) {
        let text = disk::read_file(&self.dir.join(epochs::FILE_NAME)).await;
        if let Some(known) = text.ok().and_then(|text| LeaderEpochs::decode(&text)) {
            self.epochs = known;
            self.epochs_known = true;
        }
    }

    async fn recover_segments(&mut self) -> Result<()> {
        let mut at = 0;
        while at < self.segments.len() {
            let segment = self.segments[at].clone();
            let next_base = self.segments.get(at + 1).map(|s| s.base);
            let is_last = next_base.is_none();
            let trusted = next_base
                .filter(|next| self.hints.clean || *next <= self.hints.recovery_point)
                .filter(|_| self.epochs_known);
            if let Some(next) = trusted {
                segment.next.set(next);
                segment.finished.set(true);
                at += 1;
                continue;
            }
            let cut = self.recover_segment(&segment, next_base).await?;
            let overlaps = next_base.is_some_and(|next| segment.next.get() > next);
            if cut || overlaps {
                self.drop_from(at + 1).await?;
                return Ok(());
            }
            if !is_last {
                // On a full disk it stays in memory, and is made again from the batches if need be.
                if let Err(e) = segment.save_index(&self.dir).await {
                    tracing::warn!("an index was not written: {e}");
                }
                segment.finished.set(true);
            }
            at += 1;
        }
        Ok(())
    }

    /// Finds the end of one segment; true when it had to be cut before its end.
    async fn recover_segment(
        &mut self,
        segment: &SharedSegment,
        next_base: Option<Offset>,
    ) -> Result<bool> {
        let len = segment.size.get();
        segment.next.set(segment.base);
        let file = segment.open_file(&self.dir).await?;
        let mut index = load_index_or_empty(&self.dir, segment.base, len).await;
        if self.hints.clean && self.epochs_known {
            let from = index.truncate_above(Offset::MAX).map_or(0, |(_, position)| position);
            index.dirty = false;
            let (found, end) = self.scan(segment, index, from, false).await?;
            if end.bad.is_none() {
                self.settle(segment, found, &end);
                return Ok(false);
            }
            // Not what a clean stop leaves: trust nothing.
            index = SegmentIndex::new(segment.base);
        }
        self.synced = false;
        let trusted = if self.epochs_known { self.hints.recovery_point - 1 } else { -1 };
        let resume = index.truncate_above(trusted);
        let mut from = 0;
        if let Some((offset, position)) = resume {
            let mut scan = BatchScan::new(file.clone(), position, len);
            let path = segment.path(&self.dir, FileKind::Log);
            match scan.next(true).await.map_err(io_error(&path))? {
                Scanned::Batch { header, .. } if header.last_offset() == offset => from = position,
                _ => index = SegmentIndex::new(segment.base),
            }
        }
        let (found, end) = self.scan(segment, index, from, true).await?;
        self.settle(segment, found, &end);
        if end.valid == len {
            return Ok(false);
        }
        let zeros = self.rest_is_zero(&file, end.valid, len).await;
        if let Some(why) = end.bad.as_ref().filter(|_| !zeros) {
            tracing::warn!(
                "{}: cut at byte {}, offset {} ({why})",
                segment.path(&self.dir, FileKind::Log).display(),
                end.valid,
                end.next
            );
        }
        if zeros && next_base.is_none() {
            segment.allocated.set(len);
        } else {
            let path = segment.path(&self.dir, FileKind::Log);
            file.truncate(end.valid).await.map_err(io_error(&path))?;
            file.fdatasync().await.map_err(io_error(&path))?;
            segment.allocated.set(end.valid);
        }
        // Zeros at the end of a closed segment are its end only if the next one goes on from there.
        Ok(!zeros || next_base.is_some_and(|next| end.next != next))
    }

    fn settle(&self, segment: &SharedSegment, index: SegmentIndex, end: &ScanEnd) {
        segment.size.set(end.valid);
        segment.written.set(end.valid);
        segment.next.set(end.next);
        *segment.index.borrow_mut() = Some(Box::new(index));
    }

    /// Scans from `from` (a batch boundary), adding to `index` and to the epochs.
    async fn scan(
        &mut self,
        segment: &Segment,
        mut index: SegmentIndex,
        from: u64,
        check_crc: bool,
    ) -> Result<(SegmentIndex, ScanEnd)> {
        let path = segment.path(&self.dir, FileKind::Log);
        let file = segment.open_file(&self.dir).await?;
        let mut scan = BatchScan::new(file, from, segment.allocated.get());
        let mut end = ScanEnd { valid: from, next: segment.base, bad: None };
        let was_dirty = index.dirty;
        loop {
            match scan.next(check_crc).await.map_err(io_error(&path))? {
                Scanned::Batch { header, position } => {
                    if header.base_offset < end.next {
                        let why = format!("offset {} after {}", header.base_offset, end.next);
                        end.bad = Some(why);
                        break;
                    }
                    if position == 0 {
                        segment.first_timestamp.set(header.max_timestamp);
                    }
                    index.observe(indexed(&header, position), self.config.index_interval_bytes);
                    self.epochs.assign(header.partition_leader_epoch, header.base_offset);
                    end.valid = position + header.size_bytes() as u64;
                    end.next = header.last_offset() + 1;
                }
                Scanned::End => break,
                Scanned::Bad { why, .. } => {
                    end.bad = Some(why);
                    break;
                }
            }
        }
        // What a clean stop wrote is not written again for having been looked at.
        index.dirty = was_dirty;
        Ok((index, end))
    }

    async fn rest_is_zero(&self, file: &File, from: u64, to: u64) -> bool {
        if to - from > ZEROS_LEFT_MAX {
            return false;
        }
        match file.read_at(from, (to - from) as usize).await {
            Ok(bytes) => bytes.len() as u64 == to - from && bytes.iter().all(|b| *b == 0),
            Err(_) => false,
        }
    }

    /// Removes the segments after a cut, the last one first.
    async fn drop_from(&mut self, at: usize) -> Result<()> {
        let dropped = self.segments.split_off(at);
        if dropped.is_empty() {
            return Ok(());
        }
        for segment in dropped.iter().rev() {
            tracing::warn!(
                "{}: removed: it is after the cut",
                segment.path(&self.dir, FileKind::Log).display()
            );
            for kind in FileKind::ALL {
                self.remove(&file_name(segment.base, kind)).await?;
            }
        }
        disk::sync_dir(&self.dir).await.map_err(io_error(&self.dir))
    }

    async fn finish(mut self, dir_created: bool) -> Result<State> {
        let wanted_start = self.hints.log_start_offset.max(0);
        let end = self.segments.last().map_or(0, |s| s.next.get());
        if end < wanted_start {
            // All that is left is below the log start offset: begin anew there, as Kafka does.
            self.drop_from(0).await?;
        }
        if self.segments.is_empty() {
            self.segments.push(appender::new_segment(wanted_start, &self.config));
        }
        let first = self.segments[0].base;
        let Some(active) = self.segments.last().cloned() else { unreachable!("pushed above") };
        let end = active.next.get();
        let log_start = wanted_start.max(first);
        self.epochs.truncate_end(end);
        self.epochs.truncate_start(log_start);
        for offset in self.snapshots.iter().filter(|offset| **offset > end) {
            self.remove(&file_name(*offset, FileKind::Snapshot)).await?;
        }
        self.snapshots.retain(|offset| *offset <= end);
        if !self.synced {
            // What the scan found may be in the device's cache only: from here it counts as durable.
            if let Some(file) = active.file_now() {
                let path = active.path(&self.dir, FileKind::Log);
                file.fdatasync().await.map_err(io_error(&path))?;
            }
            disk::sync_dir(&self.dir).await.map_err(io_error(&self.dir))?;
        }
        if active.size.get() == 0 {
            active.first_timestamp.set(UNKNOWN);
        }
        active.synced.set(active.written.get());
        Ok(State {
            config: self.config,
            log_start,
            written: end,
            durable: end,
            health: Health::Open,
            dir_created,
            has_partition_metadata: self.has_partition_metadata,
            segments: self.segments,
            tail: Tail::new(),
            epochs: self.epochs,
            queued_snapshots: Vec::new(),
            snapshots: self.snapshots,
            cuts: 0,
            read_ahead: Vec::new(),
            leftovers: Vec::new(),
        })
    }
}
