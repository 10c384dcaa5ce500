//! Fetch, v4-v18: sessions (KIP-227), long poll, byte bounds with the first batch always returned,
//! topic ids (v13), leader epochs and divergence (v12). isolation_level changes nothing while there
//! are no transactions: the last stable offset is the high watermark. v15+ replica state is read and
//! ignored: there are no followers yet.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::error_map::partition_code;
use super::{Reply, RequestContext};
use crate::partition::{FetchSpec, FetchedPartition, PartitionError};
use crate::shard::fetch_sessions::{SessionError, SessionPartition};
use crate::shard::{Chunk, FetchOutcome, Lent, Router};
use crate::types::{TopicId, TopicPartition};
use crate::wire::error_code;
use crate::wire::fetch::{
    FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopicResponse, decode_request,
    encode_response,
};

/// session_epoch that ends a session, or asks for none.
const FINAL_EPOCH: i32 = -1;
const INITIAL_EPOCH: i32 = 0;

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    body: &bytes::Bytes,
) -> Result<Reply, String> {
    let request = decode_request(cx.api_version, body).map_err(|e| e.to_string())?;
    let by_id = cx.api_version >= 13;
    let (session, wanted) = match open_session(router, &request, by_id) {
        Ok(opened) => opened,
        Err(code) => return Ok(reply(cx, empty_response(code, 0), None)),
    };
    let outcome = fetch(router, &request, &wanted, by_id).await;
    let response = respond(router, session, wanted, outcome.partitions, by_id);
    Ok(reply(cx, response, Some(outcome.lent)))
}

fn reply(cx: &RequestContext, response: FetchResponse<Chunk>, lent: Option<Lent>) -> Reply {
    Reply::Pieces(encode_response(cx.api_version, cx.correlation_id, response), lent)
}

fn empty_response(error_code: i16, session_id: i32) -> FetchResponse<Chunk> {
    FetchResponse {
        throttle_time_ms: 0,
        error_code,
        session_id,
        topics: Vec::new(),
        node_endpoints: Vec::new(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionUse {
    None,
    /// All partitions are answered.
    New(i32),
    /// Only what changed is answered.
    Incremental(i32),
}

/// What to fetch, and within which session.
fn open_session(
    router: &Router,
    request: &FetchRequest,
    by_id: bool,
) -> Result<(SessionUse, Vec<SessionPartition>), i16> {
    let mut sessions = router.fetch_sessions();
    let now_ms = router.now_ms();
    let asked = asked_partitions(router, request, by_id)?;
    match request.session_epoch {
        FINAL_EPOCH | INITIAL_EPOCH => {
            sessions.close(request.session_id);
            if request.session_epoch == FINAL_EPOCH {
                return Ok((SessionUse::None, asked));
            }
            let slots = router.config().fetch_session_cache_slots;
            let opened = sessions.open(asked.clone(), by_id, now_ms, slots, || router.random_u64());
            Ok((opened.map_or(SessionUse::None, SessionUse::New), asked))
        }
        epoch => {
            let id = request.session_id;
            let session = sessions.resume(id, epoch, by_id, now_ms).map_err(|e| match e {
                SessionError::NotFound => error_code::FETCH_SESSION_ID_NOT_FOUND,
                SessionError::WrongEpoch => error_code::INVALID_FETCH_SESSION_EPOCH,
                SessionError::TopicIds => error_code::FETCH_SESSION_TOPIC_ID_ERROR,
            })?;
            for topic in &request.forgotten {
                let name = std::str::from_utf8(&topic.name).unwrap_or_default();
                for partition in &topic.partitions {
                    session.forget(name, &topic.topic_id, *partition);
                }
            }
            for partition in asked {
                session.upsert(partition);
            }
            Ok((SessionUse::Incremental(id), session.partitions.clone()))
        }
    }
}

fn asked_partitions(
    router: &Router,
    request: &FetchRequest,
    by_id: bool,
) -> Result<Vec<SessionPartition>, i16> {
    let mut asked = Vec::new();
    for topic in &request.topics {
        let name: Arc<str> = if by_id {
            router.topic_name(&topic.topic_id).unwrap_or_else(|| Arc::from(""))
        } else {
            Arc::from(std::str::from_utf8(&topic.name).map_err(|_| error_code::INVALID_REQUEST)?)
        };
        for p in &topic.partitions {
            asked.push(SessionPartition {
                topic: name.clone(),
                topic_id: topic.topic_id,
                partition: p.index,
                fetch_offset: p.fetch_offset,
                max_bytes: p.max_bytes,
                current_leader_epoch: p.current_leader_epoch,
                last_fetched_epoch: p.last_fetched_epoch,
                sent_high_watermark: -1,
                sent_log_start_offset: -1,
            });
        }
    }
    Ok(asked)
}

async fn fetch(
    router: &Router,
    request: &FetchRequest,
    wanted: &[SessionPartition],
    by_id: bool,
) -> FetchOutcome {
    let specs: Vec<FetchSpec> = wanted
        .iter()
        .map(|p| FetchSpec {
            // An id whose topic is gone, or came back under a new id, finds nothing.
            topic_partition: TopicPartition {
                topic: match by_id {
                    true => router.topic_name(&p.topic_id).unwrap_or_else(|| Arc::from("")),
                    false => p.topic.clone(),
                },
                partition: p.partition,
            },
            offset: p.fetch_offset,
            max_bytes: p.max_bytes.max(0) as usize,
            current_leader_epoch: p.current_leader_epoch,
            last_fetched_epoch: p.last_fetched_epoch,
            only_sent: true,
        })
        .collect();
    let max_bytes = request.max_bytes.min(router.config().fetch_max_bytes).max(0) as usize;
    let max_wait = Duration::from_millis(request.max_wait_ms.max(0) as u64);
    let min_bytes = request.min_bytes.max(0) as usize;
    router.fetch(Rc::new(specs), max_wait, min_bytes, max_bytes).await
}

fn respond(
    router: &Router,
    session: SessionUse,
    wanted: Vec<SessionPartition>,
    fetched: Vec<FetchedPartition>,
    by_id: bool,
) -> FetchResponse<Chunk> {
    let mut sessions = router.fetch_sessions();
    let session_id = match session {
        SessionUse::None => 0,
        SessionUse::New(id) | SessionUse::Incremental(id) => id,
    };
    let mut kept = sessions.get_mut(session_id);
    let mut response = empty_response(0, session_id);
    let mut with_data = vec![false; wanted.len()];
    for (i, (p, f)) in wanted.into_iter().zip(fetched).enumerate() {
        let has_data = f.records.bytes > 0;
        let changed = has_data
            || f.error.is_some()
            || f.diverging_epoch.is_some()
            || f.high_watermark != p.sent_high_watermark
            || f.log_start_offset != p.sent_log_start_offset;
        if matches!(session, SessionUse::Incremental(_)) && !changed {
            continue;
        }
        // The session's rows are in the order they were read in: only this connection moves them.
        if let Some(known) = kept.as_deref_mut().and_then(|s| s.partitions.get_mut(i)) {
            // An error is told again until it is over.
            known.sent_high_watermark = if f.error.is_some() { -1 } else { f.high_watermark };
            known.sent_log_start_offset = f.log_start_offset;
            with_data[i] = has_data;
        }
        let id_gone = by_id && router.topic_name(&p.topic_id).is_none();
        push(&mut response, &p.topic, &p.topic_id, partition_response(p.partition, f, id_gone));
    }
    // Partitions that just got data go last, so that the others have their turn.
    if let Some(s) = kept
        && s.partitions.len() == with_data.len()
        && with_data.contains(&true)
    {
        let mut served = with_data.into_iter();
        let (last, mut first): (Vec<_>, Vec<_>) =
            s.partitions.drain(..).partition(|_| served.next().unwrap_or(false));
        first.extend(last);
        s.partitions = first;
    }
    response
}

fn push(
    response: &mut FetchResponse<Chunk>,
    name: &Arc<str>,
    topic_id: &TopicId,
    row: FetchPartitionResponse<Chunk>,
) {
    match response.topics.last_mut() {
        Some(t) if t.topic_id == *topic_id && t.name[..] == *name.as_bytes() => {
            t.partitions.push(row);
        }
        _ => response.topics.push(FetchTopicResponse {
            name: bytes::Bytes::copy_from_slice(name.as_bytes()),
            topic_id: *topic_id,
            partitions: vec![row],
        }),
    }
}

fn partition_response(
    index: i32,
    f: FetchedPartition,
    id_gone: bool,
) -> FetchPartitionResponse<Chunk> {
    let error_code = match &f.error {
        None => 0,
        Some(PartitionError::Unknown) if id_gone => error_code::UNKNOWN_TOPIC_ID,
        Some(e) => partition_code(e),
    };
    FetchPartitionResponse {
        index,
        error_code,
        high_watermark: f.high_watermark,
        last_stable_offset: f.last_stable_offset,
        log_start_offset: f.log_start_offset,
        aborted_transactions: None,
        diverging_epoch: f.diverging_epoch,
        current_leader: None,
        preferred_read_replica: -1,
        records: f.records.chunks,
    }
}
