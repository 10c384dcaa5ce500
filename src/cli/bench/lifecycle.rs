//! `spindle bench lifecycle`: options, the lines of each step, the table, the exit code (1: a step failed or an
//! acknowledged message is missing). What is measured and how is `loadgen/lifecycle`'s.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;

use crate::error::StartError;
use crate::loadgen::lifecycle::{Lifecycle, RESTARTS_MAX};

/// No topic has more, unless --topics says so.
const TOPIC_PARTITIONS: u32 = 10_000;

#[derive(Args, Clone, Debug)]
pub struct LifecycleArgs {
    /// Starts the broker; run by a shell's exec, its data directory empty (of Kafka: formatted)
    #[arg(long, value_name = "COMMAND")]
    broker_command: String,
    /// Where it will listen
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap_server: String,
    /// Of all topics together
    #[arg(long, value_name = "N", default_value_t = 2000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    partitions: u32,
    /// [default: as many as it takes for 10000 partitions each]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    topics: Option<u32>,
    /// Clean ones, and as many after kill -9; the table has the medians
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(RESTARTS_MAX)))]
    restarts: u32,
    /// Longest time for one step
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// What the broker prints goes there
    #[arg(long, value_name = "FILE", default_value = "lifecycle-broker.log")]
    broker_log: PathBuf,
    /// Write the figures there as JSON as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl LifecycleArgs {
    pub fn run(self, command: String) -> Result<i32, StartError> {
        let server = &self.bootstrap_server;
        let wanted =
            || StartError::config(format!("--bootstrap-server {server}: HOST:PORT is wanted"));
        let (host, port) = server.rsplit_once(':').ok_or_else(wanted)?;
        let topics = self.topics.unwrap_or(self.partitions.div_ceil(TOPIC_PARTITIONS));
        if topics > self.partitions {
            let message = format!("--topics {topics}: more than --partitions {}", self.partitions);
            return Err(StartError::config(message));
        }
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            let _ = signal_hook::flag::register(signal, interrupted.clone());
        }
        let lifecycle = Lifecycle {
            broker_command: self.broker_command,
            host: host.trim_start_matches('[').trim_end_matches(']').to_string(),
            port: port.parse().map_err(|_| wanted())?,
            partitions: self.partitions,
            topics,
            restarts: self.restarts,
            limit: Duration::from_secs(self.timeout),
            broker_log: self.broker_log,
            command,
            interrupted,
        };
        let report = match lifecycle.run(&mut |figure| println!("{}", figure.line())) {
            Ok(report) => report,
            Err(sentence) => {
                eprintln!("spindle bench lifecycle: {sentence}");
                return Ok(1);
            }
        };
        println!("{}", report.text());
        if let Some(path) = &self.json {
            let failed =
                |e: String| StartError::environment(format!("--json {}: {e}", path.display()));
            let json = serde_json::to_string_pretty(&report).map_err(|e| failed(e.to_string()))?;
            std::fs::write(path, json + "\n").map_err(|e| failed(e.to_string()))?;
        }
        Ok(i32::from(report.messages_missing > 0))
    }
}
