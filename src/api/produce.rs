//! Produce, v3-v13 (0-2 are advertised and refused, as Kafka does: KAFKA-18659). Appends start at
//! once, in request order; the response waits for what acks promises. v10+ KIP-951 leader hints are
//! not needed: a request at the wrong core is forwarded. Transactions are not here yet.

use super::error_map::partition_code;
use super::{Reply, RequestContext, topic_name};
use crate::partition::{Appended, PartitionError};
use crate::shard::{Deadline, ProduceTicket, Router};
use crate::types::Compression;
use crate::wire::error_code;
use crate::wire::produce::{
    ProducePartition, ProducePartitionResponse, ProduceResponse, ProduceTopicResponse,
    decode_request, encode_response,
};
use crate::wire::record_batch::BatchHeader;

/// Only the broker writes to its own topics; and, as in Kafka, a client of this name.
const ADMIN_CLIENT: &str = "__admin_client";
const INTERNAL_TOPIC: &str = "The request attempted to append to an internal topic.";

/// A produce request whose appends have started.
pub struct PendingProduce {
    acks: i16,
    /// Of the request: what the connection's bound counts.
    pub bytes: usize,
    version: i16,
    correlation_id: i32,
    deadline: Deadline,
    topics: Vec<PendingTopic>,
}

/// What the connection does when a produce request is done.
pub enum Finished {
    Reply(Reply),
    /// acks=0.
    Silent,
    /// acks=0 and refused: Kafka closes the connection, the only sign such a client can get.
    Close,
}

struct PendingTopic {
    name: bytes::Bytes,
    topic_id: crate::types::TopicId,
    partitions: Vec<(i32, PendingPartition)>,
}

enum PendingPartition {
    Started(ProduceTicket),
    Refused(i16, String),
}

pub fn start(
    cx: &RequestContext,
    router: &Router,
    body: &bytes::Bytes,
) -> Result<PendingProduce, String> {
    let request = decode_request(cx.api_version, body).map_err(|e| e.to_string())?;
    let by_id = cx.api_version >= 13;
    let valid_acks = (-1..=1).contains(&request.acks);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let name = std::str::from_utf8(&topic.name).map_err(|_| "topic name is not UTF-8")?;
        let named = if by_id { router.topic_name(&topic.topic_id) } else { None };
        let known = !by_id || named.is_some();
        let internal = topic_name::is_internal(named.as_deref().unwrap_or(name))
            && cx.client_id.as_deref() != Some(ADMIN_CLIENT.as_bytes());
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = partition.index;
            let pending = if !valid_acks {
                refuse(error_code::INVALID_REQUIRED_ACKS, "acks must be -1, 0 or 1")
            } else if !known {
                refuse(error_code::UNKNOWN_TOPIC_ID, "This server does not host this topic ID.")
            } else if internal {
                refuse(error_code::INVALID_TOPIC_EXCEPTION, INTERNAL_TOPIC)
            } else {
                match checked(cx.api_version, &partition) {
                    Err(refused) => refused,
                    Ok(records) => PendingPartition::Started(router.begin_produce(
                        name,
                        &topic.topic_id,
                        index,
                        records,
                        request.acks,
                    )),
                }
            };
            partitions.push((index, pending));
        }
        topics.push(PendingTopic {
            // A slice would hold the whole frame until the answer, and the connection would read the
            // next one into fresh memory.
            name: bytes::Bytes::copy_from_slice(&topic.name),
            topic_id: topic.topic_id,
            partitions,
        });
    }
    Ok(PendingProduce {
        acks: request.acks,
        bytes: body.len(),
        version: cx.api_version,
        correlation_id: cx.correlation_id,
        deadline: router.deadline_in_ms(request.timeout_ms),
        topics,
    })
}

fn refuse(code: i16, why: &str) -> PendingPartition {
    PendingPartition::Refused(code, why.to_string())
}

/// What depends on the request's version rather than on the partition.
fn checked(version: i16, partition: &ProducePartition) -> Result<bytes::Bytes, PendingPartition> {
    let records = match &partition.records {
        Some(records) if !records.is_empty() => records.clone(),
        _ => {
            let why = "Produce requests must have at least one record batch per partition";
            return Err(refuse(error_code::INVALID_RECORD, why));
        }
    };
    // zstd came with v7 (KIP-110): an older client could not read it back.
    let zstd =
        || BatchHeader::parse(&records).is_ok_and(|h| h.compression() == Some(Compression::Zstd));
    if version < 7 && zstd() {
        let why = "Produce requests with version below 7 can't use ZStandard compression";
        return Err(refuse(error_code::UNSUPPORTED_COMPRESSION_TYPE, why));
    }
    Ok(records)
}

impl PendingProduce {
    /// All of it is appended here or refused: nothing holds the request's bytes any more.
    pub fn is_appended(&self) -> bool {
        self.topics.iter().flat_map(|t| &t.partitions).all(|(_, p)| match p {
            PendingPartition::Refused(..) => true,
            PendingPartition::Started(ticket) => ticket.is_appended(),
        })
    }

    /// Something was refused at once.
    fn has_refusal(&self) -> bool {
        self.topics.iter().flat_map(|t| &t.partitions).any(|(_, p)| {
            matches!(
                p,
                PendingPartition::Refused(..)
                    | PendingPartition::Started(ProduceTicket::Refused(_))
                    | PendingPartition::Started(ProduceTicket::Here {
                        ticket: crate::partition::Ticket::Done(Err(_)),
                        ..
                    })
            )
        })
    }

    /// Waits for every partition. With acks=0 nothing is answered, but it is waited for the writes:
    /// else a client could fill the memory faster than the disk takes it.
    pub async fn finish(self) -> Finished {
        if self.acks == 0 {
            let refused = self.has_refusal();
            for (_, pending) in self.topics.into_iter().flat_map(|t| t.partitions) {
                if let PendingPartition::Started(ticket) = pending {
                    let _ = ticket.written().await;
                }
            }
            return if refused { Finished::Close } else { Finished::Silent };
        }
        let mut response = ProduceResponse::default();
        for topic in self.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for (index, pending) in topic.partitions {
                partitions.push(match pending {
                    PendingPartition::Refused(code, why) => failed(index, code, why, Vec::new()),
                    PendingPartition::Started(ticket) => {
                        answer(index, ticket.committed(self.deadline).await)
                    }
                });
            }
            response.topics.push(ProduceTopicResponse {
                name: topic.name,
                topic_id: topic.topic_id,
                partitions,
            });
        }
        Finished::Reply(Reply::Frame(encode_response(self.version, self.correlation_id, &response)))
    }
}

fn answer(index: i32, result: Result<Appended, PartitionError>) -> ProducePartitionResponse {
    match result {
        Ok(appended) => ProducePartitionResponse {
            index,
            error_code: 0,
            base_offset: appended.base_offset,
            log_append_time_ms: appended.log_append_time_ms,
            log_start_offset: appended.log_start_offset,
            record_errors: Vec::new(),
            error_message: None,
            current_leader: None,
        },
        Err(e) => {
            let (code, why) = (partition_code(&e), e.to_string());
            let records = match e {
                PartitionError::RecordsRejected { records, .. } => records,
                _ => Vec::new(),
            };
            failed(index, code, why, records)
        }
    }
}

fn failed(
    index: i32,
    error_code: i16,
    why: String,
    records: Vec<(i32, String)>,
) -> ProducePartitionResponse {
    ProducePartitionResponse {
        index,
        error_code,
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: -1,
        record_errors: records.into_iter().map(|(i, why)| (i, Some(why))).collect(),
        error_message: Some(why),
        current_leader: None,
    }
}
