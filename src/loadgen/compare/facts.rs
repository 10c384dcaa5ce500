//! What a run was given, as (field, words) pairs: the configuration as the report's readers see it, the
//! machine, the broker. From them: which runs are rounds of one another, what tells two groups apart, and
//! the list of differences under a comparison.

use super::figures::{bytes, significant};
use super::groups::Group;
use crate::loadgen::report::{Configuration, PhaseReport, Report};
use crate::loadgen::text::grouped;

pub struct Fact {
    /// The field's name in `Configuration`.
    pub field: &'static str,
    pub words: String,
}

impl Fact {
    /// The field in words; its unit stands with the value.
    pub fn name(&self) -> String {
        let mut name = self.field;
        for unit in ["_records_per_s", "_ms", "_s"] {
            name = name.strip_suffix(unit).unwrap_or(name);
        }
        name.replace('_', " ")
    }
}

/// As it was given, not rounded.
fn exact(value: f64, unit: &str) -> String {
    if value.is_finite() { format!("{value} {unit}") } else { "-".to_string() }
}

fn list<T: ToString>(items: &[T]) -> String {
    match items {
        [] => "none".to_string(),
        _ => items.iter().map(T::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// Every field, in the order of the schema.
pub fn configuration(c: &Configuration) -> Vec<Fact> {
    let settings: Vec<String> = c.topic_configs.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let yes = |b| if b { "yes" } else { "no" }.to_string();
    let rate = match c.rate_records_per_s {
        rate if rate > 0.0 => format!("{} records/s", significant(rate)),
        _ => "full speed".to_string(),
    };
    let pinned = match c.generator_cpus.as_slice() {
        [] => "not pinned".to_string(),
        cpus => list(cpus),
    };
    let facts = [
        ("bootstrap_server", c.bootstrap_server.clone()),
        ("topics", list(&c.topics)),
        ("partitions", c.partitions.to_string()),
        ("topic_configs", list(&settings)),
        ("producers", c.producers.to_string()),
        ("consumers", c.consumers.to_string()),
        ("replay_consumers", c.replay_consumers.to_string()),
        ("replay_after_s", exact(c.replay_after_s, "s")),
        ("prefill", grouped(c.prefill)),
        ("generator_threads", c.generator_threads.to_string()),
        ("generator_cpus", pinned),
        ("record_size", c.record_size.clone()),
        ("keys", c.keys.clone()),
        ("key_bytes", c.key_bytes.to_string()),
        ("payload", c.payload.clone()),
        ("headers", c.headers.to_string()),
        ("header_bytes", c.header_bytes.to_string()),
        ("arrivals", c.arrivals.clone()),
        ("rate_records_per_s", rate),
        ("duration_s", exact(c.duration_s, "s")),
        ("warmup_s", exact(c.warmup_s, "s")),
        ("records", c.records.map_or("no limit".to_string(), grouped)),
        ("acks", c.acks.clone()),
        ("compression", c.compression.clone()),
        ("linger_ms", exact(c.linger_ms, "ms")),
        ("batch_bytes", grouped(c.batch_bytes as u64)),
        ("max_in_flight", c.max_in_flight.to_string()),
        ("idempotence", yes(c.idempotence)),
        ("fetch_min_bytes", c.fetch_min_bytes.to_string()),
        ("fetch_max_wait_ms", exact(c.fetch_max_wait_ms, "ms")),
        ("fetch_partition_bytes", grouped(c.fetch_partition_bytes.max(0) as u64)),
        ("fetch_bytes", grouped(c.fetch_bytes.max(0) as u64)),
        ("seed", c.seed.to_string()),
    ];
    facts.into_iter().map(|(field, words)| Fact { field, words }).collect()
}

/// Intended records a second of a phase: "5,000", "1,000 to 9,000", "full speed".
pub fn rate_words(rate: Option<(f64, f64)>) -> String {
    match rate {
        None => "full speed".to_string(),
        Some((from, to)) if from == to => significant(from),
        Some((from, to)) => format!("{} to {}", significant(from), significant(to)),
    }
}

fn phases(r: &Report) -> String {
    let one = |p: &PhaseReport| format!("{} {}", p.name, rate_words(p.rate));
    let measured: Vec<String> = r.phases.iter().filter(|p| p.measured).map(one).collect();
    list(&measured)
}

/// The fields that are each run's own: addresses, names, and what a search found out.
fn own(field: &str, searched: bool) -> bool {
    matches!(field, "bootstrap_server" | "topics" | "seed")
        || (searched && field == "rate_records_per_s")
}

/// (What, words), most telling first.
fn told(r: &Report, searched: bool) -> Vec<(&'static str, String)> {
    let mut told = Vec::new();
    if let Some(scenario) = &r.scenario {
        told.push(("scenario", scenario.name.clone()));
    }
    if r.broker.in_process {
        let commit = r.commit.as_deref().unwrap_or("no commit");
        told.push(("broker's build", format!("{} {}", r.version, &brief(commit))));
    }
    told.push(("broker settings", list(&r.broker.overrides)));
    told.push(("topic count", r.configuration.topics.len().to_string()));
    let of_all = configuration(&r.configuration).into_iter();
    told.extend(of_all.filter(|f| !own(f.field, searched)).map(|f| (f.field, f.words)));
    if !searched {
        told.push(("phases", phases(r)));
    }
    told
}

/// As much of a commit as people read.
pub fn brief(commit: &str) -> String {
    commit.chars().take(10).collect()
}

/// Two reports with the same one are rounds of the same thing.
pub fn identity(r: &Report) -> String {
    let told = told(r, !r.trials.is_empty());
    let told: Vec<String> = told.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
    format!("{}\n{}\n{}", r.broker_label(), r.broker.in_process, told.join("\n"))
}

fn value(told: &[(&'static str, String)], what: &str) -> String {
    told.iter().find(|(k, _)| *k == what).map_or("none".to_string(), |(_, v)| v.clone())
}

/// For reports of one broker name: each fact that is not the same for all, as "field value" for each report.
pub fn telling(reports: &[&Report]) -> Vec<Vec<String>> {
    let searched = reports.iter().all(|r| !r.trials.is_empty());
    let all: Vec<_> = reports.iter().map(|r| told(r, searched)).collect();
    let mut whats: Vec<&'static str> = Vec::new();
    for (what, _) in all.iter().flatten() {
        if !whats.contains(what) {
            whats.push(what);
        }
    }
    let mut telling = Vec::new();
    for what in whats {
        let values: Vec<String> = all.iter().map(|told| value(told, what)).collect();
        if values.iter().any(|v| *v != values[0]) {
            let short = |v: String| match what {
                "scenario" | "phases" | "broker's build" => v,
                _ => format!("{what} {v}"),
            };
            telling.push(values.into_iter().map(short).collect());
        }
    }
    telling
}

pub struct Difference {
    pub what: &'static str,
    /// By group; several where its rounds differ too.
    pub values: Vec<String>,
}

/// Everything but addresses and topic names that is not the same in all runs.
pub fn differences(groups: &[Group]) -> Vec<Difference> {
    let every = || groups.iter().flat_map(|g| g.reports.iter());
    let searched = every().all(|r| !r.trials.is_empty());
    let built = every().all(|r| r.broker.in_process);
    let all = |r: &Report| {
        let mut facts = told(r, searched);
        // Nobody knows that of a broker elsewhere; the generator's is below.
        facts.retain(|(what, _)| built || *what != "broker's build");
        let m = &r.machine;
        facts.extend([
            ("seed", r.configuration.seed.to_string()),
            ("broker runs", place(r).to_string()),
            ("leading nodes", r.broker.nodes.to_string()),
            ("phases", phases(r)),
            ("measured for", exact(r.measured_s.round(), "s")),
            ("CPU", m.cpu.clone()),
            ("cores", m.cores.to_string()),
            ("kernel", m.kernel.clone()),
            ("memory", bytes(m.memory_bytes as f64)),
            ("disk", m.disk.clone().unwrap_or("unknown".to_string())),
            ("generator", generator(r)),
        ]);
        if searched {
            let found = format!("{} records/s", significant(r.configuration.rate_records_per_s));
            facts.push(("rate that the search found", found));
        }
        facts
    };
    let told: Vec<Vec<_>> =
        groups.iter().map(|g| g.reports.iter().map(|r| all(r)).collect()).collect();
    let mut seen: Vec<&'static str> = Vec::new();
    let mut differences = Vec::new();
    for (what, _) in told.iter().flatten().flatten() {
        if seen.contains(what) {
            continue;
        }
        seen.push(what);
        let distinct = |rounds: &Vec<Vec<(&'static str, String)>>| {
            let mut values: Vec<String> = Vec::new();
            for round in rounds {
                let value = value(round, what);
                if !values.contains(&value) {
                    values.push(value);
                }
            }
            values
        };
        let values: Vec<Vec<String>> = told.iter().map(distinct).collect();
        if values.iter().any(|v| v.len() > 1 || *v != values[0]) {
            let values = values.into_iter().map(|v| v.join(" / ")).collect();
            differences.push(Difference { what, values });
        }
    }
    differences
}

pub fn place(r: &Report) -> &'static str {
    match r.broker.in_process {
        true => "in the generator's process",
        false => "in its own process",
    }
}

/// Version and commit of the generator.
pub fn generator(r: &Report) -> String {
    match &r.commit {
        Some(commit) => format!("Spindle {} ({})", r.version, brief(commit)),
        None => format!("Spindle {}", r.version),
    }
}
