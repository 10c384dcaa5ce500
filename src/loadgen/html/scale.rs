//! Scales of a plot: from a value to its place between 0 and 1, and the ticks to read it by. Linear, by
//! powers of ten, seconds, and the nines of a percentile curve. A scale never is empty or inverted.

use crate::loadgen::text::{grouped, latency};

/// What a value axis counts in: its ticks' words, and the read-out's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Records a second, requests: 250 k, 1.5 M.
    Number,
    /// Microseconds.
    Latency,
    Percent,
    /// Bytes, and bytes a second, in MB.
    Mega,
}

impl Counted {
    /// As the page's script knows it.
    pub fn name(self) -> &'static str {
        match self {
            Counted::Number => "number",
            Counted::Latency => "latency",
            Counted::Percent => "percent",
            Counted::Mega => "mega",
        }
    }

    fn tick(self, value: f64) -> String {
        match self {
            Counted::Latency => latency_tick(value),
            Counted::Percent => format!("{} %", short(value)),
            Counted::Number | Counted::Mega => short(value),
        }
    }
}

/// Without trailing zeros: 0.5, 20, 1,500, 250 k, 1.5 M.
pub fn short(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, " G"),
        v if v >= 1e6 => (value / 1e6, " M"),
        v if v >= 1e4 => (value / 1e3, " k"),
        v if v >= 1e3 => return grouped(value.round() as u64),
        _ => (value, ""),
    };
    format!("{}{suffix}", trimmed(scaled, 3))
}

fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

fn latency_tick(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{} µs", trimmed(us, 2)),
        us if us < 1e6 => format!("{} ms", trimmed(us / 1e3, 2)),
        us => format!("{} s", trimmed(us / 1e6, 2)),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// From 0.
    Linear {
        to: f64,
    },
    Log {
        from: f64,
        to: f64,
    },
    /// Seconds from 0.
    Time {
        to: f64,
    },
    /// Quantiles: each nine takes as much room as the one before. `to` in nines.
    Nines {
        to: f64,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// 0 to 1.
    pub at: f64,
    /// Empty: a line only.
    pub label: String,
}

/// At most so many labels on a value axis: more would touch.
const VALUE_LABELS_MAX: usize = 11;

impl Scale {
    /// Room for the largest of the values, rounded up to a tick.
    pub fn linear(values: impl Iterator<Item = f64>) -> Scale {
        let most = values.filter(|v| v.is_finite()).fold(0.0, f64::max);
        match most > 0.0 {
            true => {
                let step = nice_step(most * 1.02, 5);
                Scale::Linear { to: (most * 1.02 / step).ceil() * step }
            }
            false => Scale::Linear { to: 1.0 },
        }
    }

    /// From one of 1, 2, 5 times a power of ten to another, around the values above 0.
    pub fn log(values: impl Iterator<Item = f64>) -> Scale {
        let (least, most) = values
            .filter(|v| v.is_finite() && *v > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(a, b), v| (a.min(v), b.max(v)));
        if most == 0.0 {
            return Scale::Log { from: 1.0, to: 10.0 };
        }
        let (mut from, mut to) = (step_below(least), step_below(most));
        while to < most {
            to = step_above(to);
        }
        // Half a decade at least: noise of a few percent must not look like a storm.
        while to / from < 4.9 {
            to = step_above(to);
            from = step_below(from * 0.999);
        }
        Scale::Log { from, to }
    }

    pub fn time(to: f64) -> Scale {
        Scale::Time { to: if to.is_finite() && to > 0.0 { to } else { 1.0 } }
    }

    /// Of curves whose last quantile below 1 is this.
    pub fn nines(last: f64) -> Scale {
        let nines = nines_of(last.clamp(0.0, 1.0 - 1e-9));
        Scale::Nines { to: (nines + 0.3).max(2.0) }
    }

    /// 0 to 1; what lies outside is put on the edge.
    pub fn place(&self, value: f64) -> Option<f64> {
        if !value.is_finite() {
            return None;
        }
        let at = match *self {
            Scale::Linear { to } | Scale::Time { to } => value / to,
            Scale::Log { from, to } => (value.max(from) / from).ln() / (to / from).ln(),
            Scale::Nines { to } if value >= 1.0 => to,
            Scale::Nines { to } => nines_of(value) / to,
        };
        Some(at.clamp(0.0, 1.0))
    }

    pub fn ticks(&self, counted: Counted) -> Vec<Tick> {
        match *self {
            Scale::Linear { to } => self.linear_ticks(to, counted),
            Scale::Log { from, to } => self.log_ticks(from, to, counted),
            Scale::Time { to } => self.time_ticks(to),
            Scale::Nines { to } => self.nines_ticks(to),
        }
    }

    fn tick(&self, value: f64, label: String) -> Tick {
        Tick { at: self.place(value).expect("ticks are finite"), label }
    }

    fn linear_ticks(&self, to: f64, counted: Counted) -> Vec<Tick> {
        let step = nice_step(to, 5);
        let last = (to / step + 1e-6).floor() as usize;
        let tick = |i: usize| {
            let value = i as f64 * step;
            self.tick(value, counted.tick(value))
        };
        (0..=last).map(tick).collect()
    }

    fn log_ticks(&self, from: f64, to: f64, counted: Counted) -> Vec<Tick> {
        let mut values = vec![from];
        while values[values.len() - 1] < to * 0.999 && values.len() < 64 {
            values.push(step_above(values[values.len() - 1]));
        }
        let power = |v: f64| (v.log10() - v.log10().round()).abs() < 1e-6;
        let decades = values.iter().filter(|v| power(**v)).count();
        let sparse = decades.div_ceil(VALUE_LABELS_MAX).max(1) as i32;
        let labelled = |v: f64| match values.len() <= VALUE_LABELS_MAX {
            true => true,
            false => power(v) && (v.log10().round() as i32).rem_euclid(sparse) == 0,
        };
        let label = |v: f64| if labelled(v) { counted.tick(v) } else { String::new() };
        values.iter().map(|v| self.tick(*v, label(*v))).collect()
    }

    fn time_ticks(&self, to: f64) -> Vec<Tick> {
        const STEPS_S: [f64; 16] = [
            0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0,
            1800.0, 3600.0,
        ];
        const LABELS_MAX: f64 = 9.0;
        let fits = STEPS_S.iter().copied().find(|step| to / step <= LABELS_MAX);
        let step = fits.unwrap_or_else(|| 3600.0 * nice_step(to / 3600.0, 8).ceil());
        let last = (to / step + 1e-6).floor() as usize;
        (0..=last).map(|i| self.tick(i as f64 * step, time_words(i as f64 * step, to))).collect()
    }

    fn nines_ticks(&self, to: f64) -> Vec<Tick> {
        let named = [(0.0, "0"), (0.5, "50"), (0.9, "90"), (0.99, "99")];
        // Many nines leave no room between the first two.
        let crowded = |q: f64| q == 0.0 && to > 3.5;
        let words = |q: f64, label: &str| match crowded(q) {
            true => String::new(),
            false => format!("{label} %"),
        };
        let mut ticks: Vec<Tick> =
            named.iter().map(|(q, label)| self.tick(*q, words(*q, label))).collect();
        let mut nines = 3;
        while f64::from(nines) <= to && nines <= 9 {
            // Longer words, as much room: every other one from the fifth nine on.
            let label = match nines > 4 && nines % 2 == 1 {
                true => String::new(),
                false => format!("99.{} %", "9".repeat(nines as usize - 2)),
            };
            ticks.push(Tick { at: f64::from(nines) / to, label });
            nines += 1;
        }
        ticks
    }
}

/// A moment of a run that is `of` seconds long: "30", "4:30", "1:30" as its axis says (`time_unit`).
fn time_words(s: f64, of: f64) -> String {
    let whole = s.round() as u64;
    match time_unit(of) {
        "s" => trimmed(s, 1),
        "min:s" => format!("{}:{:02}", whole / 60, whole % 60),
        _ => format!("{}:{:02}", whole / 3600, whole % 3600 / 60),
    }
}

pub fn time_unit(of: f64) -> &'static str {
    match of {
        of if of <= 180.0 => "s",
        of if of <= 7200.0 => "min:s",
        _ => "h:min",
    }
}

fn nines_of(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-12).log10()
}

/// 1, 2 or 5 times a power of ten that divides the range in at most `parts`.
fn nice_step(range: f64, parts: usize) -> f64 {
    let least = range / parts as f64;
    let power = 10f64.powf(least.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|t| t * power >= least * 0.999_999);
    times.unwrap_or(10.0) * power
}

/// The largest of 1, 2, 5 times a power of ten that is not above.
fn step_below(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let times = [5.0, 2.0, 1.0].into_iter().find(|t| t * power <= value * 1.000_001);
    times.unwrap_or(1.0) * power
}

fn step_above(value: f64) -> f64 {
    let power = 10f64.powf((value * 1.000_001).log10().floor());
    let times = [2.0, 5.0, 10.0].into_iter().find(|t| t * power > value * 1.000_001);
    times.unwrap_or(10.0) * power
}

/// For a sentence: "at 12.3 s".
pub fn moment(s: f64) -> String {
    match s {
        s if !s.is_finite() => "-".to_string(),
        s if s < 600.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), (s % 60.0).floor()),
        s => format!("{:.0} h {:02.0} min", (s / 3600.0).floor(), (s % 3600.0 / 60.0).floor()),
    }
}

/// A latency, or a dash.
pub fn latency_words(us: f64) -> String {
    if us.is_finite() { latency(us) } else { "-".to_string() }
}
