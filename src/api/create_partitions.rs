//! CreatePartitions (37), v0-v3: raises a topic's partition count, with or without an assignment for
//! the new ones. The controller judges counts and assignments.

use std::collections::{HashMap, HashSet};

use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, TopicName};

use super::RequestContext;
use super::error_map::ApiError;
use crate::controller::{Command, Reply};
use crate::shard::Router;

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for topic in &request.topics {
        *times.entry(topic.name.as_str()).or_default() += 1;
    }
    let mut seen = HashSet::new();
    let mut rows = Vec::with_capacity(request.topics.len());
    let mut names = Vec::new();
    let mut topics = Vec::new();
    for topic in &request.topics {
        if !seen.insert(topic.name.as_str()) {
            continue;
        }
        if times[topic.name.as_str()] > 1 {
            let error = ApiError::invalid_request("Duplicate topic name.");
            rows.push(row(topic.name.clone(), Err(error)));
            continue;
        }
        let assignments = topic.assignments.as_ref().map(|assignments| {
            let brokers = |ids: &[kafka_protocol::messages::BrokerId]| {
                ids.iter().map(|id| router.broker_of_node(cx.listener, id.0)).collect()
            };
            assignments.iter().map(|partition| brokers(&partition.broker_ids)).collect()
        });
        names.push(topic.name.clone());
        topics.push((topic.name.to_string(), topic.count, assignments));
    }
    if !names.is_empty() {
        let command = Command::CreatePartitions { topics, validate_only: request.validate_only };
        match router.controller(command).await {
            Ok(Reply::CreatePartitions(results)) => {
                let results = results.into_iter().map(|result| result.map_err(ApiError::from));
                rows.extend(names.into_iter().zip(results).map(|(name, r)| row(name, r)));
            }
            Ok(other) => unreachable!("CreatePartitions was answered with {other:?}"),
            Err(error) => {
                rows.extend(names.into_iter().map(|name| row(name, Err(ApiError::from(&error)))));
            }
        }
    }
    CreatePartitionsResponse::default().with_results(rows)
}

fn row(name: TopicName, result: Result<(), ApiError>) -> CreatePartitionsTopicResult {
    let row = CreatePartitionsTopicResult::default().with_name(name);
    match result {
        Ok(()) => row.with_error_message(None),
        Err(error) => row.with_error_code(error.code).with_error_message(error.text()),
    }
}
