//! `spindle group list|describe|explain|reset-offsets|delete|delete-offsets`: kafka-consumer-groups.sh's flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::group_tables as tables;
use super::remote::{Remote, fail, names};
use super::time::{parse_duration, parse_instant};
use crate::admin::groups::reset::{Scope, Target, parse_file};
use crate::admin::{Failure, Result};

#[derive(Args)]
pub struct GroupArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: GroupCommand,
}

#[derive(Subcommand)]
enum GroupCommand {
    /// Groups of the cluster, with state and protocol
    List {
        /// Only in these states: Stable, Empty …
        #[arg(long, value_delimiter = ',')]
        state: Vec<String>,
        /// Only of these types: classic, consumer …
        #[arg(long = "type", value_delimiter = ',')]
        kind: Vec<String>,
    },
    /// Lag per partition, with rates and the time to catch up; or --members, or --state
    Describe {
        #[command(flatten)]
        names: Names,
        #[arg(long)]
        all_groups: bool,
        #[arg(long, conflicts_with = "state")]
        members: bool,
        #[arg(long)]
        state: bool,
        /// Between the two looks that rates are made of; 0 for one look and no rates
        #[arg(long, value_parser = parse_duration, default_value = "1s")]
        interval: Duration,
    },
    /// Why the group rebalanced, who was evicted or fenced, what moved its offsets (Spindle only)
    Explain {
        group: String,
        /// Only what happened within this time
        #[arg(long, value_parser = parse_duration)]
        since: Option<Duration>,
    },
    /// Show where offsets would go; --execute moves them (the group must be empty)
    ResetOffsets(Box<ResetArgs>),
    /// Delete groups that have no members, with their offsets
    Delete {
        #[command(flatten)]
        names: Names,
    },
    /// Forget committed offsets of topics that no member reads
    DeleteOffsets {
        #[command(flatten)]
        names: Names,
        /// TOPIC or TOPIC:0,1,2; again for more
        #[arg(long, required = true)]
        topic: Vec<String>,
    },
}

#[derive(Args)]
struct Names {
    /// Groups
    #[arg(value_name = "GROUP")]
    positional: Vec<String>,
    /// The same, as kafka-consumer-groups.sh wants it
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
}

impl Names {
    fn some(&self) -> Result<Vec<String>> {
        match names(&self.positional, &self.group) {
            all if all.is_empty() => Err(Failure::Input("which group? name one".to_string())),
            all => Ok(all),
        }
    }

    fn one(&self) -> Result<String> {
        let mut all = self.some()?;
        match all.len() {
            1 => Ok(all.remove(0)),
            _ => Err(Failure::Input("one group at a time, please".to_string())),
        }
    }
}

#[derive(Args)]
struct ResetArgs {
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    to: To,
    /// TOPIC or TOPIC:0,1,2; again for more
    #[arg(long, required_unless_present_any = ["all_topics", "from_file"])]
    topic: Vec<String>,
    /// Whatever the group has committed
    #[arg(long, conflicts_with = "topic")]
    all_topics: bool,
    /// Move them; without it the plan is shown only
    #[arg(long, conflicts_with = "dry_run")]
    execute: bool,
    /// What happens without --execute
    #[arg(long)]
    dry_run: bool,
    /// Print the plan as --from-file takes it
    #[arg(long)]
    export: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct To {
    #[arg(long)]
    to_earliest: bool,
    #[arg(long)]
    to_latest: bool,
    #[arg(long)]
    to_current: bool,
    #[arg(long, value_name = "OFFSET")]
    to_offset: Option<i64>,
    /// Forward, or back when negative
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    shift_by: Option<i64>,
    /// First record at or after YYYY-MM-DDTHH:mm:SS.sss (UTC)
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    to_datetime: Option<i64>,
    /// First record of the last PnDTnHnMnS
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    by_duration: Option<Duration>,
    /// Lines of topic,partition,offset
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
}

impl To {
    fn target(&self, now_ms: i64) -> Result<Target> {
        if let Some(path) = &self.from_file {
            let unread = |e| Failure::Input(format!("--from-file {}: {e}", path.display()));
            return Ok(Target::File(parse_file(&std::fs::read_to_string(path).map_err(unread)?)?));
        }
        let ago = self.by_duration.map(|d| Target::Time(now_ms - d.as_millis() as i64));
        let named = [
            self.to_earliest.then_some(Target::Earliest),
            self.to_latest.then_some(Target::Latest),
            self.to_current.then_some(Target::Current),
            self.to_offset.map(Target::Offset),
            self.shift_by.map(Target::ShiftBy),
            self.to_datetime.map(Target::Time),
            ago,
        ];
        let none = || Failure::Input("where to? name one of the --to- flags".to_string());
        named.into_iter().flatten().next().ok_or_else(none)
    }
}

/// The whole command; returns the exit code.
pub fn run(args: GroupArgs) -> i32 {
    let remote = &args.remote;
    match args.command {
        GroupCommand::List { state, kind } => {
            remote.run(async move |s| s.list_groups(&state, &kind).await, |g| tables::list(g))
        }
        GroupCommand::Describe { names, all_groups, members, state, interval } => remote.run(
            async move |s| {
                let which = match all_groups {
                    true => s.list_groups(&[], &[]).await?.into_iter().map(|g| g.group).collect(),
                    false => names.some()?,
                };
                let mut described = Vec::with_capacity(which.len());
                for name in which {
                    let group = s.describe_group(&name).await?;
                    let wanted = !members && !state;
                    let lag = if wanted { Some(s.lag(&group, interval).await?) } else { None };
                    described.push(tables::Described { group, lag });
                }
                Ok(described)
            },
            |groups| tables::describe(groups, members, state),
        ),
        GroupCommand::Explain { group, since } => {
            let since_ms = since.map_or(0, |d| unix_ms() - d.as_millis() as i64);
            remote.run(
                async move |s| s.explain(&group, since_ms).await,
                |events| tables::explain(events),
            )
        }
        GroupCommand::ResetOffsets(args) => reset(remote, *args),
        GroupCommand::Delete { names } => remote.run(
            async move |s| {
                let groups = names.some()?;
                for group in &groups {
                    s.delete_group(group).await?;
                }
                Ok(groups)
            },
            |groups| groups.iter().map(|g| format!("{g}: deleted\n")).collect(),
        ),
        GroupCommand::DeleteOffsets { names, topic } => remote.run(
            async move |s| {
                let group = names.one()?;
                let of = s.scope(&Scope::Topics(topic), &[]).await?;
                s.delete_offsets(&group, &of).await?;
                Ok(of)
            },
            |of| of.iter().map(|(topic, p)| format!("{topic}-{p}: offset deleted\n")).collect(),
        ),
    }
}

fn unix_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as i64)
}

fn reset(remote: &Remote, args: ResetArgs) -> i32 {
    let (group, target) = match args.names.one().and_then(|g| Ok((g, args.to.target(unix_ms())?))) {
        Ok(wanted) => wanted,
        Err(failure) => return fail(&failure),
    };
    let scope = if args.all_topics { Scope::AllTopics } else { Scope::Topics(args.topic) };
    let (execute, export) = (args.execute, args.export);
    remote.run(
        async move |s| {
            let moves = s.plan_reset(&group, &scope, &target).await?;
            if execute {
                s.reset(&group, &moves).await?;
            }
            Ok(moves)
        },
        |moves| tables::moves(moves, execute, export),
    )
}
