//! The run's timetable: spans one after the other, each with a name, a rate, and whether it is measured. After
//! the last one comes the drain, which has no span. Times are `runtime::now()` nanoseconds. Pure.

use super::{Rate, Workload};

#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub name: String,
    pub measured: bool,
    pub from_ns: u64,
    pub to_ns: u64,
    pub rate: Rate,
}

impl Span {
    /// What the open loop asks for at this time of it; `None` at full speed.
    pub fn rate_at(&self, at_ns: u64) -> Option<f64> {
        let Rate::Line { from, to } = self.rate else { return None };
        let length = (self.to_ns - self.from_ns).max(1) as f64;
        let part = at_ns.saturating_sub(self.from_ns) as f64 / length;
        Some(from + (to - from) * part.min(1.0))
    }
}

#[derive(Clone, Debug)]
pub struct Schedule {
    pub start_ns: u64,
    /// Without holes between them; at least one.
    pub spans: Vec<Span>,
}

impl Schedule {
    /// The warm-up if there is one, then the phases, or the one phase of `rate` and `duration`.
    pub fn new(w: &Workload, start_ns: u64) -> Schedule {
        let steady = match w.rate {
            0.0 => Rate::Full,
            rate => Rate::Line { from: rate, to: rate },
        };
        // Without a rate of its own the warm-up has the one that the first phase begins with.
        let warm = match (w.rate, w.phases.first().map(|p| p.rate)) {
            (0.0, Some(Rate::Line { from, to })) => {
                let rate = if from > 0.0 { from } else { to };
                Rate::Line { from: rate, to: rate }
            }
            _ => steady,
        };
        let mut schedule = Schedule { start_ns, spans: Vec::new() };
        if !w.warmup.is_zero() {
            schedule.then("warmup", false, w.warmup, warm);
        }
        for phase in &w.phases {
            schedule.then(&phase.name, phase.measured, phase.duration, phase.rate);
        }
        if w.phases.is_empty() {
            schedule.then("load", true, w.duration, steady);
        }
        schedule
    }

    fn then(&mut self, name: &str, measured: bool, lasts: std::time::Duration, rate: Rate) {
        let from_ns = self.end_ns();
        let to_ns = from_ns + lasts.as_nanos() as u64;
        self.spans.push(Span { name: name.to_string(), measured, from_ns, to_ns, rate });
    }

    /// `None` is the drain; what is before the start belongs to the first span.
    pub fn span(&self, at_ns: u64) -> Option<usize> {
        let index = self.spans.partition_point(|s| s.to_ns <= at_ns);
        (index < self.spans.len()).then_some(index)
    }

    /// The first measured moment; the end when there is none.
    pub fn measured_from_ns(&self) -> u64 {
        let first = self.spans.iter().find(|s| s.measured);
        first.map_or(self.end_ns(), |s| s.from_ns)
    }

    pub fn end_ns(&self) -> u64 {
        self.spans.last().map_or(self.start_ns, |s| s.to_ns)
    }

    pub fn seconds(&self, at_ns: u64) -> f64 {
        at_ns.saturating_sub(self.start_ns) as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(from: f64, to: f64) -> Rate {
        Rate::Line { from, to }
    }

    #[test]
    fn a_moment_belongs_to_the_span_that_it_is_in() {
        let mut w = Workload {
            rate: 100.0,
            warmup: std::time::Duration::from_nanos(100),
            duration: std::time::Duration::from_nanos(200),
            ..Workload::default()
        };
        let s = Schedule::new(&w, 50);
        assert_eq!((s.span(0), s.span(149), s.span(150)), (Some(0), Some(0), Some(1)));
        assert_eq!((s.span(349), s.span(350), s.end_ns()), (Some(1), None, 350));
        let names: Vec<_> = s.spans.iter().map(|s| (s.name.as_str(), s.measured)).collect();
        assert_eq!(names, [("warmup", false), ("load", true)]);
        assert_eq!(s.measured_from_ns(), 150);
        w.warmup = std::time::Duration::ZERO;
        assert_eq!(Schedule::new(&w, 0).spans.len(), 1);
    }

    #[test]
    fn phases_replace_rate_and_duration_and_lend_the_warm_up_their_first_rate() {
        let phases = vec![
            "name=ramp,duration=10,rate=100..300".parse().unwrap(),
            "name=pause,duration=1,rate=10,measure=no".parse().unwrap(),
            "name=full,duration=2".parse().unwrap(),
        ];
        let warmup = std::time::Duration::from_secs(1);
        let w = Workload { warmup, phases, ..Workload::default() };
        let s = Schedule::new(&w, 0);
        let rates: Vec<Rate> = s.spans.iter().map(|s| s.rate).collect();
        assert_eq!(rates, [line(100.0, 100.0), line(100.0, 300.0), line(10.0, 10.0), Rate::Full]);
        assert_eq!(s.end_ns(), 14_000_000_000);
        assert_eq!(s.spans[1].rate_at(6_000_000_000), Some(200.0));
        assert_eq!(s.spans[3].rate_at(13_000_000_000), None);
        assert!(!s.spans[2].measured);
    }
}
