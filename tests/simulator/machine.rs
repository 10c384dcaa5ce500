//! One broker on a machine of its own, and what befalls it, for the scenarios that keep their own
//! account of what must survive (compacted topics, groups). `broker.rs` is the same for the history of
//! the main scenario. Nothing is drawn at random here: the scenario says what happens when.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use spindle::runtime::mailbox::OneshotSender;
use spindle::runtime::sim::{self, ProcessId};
use spindle::runtime::timeout;

use crate::broker::{Counters, spawn_broker};

const STOP_LIMIT: Duration = Duration::from_secs(60);

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

    pub fn start(&self) {
        let (pid, stop) = spawn_broker(self.name, self.overrides.clone(), self.counters.clone());
        self.pid.set(Some(pid));
        self.stop.replace(Some(stop));
    }

    pub async fn clean_stop(&self) {
        sim::note("fault: clean stop", 0, 0);
        let Some(pid) = self.pid.get().filter(|pid| sim::is_alive(*pid)) else { return };
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let ended = timeout(STOP_LIMIT, sim::wait_exit(pid)).await;
        assert!(ended.is_some(), "a clean stop does not end");
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
