//! How dirty a log is and which segments a run may touch, by Kafka's rules (KIP-58, KIP-354).
//! Segments are the unit: never the active one, none at or above the high watermark, none whose
//! newest record is younger than min.compaction.lag.ms.

use super::super::segment::{SharedSegment, UNKNOWN};
use super::super::{Log, Result};
use crate::types::Offset;

/// What decides whether a log is cleaned.
#[derive(Clone, Copy, Debug)]
pub struct CleanWhen {
    pub now_ms: i64,
    /// End of the last run; `None`: never cleaned.
    pub cleaned_to: Option<Offset>,
    pub high_watermark: Offset,
    pub min_compaction_lag_ms: i64,
    pub max_compaction_lag_ms: i64,
    pub min_cleanable_ratio: f64,
}

/// A log as the cleaner finds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dirt {
    /// What is below was cleaned before.
    pub first_dirty: Offset,
    /// Base of the first segment that may not be touched.
    pub upper: Offset,
    /// Dirty bytes among all below `upper`, 0 to 1.
    pub ratio: f64,
    /// Dirty enough, or overdue (max.compaction.lag.ms).
    pub due: bool,
}

impl Log {
    /// `None` when there is nothing below the first segment that may not be touched.
    pub async fn dirt(&self, when: &CleanWhen) -> Result<Option<Dirt>> {
        self.retrying(|| self.dirt_once(when)).await
    }

    async fn dirt_once(&self, when: &CleanWhen) -> Result<Option<Dirt>> {
        let (segments, log_start, end, interval) = {
            let state = self.inner.state.borrow();
            let interval = state.config.index_interval_bytes;
            (state.segments.clone(), state.log_start, state.log_end(), interval)
        };
        let first_dirty = match when.cleaned_to {
            // A checkpoint that the log does not fit any more: all of it is taken for dirty.
            Some(offset) if (log_start..=end).contains(&offset) => offset,
            _ => log_start,
        };
        let touchable = |s: &&SharedSegment| {
            s.finished.get() && s.created.get() && s.next.get() <= when.high_watermark
        };
        let closed = &segments[..segments.len() - 1];
        let mut candidates = closed.iter().take_while(touchable).count();
        let dirty_from = closed.partition_point(|s| s.next.get() <= first_dirty);
        let mut overdue = false;
        for (at, segment) in closed[..candidates].iter().enumerate().skip(dirty_from) {
            if when.min_compaction_lag_ms > 0 {
                let dir = &self.inner.dir;
                let newest = segment.with_index(dir, interval, |i| i.max_timestamp().0).await?;
                if newest > when.now_ms.saturating_sub(when.min_compaction_lag_ms) {
                    candidates = at;
                    break;
                }
            }
            if segment.size.get() > 0 && segment.first_timestamp.get() == UNKNOWN {
                self.load_first_timestamp(segment).await?;
            }
            let first = segment.first_timestamp.get();
            overdue |= first > 0 && first < when.now_ms.saturating_sub(when.max_compaction_lag_ms);
        }
        let bytes = |of: &[SharedSegment]| of.iter().map(|s| s.size.get()).sum::<u64>();
        let all = bytes(&closed[..candidates]);
        let dirty = bytes(&closed[dirty_from.min(candidates)..candidates]);
        if all == 0 {
            return Ok(None);
        }
        let ratio = dirty as f64 / all as f64;
        let due = dirty > 0 && (overdue || ratio > when.min_cleanable_ratio);
        Ok(Some(Dirt { first_dirty, upper: segments[candidates].base, ratio, due }))
    }
}

/// How many of `segments`, from the first, become one: as many as stay within the size of a segment,
/// of its indexes, and 2^31 offsets. `sizes`: of log, offset index and time index.
pub(super) fn group_len(
    segments: &[SharedSegment],
    sizes: &[[u64; 3]],
    limits: [u64; 3],
    upper: Offset,
) -> usize {
    let mut total = [0; 3];
    let mut len = 0;
    for (at, segment) in segments.iter().enumerate() {
        let end = segments.get(at + 1).map_or(upper, |next| next.base);
        let spans = end - 1 - segments[0].base <= i64::from(i32::MAX);
        let fits = (0..3).all(|n| total[n] + sizes[at][n] <= limits[n]);
        if at > 0 && (!fits || !(spans || segment.size.get() == 0)) {
            break;
        }
        (0..3).for_each(|n| total[n] += sizes[at][n]);
        len += 1;
    }
    len
}
