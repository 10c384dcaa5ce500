//! `spindle bench groups`: options, a line for each figure, the exit code (1: something could not be measured or answers
//! were errors, 2: wrong options). What is measured and how is `loadgen/groups`'.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::error::StartError;
use crate::loadgen;
use crate::loadgen::groups::{GroupsBench, Protocol};
use crate::runtime::machine::raise_open_files_limit;

/// Files that are open beside the connections.
const FILES_BESIDE: u64 = 64;

#[derive(Args, Clone, Debug)]
pub struct GroupsArgs {
    /// A broker that runs
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap_server: String,
    /// Of that broker, on this machine: gives its CPU and memory
    #[arg(long, value_name = "PID")]
    broker_pid: Option<u32>,
    /// Which protocol the members speak
    #[arg(long, value_enum, default_value_t = Spoken::Classic)]
    protocol: Spoken,
    /// Groups of one member; 0: none
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    groups: u32,
    /// Of one large group; 0: none
    #[arg(long, value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100_000))]
    members: u32,
    /// Of the large group's topic [default: twice as many as members]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    partitions: Option<u32>,
    /// Of the small groups' members together; the large group's have one each
    #[arg(long, value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,
    /// A load at this rate as well; 0: none [default: what clients send by themselves, one in 3 s each, in 5 s of the
    /// consumer protocol]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    heartbeats_per_second: Option<f64>,
    /// Of each load
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    duration: f64,
    /// Between two heartbeats of a member of the large group (consumer protocol)
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=60_000))]
    heartbeat_interval_ms: u64,
    /// Prints the bytes that the broker uses, in place of its resident memory; run by a shell
    #[arg(long, value_name = "COMMAND")]
    memory_command: Option<String>,
    /// Longest time for one answer or step
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Write the report there as JSON as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Spoken {
    Classic,
    Consumer,
}

impl GroupsArgs {
    pub fn run(self, command: String) -> Result<i32, StartError> {
        let json = self.json.clone();
        let bench = self.bench(command)?;
        let report = match bench.run(super::say) {
            Ok(report) => report,
            Err(sentence) => {
                eprintln!("spindle bench groups: {sentence}");
                return Ok(1);
            }
        };
        super::say(&format!("\n{}", report.text()));
        if let Some(path) = json {
            let failed =
                |e: String| StartError::environment(format!("--json {}: {e}", path.display()));
            let json = serde_json::to_string_pretty(&report).map_err(|e| failed(e.to_string()))?;
            std::fs::write(&path, json + "\n").map_err(|e| failed(e.to_string()))?;
        }
        Ok(i32::from(report.errors() > 0))
    }

    fn bench(self, command: String) -> Result<GroupsBench, StartError> {
        let server = &self.bootstrap_server;
        let wanted =
            || StartError::config(format!("--bootstrap-server {server}: HOST:PORT is wanted"));
        let (host, port) = server.rsplit_once(':').ok_or_else(wanted)?;
        let protocol = match self.protocol {
            Spoken::Classic => Protocol::Classic,
            Spoken::Consumer => Protocol::Consumer,
        };
        if let Some(pid) = self.broker_pid
            && loadgen::process_cpu_seconds(pid).is_none()
        {
            let message = format!("--broker-pid {pid}: there is no such process on this machine");
            return Err(StartError::config(message));
        }
        if self.groups == 0 && self.members == 0 {
            let message = "--groups 0 --members 0: there is nothing to measure";
            return Err(StartError::config(message.to_string()));
        }
        if !(self.duration > 0.0 && self.duration <= 86_400.0) {
            let message = format!("--duration {}: seconds up to a day", self.duration);
            return Err(StartError::config(message));
        }
        let natural =
            f64::from(self.groups) / if protocol == Protocol::Classic { 3.0 } else { 5.0 };
        let rate = self.heartbeats_per_second.unwrap_or(natural);
        if !(0.0..=1e7).contains(&rate) {
            let message = format!("--heartbeats-per-second {rate}: 0 to 10000000");
            return Err(StartError::config(message));
        }
        let partitions = self.partitions.unwrap_or((2 * self.members).max(1));
        let wanted_files = u64::from(self.connections + self.members + 1) + FILES_BESIDE;
        let limit = raise_open_files_limit()
            .map_err(|e| StartError::environment(format!("the limit of open files: {e}")))?;
        if limit < wanted_files {
            return Err(StartError::environment(format!(
                "{wanted_files} connections and files are needed, this process may open {limit}: raise `ulimit -n`, \
                 or give fewer --members or --connections"
            )));
        }
        Ok(GroupsBench {
            host: host.trim_start_matches('[').trim_end_matches(']').to_string(),
            port: port.parse().map_err(|_| wanted())?,
            protocol,
            groups: self.groups as usize,
            members: self.members as usize,
            partitions: partitions as i32,
            connections: self.connections as usize,
            heartbeats_per_second: if self.groups == 0 { 0.0 } else { rate },
            duration: Duration::from_secs_f64(self.duration),
            interval: Duration::from_millis(self.heartbeat_interval_ms),
            broker_pid: self.broker_pid,
            memory_command: self.memory_command,
            limit: Duration::from_secs(self.timeout),
            command,
        })
    }
}
