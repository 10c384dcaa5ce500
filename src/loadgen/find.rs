//! The highest rate that keeps a percentile of the latency under a bound. Each trial is a whole run on the
//! same topics: first one at full speed, which says how much there is at most, then open loops, halving until
//! one keeps the bound and narrowing geometrically from there.
//! Runs on the caller's OS thread. `Search` is pure: which rate comes next.

use super::control::{Control, Failure, Layout};
use super::report::{Percentiles, Report, Trial};
use super::run::{self, Surroundings};
use super::text::{grouped, latency};
use super::workload::{LatencyBound, Workload};
use std::sync::Arc;

/// The first one, at full speed, included.
const TRIALS_MAX: usize = 11;
/// The search ends when the best and the worst are this close: the noise of a run is not smaller.
const CLOSE_ENOUGH: f64 = 1.05;
/// Of the records that were due.
const KEPT_SHARE: f64 = 0.99;
/// Of the full speed, for the first open loop: at all of it, queues only grow.
const FIRST_SHARE: f64 = 0.9;

/// Between which rates the answer is.
struct Search {
    best: Option<f64>,
    /// A rate that was too much; before one was, the full speed.
    over: f64,
    tried: usize,
}

impl Search {
    fn new(full_speed: f64) -> Search {
        Search { best: None, over: full_speed, tried: 0 }
    }

    fn next(&self) -> Option<f64> {
        if self.tried + 1 >= TRIALS_MAX {
            return None;
        }
        let rate = match self.best {
            None if self.tried == 0 => self.over * FIRST_SHARE,
            None => self.over / 2.0,
            Some(best) if self.over / best <= CLOSE_ENOUGH => return None,
            Some(best) => (best * self.over).sqrt(),
        };
        // Whole records a second read better; below one there is nothing to find.
        (rate >= 1.0).then(|| rate.round())
    }

    fn tried(&mut self, rate: f64, kept: bool) {
        self.tried += 1;
        match kept {
            true => self.best = Some(self.best.map_or(rate, |best| best.max(rate))),
            false => self.over = self.over.min(rate),
        }
    }
}

pub fn run(workload: Workload, mut around: Surroundings<'_>) -> Result<Report, String> {
    let Some(bound) = &workload.find else {
        return Err("there is no bound to search under".to_string());
    };
    let mut layout: Option<Layout> = None;
    let mut trials: Vec<Trial> = Vec::new();
    let full = trial(&workload, 0.0, &mut around, &mut layout)?;
    let full_speed = full.produced_records_per_s;
    let mut last = full;
    trials.push(Trial {
        rate_records_per_s: 0.0,
        produced_records_per_s: full_speed,
        latency_us: latency_of(&last, bound).unwrap_or(0.0),
        kept: false,
        reason: "full speed (closed loop): says how much there is at most".to_string(),
    });
    let mut best: Option<Report> = None;
    let mut search = Search::new(full_speed);
    while last.problems().is_empty() && !last.interrupted {
        let Some(rate) = search.next() else { break };
        last = trial(&workload, rate, &mut around, &mut layout)?;
        let judged = judge(&last, rate, bound);
        search.tried(rate, judged.kept);
        if judged.kept && search.best == Some(rate) {
            best = Some(last.clone());
        }
        trials.push(judged);
    }
    let sound = last.problems().is_empty();
    if sound
        && !workload.keep_topic
        && let Some(layout) = layout
    {
        run::delete_topics(&workload, layout);
    }
    // A trial that lost something, or its broker, is the result: the search is not.
    let mut report = match best {
        Some(best) if sound => Report { interrupted: last.interrupted, ..best },
        _ => last,
    };
    match search.best {
        _ if !sound => {
            report.not_measured.push(format!("the rest of the search for {bound}: a trial failed"));
        }
        _ if report.interrupted => {
            report.not_measured.push(format!("the rest of the search for {bound}: interrupted"));
        }
        None => {
            let rates = grouped(full_speed as u64);
            let sentence = format!(
                "no rate was found that keeps {bound} (full speed is {rates} records/s): the report is of the last trial"
            );
            report.failures.push(Failure { at_s: report.measured_s, sentence });
        }
        Some(_) => {}
    }
    report.trials = trials;
    Ok(report)
}

/// A run at this rate; 0 is full speed. The topics stay, for the next one.
fn trial(
    workload: &Workload,
    rate: f64,
    around: &mut Surroundings<'_>,
    layout: &mut Option<Layout>,
) -> Result<Report, String> {
    let mut prefill = workload.prefill;
    let (tell, first) = (&mut *around.on_ready, layout.is_none());
    if !first {
        prefill = 0;
    }
    let w = Workload {
        rate,
        phases: Vec::new(),
        find: None,
        keep_topic: true,
        prefill,
        ..workload.clone()
    };
    let mut on_ready = |control: &Arc<Control>| {
        if first {
            *layout = Some(control.layout.clone());
        }
        tell(control);
    };
    run::run(
        w,
        Surroundings {
            broker: around.broker,
            broker_pid: around.broker_pid,
            broker_shard_times: around.broker_shard_times,
            interrupted: around.interrupted.clone(),
            command: around.command.clone(),
            on_tick: &mut *around.on_tick,
            on_ready: &mut on_ready,
        },
    )
}

fn latency_of(report: &Report, bound: &LatencyBound) -> Option<f64> {
    let percentiles = if bound.end_to_end { &report.end_to_end } else { &report.ack };
    percentiles.as_ref().map(|p| at_quantile(p, bound.quantile))
}

/// Those that a bound can name.
fn at_quantile(p: &Percentiles, quantile: f64) -> f64 {
    let known = [(0.5, p.p50_us), (0.9, p.p90_us), (0.99, p.p99_us), (0.999, p.p999_us)];
    known.iter().find(|(q, _)| quantile <= *q + 1e-9).map_or(p.p9999_us, |(_, us)| *us)
}

fn judge(report: &Report, rate: f64, bound: &LatencyBound) -> Trial {
    let measured = latency_of(report, bound);
    let bound_us = bound.bound.as_secs_f64() * 1e6;
    let v = &report.verification;
    let due = v.records_sent + report.unsent_records;
    let share = if due > 0 { v.records_acked as f64 / due as f64 } else { 0.0 };
    let what = bound.to_string();
    let percentile = what.split('<').next().unwrap_or_default().trim();
    let problems = report.problems();
    let reason = match (problems.first(), measured) {
        (Some(problem), _) => problem.clone(),
        (None, None) => "no latency was measured".to_string(),
        (None, _) if share < KEPT_SHARE => format!(
            "{:.1} % of the records that were due could not be sent and acknowledged in time",
            100.0 * (1.0 - share)
        ),
        (None, Some(us)) if us >= bound_us => {
            format!("{percentile} of {} is over {}", latency(us), latency(bound_us))
        }
        (None, Some(us)) => {
            format!("{percentile} of {} at {}/s", latency(us), grouped(rate as u64))
        }
    };
    let kept =
        problems.is_empty() && share >= KEPT_SHARE && measured.is_some_and(|us| us < bound_us);
    Trial {
        rate_records_per_s: rate,
        produced_records_per_s: report.produced_records_per_s,
        latency_us: measured.unwrap_or(0.0),
        kept,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A broker that keeps every rate up to `limit`.
    fn search(full_speed: f64, limit: f64) -> (Option<f64>, Vec<f64>) {
        let mut search = Search::new(full_speed);
        let mut rates = Vec::new();
        while let Some(rate) = search.next() {
            rates.push(rate);
            search.tried(rate, rate <= limit);
        }
        (search.best, rates)
    }

    #[test]
    fn the_search_ends_near_the_limit_and_soon() {
        for limit in [99_000.0, 89_000.0, 70_000.0, 51_000.0, 26_000.0, 9_000.0, 3_300.0] {
            let (best, rates) = search(100_000.0, limit);
            let best = best.expect("a rate below the limit was tried");
            assert!(best <= limit && best * CLOSE_ENOUGH >= limit * 0.995, "{limit}: {rates:?}");
            assert!(rates.len() < TRIALS_MAX, "{limit}: {rates:?}");
        }
    }

    #[test]
    fn a_hopeless_search_ends() {
        let (best, rates) = search(1e6, 0.0);
        assert_eq!((best, rates.len()), (None, TRIALS_MAX - 1));
        let (best, rates) = search(3.0, 0.0);
        assert_eq!((best, rates), (None, vec![3.0, 2.0, 1.0]));
        assert_eq!(search(0.0, 0.0).1, [0.0; 0]);
    }

    #[test]
    fn a_bound_finds_its_percentile() {
        let p = Percentiles {
            samples: 1,
            mean_us: 0.0,
            p50_us: 50.0,
            p90_us: 90.0,
            p99_us: 99.0,
            p999_us: 999.0,
            p9999_us: 9999.0,
            max_us: 0.0,
        };
        for (bound, us) in
            [("p50<1s", 50.0), ("p99<1s", 99.0), ("p99.9<1s", 999.0), ("p99.99<1s", 9999.0)]
        {
            let bound: LatencyBound = bound.parse().unwrap();
            assert_eq!(at_quantile(&p, bound.quantile), us, "{bound}");
        }
    }
}
