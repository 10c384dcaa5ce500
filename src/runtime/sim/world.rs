//! All the state of one simulation, and the thread-local that says which one runs here.
//! Owner: `Simulation`; every other file of this room reaches it through `world()`.
//! Invariants: no RefCell here stays borrowed while a task is polled or a future is dropped (both
//! may call back into any sim function); every random draw goes through `World`.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::executor::{Events, Tasks};
use super::knobs::Knobs;
use super::process::{Process, ProcessId};
use super::socket_state::Net;
use super::volume::Volume;

/// Events kept for the dump after a panic.
const RECENT_EVENTS: usize = 200;

pub(super) type SharedVolume = Rc<RefCell<Volume>>;

pub(super) struct World {
    pub seed: u64,
    pub now: Cell<u64>,
    pub knobs: RefCell<Knobs>,
    rng: RefCell<fastrand::Rng>,
    trace: RefCell<Trace>,
    pub tasks: RefCell<Tasks>,
    pub events: RefCell<Events>,
    /// Ids of woken tasks. Behind a Mutex only because wakers must be Send + Sync.
    pub wakes: Arc<Mutex<VecDeque<u64>>>,
    /// The process whose task is being polled (or dropped).
    pub current: Cell<ProcessId>,
    pub processes: RefCell<BTreeMap<ProcessId, Process>>,
    pub net: RefCell<Net>,
    /// Asked for so far: all, and the writes and syncs.
    pub disk_ops: Cell<(u64, u64)>,
    /// Moves on when what the page cache held is to be forgotten.
    pub page_cache: Cell<u64>,
    volumes: RefCell<BTreeMap<String, SharedVolume>>,
}

struct Trace {
    hash: u64,
    recent: VecDeque<(u64, &'static str, u64, u64)>,
    print: bool,
}

thread_local! {
    static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

pub(super) fn try_world() -> Option<Rc<World>> {
    WORLD.try_with(|w| w.borrow().clone()).ok().flatten()
}

pub(super) fn world() -> Rc<World> {
    try_world().expect("a sim function was called outside Simulation::run")
}

/// Makes `world` this thread's current one until dropped. On a panic it says the seed.
pub(super) struct Entered {
    world: Rc<World>,
}

impl Entered {
    pub fn new(world: &Rc<World>) -> Entered {
        WORLD.with(|w| {
            let previous = w.borrow_mut().replace(world.clone());
            assert!(previous.is_none(), "Simulation::run inside Simulation::run");
        });
        Entered { world: world.clone() }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.world.dump();
            // Running more destructors while unwinding could panic again and hide the cause.
            if let Ok(mut tasks) = self.world.tasks.try_borrow_mut() {
                std::mem::forget(std::mem::take(&mut *tasks));
            }
        }
        WORLD.with(|w| w.borrow_mut().take());
    }
}

impl World {
    pub fn new(seed: u64) -> Rc<World> {
        // SPINDLE_SIM_TRACE=1 prints every event: the way to look into one failing seed.
        let print = std::env::var_os("SPINDLE_SIM_TRACE").is_some();
        Rc::new(World {
            seed,
            now: Cell::new(0),
            knobs: RefCell::new(Knobs::default()),
            rng: RefCell::new(fastrand::Rng::with_seed(seed)),
            trace: RefCell::new(Trace { hash: 0, recent: VecDeque::new(), print }),
            tasks: RefCell::default(),
            events: RefCell::default(),
            wakes: Arc::default(),
            current: Cell::new(ProcessId::ROOT),
            processes: RefCell::new(BTreeMap::from([(ProcessId::ROOT, Process::root())])),
            net: RefCell::default(),
            disk_ops: Cell::default(),
            page_cache: Cell::default(),
            volumes: RefCell::default(),
        })
    }

    pub fn random(&self) -> u64 {
        self.rng.borrow_mut().u64(..)
    }

    /// Uniform in 0..n; n must not be 0.
    pub fn below(&self, n: usize) -> usize {
        self.rng.borrow_mut().usize(..n)
    }

    pub fn coin(&self) -> bool {
        self.rng.borrow_mut().bool()
    }

    pub fn chance(&self, probability: f64) -> bool {
        probability > 0.0 && self.rng.borrow_mut().f64() < probability
    }

    pub fn between(&self, range: &Range<u64>) -> u64 {
        if range.start >= range.end {
            range.start
        } else {
            self.rng.borrow_mut().u64(range.clone())
        }
    }

    /// A duration of the range, ns.
    pub fn between_ns(&self, range: &Range<Duration>) -> u64 {
        self.between(&(range.start.as_nanos() as u64..range.end.as_nanos() as u64))
    }

    pub fn trace(&self, what: &'static str, a: u64, b: u64) {
        let now = self.now.get();
        let mut trace = self.trace.borrow_mut();
        for x in [now, what.len() as u64, a, b] {
            trace.hash = (trace.hash.rotate_left(5) ^ x).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
        for x in what.bytes() {
            trace.hash = (trace.hash ^ u64::from(x)).wrapping_mul(0x0100_0000_01B3);
        }
        if trace.recent.len() == RECENT_EVENTS {
            trace.recent.pop_front();
        }
        trace.recent.push_back((now, what, a, b));
        if trace.print {
            eprintln!("sim {now:>14} {what} {a} {b:#x}");
        }
    }

    pub fn trace_hash(&self) -> u64 {
        self.trace.borrow().hash
    }

    fn dump(&self) {
        if let Ok(trace) = self.trace.try_borrow() {
            eprintln!("--- simulation seed {}: the last events before the panic", self.seed);
            for (at, what, a, b) in trace.recent.iter().rev().take(30).rev() {
                eprintln!("sim {at:>14} {what} {a} {b:#x}");
            }
        }
        eprintln!(
            "--- simulation seed {} panicked at {} ns of virtual time; the seed replays it",
            self.seed,
            self.now.get()
        );
    }

    pub fn volume(&self, machine: &str) -> SharedVolume {
        let mut volumes = self.volumes.borrow_mut();
        if let Some(volume) = volumes.get(machine) {
            return volume.clone();
        }
        let volume = SharedVolume::default();
        volumes.insert(machine.to_owned(), volume.clone());
        volume
    }
}
