//! Creation, growth and removal of topics: names, counts, placement. Kafka's rules, and its words where
//! clients' tests read them. Pure.
//! Placement today is a list with this one broker; the quorum brings more.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::image::{Image, PartitionImage, ResourceType, TopicImage};
use super::plan::Context;
use super::records::Record;
use super::{ControllerError, CreatedTopic, MorePartitions, NewTopic, TopicRef};
use crate::config::TopicConfig;
use crate::limits::{COMMAND_PARTITIONS, TOPIC_NAME_BYTES};
use crate::types::TopicId;

type Results<T> = Vec<Result<T, ControllerError>>;

fn too_many() -> ControllerError {
    ControllerError::InvalidPartitions("Excessively large number of partitions per request.".into())
}

pub fn create(
    cx: &mut Context<'_>,
    topics: &[NewTopic],
    validate_only: bool,
    records: &mut Vec<Record>,
) -> Results<CreatedTopic> {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for topic in topics {
        *times.entry(&topic.name).or_default() += 1;
    }
    // Names as metrics see them ('.' and '_' are the same there), of what is there and of this
    // request; only a name that has one of the two can collide.
    let may_collide = topics.iter().any(|t| t.name.contains(['.', '_']));
    let existing = cx.image.topics.keys().filter(|_| may_collide);
    let mut plain: HashMap<String, String> =
        existing.map(|t| (plain_name(t), t.to_string())).collect();
    let mut partitions = 0;
    let mut results = Vec::with_capacity(topics.len());
    for topic in topics {
        if times[topic.name.as_str()] > 1 {
            let why = "Duplicate topic name.".to_string();
            results.push(Err(ControllerError::InvalidRequest(why)));
            continue;
        }
        let planned = create_one(cx, topic, &plain).and_then(|(created, new)| {
            partitions += created.partitions as usize;
            if partitions > COMMAND_PARTITIONS { Err(too_many()) } else { Ok((created, new)) }
        });
        results.push(planned.map(|(created, new)| {
            plain.insert(plain_name(&topic.name), topic.name.clone());
            if !validate_only {
                records.extend(new);
            }
            created
        }));
    }
    results
}

fn plain_name(name: &str) -> String {
    name.replace('.', "_")
}

fn create_one(
    cx: &mut Context<'_>,
    topic: &NewTopic,
    plain: &HashMap<String, String>,
) -> Result<(CreatedTopic, Vec<Record>), ControllerError> {
    check_name(&topic.name)?;
    if cx.image.topic(&topic.name).is_some() {
        return Err(ControllerError::TopicAlreadyExists(topic.name.clone()));
    }
    if let Some(other) = plain.get(&plain_name(&topic.name)) {
        return Err(ControllerError::InvalidTopic(format!(
            "Topic '{}' collides with existing topic: {other}",
            topic.name
        )));
    }
    let mut configs = BTreeMap::new();
    for (key, value) in &topic.configs {
        let value = value.clone().ok_or_else(|| {
            ControllerError::InvalidConfig(format!(
                "Null value not supported for topic configs: {key}"
            ))
        })?;
        configs.insert(key.clone(), value);
    }
    TopicConfig::default().with(&configs).map_err(ControllerError::InvalidConfig)?;
    let assignments = place(cx, topic)?;

    let id = (cx.new_id)();
    let created = CreatedTopic {
        id,
        partitions: assignments.len() as i32,
        replication_factor: assignments.first().map_or(0, Vec::len) as i16,
    };
    let mut records = vec![Record::Topic { name: topic.name.clone(), id }];
    for (key, value) in configs {
        let (resource, name) = (ResourceType::Topic, topic.name.clone());
        records.push(Record::Config { resource, name, key, value: Some(value) });
    }
    records.extend(partition_records(id, 0, assignments));
    Ok((created, records))
}

fn partition_records(
    topic: TopicId,
    first: i32,
    assignments: Vec<Vec<i32>>,
) -> impl Iterator<Item = Record> {
    assignments.into_iter().zip(first..).map(move |(replicas, partition)| {
        let leader = replicas.first().copied().unwrap_or(-1);
        let isr = replicas.clone();
        let state = PartitionImage { replicas, isr, leader, leader_epoch: 0, partition_epoch: 0 };
        Record::Partition { topic, partition, state }
    })
}

fn check_name(name: &str) -> Result<(), ControllerError> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let why = if name.is_empty() {
        "the empty string is not allowed".to_string()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.len() > TOPIC_NAME_BYTES {
        format!("the length of '{name}' is longer than the max allowed length {TOPIC_NAME_BYTES}")
    } else if !name.bytes().all(legal) {
        format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        )
    } else if name == "__cluster_metadata" {
        let why = "Creation of internal topic __cluster_metadata is prohibited.";
        return Err(ControllerError::InvalidTopic(why.to_string()));
    } else {
        return Ok(());
    };
    Err(ControllerError::InvalidTopic(format!("Topic name is invalid: {why}")))
}

/// Replicas of each partition, in order.
fn place(cx: &Context<'_>, topic: &NewTopic) -> Result<Vec<Vec<i32>>, ControllerError> {
    if !topic.assignments.is_empty() {
        let not_both = |what: &str| {
            Err(ControllerError::InvalidRequest(format!(
                "A manual partition assignment was specified, but {what} was not set to -1."
            )))
        };
        if topic.replication_factor != -1 {
            return not_both("replication factor");
        }
        if topic.partitions != -1 {
            return not_both("numPartitions");
        }
        if topic.assignments.keys().zip(0..).any(|(partition, expected)| *partition != expected) {
            return Err(ControllerError::InvalidReplicaAssignment(
                "partitions should be a consecutive 0-based integer sequence.".to_string(),
            ));
        }
        let replicas: Vec<Vec<i32>> = topic.assignments.values().cloned().collect();
        let factor = replicas[0].len();
        replicas.iter().try_for_each(|r| check_assignment(cx.image, r, factor))?;
        return Ok(replicas);
    }
    let partitions = match topic.partitions {
        -1 => cx.config.num_partitions,
        n if n <= 0 => {
            return Err(ControllerError::InvalidPartitions(
                "Number of partitions was set to an invalid non-positive value.".to_string(),
            ));
        }
        n => n,
    };
    let factor = match topic.replication_factor {
        -1 => cx.config.default_replication_factor,
        n if n <= 0 => {
            return Err(ControllerError::InvalidReplicationFactor(
                "Replication factor was set to an invalid non-positive value.".to_string(),
            ));
        }
        n => n,
    };
    if partitions as usize > COMMAND_PARTITIONS {
        return Err(too_many());
    }
    Ok(vec![replicas(cx, factor)?; partitions as usize])
}

fn replicas(cx: &Context<'_>, factor: i16) -> Result<Vec<i32>, ControllerError> {
    if factor > 1 {
        return Err(ControllerError::InvalidReplicationFactor(format!(
            "Unable to replicate the partition {factor} time(s): The target replication factor of \
             {factor} cannot be reached because only 1 broker(s) are registered."
        )));
    }
    Ok(vec![cx.broker_id])
}

fn check_assignment(image: &Image, replicas: &[i32], factor: usize) -> Result<(), ControllerError> {
    let mut seen = HashSet::new();
    let why = if replicas.is_empty() {
        "includes an empty replica list.".to_string()
    } else if let Some(id) = replicas.iter().find(|id| !image.brokers.contains_key(id)) {
        format!("includes broker {id}, but no such broker is registered.")
    } else if let Some(id) = replicas.iter().find(|id| !seen.insert(**id)) {
        format!("includes the broker {id} more than once.")
    } else if replicas.len() != factor {
        format!(
            "includes a partition with {} replica(s), but this is not consistent with previous \
             partitions, which have {factor} replica(s).",
            replicas.len()
        )
    } else {
        return Ok(());
    };
    let why = format!("The manual partition assignment {why}");
    Err(ControllerError::InvalidReplicaAssignment(why))
}

pub fn delete(
    cx: &Context<'_>,
    topics: &[TopicRef],
    records: &mut Vec<Record>,
) -> Results<(String, TopicId)> {
    let mut gone = HashSet::new();
    let mut delete_one = |topic: &TopicRef| {
        if !cx.config.delete_topic_enable {
            return Err(ControllerError::TopicDeletionDisabled);
        }
        let (found, unknown) = match topic {
            TopicRef::Name(name) => {
                (cx.image.topic(name), ControllerError::UnknownTopicOrPartition)
            }
            TopicRef::Id(id) => (cx.image.topic_by_id(id), ControllerError::UnknownTopicId),
        };
        let found = found.filter(|t| gone.insert(t.id)).ok_or(unknown)?;
        records.push(Record::RemoveTopic { id: found.id });
        Ok((found.name.to_string(), found.id))
    };
    topics.iter().map(&mut delete_one).collect()
}

pub fn add_partitions(
    cx: &Context<'_>,
    topics: &[MorePartitions],
    validate_only: bool,
    records: &mut Vec<Record>,
) -> Results<()> {
    let mut seen = HashSet::new();
    let mut partitions = 0;
    let mut add = |(name, count, assignments): &MorePartitions| {
        if !seen.insert(name.clone()) {
            return Err(ControllerError::InvalidRequest("Duplicate topic name.".to_string()));
        }
        let topic = cx.image.topic(name).ok_or(ControllerError::UnknownTopicOrPartition)?;
        let new = grow(cx, topic, *count, assignments.as_deref())?;
        partitions += new.len();
        if partitions > COMMAND_PARTITIONS {
            return Err(too_many());
        }
        if !validate_only {
            records.extend(partition_records(topic.id, topic.partitions.len() as i32, new));
        }
        Ok(())
    };
    topics.iter().map(&mut add).collect()
}

/// Replicas of the partitions to add.
fn grow(
    cx: &Context<'_>,
    topic: &TopicImage,
    count: i32,
    assignments: Option<&[Vec<i32>]>,
) -> Result<Vec<Vec<i32>>, ControllerError> {
    let now = topic.partitions.len() as i32;
    if count == now {
        let why = format!("Topic already has {now} partition(s).");
        return Err(ControllerError::InvalidPartitions(why));
    }
    if count < now {
        return Err(ControllerError::InvalidPartitions(format!(
            "The topic {} currently has {now} partition(s); {count} would not be an increase.",
            topic.name
        )));
    }
    let more = (count - now) as usize;
    if more > COMMAND_PARTITIONS {
        return Err(too_many());
    }
    let factor = topic.partitions.first().map_or(1, |p| p.replicas.len());
    let Some(assignments) = assignments else {
        return Ok(vec![replicas(cx, factor as i16)?; more]);
    };
    if assignments.len() != more {
        return Err(ControllerError::InvalidReplicaAssignment(format!(
            "Attempted to add {more} additional partition(s), but only {} assignment(s) were specified.",
            assignments.len()
        )));
    }
    assignments.iter().try_for_each(|r| check_assignment(cx.image, r, factor))?;
    Ok(assignments.to_vec())
}
