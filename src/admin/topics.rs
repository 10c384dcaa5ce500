//! Topics: list, describe, create, delete, more partitions. Not here: their settings (`configs`).

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest,
    TopicName,
};
use serde::Serialize;

use super::{Result, Session, check, text};

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const TOPIC_ALREADY_EXISTS: i16 = 36;

#[derive(Clone, Debug, Serialize)]
pub struct Topic {
    pub name: String,
    /// `null` from brokers older than topic ids (KIP-516).
    pub topic_id: Option<String>,
    pub internal: bool,
    pub partitions: Vec<Partition>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Partition {
    pub partition: i32,
    /// -1 when there is none.
    pub leader: i32,
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
    pub offline_replicas: Vec<i32>,
}

pub struct NewTopic {
    pub name: String,
    /// -1: the broker's `num.partitions` (KIP-464).
    pub partitions: i32,
    /// -1: the broker's `default.replication.factor`.
    pub replication_factor: i16,
    pub configs: Vec<(String, String)>,
}

/// What became of one topic of several.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub topic: String,
    /// `created`, `deleted`, `changed`, `exists already`, `does not exist`.
    pub outcome: &'static str,
}

fn named(name: &str) -> TopicName {
    TopicName(text(name))
}

fn ids(nodes: Vec<BrokerId>) -> Vec<i32> {
    nodes.into_iter().map(|n| n.0).collect()
}

impl Session {
    /// Topics by name, all of them when `names` is empty; one that is asked for and missing is a failure.
    pub async fn topics(&self, names: &[String]) -> Result<Vec<Topic>> {
        let wanted = |n: &String| MetadataRequestTopic::default().with_name(Some(named(n)));
        let asked = (!names.is_empty()).then(|| names.iter().map(wanted).collect());
        let request =
            MetadataRequest::default().with_topics(asked).with_allow_auto_topic_creation(false);
        let (answer, _) = self.any().call_latest(&request, self.limit).await?;
        let mut topics = Vec::with_capacity(answer.topics.len());
        for t in answer.topics {
            let name = t.name.map(|n| n.0.to_string()).unwrap_or_default();
            check(|| format!("topic {name}"), t.error_code, None)?;
            let mut partitions: Vec<Partition> = t
                .partitions
                .into_iter()
                .map(|p| Partition {
                    partition: p.partition_index,
                    leader: p.leader_id.0,
                    leader_epoch: p.leader_epoch,
                    replicas: ids(p.replica_nodes),
                    isr: ids(p.isr_nodes),
                    offline_replicas: ids(p.offline_replicas),
                })
                .collect();
            partitions.sort_by_key(|p| p.partition);
            let topic_id = (!t.topic_id.is_nil()).then(|| t.topic_id.to_string());
            topics.push(Topic { name, topic_id, internal: t.is_internal, partitions });
        }
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        if_not_exists: bool,
        validate_only: bool,
    ) -> Result<Vec<Outcome>> {
        let wanted = topics.iter().map(|t| {
            let configs = t.configs.iter().map(|(name, value)| {
                CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
            });
            CreatableTopic::default()
                .with_name(named(&t.name))
                .with_num_partitions(t.partitions)
                .with_replication_factor(t.replication_factor)
                .with_configs(configs.collect())
        });
        let request = CreateTopicsRequest::default()
            .with_topics(wanted.collect())
            .with_validate_only(validate_only)
            .with_timeout_ms(self.limit.as_millis() as i32);
        let controller = self.controller().await?;
        let (answer, _) = controller.call_latest(&request, self.limit).await?;
        let done = if validate_only { "could be created" } else { "created" };
        let mut outcomes = Vec::with_capacity(topics.len());
        for t in &answer.topics {
            let outcome = match t.error_code {
                TOPIC_ALREADY_EXISTS if if_not_exists => "exists already",
                code => {
                    let what = || format!("creating topic {}", t.name.0);
                    check(what, code, t.error_message.as_ref())?;
                    done
                }
            };
            outcomes.push(Outcome { topic: t.name.to_string(), outcome });
        }
        Ok(outcomes)
    }

    pub async fn delete_topics(&self, names: &[String], if_exists: bool) -> Result<Vec<Outcome>> {
        const KEY: i16 = 20;
        let controller = self.controller().await?;
        let version = controller.version(KEY, (1, 6))?;
        let request = DeleteTopicsRequest::default().with_timeout_ms(self.limit.as_millis() as i32);
        // v6 names topics in `topics`, older versions in `topic_names`.
        let request = match version {
            6.. => {
                let state = |n: &String| DeleteTopicState::default().with_name(Some(named(n)));
                request.with_topics(names.iter().map(state).collect())
            }
            _ => request.with_topic_names(names.iter().map(|n| named(n)).collect()),
        };
        let answer = controller.call(version, &request, self.limit).await?;
        let mut outcomes = Vec::with_capacity(names.len());
        for t in &answer.responses {
            let topic = t.name.as_ref().map(|n| n.to_string()).unwrap_or_default();
            let outcome = match t.error_code {
                UNKNOWN_TOPIC_OR_PARTITION if if_exists => "does not exist",
                code => {
                    let what = || format!("deleting topic {topic}");
                    check(what, code, t.error_message.as_ref())?;
                    "deleted"
                }
            };
            outcomes.push(Outcome { topic, outcome });
        }
        Ok(outcomes)
    }

    /// `count` is what the topic shall have in all.
    pub async fn set_partitions(&self, topic: &str, count: i32) -> Result<Outcome> {
        let wanted = CreatePartitionsTopic::default()
            .with_name(named(topic))
            .with_count(count)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![wanted])
            .with_timeout_ms(self.limit.as_millis() as i32);
        let controller = self.controller().await?;
        let (answer, _) = controller.call_latest(&request, self.limit).await?;
        for t in &answer.results {
            let what = || format!("giving topic {topic} {count} partitions");
            check(what, t.error_code, t.error_message.as_ref())?;
        }
        Ok(Outcome { topic: topic.to_string(), outcome: "changed" })
    }
}
