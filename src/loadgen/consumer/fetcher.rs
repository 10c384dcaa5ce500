//! Fetches some lanes from the node that leads them: positions, a fetch session (KIP-227: a request
//! names only what moved, however many partitions there are), waiting as a quota asks (KIP-219).
//! Lives on one executor; at most one request is in flight. The next one can leave before the records of
//! the last answer are looked at: positions come from the batch headers.
//! Not here: what the records say (`reader.rs`), when reading ends (`consumer.rs`, `replay.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::super::control::Control;
use crate::client::admin::FETCH_WAITS_ITSELF;
use crate::client::{Asked, ClientError, Connection, error_name, forbidden};
use crate::runtime::{now, sleep};
use crate::types::TopicId;
use crate::wire::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchTopicResponse, ForgottenTopic,
};
use crate::wire::record_batch::{BatchError, BatchHeader};

/// From this version on there are sessions.
const FIRST_SESSIONS: i16 = 7;
const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
const INVALID_FETCH_SESSION_EPOCH: i16 = 71;
const FETCH_SESSION_TOPIC_ID_ERROR: i16 = 106;
/// A partition that answered with an error is left alone for so long, as Kafka's clients do
/// (`retry.backoff.ms`): it may be moving, and the others go on.
const BACKOFF_NS: u64 = 100_000_000;
/// Answers in a row with errors and without a record, after which the run is pointless.
const BARREN_MAX: u32 = 100;

pub struct Assigned {
    pub lane: usize,
    /// The next offset to read.
    pub position: i64,
    /// -1 until an answer named it.
    pub high_watermark: i64,
    /// Of the last answer that named this lane.
    pub error: i16,
    /// Nothing more is wanted of it.
    pub done: bool,
    /// Our position as the broker's session knows it, while the lane is in it.
    told: Option<i64>,
    /// Not asked for before this.
    not_before_ns: u64,
}

/// What an answer had of one lane.
pub struct Part {
    pub slot: usize,
    /// The first offset that was not read before.
    pub position: i64,
    pub records: Bytes,
}

pub struct Fetcher {
    control: Arc<Control>,
    connection: Connection,
    version: i16,
    /// Sorted by lane, so those of a topic stand together in the order of their partitions.
    pub assigned: Vec<Assigned>,
    topics_by_id: BTreeMap<TopicId, usize>,
    topics_by_name: BTreeMap<Bytes, usize>,
    /// Id and next epoch.
    session: Option<(i32, i32)>,
    /// Without a session the broker starts with the first that is named: this one.
    first_slot: usize,
    throttled_until_ns: u64,
    /// The whole answer was an error.
    not_before_ns: u64,
    barren: u32,
    pub offset_gaps: u64,
}

impl Fetcher {
    /// `starts`: lane and offset, sorted by lane; not empty.
    pub fn new(
        control: Arc<Control>,
        connection: Connection,
        starts: impl Iterator<Item = (usize, i64)>,
    ) -> Result<Fetcher, ClientError> {
        let assigned: Vec<Assigned> = starts
            .map(|(lane, position)| Assigned {
                lane,
                position,
                high_watermark: -1,
                error: 0,
                done: false,
                told: None,
                not_before_ns: 0,
            })
            .collect();
        let topics = &control.layout.topics;
        let version = connection.fetch_version(control.layout.topic_of(assigned[0].lane).id)?;
        let name = |n: &str| Bytes::copy_from_slice(n.as_bytes());
        Ok(Fetcher {
            topics_by_id: topics.iter().enumerate().map(|(i, t)| (t.id, i)).collect(),
            topics_by_name: topics.iter().enumerate().map(|(i, t)| (name(&t.name), i)).collect(),
            connection,
            version,
            assigned,
            session: None,
            first_slot: 0,
            throttled_until_ns: 0,
            not_before_ns: 0,
            barren: 0,
            offset_gaps: 0,
            control,
        })
    }

    /// Sends the next request. `None` when there is nothing to ask for yet.
    pub fn ask(&mut self) -> Option<Asked> {
        let now_ns = now().0;
        if now_ns < self.throttled_until_ns.max(self.not_before_ns) {
            return None;
        }
        let request = self.request(now_ns)?;
        Some(self.connection.start_fetch(self.version, &request))
    }

    pub fn is_throttled(&self, now_ns: u64) -> bool {
        now_ns < self.throttled_until_ns
    }

    /// The answer to `asked`; without one, waits until there may be something to ask for.
    pub async fn answer(&mut self, asked: Option<Asked>) -> Result<Vec<Part>, ClientError> {
        let w = &self.control.workload;
        let Some(asked) = asked else {
            let waiting = self.assigned.iter().filter(|a| !a.done).map(|a| a.not_before_ns);
            let until =
                waiting.min().unwrap_or(0).max(self.throttled_until_ns).max(self.not_before_ns);
            // In short steps, so that the end of the run is noticed.
            let wait = until.saturating_sub(now().0).clamp(1_000_000, 100_000_000);
            sleep(Duration::from_nanos(wait)).await;
            return Ok(Vec::new());
        };
        let body = asked.answer(w.fetch_wait + w.request_timeout).await?;
        let answer = self.connection.fetched(self.version, &body)?;
        self.take(answer, now().0)
    }

    fn request(&mut self, now_ns: u64) -> Option<FetchRequest> {
        let control = self.control.clone();
        let (w, layout) = (&control.workload, &control.layout);
        let wanted = |a: &Assigned| !a.done && a.not_before_ns <= now_ns;
        if !self.assigned.iter().any(wanted) {
            return None;
        }
        let (mut topics, mut forgotten) = (Vec::<FetchTopic>::new(), Vec::<ForgottenTopic>::new());
        let count = self.assigned.len();
        let incremental = self.session.is_some();
        for step in 0..count {
            let assigned = &mut self.assigned[(self.first_slot + step) % count];
            let (place, topic) = (&layout.places[assigned.lane], layout.topic_of(assigned.lane));
            let name = || Bytes::copy_from_slice(topic.name.as_bytes());
            if !wanted(assigned) {
                if assigned.told.take().is_some() && incremental {
                    if forgotten
                        .last()
                        .is_none_or(|t| t.topic_id != topic.id || t.name != topic.name)
                    {
                        let (name, topic_id) = (name(), topic.id);
                        forgotten.push(ForgottenTopic { name, topic_id, partitions: Vec::new() });
                    }
                    forgotten.last_mut()?.partitions.push(place.partition);
                }
                continue;
            }
            if incremental && assigned.told == Some(assigned.position) {
                continue;
            }
            assigned.told = Some(assigned.position);
            if topics.last().is_none_or(|t| t.topic_id != topic.id || t.name != topic.name) {
                let (name, topic_id) = (name(), topic.id);
                topics.push(FetchTopic { name, topic_id, partitions: Vec::new() });
            }
            topics.last_mut()?.partitions.push(FetchPartition {
                index: place.partition,
                current_leader_epoch: -1,
                fetch_offset: assigned.position,
                last_fetched_epoch: -1,
                log_start_offset: -1,
                max_bytes: w.fetch_partition_bytes,
            });
        }
        let (session_id, session_epoch) = match self.session {
            Some(session) => session,
            None if self.version >= FIRST_SESSIONS => (0, 0),
            None => (0, -1),
        };
        Some(FetchRequest {
            replica_id: -1,
            max_wait_ms: w.fetch_wait.as_millis() as i32,
            min_bytes: w.fetch_min_bytes,
            max_bytes: w.fetch_bytes,
            isolation_level: 0,
            session_id,
            session_epoch,
            topics,
            forgotten,
            rack_id: Bytes::new(),
        })
    }

    /// Moves the positions past what came.
    fn take(
        &mut self,
        answer: FetchResponse<Bytes>,
        now_ns: u64,
    ) -> Result<Vec<Part>, ClientError> {
        let throttled = Duration::from_millis(answer.throttle_time_ms.max(0) as u64);
        if !throttled.is_zero() {
            self.control.throttled("Fetch", now_ns, throttled);
            if self.version >= FETCH_WAITS_ITSELF {
                self.throttled_until_ns = now_ns + throttled.as_nanos() as u64;
            }
        }
        self.session = match (self.session, answer.error_code, answer.session_id) {
            (_, 0, 0) => None,
            (None, 0, id) => Some((id, 1)),
            // Epochs wrap to 1: 0 asks for a new session.
            (Some((_, epoch)), 0, id) => Some((id, epoch.checked_add(1).unwrap_or(1))),
            // The broker's cache of sessions is bounded: whoever lost his place asks for a new one.
            (
                _,
                FETCH_SESSION_ID_NOT_FOUND
                | INVALID_FETCH_SESSION_EPOCH
                | FETCH_SESSION_TOPIC_ID_ERROR,
                _,
            ) => None,
            (_, code, _) => {
                self.note_error(&format!("Fetch: {}", error_name(code)), now_ns);
                self.not_before_ns = now_ns + BACKOFF_NS;
                None
            }
        };
        let mut parts = Vec::new();
        for topic in &answer.topics {
            for partition in &topic.partitions {
                let slot = self.slot(topic, partition.index)?;
                self.assigned[slot].error = partition.error_code;
                if partition.error_code != 0 {
                    self.refused(slot, partition.error_code, now_ns);
                    continue;
                }
                self.assigned[slot].high_watermark = partition.high_watermark;
                for records in &partition.records {
                    let position = self.assigned[slot].position;
                    self.advance(slot, records)?;
                    parts.push(Part { slot, position, records: records.clone() });
                }
                if self.session.is_none() && !partition.records.is_empty() {
                    self.first_slot = (slot + 1) % self.assigned.len();
                }
            }
        }
        if !parts.is_empty() {
            self.barren = 0;
        }
        Ok(parts)
    }

    fn refused(&mut self, slot: usize, code: i16, now_ns: u64) {
        let assigned = &mut self.assigned[slot];
        assigned.not_before_ns = now_ns + BACKOFF_NS;
        let kind = format!("Fetch: {}", error_name(code));
        if let Some(why) = forbidden(code) {
            let topic = &self.control.layout.topic_of(assigned.lane).name;
            self.control.fail(now_ns, format!("topic {topic}: {kind}: {why}"));
        }
        self.note_error(&kind, now_ns);
    }

    /// Errors are counted; a broker that only answers with errors ends the run.
    fn note_error(&mut self, kind: &str, now_ns: u64) {
        self.control.error(now_ns, kind.to_string());
        self.barren += 1;
        let limit = BARREN_MAX.max(4 * self.assigned.len() as u32);
        if self.barren >= limit {
            let sentence = format!("{limit} fetches in a row gave only errors: {kind}");
            self.control.fail(now_ns, sentence);
        }
    }

    /// Where in `assigned` a partition of an answer is.
    fn slot(
        &self,
        answered: &FetchTopicResponse<Bytes>,
        partition: i32,
    ) -> Result<usize, ClientError> {
        let places = &self.control.layout.places;
        let topic = match answered.name.is_empty() {
            true => self.topics_by_id.get(&answered.topic_id),
            false => self.topics_by_name.get(&answered.name),
        };
        let place = |a: &Assigned| (places[a.lane].topic, places[a.lane].partition);
        topic
            .and_then(|&t| self.assigned.binary_search_by_key(&(t, partition), place).ok())
            .ok_or_else(|| {
                let topic = match answered.name.is_empty() {
                    true => answered.topic_id.to_string(),
                    false => String::from_utf8_lossy(&answered.name).into_owned(),
                };
                ClientError::Protocol(format!(
                    "Fetch: the answer has {topic}-{partition}, which was not asked for"
                ))
            })
    }

    /// Past the whole batches in `records`; the last one may be cut off.
    fn advance(&mut self, slot: usize, records: &[u8]) -> Result<(), ClientError> {
        let assigned = &mut self.assigned[slot];
        let mut rest = records;
        while !rest.is_empty() {
            let header = match BatchHeader::parse(rest) {
                Ok(h) if h.size_bytes() <= rest.len() => h,
                Ok(_) | Err(BatchError::Truncated { .. }) => break,
                Err(e) => {
                    return Err(malformed(&self.control, assigned.lane, assigned.position, e));
                }
            };
            rest = &rest[header.size_bytes()..];
            if header.last_offset() < assigned.position {
                continue;
            }
            self.offset_gaps += header.base_offset.saturating_sub(assigned.position).max(0) as u64;
            assigned.position = header.last_offset() + 1;
        }
        Ok(())
    }
}

pub fn malformed(control: &Control, lane: usize, offset: i64, e: BatchError) -> ClientError {
    let name = control.layout.partition_name(lane);
    ClientError::Protocol(format!("Fetch: {name} at offset {offset}: {e}"))
}
