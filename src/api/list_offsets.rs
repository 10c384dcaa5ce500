//! ListOffsets (2), v1-v11: offsets by timestamp or by one of the special (negative) timestamps, each
//! of which came with a version. v2 has the isolation level, v4 leader epochs (KIP-320), v7 the largest
//! timestamp (KIP-734), v8 and v9 local and tiered offsets (KIP-405, KIP-1005), v10 a timeout for remote
//! reads, v11 the earliest offset not yet uploaded (KIP-1023).
//! There is no tiered storage: local means all, and tiered and pending-upload answer -1, as Kafka does
//! for a topic without remote storage.

use std::collections::HashMap;

use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use super::error_map::partition_code;
use super::{RequestContext, fan_out};
use crate::shard::Router;
use crate::shard::router::{OffsetAnswer, OffsetQuery};
use crate::types::TopicPartition;
use crate::wire::error_code;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let read_committed = request.isolation_level == 1;
    let mut times: HashMap<(&str, i32), usize> = HashMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            *times.entry((topic.name.as_str(), partition.partition_index)).or_default() += 1;
        }
    }

    let topics = fan_out::by_topic(
        &request.topics,
        |topic| &topic.partitions,
        |topic, partition| {
            let twice = times[&(topic.name.as_str(), partition.partition_index)] > 1;
            answer(cx, router, &topic.name, twice, read_committed, partition)
        },
        |topic, partitions| {
            ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions)
        },
    )
    .await;
    ListOffsetsResponse::default().with_topics(topics)
}

async fn answer(
    cx: &RequestContext,
    router: &Router,
    topic: &str,
    twice: bool,
    read_committed: bool,
    partition: &ListOffsetsPartition,
) -> ListOffsetsPartitionResponse {
    let row =
        ListOffsetsPartitionResponse::default().with_partition_index(partition.partition_index);
    if twice {
        return row.with_error_code(error_code::INVALID_REQUEST);
    }
    let Some(query) = query(partition.timestamp, cx.api_version, read_committed) else {
        return row.with_error_code(error_code::UNSUPPORTED_VERSION);
    };
    let tp = TopicPartition::new(topic, partition.partition_index);
    // Nothing is tiered, but the epoch and the leader are still checked, by a query that costs nothing.
    let local = query.unwrap_or(OffsetQuery::Earliest);
    match router.list_offset(&tp, partition.current_leader_epoch, local).await {
        Ok(_) if query.is_none() => row,
        Ok(OffsetAnswer { offset, timestamp_ms, leader_epoch }) => {
            let epoch = if cx.api_version >= 4 { leader_epoch } else { -1 };
            row.with_offset(offset).with_timestamp(timestamp_ms).with_leader_epoch(epoch)
        }
        Err(error) => row.with_error_code(partition_code(&error)),
    }
}

/// `None`: this version does not know that timestamp. `Some(None)`: it does, and the answer is that
/// there is no such offset.
fn query(timestamp_ms: i64, version: i16, read_committed: bool) -> Option<Option<OffsetQuery>> {
    let (since, query) = match timestamp_ms {
        0.. => (1, Some(OffsetQuery::Timestamp { timestamp_ms, read_committed })),
        LATEST => (1, Some(OffsetQuery::Latest { read_committed })),
        EARLIEST => (1, Some(OffsetQuery::Earliest)),
        MAX_TIMESTAMP => (7, Some(OffsetQuery::MaxTimestamp)),
        EARLIEST_LOCAL => (8, Some(OffsetQuery::Earliest)),
        LATEST_TIERED => (9, None),
        EARLIEST_PENDING_UPLOAD => (11, None),
        _ => return None,
    };
    (version >= since).then_some(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_timestamps_by_version() {
        let first_version =
            |timestamp| (1..=11).find(|version| query(timestamp, *version, false).is_some());
        let expected = [
            (0, Some(1)),
            (-1, Some(1)),
            (-2, Some(1)),
            (-3, Some(7)),
            (-4, Some(8)),
            (-5, Some(9)),
            (-6, Some(11)),
            (-7, None),
            (i64::MIN, None),
        ];
        for (timestamp, since) in expected {
            assert_eq!(first_version(timestamp), since, "timestamp {timestamp}");
        }
        assert_eq!(query(-5, 11, false), Some(None));
        assert_eq!(query(-1, 2, true), Some(Some(OffsetQuery::Latest { read_committed: true })));
    }
}
