//! The broker of the main scenario on its machine: the plan's faults are done to it, the history is told.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use spindle::runtime::sim::{self, Knobs};
use spindle::runtime::sleep;

use crate::history::History;
use crate::machine::Machine;
use crate::plan::Fault;

pub const MACHINE: &str = "broker-machine";
pub struct Broker {
    history: Rc<RefCell<History>>,
    pub machine: Machine,
    healthy: Knobs,
}

impl Broker {
    pub fn new(history: &Rc<RefCell<History>>) -> Rc<Broker> {
        let h = history.borrow();
        Rc::new(Broker {
            history: history.clone(),
            machine: Machine::new(MACHINE, h.plan.overrides.clone()),
            healthy: h.plan.knobs.clone(),
        })
    }

    pub fn start(&self) {
        assert!(!self.machine.is_up());
        self.machine.start();
    }

    pub fn kill(&self) {
        self.machine.kill();
    }

    pub fn power_cut(&self) {
        self.machine.power_cut();
        self.history.borrow_mut().power_cut();
    }

    pub async fn clean_stop(&self) {
        let was_up = self.machine.is_up();
        self.machine.clean_stop().await;
        if !was_up {
            return;
        }
        // However its connections and parked fetches ended, the gauge has let go of them.
        let counters = self.machine.counters.borrow();
        let left: Vec<u64> = counters.iter().map(|c| c.waiting.get()).collect();
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
