//! DeleteGroups (42), v0-v2 (KIP-229): groups without members go, with their offsets.

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse, GroupId};

use super::RequestContext;
use super::group_error::{ask, client, group_code};
use crate::coordinator::group::{Answer, Input};
use crate::shard::Router;
use crate::wire::error_code;

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut rows: Vec<DeletableGroupResult> = Vec::with_capacity(request.groups_names.len());
    let mut seen = std::collections::HashSet::new();
    for GroupId(group_id) in request.groups_names {
        if !seen.insert(group_id.clone()) {
            continue;
        }
        let (name, client) = (group_id.clone(), client(cx));
        let asked = ask(cx, router, &name, |from| Input::Delete { from, client, group_id }).await;
        let code = match asked {
            Ok(Answer::Delete(result)) => result.map_or_else(group_code, |()| error_code::NONE),
            Ok(other) => unreachable!("DeleteGroups was answered with {other:?}"),
            Err(code) => code,
        };
        let row = DeletableGroupResult::default().with_group_id(GroupId(name));
        rows.push(row.with_error_code(code));
    }
    DeleteGroupsResponse::default().with_results(rows)
}
