//! DescribeLogDirs (35), v1-v4: what lies in each data directory. Null topics mean all partitions. v3
//! added a top-level error, v4 the size of the volume (KIP-827).
//! A replica's lag behind its own high watermark is always 0 here, and no replica moves between
//! directories.

use std::collections::{BTreeMap, HashSet};

use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use crate::shard::Router;
use crate::shard::router::{LogDirInfo, LogDirReplica};

pub async fn handle(
    _cx: &RequestContext,
    router: &Router,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let wanted = request.topics.as_deref().map(wanted);
    let results =
        router.log_dirs().await.into_iter().map(|dir| row(dir, wanted.as_ref())).collect();
    DescribeLogDirsResponse::default().with_results(results)
}

type Wanted = HashSet<(String, i32)>;

fn wanted(topics: &[DescribableLogDirTopic]) -> Wanted {
    topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|index| (topic.topic.to_string(), *index)))
        .collect()
}

fn row(dir: LogDirInfo, wanted: Option<&Wanted>) -> DescribeLogDirsResult {
    let is_wanted = |replica: &LogDirReplica| {
        let tp = &replica.topic_partition;
        wanted.is_none_or(|wanted| wanted.contains(&(tp.topic.to_string(), tp.partition)))
    };
    let mut topics: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for replica in dir.replicas.iter().filter(|replica| is_wanted(replica)) {
        let size = i64::try_from(replica.size_bytes).unwrap_or(i64::MAX);
        topics.entry(replica.topic_partition.topic.to_string()).or_default().push(
            DescribeLogDirsPartition::default()
                .with_partition_index(replica.topic_partition.partition)
                .with_partition_size(size),
        );
    }
    let topics = topics
        .into_iter()
        .map(|(name, mut partitions)| {
            partitions.sort_by_key(|partition| partition.partition_index);
            DescribeLogDirsTopic::default()
                .with_name(StrBytes::from_string(name).into())
                .with_partitions(partitions)
        })
        .collect();
    DescribeLogDirsResult::default()
        .with_log_dir(StrBytes::from_string(dir.path))
        .with_topics(topics)
        .with_total_bytes(dir.total_bytes)
        .with_usable_bytes(dir.usable_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TopicPartition;

    #[test]
    fn grouped_sorted_and_filtered() {
        let replica = |topic: &str, partition, size_bytes| LogDirReplica {
            topic_partition: TopicPartition::new(topic, partition),
            size_bytes,
        };
        let dir = LogDirInfo {
            path: "/d".into(),
            total_bytes: 10,
            usable_bytes: 5,
            replicas: vec![replica("b", 1, 7), replica("a", 0, 1), replica("b", 0, 6)],
        };
        let shape = |row: &DescribeLogDirsResult| {
            let size = |p: &DescribeLogDirsPartition| (p.partition_index, p.partition_size);
            let topic = |t: &DescribeLogDirsTopic| {
                (t.name.to_string(), t.partitions.iter().map(size).collect::<Vec<_>>())
            };
            row.topics.iter().map(topic).collect::<Vec<_>>()
        };
        let all = row(dir.clone(), None);
        assert_eq!(
            shape(&all),
            [("a".to_string(), vec![(0, 1)]), ("b".to_string(), vec![(0, 6), (1, 7)])]
        );
        let one = Wanted::from([("b".to_string(), 1), ("c".to_string(), 0)]);
        assert_eq!(shape(&row(dir.clone(), Some(&one))), [("b".to_string(), vec![(1, 7)])]);
        assert!(row(dir, Some(&Wanted::new())).topics.is_empty());
    }
}
