//! What `spindle bench groups` found: the JSON, and its lines.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::loadgen::machine::Machine;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GroupsReport {
    pub version: String,
    pub commit: Option<String>,
    pub started_at: String,
    pub command: String,
    pub machine: Machine,
    pub protocol: String,
    /// Of one member each.
    pub groups: usize,
    /// Of the one large group, and the partitions that they share.
    pub members: usize,
    pub partitions: i32,
    /// Nodes that coordinate the groups.
    pub nodes: usize,
    pub creating_s: f64,
    pub creating_broker_cpu_us: Option<f64>,
    pub memory: Option<Memory>,
    pub loads: Vec<Load>,
    pub rebalances: Vec<Rebalance>,
}

/// Bytes, resident or as --memory-command says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    pub what: String,
    pub before: Option<u64>,
    pub with_groups: Option<u64>,
    pub per_group: Option<f64>,
    pub before_large: Option<u64>,
    pub with_large: Option<u64>,
    pub per_member: Option<f64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    pub name: String,
    pub connections: usize,
    /// `None`: at a rate.
    pub in_flight: Option<usize>,
    pub seconds: f64,
    pub requests: u64,
    pub per_second: f64,
    pub broker_cpu_us: Option<f64>,
    /// How many CPUs the broker had in use.
    pub broker_cpus: Option<f64>,
    pub driver_cpu_us: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    pub errors: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rebalance {
    pub name: String,
    /// Of the group when it was over.
    pub members: usize,
    pub took_ms: f64,
    pub broker_cpu_ms: Option<f64>,
    /// Classic: the longest that a member had nothing to consume.
    pub longest_stop_ms: Option<f64>,
    /// Consumer protocol: partitions that changed hands, and the longest that one had no owner.
    pub moved: Option<usize>,
    pub longest_gap_ms: Option<f64>,
    /// Consumer protocol: partitions that a member lost and got again.
    pub interrupted: Option<usize>,
    pub longest_interruption_ms: Option<f64>,
    pub heartbeats: Option<u64>,
    pub slowest_heartbeat_ms: Option<f64>,
}

impl Load {
    pub fn line(&self) -> String {
        let cpu = self.broker_cpu_us.map_or("-".to_string(), |us| format!("{us:.1}"));
        let busy = self.broker_cpus.map_or("-".to_string(), |n| format!("{n:.2}"));
        let errors: Vec<String> =
            self.errors.iter().map(|(name, count)| format!(" {name} {count}")).collect();
        format!(
            "  {:<44}{:>9.0}/s{:>8} µs{:>7} CPUs   p50 {:.3} p99 {:.3} max {:.1} ms{}",
            self.name,
            self.per_second,
            cpu,
            busy,
            self.p50_ms,
            self.p99_ms,
            self.max_ms,
            errors.concat()
        )
    }
}

impl Rebalance {
    pub fn line(&self) -> String {
        let mut line = format!("  {:<44}{:>9.0} ms", self.name, self.took_ms);
        let mut add = |what: &str, value: Option<f64>, unit: &str| {
            if let Some(value) = value {
                line.push_str(&format!("   {what} {value:.0}{unit}"));
            }
        };
        add("broker CPU", self.broker_cpu_ms, " ms");
        add("longest stop of a member", self.longest_stop_ms, " ms");
        add("moved", self.moved.map(|n| n as f64), "");
        add("longest without an owner", self.longest_gap_ms, " ms");
        add("interrupted", self.interrupted.map(|n| n as f64), "");
        add("heartbeats", self.heartbeats.map(|n| n as f64), "");
        add("slowest", self.slowest_heartbeat_ms, " ms");
        line
    }
}

impl GroupsReport {
    pub fn text(&self) -> String {
        let mut lines = vec![format!(
            "  {} groups of the {} protocol on {} node(s), made in {:.1} s{}",
            self.groups,
            self.protocol,
            self.nodes,
            self.creating_s,
            self.creating_broker_cpu_us
                .map_or(String::new(), |us| format!(", {us:.0} µs of the broker's CPU each")),
        )];
        if let Some(memory) = &self.memory {
            let bytes = |n: Option<f64>| n.map_or("-".to_string(), |n| format!("{n:.0} bytes"));
            lines.push(format!(
                "  {}: {:.1} MB before; a group {}, a member of a large one {}",
                memory.what,
                memory.before.or(memory.before_large).unwrap_or(0) as f64 / 1e6,
                bytes(memory.per_group),
                bytes(memory.per_member)
            ));
        }
        lines.extend(self.loads.iter().map(Load::line));
        lines.extend(self.rebalances.iter().map(Rebalance::line));
        lines.join("\n")
    }

    /// Answers that were errors.
    pub fn errors(&self) -> u64 {
        self.loads.iter().flat_map(|load| load.errors.values()).sum()
    }
}
