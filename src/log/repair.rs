//! What follows a failed write or sync of one log. `cut_back` forgets, in memory, all that nobody
//! was promised; `repair` then makes the files hold exactly the rest, and is tried until it does.
//! A failed sync leaves nothing to trust: the kernel may have dropped what it could not write and
//! call the pages clean. So what no sync has covered is written again (from memory, or as it is read
//! back), synced, and read back from the device, batch by batch with its CRC, before the log is
//! writable. Invariant: the durable offset moves here only after all three.
//! Not here: what was promised (partition/), when to try again (shard/flusher).

use std::rc::Rc;

use super::ahead::STEP_MIN;
use super::index::SegmentIndex;
use super::scan::{BatchScan, Scanned};
use super::segment::{FileKind, SharedSegment, UNKNOWN, file_name, indexed};
use super::{Health, Log, LogError, Result, State, io_error};
use crate::runtime::{AlignedBuf, BLOCK, File, disk};
use crate::types::Offset;

/// Bytes that are read, and written again, at once.
const WINDOW_BYTES: u64 = 1024 * 1024;

impl State {
    fn cut(&mut self, to: Offset) {
        assert!(to == self.written || to == self.durable, "a cut at {to}");
        let at = self.segment_position(to);
        for gone in self.segments.drain(at + 1..) {
            // A file is made when all before it is durable; one whose making failed may be there.
            assert!(!gone.created.get(), "a cut at {to} below the file of {}", gone.base);
            self.leftovers.push((gone.base, FileKind::Log));
        }
        let active = self.active().clone();
        let bytes = if to == self.written { active.written.get() } else { active.synced.get() };
        active.size.set(bytes);
        active.written.set(bytes);
        active.next.set(to);
        if active.created.get() {
            active.allocated.set(u64::MAX);
        }
        if bytes == 0 {
            active.first_timestamp.set(UNKNOWN);
            *active.index.borrow_mut() = Some(Box::new(SegmentIndex::new(active.base)));
        }
        // Where readers stopped and what was read ahead may be what is cut off.
        *active.reads.borrow_mut() = None;
        self.tail.cut(bytes, to);
        self.written = to;
        self.epochs.truncate_end(to);
        self.queued_snapshots.retain(|(offset, _)| *offset <= to);
        let kept = self.snapshots.partition_point(|offset| *offset <= to);
        let gone = self.snapshots.drain(kept..).map(|offset| (offset, FileKind::Snapshot));
        self.leftovers.extend(gone);
        self.cuts += 1;
    }
}

impl Log {
    /// After a failure: `choose` is told the written and the durable offset and names the one that
    /// the log is to end at. Returns that, without an await between the choice and the return;
    /// `None` when the log is not suspect, or was cut before.
    pub async fn cut_back(
        &self,
        choose: impl FnOnce(Offset, Offset) -> Offset,
    ) -> Result<Option<Offset>> {
        let _turn = self.inner.turn.take().await;
        let mut state = self.inner.state.borrow_mut();
        match state.health {
            Health::Suspect => {}
            Health::Open | Health::Checking => return Ok(None),
            _ => return state.check_open(&self.inner.dir).map(|()| None),
        }
        let to = choose(state.written, state.durable);
        state.cut(to);
        state.health = Health::Checking;
        Ok(Some(to))
    }

    /// Makes the files what `cut_back` left of the log and sees that there is room to go on. Then
    /// the log is writable and all of it is durable. Any error leaves it as it was: try again; one
    /// that says `Corrupt` is the last (`is_offline`).
    pub async fn repair(&self) -> Result<()> {
        let _turn = self.inner.turn.take().await;
        let segments = {
            let state = self.inner.state.borrow();
            if state.health != Health::Checking {
                return state.check_open(&self.inner.dir);
            }
            state.segments.clone()
        };
        self.finish_swap().await?;
        self.remove_leftovers().await?;
        for segment in segments.iter().filter(|s| s.created.get() && !s.finished.get()) {
            let checked = self.settle(segment).await;
            if matches!(checked, Err(LogError::Corrupt { .. })) {
                self.turns(Health::Offline);
            }
            checked?;
        }
        {
            let mut state = self.inner.state.borrow_mut();
            state.durable = state.written;
        }
        let Some(active) = segments.last() else { return Ok(()) };
        self.prepare_segment(active).await?;
        self.reserve(active).await?;
        self.turns(Health::Open);
        Ok(())
    }

    /// A log that was closed or deleted meanwhile stays that.
    fn turns(&self, health: Health) {
        let mut state = self.inner.state.borrow_mut();
        if state.health == Health::Checking {
            state.health = health;
        }
    }

    async fn remove_leftovers(&self) -> Result<()> {
        let leftovers = self.inner.state.borrow().leftovers.clone();
        for (base, kind) in &leftovers {
            let path = self.inner.dir.join(file_name(*base, *kind));
            match disk::remove_file(&path).await {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io_error(&path)(e));
                }
                _ => {}
            }
        }
        self.inner.state.borrow_mut().leftovers.clear();
        Ok(())
    }

    /// Makes the file of `segment` hold its batches and no more, durably.
    async fn settle(&self, segment: &SharedSegment) -> Result<()> {
        let (dir, size) = (&self.inner.dir, segment.written.get());
        if segment.synced.get() == size && segment.allocated.get() == size {
            return Ok(());
        }
        let path = segment.path(dir, FileKind::Log);
        let _room = self.inner.ahead.turn.take().await;
        self.forget_failed_sync();
        let file = segment.open_file(dir).await?;
        self.rewrite(segment, &file).await?;
        file.truncate(size).await.map_err(io_error(&path))?;
        self.sync_file(&file).await.map_err(io_error(&path))?;
        self.sync_names(segment).await?;
        self.verify(segment, &file).await?;
        self.index_again(segment, &file).await?;
        segment.synced.set(size);
        segment.allocated.set(size);
        Ok(())
    }

    /// Writes again what no sync has covered.
    async fn rewrite(&self, segment: &SharedSegment, file: &File) -> Result<()> {
        let path = segment.path(&self.inner.dir, FileKind::Log);
        let (synced, size) = (segment.synced.get(), segment.written.get());
        if synced >= size {
            return Ok(());
        }
        let mut at = synced / BLOCK as u64 * BLOCK as u64;
        while synced < size && at < size {
            let want = (size - at).min(WINDOW_BYTES) as usize;
            let buf = match self.kept_in_memory(segment, at, want) {
                Some(buf) => buf,
                None => {
                    let bytes = file.read_at(at, want).await.map_err(io_error(&path))?;
                    if bytes.len() < want {
                        let why = "the file ends before the log does".to_string();
                        let position = at + bytes.len() as u64;
                        return Err(LogError::Corrupt { path, position, why });
                    }
                    padded(&bytes)
                }
            };
            let len = buf.len() as u64;
            file.write_at(Rc::new(buf), at).await.map_err(io_error(&path))?;
            at += len;
        }
        Ok(())
    }

    /// At most `want` bytes of the file from `at` on that are still held; whole blocks, but for the
    /// last one of the log.
    fn kept_in_memory(&self, segment: &SharedSegment, at: u64, want: usize) -> Option<AlignedBuf> {
        let state = self.inner.state.borrow();
        let holds = state.tail.sealed().iter().rev().find(|sealed| {
            sealed.segment_base == segment.base
                && sealed.file_position <= at
                && at < sealed.file_position + sealed.end as u64
        })?;
        let from = (at - holds.file_position) as usize;
        let bytes = &holds.buf[from..holds.end];
        let n = match bytes.len() {
            held if held >= want => want,
            held => held / BLOCK * BLOCK,
        };
        (n > 0).then(|| padded(&bytes[..n]))
    }

    /// Reads back what was written again.
    async fn verify(&self, segment: &SharedSegment, file: &File) -> Result<()> {
        let path = segment.path(&self.inner.dir, FileKind::Log);
        let mut next = segment.base.max(self.durable_offset());
        let (synced, size) = (segment.synced.get(), segment.written.get());
        let mut scan = BatchScan::new(file.clone(), synced, size);
        let bad = |position: u64, why: String| LogError::Corrupt {
            path: path.clone(),
            position,
            why: format!("read back after a failed write: {why}"),
        };
        loop {
            match scan.next(true).await.map_err(io_error(&path))? {
                Scanned::Batch { header, position } if header.base_offset < next => {
                    return Err(bad(position, format!("offset {} again", header.base_offset)));
                }
                Scanned::Batch { header, .. } => next = header.last_offset() + 1,
                Scanned::Bad { position, why } => return Err(bad(position, why)),
                Scanned::End if next == segment.next.get() => return Ok(()),
                Scanned::End => return Err(bad(size, format!("ends at offset {next}"))),
            }
        }
    }

    /// The index as if what was cut had never been there.
    async fn index_again(&self, segment: &SharedSegment, file: &File) -> Result<()> {
        let path = segment.path(&self.inner.dir, FileKind::Log);
        let interval = self.inner.state.borrow().config.index_interval_bytes;
        let Some(mut index) = segment.index.borrow().clone() else { return Ok(()) };
        let from = index.truncate_above(segment.next.get() - 1).map_or(0, |(_, position)| position);
        let mut scan = BatchScan::new(file.clone(), from, segment.written.get());
        while let Scanned::Batch { header, position } =
            scan.next(false).await.map_err(io_error(&path))?
        {
            index.observe(indexed(&header, position), interval);
        }
        *segment.index.borrow_mut() = Some(index);
        Ok(())
    }

    /// Room for the next batches, so that a full disk is found here rather than by an append.
    async fn reserve(&self, segment: &SharedSegment) -> Result<()> {
        let (block, written) = (BLOCK as u64, segment.written.get());
        let limit = self.inner.state.borrow().config.segment_bytes.next_multiple_of(block);
        let size = (written + STEP_MIN).min(limit).max(written).next_multiple_of(block);
        let _room = self.inner.ahead.turn.take().await;
        if segment.allocated.get() < size {
            let file = segment.open_file(&self.inner.dir).await?;
            let path = segment.path(&self.inner.dir, FileKind::Log);
            file.preallocate(size).await.map_err(io_error(&path))?;
            segment.allocated.set(size);
        }
        Ok(())
    }
}

fn padded(bytes: &[u8]) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(bytes.len().next_multiple_of(BLOCK));
    buf[..bytes.len()].copy_from_slice(bytes);
    buf
}
