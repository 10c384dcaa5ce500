//! `spindle config describe|alter`: kafka-configs.sh's names and flags.

use clap::{Args, Subcommand, ValueEnum};

use super::remote::{Remote, table_or};
use crate::admin::Failure;
use crate::admin::configs::{Entity, EntityType, Setting, parse_added};
use crate::admin::table::Table;

#[derive(Args)]
pub struct ConfigArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Settings of an entity: those that are not the default, or --all
    Describe {
        #[command(flatten)]
        of: Of,
        #[arg(long)]
        all: bool,
    },
    /// Set and unset settings
    Alter {
        #[command(flatten)]
        of: Of,
        /// key=value[,key=[a,b]…]
        #[arg(long)]
        add_config: Vec<String>,
        /// key[,key…]
        #[arg(long, value_delimiter = ',')]
        delete_config: Vec<String>,
        /// Ask whether it could be changed, and leave it
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Args)]
struct Of {
    #[arg(long, value_enum, requires = "entity_name")]
    entity_type: Option<Type>,
    #[arg(long, requires = "entity_type")]
    entity_name: Option<String>,
    /// Short for --entity-type topics --entity-name
    #[arg(long)]
    topic: Option<String>,
    #[arg(long, value_name = "ID")]
    broker: Option<String>,
    /// What holds for every broker that has no setting of its own
    #[arg(long)]
    broker_defaults: bool,
    #[arg(long)]
    group: Option<String>,
    #[arg(long, value_name = "SUBSCRIPTION")]
    client_metrics: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Type {
    Topics,
    Brokers,
    BrokerLoggers,
    ClientMetrics,
    Groups,
}

impl Type {
    fn entity_type(self) -> EntityType {
        match self {
            Type::Topics => EntityType::Topics,
            Type::Brokers => EntityType::Brokers,
            Type::BrokerLoggers => EntityType::BrokerLoggers,
            Type::ClientMetrics => EntityType::ClientMetrics,
            Type::Groups => EntityType::Groups,
        }
    }
}

impl Of {
    fn entity(self) -> crate::admin::Result<Entity> {
        let named = |kind, name: Option<String>| name.map(|name| Entity { kind, name });
        let given = [
            self.entity_type.and_then(|t| named(t.entity_type(), self.entity_name)),
            named(EntityType::Topics, self.topic),
            named(EntityType::Brokers, self.broker),
            named(EntityType::Brokers, self.broker_defaults.then(String::new)),
            named(EntityType::Groups, self.group),
            named(EntityType::ClientMetrics, self.client_metrics),
        ];
        let mut given = given.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(entity), None) => Ok(entity),
            _ => Err(Failure::Input(
                "whose settings? exactly one of --topic, --broker, --broker-defaults, --group, --client-metrics, \
                 or --entity-type with --entity-name"
                    .to_string(),
            )),
        }
    }
}

/// The whole command; returns the exit code.
pub fn run(args: ConfigArgs) -> i32 {
    let remote = &args.remote;
    match args.command {
        ConfigCommand::Describe { of, all } => remote.run(
            async move |s| {
                let mut settings = s.describe_configs(&of.entity()?).await?;
                settings.retain(|c| all || !c.is_default());
                Ok(settings)
            },
            |settings| show(settings),
        ),
        ConfigCommand::Alter { of, add_config, delete_config, dry_run } => remote.run(
            async move |s| {
                let entity = of.entity()?;
                let mut add = Vec::new();
                for list in &add_config {
                    add.extend(parse_added(list)?);
                }
                if add.is_empty() && delete_config.is_empty() {
                    let why = "nothing to change: --add-config or --delete-config";
                    return Err(Failure::Input(why.to_string()));
                }
                s.alter_configs(&entity, &add, &delete_config, dry_run).await?;
                // What a program wants to know is how it is now.
                let mut settings = s.describe_configs(&entity).await?;
                settings.retain(|c| !c.is_default());
                Ok(settings)
            },
            |settings| show(settings),
        ),
    }
}

fn show(settings: &[Setting]) -> String {
    let mut table = Table::new(&["SETTING", "VALUE", "SOURCE"]);
    for s in settings {
        let value = match (&s.value, s.sensitive) {
            (_, true) => "(hidden)".to_string(),
            (None, _) => "-".to_string(),
            (Some(value), _) => value.clone(),
        };
        table.row(vec![s.name.clone(), value, s.source.clone()]);
    }
    table_or(table, "all settings have their default (--all shows them)")
}
