//! The life of a broker with many partitions (`spindle bench lifecycle`): start, create, write, stop, start again,
//! kill, start again; how long each takes and how much memory. Any broker that a command starts. At the end
//! every acknowledged message is read back. Runs on the caller's thread; asks over the wire (`traffic.rs`),
//! owns the process (`broker.rs`).

mod broker;
mod traffic;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::machine::{self, Machine};
use crate::runtime::executor::{ExecutorSpec, block_on};
use broker::Broker;
use traffic::{Rounds, Target};

/// Restarts of each kind: a message's round is one bit of 64.
pub const RESTARTS_MAX: u32 = 30;
/// Idle memory has settled when it moved by less than 1 % in a second, or after that time.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);

pub struct Lifecycle {
    /// For a shell's `exec`.
    pub broker_command: String,
    pub host: String,
    pub port: u16,
    pub partitions: u32,
    pub topics: u32,
    /// Of each kind.
    pub restarts: u32,
    /// Of each step.
    pub limit: Duration,
    pub broker_log: PathBuf,
    pub command: String,
    pub interrupted: Arc<AtomicBool>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LifecycleReport {
    pub version: String,
    pub commit: Option<String>,
    pub started_at: String,
    pub command: String,
    pub machine: Machine,
    pub broker_command: String,
    pub partitions: u32,
    pub topics: u32,
    pub figures: Vec<Figure>,
    pub messages_acknowledged: u64,
    /// Acknowledged and not there at the end.
    pub messages_missing: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    pub name: String,
    /// "s" or "MB".
    pub unit: String,
    pub median: f64,
    /// In the order they were measured.
    pub values: Vec<f64>,
}

impl Lifecycle {
    /// `Err`: nothing or not everything could be measured; a sentence.
    pub fn run(self, say: &mut dyn FnMut(&Figure)) -> Result<LifecycleReport, String> {
        if std::net::TcpStream::connect((self.host.as_str(), self.port)).is_ok() {
            return Err(format!(
                "something listens at {}:{} already: end it, or give the broker another port",
                self.host, self.port
            ));
        }
        let started_at = humantime::format_rfc3339_seconds(std::time::SystemTime::now());
        let broker = Broker::new(self.broker_command.clone(), self.broker_log.clone())?;
        let mut life =
            Life { plan: &self, broker, topics: self.topics(), figures: Vec::new(), say };
        let done = life.live();
        let disk = super::disk::log_directory(life.broker.pid());
        let missing = done.map_err(|why| {
            let (why, words) = (why.trim_end_matches('.'), life.broker.last_words());
            format!("{why}; the broker's output is in {}: {words}", self.broker_log.display())
        })?;
        let _ = life.broker.stop();
        Ok(LifecycleReport {
            version: env!("CARGO_PKG_VERSION").to_string(),
            commit: option_env!("SPINDLE_COMMIT").map(str::to_string),
            started_at: started_at.to_string(),
            machine: machine::describe(disk.as_deref()),
            broker_command: self.broker_command.clone(),
            partitions: self.partitions,
            topics: self.topics,
            figures: life.figures,
            messages_acknowledged: u64::from(self.rounds()) * u64::from(self.partitions),
            messages_missing: missing,
            command: self.command,
        })
    }

    fn rounds(&self) -> u32 {
        1 + 2 * self.restarts
    }

    /// Names that no earlier run had; the first topics have the rest of the division.
    fn topics(&self) -> Arc<Vec<(String, i32)>> {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let tag = since.map_or(0, |d| d.as_millis());
        let (each, rest) = (self.partitions / self.topics, self.partitions % self.topics);
        let topic = |i| (format!("lifecycle-{tag}-{i}"), (each + u32::from(i < rest)) as i32);
        Arc::new((0..self.topics).map(topic).collect())
    }
}

struct Life<'a> {
    plan: &'a Lifecycle,
    broker: Broker,
    topics: Arc<Vec<(String, i32)>>,
    figures: Vec<Figure>,
    say: &'a mut dyn FnMut(&Figure),
}

impl Life<'_> {
    /// How many acknowledged messages are missing at the end.
    fn live(&mut self) -> Result<u64, String> {
        self.start("start to first Metadata")?;
        let idle = self.settled()?;
        self.note("memory, idle", "MB", idle);
        let from = Instant::now();
        self.ask("creating the partitions", async |t: &Target| t.create().await)?;
        self.note("create the partitions, all led", "s", from.elapsed().as_secs_f64());
        let mut round = 0;
        let from = Instant::now();
        self.write(round)?;
        self.note("one message to each, acks=all", "s", from.elapsed().as_secs_f64());
        let full = self.settled()?;
        self.note("memory with the partitions", "MB", full);
        for _ in 0..self.plan.restarts {
            let seconds = self.broker.stop()?;
            self.note("SIGTERM to the end", "s", seconds);
            round += 1;
            self.restart(round, "after a clean stop")?;
        }
        for _ in 0..self.plan.restarts {
            self.broker.kill();
            round += 1;
            self.restart(round, "after kill -9")?;
        }
        let found = self.ask("reading back", async |t: &Target| t.read_all().await)?;
        Ok(missing(&found, round + 1))
    }

    fn restart(&mut self, round: u32, how: &str) -> Result<(), String> {
        let from = self.start(&format!("{how}, start to Metadata"))?;
        self.write(round)?;
        let name = format!("{how}, start to all written");
        self.note(&name, "s", from.elapsed().as_secs_f64());
        Ok(())
    }

    fn start(&mut self, figure: &str) -> Result<Instant, String> {
        let from = self.broker.start()?;
        self.ask(figure, async |t: &Target| t.first_metadata().await)?;
        self.note(figure, "s", from.elapsed().as_secs_f64());
        Ok(from)
    }

    fn write(&mut self, round: u32) -> Result<(), String> {
        self.ask("one message to each partition", async move |t: &Target| t.write_all(round).await)
    }

    fn ask<T: 'static>(
        &self,
        what: &str,
        f: impl AsyncFnOnce(&Target) -> Result<T, String> + 'static,
    ) -> Result<T, String> {
        let target = Target {
            host: self.plan.host.clone(),
            port: self.plan.port,
            topics: self.topics.clone(),
            pid: self.broker.pid(),
            limit: self.plan.limit,
            interrupted: self.plan.interrupted.clone(),
        };
        let spec = ExecutorSpec { name: "bench-lifecycle".to_string(), cpu: None, spin_us: 0 };
        let done = block_on(spec, move || async move { f(&target).await });
        done.map_err(|e| e.to_string())?.map_err(|why| format!("{what}: {why}"))
    }

    /// Resident MB once it hardly moves.
    fn settled(&self) -> Result<f64, String> {
        let until = Instant::now() + SETTLE_LIMIT;
        let look = || self.broker.resident_bytes().ok_or("the broker has ended".to_string());
        let mut before = look()?;
        loop {
            std::thread::sleep(Duration::from_secs(1));
            if self.plan.interrupted.load(Relaxed) {
                return Err("interrupted".to_string());
            }
            let bytes = look()?;
            if bytes.abs_diff(before) < bytes / 100 || Instant::now() >= until {
                return Ok(bytes as f64 / 1e6);
            }
            before = bytes;
        }
    }

    fn note(&mut self, name: &str, unit: &str, value: f64) {
        let known = self.figures.iter().position(|f| f.name == name);
        let at = known.unwrap_or_else(|| {
            let (name, unit) = (name.to_string(), unit.to_string());
            self.figures.push(Figure { name, unit, median: value, values: Vec::new() });
            self.figures.len() - 1
        });
        let figure = &mut self.figures[at];
        figure.values.push(value);
        figure.median = median(&figure.values);
        (self.say)(&Figure { median: value, values: vec![value], ..figure.clone() });
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 if middle > 0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
        _ => sorted.get(middle).copied().unwrap_or(0.0),
    }
}

/// Of `rounds` messages in each partition.
fn missing(found: &Rounds, rounds: u32) -> u64 {
    let all = found.iter().flatten();
    all.map(|there| u64::from(rounds.saturating_sub(there.count_ones()))).sum()
}

impl Figure {
    pub fn line(&self) -> String {
        let value = match self.unit.as_str() {
            "MB" => format!("{:>9.0} MB", self.median),
            _ => format!("{:>9.3} s ", self.median),
        };
        let all: Vec<String> = self.values.iter().map(|v| format!("{v:.3}")).collect();
        let of = match self.values.len() {
            1 => String::new(),
            n => format!("   median of {n}: {}", all.join(" ")),
        };
        format!("  {:<41}{value}{of}", self.name)
    }
}

impl LifecycleReport {
    pub fn text(&self) -> String {
        let commit = self.commit.as_ref().map_or(String::new(), |c| format!(" ({c})"));
        let mut lines = vec![
            format!("\nspindle bench lifecycle {}{commit}, {}", self.version, self.started_at),
            format!(
                "  {}, {} cores, Linux {}",
                self.machine.cpu, self.machine.cores, self.machine.kernel
            ),
            format!(
                "  {} partitions in {} topic(s): {}",
                self.partitions, self.topics, self.broker_command
            ),
        ];
        lines.extend(self.machine.disk.iter().map(|disk| format!("  {disk}")));
        lines.extend(self.figures.iter().map(Figure::line));
        lines.push(format!(
            "  {} messages acknowledged, {} missing at the end",
            self.messages_acknowledged, self.messages_missing
        ));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_missing_messages() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(missing(&vec![vec![0b111, 0b101], vec![0]], 3), 1 + 3);
    }
}
