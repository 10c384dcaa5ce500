//! Members of the classic protocol: join (with the handshake of KIP-394), sync, heartbeat, leave; and a rebalance of many
//! of them at once, each on a connection of its own, because a JoinGroup keeps its connection until everybody has
//! joined. Eager, as Kafka's `range`: from its JoinGroup to its SyncGroup's answer a member consumes nothing.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::future::{join, try_join_all};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    OffsetCommitRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::Request;

use super::commit;
use super::wire::{Cluster, Template, check, said, text};
use crate::client::Connection;
use crate::runtime::{Instant, now, sleep};

const REBALANCE_IN_PROGRESS: i16 = 27;
const MEMBER_ID_REQUIRED: i16 = 79;
/// A measurement must not lose members that it does not heartbeat for a while: Kafka's longest is half an hour.
const SESSION_TIMEOUT_MS: i32 = 300_000;
/// Between two heartbeats of one who waits to be told of the rebalance.
const ASK_AGAIN: Duration = Duration::from_millis(5);

pub struct ClassicMember {
    connection: Connection,
    group: GroupId,
    topic: String,
    pub id: String,
    generation: i32,
    /// Of the last rebalance: JoinGroup sent, it was answered, SyncGroup was answered.
    pub times: Option<[Instant; 3]>,
}

impl ClassicMember {
    pub fn new(connection: Connection, group: &str, topic: &str) -> ClassicMember {
        ClassicMember {
            connection,
            group: GroupId(text(group)),
            topic: topic.to_string(),
            id: String::new(),
            generation: -1,
            times: None,
        }
    }

    /// From the broker, when it gives ids before a join (since v4 it does).
    pub async fn get_id(&mut self, cluster: &Cluster) -> Result<(), String> {
        let answer = self.ask_to_join(cluster).await?;
        match answer.error_code {
            MEMBER_ID_REQUIRED => self.id = answer.member_id.to_string(),
            code => check("JoinGroup without a member id", code)?,
        }
        Ok(())
    }

    async fn ask_to_join(&self, cluster: &Cluster) -> Result<JoinGroupResponse, String> {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(subscription(&self.topic));
        let request = JoinGroupRequest::default()
            .with_group_id(self.group.clone())
            .with_session_timeout_ms(SESSION_TIMEOUT_MS)
            .with_rebalance_timeout_ms(SESSION_TIMEOUT_MS)
            .with_member_id(text(&self.id))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        let version = self.connection.version(JoinGroupRequest::KEY, (5, 9)).map_err(said)?;
        self.connection.call(version, &request, cluster.limit).await.map_err(said)
    }

    /// A whole rebalance as this member sees it. `partitions`: what the leader shares out.
    pub async fn join(&mut self, cluster: &Cluster, partitions: i32) -> Result<(), String> {
        let sent = now();
        loop {
            let answer = self.ask_to_join(cluster).await?;
            match answer.error_code {
                MEMBER_ID_REQUIRED => {
                    self.id = answer.member_id.to_string();
                    continue;
                }
                REBALANCE_IN_PROGRESS => continue,
                code => check("JoinGroup", code)?,
            }
            let joined = now();
            self.id = answer.member_id.to_string();
            self.generation = answer.generation_id;
            let mut request = SyncGroupRequest::default()
                .with_group_id(self.group.clone())
                .with_generation_id(self.generation)
                .with_member_id(text(&self.id))
                .with_protocol_type(Some(text("consumer")))
                .with_protocol_name(Some(text("range")));
            if answer.leader == answer.member_id {
                request = request.with_assignments(self.share_out(&answer, partitions));
            }
            let version = self.connection.version(SyncGroupRequest::KEY, (3, 5)).map_err(said)?;
            let synced =
                self.connection.call(version, &request, cluster.limit).await.map_err(said)?;
            match synced.error_code {
                REBALANCE_IN_PROGRESS => continue,
                code => check("SyncGroup", code)?,
            }
            self.times = Some([sent, joined, now()]);
            return Ok(());
        }
    }

    fn share_out(
        &self,
        answer: &JoinGroupResponse,
        partitions: i32,
    ) -> Vec<SyncGroupRequestAssignment> {
        let members = answer.members.len() as i32;
        let part = |(at, member): (usize, &_)| {
            let member: &kafka_protocol::messages::join_group_response::JoinGroupResponseMember =
                member;
            let own: Vec<i32> = (at as i32..partitions).step_by(members as usize).collect();
            SyncGroupRequestAssignment::default()
                .with_member_id(member.member_id.clone())
                .with_assignment(assignment(&self.topic, &own))
        };
        answer.members.iter().enumerate().map(part).collect()
    }

    pub fn heartbeat_request(&self) -> Result<Template, String> {
        let version = self.connection.version(HeartbeatRequest::KEY, (3, 4)).map_err(said)?;
        Template::new(version, &self.heartbeat())
    }

    pub fn commit_request(&self) -> Result<Template, String> {
        let version = self.connection.version(OffsetCommitRequest::KEY, (8, 9)).map_err(said)?;
        Template::new(version, &commit(&self.group, &self.id, self.generation, &self.topic))
    }

    fn heartbeat(&self) -> HeartbeatRequest {
        HeartbeatRequest::default()
            .with_group_id(self.group.clone())
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
    }

    /// Heartbeats until it is told to join again.
    async fn wait_for_rebalance(&self, cluster: &Cluster) -> Result<(), String> {
        let version = self.connection.version(HeartbeatRequest::KEY, (3, 4)).map_err(said)?;
        let (request, until) = (self.heartbeat(), now() + cluster.limit);
        loop {
            let asked = self.connection.call(version, &request, cluster.limit);
            match asked.await.map_err(said)?.error_code {
                REBALANCE_IN_PROGRESS => return Ok(()),
                code => check("Heartbeat", code)?,
            }
            if now() >= until {
                return Err("no rebalance began".to_string());
            }
            sleep(ASK_AGAIN).await;
        }
    }

    pub async fn leave(&self, cluster: &Cluster) -> Result<(), String> {
        let member = MemberIdentity::default().with_member_id(text(&self.id));
        let request = LeaveGroupRequest::default()
            .with_group_id(self.group.clone())
            .with_members(vec![member]);
        let version = self.connection.version(LeaveGroupRequest::KEY, (3, 5)).map_err(said)?;
        let answer = self.connection.call(version, &request, cluster.limit).await.map_err(said)?;
        check("LeaveGroup", answer.error_code)
    }
}

/// What set a rebalance off.
pub enum Kick {
    /// All join a group that is not there.
    Everybody,
    /// This one, which has its id.
    Join(Box<ClassicMember>),
    /// The last one.
    Leave,
}

pub struct Rebalanced {
    /// From the kick to the last SyncGroup's answer; of `Everybody` from the first JoinGroup's answer, as before it
    /// the broker waits for members by `group.initial.rebalance.delay.ms`.
    pub took: Duration,
    /// The longest that one member was between its JoinGroup and its SyncGroup's answer; not of `Everybody`.
    pub stop: Option<Duration>,
}

/// Until everybody has the new generation's assignment.
pub async fn rebalance(
    cluster: &Cluster,
    members: &mut Vec<ClassicMember>,
    partitions: i32,
    kick: Kick,
) -> Result<Rebalanced, String> {
    let first = matches!(kick, Kick::Everybody);
    let gone = match &kick {
        Kick::Leave => members.pop(),
        _ => None,
    };
    let mut from = now();
    let again = async |member: &mut ClassicMember| {
        if !first {
            member.wait_for_rebalance(cluster).await?;
        }
        member.join(cluster, partitions).await
    };
    let all = try_join_all(members.iter_mut().map(again));
    let (done, kicked) = match kick {
        Kick::Everybody => (all.await, None),
        Kick::Leave => {
            let leave = async {
                match &gone {
                    Some(member) => member.leave(cluster).await,
                    None => Err("nobody is left".to_string()),
                }
            };
            let (left, done) = join(leave, all).await;
            (left.and(done), None)
        }
        Kick::Join(mut new) => {
            let (joined, done) = join(new.join(cluster, partitions), all).await;
            (joined.and(done), Some(*new))
        }
    };
    done?;
    members.extend(kicked);
    let times = || members.iter().filter_map(|m| m.times);
    if first {
        let answered = times().map(|[_, joined, _]| joined).min();
        from = answered.unwrap_or(from);
    }
    let last = times().map(|[_, _, synced]| synced).max().unwrap_or(from);
    let stop = times().map(|[sent, _, synced]| synced.saturating_since(sent)).max();
    Ok(Rebalanced { took: last.saturating_since(from), stop: stop.filter(|_| !first) })
}

/// ConsumerProtocolSubscription v0.
fn subscription(topic: &str) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    out.put_i32(1);
    put_string(&mut out, topic);
    out.put_i32(-1);
    out.freeze()
}

/// ConsumerProtocolAssignment v0.
fn assignment(topic: &str, partitions: &[i32]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    out.put_i32(1);
    put_string(&mut out, topic);
    out.put_i32(partitions.len() as i32);
    partitions.iter().for_each(|p| out.put_i32(*p));
    out.put_i32(-1);
    out.freeze()
}

fn put_string(out: &mut BytesMut, s: &str) {
    out.put_i16(s.len() as i16);
    out.put_slice(s.as_bytes());
}
