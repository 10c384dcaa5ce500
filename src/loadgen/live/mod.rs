//! The full-screen view of a run (`--tui`). `LiveView` owns the terminal on a thread of its own, which draws a
//! few times a second and reads keys; the run only hands it ticks. What is drawn is `view.rs`'s, a pure
//! function of `State`. Invariants: the terminal is given back however the run ends (end, drop, panic,
//! a second Ctrl-C); while it is taken nothing else writes on it (`log.rs` keeps the log's lines).

pub mod log;
mod state;
#[cfg(test)]
mod tests;
mod view;

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;

use super::control::Control;
use super::report::Tick;
use state::State;

const REDRAW: Duration = Duration::from_millis(250);
/// Counted as the generator's by whoever tells its CPU from the broker's.
const THREAD_NAME: &str = "bench-live";

pub struct LiveView {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    ended: AtomicBool,
    interrupted: Arc<AtomicBool>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl LiveView {
    /// Takes the terminal; `Err` says why it can't be done. `title` is what runs; `interrupted` is set
    /// when the user wants the run to stop.
    pub fn start(title: String, interrupted: Arc<AtomicBool>) -> Result<LiveView, String> {
        if !std::io::stdout().is_terminal() {
            return Err("the output is no terminal".to_string());
        }
        if std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
            return Err("TERM names no terminal that can be drawn on".to_string());
        }
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(title)),
            ended: AtomicBool::new(false),
            interrupted,
        });
        // It also has a panic give the terminal back before it is told.
        let terminal = ratatui::try_init().map_err(|e| {
            let _ = ratatui::try_restore();
            e.to_string()
        })?;
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            show_cursor();
            hook(panic);
        }));
        log::keep();
        let mut view = LiveView { shared: shared.clone(), thread: None };
        let thread = std::thread::Builder::new().name(THREAD_NAME.to_string());
        let spawned = thread.spawn(move || show(&shared, terminal));
        view.thread = Some(spawned.map_err(|e| e.to_string())?);
        Ok(view)
    }

    /// A run (or the next one of a search) is about to begin.
    pub fn ready(&self, control: &Arc<Control>) {
        self.shared.state().begin(control.clone(), Instant::now());
    }

    pub fn tick(&self, tick: &Tick) {
        self.shared.state().tick(tick.clone(), Instant::now());
    }

    /// Gives the terminal back; the log's lines of the time follow on standard error.
    pub fn end(self) {}
}

impl Drop for LiveView {
    fn drop(&mut self) {
        self.shared.ended.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
        give_back();
    }
}

fn show_cursor() {
    let _ = execute!(std::io::stdout(), Show);
}

fn give_back() {
    let _ = ratatui::try_restore();
    show_cursor();
    log::release();
}

fn show(shared: &Shared, mut terminal: ratatui::DefaultTerminal) {
    while !shared.ended.load(Relaxed) {
        let stopping = shared.interrupted.load(Relaxed);
        {
            let mut state = shared.state();
            state.refresh(Instant::now(), stopping, log::last(state::LOG_LINES));
            // A terminal that went away ends no run.
            if terminal.draw(|frame| view::draw(&state, frame)).is_err() {
                return;
            }
        }
        // As many events as there are, then at most one wait.
        let until = Instant::now() + REDRAW;
        while !shared.ended.load(Relaxed) {
            match event::poll(until.saturating_duration_since(Instant::now()).min(REDRAW / 5)) {
                Ok(true) => match event::read() {
                    Ok(Event::Key(key)) if wants_to_stop(&key) => {
                        if shared.interrupted.swap(true, Relaxed) && is_ctrl_c(&key) {
                            // Asked again: at once, as without the view.
                            give_back();
                            std::process::exit(130);
                        }
                        break;
                    }
                    Ok(Event::Resize(..)) => break,
                    _ => {}
                },
                Ok(false) => {}
                Err(_) => std::thread::park_timeout(REDRAW),
            }
            if Instant::now() >= until {
                break;
            }
        }
    }
}

fn is_ctrl_c(key: &KeyEvent) -> bool {
    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL)
}

fn wants_to_stop(key: &KeyEvent) -> bool {
    key.kind == KeyEventKind::Press && (matches!(key.code, KeyCode::Char('q')) || is_ctrl_c(key))
}
