//! A server.properties from what was measured: each line with its reason. Pure.

use std::fmt::Write;
use std::path::Path;

use super::measure::Measured;

/// Of the machine, beside the measurement.
pub struct Facts<'a> {
    pub cpus: &'a [usize],
    pub memory_bytes: u64,
    pub log_dir: &'a Path,
}

const MIB: u64 = 1024 * 1024;

pub fn config(facts: &Facts<'_>, measured: &Measured) -> String {
    let mut out = String::from(
        "# Written by `spindle tune --write` from a short measurement of this machine.\n\
         # Start with: spindle serve --config THIS-FILE\n",
    );
    let mut line = |why: &str, key: &str, value: &str| {
        for part in why.split('\n') {
            let _ = writeln!(out, "# {part}");
        }
        let _ = writeln!(out, "{key}={value}\n");
    };
    let disk = if measured.o_direct { "" } else { "\nNo O_DIRECT here: use ext4 or xfs." };
    line(
        &format!(
            "Measured: 1 MiB writes {:.0} MB/s; a 4 KiB write and its fdatasync {:.0} µs (p99 {:.0}):\n\
             no acks=all produce is answered sooner than that.{disk}",
            measured.large_bytes_per_s / 1e6,
            measured.durable_p50_us,
            measured.durable_p99_us
        ),
        "log.dirs",
        &facts.log_dir.display().to_string(),
    );
    let cpus: Vec<String> = facts.cpus.iter().map(usize::to_string).collect();
    line(
        &format!("One shard on each of the {} CPUs that this process may use.", cpus.len()),
        "shard.cpus",
        &cpus.join(","),
    );
    let memory = shard_memory(facts.memory_bytes, facts.cpus.len());
    line(
        &format!(
            "An eighth of the memory ({} MiB) for log tails and requests; the page cache has the rest.",
            facts.memory_bytes / MIB
        ),
        "shard.memory.bytes",
        &memory.to_string(),
    );
    let (depth, table) = depth(measured);
    line(
        &format!(
            "4 KiB writes, threads: writes/s (p99 µs): {table}.\nMore at a time only wait longer."
        ),
        "shard.io.depth",
        &depth.to_string(),
    );
    let (spin, why) = spin(facts.cpus.len(), measured.echo_p50_us);
    line(
        &format!("100 bytes over loopback and back: {:.0} µs. {why}", measured.echo_p50_us),
        "shard.spin.us",
        &spin.to_string(),
    );
    out
}

fn shard_memory(machine_bytes: u64, shards: usize) -> u64 {
    let share = machine_bytes / 8 / shards.max(1) as u64;
    (share / MIB * MIB).clamp(16 * MIB, 4096 * MIB)
}

/// The smallest depth that gives nine tenths of the best rate, doubled: half of what is under way
/// waits for its fdatasync.
fn depth(measured: &Measured) -> (usize, String) {
    let best = measured.small.iter().map(|d| d.writes_per_s).fold(0.0, f64::max);
    let enough = measured.small.iter().find(|d| d.writes_per_s >= best * 0.9);
    let table: Vec<String> = measured
        .small
        .iter()
        .map(|d| format!("{}: {:.0} ({:.0})", d.depth, d.writes_per_s, d.p99_us))
        .collect();
    (enough.map_or(32, |d| d.depth * 2).max(8), table.join(", "))
}

/// To spin is to keep a core at 100 %: worth it only where there are cores to spare.
fn spin(cpus: usize, echo_us: f64) -> (u64, &'static str) {
    match cpus {
        0..4 => (0, "With so few CPUs a shard that spins takes time from the others' clients."),
        _ => {
            let us = (echo_us.clamp(10.0, 100.0) / 10.0).ceil() as u64 * 10;
            (us, "An idle shard looks so long for the next request before it sleeps.")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::measure::AtDepth;
    use super::*;
    use crate::config::BrokerConfig;

    fn measured(echo_p50_us: f64) -> Measured {
        let at = |depth, writes_per_s| AtDepth { depth, writes_per_s, p50_us: 50.0, p99_us: 90.0 };
        Measured {
            o_direct: true,
            small: vec![at(1, 20e3), at(4, 70e3), at(16, 98e3), at(32, 100e3), at(64, 99e3)],
            durable_p50_us: 90.0,
            durable_p99_us: 400.0,
            large_bytes_per_s: 1.8e9,
            echo_p50_us,
            echo_p99_us: 60.0,
        }
    }

    #[test]
    fn what_is_written_is_a_configuration_with_a_reason_for_each_line() {
        for (cpus, memory_bytes, wanted) in [
            (vec![0, 1], 24 << 30, (2, 1536 * MIB, 32, 0)),
            (vec![0, 2, 4, 6], 64 << 30, (4, 2048 * MIB, 32, 40)),
            (vec![3], 1 << 28, (1, 32 * MIB, 32, 0)),
            ((0..64).collect(), 1 << 30, (64, 16 * MIB, 32, 40)),
        ] {
            let log_dir = PathBuf::from("/srv/log");
            let facts = Facts { cpus: &cpus, memory_bytes, log_dir: &log_dir };
            let text = config(&facts, &measured(31.0));
            let config = BrokerConfig::load(Some(("tuned", &text)), &[]).unwrap();
            assert_eq!(config.log_dir, log_dir);
            assert_eq!(config.shard_cpus, cpus);
            let first = config.shards.of(0);
            let found =
                (config.shard_count, first.memory_bytes as u64, first.io_depth, first.spin_us);
            assert_eq!(found, wanted);
            let lines: Vec<&str> = text.lines().collect();
            for (n, _) in
                lines.iter().enumerate().filter(|(_, l)| l.contains('=') && !l.starts_with('#'))
            {
                assert!(lines[n - 1].starts_with("# "), "{}", lines[n]);
            }
        }
    }
}
