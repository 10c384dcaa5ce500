//! How the group scenarios speak to a group's coordinator, as any client does: find it, ask it for what
//! is committed, forget everything when something fails; and what its log says at the end.

use std::collections::BTreeMap;

use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{FindCoordinatorRequest, GroupId, OffsetFetchRequest};
use kafka_protocol::protocol::StrBytes;
use spindle::client::{ClientError, Connection};
use spindle::coordinator::group::Record;
use spindle::wire::records::for_each_record;

use crate::client::{Client, LIMIT, expect_transient, read_at_last};
use crate::history::batch_at;

pub const NONE: i16 = 0;
pub const ILLEGAL_GENERATION: i16 = 22;
pub const UNKNOWN_MEMBER_ID: i16 = 25;
pub const REBALANCE_IN_PROGRESS: i16 = 27;
pub const MEMBER_ID_REQUIRED: i16 = 79;
pub const STALE_MEMBER_EPOCH: i16 = 113;
/// Of a coordinator that loads, is not made yet, or is elsewhere.
pub const COORDINATOR: [i16; 3] = [14, 15, 16];

const OFFSETS_PARTITIONS: i32 = 3;

const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// A broker for groups.
pub fn overrides(rng: &mut fastrand::Rng) -> Vec<String> {
    vec![
        "listeners=PLAINTEXT://10.0.0.1:9092".into(),
        "log.dirs=/data".into(),
        format!("shard.count={}", rng.usize(1..=2)),
        format!("offsets.topic.num.partitions={OFFSETS_PARTITIONS}"),
        format!("group.initial.rebalance.delay.ms={}", rng.usize(0..=200)),
        "group.min.session.timeout.ms=100".into(),
    ]
}

pub fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_string())
}

pub fn group_id(group: &str) -> GroupId {
    GroupId(text(group))
}

/// The group's coordinator; `None` when something failed, and the client rests.
pub async fn coordinator(client: &mut Client, group: &str) -> Option<Connection> {
    let found = async {
        let connection = client.any().await?;
        let request = FindCoordinatorRequest::default()
            .with_key_type(0)
            .with_coordinator_keys(vec![text(group)]);
        let answer = connection.call(4, &request, LIMIT).await?;
        let row = &answer.coordinators[0];
        if row.error_code != NONE {
            assert!(COORDINATOR.contains(&row.error_code), "FindCoordinator: {}", row.error_code);
            return Ok(None);
        }
        let addr = format!("{}:{}", row.host.as_str(), row.port).parse().expect("an address");
        client.at(addr).await.map(Some)
    };
    match found.await {
        Ok(Some(connection)) => Some(connection),
        Ok(None) => {
            client.rest().await;
            None
        }
        Err(e) => {
            failed(client, &e).await;
            None
        }
    }
}

pub async fn failed(client: &mut Client, e: &ClientError) {
    expect_transient("member", e);
    client.rest().await;
}

/// Offset and metadata, by topic and partition.
pub type Committed = BTreeMap<(String, i32), (i64, String)>;

/// What the group has committed, by the API, as an administrator asks.
pub async fn committed(client: &mut Client, group: &str) -> Committed {
    loop {
        let Some(connection) = coordinator(client, group).await else { continue };
        let one =
            OffsetFetchRequestGroup::default().with_group_id(group_id(group)).with_topics(None);
        match committed_of(&connection, one).await {
            Ok(Ok(committed)) => return committed,
            Ok(Err(code)) => {
                assert!(COORDINATOR.contains(&code), "OffsetFetch: {code}");
                client.rest().await;
            }
            Err(e) => failed(client, &e).await,
        }
    }
}

/// Partitions without a commit are left out. The inner error is the group's code.
pub async fn committed_of(
    connection: &Connection,
    group: OffsetFetchRequestGroup,
) -> Result<Result<Committed, i16>, ClientError> {
    let request = OffsetFetchRequest::default().with_groups(vec![group]);
    let answer = connection.call(9, &request, LIMIT).await?;
    let group = &answer.groups[0];
    if group.error_code != NONE {
        return Ok(Err(group.error_code));
    }
    let mut committed = Committed::new();
    for topic in &group.topics {
        for p in topic.partitions.iter().filter(|p| p.committed_offset >= 0) {
            let metadata = p.metadata.as_ref().map(|m| m.to_string()).unwrap_or_default();
            let key = (topic.name.to_string(), p.partition_index);
            committed.insert(key, (p.committed_offset, metadata));
        }
    }
    Ok(Ok(committed))
}

/// Every batch of `__consumer_offsets`, in the log's order, partition by partition.
pub async fn logged(client: &mut Client) -> Vec<Vec<Record>> {
    let mut batches = Vec::new();
    for index in 0..OFFSETS_PARTITIONS {
        let whole = read_at_last(client, OFFSETS_TOPIC, index).await;
        let mut at = 0;
        while at < whole.bytes.len() {
            let (_, bytes) = batch_at(OFFSETS_TOPIC, &whole.bytes, at);
            let mut batch = Vec::new();
            for_each_record(bytes, &mut |r| {
                batch.push(Record::decode(r.key.unwrap(), r.value).unwrap());
                true
            })
            .unwrap();
            batches.push(batch);
            at += bytes.len();
        }
    }
    batches
}
