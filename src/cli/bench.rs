//! `spindle bench`: options into a workload, a broker in this process unless one is named, the lines of each
//! second, the report, the exit code (0 good, 1 the run failed or lost something, 2 wrong options, 3
//! no broker could be started). What is measured and how is `loadgen/`'s.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use clap::Args;

use crate::error::StartError;
use crate::loadgen::{
    self, Acks, ArrivalLaw, KeyLaw, LocalBroker, PayloadSource, SizeLaw, Surroundings, Workload,
};
use crate::types::Compression;

#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// A running broker (any Kafka); without it Spindle is started in this process on a temporary directory
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap_server: Option<String>,
    /// Read the CPU time of the broker with this process id (on this machine)
    #[arg(long, value_name = "PID", requires = "bootstrap_server")]
    broker_pid: Option<u32>,
    #[arg(long, default_value = "bench")]
    topic: String,
    /// Partitions of a new topic [default: 2 per shard, at least 4; an existing topic as it is]
    #[arg(long, value_name = "N")]
    partitions: Option<i32>,
    /// Replication factor of a new topic; -1 is the broker's default
    #[arg(long, value_name = "N", default_value_t = -1, allow_hyphen_values = true)]
    replication_factor: i16,
    /// Setting of a new topic (may be given again)
    #[arg(long = "topic-config", value_name = "KEY=VALUE")]
    topic_configs: Vec<String>,
    /// Leave the topic there at the end, if the run made it
    #[arg(long)]
    keep_topic: bool,
    /// [default: one per core, at most 8]
    #[arg(long, value_name = "N")]
    producers: Option<u32>,
    /// 0 reads nothing back and checks nothing [default: one per core, at most 8]
    #[arg(long, value_name = "N")]
    consumers: Option<u32>,
    /// Bytes of each record's value
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    record_size: usize,
    /// Records a second of all producers together; 0 is full speed
    #[arg(long, value_name = "RECORDS/S", default_value_t = 0.0)]
    rate: f64,
    /// Measured seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    duration: f64,
    /// Seconds before them that are not counted
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    warmup: f64,
    /// 0, 1 or all
    #[arg(long, default_value = "all")]
    acks: String,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(long, value_name = "CODEC", default_value = "none")]
    compression: String,
    /// Longest time a record waits for others of its batch
    #[arg(long, value_name = "MS", default_value_t = 5.0)]
    linger_ms: f64,
    /// Largest batch, before compression
    #[arg(long, value_name = "BYTES", default_value_t = 64 * 1024)]
    batch_size: usize,
    /// Produce requests in flight on each connection
    #[arg(long, value_name = "N", default_value_t = 5)]
    max_in_flight: usize,
    /// Idempotent producers (needs --acks all)
    #[arg(long)]
    idempotence: bool,
    /// Threads of the generator
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Fixes the payloads and arrival times
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Longest wait for one answer, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    request_timeout: f64,
    /// Write the report there as JSON as well (- is standard output)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Shards of the broker in this process [default: one per core, or one less to leave the generator its own]
    #[arg(long, value_name = "N", conflicts_with = "bootstrap_server")]
    shards: Option<usize>,
    /// Set one key of the broker in this process (may be given again)
    #[arg(long = "override", value_name = "KEY=VALUE", conflicts_with = "bootstrap_server")]
    overrides: Vec<String>,
}

/// What `run` asks of the one who can start a broker.
pub struct BrokerRequest {
    pub shards: usize,
    pub overrides: Vec<String>,
}

/// The whole command; returns the exit code.
pub fn run_with(
    args: BenchArgs,
    start: impl FnOnce(BrokerRequest) -> Result<LocalBroker, StartError>,
) -> i32 {
    match bench(args, start) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("spindle bench: {e}");
            e.exit_code
        }
    }
}

/// Cores that the in-process broker's shards leave to the generator, when there are enough.
fn split_cores(args: &BenchArgs) -> (usize, Vec<usize>) {
    let cores = loadgen::cores();
    let spare = cores > args.threads + 2;
    let shards = args.shards.unwrap_or(if spare { cores - args.threads } else { cores });
    let pinned = args.bootstrap_server.is_none() && shards + args.threads <= cores;
    (shards, if pinned { (cores - args.threads..cores).collect() } else { Vec::new() })
}

fn seconds(option: &str, value: f64) -> Result<Duration, StartError> {
    if !(0.0..=1e6).contains(&value) {
        return Err(StartError::config(format!("{option} {value} is not in 0 to 1000000")));
    }
    Ok(Duration::from_secs_f64(value))
}

fn workload(args: &BenchArgs) -> Result<(Workload, usize), StartError> {
    let (shards, cpus) = split_cores(args);
    let per_core = loadgen::cores().clamp(1, 8) as u32;
    let acks = match args.acks.as_str() {
        "0" => Acks::None,
        "1" => Acks::Leader,
        "all" | "-1" => Acks::All,
        other => return Err(StartError::config(format!("--acks {other}: 0, 1 or all"))),
    };
    let Some(compression) = Compression::parse(&args.compression) else {
        let codec = &args.compression;
        let known = "none, gzip, snappy, lz4 or zstd";
        return Err(StartError::config(format!("--compression {codec}: {known}")));
    };
    let mut topic_configs = Vec::new();
    for setting in &args.topic_configs {
        let Some((key, value)) = setting.split_once('=') else {
            let message = format!("--topic-config {setting}: KEY=VALUE is wanted");
            return Err(StartError::config(message));
        };
        topic_configs.push((key.to_string(), value.to_string()));
    }
    let workload = Workload {
        bootstrap: args.bootstrap_server.clone().unwrap_or_default(),
        broker_name: match args.bootstrap_server {
            Some(_) => "broker".to_string(),
            None => "Spindle".to_string(),
        },
        topic: args.topic.clone(),
        topics: 1,
        partitions: args.partitions,
        partitions_default: match args.bootstrap_server {
            Some(_) => 4,
            None => (2 * shards).max(4) as i32,
        },
        replication_factor: args.replication_factor,
        topic_configs,
        keep_topic: args.keep_topic,
        producers: args.producers.unwrap_or(per_core),
        consumers: args.consumers.unwrap_or(per_core),
        threads: args.threads,
        cpus,
        sizes: SizeLaw::Fixed(args.record_size),
        keys: KeyLaw::None,
        key_bytes: 16,
        payload: PayloadSource::Entropy(6.0),
        headers: 0,
        header_bytes: 16,
        arrivals: ArrivalLaw::Fixed,
        rate: args.rate,
        duration: seconds("--duration", args.duration)?,
        warmup: seconds("--warmup", args.warmup)?,
        phases: Vec::new(),
        records: None,
        find: None,
        replay_consumers: 0,
        replay_after: Duration::ZERO,
        acks,
        compression,
        linger: seconds("--linger-ms", args.linger_ms)? / 1000,
        batch_bytes: args.batch_size,
        in_flight: args.max_in_flight,
        idempotence: args.idempotence,
        seed: args.seed,
        request_timeout: seconds("--request-timeout", args.request_timeout.max(0.001))?,
        drain_timeout: Duration::from_secs(10),
        fetch_wait: Duration::from_millis(500),
        fetch_min_bytes: 1,
        fetch_partition_bytes: 1 << 20,
        fetch_bytes: 8 << 20,
    };
    workload.validate().map_err(StartError::config)?;
    Ok((workload, shards))
}

fn bench(
    args: BenchArgs,
    start: impl FnOnce(BrokerRequest) -> Result<LocalBroker, StartError>,
) -> Result<i32, StartError> {
    let (mut workload, shards) = workload(&args)?;
    if let Some(pid) = args.broker_pid
        && loadgen::process_cpu_seconds(pid).is_none()
    {
        let message = format!("--broker-pid {pid}: there is no such process on this machine");
        return Err(StartError::config(message));
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The second one ends us at once.
        let shutdown = signal_hook::flag::register_conditional_shutdown;
        let _ = shutdown(signal, 130, interrupted.clone());
        let _ = signal_hook::flag::register(signal, interrupted.clone());
    }
    let broker = match args.bootstrap_server {
        Some(_) => None,
        None => Some(start(BrokerRequest { shards, overrides: args.overrides.clone() })?),
    };
    if let Some(broker) = &broker {
        workload.bootstrap = broker.bootstrap.to_string();
    }
    let to_stdout = args.json.as_ref().is_some_and(|p| p.as_os_str() == "-");
    // JSON on standard output has it for itself.
    let say = |line: String| if to_stdout { eprintln!("{line}") } else { println!("{line}") };
    let around = Surroundings {
        broker: broker.as_ref(),
        broker_pid: args.broker_pid,
        interrupted: interrupted.clone(),
        command: command(),
        on_ready: &mut |ready| {
            say(ready.describe());
            say(loadgen::tick_header());
        },
        on_tick: &mut |tick| say(loadgen::tick(tick)),
    };
    let result = loadgen::run(workload, around);
    if let Some(broker) = broker {
        (broker.stop)();
    }
    let report = match result {
        Ok(report) => report,
        Err(sentence) => {
            eprintln!("spindle bench: {sentence}");
            return Ok(1);
        }
    };
    say(report.text());
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&report)
            .map_err(|e| StartError::environment(format!("--json: {e}")))?;
        if to_stdout {
            println!("{json}");
        } else if let Err(e) = std::fs::write(path, json + "\n") {
            eprintln!("spindle bench: --json {}: {e}", path.display());
            return Ok(1);
        }
    }
    let good = report.problems().is_empty() && !interrupted.load(Relaxed);
    Ok(if good { 0 } else { 1 })
}

/// As it was typed, quoted where a shell needs it.
fn command() -> String {
    let quote = |word: String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=:.,/+@%".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    let words: Vec<String> = std::env::args().map(quote).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn parsed(words: &[&str]) -> Result<(Workload, usize), StartError> {
        let line = Line::try_parse_from(std::iter::once(&"bench").chain(words)).unwrap();
        workload(&line.bench)
    }

    #[test]
    fn the_defaults_are_a_workload() {
        let (w, shards) = parsed(&[]).unwrap();
        assert_eq!(w.acks, Acks::All);
        assert_eq!(w.linger, Duration::from_millis(5));
        assert!(shards >= 1 && w.partitions_default >= 4);
    }

    #[test]
    fn wrong_values_are_a_sentence_and_exit_code_2() {
        for (words, part) in [
            (&["--record-size", "31"][..], "stamp of 32 bytes"),
            (&["--acks", "2"], "--acks 2: 0, 1 or all"),
            (&["--compression", "brotli"], "none, gzip, snappy, lz4 or zstd"),
            (&["--idempotence", "--acks", "1"], "--acks all"),
            (&["--idempotence", "--max-in-flight", "6"], "1 to 5"),
            (&["--topic", "a b"], "topic name"),
            (&["--producers", "0"], "--producers 0"),
            (&["--duration", "0"], "--duration"),
            (&["--rate=-1"], "--rate -1"),
            (&["--rate", "NaN"], "--rate NaN"),
            (&["--topic-config", "x"], "KEY=VALUE"),
        ] {
            let error = parsed(words).unwrap_err();
            assert_eq!(error.exit_code, 2);
            assert!(error.message.contains(part), "{words:?}: {}", error.message);
        }
    }
}
