//! The page's tables: comparison, phases, percentiles, trials, verification, errors, shards,
//! configuration. Numbers stand to the right with their units; a wide table scrolls in its own box.

use super::charts::colour;
use super::markup::Markup;
use super::scale::{latency_words, moment};
use crate::loadgen::compare::facts::{self, rate_words};
use crate::loadgen::compare::figures::{FIGURES, Figure, Unit, significant};
use crate::loadgen::compare::groups::{Group, Spread};
use crate::loadgen::report::{Percentiles, Report};
use crate::loadgen::text::grouped;

/// A heading that ends in `>` stands over numbers.
fn table(m: &mut Markup, class: &str, heads: &[&str], rows: impl FnOnce(&mut Markup)) {
    m.open("div", &[("class", "scroll"), ("tabindex", "0")]);
    m.open("table", &[("class", class)]);
    m.open("thead", &[]);
    m.open("tr", &[]);
    for head in heads {
        match head.strip_suffix('>') {
            Some(head) => m.element("th", &[("scope", "col"), ("class", "n")], head),
            None => m.element("th", &[("scope", "col")], head),
        }
    }
    m.close();
    m.close();
    m.within("tbody", &[], rows);
    m.close();
    m.close();
}

fn row(m: &mut Markup, name: &str, cells: &[String]) {
    m.open("tr", &[]);
    m.element("th", &[("scope", "row")], name);
    for cell in cells {
        m.element("td", &[("class", "n")], cell);
    }
    m.close();
}

fn swatch(m: &mut Markup, group: usize) {
    m.within("svg", &[("viewBox", "0 0 10 10"), ("class", "dot"), ("aria-hidden", "true")], |m| {
        m.leaf("circle", &[("cx", "5"), ("cy", "5"), ("r", "5"), ("class", &colour(group))]);
    });
}

pub fn comparison(m: &mut Markup, groups: &[Group]) {
    m.open("div", &[("class", "scroll"), ("tabindex", "0")]);
    m.open("table", &[("class", "compare")]);
    m.open("thead", &[]);
    m.open("tr", &[]);
    m.element("th", &[("scope", "col")], "");
    for (i, group) in groups.iter().enumerate() {
        m.within("th", &[("scope", "col"), ("class", "n")], |m| {
            swatch(m, i);
            m.text(&group.label);
            if group.reports.len() > 1 {
                m.element("small", &[], &format!("median of {}", group.reports.len()));
            }
        });
        if i > 0 {
            m.element("th", &[("scope", "col"), ("class", "n ratio")], "ratio");
        }
    }
    m.close();
    m.close();
    let mut section = "";
    for figure in FIGURES {
        let spreads: Vec<Option<Spread>> = groups.iter().map(|g| g.spread(figure)).collect();
        if spreads.iter().all(Option::is_none) {
            continue;
        }
        if figure.section.title != section {
            if !section.is_empty() {
                m.close();
            }
            section = figure.section.title;
            m.open("tbody", &[]);
            m.open("tr", &[("class", "section")]);
            // A cell a column: a scrolled table keeps its first one in sight.
            m.open("th", &[("scope", "rowgroup")]);
            m.text(section);
            m.element("small", &[], figure.section.better.words());
            m.close();
            m.element("td", &[("colspan", &(groups.len() * 2 - 1).to_string())], "");
            m.close();
        }
        comparison_row(m, figure, &spreads);
    }
    if !section.is_empty() {
        m.close();
    }
    m.close();
    m.close();
}

fn comparison_row(m: &mut Markup, figure: &Figure, spreads: &[Option<Spread>]) {
    let unit = figure.unit;
    m.open("tr", &[]);
    m.element("th", &[("scope", "row")], figure.label);
    let base = spreads[0].map(|s| s.median);
    for (i, spread) in spreads.iter().enumerate() {
        m.within("td", &[("class", "n")], |m| match spread {
            None => m.text("-"),
            Some(s) => {
                m.text(&unit.words(s.median));
                if s.rounds > 1 {
                    m.element("small", &[], &s.range_words(unit));
                }
            }
        });
        if i > 0 {
            let words = figure.ratio_words(spread.map(|s| s.median), base).replace('x', "×");
            m.element("td", &[("class", "n ratio")], &words);
        }
    }
    m.close();
}

pub fn differences(m: &mut Markup, groups: &[Group]) {
    let differences = facts::differences(groups);
    if differences.is_empty() {
        m.element("p", &[], "Configuration, machine and generator were the same.");
        return;
    }
    let mut heads = vec![""];
    heads.extend(groups.iter().map(|g| g.label.as_str()));
    table(m, "facts", &heads, |m| {
        for difference in differences {
            m.open("tr", &[]);
            m.element("th", &[("scope", "row")], difference.what);
            difference.values.iter().for_each(|v| m.element("td", &[], v));
            m.close();
        }
    });
}

fn percentile_cells(p: &Option<Percentiles>) -> [String; 3] {
    match p {
        None => ["-", "-", "-"].map(str::to_string),
        Some(p) => [p.p50_us, p.p99_us, p.p999_us].map(latency_words),
    }
}

/// Six columns where consumers or acks are missing, up to eleven.
pub fn phases(m: &mut Markup, r: &Report) {
    let acks = r.phases.iter().any(|p| p.ack.is_some());
    let ends = r.phases.iter().any(|p| p.end_to_end.is_some());
    let cpu = r.phases.iter().any(|p| p.broker_cpu_percent.is_some());
    let mut heads = vec!["Phase", "from>", "to>", "intended, records/s>", "records/s>", "MB/s>"];
    if acks {
        heads.extend(["ack p50>", "p99>", "p99.9>"]);
    }
    if ends {
        heads.extend(["end to end p50>", "p99>", "p99.9>"]);
    }
    if cpu {
        heads.push("broker CPU>");
    }
    table(m, "", &heads, |m| {
        for phase in &r.phases {
            let mut cells = vec![
                moment(phase.from_s),
                moment(phase.to_s),
                rate_words(phase.rate),
                Unit::Count.words(phase.produced_records_per_s),
                significant(phase.produced_mb_per_s),
            ];
            if acks {
                cells.extend(percentile_cells(&phase.ack));
            }
            if ends {
                cells.extend(percentile_cells(&phase.end_to_end));
            }
            if cpu {
                let percent = phase.broker_cpu_percent.unwrap_or(f64::NAN);
                cells.push(Unit::Percent.words(percent.round()));
            }
            let note = if phase.measured { "" } else { " (not counted)" };
            row(m, &format!("{}{note}", phase.name), &cells);
        }
    });
}

pub fn percentiles(m: &mut Markup, r: &Report) {
    let late = ("Of it the generator's own", &r.generator_lateness);
    let kinds = [("Ack", &r.ack), ("End to end", &r.end_to_end), late];
    if kinds.iter().all(|(_, p)| p.is_none()) {
        return;
    }
    let heads =
        ["Latency", "mean>", "p50>", "p90>", "p99>", "p99.9>", "p99.99>", "max>", "records>"];
    table(m, "", &heads, |m| {
        for (name, p) in kinds {
            let Some(p) = p else { continue };
            let us = [p.mean_us, p.p50_us, p.p90_us, p.p99_us, p.p999_us, p.p9999_us, p.max_us];
            let mut cells = us.map(latency_words).to_vec();
            cells.push(grouped(p.samples));
            row(m, name, &cells);
        }
    });
}

pub fn trials(m: &mut Markup, r: &Report) {
    table(m, "", &["Trial", "asked, records/s>", "produced>", "latency>", "outcome"], |m| {
        for (i, trial) in r.trials.iter().enumerate() {
            m.open("tr", &[]);
            m.element("th", &[("scope", "row")], &(i + 1).to_string());
            m.element("td", &[("class", "n")], &Unit::Count.words(trial.rate_records_per_s));
            m.element("td", &[("class", "n")], &Unit::Count.words(trial.produced_records_per_s));
            m.element("td", &[("class", "n")], &latency_words(trial.latency_us));
            let outcome = match (trial.kept, trial.reason.is_empty()) {
                (true, true) => "kept the bound".to_string(),
                (true, false) => format!("kept the bound: {}", trial.reason),
                (false, true) => "did not keep it".to_string(),
                (false, false) => trial.reason.clone(),
            };
            m.element("td", &[], &outcome);
            m.close();
        }
    });
}

pub fn replay(m: &mut Markup, r: &Report) {
    let Some(replay) = &r.replay else { return };
    let caught_up = match replay.caught_up_s {
        Some(at) => format!(
            "They had reached the live end {} later, at {}.",
            moment((at - replay.started_s).max(0.0)),
            moment(at)
        ),
        None => "They did not reach the live end.".to_string(),
    };
    m.element(
        "p",
        &[],
        &format!(
            "{} consumer(s) read the topic from its start beside the live traffic, from {} on: {} records at {} MB/s. {caught_up}",
            replay.consumers,
            moment(replay.started_s),
            grouped(replay.records),
            significant(replay.mb_per_s)
        ),
    );
}

pub fn verification(m: &mut Markup, r: &Report) {
    let v = &r.verification;
    if !v.checked {
        m.element(
            "p",
            &[],
            &format!(
                "Without consumers nothing was read back, so nobody looked whether a record was lost. {} records were sent, {} of them acknowledged.",
                grouped(v.records_sent),
                grouped(v.records_acked)
            ),
        );
        return;
    }
    let lost = match r.configuration.acks.as_str() {
        "0" => "sent and not there (acks=0 promises nothing)",
        _ => "acknowledged and not there",
    };
    let rows = [
        ("sent", v.records_sent, "", false),
        ("acknowledged", v.records_acked, "", false),
        ("read", v.records_read, "", false),
        ("lost", v.lost, lost, r.configuration.acks != "0"),
        ("duplicated", v.duplicated, "came twice", true),
        ("out of order", v.reordered, "in their partition", true),
        ("altered", v.corrupted, "their checksum is wrong", true),
        ("misplaced", v.misplaced, "in another partition than they were sent to", true),
        ("offsets skipped", v.offset_gaps, "", true),
        ("not read back", v.not_read_back, "acknowledged, then the broker was gone", true),
        ("foreign", v.foreign, "of other writers in the topic; ignored", false),
    ];
    table(m, "verification", &["Records", "count>", ""], |m| {
        for (name, count, what, must_be_none) in rows {
            let bad = must_be_none && count > 0;
            m.open("tr", if bad { &[("class", "bad")] } else { &[] });
            m.element("th", &[("scope", "row")], name);
            m.element("td", &[("class", "n")], &grouped(count));
            m.element("td", &[("class", "what")], what);
            m.close();
        }
    });
}

pub fn errors(m: &mut Markup, r: &Report) {
    table(m, "", &["Failed requests", "count>", "first at>"], |m| {
        for (kind, error) in &r.errors {
            row(m, kind, &[grouped(error.count), moment(error.first_at_s)]);
        }
    });
}

pub fn has_shards(r: &Report) -> bool {
    r.ticks
        .iter()
        .filter(|t| t.measured)
        .any(|t| t.broker.as_ref().is_some_and(|b| !b.shards.is_empty()))
}

/// Percent of the measured seconds.
pub fn shard_times(m: &mut Markup, r: &Report) {
    let Some(first) = r.cpu.shards.first() else { return };
    let names = first.activities().map(|(name, _)| format!("{name}>"));
    let heads: Vec<&str> =
        std::iter::once("shard").chain(names.iter().map(String::as_str)).collect();
    table(m, "", &heads, |m| {
        for shard in &r.cpu.shards {
            let whole = shard.seconds.max(f64::MIN_POSITIVE);
            let cells = shard.activities().map(|(_, s)| format!("{:.1} %", 100.0 * s / whole));
            row(m, &shard.shard.to_string(), &cells);
        }
    });
}

/// Mean and most of each shard over the measured seconds.
pub fn shards(m: &mut Markup, r: &Report) {
    let samples = || {
        let measured = r.ticks.iter().filter(|t| t.measured);
        measured.filter_map(|t| t.broker.as_ref()).flat_map(|b| &b.shards)
    };
    let mut ids: Vec<usize> = samples().map(|s| s.shard).collect();
    ids.sort_unstable();
    ids.dedup();
    let heads = ["Shard", "CPU, mean>", "CPU, most>", "longest queue>", "connections>"];
    table(m, "", &heads, |m| {
        for id in ids {
            let mine = || samples().filter(|s| s.shard == id);
            let count = mine().count() as f64;
            let sum: f64 = mine().map(|s| s.cpu_percent).sum();
            let most = mine().map(|s| s.cpu_percent).fold(0.0, f64::max);
            let cells = [
                Unit::Percent.words((sum / count).round()),
                Unit::Percent.words(most.round()),
                grouped(mine().map(|s| s.queue).max().unwrap_or(0)),
                grouped(mine().map(|s| s.connections).max().unwrap_or(0)),
            ];
            row(m, &id.to_string(), &cells);
        }
    });
}

fn list(m: &mut Markup, title: &str, facts: &[(String, String)]) {
    m.open("div", &[("class", "facts")]);
    m.element("h3", &[], title);
    m.open("dl", &[]);
    for (name, words) in facts {
        m.within("div", &[], |m| {
            m.element("dt", &[], name);
            m.element("dd", &[], words);
        });
    }
    m.close();
    m.close();
}

/// All that the run was given, and where it ran.
pub fn configuration(m: &mut Markup, r: &Report) {
    let configured = facts::configuration(&r.configuration).into_iter();
    let all: Vec<(String, String)> = configured.map(|f| (f.name(), f.words)).collect();
    // The schema's order: what is made, how it is sent.
    let half = all.iter().position(|(name, _)| name == "acks").unwrap_or(all.len());
    m.open("div", &[("class", "columns")]);
    list(m, "Load", &all[..half]);
    list(m, "Clients", &all[half..]);
    let fact = |name: &str, words: String| (name.to_string(), words);
    let b = &r.broker;
    let mut broker = vec![fact("name", r.broker_label()), fact("runs", facts::place(r).into())];
    broker.extend(b.pid.map(|pid| fact("process", pid.to_string())));
    broker.extend(b.cluster_id.clone().map(|id| fact("cluster id", id)));
    broker.push(fact("leading nodes", b.nodes.to_string()));
    broker.extend(b.overrides.iter().map(|o| fact("set", o.clone())));
    let p = &r.prepare;
    broker.push(fact("connected after", format!("{} ms", significant(p.connect_ms))));
    let created = p.create_topics_ms.map(|ms| format!("{} ms", significant(ms)));
    broker.push(fact("topics created in", created.unwrap_or("were there".to_string())));
    broker.push(fact("leaders after", format!("{} ms", significant(p.leaders_ms))));
    let machine = &r.machine;
    let unknown = || "unknown".to_string();
    let here = vec![
        fact("CPU", machine.cpu.clone()),
        fact("cores", machine.cores.to_string()),
        fact("NUMA nodes", machine.numa_nodes.to_string()),
        fact("memory", Unit::Bytes.words(machine.memory_bytes as f64)),
        fact("kernel", machine.kernel.clone()),
        fact("disk", machine.disk.clone().unwrap_or_else(unknown)),
        fact("generator", format!("Spindle {}", r.version)),
        fact("commit", r.commit.clone().unwrap_or_else(unknown)),
        fact("started", r.started_at.clone()),
        fact("measured for", moment(r.measured_s)),
    ];
    m.open("div", &[]);
    list(m, "Broker", &broker);
    list(m, "Machine", &here);
    m.close();
    m.close();
}
