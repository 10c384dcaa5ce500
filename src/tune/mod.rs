//! `spindle tune`: what of this host costs a broker time, and a configuration from a short measurement.
//! Reads /proc and /sys below a root (tests make one up) and changes nothing: each finding names the
//! command that mends it. Not here: the command line (cli/tune).

mod cpu;
mod disk;
mod host;
mod kernel;
pub mod measure;
pub mod show;
#[cfg(test)]
mod tests;
pub mod write;

use serde::Serialize;

pub use host::Host;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Well,
    Mend,
    /// The kernel does not say (a virtual machine, a container): nothing to mend here.
    Unknown,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub name: &'static str,
    pub state: State,
    pub is: String,
    pub should_be: &'static str,
    /// When it is wrong.
    pub costs: &'static str,
    /// The command that mends it; empty when there is nothing to mend.
    pub mend: String,
}

/// What a check is about, whatever it finds.
#[derive(Clone, Copy)]
struct Subject {
    name: &'static str,
    should_be: &'static str,
    costs: &'static str,
}

impl Subject {
    fn found(self, state: State, is: String, mend: String) -> Finding {
        let Subject { name, should_be, costs } = self;
        Finding { name, state, is, should_be, costs, mend }
    }

    fn well(self, is: impl Into<String>) -> Finding {
        self.found(State::Well, is.into(), String::new())
    }

    fn mend(self, is: impl Into<String>, mend: impl Into<String>) -> Finding {
        self.found(State::Mend, is.into(), mend.into())
    }

    fn unknown(self, is: impl Into<String>) -> Finding {
        self.found(State::Unknown, is.into(), String::new())
    }
}

/// Everything, in the order it is shown.
pub fn check(host: &Host) -> Vec<Finding> {
    let mut all = vec![kernel::io_uring(host), kernel::seccomp(host)];
    all.extend([kernel::memlock(host), kernel::open_files(host)]);
    all.extend([cpu::governor(host), cpu::clock_source(host), cpu::irq_affinity(host)]);
    all.extend([kernel::huge_pages(host), kernel::swap(host)]);
    all.extend(disk::all(host));
    all
}

/// 0: all well; 1: something to mend.
pub fn exit_code(findings: &[Finding]) -> i32 {
    i32::from(findings.iter().any(|f| f.state == State::Mend))
}
