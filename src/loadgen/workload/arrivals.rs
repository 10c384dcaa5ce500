//! When records are due: fixed by the seed, independent of what the broker does. No clock, no I/O.

/// When records are due: nanoseconds since the start.
pub struct Arrivals {
    /// `None`: whenever there is room (closed loop).
    interval_ns: Option<f64>,
    offset_ns: f64,
    issued: u64,
}

impl Arrivals {
    /// One producer's share of the rate, evenly spaced; producers are staggered.
    pub fn fixed(rate: f64, producer: u32, producers: u32) -> Arrivals {
        if rate <= 0.0 {
            return Arrivals { interval_ns: None, offset_ns: 0.0, issued: 0 };
        }
        let spacing = 1e9 / rate;
        let interval = spacing * f64::from(producers);
        let offset_ns = spacing * f64::from(producer);
        Arrivals { interval_ns: Some(interval), offset_ns, issued: 0 }
    }

    /// `None` in a closed loop. Computed from the count, so that rounding never adds up.
    pub fn next_due_ns(&self) -> Option<u64> {
        self.interval_ns.map(|interval| (self.offset_ns + interval * self.issued as f64) as u64)
    }

    pub fn issue(&mut self) {
        self.issued += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_of_all_producers_make_the_rate() {
        let mut due = Vec::new();
        for producer in 0..4 {
            let mut arrivals = Arrivals::fixed(1000.0, producer, 4);
            while let Some(at) = arrivals.next_due_ns().filter(|at| *at < 1_000_000_000) {
                due.push(at);
                arrivals.issue();
            }
        }
        due.sort();
        assert_eq!(due.len(), 1000);
        assert!(due.windows(2).all(|w| (w[1] - w[0]).abs_diff(1_000_000) < 10));
    }
}
