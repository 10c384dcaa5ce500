//! The command line: one file a command, thin. Errors are one sentence on stderr and an exit code
//! that is not 0 (2: the command line or the configuration, 3: the environment, 1: a failed run).

mod bench;
mod bench_broker;
mod cluster;
mod config;
mod group;
mod group_tables;
mod log;
mod remote;
mod serve;
mod time;
mod topic;
mod tune;

use clap::{Parser, Subcommand};

use crate::error::StartError;

#[derive(Parser)]
#[command(
    name = "spindle",
    version,
    about = "A Kafka-protocol broker for Linux, one pinned thread per core"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the broker (port 9092 with nothing configured)
    Serve(serve::ServeArgs),
    /// Drive load at a broker, in this process by default, and report what it did
    Bench(Box<bench::BenchArgs>),
    /// Look into the files of a stopped broker
    Log(log::LogArgs),
    /// Check this host, and write a configuration from a short measurement of it
    Tune(tune::TuneArgs),
    /// Topics of a cluster, any Kafka's: list, describe, create, delete, alter
    Topic(topic::TopicArgs),
    /// Consumer groups: list, describe (lag, rates), explain, reset-offsets, delete
    Group(group::GroupArgs),
    /// Settings of topics, brokers and groups
    Config(config::ConfigArgs),
    /// Brokers, quorum, log directories, API versions
    Cluster(cluster::ClusterArgs),
}

/// The whole program; returns the exit code.
pub fn run() -> i32 {
    let cli = Cli::parse();
    let log_default = match cli.command {
        Command::Serve(_) => "info",
        _ => "warn",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("SPINDLE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(log_default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| crate::loadgen::live::log::Writer)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    match cli.command {
        Command::Serve(args) => exit_code(serve::run(args)),
        Command::Log(args) => log::run(args),
        Command::Topic(args) => topic::run(args),
        Command::Tune(args) => match tune::run(args) {
            Ok(code) => code,
            Err(e) => exit_code(Err(e)),
        },
        Command::Group(args) => group::run(args),
        Command::Config(args) => config::run(args),
        Command::Cluster(args) => cluster::run(args),
        Command::Bench(args) => {
            // What was typed after `spindle bench`: a scenario's words go before it.
            let words: Vec<_> = std::env::args_os().skip(2).collect();
            bench::run_with(*args, &words, bench_broker::start)
        }
    }
}

fn exit_code(result: Result<(), StartError>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(e) => {
            eprintln!("spindle: {e}");
            e.exit_code
        }
    }
}
