//! One broker on a machine of its own, and what befalls it, for every scenario: each keeps its own
//! account of what must survive. Nothing is drawn at random here: the scenario says what happens when.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use spindle::config::BrokerConfig;
use spindle::metrics::ShardCounters;
use spindle::node::Node;
use spindle::runtime::mailbox::{OneshotSender, oneshot};
use spindle::runtime::sim::{self, ProcessId};
use spindle::runtime::timeout;

/// A clean stop may have to wait for stalled disks.
const STOP_LIMIT: Duration = Duration::from_secs(60);

pub type Counters = Rc<RefCell<Vec<Arc<ShardCounters>>>>;

/// A broker in a process of its own; it stops cleanly when the sender is used or dropped.
fn spawn_broker(
    machine: &str,
    overrides: Vec<String>,
    counters: Counters,
) -> (ProcessId, OneshotSender<()>) {
    let (stop, stopped) = oneshot::<()>();
    let pid = sim::spawn_process_on(machine, "broker", async move {
        let config = BrokerConfig::load(None, &overrides).unwrap_or_else(|e| panic!("{e}"));
        let node = Node::start_tasks(config)
            .await
            .unwrap_or_else(|e| panic!("the broker does not start: {e}"));
        *counters.borrow_mut() = node.counters.clone();
        // Dropped unsent when the next one is started: by then this one is dead.
        let _ = stopped.await;
        node.stop_tasks().await;
    });
    (pid, stop)
}

pub struct Machine {
    name: &'static str,
    overrides: Vec<String>,
    pid: Cell<Option<ProcessId>>,
    stop: RefCell<Option<OneshotSender<()>>>,
    pub counters: Counters,
}

impl Machine {
    pub fn new(name: &'static str, overrides: Vec<String>) -> Machine {
        Machine {
            name,
            overrides,
            pid: Cell::new(None),
            stop: RefCell::new(None),
            counters: Rc::default(),
        }
    }

    pub fn is_up(&self) -> bool {
        self.pid.get().is_some_and(sim::is_alive)
    }

    /// Until the process that was started last has ended.
    pub async fn ended(&self) {
        sim::wait_exit(self.pid.get().expect("it was started")).await;
    }

    pub fn start(&self) {
        let (pid, stop) = spawn_broker(self.name, self.overrides.clone(), self.counters.clone());
        self.pid.set(Some(pid));
        // The old sender belongs to a process that is gone.
        self.stop.replace(Some(stop));
    }

    pub async fn clean_stop(&self) {
        sim::note("fault: clean stop", 0, 0);
        if !self.is_up() {
            return;
        }
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let ended = timeout(STOP_LIMIT, self.ended()).await;
        assert!(ended.is_some(), "a clean stop takes longer than {STOP_LIMIT:?}");
    }

    pub fn kill(&self) {
        sim::note("fault: kill", 0, 0);
        if let Some(pid) = self.pid.get().filter(|pid| sim::is_alive(*pid)) {
            sim::kill(pid);
        }
    }

    pub fn power_cut(&self) {
        sim::note("fault: power cut", 0, 0);
        sim::power_cut(self.name);
    }
}
