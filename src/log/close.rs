//! The end of a log: closed cleanly, or deleted. Both take the log's turn, so that no write is under way.

use super::segment::FileKind;
use super::{Health, Log, Result, io_error};
use crate::runtime::{disk, random_u64};

impl Log {
    /// Writes and syncs all, trims files to size, writes indexes and epochs. When the file system has been
    /// synced after that (once for all logs: `disk::sync_file_system`), a clean reopen scans nothing.
    pub async fn close(&self) -> Result<()> {
        let _turn = self.inner.turn.take().await;
        self.end_ahead();
        let result = self.close_files().await;
        let _room = self.inner.ahead.turn.take().await;
        self.drop_spare().await;
        let segments = {
            let mut state = self.inner.state.borrow_mut();
            state.health = Health::Closed;
            state.segments.clone()
        };
        for segment in segments {
            if let Some(file) = segment.take_file() {
                let _ = file.close().await;
            }
        }
        result
    }

    async fn close_files(&self) -> Result<()> {
        match self.inner.state.borrow().health {
            Health::Open => {}
            Health::Closed => return Ok(()),
            _ => self.inner.state.borrow().check_open(&self.inner.dir)?,
        }
        self.write_all().await?;
        self.sync().await?;
        let dir = &self.inner.dir;
        let active = self.inner.state.borrow().active().clone();
        if active.created.get() {
            let size = active.written.get();
            let _room = self.inner.ahead.turn.take().await;
            if active.allocated.get() != size {
                let path = active.path(dir, FileKind::Log);
                // Should the cut be lost, the next open finds the zeros and scans.
                match active.file_now() {
                    Some(file) => file.truncate(size).await,
                    None => disk::truncate_file(&path, size).await,
                }
                .map_err(io_error(&path))?;
                active.allocated.set(size);
            }
            active.save_index(dir).await?;
        }
        // Those that had to be made anew.
        let segments = self.inner.state.borrow().segments.clone();
        for segment in segments.iter().filter(|s| s.finished.get()) {
            segment.save_index(dir).await?;
        }
        self.save_epochs(false).await
    }

    /// Renames the directory to `<dir>.<uuid>-delete` (at once) and removes it.
    pub async fn delete(&self) -> Result<()> {
        // Kafka's name for a directory on its way out: a start that finds one removes it.
        self.inner.state.borrow_mut().health = Health::Closed;
        let _turn = self.inner.turn.take().await;
        let _room = self.inner.ahead.turn.take().await;
        self.drop_spare().await;
        let (created, segments) = {
            let state = self.inner.state.borrow();
            (state.dir_created, state.segments.clone())
        };
        for segment in segments {
            if let Some(file) = segment.take_file() {
                let _ = file.close().await;
            }
        }
        if !created {
            return Ok(());
        }
        let dir = &self.inner.dir;
        let mut name = dir.file_name().unwrap_or_default().to_os_string();
        let mut suffix = format!(".{:016x}{:016x}-delete", random_u64(), random_u64());
        if name.len() + suffix.len() > 255 {
            suffix = format!(".{:08x}-delete", random_u64() as u32);
            let text = name.to_string_lossy().into_owned();
            name = text.chars().take(255 - suffix.len()).collect::<String>().into();
        }
        name.push(suffix);
        let gone = dir.with_file_name(name);
        disk::rename(dir, &gone).await.map_err(io_error(dir))?;
        if let Some(parent) = dir.parent() {
            disk::sync_dir(parent).await.map_err(io_error(parent))?;
        }
        disk::remove_dir_all(&gone).await.map_err(io_error(&gone))
    }
}
