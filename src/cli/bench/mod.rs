//! `spindle bench`: options and scenario files into a workload, a broker in this process unless one is named,
//! the lines of each second, the report, the exit code (0 good, 1 the run failed or lost something, 2 wrong
//! options or scenario, 3 no broker could be started). What is measured and how is `loadgen/`'s.

mod groups;
mod lifecycle;
mod options;
mod report;
mod scenario;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use clap::parser::ValueSource;
use clap::{Args, Command, FromArgMatches, Subcommand};

use crate::error::StartError;
use crate::loadgen::live::LiveView;
use crate::loadgen::report::ScenarioInfo;
use crate::loadgen::{self, LocalBroker, Report, Surroundings, Workload};
use groups::GroupsArgs;
use lifecycle::LifecycleArgs;
use options::Options;
use report::ReportArgs;
use scenario::{Keys, Scenario, Word};

#[derive(Args, Clone, Debug)]
#[command(args_override_self = true, args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    #[command(subcommand)]
    command: Option<BenchCommand>,
    /// A scenario file: its keys are the long options below, which win over it (perf/*.toml are some)
    #[arg(value_name = "SCENARIO")]
    scenario: Option<PathBuf>,
    /// Set one key as a scenario file would, and win over it (may be given again)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Check scenario and options, print what would be run, and end
    #[arg(long)]
    dry_run: bool,
    /// Full screen instead of a line a second; q stops the run and shows the report
    #[arg(long)]
    tui: bool,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand, Clone, Debug)]
enum BenchCommand {
    /// Show the reports of earlier runs side by side, with ratios
    Report(ReportArgs),
    /// Start, stop and kill a broker with many partitions: how long each takes, and what memory
    Lifecycle(LifecycleArgs),
    /// Many groups of one member and one of many: heartbeats, commits, rebalances, memory
    Groups(GroupsArgs),
}

/// What `run` asks of the one who can start a broker.
pub struct BrokerRequest {
    pub shards: usize,
    pub overrides: Vec<String>,
}

/// The whole command; returns the exit code. `words` are what was typed after `spindle bench`.
pub fn run_with(
    args: BenchArgs,
    words: &[OsString],
    start: impl FnOnce(BrokerRequest) -> Result<LocalBroker, StartError>,
) -> i32 {
    let done = match args.command {
        Some(BenchCommand::Report(reports)) => reports.run(),
        Some(BenchCommand::Lifecycle(lifecycle)) => lifecycle.run(command()),
        Some(BenchCommand::Groups(groups)) => groups.run(command()),
        None => Task::resolve(args, words).and_then(|task| task.run(start)),
    };
    match done {
        Ok(code) => code,
        Err(e) => {
            eprintln!("spindle bench: {e}");
            e.exit_code
        }
    }
}

/// What is to be done, with everything checked that can be without a broker.
struct Task {
    options: Options,
    workload: Workload,
    scenario: Option<ScenarioInfo>,
    /// Of scenario file and `--set`, those that count.
    words: Vec<Word>,
    dry_run: bool,
    tui: bool,
}

impl Task {
    /// Scenario file, then `--set`, then the command line: the last one wins.
    fn resolve(args: BenchArgs, typed: &[OsString]) -> Result<Task, StartError> {
        let (mut info, mut from_file, mut sets) = (None, Vec::new(), Vec::new());
        if args.scenario.is_some() || !args.sets.is_empty() {
            let keys = Keys::of_options();
            if let Some(path) = &args.scenario {
                let scenario = Scenario::read(path, &keys)?;
                info = Some(scenario.info);
                from_file = scenario.words;
            }
            let words: Result<Vec<Word>, StartError> =
                args.sets.iter().map(|text| scenario::set(text, &keys)).collect();
            sets = words?;
        }
        let words = scenario::layers(from_file, sets, &typed_keys(typed)?);
        let options = match words.is_empty() {
            true => args.options,
            false => parse(&words, typed)?.options,
        };
        let workload = options
            .workload()
            .map_err(|e| StartError::config(scenario::with_places(e.message, &words)))?;
        let (dry_run, tui) = (args.dry_run, args.tui);
        Ok(Task { options, workload, scenario: info, words, dry_run, tui })
    }

    fn run(
        self,
        start: impl FnOnce(BrokerRequest) -> Result<LocalBroker, StartError>,
    ) -> Result<i32, StartError> {
        if self.dry_run {
            say(&self.describe());
            return Ok(0);
        }
        let options = &self.options;
        let mut workload = self.workload.clone();
        if let Some(pid) = options.broker_pid
            && loadgen::process_cpu_seconds(pid).is_none()
        {
            let message = format!("--broker-pid {pid}: there is no such process on this machine");
            return Err(StartError::config(message));
        }
        let interrupted = Arc::new(AtomicBool::new(false));
        let live = self.live_view(&interrupted);
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // The second one ends us at once, but for the full-screen view, which first gives the
            // terminal back.
            if live.is_none() {
                let shutdown = signal_hook::flag::register_conditional_shutdown;
                let _ = shutdown(signal, 130, interrupted.clone());
            }
            let _ = signal_hook::flag::register(signal, interrupted.clone());
        }
        let broker = match options.bootstrap_server {
            Some(_) => None,
            None => {
                let (shards, _) = options.split_cores();
                Some(start(BrokerRequest { shards, overrides: options.broker_overrides() })?)
            }
        };
        if let Some(broker) = &broker {
            workload.bootstrap = broker.bootstrap.to_string();
        }
        // JSON on standard output has it for itself.
        let to_stdout = options.json.as_deref().is_some_and(is_stdout);
        let say = |line: String| if to_stdout { eprintln!("{line}") } else { say(&line) };
        if let Some(scenario) = &self.scenario
            && live.is_none()
        {
            say(format!("{}: {}", scenario.name, scenario.question));
        }
        let around = Surroundings {
            broker: broker.as_ref(),
            broker_pid: options.broker_pid,
            broker_shard_times: options.broker_shard_times.as_deref(),
            interrupted: interrupted.clone(),
            command: command(),
            on_ready: &mut |ready| match &live {
                Some(live) => live.ready(ready),
                None => {
                    say(ready.describe());
                    say(loadgen::tick_header());
                }
            },
            on_tick: &mut |tick| match &live {
                Some(live) => live.tick(tick),
                None => say(loadgen::tick(tick)),
            },
        };
        let result = loadgen::run(workload, around);
        if let Some(live) = live {
            live.end();
        }
        if let Some(broker) = broker {
            (broker.stop)();
        }
        let mut report = match result {
            Ok(report) => report,
            Err(sentence) => {
                eprintln!("spindle bench: {sentence}");
                return Ok(1);
            }
        };
        report.scenario = self.scenario;
        say(report.text());
        let mut good = report.problems().is_empty() && !interrupted.load(Relaxed);
        // A file that can't be written must not cost the other one.
        for written in [write_json(options, &report), write_html(options, &report)] {
            if let Err(sentence) = written {
                eprintln!("spindle bench: {sentence}");
                good = false;
            }
        }
        Ok(if good { 0 } else { 1 })
    }

    /// With `--tui`, when there is a terminal to draw on.
    fn live_view(&self, interrupted: &Arc<AtomicBool>) -> Option<LiveView> {
        if !self.tui {
            return None;
        }
        let title = match &self.scenario {
            Some(scenario) => format!("spindle bench {}", scenario.name),
            None => "spindle bench".to_string(),
        };
        LiveView::start(title, interrupted.clone())
            .inspect_err(|why| eprintln!("spindle bench: --tui: {why}; a line a second instead"))
            .ok()
    }

    /// What `--dry-run` prints.
    fn describe(&self) -> String {
        let mut lines = Vec::new();
        if let Some(scenario) = &self.scenario {
            lines.push(format!("{}: {}", scenario.name, scenario.question));
        }
        let width = self.words.iter().map(|w| w.option().len()).max().unwrap_or(0);
        lines.extend(self.words.iter().map(|w| format!("  {:width$}  {}", w.option(), w.place)));
        lines.push(format!("good: {}", command()));
        lines.join("\n")
    }
}

/// A reader that went away (`| head`) ends no run.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn write_json(options: &Options, report: &Report) -> Result<(), String> {
    let Some(path) = &options.json else { return Ok(()) };
    let json = serde_json::to_string_pretty(report).map_err(|e| format!("--json: {e}"))?;
    if is_stdout(path) {
        println!("{json}");
        return Ok(());
    }
    std::fs::write(path, json + "\n").map_err(|e| format!("--json {}: {e}", path.display()))
}

fn write_html(options: &Options, report: &Report) -> Result<(), String> {
    let Some(path) = &options.html else { return Ok(()) };
    report::write_page(path, std::slice::from_ref(report))
}

fn clap_command() -> Command {
    BenchArgs::augment_args(Command::new("spindle bench").no_binary_name(true))
}

/// The long options that the command line itself names.
fn typed_keys(typed: &[OsString]) -> Result<BTreeSet<String>, StartError> {
    let mut command = clap_command();
    let matches = command
        .try_get_matches_from_mut(typed)
        .map_err(|e| StartError::config(scenario::sentence(&e)))?;
    let said = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let named = command.get_arguments().filter(|a| said(a.get_id().as_str()));
    Ok(named.filter_map(|a| a.get_long()).map(str::to_string).collect())
}

/// All words together, as if all had been typed.
fn parse(words: &[Word], typed: &[OsString]) -> Result<BenchArgs, StartError> {
    let all = words.iter().map(|w| OsString::from(w.option())).chain(typed.iter().cloned());
    clap_command()
        .try_get_matches_from(all)
        .and_then(|matches| BenchArgs::from_arg_matches(&matches))
        .map_err(|e| StartError::config(scenario::with_places(scenario::sentence(&e), words)))
}

/// As it was typed, quoted where a shell needs it.
fn command() -> String {
    let quote = |word: OsString| {
        let word = word.to_string_lossy().into_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=:.,/+@%".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    let words: Vec<String> = std::env::args_os().map(quote).collect();
    words.join(" ")
}
