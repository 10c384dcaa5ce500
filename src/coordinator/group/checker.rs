//! Random clients against one `Groups`: they join, sync, beat, commit, leave, die, pause and come back with what they
//! knew; requests arrive twice and late; the broker restarts at any moment and reads its log again. A seed is a run.
//!
//! Checked all along: a partition has one owner a generation; only its owner moves a partition's offset, and a new owner
//! finds it where the last one left it, back only by its will; who waits in a join or a sync is not evicted, nor is who
//! was heard within its session; no offset expires before its time; what is in the log is what is in the state. In the
//! end, with the faults over, every client is in one generation and all partitions are read; and when all are
//! dead, nothing is left after the retention.

mod faults;

use std::collections::{BTreeMap, HashMap};

use super::answer::{Answer, JoinAnswer};
use super::input::*;
use super::records::GroupValue;
use super::testing::*;
use super::*;

const PARTITIONS: i32 = 7;
const SESSION_MS: i64 = 6000;
const REBALANCE_MS: i64 = 20_000;
/// Who joins waits for the first members of a group, or for those that were there before; who syncs, for the leader.
const WAIT_MS_MAX: i64 = 2 * REBALANCE_MS + 2000;
/// Short: a group that nobody is in for so long, and that is not seldom, loses its offsets.
const RETENTION_MS: i64 = 20_000;

#[derive(Clone, Debug, Default, PartialEq)]
enum Doing {
    #[default]
    Nothing,
    Joining(RequestId),
    Syncing(RequestId, JoinAnswer),
    Reading,
}

#[derive(Default)]
struct Reader {
    instance: Option<String>,
    id: String,
    generation: i32,
    doing: Doing,
    owned: Vec<i32>,
    /// What it will commit next.
    positions: BTreeMap<i32, i64>,
    paused_until_ms: i64,
    next_beat_ms: i64,
    /// When its last heartbeat or commit was taken, since it joined.
    heard_ms: Option<i64>,
    /// Its join or sync was not answered at once.
    waits: bool,
    asked_ms: i64,
    /// Until then it beats and does nothing else: it does not hear that it has to join, nor does it sync.
    deaf_until_ms: i64,
    /// It was called, and did not come.
    ignored_a_call: bool,
}

struct World {
    bench: Bench,
    random: fastrand::Rng,
    readers: Vec<Reader>,
    /// Requests that come again, later.
    late: Vec<Input>,
    /// Generation and partition: who was told that it is its own.
    owners: HashMap<(i32, i32), String>,
    /// Who committed the partition last, in which generation, and what.
    committed: HashMap<i32, (String, i32, i64)>,
    /// So much of the log was looked at.
    seen: usize,
    /// When each partition was committed, and the group's newest record.
    commit_ms: HashMap<i32, i64>,
    group: Option<GroupValue>,
    expired: usize,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = fastrand::Rng::with_seed(seed);
        let readers = 2 + random.usize(..4);
        let reader = |n: usize, random: &mut fastrand::Rng| Reader {
            instance: (random.u8(..3) == 0).then(|| format!("i{n}")),
            ..Reader::default()
        };
        let config = GroupConfig {
            max_size: 4,
            offsets_retention_ms: RETENTION_MS,
            offsets_retention_check_interval_ms: 3000,
            ..GroupConfig::default()
        };
        World {
            readers: (0..readers.min(4)).map(|n| reader(n, &mut random)).collect(),
            bench: Bench::seeded(config, seed),
            random,
            late: Vec::new(),
            owners: HashMap::new(),
            committed: HashMap::new(),
            seen: 0,
            commit_ms: HashMap::new(),
            group: None,
            expired: 0,
        }
    }

    /// Who this is to the partitions: a static member keeps them over a restart.
    fn name(reader: &Reader) -> String {
        reader.instance.clone().unwrap_or_else(|| reader.id.clone())
    }

    fn send(&mut self, input: impl Fn(RequestId) -> Input) -> RequestId {
        if self.random.u8(..8) == 0 && self.late.len() < 20 {
            self.late.push(input(0));
        }
        self.bench.request(input)
    }

    /// What came to the log: no offset goes before its time.
    fn follow_log(&mut self) {
        let now_ms = self.bench.now.wall_ms;
        while let Some(Logged::Record { key, value, .. }) = self.bench.log.get(self.seen) {
            self.seen += 1;
            match Record::decode(key, value.as_deref()).expect("we wrote it") {
                Record::Offset { partition, value: Some(value), .. } => {
                    self.commit_ms.insert(partition, value.commit_ms);
                }
                Record::Offset { partition, value: None, .. } => {
                    let group = self.group.as_ref().expect("only members commit");
                    assert!(group.members.is_empty(), "{partition} is read, and expires");
                    let age_ms = now_ms - group.state_ms;
                    assert!(age_ms >= RETENTION_MS, "{partition} expires after {age_ms} ms");
                    self.committed.remove(&partition);
                    self.commit_ms.remove(&partition);
                    self.expired += 1;
                }
                Record::Group { value, .. } => {
                    // Of a group that was gone the generations begin anew.
                    if value.is_none() {
                        self.owners.clear();
                    }
                    self.group = value;
                }
                other => panic!("a classic group wrote {other:?}"),
            }
        }
    }

    fn turn(&mut self, n: usize) {
        if self.readers[n].paused_until_ms > self.bench.now.monotonic_ms {
            return;
        }
        match self.readers[n].doing.clone() {
            Doing::Nothing => self.join(n),
            Doing::Joining(from) => match self.bench.answers.get(&from) {
                None => self.not_for_ever(n),
                Some(Answer::Join(answer)) if answer.error.is_none() && self.is_deaf(n) => {
                    let (id, generation) = (answer.member_id.to_string(), answer.generation);
                    self.readers[n].ignored_a_call = true;
                    let _ = self.beat(n, id, generation);
                }
                Some(Answer::Join(_)) => {
                    let Some(Answer::Join(answer)) = self.bench.answer(from) else { return };
                    self.joined(n, answer);
                }
                other => panic!("{other:?}"),
            },
            Doing::Syncing(from, joined) => match self.bench.answer(from) {
                None => self.not_for_ever(n),
                Some(Answer::Sync(answer)) => match answer.error {
                    None => self.assigned(n, &joined, &answer.assignment),
                    Some(error) => self.failed(n, error),
                },
                other => panic!("{other:?}"),
            },
            Doing::Reading => self.read(n),
        }
    }

    fn join(&mut self, n: usize) {
        let reader = &self.readers[n];
        let request = JoinRequest {
            instance_id: reader.instance.as_deref().map(s),
            session_timeout_ms: SESSION_MS as i32,
            rebalance_timeout_ms: REBALANCE_MS as i32,
            ..joining("g", &reader.id)
        };
        let from = self.send(|from| {
            let client = client(&format!("c{n}"));
            Input::Join { from, client, request: request.clone() }
        });
        self.waits(n, from);
        (self.readers[n].ignored_a_call, self.readers[n].heard_ms) = (false, None);
        self.readers[n].doing = Doing::Joining(from);
    }

    fn is_deaf(&self, n: usize) -> bool {
        self.readers[n].deaf_until_ms > self.bench.now.monotonic_ms
    }

    /// Others may be dead or deaf.
    fn not_for_ever(&self, n: usize) {
        let waited_ms = self.bench.now.monotonic_ms - self.readers[n].asked_ms;
        assert!(waited_ms <= WAIT_MS_MAX, "{} waits for {waited_ms} ms", self.readers[n].id);
    }

    /// Unless it is told at once that it is not known, it is known until it is told something else.
    fn waits(&mut self, n: usize, from: RequestId) {
        self.readers[n].asked_ms = self.bench.now.monotonic_ms;
        self.readers[n].waits = !self.bench.answers.contains_key(&from);
    }

    fn joined(&mut self, n: usize, answer: JoinAnswer) {
        match answer.error {
            None => {}
            Some(GroupError::MemberIdRequired) => {
                self.readers[n].id = answer.member_id.to_string();
                self.readers[n].doing = Doing::Nothing;
                return;
            }
            Some(error) => return self.failed(n, error),
        }
        self.readers[n].id = answer.member_id.to_string();
        self.readers[n].generation = answer.generation;
        let mut parts = Vec::new();
        if answer.leader == answer.member_id && !answer.skip_assignment {
            for partition in 0..PARTITIONS {
                let owner = partition as usize % answer.members.len();
                parts.push((answer.members[owner].member_id.clone(), partition));
            }
        }
        let assignments = answer.members.iter().map(|member| {
            let own = parts.iter().filter(|(id, _)| *id == member.member_id);
            let bytes: Vec<u8> = own.map(|(_, partition)| *partition as u8).collect();
            (member.member_id.clone(), bytes.into())
        });
        let request = SyncRequest {
            group_id: s("g"),
            generation: answer.generation,
            member_id: answer.member_id.clone(),
            instance_id: self.readers[n].instance.as_deref().map(s),
            assignments: match answer.skip_assignment {
                true => Vec::new(),
                false => assignments.collect(),
            },
            ..SyncRequest::default()
        };
        let from =
            self.send(|from| Input::Sync { from, client: client("c"), request: request.clone() });
        self.waits(n, from);
        self.readers[n].doing = Doing::Syncing(from, answer);
    }

    fn assigned(&mut self, n: usize, joined: &JoinAnswer, assignment: &[u8]) {
        let name = World::name(&self.readers[n]);
        let owned: Vec<i32> = assignment.iter().map(|p| i32::from(*p)).collect();
        for partition in &owned {
            let owner = self.owners.entry((joined.generation, *partition)).or_insert(name.clone());
            assert_eq!(*owner, name, "two owners of {partition} in {}", joined.generation);
        }
        self.follow_log();
        let mut positions = BTreeMap::new();
        for (partition, found) in self.fetch(&owned) {
            let left = self.committed.get(&partition).map_or(-1, |c| c.2);
            assert_eq!(found, left, "{name} begins {partition} where nobody left it");
            positions.insert(partition, found.max(0));
        }
        let reader = &mut self.readers[n];
        (reader.owned, reader.positions) = (owned, positions);
        reader.doing = Doing::Reading;
    }

    fn fetch(&mut self, partitions: &[i32]) -> Vec<(i32, i64)> {
        let topic = FetchOffsetsTopic {
            name: s("t"),
            partitions: partitions.to_vec(),
            ..FetchOffsetsTopic::default()
        };
        let request = FetchOffsetsRequest {
            group_id: s("g"),
            member_epoch: -1,
            topics: Some(vec![topic]),
            ..FetchOffsetsRequest::default()
        };
        let from = self.bench.request(|from| Input::FetchOffsets { from, request });
        match self.bench.answer(from) {
            Some(Answer::FetchOffsets(Ok(topics))) => {
                topics[0].partitions.iter().map(|row| (row.partition, row.offset)).collect()
            }
            other => panic!("not an answer to a fetch: {other:?}"),
        }
    }

    /// Every two seconds.
    fn beat(&mut self, n: usize, id: String, generation: i32) -> Result<(), GroupError> {
        if self.readers[n].next_beat_ms > self.bench.now.monotonic_ms {
            return Ok(());
        }
        self.readers[n].next_beat_ms = self.bench.now.monotonic_ms + 2000;
        let request = HeartbeatRequest {
            group_id: s("g"),
            generation,
            member_id: s(&id),
            instance_id: self.readers[n].instance.as_deref().map(s),
        };
        let from = self.send(|from| Input::Heartbeat {
            from,
            client: client("c"),
            request: request.clone(),
        });
        if let Some(Answer::Heartbeat(Err(error))) = self.bench.answer(from) {
            return Err(error);
        }
        self.readers[n].heard_ms = Some(self.bench.now.monotonic_ms);
        Ok(())
    }

    fn read(&mut self, n: usize) {
        let (id, generation) = (self.readers[n].id.clone(), self.readers[n].generation);
        match self.beat(n, id, generation) {
            Err(GroupError::RebalanceInProgress) if self.is_deaf(n) => {
                self.readers[n].ignored_a_call = true;
            }
            Err(error) => return self.failed(n, error),
            Ok(()) => {}
        }
        if self.is_deaf(n) {
            return;
        }
        let name = World::name(&self.readers[n]);
        let reader = &mut self.readers[n];
        if reader.owned.is_empty() || self.random.bool() {
            return;
        }
        let partition = reader.owned[self.random.usize(..reader.owned.len())];
        let own = |(who, at, _): &(String, i32, i64)| *who == name && *at == reader.generation;
        let is_own = self.committed.get(&partition).is_some_and(own);
        let position = reader.positions.get_mut(&partition).expect("it is owned");
        // Back by its owner's will, now and then.
        *position = match self.random.u8(..20) {
            0 if is_own => *position / 2,
            _ => *position + 1,
        };
        let mut request = committing("g", &reader.id, reader.generation, *position);
        request.instance_id = reader.instance.as_deref().map(s);
        request.topics[0].partitions[0].partition = partition;
        let from =
            self.send(|from| Input::Commit { from, client: client("c"), request: request.clone() });
        match self.check_commit(from, &request, &name) {
            Ok(()) => self.readers[n].heard_ms = Some(self.bench.now.monotonic_ms),
            Err(error) => self.failed(n, error),
        }
    }

    /// A commit that was taken was its owner's.
    fn check_commit(
        &mut self,
        from: RequestId,
        request: &CommitRequest,
        name: &str,
    ) -> Result<(), GroupError> {
        let Some(Answer::Commit(result)) = self.bench.answer(from) else { panic!("no answer") };
        result?;
        let CommitPartition { partition, offset, .. } = request.topics[0].partitions[0];
        let generation = request.generation_or_epoch;
        assert_eq!(self.owners.get(&(generation, partition)).map(String::as_str), Some(name));
        if let Some((last, at, before)) = self.committed.get(&partition) {
            assert!(generation >= *at, "an older generation commits");
            let back_by_another =
                offset < *before && (last, *at) != (&name.to_string(), generation);
            assert!(!back_by_another, "{partition} from {before} of {last} to {offset}");
        }
        self.committed.insert(partition, (name.to_string(), generation, offset));
        Ok(())
    }

    fn failed(&mut self, n: usize, error: GroupError) {
        let now_ms = self.bench.now.monotonic_ms;
        let reader = &mut self.readers[n];
        if error == GroupError::UnknownMemberId {
            let waited = reader.waits && reader.doing != Doing::Reading;
            assert!(!waited, "{} waited, and is not known", reader.id);
            let silent_ms = reader.heard_ms.map(|at_ms| now_ms - at_ms);
            let silent = silent_ms.is_none_or(|ms| ms >= SESSION_MS);
            let excused = silent || reader.ignored_a_call;
            assert!(excused, "{} was heard {silent_ms:?} ms ago, and is not known", reader.id);
        }
        (reader.heard_ms, reader.waits) = (None, false);
        reader.owned.clear();
        reader.doing = Doing::Nothing;
        match error {
            GroupError::RebalanceInProgress | GroupError::IllegalGeneration => {}
            GroupError::UnknownMemberId
            | GroupError::FencedInstanceId
            | GroupError::GroupMaxSizeReached => reader.id.clear(),
            other => panic!("{other:?}"),
        }
    }

    /// The log says what the state is, as far as it says anything: a rebalance under way is not in it.
    fn same_after_reload(&self) {
        let (live, replayed) = (&self.bench.groups, self.bench.replayed());
        assert_eq!(format!("{:?}", rows(live)), format!("{:?}", rows(&replayed)));
        for (id, group) in &live.groups {
            let Group::Classic(group) = group else { continue };
            let settled = matches!(group.state().name(), "Stable" | "Empty");
            if let (true, Some(Group::Classic(other))) = (settled, replayed.groups.get(id)) {
                assert_eq!(group.to_record(), other.to_record());
            }
        }
    }

    fn run(&mut self) {
        for _ in 0..600 {
            let ms = self.random.i64(0..700);
            self.bench.pass(ms);
            self.follow_log();
            let n = self.random.usize(..self.readers.len());
            self.turn(n);
            if self.random.u8(..25) == 0 {
                self.fault();
            }
        }
        self.same_after_reload();
        for _ in 0..3000 {
            self.bench.pass(100);
            self.follow_log();
            (0..self.readers.len()).for_each(|n| self.turn(n));
        }
        let generation = self.readers[0].generation;
        let mut all: Vec<i32> = Vec::new();
        for reader in &self.readers {
            assert_eq!((&reader.doing, reader.generation), (&Doing::Reading, generation));
            all.extend(&reader.owned);
        }
        all.sort_unstable();
        assert_eq!(all, (0..PARTITIONS).collect::<Vec<_>>());
        self.same_after_reload();
        // Nobody comes any more: a session, a rebalance, the retention and a round of it later all is gone.
        self.bench.pass(2 * RETENTION_MS + 60_000);
        self.follow_log();
        assert_eq!(self.bench.groups.counts(), GroupCounts::default());
    }
}

fn rows(groups: &Groups) -> Vec<(String, super::offsets::StoredOffset)> {
    let mut rows = groups.offsets.rows();
    rows.sort_by(|a, b| (&a.0, a.1.partition).cmp(&(&b.0, b.1.partition)));
    rows
}

/// `GROUP_SEED=7` runs one; `GROUP_SEEDS=100+500` those from 100 on, 500 of them.
#[test]
fn random_readers_find_no_way_to_break_a_group() {
    let given = |name: &str| std::env::var(name).ok();
    let seeds: std::ops::Range<u64> = match (given("GROUP_SEED"), given("GROUP_SEEDS")) {
        (Some(seed), _) => seed.parse().map(|seed| seed..seed + 1).expect("a number"),
        (None, Some(range)) => {
            let (first, count) = range.split_once('+').expect("first+count");
            let first: u64 = first.parse().expect("a number");
            first..first + count.parse::<u64>().expect("a number")
        }
        (None, None) => 0..60,
    };
    let few = seeds.end - seeds.start < 60;
    let mut expired = 0;
    for seed in seeds {
        // The seed is in the output of a run that fails.
        println!("GROUP_SEED={seed}");
        let mut world = World::new(seed);
        world.run();
        expired += world.expired - PARTITIONS as usize;
    }
    assert!(few || expired > 0, "no group was ever empty for long");
}
