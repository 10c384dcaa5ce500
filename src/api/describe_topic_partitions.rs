//! DescribeTopicPartitions (75), v0 (KIP-966): like Metadata, but sorted and in pages. The cursor names
//! the first topic and partition of the next page.

use std::collections::BTreeSet;

use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::metadata::PartitionNodes;
use super::{RequestContext, authorized_operations, topic_name};
use crate::controller::{Image, TopicImage};
use crate::limits::DESCRIBE_PARTITIONS_MAX;
use crate::shard::Router;
use crate::wire::error_code;

pub fn handle(
    cx: &RequestContext,
    router: &Router,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = router.image();
    let all = request.topics.is_empty();
    let (from_topic, from_partition) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.as_str(), cursor.partition_index),
        None => ("", 0),
    };
    let asked: BTreeSet<&str> = if all {
        image.topics.keys().map(|name| &**name).filter(|name| *name >= from_topic).collect()
    } else {
        request.topics.iter().map(|t| t.name.as_str()).filter(|name| *name >= from_topic).collect()
    };
    let cursor_is_lost = !all && request.cursor.is_some() && !asked.contains(from_topic);
    if cursor_is_lost || from_partition < 0 {
        let names = request.topics.into_iter().map(|t| t.name);
        return DescribeTopicPartitionsResponse::default()
            .with_topics(names.map(|n| error_row(n, error_code::INVALID_REQUEST)).collect());
    }

    let limit = (request.response_partition_limit.max(1) as usize).min(DESCRIBE_PARTITIONS_MAX);
    let sized: Vec<(&str, Option<usize>)> = asked
        .into_iter()
        .map(|name| (name, image.topic(name).map(|topic| topic.partitions.len())))
        .collect();
    let start = from_partition as usize;
    let page = page(&sized, from_topic, start, limit);
    let rows = page.topics.into_iter().map(|(name, range)| match image.topic(name) {
        Some(topic) => topic_row(cx, router, &image, topic, range),
        None => {
            let code = match topic_name::validate(name) {
                Ok(()) => error_code::UNKNOWN_TOPIC_OR_PARTITION,
                Err(_) => error_code::INVALID_TOPIC_EXCEPTION,
            };
            let name = StrBytes::from_string(name.to_string()).into();
            error_row(name, code).with_topic_authorized_operations(authorized_operations::TOPIC)
        }
    });
    DescribeTopicPartitionsResponse::default().with_topics(rows.collect()).with_next_cursor(
        page.next.map(|(name, partition)| {
            Cursor::default()
                .with_topic_name(StrBytes::from_string(name.to_string()).into())
                .with_partition_index(partition as i32)
        }),
    )
}

#[derive(Debug, PartialEq, Eq)]
struct Page<'a> {
    /// Topics with the partitions to show; an empty range for one that does not exist.
    topics: Vec<(&'a str, std::ops::Range<usize>)>,
    next: Option<(&'a str, usize)>,
}

/// `sized`: sorted names with their partition counts, `None` for a topic that does not exist.
fn page<'a>(
    sized: &[(&'a str, Option<usize>)],
    from_topic: &str,
    from_partition: usize,
    limit: usize,
) -> Page<'a> {
    let mut page = Page { topics: Vec::new(), next: None };
    let mut left = limit;
    for &(name, count) in sized {
        if left == 0 {
            page.next = Some((name, 0));
            break;
        }
        let count = count.unwrap_or(0);
        let start = if name == from_topic { from_partition.min(count) } else { 0 };
        let end = start.saturating_add(left).min(count);
        page.topics.push((name, start..end));
        if end < count {
            page.next = Some((name, end));
            break;
        }
        left -= end - start;
    }
    page
}

fn topic_row(
    cx: &RequestContext,
    router: &Router,
    image: &Image,
    topic: &TopicImage,
    range: std::ops::Range<usize>,
) -> DescribeTopicPartitionsResponseTopic {
    let partitions = range
        .filter_map(|index| Some((index as i32, topic.partitions.get(index)?)))
        .map(|(index, partition)| {
            let nodes = PartitionNodes::of(cx, router, image, topic, index, partition);
            DescribeTopicPartitionsResponsePartition::default()
                .with_error_code(nodes.error_code())
                .with_partition_index(index)
                .with_leader_id(nodes.leader)
                .with_leader_epoch(partition.leader_epoch)
                .with_replica_nodes(nodes.replicas)
                .with_isr_nodes(nodes.isr)
                .with_offline_replicas(nodes.offline)
                // No eligible leader replicas yet: empty, not null, is what a broker that knows of
                // them sends.
                .with_eligible_leader_replicas(Some(Vec::new()))
                .with_last_known_elr(Some(Vec::new()))
        })
        .collect();
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(StrBytes::from_string(topic.name.to_string()).into()))
        .with_topic_id(topic.id)
        .with_is_internal(topic_name::is_internal(&topic.name))
        .with_partitions(partitions)
        .with_topic_authorized_operations(authorized_operations::TOPIC)
}

fn error_row(name: TopicName, code: i16) -> DescribeTopicPartitionsResponseTopic {
    let internal = topic_name::is_internal(&name);
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(code)
        .with_name(Some(name))
        .with_is_internal(internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_join_without_gap_or_overlap() {
        let sized = [("a", Some(3)), ("b", None), ("c", Some(1)), ("d", Some(5)), ("e", Some(0))];
        for limit in 1..12 {
            let (mut from, mut seen, mut pages) = (("", 0), Vec::new(), 0);
            loop {
                let rest: Vec<_> = sized.iter().copied().filter(|t| t.0 >= from.0).collect();
                let page = page(&rest, from.0, from.1, limit);
                assert!(page.topics.iter().map(|(_, r)| r.len()).sum::<usize>() <= limit);
                for (name, range) in page.topics {
                    seen.extend(range.map(|p| (name, p)));
                }
                pages += 1;
                assert!(pages < 20);
                match page.next {
                    Some(next) => from = next,
                    None => break,
                }
            }
            let expected: Vec<(&str, usize)> = sized
                .iter()
                .flat_map(|(name, count)| (0..count.unwrap_or(0)).map(move |p| (*name, p)))
                .collect();
            assert_eq!(seen, expected, "limit {limit}");
        }
    }

    #[test]
    fn a_cursor_beyond_the_topic_shows_it_empty() {
        let page = page(&[("a", Some(2))], "a", 7, 10);
        assert_eq!(page, Page { topics: vec![("a", 2..2)], next: None });
    }
}
