//! One run, from preparation to report: starts the generator's threads, shows a tick each second,
//! waits (bounded) for producers to flush and consumers to drain, and compares both sides.
//! Runs on the caller's OS thread, which does no traffic; reads CPU time at the edges of the schedule's
//! spans.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::control::{Control, Layout};
use super::observe::{LocalBroker, Observer, Reading};
use super::report::build::Inputs;
use super::report::{BrokerInfo, CpuUse, Report, Tick};
use super::stats::{ThreadStats, Window};
use super::workload::{PayloadPool, Schedule, Workload};
use super::{consumer, disk, find, machine, prefill, prepare, producer};
use crate::runtime::executor::{ExecutorSpec, block_on, start_thread};
use crate::runtime::{self, Notify, now, spawn};

/// What the run may look at and tell beside the traffic.
pub struct Surroundings<'a> {
    pub broker: Option<&'a LocalBroker>,
    /// A broker in another process of this machine.
    pub broker_pid: Option<u32>,
    /// What that one tells of its shards: `ShardReading`s as JSON, written anew all the time.
    pub broker_shard_times: Option<&'a Path>,
    pub interrupted: Arc<AtomicBool>,
    /// The command that repeats the run.
    pub command: String,
    pub on_tick: &'a mut dyn FnMut(&Tick),
    /// Called when the cluster is ready, with the run's facts.
    pub on_ready: &'a mut dyn FnMut(&Arc<Control>),
}

/// From "everything is started" to the first record: connections are made in it.
const LEAD_IN: Duration = Duration::from_millis(300);
/// Beyond every bounded wait inside: if this passes, the bound is broken and we say so.
const SLACK: Duration = Duration::from_secs(15);
pub(super) const POLL: Duration = Duration::from_millis(5);
const TICK_NS: u64 = 1_000_000_000;

fn spec(name: String, cpu: Option<usize>) -> ExecutorSpec {
    ExecutorSpec { name, cpu, spin_us: 0 }
}

/// `Err` when nothing could be measured: a sentence.
pub fn run(workload: Workload, around: Surroundings<'_>) -> Result<Report, String> {
    workload.validate()?;
    if workload.find.is_some() {
        return find::run(workload, around);
    }
    let started_at = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let payloads = Arc::new(PayloadPool::new(&workload)?);
    let w = workload.clone();
    let prepared = block_on(spec("bench-prepare".to_string(), None), move || async move {
        let layout = prepare::prepare(&w).await;
        layout.map(|l| (l, now().0, Instant::now()))
    });
    let (mut layout, clock_ns, clock) = prepared.map_err(|e| e.to_string())??;
    let run = run_tag(clock_ns);
    let mut prefilled = None;
    if workload.prefill > 0 {
        let (pool, stop) = (payloads.clone(), &around.interrupted);
        prefilled = Some(prefill::prefill(&workload, &mut layout, pool, run, clock_ns, stop)?);
    }
    let now_ns = clock_ns + clock.elapsed().as_nanos() as u64;
    let start_ns = now_ns + LEAD_IN.as_nanos() as u64;
    let schedule = Schedule::new(&workload, start_ns);
    let mut control = Control::new(workload, layout, schedule, payloads, run);
    control.prefilled = prefilled;
    let control = Arc::new(control);
    (around.on_ready)(&control);
    let threads = start_threads(&control)?;
    let view = View { control: &control, threads: &threads, clock, clock_ns, started_at };
    let report = view.watch(around);
    for thread in threads {
        // One that is stuck was reported; it must not take us with it.
        if thread.handle.is_finished() {
            let _ = thread.handle.join();
        }
    }
    if !control.workload.keep_topic && control.failures().is_empty() {
        delete_topics(&control.workload, control.layout.clone());
    }
    Ok(report)
}

/// Those that the run made.
pub(super) fn delete_topics(w: &Workload, layout: Layout) {
    let (name, w) = (spec("bench-cleanup".to_string(), None), w.clone());
    let deleted = block_on(name, move || async move { prepare::delete_topics(&w, &layout).await });
    if let Ok(Err(e)) = deleted {
        eprintln!("spindle bench: the topic was not deleted: {e}");
    }
}

/// Tells this run's records from those of any other.
fn run_tag(now_ns: u64) -> u32 {
    let tag = now_ns ^ u64::from(std::process::id()).rotate_left(32) ^ wall_clock_ns();
    (tag ^ (tag >> 32)) as u32
}

fn wall_clock_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_nanos() as u64)
}

pub(super) struct Thread {
    stats: Arc<ThreadStats>,
    id: Arc<AtomicI32>,
    pub(super) handle: std::thread::JoinHandle<()>,
}

/// One consumer's lanes on one node.
#[derive(Clone)]
struct FetchLoop {
    /// From the earliest offset, beside the live traffic.
    replay: bool,
    consumer: u32,
    node: usize,
    lanes: Vec<usize>,
}

/// Lane l belongs to consumer l mod consumers; one loop for each leader it has there.
fn fetch_loops(layout: &Layout, consumers: u32, replay: bool) -> Vec<FetchLoop> {
    let mut loops: BTreeMap<(u32, usize), Vec<usize>> = BTreeMap::new();
    if consumers > 0 {
        for (lane, place) in layout.places.iter().enumerate() {
            let consumer = (lane % consumers as usize) as u32;
            loops.entry((consumer, place.node)).or_default().push(lane);
        }
    }
    let one = |((consumer, node), lanes)| FetchLoop { replay, consumer, node, lanes };
    loops.into_iter().map(one).collect()
}

pub(super) fn start_threads(control: &Arc<Control>) -> Result<Vec<Thread>, String> {
    let w = &control.workload;
    let replays = fetch_loops(&control.layout, w.replay_consumers, true);
    let replay_count = replays.len();
    let mut loops = fetch_loops(&control.layout, w.consumers, false);
    loops.extend(replays);
    control.expect(w.producers as usize, loops.len(), replay_count);
    let mut threads = Vec::with_capacity(w.threads);
    for index in 0..w.threads {
        let producers: Vec<u32> =
            (0..w.producers).filter(|p| *p as usize % w.threads == index).collect();
        let consumers: Vec<FetchLoop> = loops
            .iter()
            .enumerate()
            // The other way round, so that two threads with a producer and a consumer have one each.
            .filter(|(i, _)| (w.threads - 1) - (i % w.threads) == index)
            .map(|(_, l)| l.clone())
            .collect();
        let stats: Arc<ThreadStats> = Arc::default();
        let id = Arc::new(AtomicI32::new(0));
        let (control, thread_stats, thread_id) = (control.clone(), stats.clone(), id.clone());
        let cpu = w.cpus.get(index).copied();
        let handle = start_thread(spec(format!("bench-{index}"), cpu), move || {
            thread_id.store(runtime::thread_id(), Relaxed);
            generate(control, thread_stats, producers, consumers)
        });
        threads.push(Thread { stats, id, handle: handle.map_err(|e| e.to_string())? });
    }
    Ok(threads)
}

/// One generator thread's main task.
async fn generate(
    control: Arc<Control>,
    stats: Arc<ThreadStats>,
    producers: Vec<u32>,
    consumers: Vec<FetchLoop>,
) {
    let running = Rc::new(Cell::new(producers.len() + consumers.len()));
    let ended = Notify::new();
    let tell = |running: &Rc<Cell<usize>>, ended: &Notify| {
        running.set(running.get() - 1);
        ended.notify_waiters();
    };
    for FetchLoop { replay, consumer, node, lanes } in consumers {
        let (control, stats) = (control.clone(), stats.clone());
        let (running, ended) = (running.clone(), ended.clone());
        spawn(async move {
            match replay {
                false => consumer::run(control, stats, consumer, node, lanes).await,
                true => consumer::replay::run(control, stats, consumer, node, lanes).await,
            }
            tell(&running, &ended);
        });
    }
    for id in producers {
        let (control, stats) = (control.clone(), stats.clone());
        let (running, ended) = (running.clone(), ended.clone());
        spawn(async move {
            producer::run(control, stats, id).await;
            tell(&running, &ended);
        });
    }
    loop {
        let next = ended.notified();
        if running.get() == 0 {
            return;
        }
        next.await;
    }
}

struct View<'a> {
    control: &'a Arc<Control>,
    threads: &'a [Thread],
    /// The same moment on this thread's clock and on the runtime's.
    clock: Instant,
    clock_ns: u64,
    started_at: String,
}

impl View<'_> {
    fn now_ns(&self) -> u64 {
        self.clock_ns + self.clock.elapsed().as_nanos() as u64
    }

    fn watch(&self, around: Surroundings<'_>) -> Report {
        let control = self.control;
        let schedule = &control.schedule;
        let w = &control.workload;
        let mut total = Window::default();
        let mut interval = Window::default();
        let mut spare = Window::default();
        let mut ticks: Vec<Tick> = Vec::new();
        let mut edges = Edges::new(schedule);
        let ids = self.threads.iter().map(|t| t.id.clone()).collect();
        let mut observer = Observer::new(around.broker, around.broker_pid, ids);
        observer.shard_times = around.broker_shard_times;
        let elsewhere = around.broker_pid.and_then(disk::log_directory);
        let data = around.broker.map(|b| b.directory.clone()).or(elsewhere);
        let machine = machine::describe(data.as_deref());
        let mut last = observer.read(self.now_ns());
        let mut next_tick_ns = schedule.start_ns + TICK_NS;
        let bound = w.request_timeout * 3 + w.drain_timeout + w.fetch_wait + SLACK;
        let bound_ns = bound.as_nanos() as u64;
        loop {
            let wake_ns = next_tick_ns.min(edges.next_ns());
            let sleep = Duration::from_nanos(wake_ns.saturating_sub(self.now_ns()));
            std::thread::sleep(sleep.min(POLL));
            let now_ns = self.now_ns();
            if around.interrupted.load(Relaxed) {
                control.stop(now_ns);
            }
            let end_ns = control.end_ns();
            let give_up_ns = end_ns + bound_ns;
            let ended = control.producers_done() && control.consumers_done();
            if edges.due(now_ns, end_ns) {
                let reading = observer.read(self.now_ns());
                if edges.readings.is_empty() {
                    last = Reading { at_ns: schedule.start_ns, ..reading.clone() };
                }
                edges.passed(reading, end_ns);
            }
            if now_ns < next_tick_ns && !ended && now_ns < give_up_ns {
                continue;
            }
            for thread in self.threads {
                thread.stats.swap(&mut spare);
                interval.add(&spare);
            }
            if now_ns >= next_tick_ns {
                let reading = observer.read(self.now_ns());
                // The second that ends here, whichever moment of it we woke at.
                let middle_ns = next_tick_ns - TICK_NS / 2;
                let span = control.span(middle_ns).map(|i| (&schedule.spans[i], middle_ns));
                let at_s = schedule.seconds(now_ns);
                let errors = control.error_count();
                let (cpu, broker) = (reading.since(&last), reading.sample_since(&last));
                let tick = Tick::new(at_s, span, &interval, &cpu, broker, errors);
                (around.on_tick)(&tick);
                // The tail of the drain says nothing about the broker's rate.
                if span.is_some() || tick.produced_records_per_s > 0.0 {
                    ticks.push(tick);
                }
                last = reading;
                next_tick_ns += TICK_NS;
                total.add(&interval);
                interval.clear();
            }
            if ended {
                break;
            }
            if now_ns >= give_up_ns {
                let seconds = bound.as_secs();
                control.fail(now_ns, format!("the generator did not end within {seconds} s"));
                break;
            }
        }
        total.add(&interval);
        if !edges.closed {
            edges.passed(observer.read(self.now_ns()), control.end_ns());
        }
        let mut not_measured = Vec::new();
        if let Some((pid, at_ns)) = observer.broker_ended() {
            let at_s = schedule.seconds(at_ns);
            not_measured.push(format!(
                "CPU and memory after {at_s:.1} s: broker process {pid} ended at {at_s:.1} s"
            ));
        }
        if around.broker.is_some() {
            let why = "the broker's memory alone: it shares this process with the generator";
            not_measured.push(why.to_string());
        }
        let early = control.stopped() && control.end_ns() < schedule.end_ns();
        Inputs {
            control,
            total: &total,
            spans_cpu: edges.uses(),
            broker_peak_rss_bytes: observer.peak_rss_bytes(),
            not_measured,
            stopped_early_s: early.then(|| schedule.seconds(control.end_ns())),
            interrupted: around.interrupted.load(Relaxed),
            machine,
            broker: BrokerInfo {
                in_process: around.broker.is_some(),
                name: w.broker_name.clone(),
                pid: around.broker_pid,
                cluster_id: control.layout.cluster_id.clone(),
                nodes: control.layout.nodes.len(),
                overrides: around.broker.map_or_else(Vec::new, |b| b.overrides.clone()),
            },
            started_at: self.started_at.clone(),
            command: around.command,
            ticks,
        }
        .report()
    }
}

/// CPU readings at the start, between spans, and at the end.
struct Edges {
    at_ns: Vec<u64>,
    readings: Vec<Reading>,
    /// The last one was read.
    closed: bool,
}

impl Edges {
    fn new(schedule: &Schedule) -> Edges {
        let ends = schedule.spans.iter().map(|span| span.to_ns);
        let at_ns = std::iter::once(schedule.start_ns).chain(ends).collect();
        Edges { at_ns, readings: Vec::new(), closed: false }
    }

    fn next_ns(&self) -> u64 {
        let next = self.at_ns.get(self.readings.len()).filter(|_| !self.closed);
        next.copied().unwrap_or(u64::MAX)
    }

    fn due(&self, now_ns: u64, end_ns: u64) -> bool {
        !self.closed && now_ns >= self.next_ns().min(end_ns)
    }

    /// This reading stands for every edge up to its time; a run that was cut off has its last one there.
    fn passed(&mut self, reading: Reading, end_ns: u64) {
        self.closed = reading.at_ns >= end_ns;
        while let Some(edge) = self.at_ns.get(self.readings.len())
            && *edge <= reading.at_ns
            && *edge <= end_ns
        {
            self.readings.push(reading.clone());
        }
        if self.closed && self.readings.len() < self.at_ns.len() {
            self.readings.push(reading);
        }
    }

    /// Of each span that began.
    fn uses(&self) -> Vec<CpuUse> {
        self.readings.windows(2).map(|two| two[1].since(&two[0])).collect()
    }
}
