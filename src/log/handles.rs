//! Giving file handles back: a process may have fewer files open than it has partitions.
//! Every use of a segment opens its file when it is closed, so closing one costs only the next open.

use super::Log;
use crate::runtime::disk;

impl Log {
    /// Closes this log's files if the process has too many open. What waits for its write or its sync
    /// goes through a new handle: fdatasync is of the file, not of the descriptor.
    pub async fn release_files_if_scarce(&self) {
        if !disk::files_are_scarce() {
            return;
        }
        // Nobody writes or makes a file meanwhile.
        let _turn = self.inner.turn.take().await;
        if self.is_half_swapped() {
            // The names are not those of the files that are open.
            return;
        }
        {
            let _room = self.inner.ahead.turn.take().await;
            self.drop_spare().await;
        }
        let segments = self.inner.state.borrow().segments.clone();
        for segment in segments {
            if let Some(file) = segment.take_file() {
                let _ = file.close().await;
            }
        }
    }
}
