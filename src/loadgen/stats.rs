//! What the generator's threads measure, and how it crosses to the one that shows it: each thread
//! has one `ThreadStats`; it records into the current `Window` under a mutex that nobody else holds for
//! longer than a swap, and the viewer swaps an empty window in each second.
//! Counts go by when a thing happened, latencies by when the record was due: a record of the
//! measured period that is acknowledged after its end still counts in the percentiles.
//! Latencies are nanoseconds.

use std::collections::BTreeMap;
use std::sync::Mutex;

use hdrhistogram::Histogram;

/// When something happened, or was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Warmup = 0,
    Measured = 1,
    /// After the last record was due: flush and drain.
    Drain = 2,
}

/// The run's clock, in `runtime::now()` nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pub start_ns: u64,
    pub measure_ns: u64,
    pub end_ns: u64,
}

impl Schedule {
    pub fn phase(&self, at_ns: u64) -> Phase {
        if at_ns < self.measure_ns {
            Phase::Warmup
        } else if at_ns < self.end_ns {
            Phase::Measured
        } else {
            Phase::Drain
        }
    }

    pub fn seconds(&self, at_ns: u64) -> f64 {
        at_ns.saturating_sub(self.start_ns) as f64 / 1e9
    }
}

/// Bytes are record values: what the user sent, without keys, framing or compression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    pub produced_records: u64,
    pub produced_bytes: u64,
    pub produced_batches: u64,
    /// Record batches as they went over the wire.
    pub produced_wire_bytes: u64,
    pub consumed_records: u64,
    pub consumed_bytes: u64,
    pub consumed_wire_bytes: u64,
    pub fetches: u64,
}

impl Counts {
    pub fn add(&mut self, other: &Counts) {
        self.produced_records += other.produced_records;
        self.produced_bytes += other.produced_bytes;
        self.produced_batches += other.produced_batches;
        self.produced_wire_bytes += other.produced_wire_bytes;
        self.consumed_records += other.consumed_records;
        self.consumed_bytes += other.consumed_bytes;
        self.consumed_wire_bytes += other.consumed_wire_bytes;
        self.fetches += other.fetches;
    }
}

pub struct Window {
    /// By `Phase` of the event.
    pub counts: [Counts; 3],
    /// By `Phase` of the intended send time (nothing is due in Drain).
    pub ack: [Histogram<u64>; 2],
    pub end_to_end: [Histogram<u64>; 2],
}

/// 1 µs to an hour at three digits.
pub fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 3_600_000_000_000, 3).expect("the bounds are constants")
}

impl Window {
    pub fn new() -> Window {
        Window {
            counts: Default::default(),
            ack: [latency_histogram(), latency_histogram()],
            end_to_end: [latency_histogram(), latency_histogram()],
        }
    }

    pub fn clear(&mut self) {
        self.counts = Default::default();
        for h in self.ack.iter_mut().chain(&mut self.end_to_end) {
            if !h.is_empty() {
                h.reset();
            }
        }
    }

    pub fn add(&mut self, other: &Window) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            mine.add(theirs);
        }
        let mine = self.ack.iter_mut().chain(&mut self.end_to_end);
        for (mine, theirs) in mine.zip(other.ack.iter().chain(&other.end_to_end)) {
            if !theirs.is_empty() {
                mine.add(theirs).expect("all latency histograms have the same bounds");
            }
        }
    }

    pub fn all_counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.counts.iter().for_each(|c| sum.add(c));
        sum
    }

    pub fn record_ack(&mut self, due: Phase, latency_ns: u64, records: u64) {
        self.ack[(due as usize).min(1)].saturating_record_n(latency_ns, records);
    }

    pub fn record_end_to_end(&mut self, due: Phase, latency_ns: u64, records: u64) {
        self.end_to_end[(due as usize).min(1)].saturating_record_n(latency_ns, records);
    }
}

impl Default for Window {
    fn default() -> Window {
        Window::new()
    }
}

/// One generator thread's window.
#[derive(Default)]
pub struct ThreadStats(Mutex<Window>);

impl ThreadStats {
    pub fn record(&self, f: impl FnOnce(&mut Window)) {
        f(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    }

    /// Takes what was measured since the last call and leaves `spare` (cleared) in its place.
    pub fn swap(&self, spare: &mut Window) {
        spare.clear();
        self.record(|window| std::mem::swap(window, spare));
    }
}

/// Errors by kind, with how often and when first.
#[derive(Clone, Debug, Default)]
pub struct Errors(pub BTreeMap<String, ErrorCount>);

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct ErrorCount {
    pub count: u64,
    pub first_at_s: f64,
}

impl Errors {
    pub fn add(&mut self, kind: String, at_s: f64) {
        let first = ErrorCount { count: 0, first_at_s: at_s };
        self.0.entry(kind).or_insert(first).count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_swap_and_add_up() {
        let stats = ThreadStats::default();
        stats.record(|w| {
            w.counts[Phase::Measured as usize].produced_records += 5;
            w.record_ack(Phase::Measured, 2_000_000, 5);
            w.record_ack(Phase::Warmup, 9_000_000, 1);
        });
        let (mut total, mut spare) = (Window::new(), Window::new());
        stats.swap(&mut spare);
        total.add(&spare);
        stats.swap(&mut spare);
        total.add(&spare);
        assert_eq!(total.all_counts().produced_records, 5);
        assert_eq!(total.ack[1].len(), 5);
        assert_eq!(total.ack[0].len(), 1);
        let p50 = total.ack[1].value_at_quantile(0.5);
        assert!((2_000_000..2_010_000).contains(&p50), "{p50}");
    }

    #[test]
    fn an_event_belongs_to_the_phase_of_its_time() {
        let s = Schedule { start_ns: 100, measure_ns: 200, end_ns: 300 };
        assert_eq!(s.phase(199), Phase::Warmup);
        assert_eq!(s.phase(200), Phase::Measured);
        assert_eq!(s.phase(300), Phase::Drain);
    }
}
