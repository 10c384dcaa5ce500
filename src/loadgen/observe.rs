//! What a run sees of the broker and of itself beside the traffic: CPU, memory, context switches, shards.
//! A broker in this process is asked (`LocalBroker`), one elsewhere on this machine is read from /proc by
//! its id: that process alone, all its threads, no children. Lives on the thread that watches the run.
//! Invariants: figures of a thread or process that has ended stay as they last were; a process id that
//! was given to somebody else meanwhile is an ended broker, not a new one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use super::machine;
use super::report::{BrokerSample, CpuUse, ShardSample, ShardTime};
use crate::metrics::ACTIVITIES;
use crate::runtime;

/// How the generator names its threads.
pub const THREADS: &str = "bench-";

/// A broker that runs in this process.
pub struct LocalBroker {
    pub bootstrap: SocketAddr,
    /// Of its shards' threads.
    pub cpu_seconds: Box<dyn Fn() -> f64 + Send>,
    /// Requests that had to cross shards.
    pub data_crossings: Box<dyn Fn() -> u64 + Send>,
    /// Each shard at this moment, in order.
    pub shards: Box<dyn Fn() -> Vec<ShardReading> + Send>,
    /// Where it keeps its data.
    pub directory: std::path::PathBuf,
    /// Keys that were set for it.
    pub overrides: Vec<String>,
    pub stop: Box<dyn FnOnce() + Send>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct ShardReading {
    /// When it was looked at, on the machine's monotonic clock.
    pub at_s: f64,
    /// By activity, in the order of `Activity`.
    pub ticks: [u64; ACTIVITIES],
    pub cpu_seconds: f64,
    /// Acknowledgements and parked fetches that wait on it.
    pub queue: u64,
    pub connections: u64,
}

/// Everything at one moment.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub at_ns: u64,
    pub broker_cpu_s: Option<f64>,
    pub rss_bytes: Option<u64>,
    pub threads: Option<u64>,
    /// Voluntary and involuntary, of all threads, since the observer's first look.
    pub context_switches: Option<u64>,
    pub shards: Vec<ShardReading>,
    /// By generator thread.
    pub generator_cpu_s: Vec<f64>,
    pub crossings: Option<u64>,
}

impl Reading {
    fn seconds_since(&self, earlier: &Reading) -> f64 {
        self.at_ns.saturating_sub(earlier.at_ns) as f64 / 1e9
    }

    pub fn since(&self, earlier: &Reading) -> CpuUse {
        let both = |now: Option<u64>, then: Option<u64>| {
            now.zip(then).map(|(now, then)| now.saturating_sub(then))
        };
        let generator = self.generator_cpu_s.iter().enumerate();
        CpuUse {
            seconds: self.seconds_since(earlier),
            broker_s: self.broker_cpu_s.zip(earlier.broker_cpu_s).map(|(now, then)| now - then),
            generator_s: generator
                .map(|(i, now)| now - earlier.generator_cpu_s.get(i).copied().unwrap_or(0.0))
                .collect(),
            crossings: both(self.crossings, earlier.crossings),
            context_switches: both(self.context_switches, earlier.context_switches),
            shards: self.shard_times(earlier),
        }
    }

    fn shard_times(&self, earlier: &Reading) -> Vec<ShardTime> {
        let two = earlier.shards.iter().zip(&self.shards).enumerate();
        two.filter_map(|(shard, (then, now))| ShardTime::between(shard, then, now)).collect()
    }

    /// `None` when nothing is known of the broker.
    pub fn sample_since(&self, earlier: &Reading) -> Option<BrokerSample> {
        let used = self.since(earlier);
        let percent = |s: f64| if used.seconds > 0.0 { 100.0 * s / used.seconds } else { 0.0 };
        let shard = |(shard, now): (usize, &ShardReading)| ShardSample {
            shard,
            cpu_percent: percent(
                now.cpu_seconds - earlier.shards.get(shard).map_or(0.0, |then| then.cpu_seconds),
            ),
            queue: now.queue,
            connections: now.connections,
        };
        Some(BrokerSample {
            cpu_percent: used.broker_percent()?,
            rss_bytes: self.rss_bytes,
            threads: self.threads,
            context_switches_per_s: used
                .context_switches
                .filter(|_| used.seconds > 0.0)
                .map(|n| n as f64 / used.seconds),
            shards: self.shards.iter().enumerate().map(shard).collect(),
        })
    }
}

pub struct Observer<'a> {
    broker: Option<&'a LocalBroker>,
    process: Option<Process>,
    /// Of a broker elsewhere: where it tells of its shards.
    pub shard_times: Option<&'a Path>,
    /// Thread ids; 0 until a thread has said its own.
    generator: Vec<Arc<AtomicI32>>,
    generator_cpu_s: Vec<f64>,
}

impl<'a> Observer<'a> {
    /// `pid` is looked at only without a broker in this process. Made on the thread that will read.
    pub fn new(
        broker: Option<&'a LocalBroker>,
        pid: Option<u32>,
        generator: Vec<Arc<AtomicI32>>,
    ) -> Observer<'a> {
        let process = match broker {
            Some(_) => Some(Process::new(std::process::id())),
            None => pid.map(Process::new),
        };
        let generator_cpu_s = vec![0.0; generator.len()];
        Observer { broker, process, shard_times: None, generator_cpu_s, generator }
    }

    pub fn read(&mut self, at_ns: u64) -> Reading {
        let ids: Vec<i32> = self.generator.iter().map(|id| id.load(Relaxed)).collect();
        for (known, id) in self.generator_cpu_s.iter_mut().zip(&ids) {
            // A thread that has ended keeps its last figure.
            *known = machine::thread_cpu_seconds(*id).unwrap_or(*known);
        }
        let mut reading = Reading {
            at_ns,
            generator_cpu_s: self.generator_cpu_s.clone(),
            crossings: self.broker.map(|b| (b.data_crossings)()),
            shards: match (self.broker, self.shard_times) {
                (Some(broker), _) => (broker.shards)(),
                (None, Some(file)) => shards_told_in(file).unwrap_or_default(),
                (None, None) => Vec::new(),
            },
            ..Reading::default()
        };
        if let Some(process) = &mut self.process {
            let mut not_its = Vec::new();
            if self.broker.is_some() {
                // In one process with the broker the generator's threads and this one are not its.
                not_its = runtime::threads_named(THREADS).into_iter().map(|(_, id)| id).collect();
                not_its.push(runtime::thread_id());
            }
            process.look(at_ns, &not_its);
            reading.broker_cpu_s = match self.broker {
                Some(broker) => Some((broker.cpu_seconds)()),
                None => process.cpu_seconds,
            };
            reading.rss_bytes = process.rss_bytes.filter(|_| process.ended_at_ns.is_none());
            reading.threads = process.threads;
            reading.context_switches = Some(process.switches);
        }
        reading
    }

    pub fn peak_rss_bytes(&self) -> Option<u64> {
        self.process.as_ref().and_then(|p| p.peak_rss_bytes)
    }

    /// (process id, when it was first found to be gone).
    pub fn broker_ended(&self) -> Option<(u32, u64)> {
        let process = self.process.as_ref()?;
        process.ended_at_ns.map(|at_ns| (process.pid, at_ns))
    }
}

/// A file that is being written may be read half old, half new.
const READS_MAX: usize = 5;

/// `None` when it is not there (yet) or is something else.
fn shards_told_in(file: &Path) -> Option<Vec<ShardReading>> {
    (0..READS_MAX).find_map(|_| serde_json::from_slice(&std::fs::read(file).ok()?).ok())
}

/// One process, as /proc shows it.
struct Process {
    pid: u32,
    /// Tells it from a later one with the same id.
    start_ticks: Option<u64>,
    ended_at_ns: Option<u64>,
    cpu_seconds: Option<f64>,
    rss_bytes: Option<u64>,
    threads: Option<u64>,
    peak_rss_bytes: Option<u64>,
    /// What the kernel calls the peak counts from here: it was reset, or has grown since.
    high_water_before: u64,
    /// By thread id: a thread that ends takes its count along.
    switches_of: BTreeMap<i32, u64>,
    switches: u64,
    looked: bool,
}

impl Process {
    fn new(pid: u32) -> Process {
        // 5: only the peak of the resident set (proc_pid_clear_refs(5)).
        let reset = std::fs::write(format!("/proc/{pid}/clear_refs"), "5").is_ok();
        let high_water = machine::process_status(pid).and_then(|s| s.high_water_bytes);
        Process {
            pid,
            start_ticks: machine::process_start_ticks(pid),
            ended_at_ns: None,
            cpu_seconds: None,
            rss_bytes: None,
            threads: None,
            peak_rss_bytes: None,
            high_water_before: if reset { 0 } else { high_water.unwrap_or(u64::MAX) },
            switches_of: BTreeMap::new(),
            switches: 0,
            looked: false,
        }
    }

    fn look(&mut self, at_ns: u64, not_its: &[i32]) {
        if self.ended_at_ns.is_some() {
            return;
        }
        let start = machine::process_start_ticks(self.pid);
        let status = machine::process_status(self.pid);
        let (Some(status), true) = (status, start.is_some() && start == self.start_ticks) else {
            self.ended_at_ns = Some(at_ns);
            return;
        };
        self.cpu_seconds = machine::process_cpu_seconds(self.pid).or(self.cpu_seconds);
        self.rss_bytes = status.rss_bytes.or(self.rss_bytes);
        self.threads = status.threads;
        let grown = status.high_water_bytes.filter(|bytes| *bytes > self.high_water_before);
        self.peak_rss_bytes = self.peak_rss_bytes.max(self.rss_bytes).max(grown);
        for (thread, count) in machine::context_switches(self.pid) {
            if not_its.contains(&thread) {
                continue;
            }
            // One that was not there at the first look has done all of it since.
            let before = self.switches_of.insert(thread, count);
            let before = before.unwrap_or(if self.looked { 0 } else { count });
            self.switches += count.saturating_sub(before);
        }
        self.looked = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Observer<'static> {
        let id = Arc::new(AtomicI32::new(runtime::thread_id()));
        Observer::new(None, Some(std::process::id()), vec![id])
    }

    #[test]
    fn a_process_is_read_by_its_id() {
        let mut observer = me();
        let first = observer.read(1_000_000_000);
        let mut block = vec![1u8; 64 << 20];
        block.iter_mut().step_by(4096).for_each(|b| *b = 2);
        let second = observer.read(2_000_000_000);
        assert!(second.rss_bytes.unwrap() >= first.rss_bytes.unwrap() + (60 << 20));
        drop(std::hint::black_box(block));
        let third = observer.read(3_000_000_000);
        assert!(observer.peak_rss_bytes().unwrap() >= second.rss_bytes.unwrap());
        assert!(third.threads.unwrap() >= 1);
        let used = third.since(&first);
        assert_eq!(used.seconds, 2.0);
        assert!(used.broker_s.unwrap() >= 0.0 && used.generator_s[0] > 0.0);
        let sample = third.sample_since(&first).unwrap();
        assert!(sample.shards.is_empty() && sample.context_switches_per_s.is_some());
        assert!(observer.broker_ended().is_none());
    }

    #[test]
    fn context_switches_of_threads_that_have_ended_still_count() {
        let mut observer = me();
        let first = observer.read(0);
        let (tell, hear) = std::sync::mpsc::channel::<()>();
        let (answer, answered) = std::sync::mpsc::channel::<()>();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            for () in hear {
                answer.send(()).unwrap();
            }
            let _ = ended.recv();
        });
        for _ in 0..100 {
            tell.send(()).unwrap();
            answered.recv().unwrap();
        }
        drop(tell);
        let second = observer.read(1);
        end.send(()).unwrap();
        thread.join().unwrap();
        let third = observer.read(2);
        assert!(second.context_switches > first.context_switches);
        assert!(third.context_switches >= second.context_switches);
    }

    #[test]
    fn a_process_that_ends_is_noted_with_the_time_and_keeps_its_figures() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let mut observer = Observer::new(None, Some(child.id()), Vec::new());
        let first = observer.read(7);
        assert!(first.rss_bytes.is_some() && first.broker_cpu_s.is_some());
        child.kill().unwrap();
        // Not reaped yet: what is left has ended all the same.
        while machine::process_start_ticks(child.id()).is_some() {
            std::thread::yield_now();
        }
        let second = observer.read(8);
        child.wait().unwrap();
        let third = observer.read(9);
        assert_eq!(observer.broker_ended(), Some((child.id(), 8)));
        assert!(second.rss_bytes.is_none() && third.rss_bytes.is_none());
        assert_eq!(third.broker_cpu_s, first.broker_cpu_s);
        assert!(observer.peak_rss_bytes() >= first.rss_bytes);
    }

    #[test]
    fn shards_have_their_share_of_the_time() {
        let shards = |cpu: [f64; 2]| {
            let one = |cpu_seconds| ShardReading {
                cpu_seconds,
                queue: 3,
                connections: 2,
                ..ShardReading::default()
            };
            cpu.map(one).to_vec()
        };
        let reading = |at_ns, cpu, total| Reading {
            at_ns,
            broker_cpu_s: Some(total),
            shards: shards(cpu),
            ..Reading::default()
        };
        let then = reading(0, [1.0, 2.0], 3.0);
        let now = reading(2_000_000_000, [2.0, 2.5], 4.6);
        let sample = now.sample_since(&then).unwrap();
        assert!((sample.cpu_percent - 80.0).abs() < 1e-9);
        let percents: Vec<f64> = sample.shards.iter().map(|s| s.cpu_percent).collect();
        assert_eq!(percents, [50.0, 25.0]);
        assert_eq!((sample.shards[1].queue, sample.shards[1].connections), (3, 2));
        assert!(Reading::default().sample_since(&Reading::default()).is_none());
    }
}
