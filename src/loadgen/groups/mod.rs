//! The cost of groups (`spindle bench groups`): many groups of one member, and one group of many; heartbeats and commits
//! a second, the broker's CPU for each, memory, and how long a rebalance takes. Any broker that runs already.
//! Members are real clients over real sockets: heartbeats share connections, as nobody waits for another's; a JoinGroup has
//! one for itself. On the caller's thread; `classic` and `consumer` are the two protocols, `load` the heartbeats.

mod classic;
mod consumer;
mod load;
mod report;
mod wire;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{GroupId, OffsetCommitRequest, TopicName};

use super::machine;
use crate::client::Connection;
use crate::runtime::executor::{ExecutorSpec, block_on};
use crate::runtime::now;
use crate::types::TopicId;
use classic::ClassicMember;
use consumer::{ConsumerMember, Crowd};
use load::{Lane, Pace, Plan, code_of_commit, code_of_heartbeat};
pub use report::{GroupsReport, Load, Memory, Rebalance};
use wire::{Cluster, Template, text};

/// Made before memory is read.
const FIRST_GROUPS: usize = 200;
/// Of the topic that groups of one member subscribe to.
const SMALL_PARTITIONS: i32 = 4;
/// Pipelined heartbeats: on so many connections, so many in flight on each.
const PIPELINES: usize = 16;
const PIPELINE_DEPTH: usize = 32;
/// Requests that settle before something is measured.
const WARMUP: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Classic,
    Consumer,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Classic => "classic",
            Protocol::Consumer => "consumer",
        }
    }
}

#[derive(Clone)]
pub struct GroupsBench {
    pub host: String,
    pub port: u16,
    pub protocol: Protocol,
    /// 0: none of one member.
    pub groups: usize,
    /// 0: no large group.
    pub members: usize,
    pub partitions: i32,
    pub connections: usize,
    /// Of the paced part; 0: without it.
    pub heartbeats_per_second: f64,
    pub duration: Duration,
    /// Of the members of a large consumer group.
    pub interval: Duration,
    pub broker_pid: Option<u32>,
    /// Prints the bytes that the broker uses, in place of its resident size.
    pub memory_command: Option<String>,
    pub limit: Duration,
    pub command: String,
}

impl GroupsBench {
    /// `Err`: a sentence. `say` gets each line as it is known.
    pub fn run(self, say: impl FnMut(&str) + 'static) -> Result<GroupsReport, String> {
        let report = GroupsReport {
            version: env!("CARGO_PKG_VERSION").to_string(),
            commit: option_env!("SPINDLE_COMMIT").map(str::to_string),
            started_at: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            command: self.command.clone(),
            machine: machine::describe(None),
            protocol: self.protocol.name().to_string(),
            groups: self.groups,
            members: self.members,
            partitions: self.partitions,
            nodes: 0,
            creating_s: 0.0,
            creating_broker_cpu_us: None,
            memory: None,
            loads: Vec::new(),
            rebalances: Vec::new(),
        };
        let spec = ExecutorSpec { name: "bench-groups".to_string(), cpu: None, spin_us: 0 };
        let done = block_on(spec, move || async move {
            let cluster = Cluster::find(&self.host, self.port, self.limit).await?;
            let mut bench = Bench { plan: self, cluster, report, say: Box::new(say) };
            let done = bench.measure().await;
            bench.cluster.close();
            done.map(|()| bench.report)
        });
        done.map_err(|e| e.to_string())?
    }
}

struct Bench {
    plan: GroupsBench,
    cluster: Rc<Cluster>,
    report: GroupsReport,
    say: Box<dyn FnMut(&str)>,
}

/// One member of a group of its own.
struct Single {
    addr: SocketAddr,
    heartbeat: Template,
    commit: Template,
}

impl Bench {
    async fn measure(&mut self) -> Result<(), String> {
        // Names that no earlier run had.
        let tag = crate::runtime::wall_clock_ms();
        let topic = |kind: &str| format!("bench-groups-{kind}-{tag}");
        let (small, large) = (topic("small"), topic("large"));
        let small_id = self.cluster.topic(&small, SMALL_PARTITIONS).await?;
        let large_id = self.cluster.topic(&large, self.plan.partitions).await?;
        if self.plan.groups > 0 {
            self.many_groups(tag, (&small, small_id)).await?;
        }
        if self.plan.members > 0 {
            self.large_group(tag, (&large, large_id)).await?;
        }
        self.cluster.delete_topic(&small).await?;
        self.cluster.delete_topic(&large).await
    }

    async fn many_groups(&mut self, tag: i64, topic: (&str, TopicId)) -> Result<(), String> {
        // One for each partition of __consumer_offsets, most likely, whose first record costs memory once.
        let some = self.plan.groups.min(FIRST_GROUPS);
        let first: Vec<String> = (0..some).map(|i| format!("bench-{tag}-first-{i}")).collect();
        let first = self.singles(&first, topic).await?;
        let before = self.memory("before the groups")?;
        let names: Vec<String> =
            (0..self.plan.groups).map(|i| format!("bench-{tag}-{i}")).collect();
        let (begun, cpu) = (now(), self.broker_cpu());
        let mut singles = self.singles(&names, topic).await?;
        self.report.creating_s = now().saturating_since(begun).as_secs_f64();
        let each = |s: f64| 1e6 * s / names.len() as f64;
        self.report.creating_broker_cpu_us =
            self.broker_cpu().zip(cpu).map(|(after, before)| each(after - before));
        if let Some(before) = before {
            let with = self.memory("with the groups")?;
            let per_group = with.map(|with| (with as f64 - before as f64) / names.len() as f64);
            let memory = self.memory_report();
            (memory.before, memory.with_groups, memory.per_group) = (Some(before), with, per_group);
        }
        singles.extend(first);
        self.heartbeats(singles).await
    }

    /// Groups of one member, made and at rest.
    async fn singles(
        &mut self,
        names: &[String],
        topic: (&str, TopicId),
    ) -> Result<Vec<Single>, String> {
        let places = self.cluster.coordinators(names).await?;
        let mut nodes: Vec<SocketAddr> = places.clone();
        nodes.sort_unstable();
        nodes.dedup();
        self.report.nodes = nodes.len();
        let each = self.plan.connections.div_ceil(nodes.len());
        let mut lanes: Vec<(Connection, SocketAddr, Vec<&String>)> = Vec::new();
        for node in nodes {
            let connections = self.cluster.connections(node, each).await?;
            let here: Vec<&String> =
                names.iter().zip(&places).filter(|(_, p)| **p == node).map(|(n, _)| n).collect();
            for (at, connection) in connections.into_iter().enumerate() {
                let own = here.iter().skip(at).step_by(each).copied().collect();
                lanes.push((connection, node, own));
            }
        }
        let (cluster, protocol) = (&self.cluster, self.plan.protocol);
        let lane = async |(connection, addr, names): (Connection, SocketAddr, Vec<&String>)| {
            let mut made = Vec::with_capacity(names.len());
            for name in names {
                let (heartbeat, commit) = match protocol {
                    Protocol::Classic => {
                        let mut member = ClassicMember::new(connection.clone(), name, topic.0);
                        member.join(cluster, SMALL_PARTITIONS).await?;
                        (member.heartbeat_request()?, member.commit_request()?)
                    }
                    Protocol::Consumer => {
                        let id = format!("member-of-{name}");
                        let mut member = ConsumerMember::new(connection.clone(), name, topic, id);
                        member.settle(cluster, SMALL_PARTITIONS).await?;
                        (member.heartbeat_request()?, member.commit_request()?)
                    }
                };
                made.push(Single { addr, heartbeat, commit });
            }
            Ok::<_, String>(made)
        };
        let count = lanes.len().max(1);
        let all: Vec<Result<Vec<Single>, String>> =
            futures::stream::iter(lanes).map(lane).buffer_unordered(count).collect().await;
        let all: Result<Vec<Vec<Single>>, String> = all.into_iter().collect();
        Ok(all?.into_iter().flatten().collect())
    }

    async fn heartbeats(&mut self, singles: Vec<Single>) -> Result<(), String> {
        let mut by_node: std::collections::BTreeMap<SocketAddr, (Vec<Template>, Vec<Template>)> =
            Default::default();
        for single in singles {
            let (heartbeats, commits) = by_node.entry(single.addr).or_default();
            heartbeats.push(single.heartbeat);
            commits.push(single.commit);
        }
        let (mut heartbeats, mut commits) = (Vec::new(), Vec::new());
        for (addr, (some, others)) in by_node {
            heartbeats.push((addr, some));
            commits.push((addr, others));
        }
        let connections = self.plan.connections;
        let rate = self.plan.heartbeats_per_second;
        if rate > 0.0 {
            let name = format!("heartbeats, {rate:.0} a second");
            let paced = Pace::PerSecond(rate);
            heartbeats =
                self.load(&name, paced, code_of_heartbeat, heartbeats, connections).await?;
        }
        let name = format!("heartbeats, one in flight on each of {connections}");
        let one = Pace::InFlight(1);
        heartbeats = self.load(&name, one, code_of_heartbeat, heartbeats, connections).await?;
        let (few, deep) = (PIPELINES.min(connections), Pace::InFlight(PIPELINE_DEPTH));
        let name = format!("heartbeats, {PIPELINE_DEPTH} in flight on each of {few}");
        self.load(&name, deep, code_of_heartbeat, heartbeats, few).await?;
        let name = format!("commits, one in flight on each of {connections}");
        self.load(&name, one, code_of_commit, commits, connections).await?;
        Ok(())
    }

    /// The requests of each node over its share of the connections.
    async fn load(
        &mut self,
        name: &str,
        pace: Pace,
        code: fn(&bytes::Bytes) -> Option<i16>,
        requests: Vec<(SocketAddr, Vec<Template>)>,
        connections: usize,
    ) -> Result<Vec<(SocketAddr, Vec<Template>)>, String> {
        let each = connections.div_ceil(requests.len());
        let mut lanes = Vec::new();
        for (addr, some) in requests {
            let open = self.cluster.connections(addr, each.min(some.len())).await?;
            let first = lanes.len();
            let empty = |connection| Lane { connection, requests: Vec::new() };
            lanes.extend(open.into_iter().map(empty));
            let here = lanes.len() - first;
            for (at, request) in some.into_iter().enumerate() {
                lanes[first + at % here].requests.push(request);
            }
        }
        let plan = Plan {
            name,
            pace,
            warmup: WARMUP.min(self.plan.duration),
            duration: self.plan.duration,
            broker_pid: self.plan.broker_pid,
            code,
        };
        let (load, lanes) = load::run(plan, lanes).await?;
        (self.say)(&load.line());
        self.report.loads.push(load);
        let mut back: std::collections::BTreeMap<SocketAddr, Vec<Template>> = Default::default();
        for lane in lanes {
            back.entry(lane.connection.addr()).or_default().extend(lane.requests);
        }
        Ok(back.into_iter().collect())
    }

    async fn large_group(&mut self, tag: i64, topic: (&str, TopicId)) -> Result<(), String> {
        let name = format!("bench-{tag}-large");
        let members = self.plan.members;
        let addr = self.cluster.coordinators(std::slice::from_ref(&name)).await?[0];
        let connections = self.cluster.connections(addr, members + 1).await?;
        let before = self.memory("before the large group")?;
        match self.plan.protocol {
            Protocol::Classic => self.large_classic(&name, topic.0, connections, before).await,
            Protocol::Consumer => self.large_consumer(&name, topic, connections, before).await,
        }
    }

    async fn large_classic(
        &mut self,
        name: &str,
        topic: &str,
        mut connections: Vec<Connection>,
        before: Option<u64>,
    ) -> Result<(), String> {
        use classic::{Kick, rebalance};
        let cluster = self.cluster.clone();
        let new = |connection| ClassicMember::new(connection, name, topic);
        let mut late = connections.pop().map(new);
        let mut members: Vec<ClassicMember> = connections.into_iter().map(new).collect();
        let kicks = ["all join", "one more joins", "one leaves"];
        for (at, what) in kicks.into_iter().enumerate() {
            let kick = match at {
                0 => Kick::Everybody,
                1 => {
                    let mut new = late.take().ok_or("nobody")?;
                    new.get_id(&cluster).await?;
                    Kick::Join(Box::new(new))
                }
                _ => Kick::Leave,
            };
            let cpu = self.broker_cpu();
            let done = rebalance(&cluster, &mut members, self.plan.partitions, kick).await?;
            self.rebalanced(Rebalance {
                name: format!("{what}: {} members", members.len()),
                members: members.len(),
                took_ms: ms(done.took),
                broker_cpu_ms: self.cpu_since(cpu),
                longest_stop_ms: done.stop.map(ms),
                ..Rebalance::default()
            });
            if at == 0 {
                self.large_memory(before, members.len())?;
            }
        }
        Ok(())
    }

    async fn large_consumer(
        &mut self,
        name: &str,
        topic: (&str, TopicId),
        connections: Vec<Connection>,
        before: Option<u64>,
    ) -> Result<(), String> {
        use consumer::{Kick, rest};
        let mut crowd = Crowd::new(self.cluster.clone(), self.plan.partitions, self.plan.interval);
        let new = |(at, connection): (usize, Connection)| {
            // Ids in no order, as clients make them.
            let id = uuid::Uuid::from_u64_pair(crate::runtime::random_u64(), at as u64);
            ConsumerMember::new(connection, name, topic, id.to_string())
        };
        let mut members: Vec<ConsumerMember> =
            connections.into_iter().enumerate().map(new).collect();
        let mut late = members.pop();
        let kicks = ["all join", "one more joins", "one leaves"];
        for (at, what) in kicks.into_iter().enumerate() {
            let cpu = self.broker_cpu();
            let done = match at {
                0 => crowd.start(std::mem::take(&mut members)).await?,
                1 => crowd.change(Kick::Join(Box::new(late.take().ok_or("nobody")?))).await?,
                _ => crowd.change(Kick::Leave).await?,
            };
            self.rebalanced(Rebalance {
                name: format!("{what}: {} members", crowd.members().len()),
                members: crowd.members().len(),
                took_ms: ms(done.took),
                broker_cpu_ms: self.cpu_since(cpu),
                longest_stop_ms: None,
                moved: Some(done.moved),
                longest_gap_ms: Some(ms(done.longest_gap)),
                interrupted: Some(done.interrupted),
                longest_interruption_ms: Some(ms(done.interruption)),
                heartbeats: Some(done.heartbeats),
                slowest_heartbeat_ms: Some(ms(done.slowest)),
            });
            if at == 0 {
                self.large_memory(before, crowd.members().len())?;
            }
            rest().await;
        }
        Ok(())
    }

    fn rebalanced(&mut self, rebalance: Rebalance) {
        (self.say)(&rebalance.line());
        self.report.rebalances.push(rebalance);
    }

    fn large_memory(&mut self, before: Option<u64>, members: usize) -> Result<(), String> {
        let Some(before) = before else { return Ok(()) };
        let with = self.memory("with the large group")?;
        let memory = self.memory_report();
        (memory.before_large, memory.with_large) = (Some(before), with);
        memory.per_member = with.map(|with| (with as f64 - before as f64) / members as f64);
        Ok(())
    }

    fn memory_report(&mut self) -> &mut Memory {
        let resident = || "resident memory".to_string();
        let what = self.plan.memory_command.clone().unwrap_or_else(resident);
        self.report.memory.get_or_insert_with(|| Memory { what, ..Memory::default() })
    }

    /// `None`: nobody can say.
    fn memory(&self, when: &str) -> Result<Option<u64>, String> {
        let Some(command) = &self.plan.memory_command else {
            let status = self.plan.broker_pid.and_then(machine::process_status);
            return Ok(status.and_then(|status| status.rss_bytes));
        };
        let failed = |why: String| format!("--memory-command, {when}: {why}");
        let out = std::process::Command::new("sh").arg("-c").arg(command).output();
        let out = out.map_err(|e| failed(e.to_string()))?;
        let said = String::from_utf8_lossy(&out.stdout);
        match said.trim().parse() {
            Ok(bytes) if out.status.success() => Ok(Some(bytes)),
            _ => {
                let complained = String::from_utf8_lossy(&out.stderr);
                Err(failed(format!("it printed no number: {said}{complained}")))
            }
        }
    }

    fn broker_cpu(&self) -> Option<f64> {
        self.plan.broker_pid.and_then(machine::process_cpu_seconds)
    }

    fn cpu_since(&self, before: Option<f64>) -> Option<f64> {
        self.broker_cpu().zip(before).map(|(after, before)| 1e3 * (after - before))
    }
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1e3
}

/// Offset 1 of the topic's first partition.
fn commit(group: &GroupId, member: &str, epoch: i32, topic: &str) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(1)
        .with_committed_leader_epoch(-1)
        .with_committed_metadata(Some(text("")));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text(topic)))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group.clone())
        .with_member_id(text(member))
        .with_generation_id_or_member_epoch(epoch)
        .with_topics(vec![topic])
}
