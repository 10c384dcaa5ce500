//! One group coordinator's life on the shard that owns its partition: load, serve, and load again when an append
//! fails. Requests step the state machine at once, in the task that brought them; what they append goes out
//! in one batch a turn (the group commit), and answers that promise something leave when it is committed.
//! Invariants: one batch is in flight at a time; answers that wait for the log leave in its order; whoever waits is
//! answered when the coordinator goes. Not here: reading the log (load), what a step decides (coordinator/).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::select;

use super::config::group_config;
use super::view::ImageTopics;
use super::{CoordinatorError, load};
use crate::coordinator::group::records::RECORD_FRAME_BYTES;
use crate::coordinator::group::{Answer, Effect, Groups, Input, Now, Record, RequestId};
use crate::limits::GROUP_BATCH_BYTES;
use crate::partition::{Partition, PartitionError};
use crate::runtime::mailbox::{OneshotReceiver, OneshotSender, oneshot};
use crate::runtime::{self, Instant, Notify};
use crate::shard::Shard;
use crate::types::Compression;
use crate::wire::records::BatchBuilder;

/// Between a failed append or load and the next load; after each further one twice as long, up to the second.
const RELOAD_AFTER: Duration = Duration::from_millis(100);
const RELOAD_AFTER_MAX: Duration = Duration::from_secs(30);

type Outcome = Result<Answer, CoordinatorError>;

pub(super) struct Hosted {
    partition: Rc<Partition>,
    state: RefCell<State>,
    /// Something to append, an earlier deadline, or the end.
    wake: Notify,
    /// What the task of this coordinator sleeps until.
    asleep_until_ms: Cell<i64>,
}

enum Phase {
    Loading,
    /// The log can't be read: nobody is served from a part of it. It is tried again now and then.
    Failed,
    Active(Box<Groups>),
    Ended,
}

struct State {
    phase: Phase,
    next_request: RequestId,
    /// Who waits for an answer of a later step, or for a commit.
    waiting: BTreeMap<RequestId, OneshotSender<Outcome>>,
    /// Made and not appended yet.
    batches: Vec<BatchBuilder>,
    /// Batches begun, and those of them that are committed.
    made: u64,
    committed: u64,
    /// Answers that wait for the batch of this number.
    held: VecDeque<(u64, RequestId, Answer)>,
    /// Topics deleted while the log was being read.
    missed: Vec<Input>,
    scratch: Vec<Effect>,
}

enum Asked {
    Done(Outcome),
    Later(OneshotReceiver<Outcome>),
}

impl Hosted {
    pub fn new(partition: Rc<Partition>) -> Rc<Hosted> {
        Rc::new(Hosted {
            partition,
            state: RefCell::new(State {
                phase: Phase::Loading,
                next_request: 0,
                waiting: BTreeMap::new(),
                batches: Vec::new(),
                made: 0,
                committed: 0,
                held: VecDeque::new(),
                missed: Vec::new(),
                scratch: Vec::new(),
            }),
            wake: Notify::new(),
            asleep_until_ms: Cell::new(i64::MIN),
        })
    }

    pub fn partition(&self) -> &Rc<Partition> {
        &self.partition
    }

    pub async fn ask(&self, shard: &Shard, input: impl FnOnce(RequestId) -> Input) -> Outcome {
        match self.begin(shard, input) {
            Asked::Done(outcome) => outcome,
            Asked::Later(answer) => answer.await.unwrap_or(Err(CoordinatorError::NotCoordinator)),
        }
    }

    fn begin(&self, shard: &Shard, input: impl FnOnce(RequestId) -> Input) -> Asked {
        let mut state = self.state.borrow_mut();
        match &state.phase {
            Phase::Loading => return Asked::Done(Err(CoordinatorError::LoadInProgress)),
            Phase::Failed | Phase::Ended => {
                return Asked::Done(Err(CoordinatorError::NotCoordinator));
            }
            Phase::Active(_) => {}
        }
        let id = state.next_request;
        state.next_request += 1;
        let mut own = None;
        self.step(shard, &mut state, input(id), Some((id, &mut own)));
        match own {
            Some(answer) => Asked::Done(Ok(answer)),
            None => {
                let (sender, receiver) = oneshot();
                state.waiting.insert(id, sender);
                Asked::Later(receiver)
            }
        }
    }

    /// What nobody waits for.
    pub fn tell(&self, shard: &Shard, input: Input) {
        let mut state = self.state.borrow_mut();
        match state.phase {
            Phase::Active(_) => self.step(shard, &mut state, input, None),
            Phase::Loading | Phase::Failed if matches!(input, Input::TopicsDeleted { .. }) => {
                state.missed.push(input);
            }
            _ => {}
        }
    }

    /// `own`: the request that is being served, whose answer is given back when it is ready at once.
    fn step(
        &self,
        shard: &Shard,
        state: &mut State,
        input: Input,
        own: Option<(RequestId, &mut Option<Answer>)>,
    ) {
        let mut effects = std::mem::take(&mut state.scratch);
        let deadline = {
            let Phase::Active(groups) = &mut state.phase else { return };
            groups.set_batch_bytes_max(self.partition.batch_bytes_max());
            groups.step(clock(), &ImageTopics(shard.image()), input, &mut effects);
            groups.next_deadline_ms()
        };
        self.perform(shard, state, &mut effects, own);
        state.scratch = effects;
        if !state.batches.is_empty() || deadline.is_some_and(|d| d < self.asleep_until_ms.get()) {
            self.wake.notify_waiters();
        }
    }

    fn perform(
        &self,
        shard: &Shard,
        state: &mut State,
        effects: &mut Vec<Effect>,
        mut own: Option<(RequestId, &mut Option<Answer>)>,
    ) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Append { records, transactional: None, whole } => {
                    append(shard, state, &records, whole, self.partition.batch_bytes_max());
                }
                // TxnOffsetCommit is not served yet.
                Effect::Append { transactional: Some(_), .. } => {}
                Effect::Answer { to, answer, after_append: true }
                    if state.committed < state.made =>
                {
                    state.held.push_back((state.made, to, answer));
                }
                Effect::Answer { to, answer, .. } => match &mut own {
                    Some((id, slot)) if *id == to => **slot = Some(answer),
                    _ => state.answer(to, Ok(answer)),
                },
                Effect::Event(event) => shard.coordinators.events.push(shard, event),
            }
        }
    }

    /// The coordinator's own task.
    pub async fn run(self: Rc<Self>, shard: Rc<Shard>) {
        let mut complained = None;
        let mut pause = RELOAD_AFTER;
        while !self.is_over(&shard) {
            let config = group_config(&shard.config, &shard.image());
            match load::load(&shard, &self.partition, config).await {
                Ok(groups) => {
                    complained = None;
                    // What is too large to be appended will be so again: not all groups are loaded at once for it.
                    let too_large = self.activate(&shard, groups) && self.serve(&shard).await;
                    pause =
                        if too_large { (pause * 2).min(RELOAD_AFTER_MAX) } else { RELOAD_AFTER };
                }
                Err(e) => {
                    let why = e.to_string();
                    if complained.as_ref() != Some(&why) && !self.is_over(&shard) {
                        tracing::error!(partition = %self.partition.topic_partition, why,
                            "the coordinator of this partition's groups can't be loaded: they get \
                             NOT_COORDINATOR. If the files are damaged: stop the broker and put back a \
                             copy of the partition's directory, or move the directory away; its groups \
                             then begin without committed offsets");
                        complained = Some(why);
                    }
                    self.drop_groups(Phase::Failed, CoordinatorError::NotCoordinator);
                    pause = (pause * 2).min(RELOAD_AFTER_MAX);
                }
            }
            if !self.is_over(&shard) {
                let woken = self.wake.notified();
                select(pin!(woken), pin!(runtime::sleep(pause))).await;
            }
        }
        self.end();
    }

    fn is_over(&self, shard: &Shard) -> bool {
        shard.is_stopping() || matches!(self.state.borrow().phase, Phase::Ended)
    }

    /// False when it was ended meanwhile.
    fn activate(&self, shard: &Rc<Shard>, mut groups: Box<Groups>) -> bool {
        let mut state = self.state.borrow_mut();
        if matches!(state.phase, Phase::Ended) {
            return false;
        }
        let mut effects = Vec::new();
        // What was set while the log was being read.
        let config = Box::new(group_config(&shard.config, &shard.image()));
        let topics = ImageTopics(shard.image());
        groups.step(clock(), &topics, Input::ConfigChanged { config }, &mut effects);
        groups.loaded(clock(), &topics, &mut effects);
        state.phase = Phase::Active(groups);
        self.perform(shard, &mut state, &mut effects, None);
        for input in std::mem::take(&mut state.missed) {
            self.step(shard, &mut state, input, None);
        }
        true
    }

    /// Appends and ticks until an append fails or the coordinator ends. Whether it failed for its size.
    async fn serve(&self, shard: &Rc<Shard>) -> bool {
        loop {
            let woken = self.wake.notified();
            if self.is_over(shard) {
                return false;
            }
            let (batches, number) = {
                let mut state = self.state.borrow_mut();
                (std::mem::take(&mut state.batches), state.made)
            };
            if !batches.is_empty() {
                match self.commit(shard, batches).await {
                    Ok(()) => self.state.borrow_mut().commit(number),
                    Err(e) => {
                        tracing::warn!(partition = %self.partition.topic_partition, error = %e,
                            "the coordinator's append failed: it is loaded again");
                        self.drop_groups(Phase::Loading, CoordinatorError::NotAvailable);
                        return is_too_large(&e);
                    }
                }
                continue;
            }
            let deadline = match &self.state.borrow().phase {
                Phase::Active(groups) => groups.next_deadline_ms(),
                _ => return false,
            };
            match deadline {
                Some(at) if at <= clock().monotonic_ms => {
                    self.step(shard, &mut self.state.borrow_mut(), Input::Tick, None);
                    // A long walk over the groups is cut into ticks: others have their turn between them.
                    runtime::yield_now().await;
                }
                Some(at) => {
                    self.asleep_until_ms.set(at);
                    let until = Instant(at as u64 * 1_000_000);
                    select(pin!(woken), pin!(runtime::clock::sleep_until(until))).await;
                    self.asleep_until_ms.set(i64::MIN);
                }
                None => {
                    self.asleep_until_ms.set(i64::MAX);
                    woken.await;
                    self.asleep_until_ms.set(i64::MIN);
                }
            }
        }
    }

    async fn commit(
        &self,
        shard: &Shard,
        batches: Vec<BatchBuilder>,
    ) -> Result<(), PartitionError> {
        let mut last = None;
        for mut batch in batches {
            let records = Bytes::from(batch.finish());
            let ticket = self.partition.begin_append(&records, -1, runtime::wall_clock_ms());
            shard.flush_queue.mark(&self.partition);
            last = Some(ticket.appended().await?);
        }
        match last {
            // The last one's commit is that of all before it.
            Some(appended) => self.partition.committed(&appended, -1).await,
            None => Ok(()),
        }
    }

    /// Its partition is another's, or the shard stops.
    pub fn end(&self) {
        self.drop_groups(Phase::Ended, CoordinatorError::NotCoordinator);
        self.wake.notify_waiters();
    }

    fn drop_groups(&self, phase: Phase, why: CoordinatorError) {
        let waiting = {
            let mut state = self.state.borrow_mut();
            // The end is the end, whatever an append that was under way came to.
            if !matches!(state.phase, Phase::Ended) {
                state.phase = phase;
            }
            state.batches.clear();
            state.held.clear();
            state.committed = state.made;
            std::mem::take(&mut state.waiting)
        };
        for (_, sender) in waiting {
            let _ = sender.send(Err(why));
        }
    }
}

impl State {
    fn answer(&mut self, to: RequestId, outcome: Outcome) {
        if let Some(sender) = self.waiting.remove(&to) {
            // Whoever asked may have gone.
            let _ = sender.send(outcome);
        }
    }

    fn begin_batch(&mut self, shard: &Shard) {
        let codec: Compression = shard.config.groups.offsets.topic_compression;
        self.batches.push(BatchBuilder::new(codec));
        self.made += 1;
    }

    fn commit(&mut self, number: u64) {
        self.committed = self.committed.max(number);
        while self.held.front().is_some_and(|(needs, ..)| *needs <= number) {
            if let Some((_, to, answer)) = self.held.pop_front() {
                self.answer(to, Ok(answer));
            }
        }
    }
}

/// Records of one step stay in one batch: all of them count, or none. Only where the step allows it are they cut, when
/// they are more than a batch may have (a target of thousands of members; Kafka refuses that): the group's epoch
/// is among the first, so that what a crash leaves of it is a target to be computed again.
fn append(shard: &Shard, state: &mut State, records: &[Record], whole: bool, bytes_max: usize) {
    let now_ms = runtime::wall_clock_ms();
    let mut encoded = Vec::with_capacity(records.len());
    let mut bytes = 0;
    for record in records {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let has_value = record.encode(&mut key, &mut value);
        bytes += key.len() + value.len() + RECORD_FRAME_BYTES;
        encoded.push((key, has_value.then_some(value)));
    }
    let fits = |batch: &BatchBuilder, more: usize, max| batch.len() + more <= max;
    let together = bytes_max.min(GROUP_BATCH_BYTES);
    if !state.batches.last().is_some_and(|batch| fits(batch, bytes, together)) {
        state.begin_batch(shard);
    }
    for (key, value) in &encoded {
        let more = key.len() + value.as_ref().map_or(0, Vec::len) + RECORD_FRAME_BYTES;
        let room = state
            .batches
            .last()
            .is_some_and(|batch| batch.is_empty() || fits(batch, more, bytes_max));
        if !room && !whole {
            state.begin_batch(shard);
        }
        if let Some(batch) = state.batches.last_mut() {
            batch.push(now_ms, Some(key), value.as_deref(), &[]);
        }
    }
}

fn is_too_large(error: &PartitionError) -> bool {
    matches!(error, PartitionError::MessageTooLarge(_) | PartitionError::RecordListTooLarge(_))
}

fn clock() -> Now {
    Now { monotonic_ms: (runtime::now().0 / 1_000_000) as i64, wall_ms: runtime::wall_clock_ms() }
}
