//! What the full-screen view knows of the run: the ticks of the last minutes, where in the run we are,
//! errors, failures and the log's last lines. Owned by the view's thread, under its mutex.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::super::control::Control;
use super::super::report::Tick;

/// Five minutes: no chart is wider.
const TICKS_MAX: usize = 300;
pub const LOG_LINES: usize = 50;

#[derive(Default)]
pub struct State {
    pub title: String,
    /// Where, how much, of what: one line.
    pub facts: String,
    pub elapsed_s: f64,
    /// Warm-up and phases; 0 while it is not known.
    pub total_s: f64,
    /// The last ones, oldest first.
    pub ticks: VecDeque<Tick>,
    /// Kind and count, the commonest first.
    pub errors: Vec<(String, u64)>,
    pub failures: Vec<String>,
    pub log: Vec<String>,
    pub stopping: bool,
    control: Option<Arc<Control>>,
    /// `elapsed_s` was right then.
    elapsed_at: Option<(f64, Instant)>,
}

impl State {
    pub fn new(title: String) -> State {
        State { title, ..State::default() }
    }

    pub fn begin(&mut self, control: Arc<Control>, now: Instant) {
        self.facts = control.describe();
        self.total_s = control.schedule.seconds(control.schedule.end_ns());
        self.ticks.clear();
        self.control = Some(control);
        self.elapsed_at = Some((0.0, now));
    }

    pub fn tick(&mut self, tick: Tick, now: Instant) {
        self.elapsed_at = Some((tick.at_s, now));
        if self.ticks.len() == TICKS_MAX {
            self.ticks.pop_front();
        }
        self.ticks.push_back(tick);
    }

    /// What moves between two ticks.
    pub fn refresh(&mut self, now: Instant, stopping: bool, log: Vec<String>) {
        if let Some((at_s, then)) = self.elapsed_at {
            self.elapsed_s = at_s + now.saturating_duration_since(then).as_secs_f64();
        }
        self.stopping = stopping;
        self.log = log;
        if let Some(control) = &self.control {
            let mut errors: Vec<(String, u64)> =
                control.errors().0.into_iter().map(|(kind, e)| (kind, e.count)).collect();
            errors.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            self.errors = errors;
            let said =
                |f: super::super::control::Failure| format!("{:.1} s: {}", f.at_s, f.sentence);
            self.failures = control.failures().into_iter().map(said).collect();
        }
    }

    pub fn last(&self) -> Option<&Tick> {
        self.ticks.back()
    }

    pub fn phase(&self) -> &str {
        match self.last() {
            _ if self.stopping => "stopping",
            Some(tick) => &tick.phase,
            None if self.facts.is_empty() => "preparing",
            None => "starting",
        }
    }
}
