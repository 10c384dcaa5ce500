//! `spindle group explain`: the events of a group from Spindle's own topic, read with plain Fetch, and a sentence
//! for each cause. Only Spindle writes them: on another broker the topic is missing and the failure says so.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::offsets::{Tp, Which};
use super::super::{Failure, Result, Session, check};
use crate::client::ClientError;
use crate::coordinator::group::{Cause, EVENTS_TOPIC, Event, EventKind};
use crate::wire::fetch::{FetchPartition, FetchRequest, FetchTopic};
use crate::wire::record_batch::split;
use crate::wire::records::for_each_record;

const FETCH_BYTES: i32 = 8 << 20;

impl Session {
    /// Oldest first; those at or after `since_ms` (Unix).
    pub async fn explain(&self, group: &str, since_ms: i64) -> Result<Vec<Event>> {
        let cluster = self.metadata(Some(&[EVENTS_TOPIC])).await?;
        let topic = cluster.topics.iter().find(|t| t.name == EVENTS_TOPIC && t.error_code == 0);
        let Some(topic) = topic else {
            return Err(Failure::Input(format!(
                "there are no events: topic {EVENTS_TOPIC} does not exist. Spindle makes it with the first event of \
                 a group; other brokers have none"
            )));
        };
        let tps: Vec<Tp> =
            topic.partitions.iter().map(|p| (EVENTS_TOPIC.to_string(), p.index)).collect();
        let starts = self.offsets(&tps, Which::At(since_ms.max(0))).await?;
        let ends = self.offsets(&tps, Which::Latest).await?;
        let mut events = Vec::new();
        for p in &topic.partitions {
            let tp = (EVENTS_TOPIC.to_string(), p.index);
            let node = cluster.brokers.iter().find(|b| b.id == p.leader);
            let (Some(node), Some(&start), Some(&end)) = (node, starts.get(&tp), ends.get(&tp))
            else {
                continue;
            };
            let connection = self.node(node).await?;
            let version = connection.fetch_version(topic.topic_id)?;
            let mut at = start;
            while at < end {
                let request = request(topic.topic_id, p.index, at);
                let answer = connection.fetch(version, &request, self.limit).await?;
                check(|| format!("reading {EVENTS_TOPIC}"), answer.error_code, None)?;
                let before = at;
                for part in answer.topics.into_iter().flat_map(|t| t.partitions) {
                    check(|| format!("reading {EVENTS_TOPIC}"), part.error_code, None)?;
                    for records in &part.records {
                        at = read(records, group, at, &mut events)?;
                    }
                }
                if at == before {
                    break;
                }
            }
        }
        events.retain(|e| e.at_ms >= since_ms);
        events.sort_by_key(|e| e.at_ms);
        Ok(events)
    }
}

fn request(topic_id: crate::types::TopicId, partition: i32, offset: i64) -> FetchRequest {
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: FETCH_BYTES,
        isolation_level: 0,
        session_id: 0,
        session_epoch: -1,
        topics: vec![FetchTopic {
            name: Bytes::from_static(EVENTS_TOPIC.as_bytes()),
            topic_id,
            partitions: vec![FetchPartition {
                index: partition,
                current_leader_epoch: -1,
                fetch_offset: offset,
                last_fetched_epoch: -1,
                log_start_offset: -1,
                max_bytes: FETCH_BYTES,
            }],
        }],
        forgotten: Vec::new(),
        rack_id: Bytes::new(),
    }
}

/// The offset after what was read. What is no event (a later version's) is passed over.
fn read(records: &[u8], group: &str, from: i64, events: &mut Vec<Event>) -> Result<i64> {
    let mut next = from;
    let damaged = |e| ClientError::Protocol(format!("a batch of {EVENTS_TOPIC} is damaged: {e:?}"));
    for batch in split(records) {
        // The last batch may be cut short by the size of the answer.
        let Ok((header, bytes)) = batch else { break };
        for_each_record(bytes, &mut |record| {
            if record.key == Some(group.as_bytes())
                && let Some(event) = record.value.and_then(|v| serde_json::from_slice(v).ok())
            {
                events.push(event);
            }
            true
        })
        .map_err(damaged)?;
        next = next.max(header.last_offset() + 1);
    }
    Ok(next)
}

/// `member left`.
pub fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::RebalanceStarted => "rebalance started",
        EventKind::RebalanceCompleted => "rebalance completed",
        EventKind::MemberJoined => "member joined",
        EventKind::MemberLeft => "member left",
        EventKind::MemberEvicted => "member evicted",
        EventKind::MemberFenced => "member fenced",
        EventKind::StaticReplaced => "static member replaced",
        EventKind::LeaderChanged => "leader changed",
        EventKind::Converted => "protocol changed",
        EventKind::OffsetsReset => "offsets reset",
        EventKind::OffsetsExpired => "offsets expired",
        EventKind::OffsetsDeleted => "offsets deleted",
        EventKind::GroupDeleted => "group deleted",
        EventKind::CoordinatorLoaded => "coordinator loaded",
        EventKind::CoordinatorMoved => "coordinator moved",
    }
}

/// Why, as a sentence, with what to do about it where there is something.
pub fn why(cause: &Cause) -> String {
    let said = |reason: &Option<std::sync::Arc<str>>| {
        reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default()
    };
    match cause {
        Cause::NewMember => "a new member joined".to_string(),
        Cause::SubscriptionChanged => "a member changed its subscription or protocols".to_string(),
        Cause::LeaderRejoined => "the leader asked for a new assignment".to_string(),
        Cause::MemberRejoined => "a member joined again".to_string(),
        Cause::Left { reason } => format!("it left{}", said(reason)),
        Cause::RemovedByAdmin { reason } => format!("an administrator removed it{}", said(reason)),
        Cause::SessionTimeout { timeout_ms } => format!(
            "no heartbeat for {timeout_ms} ms (session.timeout.ms): it died, was paused, or could not reach the broker"
        ),
        Cause::RebalanceTimeout { timeout_ms } => format!(
            "it did not take part in the rebalance within {timeout_ms} ms (max.poll.interval.ms): its poll loop is slow"
        ),
        Cause::SyncTimeout { timeout_ms } => {
            format!("it joined but sent no SyncGroup within {timeout_ms} ms")
        }
        Cause::NewMemberTimeout { timeout_ms } => {
            format!("it took a member id and did not join with it within {timeout_ms} ms")
        }
        Cause::StaticReplaced { old_member } => {
            format!("another client with the same group.instance.id took the place of {old_member}")
        }
        Cause::WrongInstance => {
            "its group.instance.id belongs to another member: two clients use the same one"
                .to_string()
        }
        Cause::StaleEpoch { given, current } => {
            format!("it came with epoch {given}, the group is at {current}")
        }
        Cause::GroupFull { max_size } => {
            format!("the group has {max_size} members already (group.max.size)")
        }
        Cause::RecordTooLarge { bytes, max_bytes } => format!(
            "subscriptions and assignment take {bytes} bytes, more than max.message.bytes of \
             __consumer_offsets ({max_bytes})"
        ),
        Cause::TopicsChanged { topics } => {
            format!("partitions of {} changed", topics.join(", "))
        }
        Cause::AssignorChanged => "another assignor was chosen".to_string(),
        Cause::AllMembersJoined => "all members are in".to_string(),
        Cause::LastMemberLeft => "the last member left".to_string(),
        Cause::Upgrade => "a member of the consumer protocol (KIP-848) joined".to_string(),
        Cause::Downgrade => "the last member of the consumer protocol (KIP-848) left".to_string(),
        Cause::OffsetMoved { topic, partition, from, to } => {
            format!("{topic}-{partition} from {from} to {to}, by somebody outside of the group")
        }
        Cause::Retention { after_ms, offsets } => {
            format!("{offsets} offsets unused for {after_ms} ms (offsets.retention.minutes)")
        }
        Cause::TopicDeleted { topic, offsets } => {
            format!("topic {topic} was deleted, with {offsets} offsets")
        }
        Cause::AdminRequest { offsets } => format!("an administrator's request, {offsets} offsets"),
        Cause::Loaded { groups, offsets } => {
            format!("the broker read {groups} groups and {offsets} offsets from its log")
        }
        Cause::LeaderMoved => "another broker leads the group's partition".to_string(),
    }
}

/// How often each member made the group rebalance: who to look at first.
pub fn culprits(events: &[Event]) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for e in events.iter().filter(|e| e.kind == EventKind::RebalanceStarted) {
        let who = e.instance_id.as_ref().or(e.member.as_ref());
        if let Some(who) = who {
            let client = e.client_host.as_ref().map(|h| format!(" at {h}")).unwrap_or_default();
            *counts.entry(format!("{who}{client}")).or_default() += 1;
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts
}
