//! Metadata (3), v0-v13: brokers, topics, and who leads what. v0 has no "none": an empty list means all
//! topics there, null does from v1. v4 lets the client forbid auto-creation, v8-v10 add authorized
//! operations (KIP-430), v10 topic ids and v12 asking by id (KIP-516), v13 a top-level error.
//! Answers from this shard's image only; creating a topic is the one thing it waits for.

use std::collections::{BTreeMap, HashSet};

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::error_map::{ApiError, controller_code};
use super::{RequestContext, authorized_operations, topic_name};
use crate::controller::{
    Command, ControllerError, Image, NewTopic, PartitionImage, Reply, TopicImage,
};
use crate::shard::Router;
use crate::types::TopicId;
use crate::wire::error_code;

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: MetadataRequest,
) -> MetadataResponse {
    let version = cx.api_version;
    let all = match &request.topics {
        None => true,
        Some(topics) => version == 0 && topics.is_empty(),
    };
    let asked = request.topics.unwrap_or_default();
    if version < 12 && asked.iter().any(|t| t.name.is_none() || !t.topic_id.is_nil()) {
        return refused(&asked);
    }

    let mut topics = if all {
        let image = router.image();
        image.topics.values().map(|t| topic_row(cx, router, &image, t)).collect()
    } else if asked.iter().any(|t| !t.topic_id.is_nil()) {
        // As Kafka: one id makes the whole request one by id, and names in it are not looked at.
        by_id(cx, router, &asked)
    } else {
        let may_create = request.allow_auto_topic_creation && router.config().auto_create_topics;
        by_name(cx, router, &asked, may_create).await
    };
    if version >= 8 {
        let operations = authorized_operations::topic(request.include_topic_authorized_operations);
        for topic in topics.iter_mut().filter(|t| t.name.is_some()) {
            topic.topic_authorized_operations = operations;
        }
    }

    let image = router.image();
    let cluster_operations = authorized_operations::cluster(
        (8..=10).contains(&version) && request.include_cluster_authorized_operations,
    );
    MetadataResponse::default()
        .with_brokers(brokers(cx, router))
        .with_cluster_id(Some(StrBytes::from_string(image.cluster_id.clone())))
        .with_controller_id(BrokerId(router.controller_node(cx.listener)))
        .with_topics(topics)
        .with_cluster_authorized_operations(cluster_operations)
}

fn brokers(cx: &RequestContext, router: &Router) -> Vec<MetadataResponseBroker> {
    let row = |node: crate::shard::router::NodeAddress| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(node.node_id))
            .with_host(StrBytes::from_string(node.host))
            .with_port(node.port)
            .with_rack(node.rack.map(StrBytes::from_string))
    };
    router.nodes(cx.listener).into_iter().map(row).collect()
}

fn by_id(
    cx: &RequestContext,
    router: &Router,
    asked: &[MetadataRequestTopic],
) -> Vec<MetadataResponseTopic> {
    let image = router.image();
    let mut seen = HashSet::new();
    asked
        .iter()
        .filter(|t| !t.topic_id.is_nil() && seen.insert(t.topic_id))
        .map(|t| match image.topic_by_id(&t.topic_id) {
            Some(topic) => topic_row(cx, router, &image, topic),
            None => error_row(None, t.topic_id, error_code::UNKNOWN_TOPIC_ID),
        })
        .collect()
}

async fn by_name(
    cx: &RequestContext,
    router: &Router,
    asked: &[MetadataRequestTopic],
    may_create: bool,
) -> Vec<MetadataResponseTopic> {
    let mut seen = HashSet::new();
    let names: Vec<&TopicName> =
        asked.iter().filter_map(|t| t.name.as_ref()).filter(|n| seen.insert(n.as_str())).collect();
    let mut errors = BTreeMap::new();
    if may_create {
        let image = router.image();
        let missing: Vec<&str> = names
            .iter()
            .map(|name| name.as_str())
            .filter(|name| image.topic(name).is_none() && topic_name::validate(name).is_ok())
            .collect();
        if !missing.is_empty() {
            errors = create(router, &missing).await;
        }
    }
    let image = router.image();
    names
        .into_iter()
        .map(|name| match image.topic(name) {
            Some(topic) => topic_row(cx, router, &image, topic),
            None => {
                let code = match errors.get(name.as_str()) {
                    _ if topic_name::validate(name).is_err() => error_code::INVALID_TOPIC_EXCEPTION,
                    Some(code) => *code,
                    None => error_code::UNKNOWN_TOPIC_OR_PARTITION,
                };
                error_row(Some(name.clone()), TopicId::nil(), code)
            }
        })
        .collect()
}

/// Creates topics with the broker's defaults. When it returns, what could be created is in the image.
/// The result holds a code for each topic that was not created.
async fn create<'a>(router: &Router, names: &[&'a str]) -> BTreeMap<&'a str, i16> {
    let topics = names
        .iter()
        .map(|name| {
            // The broker's own are made as it makes them itself.
            router.internal_topic(name).unwrap_or_else(|| NewTopic {
                name: name.to_string(),
                partitions: -1,
                replication_factor: -1,
                assignments: BTreeMap::new(),
                configs: BTreeMap::new(),
            })
        })
        .collect();
    let command = Command::CreateTopics { topics, validate_only: false };
    let results = match router.controller(command).await {
        Ok(Reply::CreateTopics(results)) => results,
        Ok(other) => unreachable!("CreateTopics was answered with {other:?}"),
        // Retriable, and the client's next metadata request tries again.
        Err(_) => {
            return names.iter().map(|name| (*name, error_code::LEADER_NOT_AVAILABLE)).collect();
        }
    };
    names
        .iter()
        .zip(results)
        .filter_map(|(name, result)| match result {
            Ok(_) => None,
            // Another client was first; it is there at the latest when this client asks again.
            Err(ControllerError::TopicAlreadyExists(_)) => {
                Some((*name, error_code::LEADER_NOT_AVAILABLE))
            }
            Err(error) => Some((*name, controller_code(&error))),
        })
        .collect()
}

fn topic_row(
    cx: &RequestContext,
    router: &Router,
    image: &Image,
    topic: &TopicImage,
) -> MetadataResponseTopic {
    let partitions = topic
        .partitions
        .iter()
        .enumerate()
        .map(|(index, partition)| {
            let nodes = PartitionNodes::of(cx, router, image, topic, index as i32, partition);
            MetadataResponsePartition::default()
                .with_error_code(nodes.error_code())
                .with_partition_index(index as i32)
                .with_leader_id(nodes.leader)
                .with_leader_epoch(partition.leader_epoch)
                .with_replica_nodes(nodes.replicas)
                .with_isr_nodes(nodes.isr)
                .with_offline_replicas(nodes.offline)
        })
        .collect();
    MetadataResponseTopic::default()
        .with_name(Some(StrBytes::from_string(topic.name.to_string()).into()))
        .with_topic_id(topic.id)
        .with_is_internal(topic_name::is_internal(&topic.name))
        .with_partitions(partitions)
}

/// A partition's broker ids as the node ids that the asking listener advertises.
pub(super) struct PartitionNodes {
    pub leader: BrokerId,
    pub replicas: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
    pub offline: Vec<BrokerId>,
}

impl PartitionNodes {
    pub fn of(
        cx: &RequestContext,
        router: &Router,
        image: &Image,
        topic: &TopicImage,
        index: i32,
        partition: &PartitionImage,
    ) -> PartitionNodes {
        let node = |broker: i32| BrokerId(router.replica_node(cx.listener, topic, index, broker));
        let dead = |broker: &i32| !image.brokers.contains_key(broker);
        PartitionNodes {
            leader: BrokerId(router.leader_node(cx.listener, topic, index)),
            replicas: partition.replicas.iter().copied().map(node).collect(),
            isr: partition.isr.iter().copied().map(node).collect(),
            offline: partition.replicas.iter().filter(|b| dead(b)).copied().map(node).collect(),
        }
    }

    pub fn error_code(&self) -> i16 {
        if self.leader.0 < 0 { error_code::LEADER_NOT_AVAILABLE } else { error_code::NONE }
    }
}

fn error_row(name: Option<TopicName>, id: TopicId, code: i16) -> MetadataResponseTopic {
    let internal = name.as_ref().is_some_and(|name| topic_name::is_internal(name));
    MetadataResponseTopic::default()
        .with_error_code(code)
        .with_name(name)
        .with_topic_id(id)
        .with_is_internal(internal)
}

/// v10 and v11 carry ids but can't ask by them; a null name makes no sense before v12.
fn refused(asked: &[MetadataRequestTopic]) -> MetadataResponse {
    let error = ApiError::invalid_request("topics can be asked for by id from v12 on");
    let row = |topic: &MetadataRequestTopic| {
        let name = topic.name.clone().unwrap_or_default();
        error_row(Some(name), topic.topic_id, error.code)
    };
    MetadataResponse::default()
        .with_topics(asked.iter().map(row).collect())
        .with_error_code(error.code)
}
