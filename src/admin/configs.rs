//! Settings of topics, brokers, groups and client metrics subscriptions: describe and change (KIP-226, KIP-339).

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use serde::Serialize;

use super::{Failure, Result, Session, check, text};
use crate::client::Connection;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntityType {
    Topics,
    Brokers,
    BrokerLoggers,
    ClientMetrics,
    Groups,
}

impl EntityType {
    /// As the protocol numbers resources.
    fn resource_type(self) -> i8 {
        match self {
            EntityType::Topics => 2,
            EntityType::Brokers => 4,
            EntityType::BrokerLoggers => 8,
            EntityType::ClientMetrics => 16,
            EntityType::Groups => 32,
        }
    }
}

/// Whose settings.
#[derive(Clone, Debug, Serialize)]
pub struct Entity {
    #[serde(rename = "type")]
    pub kind: EntityType,
    /// Empty for the default of all brokers.
    pub name: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    pub name: String,
    /// `null` when it is sensitive.
    pub value: Option<String>,
    /// Where the value comes from, in Kafka's words: `DYNAMIC_TOPIC_CONFIG`, `DEFAULT_CONFIG` …
    pub source: String,
    pub read_only: bool,
    pub sensitive: bool,
}

impl Setting {
    pub fn is_default(&self) -> bool {
        self.source == "DEFAULT_CONFIG"
    }
}

fn source_name(code: i8) -> String {
    match code {
        1 => "DYNAMIC_TOPIC_CONFIG".to_string(),
        2 => "DYNAMIC_BROKER_CONFIG".to_string(),
        3 => "DYNAMIC_DEFAULT_BROKER_CONFIG".to_string(),
        4 => "STATIC_BROKER_CONFIG".to_string(),
        5 => "DEFAULT_CONFIG".to_string(),
        6 => "DYNAMIC_BROKER_LOGGER_CONFIG".to_string(),
        7 => "DYNAMIC_CLIENT_METRICS_CONFIG".to_string(),
        8 => "DYNAMIC_GROUP_CONFIG".to_string(),
        other => format!("source {other}"),
    }
}

/// `key=value,key=[a,b]`: commas part the pairs, but not inside brackets, as in kafka-configs.sh.
pub fn parse_added(list: &str) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for pair in split_outside_brackets(list) {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(Failure::Input(format!("--add-config {pair}: key=value is wanted")));
        };
        let value = value.trim();
        let bare = value.strip_prefix('[').and_then(|v| v.strip_suffix(']')).unwrap_or(value);
        pairs.push((key.trim().to_string(), bare.to_string()));
    }
    Ok(pairs)
}

fn split_outside_brackets(list: &str) -> Vec<&str> {
    let (mut parts, mut from, mut depth) = (Vec::new(), 0, 0i32);
    for (at, c) in list.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' if depth <= 0 => {
                parts.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[from..]);
    parts.into_iter().map(str::trim).filter(|p| !p.is_empty()).collect()
}

impl Session {
    /// A broker's settings are told by that broker alone; what concerns all, by any.
    async fn who_knows(&self, entity: &Entity) -> Result<Connection> {
        let one_broker = [EntityType::Brokers, EntityType::BrokerLoggers].contains(&entity.kind);
        if !one_broker || entity.name.is_empty() {
            return Ok(self.any().clone());
        }
        let cluster = self.metadata(Some(&[])).await?;
        match cluster.brokers.iter().find(|b| b.id.to_string() == entity.name) {
            Some(node) => self.node(node).await,
            // A node of another listener's naming: the broker that is asked decides.
            None => Ok(self.any().clone()),
        }
    }

    pub async fn describe_configs(&self, entity: &Entity) -> Result<Vec<Setting>> {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(entity.kind.resource_type())
            .with_resource_name(text(&entity.name))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let connection = self.who_knows(entity).await?;
        let (answer, _) = connection.call_latest(&request, self.limit).await?;
        let mut settings = Vec::new();
        for result in answer.results {
            let what = || format!("reading the settings of {:?} {}", entity.kind, entity.name);
            check(what, result.error_code, result.error_message.as_ref())?;
            settings.extend(result.configs.into_iter().map(|c| Setting {
                name: c.name.to_string(),
                value: c.value.map(|v| v.to_string()),
                source: source_name(c.config_source),
                read_only: c.read_only,
                sensitive: c.is_sensitive,
            }));
        }
        settings.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(settings)
    }

    pub async fn alter_configs(
        &self,
        entity: &Entity,
        add: &[(String, String)],
        delete: &[String],
        validate_only: bool,
    ) -> Result<()> {
        const SET: i8 = 0;
        const DELETE: i8 = 1;
        let set = add.iter().map(|(name, value)| {
            AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(SET)
                .with_value(Some(text(value)))
        });
        let unset = delete.iter().map(|name| {
            AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(DELETE)
                .with_value(None)
        });
        let resource = AlterConfigsResource::default()
            .with_resource_type(entity.kind.resource_type())
            .with_resource_name(text(&entity.name))
            .with_configs(set.chain(unset).collect());
        let request = IncrementalAlterConfigsRequest::default()
            .with_resources(vec![resource])
            .with_validate_only(validate_only);
        let connection = self.who_knows(entity).await?;
        let (answer, _) = connection.call_latest(&request, self.limit).await?;
        for r in &answer.responses {
            let what = || format!("changing the settings of {:?} {}", entity.kind, entity.name);
            check(what, r.error_code, r.error_message.as_ref())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_as_kafka_configs_takes_them() {
        let pair = |k: &str, v: &str| (k.to_string(), v.to_string());
        let read = parse_added("a=1, b=[x,y],c=").unwrap();
        assert_eq!(read, [pair("a", "1"), pair("b", "x,y"), pair("c", "")]);
        assert!(parse_added("a").unwrap_err().to_string().contains("key=value"));
    }
}
