//! Fetch sessions (KIP-227): what a client fetches without saying it again. One cache a shard, since
//! a connection stays on its shard; a client that lands elsewhere is told to start over.
//! Pure state: no clock of its own, no I/O.

use std::collections::HashMap;
use std::sync::Arc;

use crate::types::{Offset, TopicId};

/// A session this idle may be taken over when the cache is full (Kafka's minimum).
const EVICTION_MS: i64 = 120_000;

#[derive(Clone, Debug)]
pub struct SessionPartition {
    pub topic: Arc<str>,
    pub topic_id: TopicId,
    pub partition: i32,
    pub fetch_offset: Offset,
    pub max_bytes: i32,
    pub current_leader_epoch: i32,
    pub last_fetched_epoch: i32,
    /// What the client was last told; a change is worth a row of its own.
    pub sent_high_watermark: Offset,
    pub sent_log_start_offset: Offset,
}

#[derive(Debug)]
pub struct Session {
    pub epoch: i32,
    pub uses_topic_ids: bool,
    pub partitions: Vec<SessionPartition>,
    last_used_ms: i64,
}

#[derive(Default)]
pub struct FetchSessions {
    sessions: HashMap<i32, Session>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionError {
    NotFound,
    WrongEpoch,
    /// Topic names where the session has ids, or the other way round.
    TopicIds,
}

impl FetchSessions {
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    pub fn close(&mut self, id: i32) {
        self.sessions.remove(&id);
    }

    /// A new session, or `None` (0 on the wire) when the cache is full of live ones.
    pub fn open(
        &mut self,
        partitions: Vec<SessionPartition>,
        uses_topic_ids: bool,
        now_ms: i64,
        slots: usize,
        mut random: impl FnMut() -> u64,
    ) -> Option<i32> {
        if self.sessions.len() >= slots {
            let oldest = self.sessions.iter().min_by_key(|(id, s)| (s.last_used_ms, **id));
            match oldest {
                Some((id, s)) if now_ms - s.last_used_ms >= EVICTION_MS => {
                    let id = *id;
                    self.sessions.remove(&id);
                }
                _ => return None,
            }
        }
        let id = loop {
            let id = (random() & 0x7fff_ffff) as i32;
            if id != 0 && !self.sessions.contains_key(&id) {
                break id;
            }
        };
        let session = Session { epoch: 1, uses_topic_ids, partitions, last_used_ms: now_ms };
        self.sessions.insert(id, session);
        Some(id)
    }

    /// The session for an incremental fetch; its epoch moves on.
    pub fn resume(
        &mut self,
        id: i32,
        epoch: i32,
        uses_topic_ids: bool,
        now_ms: i64,
    ) -> Result<&mut Session, SessionError> {
        let session = self.sessions.get_mut(&id).ok_or(SessionError::NotFound)?;
        if session.epoch != epoch {
            return Err(SessionError::WrongEpoch);
        }
        if session.uses_topic_ids != uses_topic_ids {
            return Err(SessionError::TopicIds);
        }
        session.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        session.last_used_ms = now_ms;
        Ok(session)
    }

    pub fn get_mut(&mut self, id: i32) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }
}

impl Session {
    /// Adds the partition or changes what is fetched of it.
    pub fn upsert(&mut self, wanted: SessionPartition) {
        let known = self.partitions.iter_mut().find(|p| {
            p.partition == wanted.partition
                && p.topic_id == wanted.topic_id
                && p.topic == wanted.topic
        });
        match known {
            Some(p) => {
                let sent = (p.sent_high_watermark, p.sent_log_start_offset);
                *p = wanted;
                (p.sent_high_watermark, p.sent_log_start_offset) = sent;
            }
            None => self.partitions.push(wanted),
        }
    }

    pub fn forget(&mut self, topic: &str, topic_id: &TopicId, partition: i32) {
        self.partitions.retain(|p| {
            p.partition != partition
                || (if self.uses_topic_ids { p.topic_id != *topic_id } else { &*p.topic != topic })
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(topic: &str, partition: i32) -> SessionPartition {
        SessionPartition {
            topic: topic.into(),
            topic_id: TopicId::nil(),
            partition,
            fetch_offset: 0,
            max_bytes: 1,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
            sent_high_watermark: -1,
            sent_log_start_offset: -1,
        }
    }

    #[test]
    fn epochs_move_on_and_wrong_ones_are_refused() {
        let mut cache = FetchSessions::default();
        let id = cache.open(vec![partition("a", 0)], false, 0, 2, || 5).unwrap();
        assert_eq!(id, 5);
        assert_eq!(cache.resume(6, 1, false, 0).err(), Some(SessionError::NotFound));
        assert_eq!(cache.resume(5, 2, false, 0).err(), Some(SessionError::WrongEpoch));
        assert_eq!(cache.resume(5, 1, true, 0).err(), Some(SessionError::TopicIds));
        let session = cache.resume(5, 1, false, 0).unwrap();
        assert_eq!(session.epoch, 2);
        session.upsert(partition("b", 1));
        session.forget("a", &TopicId::nil(), 0);
        assert_eq!(session.partitions.len(), 1);
    }

    #[test]
    fn a_full_cache_evicts_only_the_idle() {
        let mut cache = FetchSessions::default();
        let mut next = 0;
        let mut random = || {
            next += 1;
            next
        };
        assert!(cache.open(Vec::new(), false, 0, 1, &mut random).is_some());
        assert!(cache.open(Vec::new(), false, 1000, 1, &mut random).is_none());
        assert!(cache.open(Vec::new(), false, EVICTION_MS, 1, &mut random).is_some());
        assert_eq!(cache.len(), 1);
    }
}
