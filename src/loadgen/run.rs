//! One run, from preparation to report: starts the generator's threads, shows a tick each second,
//! waits (bounded) for producers to flush and consumers to drain, and compares both sides.
//! Runs on the caller's OS thread, which does no traffic; reads CPU time at the edges of the measured
//! period.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::control::Control;
use super::observe::{LocalBroker, Observer, Reading};
use super::report::build::Inputs;
use super::report::{BrokerInfo, Report, Tick};
use super::stats::{Phase, Schedule, ThreadStats, Window};
use super::workload::Workload;
use super::{consumer, disk, machine, prepare, producer};
use crate::runtime::executor::{ExecutorSpec, block_on, start_thread};
use crate::runtime::{self, Notify, now, spawn};

/// What the run may look at and tell beside the traffic.
pub struct Surroundings<'a> {
    pub broker: Option<&'a LocalBroker>,
    /// A broker in another process of this machine.
    pub broker_pid: Option<u32>,
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
const POLL: Duration = Duration::from_millis(5);

fn spec(name: String, cpu: Option<usize>) -> ExecutorSpec {
    ExecutorSpec { name, cpu, spin_us: 0 }
}

/// `Err` when nothing could be measured: a sentence.
pub fn run(workload: Workload, around: Surroundings<'_>) -> Result<Report, String> {
    workload.validate()?;
    let started_at = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let w = workload.clone();
    let prepared = block_on(spec("bench-prepare".to_string(), None), move || async move {
        let layout = prepare::prepare(&w).await;
        layout.map(|l| (l, now().0, Instant::now()))
    });
    let (layout, now_ns, clock) = prepared.map_err(|e| e.to_string())??;
    let start_ns = now_ns + LEAD_IN.as_nanos() as u64;
    let measure_ns = start_ns + workload.warmup.as_nanos() as u64;
    let end_ns = measure_ns + workload.duration.as_nanos() as u64;
    let schedule = Schedule { start_ns, measure_ns, end_ns };
    let tag = now_ns ^ u64::from(std::process::id()).rotate_left(32) ^ wall_clock_ns();
    let run = (tag ^ (tag >> 32)) as u32;
    let control = Arc::new(Control::new(workload, layout, schedule, run));
    (around.on_ready)(&control);
    let threads = start_threads(&control)?;
    let view = View { control: &control, threads: &threads, clock, clock_ns: now_ns, started_at };
    let report = view.watch(around);
    for thread in threads {
        // One that is stuck was reported; it must not take us with it.
        if thread.handle.is_finished() {
            let _ = thread.handle.join();
        }
    }
    if !control.workload.keep_topic && control.failures().is_empty() {
        let name = spec("bench-cleanup".to_string(), None);
        let control = control.clone();
        let deleted = block_on(name, move || async move {
            prepare::delete_topics(&control.workload, &control.layout).await
        });
        if let Ok(Err(e)) = deleted {
            eprintln!("spindle bench: the topic was not deleted: {e}");
        }
    }
    Ok(report)
}

fn wall_clock_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_nanos() as u64)
}

struct Thread {
    stats: Arc<ThreadStats>,
    id: Arc<AtomicI32>,
    handle: std::thread::JoinHandle<()>,
}

/// (consumer, node, lanes): one fetch loop each.
type FetchLoop = (u32, usize, Vec<usize>);

/// Lane l belongs to consumer l mod consumers; one loop for each leader it has there.
fn fetch_loops(control: &Control) -> Vec<FetchLoop> {
    let consumers = control.workload.consumers as usize;
    let mut loops: Vec<FetchLoop> = Vec::new();
    if consumers == 0 {
        return loops;
    }
    for (lane, place) in control.layout.places.iter().enumerate() {
        let consumer = (lane % consumers) as u32;
        match loops.iter_mut().find(|l| l.0 == consumer && l.1 == place.node) {
            Some(l) => l.2.push(lane),
            None => loops.push((consumer, place.node, vec![lane])),
        }
    }
    loops
}

fn start_threads(control: &Arc<Control>) -> Result<Vec<Thread>, String> {
    let w = &control.workload;
    let loops = fetch_loops(control);
    control.expect(w.producers as usize, loops.len());
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
    for (consumer, node, lanes) in consumers {
        let (control, stats) = (control.clone(), stats.clone());
        let (running, ended) = (running.clone(), ended.clone());
        spawn(async move {
            consumer::run(control, stats, consumer, node, lanes).await;
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
        let schedule = control.schedule;
        let w = &control.workload;
        let mut total = Window::new();
        let mut interval = Window::new();
        let mut spare = Window::new();
        let mut ticks: Vec<Tick> = Vec::new();
        let ids = self.threads.iter().map(|t| t.id.clone()).collect();
        let mut observer = Observer::new(around.broker, around.broker_pid, ids);
        let elsewhere = around.broker_pid.and_then(disk::log_directory);
        let data = around.broker.map(|b| b.directory.clone()).or(elsewhere);
        let machine = machine::describe(data.as_deref());
        let first = observer.read(self.now_ns());
        let mut last = Reading { at_ns: schedule.start_ns, ..first.clone() };
        let (mut measured_from, mut measured_to) = (first, None);
        let mut edges = vec![schedule.measure_ns, schedule.end_ns];
        let mut next_tick_ns = schedule.start_ns + 1_000_000_000;
        let bound = w.request_timeout * 3 + w.drain_timeout + w.fetch_wait + SLACK;
        let mut give_up_ns = schedule.end_ns + bound.as_nanos() as u64;
        let mut stopped_early = None;
        loop {
            std::thread::sleep(POLL);
            let now_ns = self.now_ns();
            if around.interrupted.load(Relaxed) {
                control.stop();
            }
            if control.stopped() && stopped_early.is_none() && now_ns < schedule.end_ns {
                stopped_early = Some(now_ns);
                give_up_ns = now_ns + bound.as_nanos() as u64;
                edges.retain(|e| *e == schedule.measure_ns && *e > now_ns);
                if measured_to.is_none() && now_ns > schedule.measure_ns {
                    measured_to = Some(observer.read(self.now_ns()));
                }
            }
            let ended = control.producers_done() && control.consumers_done();
            if edges.first().is_some_and(|edge| now_ns >= *edge) {
                let reading = observer.read(self.now_ns());
                match edges.remove(0) == schedule.measure_ns {
                    true => measured_from = reading,
                    false => measured_to = Some(reading),
                }
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
                let phase = schedule.phase(next_tick_ns.saturating_sub(500_000_000));
                let at_s = schedule.seconds(now_ns);
                let errors = control.error_count();
                let cpu = reading.since(&last);
                let broker = reading.sample_since(&last);
                let tick = Tick::new(at_s, phase, &interval, &cpu, broker, errors);
                (around.on_tick)(&tick);
                // The tail of the drain says nothing about the broker's rate.
                if phase != Phase::Drain || tick.produced_records_per_s > 0.0 {
                    ticks.push(tick);
                }
                last = reading;
                next_tick_ns += 1_000_000_000;
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
        let measured_to = measured_to.unwrap_or_else(|| observer.read(self.now_ns()));
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
        let until_ns = stopped_early.unwrap_or(schedule.end_ns);
        Inputs {
            control,
            total: &total,
            cpu: measured_to.since(&measured_from),
            broker_peak_rss_bytes: observer.peak_rss_bytes(),
            not_measured,
            measured_s: until_ns.saturating_sub(schedule.measure_ns) as f64 / 1e9,
            stopped_early_s: stopped_early.map(|at| schedule.seconds(at)),
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
