//! `spindle serve`: the broker, until SIGTERM or SIGINT. Prints one page of what it is and what it
//! found of the machine.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::bench_broker;
use crate::config::BrokerConfig;
use crate::error::StartError;
use crate::node::Node;
use crate::runtime::disk::DiskProbe;
use crate::runtime::{machine, signal};

#[derive(Args)]
pub struct ServeArgs {
    /// A server.properties file (Kafka's keys, and shard.* of our own)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key; later ones win over earlier ones and over the file
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Tell in this file, ten times a second, where each shard's time goes (spindle bench --broker-shard-times reads it)
    #[arg(long, value_name = "FILE")]
    shard_times: Option<PathBuf>,
}

pub fn run(args: ServeArgs) -> Result<(), StartError> {
    let config = load_config(args.config.as_deref(), &args.overrides)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    // Before any thread starts, so that every thread has them blocked or handled alike.
    let signals = signal::termination().map_err(|e| StartError::environment(e.to_string()))?;
    let files = machine::raise_open_files_limit();
    let node = Node::start(config)?;
    print_page(&node, files);
    if let Some(file) = args.shard_times {
        tell_shard_times(&node, file)?;
    }
    let signal = futures::executor::block_on(signals.recv());
    tracing::info!(signal, "stopping");
    node.stop();
    tracing::info!("stopped");
    Ok(())
}

const SHARD_TIMES_EVERY: Duration = Duration::from_millis(100);

/// From a thread of its own, for as long as the process lives. Written in place and padded, never renamed: a rename
/// over a file makes ext4 write it out at once, and this must cost the disk nothing.
fn tell_shard_times(node: &Node, file: PathBuf) -> Result<(), StartError> {
    let failed = |e: std::io::Error| StartError::config(format!("--shard-times: {e}"));
    let out = std::fs::File::create(file).map_err(failed)?;
    let read = bench_broker::shard_readings(node);
    let mut longest = 0;
    let mut write = move || {
        let mut json = serde_json::to_vec(&read()).map_err(std::io::Error::other)?;
        longest = json.len().max(longest);
        json.resize(longest, b' ');
        out.write_all_at(&json, 0)
    };
    write().map_err(failed)?;
    let tell = move || {
        while write().is_ok() {
            std::thread::sleep(SHARD_TIMES_EVERY);
        }
        tracing::warn!("--shard-times: the file can't be written any more");
    };
    let thread = std::thread::Builder::new().name("tell-times".into());
    thread.spawn(tell).map_err(|e| StartError::environment(e.to_string()))?;
    Ok(())
}

/// The file, then the overrides.
pub(super) fn load_config(
    path: Option<&Path>,
    overrides: &[String],
) -> Result<BrokerConfig, StartError> {
    let text = match path {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .map_err(|e| StartError::config(format!("--config {}: {e}", path.display())))?,
        ),
        None => None,
    };
    let name = path.map(|p| p.display().to_string());
    BrokerConfig::load(name.as_deref().zip(text.as_deref()), overrides)
}

fn print_page(node: &Node, files: std::io::Result<u64>) {
    let plan = &node.plan;
    let config = &plan.config;
    println!("spindle {} (Kafka protocol, no ZooKeeper, no JVM)", env!("CARGO_PKG_VERSION"));
    println!("data       {}", absolute(&config.log_dir).display());
    for listener in &plan.listeners {
        let mode = match listener.ports.len() {
            1 => "one port shared by all shards",
            _ => "one port a shard",
        };
        println!(
            "listener   {} on {}, clients are told {} ({mode})",
            listener.name,
            listener.address(0),
            listener.advertised()
        );
    }
    let cpus = match plan.cpus.is_empty() {
        true => "not pinned: more shards than CPUs".to_string(),
        false => format!("pinned to CPU {:?}", plan.cpus),
    };
    println!("shards     {}, {cpus}", plan.shard_count);
    println!("kernel     {}, io_uring works", machine::kernel_version());
    println!("memlock    {}", memlock_line(plan.shard_count));
    println!("files      {}", files_line(files));
    println!("disk       {}", disk_line(node.disk.as_ref()));
    let first = plan.listeners.first().map(|l| l.address(0));
    if let Some(address) = first {
        let port = address.port();
        println!("try        kcat -b localhost:{port} -L");
        println!("           spindle bench --bootstrap-server localhost:{port}");
    }
}

fn memlock_line(shards: usize) -> String {
    let found = machine::Machine::look();
    let kib = 3 * found.io_memory_bytes * shards / 1024;
    match (found.memlock_limit_bytes, found.memlock_fits_shards(shards)) {
        (None, _) => format!("{kib} KiB pinned for io_uring buffers, no limit"),
        (Some(limit), true) => {
            format!("{kib} KiB pinned for io_uring buffers, limit {} KiB", limit / 1024)
        }
        (Some(limit), false) => format!(
            "{kib} KiB wanted for io_uring buffers, limit {} KiB: slower plain buffers are used \
             (ulimit -l unlimited, LimitMEMLOCK=infinity)",
            limit / 1024
        ),
    }
}

fn files_line(limit: std::io::Result<u64>) -> String {
    match limit {
        Ok(n) if n < 10_000 => {
            format!("{n} may be open: few for many clients (ulimit -n, LimitNOFILE=)")
        }
        Ok(n) => format!("{n} may be open"),
        Err(e) => format!("the limit of open files can't be raised: {e}"),
    }
}

fn absolute(path: &std::path::Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn disk_line(probe: Option<&DiskProbe>) -> String {
    let Some(p) = probe else { return "not measured: the probe file could not be written".into() };
    let direct = match p.o_direct {
        true => "O_DIRECT works",
        false => "no O_DIRECT here: writes go through the page cache (use ext4 or xfs)",
    };
    format!(
        "{}, {direct}, 4 KiB write {:.0} µs, write + fdatasync {:.0} µs",
        p.file_system, p.write_4k_us, p.fdatasync_us
    )
}
