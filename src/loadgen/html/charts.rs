//! Which plots a page has: for one run its percentiles and shards as lines of one plot, for several one line a
//! run in the colour of its group. What was not measured is a sentence in the plot's place.
//! Not here: how a plot is drawn (`plot.rs`).

use super::plot::{Band, Keep, Line, Plot};
use super::scale::{Counted, Scale};
use crate::loadgen::compare::groups::Group;
use crate::loadgen::report::{CurvePoint, Percentiles, Report, Tick, Trial};

pub enum Chart {
    Plot(Box<Plot>),
    Missing { title: String, why: String },
}

/// Charts that stand side by side.
pub struct Row {
    pub charts: Vec<Chart>,
    pub columns: usize,
}

/// Colours of the style sheet.
const COLOURS: usize = 6;
/// More lines than that can't be told apart: the busiest and the idlest stand for them.
const SHARD_LINES_MAX: usize = 4;

pub fn colour(group: usize) -> String {
    // The seventh group has the first one's colour and dashes.
    let dashed = if (group / COLOURS) % 2 == 1 { " dashed" } else { "" };
    format!("c{}{dashed}", group % COLOURS)
}

type Of = fn(&Tick) -> Option<f64>;

/// What all plots of a page share.
struct Charts<'a> {
    groups: &'a [Group<'a>],
    end_s: f64,
}

pub fn rows(groups: &[Group]) -> Vec<Row> {
    let ends = reports(groups).flat_map(|r| r.ticks.iter().map(|t| t.at_s));
    let end_s = ends.filter(|s| s.is_finite()).fold(0.0, f64::max);
    let charts = Charts { groups, end_s };
    match groups {
        [one] if one.reports.len() == 1 => charts.of_one(one.reports[0]),
        _ => charts.of_several(),
    }
}

fn reports<'a>(groups: &'a [Group]) -> impl Iterator<Item = &'a Report> {
    groups.iter().flat_map(|g| g.reports.iter().copied())
}

fn two(a: Chart, b: Chart) -> Row {
    Row { charts: vec![a, b], columns: 2 }
}

const ACK: &str = "Ack latency";
const END_TO_END: &str = "End-to-end latency";

impl Charts<'_> {
    fn of_one(&self, r: &Report) -> Vec<Row> {
        let mut lines = vec![line("produced", "c0", r, |t| Some(t.produced_records_per_s))];
        if r.configuration.consumers > 0 {
            lines.push(line("consumed", "c1 dashed", r, |t| Some(t.consumed_records_per_s)));
        }
        lines.push(line("intended", "grey thin", r, |t| t.intended_records_per_s));
        let rate = self.over_time("Rate", "records/s", Counted::Number, lines, no_ticks);
        let mut rows = vec![two(rate, self.curves_of_one(r))];
        let latency = |title: &str, of: [Of; 3], why: fn(&Report) -> Option<String>| {
            let classes = ["c2", "c0", "c1"];
            let lines = ["p50", "p99", "p99.9"].iter().zip(classes).zip(of);
            let lines = lines.map(|((label, class), of)| worst(label, class, r, of)).collect();
            self.over_time(title, "", Counted::Latency, lines, why)
        };
        rows.push(two(latency(ACK, ACKS, no_ack), latency(END_TO_END, ENDS, no_end_to_end)));
        let cpu = self.over_time(
            "Broker CPU",
            "% of one core",
            Counted::Percent,
            cpu_lines(r),
            no_broker,
        );
        let memory = vec![worst("resident memory", "c0", r, memory)];
        rows.push(two(cpu, self.memory(memory)));
        if r.ticks.iter().any(|t| t.replayed_mb_per_s > 0.0) {
            let lines = vec![
                line("produced", "c0", r, |t| Some(t.produced_mb_per_s)),
                line("consumed live", "c1 dashed", r, |t| Some(t.consumed_mb_per_s)),
                line("replayed", "c3", r, |t| Some(t.replayed_mb_per_s)),
            ];
            let replay = self.over_time("Throughput", "MB/s", Counted::Mega, lines, no_ticks);
            rows.push(Row { charts: vec![replay], columns: 2 });
        }
        if !r.trials.is_empty() {
            let last = rows.iter_mut().rfind(|row| row.charts.len() < row.columns);
            match last {
                Some(row) => row.charts.push(trials(&r.trials)),
                None => rows.push(Row { charts: vec![trials(&r.trials)], columns: 2 }),
            }
        }
        rows
    }

    fn of_several(&self) -> Vec<Row> {
        let rate = |title: &str, of: Of| {
            let lines = self.line_each(Keep::Mean, of);
            self.over_time(title, "MB/s", Counted::Mega, lines, no_ticks)
        };
        let produced = rate("Produced", |t| Some(t.produced_mb_per_s));
        let mut rows = vec![match reports(self.groups).any(|r| r.configuration.consumers > 0) {
            true => two(produced, rate("Consumed", |t| Some(t.consumed_mb_per_s))),
            false => Row { charts: vec![produced], columns: 1 },
        }];
        rows.push(self.latencies(ACK, ACKS, no_ack));
        rows.push(self.latencies(END_TO_END, ENDS, no_end_to_end));
        rows.push(two(
            self.curve_each("Ack latency by percentile", |r| &r.ack_curve, no_ack),
            self.curve_each("End-to-end latency by percentile", end_to_end_curve, no_end_to_end),
        ));
        let cpu = self.line_each(Keep::Mean, |t| t.broker.as_ref().map(|b| b.cpu_percent));
        let cpu = self.over_time("Broker CPU", "% of one core", Counted::Percent, cpu, no_broker);
        let memory = self.line_each(Keep::Most, memory);
        rows.push(two(cpu, self.memory(memory)));
        if reports(self.groups).any(|r| r.ticks.iter().any(|t| t.replayed_mb_per_s > 0.0)) {
            let lines = self.line_each(Keep::Mean, |t| Some(t.replayed_mb_per_s));
            let replay = self.over_time("Replayed", "MB/s", Counted::Mega, lines, no_ticks);
            rows.push(Row { charts: vec![replay], columns: 2 });
        }
        rows
    }

    /// p50, p99 and p99.9 beside each other, on one scale.
    fn latencies(&self, title: &str, of: [Of; 3], why: fn(&Report) -> Option<String>) -> Row {
        let lines: Vec<Vec<Line>> =
            of.into_iter().map(|of| self.line_each(Keep::Most, of)).collect();
        let scale = Scale::log(lines.iter().flat_map(|l| super::plot::all_values(l)));
        if lines.iter().flatten().all(Line::is_empty) {
            return Row { charts: vec![self.missing(title, why)], columns: 1 };
        }
        let one = |(lines, name): (Vec<Line>, &str)| {
            let title = format!("{title}, {name}");
            match self.over_time(&title, "", Counted::Latency, lines, why) {
                Chart::Plot(plot) => Chart::Plot(Box::new(Plot { y: scale, ..*plot })),
                missing => missing,
            }
        };
        let charts = lines.into_iter().zip(["p50", "p99", "p99.9"]).map(one).collect();
        Row { charts, columns: 3 }
    }

    fn line_each(&self, keep: Keep, of: Of) -> Vec<Line> {
        let mut lines = Vec::new();
        for (i, group) in self.groups.iter().enumerate() {
            let thin = if group.reports.len() > 1 { " thin" } else { "" };
            let class = format!("{}{thin}", colour(i));
            for report in &group.reports {
                lines.push(Line::new(&group.label, &class, &series(report, of), keep));
            }
        }
        lines
    }

    fn over_time(
        &self,
        title: &str,
        unit: &str,
        counted: Counted,
        lines: Vec<Line>,
        why: fn(&Report) -> Option<String>,
    ) -> Chart {
        if lines.iter().all(Line::is_empty) {
            return self.missing(title, why);
        }
        let mut plot = Plot::over_time(title, unit, counted, self.end_s).with(lines);
        plot.bands = self.bands();
        for (group, report) in
            self.groups.iter().flat_map(|g| g.reports.iter().map(move |r| (g, r)))
        {
            let named = |sentence: &str| match self.groups.len() {
                1 => sentence.to_string(),
                _ => format!("{}: {sentence}", group.label),
            };
            plot.marks.extend(report.failures.iter().map(|f| (f.at_s, named(&f.sentence))));
        }
        let without = self.without(why);
        plot.always_named = self.several();
        if self.several() && !without.is_empty() {
            plot.note = format!("Not here: {without}.");
        }
        Chart::Plot(Box::new(plot))
    }

    /// Of runs in the generator's process, what that means for their memory.
    fn memory(&self, lines: Vec<Line>) -> Chart {
        let unit = "MB resident";
        let mut chart = self.over_time("Broker memory", unit, Counted::Mega, lines, no_memory);
        let within: Vec<&str> = self
            .groups
            .iter()
            .filter(|g| g.reports.iter().any(|r| r.broker.in_process))
            .map(|g| g.label.as_str())
            .collect();
        if let (Chart::Plot(plot), false) = (&mut chart, within.is_empty()) {
            let whose = format!(
                "{}: the generator's is in it, as they share a process.",
                within.join(", ")
            );
            plot.note = [plot.note.as_str(), &whose].join(" ").trim().to_string();
        }
        chart
    }

    /// One run needs no names.
    fn several(&self) -> bool {
        reports(self.groups).count() > 1
    }

    fn missing(&self, title: &str, why: fn(&Report) -> Option<String>) -> Chart {
        let why = match self.without(why) {
            words if words.is_empty() => "the run ended before there was anything to see".into(),
            words => words,
        };
        Chart::Missing { title: title.to_string(), why: format!("Not measured: {why}.") }
    }

    /// Each reason once; with the group's name when there are several.
    fn without(&self, why: fn(&Report) -> Option<String>) -> String {
        let mut words: Vec<String> = Vec::new();
        for group in self.groups {
            for reason in group.reports.iter().filter_map(|r| why(r)) {
                let reason = match self.groups.len() {
                    1 => reason,
                    _ => format!("{} ({reason})", group.label),
                };
                if !words.contains(&reason) {
                    words.push(reason);
                }
            }
        }
        words.join(", ")
    }

    /// Of the first run, when the others' phases are at the same times.
    fn bands(&self) -> Vec<Band> {
        let mut all = reports(self.groups).map(|r| bands(r, self.end_s));
        let Some(first) = all.next() else { return Vec::new() };
        let near = |a: &Band, b: &Band| {
            a.label == b.label && (a.from - b.from).abs() <= 1.5 && (a.to - b.to).abs() <= 1.5
        };
        let same = |other: Vec<Band>| {
            // The drains may be of different lengths.
            let phases = |b: &&Band| b.class != "drain";
            let (a, b) = (first.iter().filter(phases), other.iter().filter(phases));
            a.clone().count() == b.clone().count() && a.zip(b).all(|(a, b)| near(a, b))
        };
        match all.all(same) {
            true => first,
            false => Vec::new(),
        }
    }

    fn curves_of_one(&self, r: &Report) -> Chart {
        let lines =
            vec![curve("ack", "c0", &r.ack_curve), curve("end to end", "c1", end_to_end_curve(r))];
        self.curve_plot("Latency by percentile", lines, |r| {
            no_ack(r).zip(no_end_to_end(r)).map(|(a, b)| format!("{a}; {b}"))
        })
    }

    fn curve_each(
        &self,
        title: &str,
        of: fn(&Report) -> &[CurvePoint],
        why: fn(&Report) -> Option<String>,
    ) -> Chart {
        let mut lines = Vec::new();
        for (i, group) in self.groups.iter().enumerate() {
            let thin = if group.reports.len() > 1 { " thin" } else { "" };
            let class = format!("{}{thin}", colour(i));
            lines.extend(group.reports.iter().map(|r| curve(&group.label, &class, of(r))));
        }
        self.curve_plot(title, lines, why)
    }

    fn curve_plot(
        &self,
        title: &str,
        lines: Vec<Line>,
        why: fn(&Report) -> Option<String>,
    ) -> Chart {
        if lines.iter().all(Line::is_empty) {
            return self.missing(title, why);
        }
        let quantiles = lines.iter().flat_map(|l| l.points.iter().flatten()).map(|p| p.x);
        let last = quantiles.filter(|q| *q < 1.0).fold(0.0, f64::max);
        let mut plot = Plot::over_time(title, "", Counted::Latency, 1.0).with(lines);
        plot.always_named = self.several();
        plot.x = Scale::nines(last);
        plot.x_title = "percentile of records".to_string();
        Chart::Plot(Box::new(plot))
    }
}

fn end_to_end_curve(r: &Report) -> &[CurvePoint] {
    &r.end_to_end_curve
}

fn curve(label: &str, class: &str, points: &[CurvePoint]) -> Line {
    let points: Vec<(f64, Option<f64>)> = points.iter().map(|p| (p.quantile, Some(p.us))).collect();
    Line::new(label, class, &points, Keep::Most)
}

fn series(r: &Report, of: Of) -> Vec<(f64, Option<f64>)> {
    r.ticks.iter().map(|t| (t.at_s, of(t))).collect()
}

fn line(label: &str, class: &str, r: &Report, of: Of) -> Line {
    Line::new(label, class, &series(r, of), Keep::Mean)
}

fn worst(label: &str, class: &str, r: &Report, of: Of) -> Line {
    Line::new(label, class, &series(r, of), Keep::Most)
}

fn of_ack(t: &Tick, f: fn(&Percentiles) -> f64) -> Option<f64> {
    t.ack.as_ref().map(f)
}

fn of_end(t: &Tick, f: fn(&Percentiles) -> f64) -> Option<f64> {
    t.end_to_end.as_ref().map(f)
}

const ACKS: [Of; 3] =
    [|t| of_ack(t, |p| p.p50_us), |t| of_ack(t, |p| p.p99_us), |t| of_ack(t, |p| p.p999_us)];
const ENDS: [Of; 3] =
    [|t| of_end(t, |p| p.p50_us), |t| of_end(t, |p| p.p99_us), |t| of_end(t, |p| p.p999_us)];

fn memory(t: &Tick) -> Option<f64> {
    t.broker.as_ref()?.rss_bytes.map(|b| b as f64 / 1e6)
}

fn cpu_lines(r: &Report) -> Vec<Line> {
    let mut lines = vec![line("broker", "c0", r, |t| t.broker.as_ref().map(|b| b.cpu_percent))];
    if lines[0].is_empty() {
        return Vec::new();
    }
    let of_shards = |f: &dyn Fn(&[f64]) -> Option<f64>| -> Vec<(f64, Option<f64>)> {
        let one = |t: &Tick| {
            let shards = t.broker.as_ref()?.shards.iter().map(|s| s.cpu_percent);
            f(&shards.collect::<Vec<f64>>())
        };
        r.ticks.iter().map(|t| (t.at_s, one(t))).collect()
    };
    let shards = |t: &Tick| t.broker.as_ref().map_or(0, |b| b.shards.len());
    let shards = r.ticks.iter().map(shards).max().unwrap_or(0);
    let mut add = |label: String, class: String, points: Vec<(f64, Option<f64>)>| {
        lines.push(Line::new(&label, &class, &points, Keep::Mean));
    };
    match shards {
        // One shard is the broker.
        0 | 1 => {}
        _ if shards <= SHARD_LINES_MAX => {
            for shard in 0..shards {
                let points = of_shards(&|all| all.get(shard).copied());
                add(format!("shard {shard}"), format!("c{} thin", shard + 1), points);
            }
        }
        _ => {
            let busiest = of_shards(&|all| all.iter().copied().reduce(f64::max));
            let idlest = of_shards(&|all| all.iter().copied().reduce(f64::min));
            add(format!("busiest of {shards} shards"), "c1 thin".to_string(), busiest);
            add("idlest".to_string(), "c2 thin".to_string(), idlest);
        }
    }
    lines.push(line("generator", "grey thin dashed", r, |t| Some(t.generator_cpu_percent)));
    lines
}

fn no_ticks(r: &Report) -> Option<String> {
    r.ticks.is_empty().then(|| "the run has no readings over time".to_string())
}

fn no_ack(r: &Report) -> Option<String> {
    match &r.ack {
        Some(_) => no_ticks(r),
        None if r.configuration.acks == "0" => Some("acks=0 has no answers".to_string()),
        None => Some("nothing was acknowledged in the measured phases".to_string()),
    }
}

fn no_end_to_end(r: &Report) -> Option<String> {
    match &r.end_to_end {
        Some(_) => no_ticks(r),
        None if r.configuration.consumers == 0 => Some("no consumers read it back".to_string()),
        None => Some("nothing was read in the measured phases".to_string()),
    }
}

fn no_broker(r: &Report) -> Option<String> {
    let there = r.ticks.iter().any(|t| t.broker.is_some());
    (!there)
        .then(|| "the broker runs elsewhere; --broker-pid reads one on this machine".to_string())
}

fn no_memory(r: &Report) -> Option<String> {
    let there = r.ticks.iter().any(|t| memory(t).is_some());
    if there { None } else { no_broker(r).or(Some("its memory was not read".to_string())) }
}

/// The phases as shades; from the ticks' names when the report has no phases.
fn bands(r: &Report, end_s: f64) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    let mut measured = 0;
    let mut add = |from: f64, to: f64, label: &str, warm: bool| {
        let class = match (warm, label) {
            (_, "drain") => "drain",
            (true, _) => "warm",
            (false, _) => {
                measured += 1;
                if measured % 2 == 1 { "odd" } else { "even" }
            }
        };
        let label = if label == "warmup" { "warm-up" } else { label }.to_string();
        bands.push(Band { from, to, label, class });
    };
    if !r.phases.is_empty() {
        for phase in &r.phases {
            add(phase.from_s, phase.to_s, &phase.name, !phase.measured);
        }
        let last = r.phases.iter().map(|p| p.to_s).fold(0.0, f64::max);
        if r.ticks.iter().any(|t| t.phase == "drain") && end_s > last {
            add(last, end_s, "drain", true);
        }
        return bands;
    }
    let mut from = 0.0;
    for (i, tick) in r.ticks.iter().enumerate() {
        if r.ticks.get(i + 1).is_none_or(|next| next.phase != tick.phase) {
            add(from, tick.at_s, &tick.phase, !tick.measured);
            from = tick.at_s;
        }
    }
    bands
}

/// Rate against latency, a dot a trial.
fn trials(trials: &[Trial]) -> Chart {
    let dots = |kept: bool, label: &str, class: &str| {
        let mut points = Vec::new();
        for trial in trials.iter().filter(|t| t.kept == kept) {
            // A gap after each: a dot, not a stroke.
            points.push((trial.rate_records_per_s, Some(trial.latency_us)));
            points.push((trial.rate_records_per_s, None));
        }
        Line::new(label, class, &points, Keep::Most)
    };
    let lines = vec![dots(true, "kept the bound", "c2 dot"), dots(false, "did not", "c1 dot")];
    let rates = trials.iter().map(|t| t.rate_records_per_s);
    let mut plot =
        Plot::over_time("Trials of the search", "latency by rate", Counted::Latency, 1.0)
            .with(lines);
    plot.x = Scale::linear(rates);
    plot.x_title = "records/s".to_string();
    Chart::Plot(Box::new(plot))
}
