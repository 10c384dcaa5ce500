//! Before the traffic: reach the cluster, make or check the topics, wait for leaders, learn where each
//! partition lives and where it ends. After it: delete the topics that the run made.
//! Every wait is bounded, and each way to fail has a sentence.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::control::{Layout, Node, Place, TopicPlace};
use super::report::Prepare;
use super::workload::Workload;
use crate::client::admin::{ClusterMetadata, LATEST, TopicMetadata, resolve};
use crate::client::{ClientError, Connection, error_name, forbidden};
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
    match Connection::connect(addr, "spindle-bench", w.request_timeout).await {
        Ok(connection) => Ok(connection),
        Err(e @ ClientError::Connect { .. }) => {
            Err(format!("{e}; is a broker running there? (spindle serve)"))
        }
        Err(e) => Err(e.to_string()),
    }
}

/// The first has the workload's name, the others that name with -2, -3 … behind it.
fn topic_names(w: &Workload) -> Vec<String> {
    let name = |n| if n == 1 { w.topic.clone() } else { format!("{}-{n}", w.topic) };
    (1..=w.topics).map(name).collect()
}

/// A topic that the run uses, before its leaders are known.
struct Wanted {
    name: String,
    partitions: i32,
    created: bool,
}

fn ms_since(earlier: crate::runtime::Instant) -> f64 {
    now().0.saturating_sub(earlier.0) as f64 / 1e6
}

pub async fn prepare(w: &Workload) -> Result<Layout, String> {
    let mut times = Prepare::default();
    let began = now();
    let connection = bootstrap(w).await?;
    times.connect_ms = ms_since(began);
    let names = topic_names(w);
    let cluster = metadata(&connection, w, &names).await?;
    let began = now();
    let mut wanted = Vec::with_capacity(names.len());
    for name in names {
        let existing = match find(&cluster, &name) {
            Some(topic) => partitions_of(topic)?,
            None => None,
        };
        wanted.push(match existing {
            Some(have) => {
                compare_configs(&connection, w, &name).await?;
                existing_topic(w, name, have)?
            }
            None => create(&connection, w, name).await?,
        });
    }
    if wanted.iter().any(|t| t.created) {
        times.create_topics_ms = Some(ms_since(began));
    }
    let began = now();
    let mut layout = wait_for_leaders(&connection, w, &wanted).await?;
    times.leaders_ms = ms_since(began);
    layout.prepare = times;
    Ok(layout)
}

fn existing_topic(w: &Workload, name: String, have: i32) -> Result<Wanted, String> {
    match w.partitions {
        Some(wanted) if wanted != have => Err(format!(
            "topic {name} exists with {have} partitions, not {wanted}: use another --topic, leave --partitions out, or delete it"
        )),
        _ => Ok(Wanted { name, partitions: have, created: false }),
    }
}

/// The settings that were asked for must be those that the topic has.
async fn compare_configs(connection: &Connection, w: &Workload, name: &str) -> Result<(), String> {
    if w.topic_configs.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = w.topic_configs.iter().map(|(key, _)| key.as_str()).collect();
    let have = connection.topic_configs(name, &keys, w.request_timeout);
    let have = have.await.map_err(|e| e.to_string())?;
    for (key, want) in &w.topic_configs {
        let advice = "use another --topic, leave the --topic-config out, or delete the topic";
        match have.get(key) {
            None => {
                return Err(format!(
                    "topic {name} exists, and has no setting {key} (wanted {want}): {advice}"
                ));
            }
            Some(have) if !same_value(have, want) => {
                return Err(format!("topic {name} exists with {key}={have}, not {want}: {advice}"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Numbers by value, lists by their members: brokers print them in their own way.
fn same_value(a: &str, b: &str) -> bool {
    if let (Ok(a), Ok(b)) = (a.trim().parse::<f64>(), b.trim().parse::<f64>()) {
        return a == b;
    }
    let members = |text: &str| -> BTreeSet<String> {
        text.split(',').map(|part| part.trim().to_string()).collect()
    };
    members(a) == members(b)
}

async fn create(connection: &Connection, w: &Workload, name: String) -> Result<Wanted, String> {
    let partitions = w.partitions.unwrap_or(w.partitions_default);
    let configs: Vec<(&str, &str)> =
        w.topic_configs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let limit = w.request_timeout;
    let made = connection.create_topic(&name, partitions, w.replication_factor, &configs, limit);
    match made.await {
        Ok(()) => Ok(Wanted { name, partitions, created: true }),
        // Somebody else was quicker.
        Err(ClientError::Broker { code: TOPIC_ALREADY_EXISTS, .. }) => {
            Ok(Wanted { name, partitions, created: false })
        }
        Err(e) => Err(e.to_string()),
    }
}

async fn metadata(
    connection: &Connection,
    w: &Workload,
    names: &[String],
) -> Result<ClusterMetadata, String> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    connection.metadata(Some(&names), w.request_timeout).await.map_err(|e| e.to_string())
}

fn find<'a>(cluster: &'a ClusterMetadata, name: &str) -> Option<&'a TopicMetadata> {
    cluster.topics.iter().find(|t| t.name == name)
}

/// Partition count of the topic, if it is there.
fn partitions_of(topic: &TopicMetadata) -> Result<Option<i32>, String> {
    match topic {
        t if t.error_code == UNKNOWN_TOPIC_OR_PARTITION => Ok(None),
        // Partitions may still be on their way to a leader; that is waited for later.
        t if t.error_code == 0 || !t.partitions.is_empty() => Ok(Some(t.partitions.len() as i32)),
        t => {
            let why = forbidden(t.error_code).map_or(String::new(), |why| format!(": {why}"));
            Err(format!("topic {}: {}{why}", t.name, error_name(t.error_code)))
        }
    }
}

/// Until metadata names a leader for each partition and each leader answers for it.
async fn wait_for_leaders(
    connection: &Connection,
    w: &Workload,
    wanted: &[Wanted],
) -> Result<Layout, String> {
    let until = now() + LEADERS_WAIT;
    let names: Vec<String> = wanted.iter().map(|t| t.name.clone()).collect();
    loop {
        let cluster = metadata(connection, w, &names).await?;
        let why = match layout(&cluster, w, wanted).await {
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
    wanted: &[Wanted],
) -> Result<Layout, String> {
    let mut layout = Layout {
        cluster_id: cluster.cluster_id.clone(),
        topics: Vec::with_capacity(wanted.len()),
        nodes: Vec::new(),
        places: Vec::new(),
        prepare: Prepare::default(),
    };
    let mut leaders: BTreeMap<i32, usize> = BTreeMap::new();
    for want in wanted {
        let name = &want.name;
        let Some(found) = find(cluster, name) else {
            return Err(format!("Metadata leaves {name} out"));
        };
        if found.error_code != 0 {
            return Err(format!("{name}: {}", error_name(found.error_code)));
        }
        let (have, partitions) = (found.partitions.len(), want.partitions);
        if have != partitions as usize {
            return Err(format!("{have} of {partitions} partitions of {name} are there"));
        }
        for (index, p) in found.partitions.iter().enumerate() {
            if p.index != index as i32 || p.leader < 0 {
                let code = error_name(p.error_code);
                return Err(format!("{name}-{} has no leader ({code})", p.index));
            }
            let next = leaders.len();
            let node = *leaders.entry(p.leader).or_insert(next);
            let (topic, partition) = (layout.topics.len(), p.index);
            layout.places.push(Place { topic, partition, node, start_offset: 0 });
        }
        let (id, created) = (found.topic_id, want.created);
        layout.topics.push(TopicPlace { name: name.clone(), id, created });
    }
    let mut by_node: Vec<(usize, i32)> = leaders.into_iter().map(|(id, node)| (node, id)).collect();
    by_node.sort_unstable();
    for (node, id) in by_node {
        let Some(broker) = cluster.brokers.iter().find(|b| b.id == id) else {
            return Err(format!("leader {id} is not among the brokers"));
        };
        let addr = resolve(&broker.host, broker.port).await.map_err(|e| e.to_string())?;
        layout.nodes.push(Node { id, addr });
        learn_starts(&mut layout, w, node).await?;
    }
    Ok(layout)
}

/// Where the partitions that a node leads end.
async fn learn_starts(layout: &mut Layout, w: &Workload, node: usize) -> Result<(), String> {
    let Node { id, addr } = layout.nodes[node];
    let connection = Connection::connect(addr, "spindle-bench", w.request_timeout)
        .await
        .map_err(|e| format!("broker node {id} advertises {addr}: {e}"))?;
    for (topic, lanes) in layout.led_by(node) {
        let led: Vec<i32> = lanes.iter().map(|&l| layout.places[l].partition).collect();
        let name = &layout.topics[topic].name;
        let ends = connection
            .list_offsets(name, &led, LATEST, w.request_timeout)
            .await
            .map_err(|e| e.to_string())?;
        for (lane, end) in lanes.into_iter().zip(ends) {
            layout.places[lane].start_offset = end;
        }
    }
    Ok(())
}

/// Those that the run made.
pub async fn delete_topics(w: &Workload, layout: &Layout) -> Result<(), String> {
    let ours: Vec<&TopicPlace> = layout.topics.iter().filter(|t| t.created).collect();
    if ours.is_empty() {
        return Ok(());
    }
    let connection = bootstrap(w).await?;
    for topic in ours {
        let deleted = connection.delete_topic(&topic.name, w.request_timeout);
        deleted.await.map_err(|e| e.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_compared_by_what_they_mean() {
        assert!(same_value("0.5", "0.50"));
        assert!(same_value("compact,delete", "delete, compact"));
        assert!(same_value("1048576", "1048576"));
        assert!(!same_value("1048576", "1048577"));
        assert!(!same_value("delete", "compact,delete"));
        assert!(!same_value("", "0"));
    }
}
