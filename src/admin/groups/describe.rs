//! State and members of one group: ConsumerGroupDescribe for groups of KIP-848, DescribeGroups for classic ones.

use std::collections::BTreeMap;

use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerProtocolAssignment, DescribeGroupsRequest,
};
use kafka_protocol::protocol::{Decodable, Request};
use serde::Serialize;

use super::super::offsets::Tp;
use super::super::{Result, Session, check};
use super::id;
use crate::client::Connection;

/// Of a group of the other protocol, and of one that does not exist.
pub(super) const GROUP_ID_NOT_FOUND: i16 = 69;
const UNSUPPORTED_VERSION: i16 = 35;

#[derive(Clone, Debug, Serialize)]
pub struct Group {
    pub group: String,
    /// `classic` or `consumer`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Kafka's words.
    pub state: String,
    /// The assignor that was chosen.
    pub assignor: String,
    /// Group epoch and assignment epoch, of KIP-848 groups.
    pub epochs: Option<(i32, i32)>,
    pub coordinator: String,
    pub members: Vec<Member>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Member {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub host: String,
    /// Of KIP-848 members.
    pub epoch: Option<i32>,
    pub assigned: Vec<Tp>,
    /// What it is being moved to, of KIP-848 members.
    pub target: Option<Vec<Tp>>,
    pub subscribed: Option<String>,
}

impl Group {
    /// Who has each partition.
    pub fn owners(&self) -> BTreeMap<&Tp, &Member> {
        self.members.iter().flat_map(|m| m.assigned.iter().map(move |tp| (tp, m))).collect()
    }
}

impl Session {
    pub async fn describe_group(&self, group: &str) -> Result<Group> {
        let (code, described) = self
            .of_coordinator(group, async |connection| {
                match consumer(self, connection, group).await? {
                    (GROUP_ID_NOT_FOUND | UNSUPPORTED_VERSION, _) => {
                        classic(self, connection, group).await
                    }
                    answer => Ok(answer),
                }
            })
            .await?;
        check(|| format!("describing group {group}"), code, None)?;
        Ok(described.expect("an answer without an error describes the group"))
    }
}

async fn consumer(
    session: &Session,
    connection: &Connection,
    group: &str,
) -> Result<(i16, Option<Group>)> {
    // A broker from before KIP-848 has classic groups only.
    let Ok(version) = connection.version(ConsumerGroupDescribeRequest::KEY, (0, 1)) else {
        return Ok((UNSUPPORTED_VERSION, None));
    };
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![id(group)]);
    let answer = connection.call(version, &request, session.limit).await?;
    let Some(g) = answer.groups.into_iter().next() else {
        return Ok((GROUP_ID_NOT_FOUND, None));
    };
    if g.error_code != 0 {
        return Ok((g.error_code, None));
    }
    let tps = |a: &kafka_protocol::messages::consumer_group_describe_response::Assignment| {
        let of =
            |t: &kafka_protocol::messages::consumer_group_describe_response::TopicPartitions| {
                let name = t.topic_name.to_string();
                t.partitions.iter().map(move |p| (name.clone(), *p)).collect::<Vec<Tp>>()
            };
        let mut tps: Vec<Tp> = a.topic_partitions.iter().flat_map(of).collect();
        tps.sort();
        tps
    };
    let members = g.members.iter().map(|m| {
        let names: Vec<&str> = m.subscribed_topic_names.iter().map(|n| n.0.as_str()).collect();
        let regex = m.subscribed_topic_regex.as_ref().map(|r| r.as_str()).filter(|r| !r.is_empty());
        let subscribed: Vec<&str> = names.into_iter().chain(regex).collect();
        Member {
            member_id: m.member_id.to_string(),
            instance_id: m.instance_id.as_ref().map(|i| i.to_string()),
            client_id: m.client_id.to_string(),
            host: m.client_host.to_string(),
            epoch: Some(m.member_epoch),
            assigned: tps(&m.assignment),
            target: Some(tps(&m.target_assignment)),
            subscribed: Some(subscribed.join(",")),
        }
    });
    let described = Group {
        group: group.to_string(),
        kind: "consumer",
        state: g.group_state.to_string(),
        assignor: g.assignor_name.to_string(),
        epochs: Some((g.group_epoch, g.assignment_epoch)),
        coordinator: connection.addr().to_string(),
        members: members.collect(),
    };
    Ok((0, Some(described)))
}

async fn classic(
    session: &Session,
    connection: &Connection,
    group: &str,
) -> Result<(i16, Option<Group>)> {
    let request = DescribeGroupsRequest::default().with_groups(vec![id(group)]);
    let (answer, _) = connection.call_latest(&request, session.limit).await?;
    let Some(g) = answer.groups.into_iter().next() else {
        return Ok((GROUP_ID_NOT_FOUND, None));
    };
    if g.error_code != 0 {
        return Ok((g.error_code, None));
    }
    // Before v6 (KIP-1043) a group that does not exist is described as dead.
    if g.group_state.as_str() == "Dead" && g.members.is_empty() {
        return Ok((GROUP_ID_NOT_FOUND, None));
    }
    let members = g.members.iter().map(|m| Member {
        member_id: m.member_id.to_string(),
        instance_id: m.group_instance_id.as_ref().map(|i| i.to_string()),
        client_id: m.client_id.to_string(),
        host: m.client_host.to_string(),
        epoch: None,
        assigned: match g.protocol_type.as_str() {
            "consumer" => assignment(&m.member_assignment),
            _ => Vec::new(),
        },
        target: None,
        subscribed: None,
    });
    let described = Group {
        group: group.to_string(),
        kind: "classic",
        state: g.group_state.to_string(),
        assignor: g.protocol_data.to_string(),
        epochs: None,
        coordinator: connection.addr().to_string(),
        members: members.collect(),
    };
    Ok((0, Some(described)))
}

/// What a member's leader gave it, in the consumers' own format; nothing when it is something else.
fn assignment(bytes: &bytes::Bytes) -> Vec<Tp> {
    let mut bytes = bytes.clone();
    if bytes.len() < 2 {
        return Vec::new();
    }
    let version = bytes::Buf::get_i16(&mut bytes).clamp(0, 3);
    let Ok(read) = ConsumerProtocolAssignment::decode(&mut bytes, version) else {
        return Vec::new();
    };
    let tps = |t: &kafka_protocol::messages::consumer_protocol_assignment::TopicPartition| {
        let name = t.topic.to_string();
        t.partitions.iter().map(move |p| (name.clone(), *p)).collect::<Vec<Tp>>()
    };
    let mut tps: Vec<Tp> = read.assigned_partitions.iter().flat_map(tps).collect();
    tps.sort();
    tps
}
