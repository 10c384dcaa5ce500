//! The answer that refuses a request whole, whatever its kind: the host's when the log can't be written or is not
//! loaded, ours where nothing else applies.

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

impl JoinAnswer {
    pub fn refused(error: GroupError, member_id: kafka_protocol::protocol::StrBytes) -> JoinAnswer {
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
