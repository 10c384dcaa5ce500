//! Runs side by side: rounds of one broker become a group (median, least, most), groups are set against the
//! first one as ratios, and whatever else was different between them is said, so that nobody compares apples
//! with pears unknowingly. The same figures, groups and differences make the HTML page's tables (`html/`).
//! Pure but for `Report::read`. Not here: what a figure means (`report.rs`, `perf/report-schema.md`).

pub mod facts;
pub mod figures;
pub mod groups;
mod read;
#[cfg(test)]
pub mod sample;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use super::report::Report;
use figures::{FIGURES, Figure};
use groups::{Group, Spread, groups};

/// A plain table of the runs, with ratios to the first. Empty for no reports.
pub fn text(reports: &[Report]) -> String {
    let groups = groups(reports);
    let Some(first) = groups.first() else { return String::new() };
    let mut table = Table::default();
    let mut head = vec![String::new(), first.label.clone()];
    for other in &groups[1..] {
        head.extend([other.label.clone(), "ratio".to_string()]);
    }
    table.row(head);
    if groups.iter().any(|g| g.reports.len() > 1) {
        let cells = groups.iter().map(|g| format!("{} rounds", g.reports.len()));
        table.values("median (least - most) of", cells.collect());
    }
    let mut section = "";
    for figure in FIGURES {
        let spreads: Vec<Option<Spread>> = groups.iter().map(|g| g.spread(figure)).collect();
        if spreads.iter().all(Option::is_none) {
            continue;
        }
        if figure.section.title != section {
            section = figure.section.title;
            table.row(Vec::new());
            table.row(vec![format!("{section} ({})", figure.section.better.words())]);
        }
        table.row(figure_row(figure, &spreads));
    }
    table.row(Vec::new());
    table.values("verdict", groups.iter().map(Group::verdict).collect());
    let mut out = table.print();
    for difference in facts::differences(&groups) {
        let values: Vec<String> = groups
            .iter()
            .zip(&difference.values)
            .map(|(g, value)| format!("{} {value}", g.label))
            .collect();
        let _ = writeln!(out, "differs: {}: {}", difference.what, values.join(", "));
    }
    for group in &groups {
        for (round, report) in group.reports.iter().enumerate() {
            let whose = group.round_name(round);
            for problem in report.problems() {
                let _ = writeln!(out, "FAILED: {whose}: {problem}");
            }
            for warning in &report.warnings {
                let _ = writeln!(out, "warning: {whose}: {warning}");
            }
            for what in &report.not_measured {
                let _ = writeln!(out, "not measured: {whose}: {what}");
            }
        }
    }
    out
}

fn figure_row(figure: &Figure, spreads: &[Option<Spread>]) -> Vec<String> {
    let base = spreads[0].map(|s| s.median);
    let mut cells = vec![format!("  {}", figure.label)];
    for (i, spread) in spreads.iter().enumerate() {
        cells.push(spread.as_ref().map_or("-".to_string(), |s| s.words(figure.unit)));
        if i > 0 {
            cells.push(figure.ratio_words(spread.map(|s| s.median), base));
        }
    }
    cells
}

/// Columns as wide as their widest cell; the first to the left, the others to the right.
#[derive(Default)]
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// One cell a group, none under "ratio".
    fn values(&mut self, name: &str, values: Vec<String>) {
        let mut cells = vec![name.to_string()];
        for (i, value) in values.into_iter().enumerate() {
            cells.push(value);
            if i > 0 {
                cells.push(String::new());
            }
        }
        self.row(cells);
    }

    fn print(&self) -> String {
        let wide = |cell: &String| cell.chars().count();
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        // A row of one cell is a heading and may run over the columns.
        let cells =
            |i: usize| self.rows.iter().filter(|r| r.len() > 1).filter_map(move |r| r.get(i));
        let widths: Vec<usize> =
            (0..columns).map(|i| cells(i).map(wide).max().unwrap_or(0)).collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let pad = " ".repeat(width.saturating_sub(wide(cell)));
                match i {
                    0 => line.extend([cell.as_str(), pad.as_str()]),
                    _ => line.extend(["  ", pad.as_str(), cell.as_str()]),
                }
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
        out
    }
}
