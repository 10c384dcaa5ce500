//! The report as one HTML page that needs nothing else: no script is needed to read it, no font, picture or
//! address is loaded. One run, or several side by side. All text of a report is taken to be hostile and
//! escaped (`markup.rs`). Pure. Not here: the figures (`report.rs`), groups and ratios (`compare/`).

mod charts;
mod markup;
mod plot;
mod scale;
mod tables;
#[cfg(test)]
mod tests;
mod tiles;

use super::compare::facts::{brief, generator, place};
use super::compare::groups::{Group, State, groups};
use super::report::Report;
use charts::{Chart, Row};
use markup::Markup;
use scale::moment;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("read_out.js");
/// More names than that are no title.
const TITLE_GROUPS_MAX: usize = 3;

/// A whole page; says so when there is no report to show.
pub fn page(reports: &[Report]) -> String {
    let groups = groups(reports);
    let title = title(&groups);
    let mut m = Markup::new();
    m.open("html", &[("lang", "en")]);
    m.open("head", &[]);
    m.leaf("meta", &[("charset", "utf-8")]);
    let fits = "width=device-width, initial-scale=1";
    m.leaf("meta", &[("name", "viewport"), ("content", fits)]);
    m.leaf("meta", &[("name", "color-scheme"), ("content", "light dark")]);
    m.leaf("meta", &[("name", "generator"), ("content", "spindle bench")]);
    m.element("title", &[], &format!("{title} - spindle bench"));
    m.verbatim("style", STYLE);
    m.close();
    m.open("body", &[]);
    m.open("main", &[]);
    match groups.as_slice() {
        [] => {
            m.element("h1", &[], &title);
            m.element("p", &[], "There is no report to show.");
        }
        [one] if one.reports.len() == 1 => one_run(&mut m, &groups, one.reports[0]),
        _ => several_runs(&mut m, &groups),
    }
    m.close();
    m.verbatim("script", SCRIPT);
    m.close();
    m.close();
    m.finish()
}

fn title(groups: &[Group]) -> String {
    match groups {
        [] => "No runs".to_string(),
        [one] => match &one.reports[0].scenario {
            Some(scenario) => format!("{}: {}", one.label, scenario.name),
            None => one.label.clone(),
        },
        some if some.len() <= TITLE_GROUPS_MAX => {
            some.iter().map(|g| g.label.as_str()).collect::<Vec<_>>().join(" / ")
        }
        many => format!("{} runs side by side", many.len()),
    }
}

/// Scenario and its question, when all runs have the same.
fn question(m: &mut Markup, groups: &[Group]) {
    let mut all = groups.iter().flat_map(|g| &g.reports).map(|r| r.scenario.as_ref());
    let Some(Some(first)) = all.next() else { return };
    if all.all(|other| other.is_some_and(|s| s.name == first.name)) {
        m.within("p", &[("class", "question")], |m| {
            m.element("b", &[], &first.name);
            m.text(&format!(" {}", first.question));
        });
    }
}

fn badge(m: &mut Markup, state: State) {
    let (class, words) = match state {
        State::Good => ("badge good", "good"),
        State::Interrupted => ("badge cut", "interrupted"),
        State::Failed => ("badge failed", "failed"),
    };
    m.element("span", &[("class", class)], words);
}

/// What the badge means, in a sentence.
fn verdict(r: &Report) -> String {
    let lossy = r.configuration.acks == "0";
    let checked = match (r.verification.checked, lossy) {
        (true, false) => "Every acknowledged record came back once, in order and unaltered.",
        (true, true) => {
            "What came back came once, in order and unaltered; acks=0 promises no more."
        }
        (false, _) => "The run came to its end; without consumers nobody checked the records.",
    };
    match r.state() {
        State::Failed => {
            let problems = r.problems();
            match problems.as_slice() {
                [one] => format!("{}.", capital(one.trim_end_matches('.'))),
                all => format!("{} things went wrong:", all.len()),
            }
        }
        State::Interrupted => {
            let at = r.stopped_early_s.unwrap_or(r.measured_s);
            format!("It was stopped after {}; the figures are of the time until then.", moment(at))
        }
        State::Good => checked.to_string(),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

fn one_run(m: &mut Markup, groups: &[Group], r: &Report) {
    m.open("header", &[]);
    m.element("h1", &[], &groups[0].label);
    question(m, groups);
    m.within("p", &[("class", "verdict")], |m| {
        badge(m, r.state());
        m.text(" ");
        m.text(&verdict(r));
    });
    let problems = r.problems();
    if problems.len() > 1 {
        sentences(m, "bad", &problems);
    }
    m.within("p", &[("class", "meta")], |m| m.text(&meta(r)));
    m.close();
    tiles::of_one(m, r);
    remarks(m, r);
    plots(m, groups);
    details(m, r);
}

/// When, where and how long, in a line.
fn meta(r: &Report) -> String {
    let m = &r.machine;
    let mut parts = vec![r.started_at.clone(), format!("measured {}", moment(r.measured_s))];
    let early = r.stopped_early_s.filter(|_| r.state() != State::Interrupted);
    parts.extend(early.map(|at| format!("ended early, after {}", moment(at))));
    parts.push(format!("broker {}", place(r)));
    parts.push(format!("{}, {} cores, Linux {}", m.cpu, m.cores, m.kernel));
    parts.push(generator(r));
    parts.join(" · ")
}

fn sentences(m: &mut Markup, class: &str, sentences: &[String]) {
    m.open("ul", &[("class", class)]);
    sentences.iter().for_each(|s| m.element("li", &[], s));
    m.close();
}

/// Warnings and what was not looked at: before the plots, as they say how to read them.
fn remarks(m: &mut Markup, r: &Report) {
    for (title, class, all) in
        [("Warnings", "remarks warn", &r.warnings), ("Not measured", "remarks", &r.not_measured)]
    {
        if !all.is_empty() {
            m.open("section", &[("class", class)]);
            m.element("h2", &[], title);
            sentences(m, "", all);
            m.close();
        }
    }
}

fn plots(m: &mut Markup, groups: &[Group]) {
    for Row { charts, columns } in charts::rows(groups) {
        let class = format!("plots of{}", columns.min(charts.len()));
        m.open("div", &[("class", &class)]);
        for chart in charts {
            match chart {
                Chart::Plot(plot) => plot.draw(m),
                Chart::Missing { title, why } => {
                    m.open("figure", &[("class", "plot missing")]);
                    m.within("figcaption", &[], |m| m.element("h3", &[], &title));
                    m.element("p", &[], &why);
                    m.close();
                }
            }
        }
        m.close();
    }
}

/// All that is not a picture.
fn details(m: &mut Markup, r: &Report) {
    let mut section = |title: &str, f: &dyn Fn(&mut Markup)| {
        m.open("section", &[]);
        m.element("h2", &[], title);
        f(m);
        m.close();
    };
    if !r.phases.is_empty() {
        section("Phases", &|m| tables::phases(m, r));
    }
    if r.ack.is_some() || r.end_to_end.is_some() {
        section("Latency from the intended send time", &|m| tables::percentiles(m, r));
    }
    if !r.trials.is_empty() {
        section("Search for the highest rate", &|m| tables::trials(m, r));
    }
    if !r.cpu.shards.is_empty() {
        section("Where the shards' time went", &|m| tables::shard_times(m, r));
    }
    if r.replay.is_some() {
        section("Replay", &|m| tables::replay(m, r));
    }
    if !r.failures.is_empty() || !r.errors.is_empty() {
        section("Errors and failures", &|m| {
            let failures = r.failures.iter();
            let failures: Vec<String> =
                failures.map(|f| format!("At {}: {}", moment(f.at_s), f.sentence)).collect();
            if !failures.is_empty() {
                sentences(m, "bad", &failures);
            }
            if !r.errors.is_empty() {
                tables::errors(m, r);
            }
        });
    }
    let sharded = tables::has_shards(r);
    m.open("div", &[("class", if sharded { "plots of2" } else { "plots" })]);
    m.open("section", &[]);
    m.element("h2", &[], "Verification");
    tables::verification(m, r);
    m.close();
    if sharded {
        m.open("section", &[]);
        m.element("h2", &[], "Shards");
        tables::shards(m, r);
        m.close();
    }
    m.close();
    m.open("section", &[]);
    m.element("h2", &[], "Configuration");
    tables::configuration(m, r);
    m.close();
    m.open("section", &[]);
    m.element("h2", &[], "Repeat it");
    command(m, r);
    m.close();
}

fn command(m: &mut Markup, r: &Report) {
    m.open("div", &[("class", "command")]);
    m.within("pre", &[], |m| m.element("code", &[], &r.command));
    // The script shows it where there is a clipboard.
    let hidden = [("type", "button"), ("class", "copy"), ("hidden", "hidden")];
    m.element("button", &hidden, "Copy");
    m.close();
}

fn several_runs(m: &mut Markup, groups: &[Group]) {
    m.open("header", &[]);
    m.element("h1", &[], &title(groups));
    question(m, groups);
    m.open("ul", &[("class", "verdicts")]);
    for group in groups {
        let alike = group.reports.iter().all(|r| r.state() == State::Good);
        // Rounds that are all good need one line.
        let shown = if alike { 1 } else { group.reports.len() };
        for (round, r) in group.reports.iter().take(shown).enumerate() {
            m.open("li", &[]);
            badge(m, r.state());
            match group.reports.len() {
                rounds if alike && rounds > 1 => {
                    m.element("b", &[], &format!("{}, all {rounds} rounds", group.label));
                }
                _ => m.element("b", &[], &group.round_name(round)),
            }
            m.text(&verdict(r));
            let problems = r.problems();
            if problems.len() > 1 {
                sentences(m, "bad", &problems);
            }
            m.close();
        }
    }
    m.close();
    m.element("p", &[("class", "meta")], &common_meta(groups));
    m.close();
    tiles::of_several(m, groups);
    m.open("section", &[("class", "remarks")]);
    m.element("h2", &[], "What was different");
    tables::differences(m, groups);
    m.close();
    plots(m, groups);
    m.open("section", &[]);
    m.element("h2", &[], "Side by side");
    let name = &groups[0].label;
    m.element("p", &[("class", "note")], &format!("Ratios are to {name}: 2× is twice its figure."));
    tables::comparison(m, groups);
    m.close();
    m.open("section", &[]);
    m.element("h2", &[], "Each run");
    for group in groups {
        for (round, r) in group.reports.iter().enumerate() {
            m.open("details", &[]);
            m.within("summary", &[], |m| {
                m.element("b", &[], &group.round_name(round));
                m.text(&format!(" {}", meta(r)));
            });
            remarks(m, r);
            details(m, r);
            m.close();
        }
    }
    m.close();
}

/// What can be said of all runs at once.
fn common_meta(groups: &[Group]) -> String {
    let all = || groups.iter().flat_map(|g| g.reports.iter().copied());
    let mut parts = Vec::new();
    let mut days: Vec<&str> =
        all().map(|r| r.started_at.split('T').next().unwrap_or_default()).collect();
    days.dedup();
    parts.push(days.join(", "));
    let mut machines: Vec<String> =
        all().map(|r| format!("{}, {} cores", r.machine.cpu, r.machine.cores)).collect();
    machines.dedup();
    parts.push(machines.join(" / "));
    let mut commits: Vec<String> = all()
        .map(|r| match &r.commit {
            Some(commit) => format!("spindle bench {} ({})", r.version, brief(commit)),
            None => format!("spindle bench {}", r.version),
        })
        .collect();
    commits.dedup();
    parts.push(commits.join(", "));
    parts.join(" · ")
}
