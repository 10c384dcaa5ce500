//! A classic group under faults, a scenario of its own: members that join, commit, pause beyond their session and come
//! back with an old generation, die, leave; commits that are sent twice, late, over another connection; a broker
//! that is killed, loses power or stops in mid-rebalance. Every commit says in its metadata who sent it in
//! which generation, and the checker reads them all back from `__consumer_offsets`: one owner for a
//! partition and generation, generations and an owner's commits in order but for those it sent late itself,
//! what was acknowledged is there. After the heal every member is in one generation that covers the topic.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use spindle::client::ClientError;
use spindle::coordinator::group::Record;
use spindle::runtime::mailbox::OneshotSender;
use spindle::runtime::sim::{self, ProcessId, Simulation};
use spindle::runtime::{sleep, spawn, timeout};
use spindle::wire::records::for_each_record;

use crate::broker::{Counters, spawn_broker};
use crate::client::{Client, LIMIT, expect_transient, read_partition};
use crate::group_member::{self, Member};
use crate::history::batch_at;

const MACHINE: &str = "group-machine";
pub const TOPIC: &str = "shared";
pub const GROUP: &str = "the-group";
pub const PARTITIONS: i32 = 6;
const OFFSETS_PARTITIONS: i32 = 3;
const MEMBERS: usize = 3;
const PROGRESS_LIMIT: Duration = Duration::from_secs(90);

/// A commit as its metadata names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commit {
    pub generation: i32,
    pub member: String,
    /// Counts the commits of a member.
    pub number: u64,
}

impl Commit {
    pub fn metadata(&self) -> String {
        format!("{}/{}/{}", self.generation, self.member, self.number)
    }

    fn parse(metadata: &str) -> Commit {
        let mut parts = metadata.split('/');
        let mut next = || parts.next().unwrap_or_else(|| panic!("metadata {metadata}"));
        let (generation, member, number) = (next(), next().to_string(), next());
        Commit { generation: generation.parse().unwrap(), member, number: number.parse().unwrap() }
    }
}

/// What all members know together, which no member may know.
pub struct World {
    pub rng: RefCell<fastrand::Rng>,
    pid: Cell<Option<ProcessId>>,
    stop: RefCell<Option<OneshotSender<()>>>,
    counters: Counters,
    /// (generation, partition) -> the member that was told to own it.
    pub owners: RefCell<BTreeMap<(i32, i32), String>>,
    /// Members that are in a generation now, and their partitions.
    pub settled: RefCell<BTreeMap<String, (i32, BTreeSet<i32>)>>,
    pub alive: Cell<usize>,
    pub calm: Cell<bool>,
    pub over: Cell<bool>,
    /// (partition, commit) -> acknowledged.
    pub acked: RefCell<BTreeSet<(i32, Commit)>>,
    /// Sent a second time, on purpose and late.
    pub late: RefCell<BTreeSet<(i32, Commit)>>,
}

/// Trace hash, generations and commits of a run.
pub fn run(seed: u64) -> (u64, i32, usize) {
    let simulation = Simulation::new(seed);
    let (generations, commits) = simulation.run(scenario(seed));
    (simulation.trace_hash(), generations, commits)
}

fn overrides(rng: &mut fastrand::Rng) -> Vec<String> {
    vec![
        "listeners=PLAINTEXT://10.0.0.1:9092".into(),
        "log.dirs=/data".into(),
        format!("shard.count={}", rng.usize(1..=2)),
        format!("offsets.topic.num.partitions={OFFSETS_PARTITIONS}"),
        format!("group.initial.rebalance.delay.ms={}", rng.usize(0..=200)),
        "group.min.session.timeout.ms=100".into(),
    ]
}

impl World {
    fn start(&self, overrides: &[String]) {
        let (pid, stop) = spawn_broker(MACHINE, overrides.to_vec(), self.counters.clone());
        self.pid.set(Some(pid));
        self.stop.replace(Some(stop));
    }

    async fn fault(&self, overrides: &[String]) {
        let kind = self.rng.borrow_mut().u8(..4);
        let Some(pid) = self.pid.get().filter(|pid| sim::is_alive(*pid)) else { return };
        match kind {
            0 => {
                sim::note("fault: clean stop", 0, 0);
                if let Some(stop) = self.stop.take() {
                    let _ = stop.send(());
                }
                let ended = timeout(PROGRESS_LIMIT, sim::wait_exit(pid)).await;
                assert!(ended.is_some(), "a clean stop does not end");
            }
            1 => {
                sim::note("fault: cut connections", 0, 0);
                sim::cut_connections();
                return;
            }
            2 => {
                sim::note("fault: kill", 0, 0);
                sim::kill(pid);
            }
            _ => {
                sim::note("fault: power cut", 0, 0);
                sim::power_cut(MACHINE);
            }
        }
        let down = self.rng.borrow_mut().u64(0..400);
        sleep(Duration::from_millis(down)).await;
        self.start(overrides);
    }

    pub fn spawn_member(self: &Rc<Self>, name: String) {
        self.alive.set(self.alive.get() + 1);
        spawn(Member::new(self.clone(), name).run());
    }

    /// A member was given these partitions.
    pub fn claim(&self, generation: i32, member: &str, partitions: &BTreeSet<i32>) {
        let mut owners = self.owners.borrow_mut();
        for p in partitions {
            let before = owners.insert((generation, *p), member.to_string());
            assert!(
                before.as_deref().is_none_or(|b| b == member),
                "generation {generation}: partition {p} is {before:?}'s and {member}'s"
            );
        }
    }

    fn converged(&self) -> bool {
        let settled = self.settled.borrow();
        let generations: BTreeSet<i32> = settled.values().map(|(g, _)| *g).collect();
        let partitions: usize = settled.values().map(|(_, p)| p.len()).sum();
        settled.len() == self.alive.get()
            && generations.len() == 1
            && partitions == PARTITIONS as usize
    }
}

async fn scenario(seed: u64) -> (i32, usize) {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x6E0_0F5);
    let overrides = overrides(&mut rng);
    let faults = rng.usize(3..8);
    let world = Rc::new(World {
        rng: RefCell::new(rng),
        pid: Cell::new(None),
        stop: RefCell::new(None),
        counters: Rc::default(),
        owners: RefCell::default(),
        settled: RefCell::default(),
        alive: Cell::new(0),
        calm: Cell::new(false),
        over: Cell::new(false),
        acked: RefCell::default(),
        late: RefCell::default(),
    });
    world.start(&overrides);
    let mut client = Client::new("admin".into());
    loop {
        let created = match client.any().await {
            Ok(c) => c.create_topic(TOPIC, PARTITIONS, 1, &[], LIMIT).await,
            Err(e) => Err(e),
        };
        match created {
            Ok(()) | Err(ClientError::Broker { code: 36, .. }) => break,
            Err(e) => {
                expect_transient("admin", &e);
                client.rest().await;
            }
        }
    }
    for n in 0..MEMBERS {
        world.spawn_member(format!("m{n}"));
    }
    for _ in 0..faults {
        let pause = world.rng.borrow_mut().u64(50..3000);
        sleep(Duration::from_millis(pause)).await;
        world.fault(&overrides).await;
    }
    world.calm.set(true);
    let converge = async {
        while !world.converged() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let converged = timeout(PROGRESS_LIMIT, converge).await.is_some();
    assert!(converged, "no common generation: {:?}", world.settled.borrow());
    let last = world.settled.borrow().values().next().map_or(0, |(g, _)| *g);
    world.over.set(true);
    // What a member gave up on may still be on its way.
    sim::cut_connections();
    sleep(LIMIT + Duration::from_secs(1)).await;
    let read = timeout(PROGRESS_LIMIT, committed(&mut client)).await;
    let read = read.unwrap_or_else(|| panic!("the commits can't be read"));
    let count = read.values().map(Vec::len).sum();
    check(&world, &read);
    let fetched = timeout(PROGRESS_LIMIT, group_member::fetch(&mut client)).await;
    let fetched = fetched.unwrap_or_else(|| panic!("the offsets can't be fetched"));
    for (partition, commits) in &read {
        let newest = commits.last().map(|(offset, _)| *offset);
        assert_eq!(fetched.get(partition).copied(), newest, "partition {partition}");
    }
    (last, count)
}

/// Every commit in the log's order, by partition.
async fn committed(client: &mut Client) -> BTreeMap<i32, Vec<(i64, Commit)>> {
    let mut all: BTreeMap<i32, Vec<(i64, Commit)>> = BTreeMap::new();
    for index in 0..OFFSETS_PARTITIONS {
        let whole = loop {
            match read_partition(client, "__consumer_offsets", index).await {
                Ok(whole) => break whole,
                Err(e) => {
                    expect_transient("reader", &e);
                    client.rest().await;
                }
            }
        };
        let mut at = 0;
        while at < whole.bytes.len() {
            let (_, bytes) = batch_at("__consumer_offsets", &whole.bytes, at);
            for_each_record(bytes, &mut |r| {
                let record = Record::decode(r.key.unwrap(), r.value).unwrap();
                if let Record::Offset { partition, value: Some(value), .. } = record {
                    let commit = Commit::parse(&value.metadata);
                    all.entry(partition).or_default().push((value.offset, commit));
                }
                true
            })
            .unwrap();
            at += bytes.len();
        }
    }
    all
}

fn check(world: &World, read: &BTreeMap<i32, Vec<(i64, Commit)>>) {
    let (owners, late) = (world.owners.borrow(), world.late.borrow());
    for (partition, commits) in read {
        let mut newest: Option<&Commit> = None;
        for (_, commit) in commits {
            let owner = owners.get(&(commit.generation, *partition));
            assert_eq!(owner, Some(&commit.member), "{partition}: {commit:?} is not its owner's");
            let before = newest.replace(commit);
            let Some(before) = before else { continue };
            assert!(
                before.generation <= commit.generation,
                "{partition}: {commit:?} was taken after {before:?}"
            );
            if before.generation == commit.generation && before.number > commit.number {
                let sent_late = late.contains(&(*partition, commit.clone()));
                assert!(sent_late, "{partition}: {commit:?} after {before:?}, by nobody's will");
            }
        }
    }
    for (partition, commit) in world.acked.borrow().iter() {
        let there = read.get(partition).is_some_and(|all| all.iter().any(|(_, c)| c == commit));
        assert!(there, "{partition}: {commit:?} was acknowledged and is gone");
    }
}
