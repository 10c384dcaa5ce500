//! One member of a classic group, and what its client waits for.

use std::sync::Arc;

use bytes::Bytes;

use crate::coordinator::group::RequestId;
use crate::coordinator::group::input::Protocol;
use crate::coordinator::group::timers::Place;

#[derive(Debug)]
pub struct ClassicMember {
    pub id: Arc<str>,
    /// A static member's (KIP-345).
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    /// In the member's order of preference.
    pub protocols: Vec<(Arc<str>, Bytes)>,
    pub assignment: Bytes,
    /// Its JoinGroup that waits for the others.
    pub(super) joining: Option<RequestId>,
    /// Its SyncGroup that waits for the leader.
    pub(super) syncing: Option<RequestId>,
    /// It has never been through a rebalance: its first join has a time limit of its own.
    pub(super) is_new: bool,
    pub(super) session: Place,
}

impl ClassicMember {
    /// One that waits for nothing: as it is loaded or converted.
    pub fn new(id: Arc<str>, client_id: Arc<str>, client_host: Arc<str>) -> ClassicMember {
        ClassicMember {
            id,
            instance_id: None,
            client_id,
            client_host,
            rebalance_timeout_ms: 0,
            session_timeout_ms: 0,
            protocols: Vec::new(),
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            is_new: false,
            session: Place::default(),
        }
    }

    /// What it says under this protocol.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let of = self.protocols.iter().find(|(name, _)| **name == *protocol);
        of.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// Same protocols, same metadata, same order.
    pub(super) fn matches(&self, protocols: &[Protocol]) -> bool {
        self.protocols.len() == protocols.len()
            && self
                .protocols
                .iter()
                .zip(protocols)
                .all(|(mine, other)| *mine.0 == *other.name && mine.1 == other.metadata)
    }

    /// The coordinator keeps it waiting, so its silence means nothing.
    pub(super) fn is_kept_waiting(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }
}
