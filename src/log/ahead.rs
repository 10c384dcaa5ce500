//! Room made before it is needed: the next step of the active segment's file and, near its end, the
//! file of the next segment. So in steady state neither an append nor a roll waits for fallocate.
//! A log of small writes gets zeros written into its new room: a write into blocks that are only
//! allocated converts them, which costs CPU and makes the next fdatasync commit the journal (the
//! figures are in ARCHITECTURE.md). Files are never recycled with their old batches inside: those
//! have good CRCs, and recovery could take them for this log's.
//! Invariants: a file changes its length under `Ahead::turn` only, which is taken after the log's
//! turn; zeros are written at or above `allocated` only, and a batch below it only.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::appender::Turn;
use super::segment::{FileKind, SharedSegment};
use super::{Health, Log, Result, io_error};
use crate::limits::{PREPARATIONS_AT_ONCE, ZERO_AHEAD_BYTES};
use crate::runtime::{AlignedBuf, BLOCK, File, OpenMode, disk, spawn};

/// A file grows by doubling between these steps, so that small partitions stay small.
pub(super) const STEP_MIN: u64 = 64 * 1024;
const STEP_MAX: u64 = 16 * 1024 * 1024;

/// Writes that are smaller than this on average get zeroed room: to write each byte twice costs less
/// than what it saves up to about 256 KiB a write, but wears a disk that much more.
const SMALL_WRITE_BYTES: u32 = 64 * 1024;
const ZERO_WRITE_BYTES: u64 = 256 * 1024;

/// The next segment is made ready when this little of the active one is left.
const SPARE_FROM: u64 = 4 * 1024 * 1024;

/// No segment's name: Kafka passes it by, a start removes it.
pub(super) const SPARE_FILE: &str = "next-segment.tmp";

thread_local! {
    static ZEROS: Rc<AlignedBuf> = Rc::new(AlignedBuf::zeroed(ZERO_WRITE_BYTES as usize));
    static AT_WORK: Cell<usize> = const { Cell::new(0) };
}

#[derive(Default)]
pub(super) struct Ahead {
    pub turn: Turn,
    at_work: Cell<bool>,
    /// The log is closing: files stay as long as they are.
    ended: Cell<bool>,
    /// There was no room when this much was allocated: not tried again until that has changed.
    failed_at: Cell<Option<u64>>,
    spare: RefCell<Option<Spare>>,
    /// Mean size of the last writes.
    write_bytes: Cell<u32>,
    /// The sync of a preparation failed: the kernel tells of an error once, so the next sync of the
    /// log must not be believed.
    sync_failed: Cell<bool>,
    /// Writes that had to wait for their room.
    #[cfg(test)]
    pub waited: Cell<u64>,
}

/// The next segment's file, and how much of it is allocated.
type Spare = (File, u64);

enum Wanted {
    Step(u64),
    Spare(u64),
}

/// A place among the preparations of this thread.
struct Place;

impl Place {
    fn take() -> Option<Place> {
        AT_WORK.with(|n| {
            (n.get() < PREPARATIONS_AT_ONCE).then(|| {
                n.set(n.get() + 1);
                Place
            })
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        AT_WORK.with(|n| n.set(n.get() - 1));
    }
}

impl Log {
    fn writes_are_small(&self) -> bool {
        self.inner.ahead.write_bytes.get() < SMALL_WRITE_BYTES
    }

    fn segment_limit(&self) -> u64 {
        self.inner.state.borrow().config.segment_bytes.next_multiple_of(BLOCK as u64)
    }

    /// How long the file is to be when it has `allocated` bytes and a write ends at `end`.
    fn step_after(&self, allocated: u64, end: u64) -> u64 {
        let max = if self.writes_are_small() { ZERO_AHEAD_BYTES } else { STEP_MAX };
        (allocated + allocated.clamp(STEP_MIN, max))
            .next_multiple_of(STEP_MIN)
            .min(self.segment_limit())
            .max(end)
    }

    /// Allocates blocks for a write that ends at `end`: the first of a segment, or when the room
    /// that was to be there is not. A file system that can't do it, or has no room, is left to the
    /// write itself to complain about.
    pub(super) async fn make_room(&self, segment: &SharedSegment, file: &File, end: u64) {
        if end <= segment.allocated.get() {
            return;
        }
        let _turn = self.inner.ahead.turn.take().await;
        let allocated = segment.allocated.get();
        if end <= allocated {
            return;
        }
        #[cfg(test)]
        self.inner.ahead.waited.set(self.inner.ahead.waited.get() + 1);
        let size = self.step_after(allocated, end);
        let made = file.preallocate(size).await.is_ok();
        // Without it too: no zeros come where this write goes.
        segment.allocated.set(if made { size } else { end });
    }

    /// After a write of `bytes` into `segment`: starts what is wanted next, beside the appends.
    pub(super) fn look_ahead(&self, segment: &SharedSegment, bytes: usize) {
        let ahead = &self.inner.ahead;
        let mean = i64::from(ahead.write_bytes.get());
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX).min(1 << 30);
        // The first write is the mean as it is.
        let mean = if mean == 0 { bytes } else { mean + (bytes - mean) / 8 };
        ahead.write_bytes.set(mean.max(1) as u32);
        if ahead.at_work.get() || self.wanted(segment).is_none() {
            return;
        }
        // Without a place, after a later write.
        let Some(place) = Place::take() else { return };
        ahead.at_work.set(true);
        let (log, segment) = (self.clone(), segment.clone());
        spawn(async move {
            log.prepare(&segment).await;
            log.inner.ahead.at_work.set(false);
            drop(place);
        });
    }

    fn wanted(&self, segment: &SharedSegment) -> Option<Wanted> {
        let (allocated, written) = (segment.allocated.get(), segment.written.get());
        {
            let state = self.inner.state.borrow();
            let is_active = Rc::ptr_eq(state.active(), segment);
            let open = state.health == Health::Open && !self.inner.ahead.ended.get();
            if !open || !is_active || !segment.created.get() {
                return None;
            }
        }
        if self.inner.ahead.failed_at.get() == Some(allocated) {
            return None;
        }
        let limit = self.segment_limit();
        let left = allocated.saturating_sub(written);
        let two_writes = u64::from(self.inner.ahead.write_bytes.get()) * 2;
        if allocated < limit {
            let size = self.step_after(allocated, 0);
            if left < ((size - allocated) / 2).max(two_writes) {
                return Some(Wanted::Step(size));
            }
        }
        let to_go = limit.saturating_sub(written);
        if to_go > SPARE_FROM.min(limit / 2) || self.inner.ahead.spare.borrow().is_some() {
            return None;
        }
        let whole = self.inner.state.borrow().config.preallocate;
        let step = if self.writes_are_small() { ZERO_AHEAD_BYTES } else { STEP_MAX };
        Some(Wanted::Spare(if whole { limit } else { step.min(limit) }))
    }

    async fn prepare(&self, segment: &SharedSegment) {
        let _turn = self.inner.ahead.turn.take().await;
        // What was wanted may have come or gone meanwhile.
        let Some(wanted) = self.wanted(segment) else { return };
        let allocated = segment.allocated.get();
        let made = match wanted {
            Wanted::Step(size) => self.grow(segment, allocated, size).await,
            Wanted::Spare(bytes) => self.make_spare(bytes).await,
        };
        let ahead = &self.inner.ahead;
        ahead.failed_at.set(made.is_err().then_some(allocated));
        if let Err(e) = made {
            tracing::debug!("no room was made ahead: {e}");
        }
    }

    async fn grow(&self, segment: &SharedSegment, from: u64, to: u64) -> Result<()> {
        let dir = &self.inner.dir;
        let file = segment.open_file(dir).await?;
        let filled = self.fill(&file, from, to).await;
        filled.map_err(io_error(&segment.path(dir, FileKind::Log)))?;
        // After a failed write nobody knows how long the file is.
        if segment.allocated.get() == from {
            segment.allocated.set(to);
        }
        Ok(())
    }

    async fn fill(&self, file: &File, from: u64, to: u64) -> std::io::Result<()> {
        file.preallocate(to).await?;
        let mut at = from.next_multiple_of(BLOCK as u64);
        if !self.writes_are_small() || at >= to {
            return Ok(());
        }
        let zeros = ZEROS.with(Rc::clone);
        while at < to {
            let some = (to - at).min(ZERO_WRITE_BYTES);
            let buf = match some {
                ZERO_WRITE_BYTES => zeros.clone(),
                _ => Rc::new(AlignedBuf::zeroed(some as usize)),
            };
            file.write_at(buf, at).await?;
            at += some;
        }
        // The blocks count as written from here on: else a sync that somebody waits for pays.
        file.fdatasync().await.inspect_err(|_| self.inner.ahead.sync_failed.set(true))
    }

    async fn make_spare(&self, bytes: u64) -> Result<()> {
        let path = self.inner.dir.join(SPARE_FILE);
        let file = File::open(&path, OpenMode::Create).await.map_err(io_error(&path))?;
        if let Err(e) = self.fill(&file, 0, bytes).await {
            let _ = file.close().await;
            let _ = disk::remove_file(&path).await;
            return Err(io_error(&path)(e));
        }
        *self.inner.ahead.spare.borrow_mut() = Some((file, bytes));
        Ok(())
    }

    /// The file of a segment that has none yet: the one that was made ready, or a new one.
    pub(super) async fn create_file(&self, segment: &SharedSegment) -> Result<File> {
        let _turn = self.inner.ahead.turn.take().await;
        let dir = &self.inner.dir;
        let path = segment.path(dir, FileKind::Log);
        let spare = self.inner.ahead.spare.borrow_mut().take();
        if let Some((file, bytes)) = spare {
            disk::rename(&dir.join(SPARE_FILE), &path).await.map_err(io_error(&path))?;
            segment.allocated.set(bytes);
            return Ok(file);
        }
        let file = File::open(&path, OpenMode::Create).await.map_err(io_error(&path))?;
        let (whole, limit) = (self.inner.state.borrow().config.preallocate, self.segment_limit());
        if whole && file.preallocate(limit).await.is_ok() {
            segment.allocated.set(limit);
        }
        Ok(file)
    }

    /// From here on nothing more is made ready.
    pub(super) fn end_ahead(&self) {
        self.inner.ahead.ended.set(true);
    }

    /// By the holder of `Ahead::turn`: nothing that was made ready is left.
    pub(super) async fn drop_spare(&self) {
        let spare = self.inner.ahead.spare.borrow_mut().take();
        if let Some((file, _)) = spare {
            let _ = file.close().await;
            // Else the next start removes it.
            let _ = disk::remove_file(&self.inner.dir.join(SPARE_FILE)).await;
        }
    }

    /// fdatasync of a segment's file.
    pub(super) async fn sync_file(&self, file: &File) -> std::io::Result<()> {
        file.fdatasync().await?;
        self.all_syncs_went_well()
    }

    /// A write of a segment's file that is durable when it returns.
    pub(super) async fn write_and_sync_file(
        &self,
        file: &File,
        buf: Rc<AlignedBuf>,
        at: u64,
    ) -> std::io::Result<()> {
        file.write_durably_at(buf, at).await?;
        self.all_syncs_went_well()
    }

    fn all_syncs_went_well(&self) -> std::io::Result<()> {
        match self.inner.ahead.sync_failed.take() {
            true => Err(std::io::Error::other("a sync of this file failed before")),
            false => Ok(()),
        }
    }

    /// What follows is written again and synced: an earlier failure is seen to.
    pub(super) fn forget_failed_sync(&self) {
        self.inner.ahead.sync_failed.set(false);
    }
}
