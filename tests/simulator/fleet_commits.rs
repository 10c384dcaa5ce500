//! Commits and reads of committed offsets, as members of either protocol make them in `fleet.rs`, and the
//! account of them. Every commit says in its metadata who sent it in which epoch, and counts.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{OffsetCommitRequest, TopicName};
use spindle::runtime::{sleep, spawn};

use crate::client::{Client, LIMIT};
use crate::coordinator::{
    ILLEGAL_GENERATION, NONE, STALE_MEMBER_EPOCH, committed_of, coordinator, failed, group_id, text,
};
use crate::fleet::{GROUP, World};
use crate::fleet_claims::Partition;

/// Topic and partition.
pub type Key = (String, i32);

#[derive(Default)]
pub struct Commits {
    /// In the order of their acknowledgements.
    pub acked: Vec<(Key, String)>,
    /// Sent twice or not answered: they may come after a newer one.
    pub late: BTreeSet<String>,
    /// To an older offset, by the owner's will.
    pub rewound: BTreeSet<String>,
    pub fetched: Vec<Fetched>,
}

/// What a new owner was told to begin with.
pub struct Fetched {
    pub key: Key,
    /// Of the commit that it saw; `None`: there was none.
    pub metadata: Option<String>,
    /// So many of `acked` were acknowledged before it asked.
    pub acked: usize,
    pub by: String,
}

/// Who commits, as the request says it.
pub struct Owner<'a> {
    pub member_id: &'a str,
    pub epoch: i32,
    pub number: u64,
}

impl Owner<'_> {
    fn metadata(&self) -> String {
        format!("{}/{}/{}", self.member_id, self.epoch, self.number)
    }
}

/// Member id, epoch and number of a commit.
pub fn parse(metadata: &str) -> (&str, i32, u64) {
    let mut parts = metadata.rsplitn(3, '/');
    let mut next = || parts.next().unwrap_or_else(|| panic!("metadata {metadata}"));
    let (number, epoch, member) = (next(), next(), next());
    (member, epoch.parse().unwrap(), number.parse().unwrap())
}

/// Positions to begin with; `None`: ask again later. `member` is named to the coordinator, or nobody is.
pub async fn positions(
    world: &World,
    client: &mut Client,
    by: &str,
    member: Option<(&str, i32)>,
    wanted: &BTreeSet<Partition>,
) -> Option<BTreeMap<Partition, i64>> {
    let mut named: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    let mut positions = BTreeMap::new();
    for (id, index) in wanted {
        positions.insert((*id, *index), 0);
        // A topic that is gone has no offsets, and nobody can commit to it.
        if let Some(name) = world.name_of(client, *id).await {
            named.entry(name).or_default().push(*index);
        }
    }
    let topics = named.iter().map(|(name, all)| {
        OffsetFetchRequestTopics::default()
            .with_name(TopicName(text(name)))
            .with_partition_indexes(all.clone())
    });
    let mut group = OffsetFetchRequestGroup::default()
        .with_group_id(group_id(GROUP))
        .with_member_epoch(-1)
        .with_topics(Some(topics.collect()));
    if let Some((id, epoch)) = member {
        group = group.with_member_id(Some(text(id))).with_member_epoch(epoch);
    }
    let acked = world.commits.borrow().acked.len();
    let connection = coordinator(client, GROUP).await?;
    let committed = match committed_of(&connection, group).await {
        Ok(committed) => committed.ok()?,
        Err(e) => {
            failed(client, &e).await;
            return None;
        }
    };
    for ((id, index), position) in &mut positions {
        let Some(name) = world.names.borrow().get(id).cloned() else { continue };
        let key = (name, *index);
        let found = committed.get(&key);
        *position = found.map_or(0, |(offset, _)| *offset);
        let metadata = found.map(|(_, metadata)| metadata.clone());
        let fetched = Fetched { key, metadata, acked, by: by.to_string() };
        world.commits.borrow_mut().fetched.push(fetched);
    }
    Some(positions)
}

/// The group's code; `None` when there was no answer.
pub async fn commit(
    world: &Rc<World>,
    client: &mut Client,
    owner: Owner<'_>,
    partition: Partition,
    (offset, rewinds): (i64, bool),
) -> Option<i16> {
    let name = world.name_of(client, partition.0).await?;
    let connection = coordinator(client, GROUP).await?;
    let metadata = owner.metadata();
    let row = OffsetCommitRequestPartition::default()
        .with_partition_index(partition.1)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text(&metadata)));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text(&name)))
        .with_partitions(vec![row]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group_id(GROUP))
        .with_generation_id_or_member_epoch(owner.epoch)
        .with_member_id(text(owner.member_id))
        .with_topics(vec![topic]);
    if rewinds {
        world.commits.borrow_mut().rewound.insert(metadata.clone());
    }
    if world.mishap(6) {
        world.commits.borrow_mut().late.insert(metadata.clone());
        spawn(send_late(world.clone(), request.clone()));
    }
    match connection.call(9, &request, LIMIT).await {
        Ok(answer) => {
            let code = answer.topics[0].partitions[0].error_code;
            if code == NONE {
                world.commits.borrow_mut().acked.push(((name, partition.1), metadata));
            }
            Some(code)
        }
        Err(e) => {
            world.commits.borrow_mut().late.insert(metadata);
            failed(client, &e).await;
            None
        }
    }
}

/// The same commit once more, later, from elsewhere.
async fn send_late(world: Rc<World>, request: OffsetCommitRequest) {
    sleep(world.between(0..3000)).await;
    let mut client = Client::new("late".into());
    if !world.over.get()
        && let Some(connection) = coordinator(&mut client, GROUP).await
    {
        let Ok(answer) = connection.call(9, &request, LIMIT).await else { return };
        let code = answer.topics[0].partitions[0].error_code;
        if [STALE_MEMBER_EPOCH, ILLEGAL_GENERATION].contains(&code) {
            world.stale.set(world.stale.get() + 1);
        }
    }
}
