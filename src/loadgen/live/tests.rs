//! The screen at fixed states and sizes: what it shows at 80x24 and 40x12, letter by letter, and that no size
//! and no figure makes it panic.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::super::report::{BrokerSample, Percentiles, ShardSample, Tick};
use super::state::State;
use super::view::draw;

fn percentiles(us: f64) -> Option<Percentiles> {
    Some(Percentiles {
        samples: 1000,
        mean_us: us,
        p50_us: us,
        p90_us: us * 1.5,
        p99_us: us * 4.0,
        p999_us: us * 9.0,
        p9999_us: us * 12.0,
        max_us: us * 15.0,
    })
}

fn tick(second: u32) -> Tick {
    let wave = f64::from(second % 10) / 10.0;
    let shard = |shard| ShardSample {
        shard,
        cpu_percent: 37.5 + 20.0 * shard as f64 * wave,
        queue: 12,
        connections: 3,
    };
    Tick {
        at_s: f64::from(second),
        phase: if second <= 2 { "warmup" } else { "load" }.to_string(),
        measured: second > 2,
        intended_records_per_s: Some(200_000.0),
        produced_records_per_s: 150_000.0 + 50_000.0 * wave,
        produced_mb_per_s: 153.6 + 51.2 * wave,
        consumed_records_per_s: 149_000.0,
        consumed_mb_per_s: 152.6,
        replayed_mb_per_s: 0.0,
        ack: percentiles(800.0 + 900.0 * wave),
        end_to_end: percentiles(1_100.0 + 1_000.0 * wave),
        broker: Some(BrokerSample {
            cpu_percent: 98.4,
            rss_bytes: Some(216_000_000),
            threads: Some(18),
            context_switches_per_s: Some(12_345.0),
            shards: vec![shard(0), shard(1)],
        }),
        generator_cpu_percent: 51.0,
        errors: 0,
    }
}

fn running() -> State {
    let mut state = State::new("spindle bench produce-1k".to_string());
    state.facts =
        "bench at 127.0.0.1:9092: 4 partitions on 2 node(s), 200,000 records/s".to_string();
    state.total_s = 62.0;
    state.ticks = (1..=24).map(tick).collect();
    state.elapsed_s = 24.0;
    state
}

fn screen(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(state, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in 0..height {
        let cells: String = (0..width).map(|column| buffer[(column, row)].symbol()).collect();
        text.push_str(cells.trim_end());
        text.push('\n');
    }
    text
}

/// On a difference the screen is printed: look at it, and if it is right, it is the new file.
fn assert_screen(state: &State, width: u16, height: u16, wanted: &str) {
    let shown = screen(state, width, height);
    assert!(shown == wanted, "{width}x{height} is now\n{shown}");
}

#[test]
fn a_usual_terminal() {
    assert_screen(&running(), 80, 24, include_str!("screen_80x24.txt"));
}

#[test]
fn a_small_terminal_has_the_numbers_of_now() {
    assert_screen(&running(), 40, 12, include_str!("screen_40x12.txt"));
}

#[test]
fn what_went_wrong_is_shown_last_line_first_to_stay() {
    let mut state = running();
    state.log = (0..30).map(|i| format!("WARN line {i}")).collect();
    state.errors = vec![("Produce: NOT_LEADER_OR_FOLLOWER".to_string(), 7)];
    state.failures = vec!["21.3 s: broker node 0: the connection ended".to_string()];
    state.stopping = true;
    for (width, height) in [(80, 24), (100, 30), (58, 14)] {
        let shown = screen(&state, width, height);
        assert!(shown.contains("failed at 21.3 s: broker node 0"), "{shown}");
        assert!(shown.contains("stopping"), "{shown}");
    }
    assert!(screen(&state, 120, 50).contains("NOT_LEADER_OR_FOLLOWER, 7 times"));
}

#[test]
fn no_size_and_no_figure_panics() {
    let empty = State::new(String::new());
    let mut odd = running();
    odd.title = "規模の測定 – ×1".to_string();
    odd.facts = "é̂".repeat(200);
    odd.log = vec!["測定 ".repeat(100)];
    odd.elapsed_s = f64::INFINITY;
    for (i, figure) in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300].into_iter().enumerate() {
        let mut t = tick(25 + i as u32);
        t.produced_records_per_s = figure;
        t.generator_cpu_percent = figure;
        t.intended_records_per_s = Some(figure);
        t.ack = percentiles(figure);
        let sample = t.broker.as_mut().unwrap();
        sample.cpu_percent = figure;
        sample.shards[0].cpu_percent = figure;
        sample.shards = vec![sample.shards[0].clone(); 1 + 40 * i];
        odd.ticks.push_back(t);
    }
    for state in [&empty, &running(), &odd] {
        for width in (1..30).chain([39, 59, 60, 61, 80, 133, 400]) {
            for height in (1..26).chain([60, 150]) {
                screen(state, width, height);
            }
        }
    }
}

#[test]
fn time_goes_on_between_two_ticks_and_the_oldest_go() {
    let mut state = State::new("t".to_string());
    assert_eq!(state.phase(), "preparing");
    let now = Instant::now();
    for second in 1..=400 {
        state.tick(tick(second), now);
    }
    assert_eq!(state.ticks.len(), 300);
    state.refresh(now + Duration::from_millis(600), false, Vec::new());
    assert!((state.elapsed_s - 400.6).abs() < 1e-6);
    assert_eq!(state.phase(), "load");
    state.refresh(now, true, Vec::new());
    assert_eq!(state.phase(), "stopping");
}
