//! A new segment takes the place of old ones, under Kafka's names and so that a power cut at any
//! point, which may keep or lose any name that no sync has covered, leaves the one or the other:
//!
//!   X.log.cleaned …   written and synced; the start removes it
//!   X.log.swap …      renamed and synced: from here the start completes the swap
//!   (memory)          readers see the new segment; who reads an old one keeps its file
//!   Y.log.deleted …   the old ones, renamed and synced before the next step: the new file beside old
//!                     ones that it covers would look like a log that goes wrong there
//!   X.log …           the new one has its name, synced; the `.deleted` are removed
//!
//! Runs under the log's turn. A disk that fails leaves a `HalfSwap`, which `Log::repair` finishes when
//! the disk works again. What the start does is in swap_recovery.rs.

use std::io;
use std::path::Path;
use std::rc::Rc;

use super::super::retention::remove_gone;
use super::super::segment::{FileKind, Segment, SharedSegment, file_name};
use super::super::{Health, Log, Result, io_error};
use super::files::cleaned_name;
use crate::runtime::disk;
use crate::types::Offset;

/// The log last: a swap counts from when that one has its name.
pub(super) const KINDS: [FileKind; 4] =
    [FileKind::TxnIndex, FileKind::TimeIndex, FileKind::Index, FileKind::Log];

pub(super) fn swap_name(base: Offset, kind: FileKind) -> String {
    format!("{}.swap", file_name(base, kind))
}

fn deleted_name(base: Offset, kind: FileKind) -> String {
    format!("{}.deleted", file_name(base, kind))
}

/// A swap that the disk cut short, and what is left of it. Reads go on from the files that are open; no
/// other name changes, and nothing is appended, until it is done (`Log::repair` tries).
pub(in crate::log) struct HalfSwap {
    old: Vec<SharedSegment>,
    base: Offset,
    left: Left,
}

/// Each is done again from its start.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// To take the `.swap` files back: they may or may not be durable.
    RollBack,
    /// The old files' names, then the new one's.
    Drop,
    /// The old names are gone, durably: one of them may be the new segment's by now.
    Name,
}

impl HalfSwap {
    async fn go_on(&mut self, dir: &Path) -> Result<()> {
        if self.left == Left::RollBack {
            return roll_back(dir, self.base).await;
        }
        if self.left == Left::Drop {
            drop_old(dir, &self.old).await?;
            self.left = Left::Name;
        }
        name_new(dir, self.base).await
    }
}

impl Log {
    /// False: the log is not as it was when the cleaning of `old` began, and nothing was done.
    pub(super) async fn swap_in(&self, old: &[SharedSegment], new: Segment) -> Result<bool> {
        let swapped = self.change_names(old, new).await?;
        if swapped {
            // Beside writes again: large files take their time to go, and nobody needs the names.
            self.remove_old(old).await?;
        }
        Ok(swapped)
    }

    async fn remove_old(&self, old: &[SharedSegment]) -> Result<()> {
        let dir = &self.inner.dir;
        let gone = old.iter().flat_map(|s| KINDS.map(|k| dir.join(deleted_name(s.base, k))));
        let delay_ms = self.inner.state.borrow().config.file_delete_delay_ms;
        remove_gone(gone.collect(), delay_ms).await
    }

    async fn change_names(&self, old: &[SharedSegment], new: Segment) -> Result<bool> {
        let _turn = self.inner.turn.take().await;
        // It holds to the end: the list changes before its last segment by holders of the turn only.
        let Some(at) = self.place_of(old) else { return Ok(false) };
        let dir = &self.inner.dir;
        let mut swap = HalfSwap { old: old.to_vec(), base: new.base, left: Left::Drop };
        if let Err(e) = prepare(dir, new.base).await {
            swap.left = Left::RollBack;
            let _ = self.go_on(swap).await;
            return Err(e);
        }
        // From here it is done to the end, also when a sync beside this has failed: a `.swap` that
        // stays would one day replace what is newer than it.
        {
            let mut state = self.inner.state.borrow_mut();
            let next = new.next.get();
            state.segments.splice(at..at + old.len(), [Rc::new(new)]);
            // The read cache has the batches as they were, at the positions that they had.
            state.tail.drop_below(next);
        }
        for segment in old {
            segment.retired.set(true);
            if let Some(file) = segment.take_file() {
                let _ = file.close().await;
            }
        }
        self.go_on(swap).await?;
        self.drop_stray_snapshots().await;
        Ok(true)
    }

    /// Keeps what is left to do when the disk fails; the log takes no appends then.
    async fn go_on(&self, mut swap: HalfSwap) -> Result<()> {
        let done = swap.go_on(&self.inner.dir).await;
        if done.is_err() {
            *self.inner.half_swap.borrow_mut() = Some(Box::new(swap));
            let mut state = self.inner.state.borrow_mut();
            if state.health == Health::Open {
                state.health = Health::Suspect;
            }
        }
        done
    }

    /// By the holder of the turn: what a swap was cut short in. Nothing to do is fine.
    pub(in crate::log) async fn finish_swap(&self) -> Result<()> {
        let Some(swap) = self.inner.half_swap.borrow_mut().take() else { return Ok(()) };
        let (old, swapped) = (swap.old.clone(), swap.left != Left::RollBack);
        self.go_on(*swap).await?;
        if swapped {
            self.drop_stray_snapshots().await;
            // Named `.deleted`: if they can't be removed now, the next start does.
            if let Err(e) = self.remove_old(&old).await {
                tracing::warn!("left for the next start to remove: {e}");
            }
        }
        Ok(())
    }

    /// A swap waits for the disk: what the names of closed segments stand for is not known.
    pub fn is_half_swapped(&self) -> bool {
        self.inner.half_swap.borrow().is_some()
    }

    /// Where `old` stand in the list, all of them and in a row, while the log is open.
    fn place_of(&self, old: &[SharedSegment]) -> Option<usize> {
        let state = self.inner.state.borrow();
        let at = state.segments.iter().position(|s| Rc::ptr_eq(s, &old[0]))?;
        let same = state.segments[at..].iter().zip(old).filter(|(a, b)| Rc::ptr_eq(a, b)).count();
        let active = at + old.len() >= state.segments.len();
        (state.health == Health::Open && same == old.len() && !active).then_some(at)
    }
}

async fn prepare(dir: &Path, base: Offset) -> Result<()> {
    for kind in KINDS {
        let (from, to) = (dir.join(cleaned_name(base, kind)), dir.join(swap_name(base, kind)));
        match disk::rename(&from, &to).await {
            Err(e) if kind == FileKind::TxnIndex && e.kind() == io::ErrorKind::NotFound => {}
            done => done.map_err(io_error(&from))?,
        }
    }
    disk::sync_dir(dir).await.map_err(io_error(dir))
}

/// The `.swap` files durably first: without a `.cleaned` beside it one would be completed.
async fn roll_back(dir: &Path, base: Offset) -> Result<()> {
    for kind in KINDS.into_iter().rev() {
        remove(&dir.join(swap_name(base, kind))).await?;
    }
    disk::sync_dir(dir).await.map_err(io_error(dir))?;
    for kind in KINDS {
        remove(&dir.join(cleaned_name(base, kind))).await?;
    }
    Ok(())
}

async fn drop_old(dir: &Path, old: &[SharedSegment]) -> Result<()> {
    for segment in old {
        for kind in KINDS {
            let from = segment.path(dir, kind);
            match disk::rename(&from, &dir.join(deleted_name(segment.base, kind))).await {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                done => done.map_err(io_error(&from))?,
            }
        }
    }
    disk::sync_dir(dir).await.map_err(io_error(dir))
}

async fn name_new(dir: &Path, base: Offset) -> Result<()> {
    for kind in KINDS {
        let from = dir.join(swap_name(base, kind));
        match disk::rename(&from, &dir.join(file_name(base, kind))).await {
            // There is no such file, or an attempt before this one came as far.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            done => done.map_err(io_error(&from))?,
        }
    }
    disk::sync_dir(dir).await.map_err(io_error(dir))
}

/// Absent is fine.
pub(super) async fn remove(path: &Path) -> Result<()> {
    match disk::remove_file(path).await {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error(path)(e)),
        _ => Ok(()),
    }
}
