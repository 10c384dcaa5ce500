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

use spindle::coordinator::group::Record;
use spindle::runtime::sim::{self, Simulation};
use spindle::runtime::{sleep, spawn, timeout};

use crate::client::{Client, LIMIT, create_at_last};
use crate::coordinator::{committed, logged, overrides};
use crate::group_member::Member;
use crate::machine::Machine;

const MACHINE: &str = "group-machine";
pub const TOPIC: &str = "shared";
pub const GROUP: &str = "the-group";
pub const PARTITIONS: i32 = 6;
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
    machine: Machine,
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

impl World {
    async fn fault(&self) {
        let kind = self.rng.borrow_mut().u8(..4);
        if !self.machine.is_up() {
            return;
        }
        match kind {
            0 => self.machine.clean_stop().await,
            1 => {
                sim::note("fault: cut connections", 0, 0);
                sim::cut_connections();
                return;
            }
            2 => self.machine.kill(),
            _ => self.machine.power_cut(),
        }
        let down = self.rng.borrow_mut().u64(0..400);
        sleep(Duration::from_millis(down)).await;
        self.machine.start();
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
        machine: Machine::new(MACHINE, overrides),
        owners: RefCell::default(),
        settled: RefCell::default(),
        alive: Cell::new(0),
        calm: Cell::new(false),
        over: Cell::new(false),
        acked: RefCell::default(),
        late: RefCell::default(),
    });
    world.machine.start();
    let mut client = Client::new("admin".into());
    create_at_last(&mut client, TOPIC, PARTITIONS, &[]).await;
    for n in 0..MEMBERS {
        world.spawn_member(format!("m{n}"));
    }
    for _ in 0..faults {
        let pause = world.rng.borrow_mut().u64(50..3000);
        sleep(Duration::from_millis(pause)).await;
        world.fault().await;
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
    let read = timeout(PROGRESS_LIMIT, commits(&mut client)).await;
    let read = read.unwrap_or_else(|| panic!("the commits can't be read"));
    let count = read.values().map(Vec::len).sum();
    check(&world, &read);
    let fetched = timeout(PROGRESS_LIMIT, committed(&mut client, GROUP)).await;
    let fetched = fetched.unwrap_or_else(|| panic!("the offsets can't be fetched"));
    for (partition, commits) in &read {
        let newest = commits.last().map(|(offset, _)| *offset);
        let shown = fetched.get(&(TOPIC.to_string(), *partition)).map(|(offset, _)| *offset);
        assert_eq!(shown, newest, "partition {partition}");
    }
    (last, count)
}

/// Every commit in the log's order, by partition.
async fn commits(client: &mut Client) -> BTreeMap<i32, Vec<(i64, Commit)>> {
    let mut all: BTreeMap<i32, Vec<(i64, Commit)>> = BTreeMap::new();
    for record in logged(client).await.into_iter().flatten() {
        if let Record::Offset { partition, value: Some(value), .. } = record {
            let commit = Commit::parse(&value.metadata);
            all.entry(partition).or_default().push((value.offset, commit));
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
