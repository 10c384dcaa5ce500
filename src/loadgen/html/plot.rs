//! One plot: lines over an axis, with bands for phases and marks for failures. The drawing is an SVG that is
//! stretched to whatever room there is (strokes keep their width), and every label is text beside it, so that
//! it reads the same on a phone and on paper. Long series are thinned here, and say so.
//! Not here: which lines a report has (`charts.rs`).

use super::markup::Markup;
use super::scale::{Counted, Scale, time_unit};

/// More points than a screen has columns only make the page large.
pub const POINTS_MAX: usize = 600;
/// More labels on a page's marks than a reader looks at.
const MARKS_MAX: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Latencies, memory: the worst of the thinned points.
    Most,
    /// Rates, CPU: their mean, with the least and most as a shade.
    Mean,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub x: f64,
    pub y: f64,
    pub least: f64,
    pub most: f64,
}

pub struct Line {
    pub label: String,
    /// Of the style sheet: `c0` to `c5`, and `dashed`, `thin`.
    pub class: String,
    /// None where nothing was measured: a gap.
    pub points: Vec<Option<Point>>,
    /// How many points each of them stands for.
    pub thinned: usize,
    pub keep: Keep,
}

impl Line {
    pub fn new(label: &str, class: &str, points: &[(f64, Option<f64>)], keep: Keep) -> Line {
        let thinned = points.len().div_ceil(POINTS_MAX).max(1);
        Line {
            label: label.to_string(),
            class: class.to_string(),
            points: points.chunks(thinned).map(|bucket| one_point(bucket, keep)).collect(),
            thinned,
            keep,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.points.iter().all(Option::is_none)
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.points.iter().flatten().map(|p| p.most)
    }
}

/// For log scales, which must hold the least too.
pub fn all_values(lines: &[Line]) -> impl Iterator<Item = f64> {
    lines.iter().flat_map(|l| l.points.iter().flatten()).flat_map(|p| [p.least, p.most])
}

fn one_point(bucket: &[(f64, Option<f64>)], keep: Keep) -> Option<Point> {
    let there: Vec<(f64, f64)> = bucket
        .iter()
        .filter_map(|(x, y)| y.map(|y| (*x, y)))
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .collect();
    let (first, last) = (there.first()?, there.last()?);
    let least = there.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
    let most = there.iter().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max);
    let mean = there.iter().map(|p| p.1).sum::<f64>() / there.len() as f64;
    let x = (first.0 + last.0) / 2.0;
    Some(match keep {
        Keep::Most => Point { x, y: most, least: most, most },
        Keep::Mean => Point { x, y: mean, least, most },
    })
}

pub struct Band {
    pub from: f64,
    pub to: f64,
    pub label: String,
    /// `warm`, `even`, `odd` or `drain`.
    pub class: &'static str,
}

pub struct Plot {
    pub title: String,
    /// Of the values, in words: "records/s".
    pub unit: String,
    pub counted: Counted,
    pub x: Scale,
    /// Under the axis; empty: as a time axis has it.
    pub x_title: String,
    pub y: Scale,
    pub lines: Vec<Line>,
    pub bands: Vec<Band>,
    /// (x, what happened).
    pub marks: Vec<(f64, String)>,
    /// Below the plot, in small letters.
    pub note: String,
    /// A line that is alone is named too.
    pub always_named: bool,
}

impl Plot {
    /// Over time, `end_s` long.
    pub fn over_time(title: &str, unit: &str, counted: Counted, end_s: f64) -> Plot {
        Plot {
            title: title.to_string(),
            unit: unit.to_string(),
            counted,
            x: Scale::time(end_s),
            x_title: format!("time ({})", time_unit(end_s)),
            y: Scale::Linear { to: 1.0 },
            lines: Vec::new(),
            bands: Vec::new(),
            marks: Vec::new(),
            note: String::new(),
            always_named: false,
        }
    }

    /// Empty lines go; the value axis is made for those that stay.
    pub fn with(mut self, lines: Vec<Line>) -> Plot {
        self.lines = lines.into_iter().filter(|l| !l.is_empty()).collect();
        self.y = match self.counted {
            Counted::Latency => Scale::log(all_values(&self.lines)),
            _ => Scale::linear(self.lines.iter().flat_map(Line::values)),
        };
        self
    }

    pub fn draw(&self, m: &mut Markup) {
        m.open("figure", &[("class", "plot")]);
        m.open("figcaption", &[]);
        m.within("h3", &[], |m| {
            m.text(&self.title);
            if !self.unit.is_empty() {
                m.element("small", &[], &format!(" {}", self.unit));
            }
        });
        self.draw_legend(m);
        m.close();
        m.open("div", &[("class", "frame")]);
        if !self.bands.is_empty() {
            m.open("div", &[("class", "phases"), ("aria-hidden", "true")]);
            self.bands.iter().for_each(|band| self.draw_band_label(m, band));
            m.close();
        }
        self.draw_y_labels(m);
        self.draw_area(m);
        self.draw_x_labels(m);
        m.close();
        let note = self.words_below();
        if !note.is_empty() {
            m.element("p", &[("class", "note")], &note);
        }
        m.close();
    }

    fn words_below(&self) -> String {
        let thinned = self.lines.iter().map(|l| l.thinned).max().unwrap_or(1);
        let mut note = self.note.clone();
        if thinned > 1 {
            let how = match self.lines.iter().any(|l| l.keep == Keep::Mean) {
                false => "the highest of them",
                true => "their mean, the shade their least and most",
            };
            if !note.is_empty() {
                note.push(' ');
            }
            note.push_str(&format!("Each point stands for {thinned} readings: {how}."));
        }
        note
    }

    /// Each label once: rounds share theirs.
    fn draw_legend(&self, m: &mut Markup) {
        let mut named: Vec<&str> = Vec::new();
        let alone = self.lines.iter().all(|l| l.label == self.lines[0].label);
        if alone && !self.always_named {
            return;
        }
        for line in &self.lines {
            if named.contains(&line.label.as_str()) {
                continue;
            }
            if named.is_empty() {
                m.open("ul", &[("class", "legend")]);
            }
            named.push(&line.label);
            m.within("li", &[], |m| {
                let box_ = [("viewBox", "0 0 22 6"), ("class", "swatch"), ("aria-hidden", "true")];
                m.within("svg", &box_, |m| {
                    let d = if line.class.ends_with("dot") { "M11,3h0" } else { "M1,3H21" };
                    m.leaf("path", &[("d", d), ("class", &format!("line {}", line.class))]);
                });
                m.text(&line.label);
            });
        }
        if !named.is_empty() {
            m.close();
        }
    }

    fn draw_y_labels(&self, m: &mut Markup) {
        m.open("div", &[("class", "ylabels"), ("aria-hidden", "true")]);
        for tick in self.y.ticks(self.counted).iter().filter(|t| !t.label.is_empty()) {
            let style = format!("top:{}%", number(100.0 - 100.0 * tick.at));
            m.element("span", &[("style", &style)], &tick.label);
        }
        m.close();
    }

    fn draw_x_labels(&self, m: &mut Markup) {
        m.open("div", &[("class", "xlabels"), ("aria-hidden", "true")]);
        for (i, tick) in self.x.ticks(Counted::Number).iter().enumerate() {
            let style = format!("left:{}%", number(100.0 * tick.at));
            // What goes where there is little room.
            let odd = match self.x {
                Scale::Nines { .. } => i < 2 || i % 2 == 1,
                _ => i % 2 == 1,
            };
            let first = if tick.at < 0.01 { " first" } else { "" };
            let class = format!("{}{first}", if odd { "odd" } else { "even" });
            m.element("span", &[("style", &style), ("class", &class)], &tick.label);
        }
        m.element("b", &[], &self.x_title);
        m.close();
    }

    fn draw_area(&self, m: &mut Markup) {
        let (y_kind, y_from, y_to) = match self.y {
            Scale::Log { from, to } => ("log", from, to),
            Scale::Linear { to } | Scale::Time { to } | Scale::Nines { to } => ("linear", 0.0, to),
        };
        let (x_kind, x_to) = match self.x {
            Scale::Nines { to } => ("nines", to),
            Scale::Time { to } => ("time", to),
            Scale::Linear { to } | Scale::Log { to, .. } => ("number", to),
        };
        m.open(
            "div",
            &[
                ("class", "area"),
                ("data-x", x_kind),
                ("data-x-to", &x_to.to_string()),
                ("data-y", y_kind),
                ("data-y-from", &y_from.to_string()),
                ("data-y-to", &y_to.to_string()),
                ("data-unit", self.counted.name()),
                ("data-words", &self.unit),
            ],
        );
        let about = format!("{}: {}", self.title, self.spoken());
        let shape =
            [("viewBox", "0 0 1000 1000"), ("preserveAspectRatio", "none"), ("role", "img")];
        m.open("svg", &[shape[0], shape[1], shape[2], ("aria-label", &about)]);
        for band in &self.bands {
            if let Some((x, width)) = self.extent(band) {
                let (x, width) = (number(1000.0 * x), number(1000.0 * width));
                let class = format!("band {}", band.class);
                let at = [("x", x.as_str()), ("y", "0"), ("width", &width), ("height", "1000")];
                m.leaf("rect", &[at[0], at[1], at[2], at[3], ("class", &class)]);
            }
        }
        m.leaf("path", &[("class", "grid"), ("d", &self.grid())]);
        for line in &self.lines {
            self.draw_shade(m, line);
        }
        for line in &self.lines {
            let class = format!("line {}", line.class);
            let d = self.path(line);
            m.leaf("path", &[("class", &class), ("d", &d), ("data-label", &line.label)]);
        }
        for (x, what) in self.marks.iter().take(MARKS_MAX) {
            if let Some(x) = self.x.place(*x) {
                let d = format!("M{},0V1000", number(1000.0 * x));
                m.within("path", &[("class", "mark"), ("d", &d)], |m| {
                    m.element("title", &[], what)
                });
            }
        }
        m.close();
        m.close();
    }

    fn extent(&self, band: &Band) -> Option<(f64, f64)> {
        let (from, to) = (self.x.place(band.from)?, self.x.place(band.to)?);
        (to > from).then_some((from, to - from))
    }

    fn draw_band_label(&self, m: &mut Markup, band: &Band) {
        /// Less than this of the width holds no word.
        const LEAST_WIDTH: f64 = 0.05;
        let Some((x, width)) = self.extent(band) else { return };
        let style = format!("left:{}%;width:{}%", number(100.0 * x), number(100.0 * width));
        let class = format!("phase {}", band.class);
        let attributes = [("class", class.as_str()), ("style", &style), ("title", &band.label)];
        m.element("span", &attributes, if width >= LEAST_WIDTH { &band.label } else { "" });
    }

    fn grid(&self) -> String {
        let mut d = String::new();
        for tick in self.y.ticks(self.counted) {
            d.push_str(&format!("M0,{}H1000", number(1000.0 - 1000.0 * tick.at)));
        }
        for tick in self.x.ticks(Counted::Number) {
            d.push_str(&format!("M{},0V1000", number(1000.0 * tick.at)));
        }
        d
    }

    /// A stretch without gaps is one stroke; a lone point is a dot (round caps on no length).
    fn path(&self, line: &Line) -> String {
        let mut d = String::new();
        let mut pen_down = false;
        for (i, point) in line.points.iter().enumerate() {
            let Some((x, y)) = point.and_then(|p| self.x.place(p.x).zip(self.y.place(p.y))) else {
                pen_down = false;
                continue;
            };
            d.push_str(if pen_down { "L" } else { "M" });
            d.push_str(&format!("{},{}", number(1000.0 * x), number(1000.0 - 1000.0 * y)));
            let alone = !pen_down && line.points.get(i + 1).is_none_or(Option::is_none);
            if alone {
                d.push_str("h0");
            }
            pen_down = true;
        }
        d
    }

    fn draw_shade(&self, m: &mut Markup, line: &Line) {
        let wide = |p: &Point| p.most > p.least;
        if !line.points.iter().flatten().any(wide) {
            return;
        }
        let place = |x: f64, y: f64| {
            let (x, y) = (self.x.place(x)?, self.y.place(y)?);
            Some(format!("{},{}", number(1000.0 * x), number(1000.0 - 1000.0 * y)))
        };
        for stretch in line.points.split(Option::is_none) {
            let there = || stretch.iter().flatten();
            let above = there().filter_map(|p| place(p.x, p.most));
            let below = there().rev().filter_map(|p| place(p.x, p.least));
            let corners: Vec<String> = above.chain(below).collect();
            if corners.len() > 2 {
                let (class, points) = (format!("shade {}", line.class), corners.join(" "));
                m.leaf("polygon", &[("class", &class), ("points", &points)]);
            }
        }
    }

    /// For who can't see it.
    fn spoken(&self) -> String {
        let words: Vec<String> = self
            .lines
            .iter()
            .map(|line| {
                let least = line.points.iter().flatten().map(|p| p.least);
                let least = least.fold(f64::INFINITY, f64::min);
                let most = line.values().fold(f64::NEG_INFINITY, f64::max);
                let words = |v: f64| match self.counted {
                    Counted::Latency => super::scale::latency_words(v),
                    Counted::Percent => format!("{v:.0} %"),
                    _ => format!("{} {}", super::scale::short(v), self.unit),
                };
                format!("{} between {} and {}", line.label, words(least), words(most))
            })
            .collect();
        words.join("; ")
    }
}

/// A coordinate: one decimal is a tenth of a thousandth of the plot.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_string)
}
