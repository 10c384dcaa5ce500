//! What the generator's threads measure, and how it crosses to the one that shows it: each thread
//! has one `ThreadStats`; it records into the current `Window` under a mutex that nobody else holds for
//! longer than a swap, and the viewer swaps an empty window in each second.
//! Everything is kept by span of the schedule. Counts go by when a thing happened, latencies by when the record
//! was due: a record of a measured span that is acknowledged after its end still counts in its percentiles.
//! Latencies are nanoseconds. A histogram is there only where something was recorded.

use std::collections::BTreeMap;
use std::sync::Mutex;

use hdrhistogram::Histogram;

/// Bytes are record values: what the user sent, without keys, framing or compression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
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
    /// By consumers that read from the start, apart from those above.
    pub replayed_records: u64,
    pub replayed_bytes: u64,
    pub replayed_wire_bytes: u64,
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
        self.replayed_records += other.replayed_records;
        self.replayed_bytes += other.replayed_bytes;
        self.replayed_wire_bytes += other.replayed_wire_bytes;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    Ack = 0,
    EndToEnd = 1,
    /// Of the generator itself: from the time a record was due until it was made, as far as no broker
    /// had to be waited for. One reading for what one wake-up makes, that of its first record.
    Lateness = 2,
}

#[derive(Default)]
pub struct SpanWindow {
    pub counts: Counts,
    latencies: [Option<Box<Histogram<u64>>>; 3],
}

#[derive(Default)]
pub struct Window {
    /// As far as something happened in them.
    spans: Vec<SpanWindow>,
    drain: Counts,
}

/// 1 µs to an hour at three digits.
pub fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 3_600_000_000_000, 3).expect("the bounds are constants")
}

fn join(into: &mut Option<Box<Histogram<u64>>>, from: &Histogram<u64>) {
    let into = into.get_or_insert_with(|| Box::new(latency_histogram()));
    into.add(from).expect("all latency histograms have the same bounds");
}

impl Window {
    fn span(&mut self, index: usize) -> &mut SpanWindow {
        if index >= self.spans.len() {
            self.spans.resize_with(index + 1, SpanWindow::default);
        }
        &mut self.spans[index]
    }

    /// Where to count what happens in this span; `None` is the drain.
    pub fn counts(&mut self, span: Option<usize>) -> &mut Counts {
        match span {
            Some(index) => &mut self.span(index).counts,
            None => &mut self.drain,
        }
    }

    /// `due` is the span of the intended time; nothing is due in the drain.
    pub fn record(&mut self, what: Latency, due: Option<usize>, latency_ns: u64, records: u64) {
        if let Some(index) = due {
            let histogram = &mut self.span(index).latencies[what as usize];
            let histogram = histogram.get_or_insert_with(|| Box::new(latency_histogram()));
            histogram.saturating_record_n(latency_ns, records);
        }
    }

    pub fn clear(&mut self) {
        self.drain = Counts::default();
        for span in &mut self.spans {
            span.counts = Counts::default();
            for latency in &mut span.latencies {
                // One that stayed empty is of a span that is over.
                match latency {
                    Some(histogram) if !histogram.is_empty() => histogram.reset(),
                    _ => *latency = None,
                }
            }
        }
    }

    pub fn add(&mut self, other: &Window) {
        self.drain.add(&other.drain);
        for (index, theirs) in other.spans.iter().enumerate() {
            let mine = self.span(index);
            mine.counts.add(&theirs.counts);
            for (mine, theirs) in mine.latencies.iter_mut().zip(&theirs.latencies) {
                if let Some(theirs) = theirs.as_ref().filter(|h| !h.is_empty()) {
                    join(mine, theirs);
                }
            }
        }
    }

    pub fn all_counts(&self) -> Counts {
        let mut sum = self.counts_of(|_| true);
        sum.add(&self.drain);
        sum
    }

    /// Of the spans that `take` says yes to.
    pub fn counts_of(&self, take: impl Fn(usize) -> bool) -> Counts {
        let mut sum = Counts::default();
        let taken = self.spans.iter().enumerate().filter(|(i, _)| take(*i));
        taken.for_each(|(_, span)| sum.add(&span.counts));
        sum
    }

    /// `None` when nothing was recorded.
    pub fn latency_of(
        &self,
        what: Latency,
        take: impl Fn(usize) -> bool,
    ) -> Option<Box<Histogram<u64>>> {
        let mut sum = None;
        let taken = self.spans.iter().enumerate().filter(|(i, _)| take(*i));
        for histogram in taken.filter_map(|(_, span)| span.latencies[what as usize].as_ref()) {
            if !histogram.is_empty() {
                join(&mut sum, histogram);
            }
        }
        sum
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
            w.counts(Some(1)).produced_records += 5;
            w.counts(None).produced_records += 2;
            w.record(Latency::Ack, Some(1), 2_000_000, 5);
            w.record(Latency::Ack, Some(0), 9_000_000, 1);
            w.record(Latency::Ack, None, 9_000_000, 1);
        });
        let (mut total, mut spare) = (Window::default(), Window::default());
        stats.swap(&mut spare);
        total.add(&spare);
        stats.swap(&mut spare);
        total.add(&spare);
        assert_eq!(total.all_counts().produced_records, 7);
        assert_eq!(total.counts_of(|span| span == 1).produced_records, 5);
        let measured = total.latency_of(Latency::Ack, |span| span == 1).unwrap();
        assert_eq!(measured.len(), 5);
        let p50 = measured.value_at_quantile(0.5);
        assert!((2_000_000..2_010_000).contains(&p50), "{p50}");
        assert_eq!(total.latency_of(Latency::Ack, |_| true).unwrap().len(), 6);
        assert!(total.latency_of(Latency::EndToEnd, |_| true).is_none());
    }

    #[test]
    fn histograms_are_there_only_where_something_is_recorded() {
        let mut window = Window::default();
        window.record(Latency::Lateness, Some(3), 5_000, 1);
        let allocated = |w: &Window| w.spans.iter().flat_map(|s| &s.latencies).flatten().count();
        assert_eq!((window.spans.len(), allocated(&window)), (4, 1));
        window.clear();
        assert_eq!(allocated(&window), 1, "kept for the next second");
        window.clear();
        assert_eq!(allocated(&window), 0, "given back when its span is over");
    }
}
