//! `spindle cluster describe|quorum|log-dirs|api-versions`.

use clap::{Args, Subcommand};

use super::remote::{Remote, table_or};
use crate::admin::cluster::{ApiVersionRange, Cluster, LogDir, Quorum};
use crate::admin::table::{Table, or_dash};

#[derive(Args)]
pub struct ClusterArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Subcommand)]
enum ClusterCommand {
    /// Cluster id, controller, brokers
    #[command(visible_alias = "info")]
    Describe,
    /// The metadata quorum: leader, voters, who is how far behind
    Quorum,
    /// What lies in the log directories, by topic
    LogDirs,
    /// The APIs of the bootstrap broker, as kafka-broker-api-versions.sh tells them
    ApiVersions,
}

/// The whole command; returns the exit code.
pub fn run(args: ClusterArgs) -> i32 {
    let remote = &args.remote;
    match args.command {
        ClusterCommand::Describe => remote.run(async |s| s.cluster().await, describe),
        ClusterCommand::Quorum => remote.run(async |s| s.quorum().await, quorum),
        ClusterCommand::LogDirs => remote.run(async |s| s.log_dirs().await, |dirs| log_dirs(dirs)),
        ClusterCommand::ApiVersions => {
            remote.run(async |s| Ok(s.api_versions()), |apis| api_versions(apis))
        }
    }
}

fn describe(cluster: &Cluster) -> String {
    let mut table = Table::new(&["BROKER", "HOST", "PORT", "RACK", "CONTROLLER"]);
    for b in &cluster.brokers {
        let controller = if b.id == cluster.controller { "yes" } else { "" };
        table.row(vec![
            b.id.to_string(),
            b.host.clone(),
            b.port.to_string(),
            or_dash(b.rack.as_ref()),
            controller.to_string(),
        ]);
    }
    format!("cluster {}\n{table}", cluster.cluster_id)
}

fn quorum(quorum: &Quorum) -> String {
    let mut table =
        Table::new(&["NODE", "ROLE", "LOG-END-OFFSET", "LAG", "LAST-FETCH", "LAST-CAUGHT-UP"]);
    let time = |ms: i64| match u64::try_from(ms) {
        Ok(ms) => super::time::utc(ms),
        Err(_) => "-".to_string(),
    };
    for r in &quorum.replicas {
        table.row(vec![
            r.id.to_string(),
            r.role.to_string(),
            r.log_end_offset.to_string(),
            r.lag.to_string(),
            time(r.last_fetch_ms),
            time(r.last_caught_up_ms),
        ]);
    }
    format!(
        "leader {} in epoch {}, high watermark {}\n{table}",
        quorum.leader, quorum.leader_epoch, quorum.high_watermark
    )
}

fn mib(bytes: i64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

fn log_dirs(dirs: &[LogDir]) -> String {
    let mut text = String::new();
    for dir in dirs {
        text += &format!(
            "broker {}  {}  {} partitions  {} MiB",
            dir.broker,
            dir.path,
            dir.partitions,
            mib(dir.bytes)
        );
        if let Some((total, usable)) = dir.total_bytes.zip(dir.usable_bytes) {
            text += &format!(" of {} ({} free)", mib(total), mib(usable));
        }
        let mut table = Table::new(&["TOPIC", "PARTITIONS", "MIB"]);
        for t in &dir.topics {
            table.row(vec![t.topic.clone(), t.partitions.to_string(), mib(t.bytes)]);
        }
        text += &format!("\n{}\n", table_or(table, "no topics").trim_end());
    }
    text
}

fn api_versions(apis: &[ApiVersionRange]) -> String {
    let mut table = Table::new(&["KEY", "API", "MIN", "MAX", "KNOWN HERE"]);
    for a in apis {
        table.row(vec![
            a.key.to_string(),
            a.name.clone(),
            a.min.to_string(),
            a.max.to_string(),
            or_dash(a.known),
        ]);
    }
    table.to_string()
}
