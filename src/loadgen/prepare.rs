//! Before the traffic: reach the cluster, make or check the topic, wait for leaders, learn where each
//! partition lives and where it ends. After it: delete the topic, if the run made it.
//! Every wait is bounded, and each way to fail has a sentence.

use std::collections::BTreeMap;
use std::time::Duration;

use super::admin::{ClusterMetadata, LATEST, resolve};
use super::client::{ClientError, Connection, error_name};
use super::control::{Layout, Node, Place};
use super::workload::Workload;
use crate::runtime::{now, sleep};

/// How long a new topic may take to have a working leader for every partition.
const LEADERS_WAIT: Duration = Duration::from_secs(30);
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const TOPIC_ALREADY_EXISTS: i16 = 36;

async fn bootstrap(w: &Workload) -> Result<Connection, String> {
    let Some((host, port)) = w.bootstrap.rsplit_once(':') else {
        return Err(format!("--bootstrap-server {}: HOST:PORT is wanted", w.bootstrap));
    };
    let port: u16 = port
        .parse()
        .map_err(|_| format!("--bootstrap-server {}: {port} is no port", w.bootstrap))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let addr = resolve(host, port).await.map_err(|e| e.to_string())?;
    Connection::connect(addr, "spindle-bench", w.request_timeout)
        .await
        .map_err(|e| format!("{e}; is a broker running there? (spindle serve)"))
}

pub async fn prepare(w: &Workload) -> Result<Layout, String> {
    let connection = bootstrap(w).await?;
    let limit = w.request_timeout;
    let existing = topic(&connection, w).await?.0;
    let created = existing.is_none();
    let partitions = match existing {
        Some(have) => match w.partitions {
            Some(wanted) if wanted != have => {
                return Err(format!(
                    "topic {} exists with {have} partitions, not {wanted}: use another --topic, leave --partitions out, or delete it",
                    w.topic
                ));
            }
            _ => have,
        },
        None => {
            let count = w.partitions.unwrap_or(w.partitions_default);
            let configs: Vec<(&str, &str)> =
                w.topic_configs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let made =
                connection.create_topic(&w.topic, count, w.replication_factor, &configs, limit);
            match made.await {
                Ok(()) | Err(ClientError::Broker { code: TOPIC_ALREADY_EXISTS, .. }) => {}
                Err(e) => return Err(e.to_string()),
            }
            count
        }
    };
    wait_for_leaders(&connection, w, partitions, created).await
}

/// Partition count of the topic, if it is there.
async fn topic(
    connection: &Connection,
    w: &Workload,
) -> Result<(Option<i32>, ClusterMetadata), String> {
    let cluster = connection
        .metadata(Some(&[&w.topic]), w.request_timeout)
        .await
        .map_err(|e| e.to_string())?;
    let found = match cluster.topics.first() {
        None => None,
        Some(t) if t.error_code == UNKNOWN_TOPIC_OR_PARTITION => None,
        // Partitions may still be on their way to a leader; that is waited for later.
        Some(t) if t.error_code == 0 || !t.partitions.is_empty() => Some(t.partitions.len() as i32),
        Some(t) => return Err(format!("topic {}: {}", w.topic, error_name(t.error_code))),
    };
    Ok((found, cluster))
}

/// Until metadata names a leader for each partition and each leader answers for it.
async fn wait_for_leaders(
    connection: &Connection,
    w: &Workload,
    partitions: i32,
    created: bool,
) -> Result<Layout, String> {
    let until = now() + LEADERS_WAIT;
    loop {
        let (_, cluster) = topic(connection, w).await?;
        let why = match layout(&cluster, w, partitions, created).await {
            Ok(layout) => return Ok(layout),
            Err(why) => why,
        };
        if now() >= until {
            let seconds = LEADERS_WAIT.as_secs();
            return Err(format!("topic {} is not usable after {seconds} s: {why}", w.topic));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn layout(
    cluster: &ClusterMetadata,
    w: &Workload,
    partitions: i32,
    created: bool,
) -> Result<Layout, String> {
    let Some(topic) = cluster.topics.first() else {
        return Err("Metadata leaves it out".to_string());
    };
    if topic.error_code != 0 {
        return Err(error_name(topic.error_code));
    }
    if topic.partitions.len() != partitions as usize {
        return Err(format!("{} of {partitions} partitions are there", topic.partitions.len()));
    }
    let mut by_leader: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (index, p) in topic.partitions.iter().enumerate() {
        if p.index != index as i32 || p.leader < 0 {
            let code = error_name(p.error_code);
            return Err(format!("partition {} has no leader ({code})", p.index));
        }
        by_leader.entry(p.leader).or_default().push(p.index);
    }
    let mut nodes = Vec::new();
    let mut places = vec![Place { node: 0, start_offset: 0 }; partitions as usize];
    for (leader, led) in by_leader {
        let Some(broker) = cluster.brokers.iter().find(|b| b.id == leader) else {
            return Err(format!("leader {leader} is not among the brokers"));
        };
        let addr = resolve(&broker.host, broker.port).await.map_err(|e| e.to_string())?;
        let connection = Connection::connect(addr, "spindle-bench", w.request_timeout)
            .await
            .map_err(|e| format!("broker node {leader} advertises {addr}: {e}"))?;
        let ends = connection
            .list_offsets(&w.topic, &led, LATEST, w.request_timeout)
            .await
            .map_err(|e| e.to_string())?;
        for (index, start_offset) in led.into_iter().zip(ends) {
            places[index as usize] = Place { node: nodes.len(), start_offset };
        }
        nodes.push(Node { id: leader, addr });
    }
    Ok(Layout {
        topic_id: topic.topic_id,
        cluster_id: cluster.cluster_id.clone(),
        created,
        nodes,
        places,
    })
}

pub async fn delete_topic(w: &Workload) -> Result<(), String> {
    let connection = bootstrap(w).await?;
    connection.delete_topic(&w.topic, w.request_timeout).await.map_err(|e| e.to_string())
}
