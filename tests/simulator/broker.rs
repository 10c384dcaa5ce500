//! The broker under test as a process on a machine of its own, and what is done to it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use spindle::config::BrokerConfig;
use spindle::metrics::ShardCounters;
use spindle::node::Node;
use spindle::runtime::mailbox::{OneshotSender, oneshot};
use spindle::runtime::sim::{self, Knobs, ProcessId};
use spindle::runtime::{sleep, timeout};

use crate::history::History;
use crate::plan::Fault;

pub const MACHINE: &str = "broker-machine";
/// A clean stop may have to wait for stalled disks.
const STOP_LIMIT: Duration = Duration::from_secs(60);

pub struct Broker {
    history: Rc<RefCell<History>>,
    overrides: Vec<String>,
    healthy: Knobs,
    pub pid: Cell<Option<ProcessId>>,
    stop: RefCell<Option<OneshotSender<()>>>,
    counters: Counters,
}

pub type Counters = Rc<RefCell<Vec<Arc<ShardCounters>>>>;

/// A broker in a process of its own; it stops cleanly when the sender is used or dropped.
pub fn spawn_broker(
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

impl Broker {
    pub fn new(history: &Rc<RefCell<History>>) -> Rc<Broker> {
        let h = history.borrow();
        Rc::new(Broker {
            history: history.clone(),
            overrides: h.plan.overrides.clone(),
            healthy: h.plan.knobs.clone(),
            pid: Cell::new(None),
            stop: RefCell::new(None),
            counters: Rc::default(),
        })
    }

    pub fn is_up(&self) -> bool {
        self.pid.get().is_some_and(sim::is_alive)
    }

    pub fn start(&self) {
        assert!(!self.is_up());
        let (pid, stop) = spawn_broker(MACHINE, self.overrides.clone(), self.counters.clone());
        self.pid.set(Some(pid));
        // The old sender belongs to a process that is gone.
        self.stop.replace(Some(stop));
    }

    pub fn kill(&self) {
        sim::note("fault: kill", 0, 0);
        if let Some(pid) = self.pid.get().filter(|pid| sim::is_alive(*pid)) {
            sim::kill(pid);
        }
    }

    pub fn power_cut(&self) {
        sim::note("fault: power cut", 0, 0);
        sim::power_cut(MACHINE);
        self.history.borrow_mut().power_cut();
    }

    pub async fn clean_stop(&self) {
        sim::note("fault: clean stop", 0, 0);
        let Some(pid) = self.pid.get().filter(|pid| sim::is_alive(*pid)) else { return };
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let ended = timeout(STOP_LIMIT, sim::wait_exit(pid)).await;
        assert!(ended.is_some(), "a clean stop takes longer than {STOP_LIMIT:?}");
        // However its connections and parked fetches ended, the gauge has let go of them.
        let left: Vec<u64> = self.counters.borrow().iter().map(|c| c.waiting.get()).collect();
        assert!(left.iter().all(|n| *n == 0), "waits for ever, by shard: {left:?}");
        self.history.borrow_mut().clean_stop();
    }

    /// Kills, then starts again: for the end of a run.
    pub fn kill_and_restart(&self) {
        self.kill();
        self.start();
    }

    pub async fn suffer(&self, fault: &Fault) {
        match fault {
            Fault::Kill { down } => {
                self.kill();
                sleep(*down).await;
                self.start();
            }
            Fault::PowerCut { down } => {
                self.power_cut();
                sleep(*down).await;
                self.start();
            }
            Fault::KillThenPowerCut { slow_syncs, between, restart_first, down } => {
                if let Some(lasts) = slow_syncs {
                    let slow = Duration::from_millis(20)..Duration::from_millis(150);
                    sim::with_knobs(|k| k.disk.sync_latency = slow);
                    sleep(*lasts).await;
                }
                self.kill();
                if *restart_first {
                    self.start();
                }
                sleep(*between).await;
                self.power_cut();
                self.heal();
                sleep(*down).await;
                self.start();
            }
            Fault::PowerCutsDuringRecovery { gaps } => {
                self.power_cut();
                for gap in gaps {
                    self.start();
                    sleep(*gap).await;
                    self.power_cut();
                }
                self.start();
            }
            Fault::CleanStop { down } => {
                self.clean_stop().await;
                sleep(*down).await;
                self.start();
            }
            Fault::CutConnections => sim::cut_connections(),
            Fault::NetCuts { lasts, probability } => {
                self.ill(*lasts, |k| k.net.cut_probability = *probability).await;
            }
            Fault::NetStalls { lasts, probability, stall } => {
                let ill = |k: &mut Knobs| {
                    k.net.stall_probability = *probability;
                    k.net.stall = stall.clone();
                };
                self.ill(*lasts, ill).await;
            }
            Fault::NetLatency { lasts, latency } => {
                self.ill(*lasts, |k| k.net.latency = latency.clone()).await;
            }
            Fault::DiskLatency { lasts, latency, sync } => {
                let ill = |k: &mut Knobs| {
                    k.disk.latency = latency.clone();
                    k.disk.sync_latency = sync.clone();
                };
                self.ill(*lasts, ill).await;
            }
            Fault::DiskStalls { lasts, probability, stall } => {
                let ill = |k: &mut Knobs| {
                    k.disk.stall_probability = *probability;
                    k.disk.stall = stall.clone();
                };
                self.ill(*lasts, ill).await;
            }
        }
    }

    async fn ill(&self, lasts: Duration, change: impl FnOnce(&mut Knobs)) {
        sim::with_knobs(change);
        sleep(lasts).await;
        self.heal();
    }

    /// No faults any more, and the broker is up.
    pub fn heal(&self) {
        sim::with_knobs(|k| *k = self.healthy.clone());
    }
}
