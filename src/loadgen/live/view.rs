//! The screen of a run, a pure function of `State`. Two layouts: boxes with charts from 60x20 on, bare lines
//! below that; whatever does not fit is left out, the numbers of now last. Palette colours only, so that
//! it reads on dark and light terminals.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, LineGauge, Paragraph, Sparkline};

use super::super::report::{BrokerSample, Percentiles, ShardSample, Tick};
use super::super::text::{grouped, latency};
use super::state::State;

/// Of one shard's gauge and figures.
const SHARD_WIDTH: u16 = 38;
const GAUGE_WIDTH: usize = 10;
const NUMBERS_WIDTH: u16 = 35;

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

pub fn draw(state: &State, frame: &mut Frame<'_>) {
    let area = frame.area();
    if area.width < 60 || area.height < 20 {
        compact(state, frame, area);
        return;
    }
    let shards = shard_rows(state, area.width);
    let messages = messages(state);
    // Two columns of figures and three lines of text are always there; the charts share the rest.
    let said = (messages.len() as u16).clamp(1, (area.height / 6).max(2));
    let [head, progress, rates, latencies, broker, notes, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Fill(2),
        Constraint::Length(2 + 1 + shards.len() as u16),
        Constraint::Length(said),
        Constraint::Length(1),
    ])
    .areas(area);
    header(state, frame, head);
    bar(state, frame, progress);
    draw_rates(state, frame, rates);
    draw_latencies(state, frame, latencies);
    draw_broker(state, shards, frame, broker);
    frame.render_widget(Paragraph::new(last_lines(messages, notes.height)), notes);
    footer(state, frame, foot);
}

/// Numbers only.
fn compact(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let mut lines = vec![Line::styled(place(state), bold())];
    lines.extend(rate_lines(state.last()));
    lines.extend(latency_lines(state.last(), area.width < 60));
    let sample = state.last().and_then(|t| t.broker.as_ref());
    lines.push(broker_line(state.last(), sample, area.width < 60));
    let left = usize::from(area.height).saturating_sub(lines.len() + 1);
    let messages = messages(state);
    lines.extend(last_lines(messages, left as u16));
    lines.truncate(usize::from(area.height).saturating_sub(1).max(1));
    frame.render_widget(Paragraph::new(lines), area);
    if area.height > 2 {
        footer(state, frame, Rect { y: area.bottom() - 1, height: 1, ..area });
    }
}

fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        s if s < 3600 => format!("{}:{:02}", s / 60, s % 60),
        s => format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60),
    }
}

fn place(state: &State) -> String {
    let time = match state.total_s > 0.0 {
        true => {
            format!("{} of {}", clock(state.elapsed_s.min(state.total_s)), clock(state.total_s))
        }
        false => clock(state.elapsed_s),
    };
    format!("{} {time}", state.phase())
}

fn header(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let right = place(state);
    let [left_area, right_area] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(right.len() as u16 + 2)])
            .areas(area);
    let left = Line::from(vec![
        Span::styled(state.title.clone(), bold()),
        Span::raw("  "),
        Span::styled(state.facts.clone(), dim()),
    ]);
    frame.render_widget(Paragraph::new(left), left_area);
    frame.render_widget(
        Paragraph::new(Line::styled(right, bold())).alignment(Alignment::Right),
        right_area,
    );
}

fn bar(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let done = match state.total_s > 0.0 {
        true => (state.elapsed_s / state.total_s).clamp(0.0, 1.0),
        false => 0.0,
    };
    let colour = if state.stopping { Color::Yellow } else { Color::Cyan };
    let gauge = LineGauge::default()
        .ratio(if done.is_finite() { done } else { 0.0 })
        .filled_style(Style::new().fg(colour))
        .unfilled_style(dim());
    frame.render_widget(gauge, area);
}

fn footer(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let text = match state.stopping {
        true => "stopping: what is in flight is waited for; Ctrl-C again ends at once",
        false => "q  stop and show the report",
    };
    frame.render_widget(Paragraph::new(Line::styled(text, dim())), area);
}

fn rate_lines(tick: Option<&Tick>) -> Vec<Line<'static>> {
    let row = |name: &str, per_s: f64, mb: f64, colour| {
        Line::from(vec![
            Span::styled(format!("{name:<8}"), Style::new().fg(colour)),
            Span::styled(format!("{:>11}/s", grouped(per_s.max(0.0).round() as u64)), bold()),
            Span::raw(format!(" {mb:>7.1} MB/s")),
        ])
    };
    let Some(t) = tick else { return vec![Line::styled("no figures yet", dim())] };
    let mut lines = vec![
        row("produced", t.produced_records_per_s, t.produced_mb_per_s, Color::Cyan),
        row("consumed", t.consumed_records_per_s, t.consumed_mb_per_s, Color::Green),
    ];
    if let Some(rate) = t.intended_records_per_s {
        let rate = grouped(rate.max(0.0).round() as u64);
        lines.push(Line::styled(format!("{:<8}{rate:>11}/s", "wanted"), dim()));
    }
    if t.replayed_mb_per_s > 0.0 {
        let replayed = t.replayed_mb_per_s;
        lines.push(Line::styled(format!("{:<8}{replayed:>22.1} MB/s", "replayed"), dim()));
    }
    lines
}

fn draw_rates(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let block = Block::bordered().border_style(dim()).title("rate");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [numbers, plot] =
        Layout::horizontal([Constraint::Length(NUMBERS_WIDTH), Constraint::Fill(1)]).areas(inner);
    frame.render_widget(Paragraph::new(rate_lines(state.last())), numbers);
    let rates = state.ticks.iter().map(|t| t.produced_records_per_s.max(0.0).round() as u64);
    let skipped = state.ticks.len().saturating_sub(usize::from(plot.width));
    let data: Vec<u64> = rates.skip(skipped).collect();
    let plot_area = Rect { height: plot.height.min(8), ..plot };
    let spark = Sparkline::default().data(&data).style(Style::new().fg(Color::Cyan));
    frame.render_widget(spark, plot_area);
}

fn latency_lines(tick: Option<&Tick>, narrow: bool) -> Vec<Line<'static>> {
    let row = |name: &str, p: Option<&Percentiles>, colour| {
        let mut spans = vec![Span::styled(format!("{name:<8}"), Style::new().fg(colour))];
        match p {
            None => spans.push(Span::styled("-", dim())),
            Some(p) if narrow => spans.push(Span::raw(format!(
                "{:>8} {:>8} {:>8}",
                latency(p.p50_us),
                latency(p.p99_us),
                latency(p.p999_us)
            ))),
            Some(p) => {
                for (name, us) in
                    [("p50", p.p50_us), ("p99", p.p99_us), ("p99.9", p.p999_us), ("max", p.max_us)]
                {
                    spans.push(Span::styled(format!("  {name} "), dim()));
                    spans.push(Span::raw(format!("{:>7}", latency(us))));
                }
            }
        }
        Line::from(spans)
    };
    let mut lines = Vec::new();
    if narrow {
        lines.push(Line::styled(
            format!("{:<8}{:>8} {:>8} {:>8}", "", "p50", "p99", "p99.9"),
            dim(),
        ));
    }
    lines.push(row("ack", tick.and_then(|t| t.ack.as_ref()), Color::Cyan));
    lines.push(row("end2end", tick.and_then(|t| t.end_to_end.as_ref()), Color::Green));
    lines
}

/// (seconds, log10 of microseconds).
fn points(state: &State, of: impl Fn(&Tick) -> Option<f64>) -> Vec<(f64, f64)> {
    let known = state.ticks.iter().filter_map(|t| Some((t.at_s, of(t)?)));
    known.filter(|(_, us)| *us > 0.0).map(|(at_s, us)| (at_s, us.log10())).collect()
}

fn draw_latencies(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let key = |name, colour| Span::styled(name, Style::new().fg(colour));
    let keys = Line::from(vec![
        key("ack p50", Color::Blue),
        key(" ack p99", Color::Cyan),
        key(" end2end p99", Color::Green),
    ]);
    let block = Block::bordered()
        .border_style(dim())
        .title("latency from the intended send time")
        .title(keys.right_aligned());
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let lines = latency_lines(state.last(), false);
    let [numbers, plot] =
        Layout::vertical([Constraint::Length(lines.len() as u16), Constraint::Fill(1)])
            .areas(inner);
    frame.render_widget(Paragraph::new(lines), numbers);
    let ack_p50 = points(state, |t| t.ack.map(|p| p.p50_us));
    let ack_p99 = points(state, |t| t.ack.map(|p| p.p99_us));
    let end_p99 = points(state, |t| t.end_to_end.map(|p| p.p99_us));
    let all = || [&ack_p50, &ack_p99, &end_p99].into_iter().flatten();
    if plot.height < 3 || plot.width < 30 || all().next().is_none() {
        return;
    }
    let (low, high) = all().fold((f64::MAX, f64::MIN), |(l, h), p| (l.min(p.1), h.max(p.1)));
    let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
    let (from, to) = all().fold((f64::MAX, f64::MIN), |(f, t), p| (f.min(p.0), t.max(p.0)));
    let to = to.max(from + 10.0);
    let line = |data, colour| {
        Dataset::default()
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(Style::new().fg(colour))
            .data(data)
    };
    let sets = vec![
        line(&end_p99, Color::Green),
        line(&ack_p99, Color::Cyan),
        line(&ack_p50, Color::Blue),
    ];
    let us_axis = Axis::default()
        .bounds([low, high])
        .labels([latency(10f64.powf(low)), latency(10f64.powf(high))])
        .style(dim());
    let time_axis =
        Axis::default().bounds([from, to]).labels([clock(from), clock(to)]).style(dim());
    let chart = Chart::new(sets).x_axis(time_axis).y_axis(us_axis);
    frame.render_widget(chart, plot);
}

/// Eighths of a cell.
fn gauge(percent: f64, width: usize) -> String {
    const PARTS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let share = if percent.is_finite() { (percent / 100.0).clamp(0.0, 1.0) } else { 0.0 };
    let eighths = (share * width as f64 * 8.0).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if eighths / 8 < width {
        bar.push(PARTS[eighths % 8]);
        bar.push_str(&" ".repeat(width - eighths / 8 - 1));
    }
    bar
}

fn colour_of(percent: f64) -> Color {
    match percent {
        p if p >= 90.0 => Color::Red,
        p if p >= 70.0 => Color::Yellow,
        _ => Color::Green,
    }
}

fn shard_spans(s: &ShardSample) -> Vec<Span<'static>> {
    let figures = format!("{:>4.0} % {:>4} wait {:>3} con", s.cpu_percent, s.queue, s.connections);
    let shown = format!("{figures:<width$}", width = usize::from(SHARD_WIDTH) - GAUGE_WIDTH - 4);
    vec![
        Span::styled(format!("{:>2} ", s.shard), dim()),
        Span::styled(gauge(s.cpu_percent, GAUGE_WIDTH), Style::new().fg(colour_of(s.cpu_percent))),
        Span::raw(shown),
        Span::raw(" "),
    ]
}

/// As many in a row as fit; at most a quarter of the usual screen.
fn shard_rows(state: &State, width: u16) -> Vec<Line<'static>> {
    const ROWS_MAX: usize = 6;
    let Some(sample) = state.last().and_then(|t| t.broker.as_ref()) else { return Vec::new() };
    let across = usize::from((width.saturating_sub(2) / SHARD_WIDTH).max(1));
    let in_a_row = |row: &[ShardSample]| Line::from_iter(row.iter().flat_map(shard_spans));
    let mut rows: Vec<Line<'static>> = sample.shards.chunks(across).map(in_a_row).collect();
    if rows.len() > ROWS_MAX {
        rows.truncate(ROWS_MAX - 1);
        let rest = &sample.shards[(ROWS_MAX - 1) * across..];
        let busiest = rest.iter().map(|s| s.cpu_percent).fold(0.0, f64::max);
        let text = format!("and {} more, the busiest at {busiest:.0} %", rest.len());
        rows.push(Line::styled(text, dim()));
    }
    rows
}

fn broker_line(tick: Option<&Tick>, sample: Option<&BrokerSample>, narrow: bool) -> Line<'static> {
    let mut text = match sample {
        None if tick.is_none() => String::new(),
        None => "broker not looked at (--broker-pid)".to_string(),
        Some(b) => {
            let mut text = format!("broker {:.0} % CPU", b.cpu_percent);
            if let Some(bytes) = b.rss_bytes {
                text = format!("{text}  {:.0} MB", bytes as f64 / 1e6);
            }
            if let Some(n) = b.context_switches_per_s.filter(|_| !narrow) {
                text = format!("{text}  {} switches/s", grouped(n.max(0.0).round() as u64));
            }
            text
        }
    };
    let Some(tick) = tick else { return Line::styled(text, dim()) };
    let (used, unit) = (tick.generator_cpu_percent, if narrow { "" } else { " of a CPU" });
    text = format!("{text}  generator {used:.0} %{unit}");
    let busy = tick.generator_cpu_percent >= 90.0;
    Line::styled(text, if busy { Style::new().fg(Color::Yellow) } else { Style::new() })
}

fn draw_broker(state: &State, shards: Vec<Line<'static>>, frame: &mut Frame<'_>, area: Rect) {
    let block = Block::bordered().border_style(dim()).title("broker");
    let sample = state.last().and_then(|t| t.broker.as_ref());
    let mut lines = vec![broker_line(state.last(), sample, false)];
    lines.extend(shards);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// Oldest first: the log, then what failed.
fn messages(state: &State) -> Vec<Line<'static>> {
    let mut lines: Vec<Line<'static>> =
        state.log.iter().map(|l| Line::styled(l.trim().to_string(), dim())).collect();
    for (kind, count) in &state.errors {
        let text = format!("error: {kind}, {count} times");
        lines.push(Line::styled(text, Style::new().fg(Color::Yellow)));
    }
    for failure in &state.failures {
        lines.push(Line::styled(format!("failed at {failure}"), Style::new().fg(Color::Red)));
    }
    if lines.is_empty() {
        lines.push(Line::styled("no errors", dim()));
    }
    lines
}

fn last_lines(lines: Vec<Line<'static>>, height: u16) -> Vec<Line<'static>> {
    let skipped = lines.len().saturating_sub(usize::from(height));
    lines.into_iter().skip(skipped).collect()
}
