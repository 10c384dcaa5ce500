//! What goes wrong for the random clients: they die, pause, go deaf, leave, their requests come again late, and the
//! broker restarts.

use super::*;

impl World {
    pub(super) fn fault(&mut self) {
        let n = self.random.usize(..self.readers.len());
        match self.random.u8(..12) {
            // Dies; somebody else starts in its place.
            0 | 1 => {
                let instance = self.readers[n].instance.take();
                self.readers[n] = Reader { instance, ..Reader::default() };
            }
            2..=4 => {
                let ms = self.random.i64(0..30_000);
                self.readers[n].paused_until_ms = self.bench.now.monotonic_ms + ms;
            }
            10 | 11 => {
                let ms = self.random.i64(0..60_000);
                self.readers[n].deaf_until_ms = self.bench.now.monotonic_ms + ms;
            }
            5 => {
                let id = std::mem::take(&mut self.readers[n].id);
                let instance = self.readers[n].instance.clone();
                self.bench.leave("g", &[(&id, instance.as_deref())]);
                self.readers[n] = Reader { instance, ..Reader::default() };
            }
            6 => {
                self.same_after_reload();
                self.bench.reload();
                for reader in &mut self.readers {
                    // Requests that were lost are sent again.
                    if matches!(reader.doing, Doing::Joining(_) | Doing::Syncing(..)) {
                        reader.doing = Doing::Nothing;
                    }
                }
            }
            _ => self.late_one(),
        }
    }

    /// A request that was sent once arrives again; nobody waits for its answer.
    fn late_one(&mut self) {
        if self.late.is_empty() {
            return;
        }
        let input = self.late.swap_remove(self.random.usize(..self.late.len()));
        let late = input.clone();
        let from = self.bench.request(|from| match late {
            Input::Join { client, request, .. } => Input::Join { from, client, request },
            Input::Sync { client, request, .. } => Input::Sync { from, client, request },
            Input::Heartbeat { client, request, .. } => Input::Heartbeat { from, client, request },
            Input::Commit { client, request, .. } => Input::Commit { from, client, request },
            other => other,
        });
        if let (Some(Answer::Join(answer)), Input::Join { request, .. }) =
            (self.bench.answers.get(&from), &input)
            && answer.error == Some(GroupError::GroupMaxSizeReached)
        {
            // Whoever it is now, it has no place any more.
            let told = self.readers.iter_mut().filter(|r| *r.id == *request.member_id);
            told.for_each(|reader| (reader.heard_ms, reader.waits) = (None, false));
        }
        if let Input::Commit { request, .. } = input {
            let instance = request.instance_id.as_ref().map(ToString::to_string);
            let name = instance.unwrap_or_else(|| request.member_id.to_string());
            let _ = self.check_commit(from, &request, &name);
        }
    }
}
