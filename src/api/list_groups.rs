//! ListGroups (16), v0-v5: the groups of the node that is asked: of one core in range mode, else of the broker.
//! v4 filters by state (KIP-518), v5 by type (KIP-848).

use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use super::group_error::coordinator_code;
use crate::coordinator::group::input::ListRequest;
use crate::coordinator::group::{Answer, Input};
use crate::shard::Router;

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let version = cx.api_version;
    let wanted = ListRequest { states: request.states_filter, types: request.types_filter };
    let input = move |from| Input::List { from, request: wanted.clone() };
    let answers = match router.ask_all_groups(cx.listener, input).await {
        Ok(answers) => answers,
        Err(error) => {
            return ListGroupsResponse::default().with_error_code(coordinator_code(error));
        }
    };
    let mut rows = Vec::new();
    for answer in answers {
        let Answer::List(groups) = answer else {
            unreachable!("ListGroups was answered with {answer:?}");
        };
        rows.extend(groups.into_iter().map(|g| {
            let state = if version >= 4 { g.state } else { "" };
            let group_type = if version >= 5 { g.group_type } else { "" };
            ListedGroup::default()
                .with_group_id(GroupId(g.group_id))
                .with_protocol_type(g.protocol_type)
                .with_group_state(StrBytes::from_static_str(state))
                .with_group_type(StrBytes::from_static_str(group_type))
        }));
    }
    ListGroupsResponse::default().with_groups(rows)
}
