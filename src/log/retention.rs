//! What leaves a log: whole closed segments, by time, size or a moved log start offset (KIP-107).
//! Invariants: the active segment never goes (when retention wants all of it, it is closed first),
//! nor anything at or above the high watermark; segments go oldest first and the log start offset moves before any file does. Files are renamed to
//! `.deleted` (recovery removes those), and removed file.delete.delay.ms later; reads in flight keep
//! theirs open.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::segment::{FileKind, SharedSegment, UNKNOWN, file_name};
use super::{Health, Log, Result, io_error};
use crate::runtime::{disk, sleep, spawn};
use crate::types::Offset;

impl Log {
    /// Closes the active segment when segment.ms or retention says so, then drops the whole closed
    /// segments that retention or the log start offset lets go. Returns segments dropped.
    pub async fn enforce_retention(&self, now_ms: i64, high_watermark: Offset) -> Result<usize> {
        let _turn = self.inner.turn.take().await;
        let health = self.inner.state.borrow().health;
        // Half swapped: the files that a name stands for are not known.
        if health == Health::Closed || self.is_half_swapped() {
            return Ok(0);
        }
        // What can't be written can still be made smaller: on a full disk that is the way out.
        if health == Health::Open
            && (self.roll_is_due(now_ms).await? || self.all_may_go(now_ms, high_watermark).await?)
        {
            self.roll_now().await?;
        }
        let segments = self.inner.state.borrow().segments.clone();
        let victims = self.choose(&segments, now_ms, high_watermark).await?;
        self.drop_segments(&segments[..victims]).await?;
        for segment in &segments[victims..] {
            segment.release_if_idle(&self.inner.dir).await;
        }
        Ok(victims)
    }

    /// Closes the active segment when segment.ms says so.
    pub async fn roll_if_due(&self, now_ms: i64) -> Result<()> {
        let _turn = self.inner.turn.take().await;
        let open = self.inner.state.borrow().health == Health::Open;
        if open && self.roll_is_due(now_ms).await? {
            self.roll_now().await?;
        }
        Ok(())
    }

    async fn roll_now(&self) -> Result<()> {
        self.inner.state.borrow_mut().roll();
        // The new file is made here: it carries the log end offset once the old ones are gone.
        self.write_all().await?;
        let active = self.inner.state.borrow().active().clone();
        self.sync_names(&active).await
    }

    /// Appends roll by the time in the batches, as Kafka's; a log that is idle rolls by the clock,
    /// counted from when the segment was made or opened: old timestamps do not roll at each pass.
    async fn roll_is_due(&self, now_ms: i64) -> Result<bool> {
        let (active, segment_ms) = {
            let state = self.inner.state.borrow();
            (state.active().clone(), state.config.segment_ms)
        };
        if active.size.get() == 0 || !active.created.get() {
            return Ok(false);
        }
        if active.first_timestamp.get() == UNKNOWN {
            self.load_first_timestamp(&active).await?;
        }
        let since = active.first_timestamp.get().max(active.created_ms);
        Ok(now_ms.saturating_sub(since) > segment_ms.saturating_sub(active.roll_jitter_ms))
    }

    /// Whether retention lets go of every record, the active segment's too. Kafka closes it then:
    /// a topic of little traffic would else keep what expired until segment.ms, a week by default.
    /// A moved log start offset alone closes nothing, as in Kafka.
    async fn all_may_go(&self, now_ms: i64, high_watermark: Offset) -> Result<bool> {
        let (segments, config, end) = {
            let state = self.inner.state.borrow();
            (state.segments.clone(), state.config.clone(), state.log_end())
        };
        let Some(active) = segments.last() else { return Ok(false) };
        if !config.cleanup_delete || active.size.get() == 0 || !active.created.get() {
            return Ok(false);
        }
        if end > high_watermark
            || self.choose(&segments, now_ms, high_watermark).await? + 1 < segments.len()
        {
            return Ok(false);
        }
        // The active segment is all that is left by then: only a size of 0 is too small for it.
        Ok(config.retention_bytes == 0
            || config.retention_ms >= 0
                && self.has_expired(active, now_ms, config.retention_ms).await?)
    }

    /// How many segments, from the oldest, may go.
    async fn choose(
        &self,
        segments: &[SharedSegment],
        now_ms: i64,
        high_watermark: Offset,
    ) -> Result<usize> {
        let (config, log_start) = {
            let state = self.inner.state.borrow();
            (state.config.clone(), state.log_start)
        };
        let total: u64 = segments.iter().map(|s| s.size.get()).sum();
        let mut excess = match config.retention_bytes {
            bytes if bytes >= 0 => total.saturating_sub(bytes as u64),
            _ => 0,
        };
        let (mut by_time, mut by_size) = (config.cleanup_delete && config.retention_ms >= 0, true);
        by_size &= config.cleanup_delete && config.retention_bytes >= 0;
        let mut victims = 0;
        for segment in &segments[..segments.len() - 1] {
            if !segment.finished.get() || segment.next.get() > high_watermark {
                break;
            }
            if by_time {
                by_time = self.has_expired(segment, now_ms, config.retention_ms).await?;
            }
            by_size &= segment.size.get() <= excess;
            if !by_time && !by_size && segment.next.get() > log_start {
                break;
            }
            excess = excess.saturating_sub(segment.size.get());
            victims += 1;
        }
        Ok(victims)
    }

    async fn has_expired(
        &self,
        segment: &SharedSegment,
        now_ms: i64,
        retention_ms: i64,
    ) -> Result<bool> {
        let interval = self.inner.state.borrow().config.index_interval_bytes;
        let dir = &self.inner.dir;
        let (largest, _) = segment.with_index(dir, interval, |i| i.max_timestamp()).await?;
        // Records without timestamps count from when the segment was made or opened.
        let largest = if largest >= 0 { largest } else { segment.created_ms };
        Ok(now_ms.saturating_sub(largest) > retention_ms)
    }

    async fn drop_segments(&self, victims: &[SharedSegment]) -> Result<()> {
        let Some(last) = victims.last() else { return Ok(()) };
        let dir = &self.inner.dir;
        let delay_ms = self.inner.state.borrow().config.file_delete_delay_ms;
        let snapshots: Vec<Offset> = {
            let mut state = self.inner.state.borrow_mut();
            state.log_start = state.log_start.max(last.next.get());
            state.segments.drain(..victims.len());
            let (log_start, first) = (state.log_start, state.segments[0].base);
            state.epochs.truncate_start(log_start);
            let kept = state.snapshots.partition_point(|offset| *offset < first);
            state.snapshots.drain(..kept).collect()
        };
        for segment in victims {
            segment.retired.set(true);
            for kind in FileKind::ALL {
                remove(dir, &file_name(segment.base, kind), delay_ms).await?;
            }
            if let Some(file) = segment.take_file() {
                let _ = file.close().await;
            }
        }
        for offset in snapshots {
            remove(dir, &file_name(offset, FileKind::Snapshot), delay_ms).await?;
        }
        disk::sync_dir(dir).await.map_err(io_error(dir))
    }

    /// DeleteRecords: moves the log start offset up (the checkpoint is the caller's). Segments below
    /// it go with the next `enforce_retention`.
    pub async fn advance_log_start(&self, offset: Offset) -> Result<()> {
        let mut state = self.inner.state.borrow_mut();
        if offset <= state.log_start {
            return Ok(());
        }
        state.check_range(offset)?;
        state.log_start = offset;
        state.epochs.truncate_start(offset);
        Ok(())
    }
}

/// Absent is fine: not every segment has every kind.
async fn remove(dir: &Path, name: &str, delay_ms: i64) -> Result<()> {
    let path = dir.join(name);
    let gone = dir.join(format!("{name}.deleted"));
    match disk::rename(&path, &gone).await {
        Ok(()) => remove_gone(vec![gone], delay_ms).await,
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(io_error(&path)(e)),
    }
}

/// Removes files that have the name `.deleted`, after the delay. The broker may stop before: the
/// next opening of the log removes them then.
pub(super) async fn remove_gone(gone: Vec<PathBuf>, delay_ms: i64) -> Result<()> {
    if delay_ms > 0 {
        spawn(async move {
            sleep(Duration::from_millis(delay_ms as u64)).await;
            if let Err(e) = remove_all(&gone).await {
                tracing::warn!("left for the next start to remove: {e}");
            }
        });
        return Ok(());
    }
    remove_all(&gone).await
}

async fn remove_all(gone: &[PathBuf]) -> Result<()> {
    for path in gone {
        match disk::remove_file(path).await {
            // The topic was deleted meanwhile, or another pass had a file of this name.
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(io_error(path)(e)),
            _ => {}
        }
    }
    Ok(())
}
