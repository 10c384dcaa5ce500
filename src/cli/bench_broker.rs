//! The broker that `spindle bench` runs in its own process: a temporary directory, a port range when
//! there is more than one shard, and the figures that the report reads of it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::bench::BrokerRequest;
use crate::config::BrokerConfig;
use crate::error::StartError;
use crate::loadgen::{self, LocalBroker, ShardReading};
use crate::metrics::ShardCounters;
use crate::node::{Node, free_port_range};
use crate::runtime::{self, machine};

pub fn start(request: BrokerRequest) -> Result<LocalBroker, StartError> {
    // Beside the working directory's disk, not /tmp: that is often memory, which has no O_DIRECT.
    let dir = tempfile::Builder::new()
        .prefix("spindle-bench-")
        .tempdir_in(".")
        .map_err(|e| StartError::environment(format!("no temporary directory here: {e}")))?;
    let shards = request.shards.max(1);
    let ports = free_port_range(shards, IpAddr::V4(Ipv4Addr::LOCALHOST))?;
    let (first, last) = (ports[0], ports[shards - 1]);
    let range = if shards > 1 { format!("-{last}") } else { String::new() };
    let mut overrides = vec![
        format!("listeners=PLAINTEXT://127.0.0.1:{first}{range}"),
        format!("log.dirs={}", dir.path().join("data").display()),
        format!("shard.count={shards}"),
    ];
    overrides.extend(request.overrides.iter().cloned());
    let config = BrokerConfig::load(None, &overrides)?;
    // A small limit only shows later, as connections that are refused.
    let _ = machine::raise_open_files_limit();
    let node = Node::start(config)?;
    let counters = node.counters.clone();
    let shards = shard_readings(&node);
    Ok(LocalBroker {
        bootstrap: node.bootstrap()[0],
        cpu_seconds: Box::new(move || {
            // All of the process but the generator and the one who asks, which shows the run: the
            // kernel's io_uring workers (fdatasync, fallocate) and the blocking pool are the broker's.
            let others =
                runtime::cpu_time_of_threads(loadgen::THREADS) + runtime::thread_cpu_time();
            runtime::process_cpu_time().saturating_sub(others).as_secs_f64()
        }),
        shards,
        directory: dir.path().to_path_buf(),
        overrides: request.overrides,
        data_crossings: Box::new(move || counters.iter().map(|c| c.data_crossings.get()).sum()),
        stop: Box::new(move || {
            node.stop();
            drop(dir);
        }),
    })
}

/// Each shard by the thread that it is and the counters that it writes.
pub(super) fn shard_readings(node: &Node) -> Box<dyn Fn() -> Vec<ShardReading> + Send> {
    let threads = runtime::threads_named("shard-");
    let thread_of = |shard: usize| {
        let name = format!("shard-{shard}");
        threads.iter().find(|(found, _)| *found == name).map(|(_, tid)| *tid)
    };
    let shards: Vec<_> =
        node.counters.iter().enumerate().map(|(i, c)| (thread_of(i), c.clone())).collect();
    Box::new(move || {
        let reading = |(thread, counters): &(Option<i32>, Arc<ShardCounters>)| ShardReading {
            at_s: runtime::now().0 as f64 / 1e9,
            ticks: counters.activity.get(),
            cpu_seconds: thread
                .and_then(runtime::cpu_time_of_thread)
                .map_or(0.0, |time| time.as_secs_f64()),
            queue: counters.waiting.get(),
            connections: counters.connections.get(),
        };
        shards.iter().map(reading).collect()
    })
}
