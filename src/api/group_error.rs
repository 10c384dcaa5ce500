//! What a group's coordinator refuses, as Kafka's codes, and what the group APIs share: who asks, in the
//! coordinator's terms. The only place that maps `GroupError` and `CoordinatorError`.

use std::net::{IpAddr, SocketAddr};

use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use crate::coordinator::group::{Answer, Client, GroupError, Input, RequestId};
use crate::shard::{CoordinatorError, Router};
use crate::wire::error_code::*;

pub fn group_code(error: GroupError) -> i16 {
    match error {
        GroupError::CoordinatorNotAvailable => COORDINATOR_NOT_AVAILABLE,
        GroupError::NotCoordinator => NOT_COORDINATOR,
        GroupError::InvalidRequest => INVALID_REQUEST,
        GroupError::InvalidGroupId => INVALID_GROUP_ID,
        GroupError::GroupIdNotFound => GROUP_ID_NOT_FOUND,
        GroupError::NonEmptyGroup => NON_EMPTY_GROUP,
        GroupError::GroupMaxSizeReached => GROUP_MAX_SIZE_REACHED,
        GroupError::InvalidSessionTimeout => INVALID_SESSION_TIMEOUT,
        GroupError::InconsistentGroupProtocol => INCONSISTENT_GROUP_PROTOCOL,
        GroupError::MemberIdRequired => MEMBER_ID_REQUIRED,
        GroupError::UnknownMemberId => UNKNOWN_MEMBER_ID,
        GroupError::FencedInstanceId => FENCED_INSTANCE_ID,
        GroupError::UnreleasedInstanceId => UNRELEASED_INSTANCE_ID,
        GroupError::IllegalGeneration => ILLEGAL_GENERATION,
        GroupError::RebalanceInProgress => REBALANCE_IN_PROGRESS,
        GroupError::FencedMemberEpoch => FENCED_MEMBER_EPOCH,
        GroupError::StaleMemberEpoch => STALE_MEMBER_EPOCH,
        GroupError::UnsupportedAssignor => UNSUPPORTED_ASSIGNOR,
        GroupError::InvalidRegularExpression => INVALID_REGULAR_EXPRESSION,
        GroupError::UnsupportedVersion => UNSUPPORTED_VERSION,
        GroupError::UnknownTopicOrPartition => UNKNOWN_TOPIC_OR_PARTITION,
        GroupError::UnknownTopicId => UNKNOWN_TOPIC_ID,
        GroupError::OffsetMetadataTooLarge => OFFSET_METADATA_TOO_LARGE,
        GroupError::InvalidCommitOffsetSize => INVALID_COMMIT_OFFSET_SIZE,
        GroupError::UnstableOffsetCommit => UNSTABLE_OFFSET_COMMIT,
        GroupError::GroupSubscribedToTopic => GROUP_SUBSCRIBED_TO_TOPIC,
        GroupError::UnknownServerError => UNKNOWN_SERVER_ERROR,
    }
}

/// 0 for none.
pub fn optional_code(error: Option<GroupError>) -> i16 {
    error.map_or(NONE, group_code)
}

pub fn coordinator_code(error: CoordinatorError) -> i16 {
    match error {
        CoordinatorError::NotCoordinator => NOT_COORDINATOR,
        CoordinatorError::LoadInProgress => COORDINATOR_LOAD_IN_PROGRESS,
        CoordinatorError::NotAvailable => COORDINATOR_NOT_AVAILABLE,
    }
}

/// Who asks, as Kafka writes it in its records and descriptions.
pub fn client(cx: &RequestContext) -> Client {
    let id = cx.client_id.clone().and_then(|id| StrBytes::from_utf8(id).ok());
    Client { id: id.unwrap_or_default(), host: cx.peer.host.clone() }
}

/// Who is at the other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// As Kafka writes it: made once, every request of a group's member needs it.
    host: StrBytes,
}

impl Peer {
    pub fn new(address: SocketAddr) -> Peer {
        Peer { host: StrBytes::from_string(host(address.ip())) }
    }
}

/// As Java prints an address: no short form of IPv6.
fn host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("/{ip}"),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => format!("/{ip}"),
            None => {
                let parts: Vec<String> = ip.segments().iter().map(|s| format!("{s:x}")).collect();
                format!("/{}", parts.join(":"))
            }
        },
    }
}

/// Asks the coordinator of a group; Err is the code of who can't be asked.
pub async fn ask(
    cx: &RequestContext,
    router: &Router,
    group_id: &str,
    input: impl FnOnce(RequestId) -> Input + Send + 'static,
) -> Result<Answer, i16> {
    router.ask_group(cx.listener, group_id, input).await.map_err(coordinator_code)
}

/// As `ask`, where an empty group id makes no sense.
pub async fn ask_named(
    cx: &RequestContext,
    router: &Router,
    group_id: &str,
    input: impl FnOnce(RequestId) -> Input + Send + 'static,
) -> Result<Answer, i16> {
    if group_id.is_empty() {
        return Err(INVALID_GROUP_ID);
    }
    ask(cx, router, group_id, input).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_java_does() {
        let java = |ip: &str| host(ip.parse().unwrap());
        assert_eq!(java("127.0.0.1"), "/127.0.0.1");
        assert_eq!(java("::1"), "/0:0:0:0:0:0:0:1");
        assert_eq!(java("::ffff:10.0.0.1"), "/10.0.0.1");
        assert_eq!(java("2001:db8::a"), "/2001:db8:0:0:0:0:0:a");
    }
}
