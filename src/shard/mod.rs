//! One core's kingdom: its partitions, the router that finds the owner of any partition, purgatory,
//! flusher, housekeeping. API handlers talk to the broker through `Router` only.
//! Everything here is owned by one executor and never Send; other shards reach it by jobs that run
//! here (`Job`), posted to a bounded mailbox. Not here: sockets (server/), what Kafka's codes are (api/).

mod cleaner;
mod coordinators;
mod disk_trouble;
pub mod fetch_sessions;
mod flusher;
mod housekeeping;
mod internal_topics;
mod jobs;
pub mod memory;
mod produce;
mod purgatory;
pub mod router;
mod router_groups;
mod topics;

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use futures::future::LocalBoxFuture;

pub use crate::log::{Chunk, Place};
pub use crate::runtime::Instant as Deadline;
pub use coordinators::CoordinatorError;
pub use housekeeping::PartitionCheckpoint;
pub use internal_topics::{GROUP_EVENTS_TOPIC, OFFSETS_TOPIC};
pub use jobs::Job;
pub use memory::{Lent, Memory};
pub use produce::ProduceTicket;
pub use purgatory::FetchOutcome;
pub use router::Router;
pub use topics::{StartHints, TopicShard};

use crate::config::BrokerConfig;
use crate::controller::{Controller, Image};
use crate::log::{CatchUp, Hold, ReadMeans};
use crate::metrics::ShardCounters;
use crate::runtime::Notify;
use crate::runtime::activity::{Activity, charged};
use crate::runtime::mailbox::{Receiver, Sender};
use crate::types::ShardId;

/// Writes what `all_checkpoints` says now; one at a time, in the order of the calls. False: it can't.
pub type WriteCheckpoints = Rc<dyn Fn() -> LocalBoxFuture<'static, bool>>;

/// What every shard of a broker is given.
pub struct ShardOptions {
    pub id: ShardId,
    pub config: Arc<BrokerConfig>,
    pub data_dir: PathBuf,
    /// One a shard, in shard order (our own included).
    pub mailboxes: Vec<Sender<Job>>,
    /// One a shard.
    pub counters: Vec<Arc<ShardCounters>>,
    /// What the last stop left behind.
    pub hints: Arc<StartHints>,
}

pub struct Shard {
    pub id: ShardId,
    config: Arc<BrokerConfig>,
    data_dir: PathBuf,
    mailboxes: Vec<Sender<Job>>,
    counters: Vec<Arc<ShardCounters>>,
    hints: Arc<StartHints>,
    /// The shards in the order in which partitions go round them.
    round: Rc<[ShardId]>,
    image: RefCell<Arc<Image>>,
    topics: RefCell<topics::Topics>,
    /// Held while an image is applied: one at a time, in order.
    applying: Cell<bool>,
    applied: Notify,
    flush_queue: Rc<flusher::FlushQueue>,
    cleaner: cleaner::Cleaner,
    disk_trouble: disk_trouble::DiskTrouble,
    memory: Rc<Memory>,
    read_means: Rc<ReadMeans>,
    /// Only on shard 0.
    controller: RefCell<Option<Controller>>,
    /// Only on shard 0: writes the offset checkpoints of the whole broker.
    write_checkpoints: RefCell<Option<WriteCheckpoints>>,
    /// Times that topics went, which the checkpoint files may still name.
    /// `deletions_written`: of those, how many the files have forgotten.
    deletions: Cell<u64>,
    deletions_written: Cell<u64>,
    /// Producer ids left of this shard's block: [next, end).
    producer_ids: Cell<(i64, i64)>,
    fetch_sessions: RefCell<fetch_sessions::FetchSessions>,
    coordinators: coordinators::Coordinators,
    creating_internal: Cell<bool>,
    stopping: Cell<bool>,
}

impl Shard {
    pub fn new(options: ShardOptions) -> Rc<Shard> {
        let shards = &options.config.shards;
        let memory_bytes = shards.of(options.id).memory_bytes;
        let memory = Memory::new(memory_bytes, options.counters[options.id].clone());
        let round = shards.round(options.mailboxes.len()).into();
        let least = shards.of(options.id).replay_bytes_per_s_min;
        let catch_up = Rc::new(CatchUp::new(options.id, options.counters.clone(), least));
        let flush_queue = Rc::new(flusher::FlushQueue::new(memory.clone(), catch_up.clone()));
        Rc::new(Shard {
            id: options.id,
            config: options.config,
            data_dir: options.data_dir,
            mailboxes: options.mailboxes,
            counters: options.counters,
            hints: options.hints,
            round,
            image: RefCell::default(),
            topics: RefCell::default(),
            applying: Cell::new(false),
            applied: Notify::new(),
            flush_queue,
            cleaner: cleaner::Cleaner::default(),
            disk_trouble: disk_trouble::DiskTrouble::default(),
            read_means: Rc::new(ReadMeans::new(
                {
                    let memory = memory.clone();
                    move |bytes| memory.lend_ahead(bytes).map(|lent| Box::new(lent) as Hold)
                },
                catch_up,
            )),
            memory,
            controller: RefCell::new(None),
            write_checkpoints: RefCell::new(None),
            deletions: Cell::new(0),
            deletions_written: Cell::new(0),
            producer_ids: Cell::new((0, 0)),
            fetch_sessions: RefCell::default(),
            coordinators: coordinators::Coordinators::default(),
            creating_internal: Cell::new(false),
            stopping: Cell::new(false),
        })
    }

    /// Starts the shard's long-lived tasks: the job pump, the flusher, housekeeping.
    pub fn start(self: &Rc<Self>, mailbox: Receiver<Job>) {
        crate::runtime::spawn(charged(Activity::Other, jobs::pump(self.clone(), mailbox)));
        crate::runtime::spawn(charged(Activity::Disk, flusher::run(self.clone())));
        crate::runtime::spawn(charged(Activity::Other, housekeeping::run(self.clone())));
        let events = coordinators::drain_events(self.clone());
        crate::runtime::spawn(charged(Activity::Coordination, events));
    }

    /// The controller shard's controller.
    pub fn set_controller(&self, controller: Controller) {
        *self.controller.borrow_mut() = Some(controller);
    }

    /// On the controller shard: how a deletion gets its topics out of the checkpoint files. `None`
    /// at the end (it holds the shard).
    pub fn set_write_checkpoints(&self, write: Option<WriteCheckpoints>) {
        *self.write_checkpoints.borrow_mut() = write;
    }

    /// The checkpoint files name what is gone: they are written before a command is answered.
    pub fn checkpoints_are_stale(&self) {
        self.deletions.set(self.deletions.get() + 1);
    }

    pub fn counters(&self) -> &ShardCounters {
        &self.counters[self.id]
    }

    pub fn shard_count(&self) -> usize {
        self.mailboxes.len()
    }

    pub fn image(&self) -> Arc<Image> {
        self.image.borrow().clone()
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }
}
