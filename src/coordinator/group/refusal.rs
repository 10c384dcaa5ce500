//! The answer that refuses a request whole, whatever its kind: the host's when the log can't be written or is not
//! loaded, ours where nothing else applies.

use kafka_protocol::protocol::StrBytes;

use super::answer::*;
use super::error::GroupError;
use super::input::{Input, RequestId};

impl Input {
    /// Whom to answer; nobody for what the host itself says.
    pub fn from(&self) -> Option<RequestId> {
        Some(match self {
            Input::Join { from, .. }
            | Input::Sync { from, .. }
            | Input::Heartbeat { from, .. }
            | Input::Leave { from, .. }
            | Input::ConsumerHeartbeat { from, .. }
            | Input::ConsumerDescribe { from, .. }
            | Input::Commit { from, .. }
            | Input::TxnCommit { from, .. }
            | Input::FetchOffsets { from, .. }
            | Input::DeleteOffsets { from, .. }
            | Input::Describe { from, .. }
            | Input::List { from, .. }
            | Input::Delete { from, .. } => *from,
            Input::TopicsChanged { .. }
            | Input::TopicsDeleted { .. }
            | Input::TxnCompleted { .. }
            | Input::ConfigChanged { .. }
            | Input::GroupConfigChanged { .. }
            | Input::Tick => return None,
        })
    }

    /// ListGroups has no place for an error of one partition: it gives no groups.
    pub fn refused(&self, error: GroupError) -> Option<Answer> {
        Some(match self {
            Input::Join { request, .. } => {
                Answer::Join(JoinAnswer::refused(error, request.member_id.clone()))
            }
            Input::Sync { .. } => Answer::Sync(SyncAnswer::refused(error)),
            Input::Heartbeat { .. } => Answer::Heartbeat(Err(error)),
            Input::Leave { .. } => Answer::Leave(Err(error)),
            Input::ConsumerHeartbeat { .. } => {
                Answer::ConsumerHeartbeat(ConsumerHeartbeatAnswer::refused(error))
            }
            Input::ConsumerDescribe { group_id, .. } => {
                Answer::ConsumerDescribe(ConsumerDescription {
                    error: Some(error),
                    group_id: group_id.clone(),
                    ..ConsumerDescription::default()
                })
            }
            Input::Commit { .. } => Answer::Commit(Err(error)),
            Input::TxnCommit { .. } => Answer::TxnCommit(Err(error)),
            Input::FetchOffsets { .. } => Answer::FetchOffsets(Err(error)),
            Input::DeleteOffsets { .. } => Answer::DeleteOffsets(Err(error)),
            Input::Describe { group_id, .. } => Answer::Describe(Description {
                error: Some(error),
                group_id: group_id.clone(),
                ..Description::default()
            }),
            Input::List { .. } => Answer::List(Vec::new()),
            Input::Delete { .. } => Answer::Delete(Err(error)),
            _ => return None,
        })
    }
}

impl Input {
    /// A name that is longer than a record's string can be (32767 bytes; newer requests can carry more).
    pub(super) fn is_oversized(&self) -> bool {
        fn long<'a>(names: impl IntoIterator<Item = &'a StrBytes>) -> bool {
            names.into_iter().any(|name| name.len() > i16::MAX as usize - MEMBER_ID_SUFFIX)
        }
        match self {
            Input::Join { client, request: r, .. } => {
                let names = [&r.group_id, &r.member_id, &r.protocol_type, &client.id, &client.host];
                long(names)
                    || long(&r.instance_id)
                    || long(r.protocols.iter().map(|protocol| &protocol.name))
            }
            Input::ConsumerHeartbeat { client, request: r, .. } => {
                let names = [&r.group_id, &r.member_id, &client.id, &client.host];
                let more = [&r.instance_id, &r.rack_id, &r.subscribed_topic_regex];
                long(names)
                    || long(more.into_iter().flatten())
                    || long(r.subscribed_topic_names.iter().flatten())
            }
            Input::Commit { request: r, .. } => {
                let topics = &r.topics;
                long([&r.group_id])
                    || long(topics.iter().map(|topic| &topic.name))
                    || r.retention_time_ms.is_some_and(|ms| ms >= 0)
                        && long(topics.iter().flat_map(|t| &t.partitions).flat_map(|p| &p.metadata))
            }
            Input::TxnCommit { request: r, .. } => {
                long([&r.group_id]) || long(r.topics.iter().map(|topic| &topic.name))
            }
            _ => false,
        }
    }
}

impl Input {
    /// Names and bytes of the request that a member's record is made of: one that is too large for a batch of the log
    /// is refused before it changes anything. Commits are measured as records (`offsets::commit`).
    pub(super) fn member_bytes(&self) -> usize {
        fn sum<'a>(texts: impl IntoIterator<Item = &'a StrBytes>) -> usize {
            texts.into_iter().map(|text| text.len() + 4).sum()
        }
        match self {
            Input::Join { client, request: r, .. } => {
                let protocols: usize =
                    r.protocols.iter().map(|p| p.name.len() + p.metadata.len() + 8).sum();
                protocols
                    + sum([&r.group_id, &r.member_id, &client.id, &client.host])
                    + sum(&r.instance_id)
            }
            Input::ConsumerHeartbeat { client, request: r, .. } => {
                let more = [&r.instance_id, &r.rack_id, &r.subscribed_topic_regex];
                sum([&r.group_id, &r.member_id, &client.id, &client.host])
                    + sum(more.into_iter().flatten())
                    + sum(r.subscribed_topic_names.iter().flatten())
            }
            _ => 0,
        }
    }
}

/// A member id is the client's or instance's name, a hyphen and a UUID.
const MEMBER_ID_SUFFIX: usize = 1 + 36;

impl JoinAnswer {
    pub fn refused(error: GroupError, member_id: StrBytes) -> JoinAnswer {
        JoinAnswer { error: Some(error), generation: -1, member_id, ..JoinAnswer::default() }
    }
}

impl SyncAnswer {
    pub fn refused(error: GroupError) -> SyncAnswer {
        SyncAnswer { error: Some(error), ..SyncAnswer::default() }
    }
}

impl ConsumerHeartbeatAnswer {
    pub fn refused(error: GroupError) -> ConsumerHeartbeatAnswer {
        ConsumerHeartbeatAnswer { error: Some(error), ..ConsumerHeartbeatAnswer::default() }
    }
}
