//! Which runs are rounds of the same thing (same broker name, scenario and configuration), what a group is
//! called, and the median, least and most of its rounds.

use super::facts;
use super::figures::{Figure, Unit};
use crate::loadgen::report::Report;

pub struct Group<'a> {
    /// The broker's name, with what tells it from the others when that is not enough.
    pub label: String,
    /// In the order they were given; never empty.
    pub reports: Vec<&'a Report>,
}

/// Of the rounds that have the figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
    pub rounds: usize,
}

impl Spread {
    /// None for no values. An even number of them has its median halfway between the middle two.
    pub fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        };
        Some(Spread { median, least, most, rounds: values.len() })
    }

    pub fn words(&self, unit: Unit) -> String {
        let median = unit.words(self.median);
        match self.rounds {
            1 => median,
            _ => format!("{median} ({})", self.range_words(unit)),
        }
    }

    pub fn range_words(&self, unit: Unit) -> String {
        format!("{} - {}", unit.words(self.least), unit.words(self.most))
    }
}

impl Group<'_> {
    pub fn spread(&self, figure: &Figure) -> Option<Spread> {
        Spread::of(self.reports.iter().filter_map(|r| figure.of(r)).collect())
    }

    pub fn verdict(&self) -> String {
        let count = |state| self.reports.iter().filter(|r| r.state() == state).count();
        let (failed, cut, rounds) =
            (count(State::Failed), count(State::Interrupted), self.reports.len());
        match (failed, cut) {
            (0, 0) if self.reports.iter().all(|r| r.verification.checked) => "good".to_string(),
            (0, 0) => "good, not read back".to_string(),
            (1, _) if rounds == 1 => "FAILED".to_string(),
            (0, _) if rounds == 1 => "interrupted".to_string(),
            (0, _) => format!("{cut} of {rounds} interrupted"),
            _ => format!("{failed} of {rounds} FAILED"),
        }
    }

    pub fn round_name(&self, round: usize) -> String {
        match self.reports.len() {
            1 => self.label.clone(),
            _ => format!("{}, round {}", self.label, round + 1),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Good,
    Interrupted,
    Failed,
}

impl Report {
    pub fn state(&self) -> State {
        match self.interrupted {
            _ if !self.problems().is_empty() => State::Failed,
            true => State::Interrupted,
            false => State::Good,
        }
    }

    /// Of the broker, never empty.
    pub fn broker_label(&self) -> String {
        match self.broker.name.trim() {
            "" if self.broker.in_process => "Spindle".to_string(),
            "" => self.configuration.bootstrap_server.clone(),
            name => name.to_string(),
        }
    }
}

pub fn groups(reports: &[Report]) -> Vec<Group<'_>> {
    let mut keys: Vec<String> = Vec::new();
    let mut groups: Vec<Group> = Vec::new();
    for report in reports {
        let key = facts::identity(report);
        match keys.iter().position(|k| *k == key) {
            Some(at) => groups[at].reports.push(report),
            None => {
                keys.push(key);
                groups.push(Group { label: report.broker_label(), reports: vec![report] });
            }
        }
    }
    name_apart(&mut groups);
    groups
}

/// Groups of one broker get what differs between them in brackets, or at last a number.
fn name_apart(groups: &mut [Group]) {
    /// More of them would be a sentence, not a name.
    const MOST_FACTS: usize = 2;
    let labels: Vec<String> = groups.iter().map(|g| g.label.clone()).collect();
    for label in &labels {
        let same: Vec<usize> = (0..groups.len()).filter(|i| labels[*i] == *label).collect();
        if same.len() < 2 || groups[same[0]].label != *label {
            continue;
        }
        let reports: Vec<&Report> = same.iter().map(|i| groups[*i].reports[0]).collect();
        let telling = facts::telling(&reports);
        for (nth, at) in same.iter().enumerate() {
            let facts: Vec<String> =
                telling.iter().take(MOST_FACTS).map(|values| values[nth].clone()).collect();
            if !facts.is_empty() {
                groups[*at].label = format!("{label} ({})", facts.join(", "));
            }
        }
        for nth in 1..same.len() {
            let taken = |groups: &[Group]| {
                same[..nth].iter().any(|i| groups[*i].label == groups[same[nth]].label)
            };
            if taken(groups) {
                let numbered = format!("{} #{}", groups[same[nth]].label, nth + 1);
                groups[same[nth]].label = numbered;
            }
        }
    }
}
