//! `spindle topic list|describe|create|delete|alter`: kafka-topics.sh's names and flags, or rpk's short ones.

use clap::{Args, Subcommand};

use super::remote::{Remote, key_value, names, table_or};
use crate::admin::Failure;
use crate::admin::configs::{Entity, EntityType};
use crate::admin::table::Table;
use crate::admin::topics::{NewTopic, Outcome, Topic};

#[derive(Args)]
pub struct TopicArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Subcommand)]
enum TopicCommand {
    /// Names, partitions and replicas
    List {
        #[arg(long)]
        exclude_internal: bool,
    },
    /// Each partition's leader, replicas and ISR, and the settings that are not the default
    Describe(Names),
    /// Make topics; without -p and -r the broker's defaults hold
    Create {
        #[command(flatten)]
        names: Names,
        #[arg(short, long, default_value_t = -1, value_parser = clap::value_parser!(i32).range(-1..))]
        partitions: i32,
        #[arg(short, long, default_value_t = -1)]
        replication_factor: i16,
        /// A setting, key=value; again for more
        #[arg(short, long, value_parser = key_value)]
        config: Vec<(String, String)>,
        #[arg(long)]
        if_not_exists: bool,
        /// Ask whether it could be created, and leave it
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete topics with all that is in them
    Delete {
        #[command(flatten)]
        names: Names,
        #[arg(long)]
        if_exists: bool,
    },
    /// Give a topic more partitions
    #[command(visible_alias = "add-partitions")]
    Alter {
        #[command(flatten)]
        names: Names,
        /// How many it shall have in all
        #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
        partitions: i32,
    },
}

#[derive(Args, Clone)]
struct Names {
    /// Topics
    #[arg(value_name = "TOPIC")]
    positional: Vec<String>,
    /// The same, as kafka-topics.sh wants it
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
}

impl Names {
    fn all(&self) -> Vec<String> {
        names(&self.positional, &self.topic)
    }

    fn some(&self) -> crate::admin::Result<Vec<String>> {
        match self.all() {
            all if all.is_empty() => Err(Failure::Input("which topic? name one".to_string())),
            all => Ok(all),
        }
    }
}

/// The whole command; returns the exit code.
pub fn run(args: TopicArgs) -> i32 {
    let remote = &args.remote;
    match args.command {
        TopicCommand::List { exclude_internal } => remote.run(
            async move |s| {
                let mut topics = s.topics(&[]).await?;
                topics.retain(|t| !(exclude_internal && t.internal));
                Ok(topics)
            },
            |topics| list(topics),
        ),
        TopicCommand::Describe(which) => remote.run(
            async move |s| {
                let mut described = Vec::new();
                for topic in s.topics(&which.all()).await? {
                    let name = topic.name.clone();
                    let entity = Entity { kind: EntityType::Topics, name };
                    let mut settings = s.describe_configs(&entity).await?;
                    settings.retain(|c| !c.is_default());
                    described.push(Described { topic, settings });
                }
                Ok(described)
            },
            |described| described.iter().map(describe).collect::<Vec<_>>().join("\n"),
        ),
        TopicCommand::Create {
            names,
            partitions,
            replication_factor,
            config,
            if_not_exists,
            dry_run,
        } => remote.run(
            async move |s| {
                let new = |name| NewTopic {
                    name,
                    partitions,
                    replication_factor,
                    configs: config.clone(),
                };
                let topics: Vec<NewTopic> = names.some()?.into_iter().map(new).collect();
                s.create_topics(&topics, if_not_exists, dry_run).await
            },
            |done| outcomes(done),
        ),
        TopicCommand::Delete { names, if_exists } => remote.run(
            async move |s| s.delete_topics(&names.some()?, if_exists).await,
            |done| outcomes(done),
        ),
        TopicCommand::Alter { names, partitions } => remote.run(
            async move |s| {
                let mut done = Vec::new();
                for topic in names.some()? {
                    done.push(s.set_partitions(&topic, partitions).await?);
                }
                Ok(done)
            },
            |done| outcomes(done),
        ),
    }
}

#[derive(serde::Serialize)]
struct Described {
    #[serde(flatten)]
    topic: Topic,
    settings: Vec<crate::admin::configs::Setting>,
}

fn list(topics: &[Topic]) -> String {
    let mut table = Table::new(&["TOPIC", "PARTITIONS", "REPLICAS"]);
    for t in topics {
        let replicas = t.partitions.first().map_or(0, |p| p.replicas.len());
        table.row(vec![t.name.clone(), t.partitions.len().to_string(), replicas.to_string()]);
    }
    table_or(table, "no topics")
}

fn describe(d: &Described) -> String {
    let id = d.topic.topic_id.as_deref().unwrap_or("-");
    let mut text = format!("{}  id {id}", d.topic.name);
    for s in &d.settings {
        text += &format!("  {}={}", s.name, s.value.as_deref().unwrap_or("(hidden)"));
    }
    let mut table = Table::new(&["PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "OFFLINE"]);
    let list = |ids: &[i32]| match ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",") {
        ids if ids.is_empty() => "-".to_string(),
        ids => ids,
    };
    for p in &d.topic.partitions {
        table.row(vec![
            p.partition.to_string(),
            p.leader.to_string(),
            p.leader_epoch.to_string(),
            list(&p.replicas),
            list(&p.isr),
            list(&p.offline_replicas),
        ]);
    }
    format!("{text}\n{table}")
}

fn outcomes(done: &[Outcome]) -> String {
    done.iter().map(|o| format!("{}: {}\n", o.topic, o.outcome)).collect()
}
