//! Consumer groups from outside: list, describe, lag, committed offsets, delete. A group is either of the classic
//! protocol or of KIP-848's; who asks does not have to know. Every question goes to the group's coordinator.

mod commits;
mod describe;
pub mod explain;
mod lag;
pub mod reset;

use std::collections::BTreeMap;

use kafka_protocol::messages::{DeleteGroupsRequest, GroupId, ListGroupsRequest};
use serde::Serialize;

pub use commits::Committed;
pub use describe::{Group, Member};
pub use lag::{CatchUp, PartitionLag};

use super::{Result, Session, check, text};

#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    pub group: String,
    /// `consumer` for consumers; empty for groups that only keep offsets.
    pub protocol_type: String,
    /// Kafka's words: `Stable`, `Empty` … ; `null` from brokers before KIP-518.
    pub state: Option<String>,
    /// `classic`, `consumer` …; `null` from brokers before KIP-848.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub coordinator: i32,
}

fn id(group: &str) -> GroupId {
    GroupId(text(group))
}

impl Session {
    /// Of all brokers; `states` and `types` in Kafka's words, empty for all.
    pub async fn list_groups(&self, states: &[String], types: &[String]) -> Result<Vec<Listed>> {
        const KEY: i16 = 16;
        const BY_STATE: i16 = 4;
        const BY_TYPE: i16 = 5;
        let cluster = self.metadata(Some(&[])).await?;
        let mut groups = BTreeMap::new();
        for node in &cluster.brokers {
            let connection = self.node(node).await?;
            let version = connection.version(KEY, (0, BY_TYPE))?;
            let mut request = ListGroupsRequest::default();
            if version >= BY_STATE {
                request = request.with_states_filter(states.iter().map(|s| text(s)).collect());
            }
            if version >= BY_TYPE {
                request = request.with_types_filter(types.iter().map(|t| text(t)).collect());
            }
            let answer = connection.call(version, &request, self.limit).await?;
            check(|| format!("listing the groups of broker {}", node.id), answer.error_code, None)?;
            for g in answer.groups {
                let group = g.group_id.to_string();
                let listed = Listed {
                    group: group.clone(),
                    protocol_type: g.protocol_type.to_string(),
                    state: (version >= BY_STATE).then(|| g.group_state.to_string()),
                    kind: (version >= BY_TYPE).then(|| g.group_type.to_string()),
                    coordinator: node.id,
                };
                groups.insert(group, listed);
            }
        }
        Ok(groups.into_values().collect())
    }

    pub async fn delete_group(&self, group: &str) -> Result<()> {
        let (code, ()) = self
            .of_coordinator(group, async |connection| {
                let request = DeleteGroupsRequest::default().with_groups_names(vec![id(group)]);
                let (answer, _) = connection.call_latest(&request, self.limit).await?;
                Ok((answer.results.first().map_or(0, |r| r.error_code), ()))
            })
            .await?;
        check(|| format!("deleting group {group}"), code, None)
    }
}
