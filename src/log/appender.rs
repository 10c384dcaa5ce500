//! The write path of one log: append into the tail, write, sync, roll.
//! `append` is synchronous and decides rolls; files are made, written and finished by the one that
//! holds the log's turn, in offset order. Invariants: one write in flight; a segment is synced and
//! trimmed before the file of the next one exists, so a hole can not open between them; any failed
//! write or sync makes the log suspect: it refuses appends until `repair` has checked it.
//! Not here: the end of a log (`close`), what follows a failure (`repair`).

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::ErrorKind;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::segment::{FileKind, Segment, SharedSegment, UNKNOWN};
use super::{Health, Log, LogConfig, LogError, Patch, Result, State, epochs, io_error, segment};
use crate::runtime::{disk, random_u64, wall_clock_ms};
use crate::types::Offset;
use crate::wire::record_batch::{BatchHeader, HEADER_BYTES, patch_log_append_time, patch_offset};

/// One task at a time works on the files of a log.
#[derive(Default)]
pub(super) struct Turn {
    taken: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

pub(super) struct TurnGuard<'a>(&'a Turn);

impl Turn {
    pub async fn take(&self) -> TurnGuard<'_> {
        poll_fn(|cx| {
            if self.taken.replace(true) {
                self.waiting.borrow_mut().push(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        TurnGuard(self)
    }
}

impl Drop for TurnGuard<'_> {
    fn drop(&mut self) {
        self.0.taken.set(false);
        for waker in self.0.waiting.take() {
            waker.wake();
        }
    }
}

/// Makes the log suspect unless it is told that all went well: also when the future is dropped
/// mid-write.
struct SuspectUnlessDone<'a> {
    log: &'a Log,
    done: bool,
}

impl Drop for SuspectUnlessDone<'_> {
    fn drop(&mut self) {
        if !self.done {
            let mut state = self.log.inner.state.borrow_mut();
            if state.health == Health::Open {
                state.health = Health::Suspect;
            }
        }
    }
}

impl State {
    /// Whether `header` must open a new segment (Kafka's LogSegment.shouldRoll).
    fn must_roll(&self, header: &BatchHeader, last_offset: Offset) -> bool {
        let active = self.active();
        let size = active.size.get();
        if size == 0 {
            return last_offset - active.base > i32::MAX as i64;
        }
        let after = size + header.size_bytes() as u64;
        let first = active.first_timestamp.get();
        let waited = if first == UNKNOWN || first < 0 {
            wall_clock_ms().saturating_sub(active.created_ms)
        } else {
            header.max_timestamp.saturating_sub(first)
        };
        after > self.config.segment_bytes
            || after > i32::MAX as u64
            || waited > self.config.segment_ms.saturating_sub(active.roll_jitter_ms)
            || last_offset - active.base > i32::MAX as i64
            || active
                .index
                .borrow()
                .as_ref()
                .is_some_and(|i| i.is_full(self.config.segment_index_bytes))
    }

    /// Opens the next segment at the log end, in memory: its file comes with the next write.
    pub(super) fn roll(&mut self) -> Offset {
        let base = self.log_end();
        if let Some(index) = self.active().index.borrow_mut().as_deref_mut() {
            index.add_time_entry();
        }
        self.segments.push(new_segment(base, &self.config));
        base
    }
}

pub(super) fn new_segment(base: Offset, config: &LogConfig) -> SharedSegment {
    let jitter = match config.segment_jitter_ms {
        ms if ms > 0 => (random_u64() % ms as u64) as i64,
        _ => 0,
    };
    Rc::new(Segment::new(base, wall_clock_ms(), jitter))
}

impl Log {
    /// Copies one validated magic-2 batch whose first offset is `patch.base_offset` (= log end).
    /// `Some(base)` when this batch opened a new segment at `base`: the caller hands the producer
    /// snapshot as of `base` to `put_producer_snapshot`.
    pub fn append(&self, batch: &[u8], patch: Patch) -> Result<Option<Offset>> {
        let mut guard = self.inner.state.borrow_mut();
        let state = &mut *guard;
        state.check_open(&self.inner.dir)?;
        let corrupt = |why: String| LogError::Corrupt {
            path: self.inner.dir.clone(),
            position: state.active().size.get(),
            why,
        };
        let mut header = BatchHeader::parse(batch).map_err(|e| corrupt(e.to_string()))?;
        if header.size_bytes() != batch.len() || batch.len() < HEADER_BYTES {
            return Err(corrupt("the batch's length is not its size".into()));
        }
        let end = state.log_end();
        assert!(patch.base_offset >= end, "append at {} below {end}", patch.base_offset);
        header.base_offset = patch.base_offset;
        if let Some(ms) = patch.log_append_time_ms {
            header.max_timestamp = ms;
        }
        let rolled = state.must_roll(&header, header.last_offset()).then(|| state.roll());
        let segment = state.active().clone();
        let position = segment.size.get();
        let next = header.last_offset() + 1;
        let copy = state.tail.push(&segment, position, batch, patch.base_offset, next);
        patch_offset(copy, patch.base_offset, patch.leader_epoch);
        if let Some(ms) = patch.log_append_time_ms {
            patch_log_append_time(copy, ms);
        }
        if let Some(index) = segment.index.borrow_mut().as_deref_mut() {
            let batch = segment::indexed(&header, position);
            index.observe(batch, state.config.index_interval_bytes);
        }
        if position == 0 {
            segment.first_timestamp.set(header.max_timestamp);
        }
        segment.size.set(position + batch.len() as u64);
        segment.next.set(next);
        state.epochs.assign(patch.leader_epoch, patch.base_offset);
        Ok(rolled)
    }

    /// Writes all that is pending when called; returns the new written offset. One at a time (others
    /// wait for their turn). Dropped half-way, it leaves the log failed: nobody knows what was
    /// written. Poll it from one task only (glommio counts wakers in 16 bits).
    pub async fn write_pending(&self) -> Result<Offset> {
        let _turn = self.inner.turn.take().await;
        self.write_all().await
    }

    /// `write_pending` and `sync`; in one operation of the device when one write does it. Returns
    /// the new durable offset.
    pub async fn write_durably(&self) -> Result<Offset> {
        {
            let _turn = self.inner.turn.take().await;
            self.write_up_to_end(true).await?;
        }
        self.sync().await
    }

    /// As `write_pending`, by the holder of the turn.
    pub(super) async fn write_all(&self) -> Result<Offset> {
        self.write_up_to_end(false).await
    }

    async fn write_up_to_end(&self, durably: bool) -> Result<Offset> {
        let up_to = {
            let state = self.inner.state.borrow();
            state.check_open(&self.inner.dir)?;
            state.log_end()
        };
        let mut outcome = SuspectUnlessDone { log: self, done: false };
        loop {
            // The segment the next bytes go to, or one that was rolled to and has no file yet.
            let segment = {
                let mut state = self.inner.state.borrow_mut();
                // A sync beside this may have failed.
                state.check_open(&self.inner.dir)?;
                let next = state.tail.front().map(|open| open.segment.clone());
                match next {
                    Some(_) if state.written >= up_to => None,
                    Some(segment) => Some((segment, true)),
                    None => {
                        let active = state.active().clone();
                        let rolled = state.segments.len() > 1 && !active.created.get();
                        rolled.then_some((active, false))
                    }
                }
            };
            let Some((segment, has_data)) = segment else { break };
            self.prepare_segment(&segment).await?;
            if has_data {
                self.write_front(&segment, durably).await?;
            }
        }
        self.write_snapshots().await;
        outcome.done = true;
        Ok(self.inner.state.borrow().written)
    }

    /// Finishes older segments and makes or opens the file of `segment`.
    pub(super) async fn prepare_segment(&self, segment: &SharedSegment) -> Result<()> {
        if !segment.created.get() {
            let older: Vec<SharedSegment> = {
                let state = self.inner.state.borrow();
                let open = |s: &&SharedSegment| s.base < segment.base && !s.finished.get();
                state.segments.iter().filter(open).cloned().collect()
            };
            for s in older {
                self.finish_segment(&s).await?;
            }
            self.ensure_dir().await?;
            segment.set_file(self.create_file(segment).await?);
            segment.dir_unsynced.set(true);
            segment.created.set(true);
        } else if segment.first_timestamp.get() == UNKNOWN && segment.written.get() > 0 {
            self.load_first_timestamp(segment).await?;
        }
        Ok(())
    }

    pub(super) async fn ensure_dir(&self) -> Result<()> {
        if !self.inner.state.borrow().dir_created {
            let dir = &self.inner.dir;
            // Its name is made durable with those of the files in it: a log that nobody has promised
            // a sync costs the file system no commit.
            match disk::create_dir(dir).await {
                Err(e) if e.kind() == ErrorKind::NotFound => disk::create_dir_all(dir).await,
                made => made,
            }
            .map_err(io_error(dir))?;
            self.inner.dir_is_new.set(true);
            self.inner.state.borrow_mut().dir_created = true;
            self.write_partition_metadata().await?;
        }
        Ok(())
    }

    /// Makes the names that lead to the file of `segment` durable, where they are not yet.
    pub(super) async fn sync_names(&self, segment: &SharedSegment) -> Result<()> {
        if !segment.dir_unsynced.get() {
            return Ok(());
        }
        let dir = &self.inner.dir;
        if self.inner.dir_is_new.get()
            && let Some(parent) = dir.parent()
        {
            disk::sync_dir(parent).await.map_err(io_error(parent))?;
            self.inner.dir_is_new.set(false);
        }
        disk::sync_dir(dir).await.map_err(io_error(dir))?;
        segment.dir_unsynced.set(false);
        Ok(())
    }

    /// Reads what segment.ms counts from, after a reopen.
    pub(super) async fn load_first_timestamp(&self, segment: &SharedSegment) -> Result<()> {
        let dir = &self.inner.dir;
        let file = segment.open_file(dir).await?;
        let want = HEADER_BYTES.min(segment.written.get() as usize);
        let bytes = file
            .read_at(0, want)
            .await
            .map_err(|e| io_error(&segment.path(dir, FileKind::Log))(e))?;
        let first = BatchHeader::parse(&bytes).map_or(-1, |h| h.max_timestamp);
        segment.first_timestamp.set(first);
        Ok(())
    }

    /// `durably`: with its sync, if it is the only write and all before it is durable, since such
    /// a write speaks for itself alone.
    async fn write_front(&self, segment: &SharedSegment, durably: bool) -> Result<()> {
        let dir = &self.inner.dir;
        let path = || segment.path(dir, FileKind::Log);
        let file = segment.open_file(dir).await?;
        let missing = {
            let mut state = self.inner.state.borrow_mut();
            let front = state.tail.front().filter(|f| f.prefix_missing);
            front.map(|f| (f.file_position, f.prefix))
        };
        if let Some((position, len)) = missing {
            let bytes = file.read_at(position, len).await.map_err(|e| io_error(&path())(e))?;
            if bytes.len() < len {
                return Err(LogError::Corrupt {
                    path: path(),
                    position: position + bytes.len() as u64,
                    why: "the file ends before the end of the log".into(),
                });
            }
            if let Some(front) = self.inner.state.borrow_mut().tail.front() {
                front.set_prefix(&bytes);
            }
        }
        let Some(sealed) = self.inner.state.borrow_mut().tail.seal_front() else { return Ok(()) };
        let end = sealed.file_position + sealed.buf.len() as u64;
        self.make_room(segment, &file, end).await;
        let durably = durably && !segment.dir_unsynced.get() && {
            let mut state = self.inner.state.borrow_mut();
            state.durable == state.written && state.tail.front().is_none()
        };
        let (buf, at) = (sealed.buf.clone(), sealed.file_position);
        match durably {
            true => self.write_and_sync_file(&file, buf, at).await,
            false => file.write_at(buf, at).await,
        }
        .map_err(|e| io_error(&path())(e))?;
        {
            let mut state = self.inner.state.borrow_mut();
            state.tail.complete();
            segment.written.set(sealed.file_position + sealed.end as u64);
            state.written = state.written.max(sealed.next);
            if durably {
                segment.synced.set(segment.synced.get().max(segment.written.get()));
                state.durable = state.durable.max(sealed.next);
            }
        }
        self.look_ahead(segment, sealed.buf.len());
        Ok(())
    }

    /// Makes a closed segment's data, size and name durable, and writes its indexes.
    async fn finish_segment(&self, segment: &SharedSegment) -> Result<()> {
        let dir = &self.inner.dir;
        if segment.created.get() {
            let path = segment.path(dir, FileKind::Log);
            let file = segment.open_file(dir).await?;
            let size = segment.written.get();
            let _room = self.inner.ahead.turn.take().await;
            if segment.allocated.get() != size {
                file.truncate(size).await.map_err(io_error(&path))?;
                segment.allocated.set(size);
            }
            self.sync_file(&file).await.map_err(io_error(&path))?;
            self.sync_names(segment).await?;
            segment.synced.set(size);
            let next = segment.next.get();
            {
                let mut state = self.inner.state.borrow_mut();
                state.durable = state.durable.max(next);
            }
            segment.save_index(dir).await?;
        }
        self.save_epochs(true).await?;
        segment.finished.set(true);
        Ok(())
    }

    /// Without `durably` a power cut may take it back until the file system is synced.
    pub(super) async fn save_epochs(&self, durably: bool) -> Result<()> {
        let text = {
            let mut state = self.inner.state.borrow_mut();
            if !state.dir_created || !std::mem::take(&mut state.epochs.dirty) {
                return Ok(());
            }
            state.epochs.encode()
        };
        let path = self.inner.dir.join(epochs::FILE_NAME);
        let saved = match durably {
            true => disk::write_file_atomic(&path, text).await,
            false => disk::replace_file(&path, text).await,
        }
        .map_err(io_error(&path));
        if saved.is_err() {
            self.inner.state.borrow_mut().epochs.dirty = true;
        }
        saved
    }

    /// fdatasync of what was written when called; returns the new durable offset. May run beside
    /// `write_pending`.
    pub async fn sync(&self) -> Result<Offset> {
        let (written, segment, cuts) = {
            let state = self.inner.state.borrow();
            state.check_open(&self.inner.dir)?;
            if state.durable >= state.written {
                return Ok(state.durable);
            }
            (state.written, state.segment_for(state.written - 1), state.cuts)
        };
        let bytes = segment.written.get();
        let mut outcome = SuspectUnlessDone { log: self, done: false };
        // Older segments were synced before this one got its file.
        if !segment.finished.get() {
            let dir = &self.inner.dir;
            let path = segment.path(dir, FileKind::Log);
            let file = segment.open_file(dir).await?;
            self.sync_file(&file).await.map_err(io_error(&path))?;
            self.sync_names(&segment).await?;
        }
        outcome.done = true;
        let mut state = self.inner.state.borrow_mut();
        // A write beside this failed: `repair` says what is durable then.
        state.check_open(&self.inner.dir)?;
        if state.cuts == cuts {
            segment.synced.set(segment.synced.get().max(bytes));
            state.durable = state.durable.max(written);
        }
        Ok(state.durable)
    }

    /// Writes the active segment's indexes and the leader epochs beside what is durable; returns the
    /// offset to put into `recovery-point-offset-checkpoint`: a later unclean open scans from there.
    pub async fn checkpoint(&self) -> Result<Offset> {
        let _turn = self.inner.turn.take().await;
        let (durable, active) = {
            let state = self.inner.state.borrow();
            state.check_open(&self.inner.dir)?;
            (state.durable, state.active().clone())
        };
        self.save_epochs(true).await?;
        if active.created.get() {
            active.save_index(&self.inner.dir).await?;
        }
        Ok(durable)
    }
}
