//! A group of consumer-protocol members (KIP-848) under faults, or one whose members change between the
//! classic and the consumer protocol, one by one, both ways, while the broker is killed, loses power or
//! stops in mid-rebalance and topics are made, grown and deleted underneath. What members do is in
//! `fleet_member` and `fleet_classic`; who consumes what is judged as it happens by `fleet_claims`; what the
//! coordinator wrote is judged at the end by `fleet_log`. After the heal everybody who lives has what
//! it shall have, within a bound.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use kafka_protocol::messages::ConsumerGroupDescribeRequest;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::consumer_group_describe_response::DescribedGroup;
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use spindle::client::ClientError;
use spindle::runtime::sim::{self, Simulation};
use spindle::runtime::{sleep, spawn, timeout};
use spindle::types::TopicId;

use crate::client::{Client, LIMIT, create_at_last};
use crate::coordinator::{committed, coordinator, failed, group_id, logged, overrides, text};
use crate::fleet_claims::{Claims, Partition};
use crate::fleet_classic;
use crate::fleet_commits::Commits;
use crate::fleet_log;
use crate::fleet_member;
use crate::machine::Machine;

const MACHINE: &str = "fleet-machine";
pub const GROUP: &str = "fleet";
const SLOTS: usize = 4;
pub const SESSION: Duration = Duration::from_millis(2000);
pub const REBALANCE: Duration = Duration::from_millis(6000);
/// A dead member's session, then its partitions' way; expressions are matched every ten seconds only.
const CONVERGE_LIMIT: Duration = Duration::from_secs(30);
const READ_LIMIT: Duration = Duration::from_secs(90);
/// Topics and their partitions at the start. The last one comes and goes, the one before it grows.
pub const TOPICS: [(&str, i32); 3] = [("fa", 4), ("fb", 2), ("fc", 3)];
pub const COMES_AND_GOES: &str = "fc";
const GROWS: &str = "fb";
const PARTITIONS_MAX: i32 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All members speak the consumer protocol.
    Consumer,
    /// Members come back with the other protocol.
    Converting,
}

/// What all members know together, which no member may know.
pub struct World {
    pub kind: Kind,
    pub rng: RefCell<fastrand::Rng>,
    machine: Machine,
    pub claims: RefCell<Claims>,
    made: Cell<usize>,
    pub calm: Cell<bool>,
    pub over: Cell<bool>,
    pub assignor: Option<&'static str>,
    /// Of a hundred members, how many come with the classic protocol now.
    classic_percent: Cell<u8>,
    pub cooperative: bool,
    /// Every topic id that anybody ever saw.
    pub names: RefCell<BTreeMap<TopicId, String>>,
    pub commits: RefCell<Commits>,
    pub fenced: Cell<usize>,
    pub stale: Cell<usize>,
}

/// What happened in a run: none of it is 0 over some seeds, or nothing was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub trace: u64,
    pub taken: usize,
    pub epoch: i32,
    pub commits: usize,
    pub fenced: usize,
    pub stale: usize,
    pub revocations: usize,
    pub conversions: usize,
    pub kept_too_long: usize,
    /// From the end of the faults, in simulated time; over some seeds, the longest.
    pub converged_ms: u64,
}

impl Sums {
    pub fn add(&mut self, run: Sums) {
        self.taken += run.taken;
        self.epoch += run.epoch;
        self.commits += run.commits;
        self.fenced += run.fenced;
        self.stale += run.stale;
        self.revocations += run.revocations;
        self.conversions += run.conversions;
        self.kept_too_long += run.kept_too_long;
        self.converged_ms = self.converged_ms.max(run.converged_ms);
    }
}

pub fn run(kind: Kind, seed: u64) -> Sums {
    let simulation = Simulation::new(seed);
    let mut sums = simulation.run(scenario(kind, seed));
    sums.trace = simulation.trace_hash();
    sums
}

/// In some seeds a step of the coordinator is more than one batch of its log takes, and is cut: the power goes between
/// two batches of one step, too.
fn batch_bytes_max(kind: Kind, seed: u64) -> Option<usize> {
    let (one_record, of) = match kind {
        Kind::Consumer => (768, 3),
        // A classic group of four members is one record.
        Kind::Converting => (2200, 5),
    };
    (seed % of == 1).then_some(one_record)
}

fn fleet_overrides(kind: Kind, seed: u64, rng: &mut fastrand::Rng) -> Vec<String> {
    let session = SESSION.as_millis();
    let mut all = overrides(rng);
    all.extend([
        "group.consumer.min.session.timeout.ms=100".into(),
        format!("group.consumer.session.timeout.ms={session}"),
        "group.consumer.min.heartbeat.interval.ms=10".into(),
        "group.consumer.heartbeat.interval.ms=200".into(),
        format!("group.consumer.assignment.interval.ms={}", [0, 0, 300][rng.usize(..3)]),
        "group.consumer.migration.policy=bidirectional".into(),
        "auto.create.topics.enable=false".into(),
    ]);
    all.extend(batch_bytes_max(kind, seed).map(|bytes| format!("message.max.bytes={bytes}")));
    all
}

impl World {
    fn new(kind: Kind, seed: u64, mut rng: fastrand::Rng) -> World {
        let overrides = fleet_overrides(kind, seed, &mut rng);
        let assignor = [None, Some("uniform"), Some("range")][rng.usize(..3)];
        World {
            kind,
            assignor,
            cooperative: rng.bool(),
            rng: RefCell::new(rng),
            machine: Machine::new(MACHINE, overrides),
            claims: RefCell::new(Claims::new(SESSION, REBALANCE)),
            made: Cell::new(0),
            calm: Cell::new(false),
            over: Cell::new(false),
            classic_percent: Cell::new(50),
            names: RefCell::default(),
            commits: RefCell::default(),
            fenced: Cell::new(0),
            stale: Cell::new(0),
        }
    }

    pub fn chance(&self, one_in: u32) -> bool {
        self.rng.borrow_mut().u32(..one_in) == 0
    }

    /// Of things that go wrong.
    pub fn mishap(&self, one_in: u32) -> bool {
        !self.calm.get() && self.chance(one_in)
    }

    pub fn between(&self, ms: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.borrow_mut().u64(ms))
    }

    /// A member in this place, under a new id, of either protocol.
    pub fn spawn_member(self: &Rc<Self>, slot: usize) {
        let n = self.made.get();
        self.made.set(n + 1);
        let id = format!("s{slot}-{n}");
        let classic = self.kind == Kind::Converting
            && self.rng.borrow_mut().u8(..100) < self.classic_percent.get();
        self.claims.borrow_mut().begin(&id, classic);
        if classic {
            spawn(fleet_classic::Member::new(self.clone(), slot, id).run());
        } else {
            spawn(fleet_member::Member::new(self.clone(), slot, id).run());
        }
    }

    /// The name of a topic that somebody was given; `None` when it is gone.
    pub async fn name_of(&self, client: &mut Client, id: TopicId) -> Option<String> {
        if let Some(name) = self.names.borrow().get(&id) {
            return Some(name.clone());
        }
        self.learn_names(client).await;
        self.names.borrow().get(&id).cloned()
    }

    /// Topics that are there now, by name; nothing when it can't be known.
    pub async fn learn_names(&self, client: &mut Client) -> BTreeMap<String, (TopicId, i32)> {
        let metadata = match client.any().await {
            Ok(connection) => connection.metadata(None, LIMIT).await,
            Err(e) => Err(e),
        };
        match metadata {
            Ok(metadata) => {
                let topics = metadata.topics.iter().filter(|t| t.error_code == 0);
                let known = |name: &str| TOPICS.iter().any(|(known, _)| *known == name);
                let rows = topics.filter(|t| known(&t.name)).map(|t| {
                    self.names.borrow_mut().insert(t.topic_id, t.name.clone());
                    (t.name.clone(), (t.topic_id, t.partitions.len() as i32))
                });
                rows.collect()
            }
            Err(e) => {
                failed(client, &e).await;
                BTreeMap::new()
            }
        }
    }

    async fn fault(&self) {
        let (kind, slow) = {
            let mut rng = self.rng.borrow_mut();
            (rng.u8(..6), rng.u8(..3) == 0)
        };
        if slow {
            // Records wait for their sync, and answers for the records, when the fault comes.
            let sync = Duration::from_millis(20)..Duration::from_millis(250);
            sim::with_knobs(|k| k.disk.sync_latency = sync);
            sleep(self.between(20..400)).await;
        }
        // In mid-reconciliation, when there is one soon.
        let patience = self.rng.borrow_mut().u32(..40);
        for _ in 0..patience {
            if self.claims.borrow().moving() {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        match kind {
            0 => self.machine.clean_stop().await,
            1 => {
                sim::note("fault: cut connections", 0, 0);
                sim::cut_connections();
            }
            2 | 3 => self.machine.kill(),
            _ => self.machine.power_cut(),
        }
        sim::with_knobs(|k| {
            k.disk.sync_latency = Duration::from_micros(50)..Duration::from_millis(3)
        });
        if !self.machine.is_up() {
            sleep(self.between(0..400)).await;
            self.machine.start();
            self.claims.borrow_mut().coordinator_since = sim::now();
        }
    }

    /// Topics come, grow and go; one attempt each, whatever becomes of it.
    async fn landlord(self: Rc<Self>) {
        let mut client = Client::new("landlord".into());
        while !self.calm.get() {
            sleep(self.between(300..3000)).await;
            let there = self.learn_names(&mut client).await;
            let Ok(connection) = client.any().await else { continue };
            let grow = self.chance(2);
            let done = match there.get(COMES_AND_GOES) {
                None => {
                    let count = self.rng.borrow_mut().i32(1..5);
                    connection.create_topic(COMES_AND_GOES, count, 1, &[], LIMIT).await
                }
                Some(_) if !grow => connection.delete_topic(COMES_AND_GOES, LIMIT).await,
                Some(_) => match there.get(GROWS) {
                    Some((_, count)) if *count < PARTITIONS_MAX => {
                        let topic = CreatePartitionsTopic::default()
                            .with_name(TopicName(text(GROWS)))
                            .with_count(count + 1)
                            .with_assignments(None);
                        let request = CreatePartitionsRequest::default()
                            .with_topics(vec![topic])
                            .with_timeout_ms(3000);
                        connection.call_latest(&request, LIMIT).await.map(|_| ())
                    }
                    _ => Ok(()),
                },
            };
            match done {
                Ok(()) | Err(ClientError::Broker { .. }) => {}
                Err(e) => failed(&mut client, &e).await,
            }
        }
    }

    /// Everybody who is to be here is, and has what it was told; together they have everything.
    async fn is_settled(&self, client: &mut Client) -> Result<(), String> {
        let all: BTreeMap<String, BTreeSet<Partition>> = {
            let claims = self.claims.borrow();
            let members = claims.members.iter().filter(|(_, m)| m.stays);
            if let Some((id, m)) = members.clone().find(|(_, m)| !m.joined || m.holds != m.assigned)
            {
                return Err(format!("{id} is not where it shall be: {m:?}"));
            }
            members.map(|(_, m)| (m.member_id.clone(), m.holds.clone())).collect()
        };
        let classic = self.claims.borrow().members.values().all(|m| m.classic);
        if !classic {
            let group = self.describe(client).await.ok_or("no answer")?;
            let here: BTreeSet<String> =
                group.members.iter().map(|m| m.member_id.to_string()).collect();
            let ours: BTreeSet<String> = all.keys().cloned().collect();
            if &*group.group_state != "Stable" || here != ours {
                return Err(format!("{ours:?} live, and the group is {group:?}"));
            }
        }
        let topics = self.learn_names(client).await;
        let held: Vec<Partition> = all.values().flatten().copied().collect();
        let once: BTreeSet<Partition> = held.iter().copied().collect();
        if once.len() != held.len() {
            return Err(format!("partitions are held twice: {all:?}"));
        }
        let wanted: BTreeSet<Partition> = topics
            .iter()
            .filter(|(name, _)| self.kind == Kind::Consumer || *name != COMES_AND_GOES)
            .flat_map(|(_, (id, count))| (0..*count).map(|n| (*id, n)))
            .collect();
        if wanted.is_empty() || once != wanted {
            return Err(format!("{once:?} are held, {wanted:?} are there"));
        }
        if !classic {
            fair(&all, self.assignor == Some("range"))?;
        }
        Ok(())
    }

    async fn describe(&self, client: &mut Client) -> Option<DescribedGroup> {
        let connection = coordinator(client, GROUP).await?;
        let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(GROUP)]);
        match connection.call(1, &request, LIMIT).await {
            Ok(mut answer) => answer.groups.pop(),
            Err(e) => {
                failed(client, &e).await;
                None
            }
        }
    }
}

/// All want the same at the end: nobody has two more than another, by topic when the assignor is range.
fn fair(all: &BTreeMap<String, BTreeSet<Partition>>, by_topic: bool) -> Result<(), String> {
    let topics: BTreeSet<TopicId> = all.values().flatten().map(|(topic, _)| *topic).collect();
    let spread = |of: &dyn Fn(&Partition) -> bool| {
        let counts = all.values().map(|held| held.iter().filter(|p| of(p)).count());
        counts.clone().max().unwrap_or(0) - counts.min().unwrap_or(0)
    };
    let fair = match by_topic {
        true => topics.iter().all(|topic| spread(&|(of, _)| of == topic) <= 1),
        false => spread(&|_| true) <= 1,
    };
    if fair { Ok(()) } else { Err(format!("it is not balanced: {all:?}")) }
}

async fn scenario(kind: Kind, seed: u64) -> Sums {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0xF1EE7);
    let faults = rng.usize(4..9);
    let world = Rc::new(World::new(kind, seed, rng));
    world.machine.start();
    let mut client = Client::new("admin".into());
    for (name, partitions) in TOPICS {
        if kind == Kind::Consumer || name != COMES_AND_GOES {
            create_at_last(&mut client, name, partitions, &[]).await;
        }
    }
    while world.learn_names(&mut client).await.is_empty() {}
    for slot in 0..SLOTS {
        world.spawn_member(slot);
    }
    if kind == Kind::Consumer {
        spawn(world.clone().landlord());
    }
    for _ in 0..faults {
        sleep(world.between(50..3000)).await;
        world.classic_percent.set([0, 0, 50, 100, 100][world.rng.borrow_mut().usize(..5)]);
        world.fault().await;
    }
    world.calm.set(true);
    let began = sim::now();
    let mut why = String::new();
    let converge = async {
        while let Err(not_yet) = world.is_settled(&mut client).await {
            why = not_yet;
            sleep(Duration::from_millis(50)).await;
        }
    };
    let converged = timeout(CONVERGE_LIMIT, converge).await.is_some();
    assert!(converged, "no end within {CONVERGE_LIMIT:?}: {why}\n{:#?}", world.claims.borrow());
    let converged_ms = sim::now().saturating_since(began).as_millis() as u64;
    world.over.set(true);
    // What a member gave up on may still be on its way.
    sim::cut_connections();
    sleep(LIMIT + Duration::from_secs(1)).await;
    if seed.is_multiple_of(2) {
        world.machine.power_cut();
        world.machine.start();
    }
    let read = timeout(READ_LIMIT, logged(&mut client)).await;
    let read = read.unwrap_or_else(|| panic!("the group's log can't be read"));
    let mut found = fleet_log::check(&world, &read);
    let fetched = timeout(READ_LIMIT, committed(&mut client, GROUP)).await;
    let fetched = fetched.unwrap_or_else(|| panic!("the offsets can't be fetched"));
    found.offsets.retain(|(topic, _), _| topic != COMES_AND_GOES);
    for (partition, newest) in &found.offsets {
        assert_eq!(fetched.get(partition), Some(newest), "{partition:?}");
    }
    Sums {
        trace: 0,
        taken: world.claims.borrow().taken,
        epoch: found.generation,
        commits: found.commits,
        fenced: world.fenced.get(),
        stale: world.stale.get(),
        revocations: found.revocations,
        conversions: found.conversions,
        kept_too_long: world.claims.borrow().kept_too_long,
        converged_ms,
    }
}
