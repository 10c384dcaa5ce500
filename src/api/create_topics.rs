//! CreateTopics (19), v2-v7. v5 answers with the topic's shape and its configs (KIP-525), v7 with its
//! id (KIP-516). The controller judges names, counts and configs; here are only the rules that belong
//! to the request: no topic twice, no partition assigned twice.
//! The timeout is not used: the controller answers when the topic can be used.

use std::collections::{BTreeMap, HashMap, HashSet};

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use super::config_resource::{effective_topic_configs, source_code};
use super::error_map::ApiError;
use crate::controller::{Command, CreatedTopic, NewTopic, Reply};
use crate::shard::Router;
use crate::wire::error_code;

/// The metadata log's own topic: it exists, and clients can't have it.
const METADATA_TOPIC: &str = "__cluster_metadata";

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for topic in &request.topics {
        *times.entry(topic.name.as_str()).or_default() += 1;
    }
    let mut answered = HashSet::new();
    let mut rows = Vec::with_capacity(request.topics.len());
    let mut wanted = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        // A name given twice gets one answer, as in Kafka.
        if !answered.insert(topic.name.as_str()) {
            continue;
        }
        let checked = if times[topic.name.as_str()] > 1 {
            Err(ApiError::invalid_request("Duplicate topic name."))
        } else {
            new_topic(cx, router, topic)
        };
        match checked {
            Ok(new) => wanted.push((topic.name.clone(), new)),
            Err(error) => rows.push(error_row(topic.name.clone(), error)),
        }
    }

    let (names, topics): (Vec<TopicName>, Vec<NewTopic>) = wanted.into_iter().unzip();
    let configs: Vec<_> = topics.iter().map(|topic| topic.configs.clone()).collect();
    let results = create(router, topics, request.validate_only).await;
    for ((name, configs), result) in names.into_iter().zip(configs).zip(results) {
        rows.push(match result {
            Ok(created) => created_row(cx, router, name, created, configs),
            Err(error) => error_row(name, error),
        });
    }
    CreateTopicsResponse::default().with_topics(rows)
}

fn new_topic(
    cx: &RequestContext,
    router: &Router,
    topic: &CreatableTopic,
) -> Result<NewTopic, ApiError> {
    if topic.name.as_str() == METADATA_TOPIC {
        return Err(ApiError::invalid_request(format!("{METADATA_TOPIC} can't be created.")));
    }
    let mut assignments = BTreeMap::new();
    for row in &topic.assignments {
        let brokers = row.broker_ids.iter().map(|id| router.broker_of_node(cx.listener, id.0));
        if assignments.insert(row.partition_index, brokers.collect()).is_some() {
            return Err(ApiError::new(
                error_code::INVALID_REPLICA_ASSIGNMENT,
                format!("Partition {} is assigned more than once.", row.partition_index),
            ));
        }
    }
    let text = |value: &StrBytes| value.to_string();
    Ok(NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments,
        configs: topic
            .configs
            .iter()
            .map(|config| (config.name.to_string(), config.value.as_ref().map(text)))
            .collect(),
    })
}

async fn create(
    router: &Router,
    topics: Vec<NewTopic>,
    validate_only: bool,
) -> Vec<Result<CreatedTopic, ApiError>> {
    let count = topics.len();
    if count == 0 {
        return Vec::new();
    }
    match router.controller(Command::CreateTopics { topics, validate_only }).await {
        Ok(Reply::CreateTopics(results)) => {
            results.into_iter().map(|result| result.map_err(ApiError::from)).collect()
        }
        Ok(other) => unreachable!("CreateTopics was answered with {other:?}"),
        Err(error) => (0..count).map(|_| Err(ApiError::from(&error))).collect(),
    }
}

fn created_row(
    cx: &RequestContext,
    router: &Router,
    name: TopicName,
    created: CreatedTopic,
    configs: BTreeMap<String, Option<String>>,
) -> CreatableTopicResult {
    let row = CreatableTopicResult::default().with_name(name).with_error_message(None);
    if cx.api_version < 5 {
        return row;
    }
    let overrides = configs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let configs = effective_topic_configs(router, &overrides)
        .into_iter()
        .map(|config| {
            CreatableTopicConfigs::default()
                .with_name(StrBytes::from_string(config.name))
                .with_value(config.value.map(StrBytes::from_string))
                .with_read_only(config.read_only)
                .with_config_source(source_code(config.source))
                .with_is_sensitive(config.sensitive)
        })
        .collect();
    row.with_topic_id(created.id)
        .with_num_partitions(created.partitions)
        .with_replication_factor(created.replication_factor)
        .with_configs(Some(configs))
}

fn error_row(name: TopicName, error: ApiError) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(name)
        .with_error_code(error.code)
        .with_error_message(error.text())
}
