//! When records are due: fixed by the seed, independent of what the broker does. No clock, no I/O.
//! The rate may change over the spans of a schedule, so arrivals are placed on the cumulative rate (how many
//! records are due by a time) and carried back to time by its inverse: a line where the rate stands still, a
//! parabola where it ramps. Fixed: the n-th record is due when the cumulative rate reaches n, and producers take
//! turns. Poisson: steps of an exponential law on the same axis, independent for each producer.

use super::schedule::{Schedule, Span};
use super::{ArrivalLaw, Rate, draw_seed};

/// Beyond so many draws the rest of a Poisson count is taken to be its mean.
const UNSENT_DRAWS_MAX: u64 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Open loop; may be past.
    At(u64),
    /// Closed loop: whenever there is room.
    Now,
    /// Nothing more.
    Over,
}

/// One producer's share.
pub struct Arrivals {
    pieces: Vec<Piece>,
    piece: usize,
    law: ArrivalLaw,
    producer: u64,
    producers: u64,
    issued: u64,
    /// Where on the cumulative rate of all producers the next record is.
    next: f64,
    random: fastrand::Rng,
}

struct Piece {
    span: Span,
    /// Cumulative rate at its beginning, and what it adds.
    before: f64,
    records: f64,
}

impl Piece {
    /// When `count` records of this piece are due, nanoseconds after its beginning.
    fn time_ns(&self, count: f64) -> f64 {
        let Rate::Line { from, to } = self.span.rate else { return 0.0 };
        if count <= 0.0 {
            return 0.0;
        }
        if from == to {
            return count / from * 1e9;
        }
        // from·t + slope·t²/2 = count, solved in the form that loses no digits when the slope is small.
        let slope = (to - from) / self.seconds();
        let root = (from * from + 2.0 * slope * count).max(0.0).sqrt();
        2.0 * count / (from + root) * 1e9
    }

    fn seconds(&self) -> f64 {
        (self.span.to_ns - self.span.from_ns) as f64 / 1e9
    }

    /// How many are due before this time.
    fn count_at(&self, at_ns: u64) -> f64 {
        let Rate::Line { from, .. } = self.span.rate else { return 0.0 };
        if at_ns >= self.span.to_ns {
            return self.records;
        }
        let seconds = at_ns.saturating_sub(self.span.from_ns) as f64 / 1e9;
        let now = self.span.rate_at(at_ns).unwrap_or(from);
        (from + now) / 2.0 * seconds
    }
}

impl Arrivals {
    pub fn new(
        schedule: &Schedule,
        law: ArrivalLaw,
        seed: u64,
        producer: u32,
        producers: u32,
    ) -> Arrivals {
        let mut before = 0.0;
        let pieces = schedule.spans.iter().map(|span| {
            let mut piece = Piece { span: span.clone(), before, records: 0.0 };
            if let Rate::Line { from, to } = span.rate {
                piece.records = (from + to) / 2.0 * piece.seconds();
            }
            before += piece.records;
            piece
        });
        let mut arrivals = Arrivals {
            pieces: pieces.collect(),
            piece: 0,
            law,
            producer: producer.into(),
            producers: producers.max(1).into(),
            issued: 0,
            next: 0.0,
            random: fastrand::Rng::with_seed(draw_seed(seed, "arrivals", producer)),
        };
        arrivals.step();
        arrivals
    }

    fn step(&mut self) {
        self.next = match self.law {
            // From the count, so that rounding never adds up.
            ArrivalLaw::Fixed => (self.producer + self.issued * self.producers) as f64,
            ArrivalLaw::Poisson => {
                let exponential = -(1.0 - self.random.f64()).ln();
                self.next + exponential * self.producers as f64
            }
        };
    }

    /// Of the next record.
    pub fn due(&mut self, now_ns: u64) -> Due {
        while let Some(piece) = self.pieces.get(self.piece) {
            let Span { from_ns, to_ns, .. } = piece.span;
            match piece.span.rate {
                Rate::Full if now_ns < from_ns => return Due::At(from_ns),
                Rate::Full if now_ns < to_ns => return Due::Now,
                Rate::Full => {}
                Rate::Line { .. } if self.next < piece.before + piece.records => {
                    let after = piece.time_ns(self.next - piece.before) as u64;
                    return Due::At((from_ns + after).min(to_ns - 1));
                }
                Rate::Line { .. } => {}
            }
            self.piece += 1;
        }
        Due::Over
    }

    /// The record that `due` spoke of was made.
    pub fn issue(&mut self) {
        if self.pieces.get(self.piece).is_some_and(|p| p.span.rate != Rate::Full) {
            self.issued += 1;
            self.step();
        }
    }

    /// Due before this time and not made; asked once, at the end.
    pub fn unsent(&mut self, until_ns: u64) -> u64 {
        let reached = self.pieces.iter().map(|p| p.count_at(until_ns)).sum::<f64>();
        let share = (reached - self.producer as f64) / self.producers as f64;
        match self.law {
            ArrivalLaw::Fixed => (share.ceil().max(0.0) as u64).saturating_sub(self.issued),
            ArrivalLaw::Poisson => {
                let mut unsent = 0;
                while self.next < reached && unsent < UNSENT_DRAWS_MAX {
                    unsent += 1;
                    self.step();
                }
                unsent + ((reached - self.next) / self.producers as f64).max(0.0) as u64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Workload;
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn schedule(phases: &[&str]) -> Schedule {
        let phases = phases.iter().map(|p| p.parse().unwrap()).collect();
        let w = Workload { warmup: std::time::Duration::ZERO, phases, ..Workload::default() };
        Schedule::new(&w, 7)
    }

    /// Offsets of one producer that is never behind; at full speed one record each millisecond.
    fn all(s: &Schedule, law: ArrivalLaw, seed: u64, producer: u32, of: u32) -> Vec<u64> {
        let mut arrivals = Arrivals::new(s, law, seed, producer, of);
        let (mut times, mut now) = (Vec::new(), s.start_ns);
        loop {
            match arrivals.due(now) {
                Due::Over => return times,
                // The beginning of a span at full speed is a time to look again.
                Due::At(at) if at > now => now = at,
                Due::At(at) => {
                    times.push(at - s.start_ns);
                    arrivals.issue();
                }
                Due::Now => {
                    times.push(now - s.start_ns);
                    arrivals.issue();
                    now += SECOND / 1000;
                }
            }
        }
    }

    #[test]
    fn producers_take_turns_at_a_fixed_rate() {
        let s = schedule(&["name=a,duration=1,rate=1000"]);
        let mut due: Vec<u64> = (0..4).flat_map(|p| all(&s, ArrivalLaw::Fixed, 1, p, 4)).collect();
        due.sort();
        assert_eq!(due.len(), 1000);
        assert!(due.windows(2).all(|w| (w[1] - w[0]).abs_diff(1_000_000) < 10));
    }

    #[test]
    fn a_ramp_makes_the_mean_of_its_ends_and_grows_evenly() {
        for (phase, in_the_first_half) in [
            ("name=up,duration=10,rate=100..300", 750),
            ("name=down,duration=10,rate=300..100", 1250),
            ("name=from-nothing,duration=10,rate=0..400", 500),
        ] {
            let s = schedule(&[phase]);
            let mut due: Vec<u64> =
                (0..3).flat_map(|p| all(&s, ArrivalLaw::Fixed, 1, p, 3)).collect();
            due.sort();
            assert_eq!(due.len(), 2000, "{phase}");
            let first = due.iter().filter(|d| **d < 5 * SECOND).count();
            assert!(first.abs_diff(in_the_first_half) <= 1, "{phase}: {first}");
        }
    }

    #[test]
    fn steps_a_spike_and_full_speed_follow_one_another() {
        let s = schedule(&[
            "name=base,duration=1,rate=100",
            "name=spike,duration=1,rate=5000",
            "name=full,duration=1",
            "name=base,duration=1,rate=100",
        ]);
        for law in [ArrivalLaw::Fixed, ArrivalLaw::Poisson] {
            let due = all(&s, law, 3, 0, 1);
            let counts: Vec<usize> =
                (0..4).map(|i| due.iter().filter(|d| **d / SECOND == i).count()).collect();
            let wanted: [usize; 4] = [100, 5000, 1000, 100];
            for (count, wanted) in counts.iter().zip(wanted) {
                let off = if law == ArrivalLaw::Fixed { 1 } else { 4 * wanted.isqrt() };
                assert!(count.abs_diff(wanted) <= off, "{law}: {counts:?}");
            }
            assert!(due.is_sorted());
        }
    }

    #[test]
    fn poisson_gaps_are_exponential_and_independent() {
        let s = schedule(&["name=a,duration=100,rate=1000"]);
        let due = all(&s, ArrivalLaw::Poisson, 11, 1, 4);
        // A quarter of the rate; four standard deviations of a count of 25,000.
        assert!(due.len().abs_diff(25_000) < 640, "{}", due.len());
        let mut gaps: Vec<f64> =
            due.windows(2).map(|w| (w[1] - w[0]) as f64 / 1e9 * 250.0).collect();
        let n = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / n;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n;
        assert!((mean - 1.0).abs() < 0.03 && (variance - 1.0).abs() < 0.08, "{mean} {variance}");
        let pairs = gaps.windows(2).map(|w| (w[0] - mean) * (w[1] - mean));
        let correlation = pairs.sum::<f64>() / n / variance;
        assert!(correlation.abs() < 0.03, "gaps know of each other: {correlation}");
        gaps.sort_by(f64::total_cmp);
        // Kolmogorov-Smirnov against 1 - e^-x; 1.63/sqrt(n) is the 1 % bound.
        let distance = gaps.iter().enumerate().map(|(i, gap)| {
            let law = 1.0 - (-gap).exp();
            (law - i as f64 / n).abs().max((law - (i + 1) as f64 / n).abs())
        });
        let distance = distance.fold(0.0, f64::max);
        assert!(distance < 1.63 / n.sqrt(), "distance {distance}");
    }

    #[test]
    fn poisson_on_a_ramp_follows_it() {
        let s = schedule(&["name=up,duration=100,rate=100..900"]);
        let due = all(&s, ArrivalLaw::Poisson, 5, 0, 1);
        let first: usize = due.iter().filter(|d| **d < 50 * SECOND).count();
        // 100..500 over 50 s is 15,000, 500..900 is 35,000.
        assert!(first.abs_diff(15_000) < 500, "{first}");
        assert!((due.len() - first).abs_diff(35_000) < 760, "{}", due.len() - first);
    }

    #[test]
    fn a_seed_fixes_the_times_and_each_producer_has_its_own() {
        let s = schedule(&["name=a,duration=1,rate=1000", "name=b,duration=1,rate=1000..10"]);
        let one = all(&s, ArrivalLaw::Poisson, 1, 0, 2);
        assert_eq!(one, all(&s, ArrivalLaw::Poisson, 1, 0, 2));
        assert_ne!(one, all(&s, ArrivalLaw::Poisson, 2, 0, 2));
        assert_ne!(one, all(&s, ArrivalLaw::Poisson, 1, 1, 2));
        // Also for one that is behind: whenever it asks, the times are the same.
        let mut late = Arrivals::new(&s, ArrivalLaw::Poisson, 1, 0, 2);
        for at in one {
            assert_eq!(late.due(5 * SECOND), Due::At(at + s.start_ns));
            late.issue();
        }
        assert_eq!(late.due(5 * SECOND), Due::Over);
    }

    #[test]
    fn what_was_not_sent_is_counted_over_all_spans() {
        let s = schedule(&[
            "name=a,duration=2,rate=1000",
            "name=full,duration=1",
            "name=b,duration=2,rate=0..1000",
        ]);
        for law in [ArrivalLaw::Fixed, ArrivalLaw::Poisson] {
            let open = |at: &u64| *at < 2 * SECOND || *at >= 3 * SECOND;
            let due: Vec<u64> = all(&s, law, 9, 1, 2).into_iter().filter(open).collect();
            for until in [0, SECOND / 3, 2 * SECOND, 4 * SECOND, 9 * SECOND] {
                let mut arrivals = Arrivals::new(&s, law, 9, 1, 2);
                for at in due.iter().take(100) {
                    assert_eq!(arrivals.due(s.start_ns + until.max(*at)), Due::At(at + s.start_ns));
                    arrivals.issue();
                }
                let wanted = due.iter().filter(|d| **d < until).count().saturating_sub(100);
                let unsent = arrivals.unsent(s.start_ns + until);
                assert_eq!(unsent, wanted as u64, "{law}, until {until}");
            }
        }
        // A day of a billion a second is counted without making each.
        let s = schedule(&["name=a,duration=86400,rate=1000000000"]);
        let unsent = Arrivals::new(&s, ArrivalLaw::Poisson, 1, 0, 1).unsent(u64::MAX);
        assert!((unsent as f64 / 8.64e13 - 1.0).abs() < 1e-3, "{unsent}");
    }
}
