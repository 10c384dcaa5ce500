//! What ran beside the measured load, in the report: the replay and what it checked of the prefill, quotas
//! that made us wait, and what the run could not look at, a sentence each. Pure: works on what it is given.

use super::super::check::SequenceCheck;
use super::super::control::{Control, Replayed, Throttled};
use super::*;

/// Consumers that read from the start, all together.
pub fn replay(control: &Control) -> Option<Replay> {
    let w = &control.workload;
    if w.replay_consumers == 0 {
        return None;
    }
    control.outcome(|outcome| {
        let all = &outcome.replayed;
        let started_ns = all.iter().filter_map(|r| r.started_ns).min()?;
        let ended_ns = all.iter().map(|r| r.ended_ns).max().unwrap_or(started_ns);
        let caught_up: Option<Vec<u64>> = all.iter().map(|r| r.caught_up_ns).collect();
        let (records, bytes) = (sum(all, |r| r.records), sum(all, |r| r.bytes));
        let seconds = ended_ns.saturating_sub(started_ns) as f64 / 1e9;
        Some(Replay {
            consumers: w.replay_consumers,
            started_s: control.schedule.seconds(started_ns),
            records,
            bytes,
            mb_per_s: if seconds > 0.0 { bytes as f64 / 1e6 / seconds } else { 0.0 },
            caught_up_s: caught_up
                .and_then(|at| at.into_iter().max())
                .map(|at| control.schedule.seconds(at)),
        })
    })
}

fn sum(all: &[Replayed], of: impl Fn(&Replayed) -> u64) -> u64 {
    all.iter().map(of).sum()
}

/// Adds what the replay saw: altered and misplaced records of this run, and all faults of the prefill.
/// What it had not read by the end of the run is not lost; `not_measured` says so.
pub fn verify(control: &Control, v: &mut Verification) {
    control.outcome(|outcome| {
        for seen in outcome.replayed.iter().map(|r| &r.seen) {
            v.corrupted += seen.corrupted;
            v.misplaced += seen.misplaced;
            v.foreign += seen.foreign;
            for check in seen.checks.values() {
                v.duplicated += check.duplicates;
                v.reordered += check.reordered;
            }
        }
        let Some(prefilled) = control.prefilled.as_ref().filter(|_| is_kept_whole(control)) else {
            return;
        };
        for replayed in outcome.replayed.iter().filter(|r| r.caught_up_ns.is_some()) {
            v.checked = true;
            v.records_read += replayed.seen.records;
            for (producer, lanes) in prefilled {
                for &lane in &replayed.lanes {
                    let sent = &lanes[lane];
                    v.records_sent += sent.sent;
                    v.records_acked += sent.acked;
                    let check = replayed.seen.checks.get(&(*producer, lane));
                    let lost = |c: &SequenceCheck| c.lost(sent.sent, &sent.not_acked);
                    v.lost += check.map_or_else(|| lost(&SequenceCheck::default()), lost);
                }
            }
        }
    });
}

/// A compacted topic keeps only the last record of each key.
fn is_kept_whole(control: &Control) -> bool {
    let compacts = |(key, value): &(String, String)| {
        key == "cleanup.policy" && value.split(',').any(|p| p.trim() == "compact")
    };
    !control.workload.topic_configs.iter().any(compacts)
}

/// What the run could not look at.
pub fn not_measured(report: &Report, control: &Control) -> Vec<String> {
    let w = &control.workload;
    let mut said = Vec::new();
    let end_s = control.schedule.seconds(control.schedule.end_ns());
    if let Some(at_s) = report.stopped_early_s {
        said.push(match report.measured_s > 0.0 {
            true => format!(
                "the run ended at {at_s:.1} s of {end_s:.1} s: the figures are of the {:.1} s that were measured",
                report.measured_s
            ),
            false => format!("the run ended at {at_s:.1} s, before anything was measured"),
        });
    }
    let v = &report.verification;
    if v.not_read_back > 0 {
        said.push(format!(
            "whether {} acknowledged records are still there: the broker went away or refused before they were read",
            v.not_read_back
        ));
    }
    if w.consumers == 0 && w.producers > 0 {
        said.push(
            "end-to-end latency, and whether what was acknowledged is there: no consumers"
                .to_string(),
        );
    }
    let replayed = control.outcome(|o| o.replayed.clone());
    let late = replayed.iter().filter(|r| r.caught_up_ns.is_none());
    let late: usize = late.map(|r| r.lanes.len()).sum();
    if w.replay_consumers > 0 && late > 0 {
        said.push(format!(
            "the rest of the replay: {late} of {} partitions were not read to their live end when the run ended",
            control.layout.places.len()
        ));
    }
    if control.prefilled.is_some() {
        if w.replay_consumers == 0 {
            said.push("whether the prefill is still there: no --replay consumers".to_string());
        } else if !is_kept_whole(control) {
            said.push("whether the prefill is complete: the topic is compacted".to_string());
        }
    }
    said
}

/// A sentence for each API that a quota slowed down.
pub fn throttle_warnings(throttled: &BTreeMap<String, Throttled>) -> Vec<String> {
    let sentence = |(api, t): (&String, &Throttled)| {
        format!(
            "a quota of the broker slowed {api} down: {} answers asked for {:.1} s of waiting in all (all connections together), first at {:.1} s; the figures are the quota's, not the broker's",
            t.answers, t.total_s, t.first_at_s
        )
    };
    throttled.iter().map(sentence).collect()
}
