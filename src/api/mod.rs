//! One file an API, in Kafka's names: what a request means, in terms of `shard::Router`.
//! This module matches on the key; `advertised` declares versions and gaps. Only `api` and `wire` name
//! Kafka's error codes. Never touches `log` or `runtime`.

mod advertised;
mod alter_client_quotas;
mod alter_configs;
mod api_versions;
mod authorized_operations;
mod config_resource;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod describe_user_scram_credentials;
mod elect_leaders;
mod error_map;
mod fan_out;
mod fetch;
mod find_coordinator;
mod group_error;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod partition_reassignments;
mod produce;
mod sync_group;
mod topic_name;
mod transactions;
mod unregister_broker;
mod update_features;

use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, Encodable};

pub use advertised::ADVERTISED;
pub use group_error::Peer;
pub use produce::{Finished, PendingProduce};

use crate::shard::{Chunk, Lent, Router};
use crate::wire::fetch::Piece;
use crate::wire::{committed_offsets, describe_log_dirs as log_dirs_wire, frame};

/// Who asks, and how.
#[derive(Clone, Debug)]
pub struct RequestContext {
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<Bytes>,
    /// Index of the listener the connection came in on.
    pub listener: usize,
    pub peer: Rc<Peer>,
}

/// A whole response frame, in one piece or several.
pub enum Reply {
    Frame(Bytes),
    /// With the memory that the pieces are in.
    Pieces(Vec<Piece<Chunk>>, Option<Lent>),
}

pub enum Started {
    /// Appended (or refused); the acknowledgement comes later.
    Produce(PendingProduce),
    /// To be handled when everything before it has been answered.
    Other(Request),
}

pub struct Request {
    cx: RequestContext,
    frame: frame::Request,
}

impl Request {
    /// Its answer comes when others have done their part, which may take minutes.
    pub fn waits_for_other_clients(&self) -> bool {
        [ApiKey::JoinGroup as i16, ApiKey::SyncGroup as i16].contains(&self.cx.api_key)
    }
}

/// Reads the header and starts what must start in request order. `Err` closes the connection, as
/// Kafka does with what it can't parse.
pub fn start(
    router: &Router,
    listener: usize,
    peer: &Rc<Peer>,
    frame: Bytes,
) -> Result<Started, String> {
    let request = frame::decode_request(frame).map_err(|e| e.to_string())?;
    let cx = RequestContext {
        api_key: request.api_key,
        api_version: request.api_version,
        correlation_id: request.correlation_id,
        client_id: request.client_id.clone(),
        listener,
        peer: peer.clone(),
    };
    let known = advertised::served(cx.api_key, cx.api_version);
    if !known && cx.api_key != ApiKey::ApiVersions as i16 {
        return Err(format!(
            "version {} of API {} is not supported",
            cx.api_version,
            api_name(cx.api_key)
        ));
    }
    if cx.api_key == ApiKey::Produce as i16 {
        return produce::start(&cx, router, &request.body).map(Started::Produce);
    }
    Ok(Started::Other(Request { cx, frame: request }))
}

fn api_name(key: i16) -> String {
    ApiKey::try_from(key).map_or_else(|_| format!("key {key}"), |k| format!("{k:?}"))
}

/// Decodes with the crate's types, runs the handler, encodes.
macro_rules! serve {
    ($cx:expr, $frame:expr, $request:ident, $handler:expr) => {{
        let request: kafka_protocol::messages::$request = decode($cx, $frame)?;
        // Pinned where it is made: an await of the future itself would move it.
        encode($cx, &pin!($handler(request)).await)
    }};
}

/// Answers one request. `Err` closes the connection.
pub async fn handle(router: &Router, request: Request) -> Result<Reply, String> {
    let Request { cx, frame } = &request;
    if cx.api_key == ApiKey::ApiVersions as i16 && !advertised::served(cx.api_key, cx.api_version) {
        // KIP-511: answered in version 0, so that any client can read it.
        let v0 = RequestContext { api_version: 0, ..cx.clone() };
        return encode(&v0, &api_versions::unsupported_version_response());
    }
    let key = ApiKey::try_from(cx.api_key).map_err(|_| format!("unknown API {}", cx.api_key))?;
    match key {
        ApiKey::Fetch => pin!(fetch::handle(cx, router, &frame.body)).await,
        ApiKey::Heartbeat => {
            serve!(cx, frame, HeartbeatRequest, |r| heartbeat::handle(cx, router, r))
        }
        // Each connection has room for the largest of these in its task: not for the rare ones.
        _ => Box::pin(handle_rare(cx, router, frame, key)).await,
    }
}

async fn handle_rare(
    cx: &RequestContext,
    router: &Router,
    frame: &frame::Request,
    key: ApiKey,
) -> Result<Reply, String> {
    match key {
        ApiKey::ApiVersions => {
            serve!(cx, frame, ApiVersionsRequest, async |r| { api_versions::handle(cx, router, r) })
        }
        ApiKey::Metadata => {
            serve!(cx, frame, MetadataRequest, |r| metadata::handle(cx, router, r))
        }
        ApiKey::DescribeTopicPartitions => {
            serve!(cx, frame, DescribeTopicPartitionsRequest, async |r| {
                describe_topic_partitions::handle(cx, router, r)
            })
        }
        ApiKey::DescribeCluster => serve!(cx, frame, DescribeClusterRequest, async |r| {
            describe_cluster::handle(cx, router, r)
        }),
        ApiKey::CreateTopics => {
            serve!(cx, frame, CreateTopicsRequest, |r| create_topics::handle(cx, router, r))
        }
        ApiKey::DeleteTopics => {
            serve!(cx, frame, DeleteTopicsRequest, |r| delete_topics::handle(cx, router, r))
        }
        ApiKey::CreatePartitions => {
            serve!(cx, frame, CreatePartitionsRequest, |r| create_partitions::handle(cx, router, r))
        }
        ApiKey::FindCoordinator => {
            serve!(cx, frame, FindCoordinatorRequest, |r| find_coordinator::handle(cx, router, r))
        }
        ApiKey::JoinGroup => {
            serve!(cx, frame, JoinGroupRequest, |r| join_group::handle(cx, router, r))
        }
        ApiKey::SyncGroup => {
            serve!(cx, frame, SyncGroupRequest, |r| sync_group::handle(cx, router, r))
        }
        ApiKey::LeaveGroup => {
            serve!(cx, frame, LeaveGroupRequest, |r| leave_group::handle(cx, router, r))
        }
        ApiKey::OffsetCommit => {
            let request = match cx.api_version {
                committed_offsets::VERSION_BY_ID => {
                    committed_offsets::decode_commit(&frame.body)
                        .map_err(|e| format!("malformed OffsetCommit request: {e}"))?
                }
                _ => decode(cx, frame)?,
            };
            encode(cx, &offset_commit::handle(cx, router, request).await)
        }
        ApiKey::OffsetFetch => {
            let request = match cx.api_version {
                committed_offsets::VERSION_BY_ID => committed_offsets::decode_fetch(&frame.body)
                    .map_err(|e| format!("malformed OffsetFetch request: {e}"))?,
                _ => decode(cx, frame)?,
            };
            encode(cx, &offset_fetch::handle(cx, router, request).await)
        }
        ApiKey::OffsetDelete => {
            serve!(cx, frame, OffsetDeleteRequest, |r| offset_delete::handle(cx, router, r))
        }
        ApiKey::DescribeGroups => {
            serve!(cx, frame, DescribeGroupsRequest, |r| describe_groups::handle(cx, router, r))
        }
        ApiKey::ListGroups => {
            serve!(cx, frame, ListGroupsRequest, |r| list_groups::handle(cx, router, r))
        }
        ApiKey::DeleteGroups => {
            serve!(cx, frame, DeleteGroupsRequest, |r| delete_groups::handle(cx, router, r))
        }
        ApiKey::ConsumerGroupHeartbeat => {
            serve!(cx, frame, ConsumerGroupHeartbeatRequest, |r| {
                consumer_group_heartbeat::handle(cx, router, r)
            })
        }
        ApiKey::ConsumerGroupDescribe => serve!(cx, frame, ConsumerGroupDescribeRequest, |r| {
            consumer_group_describe::handle(cx, router, r)
        }),
        ApiKey::ListOffsets => {
            serve!(cx, frame, ListOffsetsRequest, |r| { list_offsets::handle(cx, router, r) })
        }
        ApiKey::OffsetForLeaderEpoch => serve!(cx, frame, OffsetForLeaderEpochRequest, |r| {
            offset_for_leader_epoch::handle(cx, router, r)
        }),
        ApiKey::InitProducerId => {
            serve!(cx, frame, InitProducerIdRequest, |r| init_producer_id::handle(cx, router, r))
        }
        ApiKey::DescribeConfigs => serve!(cx, frame, DescribeConfigsRequest, async |r| {
            describe_configs::handle(cx, router, r)
        }),
        ApiKey::IncrementalAlterConfigs => serve!(cx, frame, IncrementalAlterConfigsRequest, |r| {
            incremental_alter_configs::handle(cx, router, r)
        }),
        ApiKey::AlterConfigs => {
            serve!(cx, frame, AlterConfigsRequest, |r| alter_configs::handle(cx, router, r))
        }
        ApiKey::DeleteRecords => {
            serve!(cx, frame, DeleteRecordsRequest, |r| delete_records::handle(cx, router, r))
        }
        ApiKey::DescribeLogDirs => {
            let body = describe_log_dirs::handle(cx, router, decode(cx, frame)?).await;
            log_dirs_wire::encode_response(cx.api_version, cx.correlation_id, &body.into())
                .map(Reply::Frame)
        }
        ApiKey::DescribeProducers => serve!(cx, frame, DescribeProducersRequest, |r| {
            describe_producers::handle(cx, router, r)
        }),
        ApiKey::ElectLeaders => {
            serve!(cx, frame, ElectLeadersRequest, async |r| elect_leaders::handle(cx, router, r))
        }
        ApiKey::AlterPartitionReassignments => {
            serve!(cx, frame, AlterPartitionReassignmentsRequest, async |r| {
                partition_reassignments::alter(cx, router, r)
            })
        }
        ApiKey::ListPartitionReassignments => {
            serve!(cx, frame, ListPartitionReassignmentsRequest, async |r| {
                partition_reassignments::list(r)
            })
        }
        ApiKey::ListConfigResources => serve!(cx, frame, ListConfigResourcesRequest, async |r| {
            list_config_resources::handle(cx, router, r)
        }),
        ApiKey::DescribeClientQuotas => serve!(cx, frame, DescribeClientQuotasRequest, async |r| {
            describe_client_quotas::handle(router, &r)
        }),
        ApiKey::AlterClientQuotas => serve!(cx, frame, AlterClientQuotasRequest, |r| {
            alter_client_quotas::handle(router, r)
        }),
        ApiKey::DescribeUserScramCredentials => {
            serve!(cx, frame, DescribeUserScramCredentialsRequest, async |r| {
                describe_user_scram_credentials::handle(r)
            })
        }
        ApiKey::DescribeQuorum => {
            serve!(cx, frame, DescribeQuorumRequest, |r| describe_quorum::handle(cx, router, r))
        }
        ApiKey::UpdateFeatures => serve!(cx, frame, UpdateFeaturesRequest, async |r| {
            update_features::handle(cx, router, r)
        }),
        ApiKey::UnregisterBroker => serve!(cx, frame, UnregisterBrokerRequest, async |r| {
            unregister_broker::handle(cx, router, &r)
        }),
        ApiKey::DescribeTransactions => {
            serve!(cx, frame, DescribeTransactionsRequest, async |r| transactions::describe(r))
        }
        ApiKey::ListTransactions => {
            serve!(cx, frame, ListTransactionsRequest, async |r| transactions::list(r))
        }
        other => Err(format!("API {other:?} is not supported")),
    }
}

fn decode<M: Decodable>(cx: &RequestContext, request: &frame::Request) -> Result<M, String> {
    frame::decode_body(request)
        .map_err(|e| format!("malformed {} v{} request: {e}", api_name(cx.api_key), cx.api_version))
}

fn encode<M: Encodable>(cx: &RequestContext, body: &M) -> Result<Reply, String> {
    frame::encode_response(cx.api_key, cx.api_version, cx.correlation_id, body).map(Reply::Frame)
}
