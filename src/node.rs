//! Composition root: the only file that names every room. Turns a configuration into a running
//! broker: one executor a shard, the data directory, the controller on shard 0, listeners.
//! The same `run_shard` runs on glommio threads (`Node::start`) and in the simulator
//! (`Node::start_tasks`).

mod data_dir;
mod plan;

use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};

use crate::config::BrokerConfig;
use crate::controller::{BrokerImage, Controller, ControllerOptions, Image};
use crate::error::StartError;
use crate::limits;
use crate::metrics::ShardCounters;
use crate::runtime::disk::DiskProbe;
use crate::runtime::executor::{self, ExecutorSpec};
use crate::runtime::mailbox::{OneshotReceiver, OneshotSender, Receiver, Sender, mailbox, oneshot};
use crate::runtime::{self, activity, disk, sleep};
use crate::server::{Acceptor, ListenerOptions};
use crate::shard::{Job, PartitionCheckpoint, Router, Shard, ShardOptions, StartHints};
use crate::types::ShardId;
use data_dir::DataDir;
pub use plan::{BoundListener, Plan, free_port_range};

/// What shard 0 learns from the data directory and tells the others.
struct Prepared {
    hints: Arc<StartHints>,
    /// Directory names that exist: partitions to open without being asked.
    existing: std::collections::HashSet<String>,
}

/// What a shard says when it has ended.
struct Stopped {
    clean: bool,
    checkpoints: Vec<PartitionCheckpoint>,
}

/// What a shard says when it serves.
struct Started {
    /// Of the data directory's disk, from shard 0.
    disk: Option<DiskProbe>,
}

/// Everything one shard needs to run; Send, made where the node is started.
struct ShardStart {
    id: ShardId,
    plan: Arc<Plan>,
    mailbox: Receiver<Job>,
    mailboxes: Vec<Sender<Job>>,
    counters: Vec<Arc<ShardCounters>>,
    role: Role,
    ready: OneshotSender<Result<Started, StartError>>,
    stop: OneshotReceiver<()>,
}

enum Role {
    /// Shard 0: opens the data directory, runs the controller, ends last.
    Controller {
        prepared: Vec<OneshotSender<Arc<Prepared>>>,
        stopped: Vec<OneshotReceiver<Stopped>>,
        ended: OneshotSender<()>,
    },
    Worker {
        prepared: OneshotReceiver<Arc<Prepared>>,
        stopped: OneshotSender<Stopped>,
    },
}

/// A running broker.
pub struct Node {
    pub plan: Arc<Plan>,
    pub counters: Vec<Arc<ShardCounters>>,
    /// What was found of the data directory's disk.
    pub disk: Option<DiskProbe>,
    stops: Vec<OneshotSender<()>>,
    ended: OneshotReceiver<()>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

type Readies = Vec<OneshotReceiver<Result<Started, StartError>>>;

impl Node {
    fn build(plan: Arc<Plan>) -> (Vec<ShardStart>, Readies, Node) {
        let count = plan.shard_count;
        let (mailboxes, receivers): (Vec<_>, Vec<_>) =
            (0..count).map(|_| mailbox(limits::MAILBOX_MESSAGES)).unzip();
        let counters: Vec<Arc<ShardCounters>> = (0..count).map(|_| Arc::default()).collect();
        let mut stops = Vec::with_capacity(count);
        let mut readies = Vec::with_capacity(count);
        let mut tell_prepared = Vec::new();
        let mut hear_stopped = Vec::new();
        let mut starts: Vec<ShardStart> = Vec::with_capacity(count);
        let (ended_tx, ended) = oneshot();
        let mut controller_ended = Some(ended_tx);
        // Shard 0 last: by then it has an end of every worker's channels.
        for (id, mailbox) in receivers.into_iter().enumerate().rev() {
            let role = if id == 0 {
                Role::Controller {
                    prepared: std::mem::take(&mut tell_prepared),
                    stopped: std::mem::take(&mut hear_stopped),
                    ended: controller_ended.take().expect("shard 0 is built once"),
                }
            } else {
                let (prepared_tx, prepared) = oneshot();
                let (stopped, stopped_rx) = oneshot();
                tell_prepared.push(prepared_tx);
                hear_stopped.push(stopped_rx);
                Role::Worker { prepared, stopped }
            };
            let (ready, ready_rx) = oneshot();
            let (stop_tx, stop) = oneshot();
            readies.push(ready_rx);
            stops.push(stop_tx);
            starts.push(ShardStart {
                id,
                plan: plan.clone(),
                mailbox,
                mailboxes: mailboxes.clone(),
                counters: counters.clone(),
                role,
                ready,
                stop,
            });
        }
        starts.reverse();
        // Shard 0 first: it knows why, when the others only know that it ended.
        readies.reverse();
        let node = Node { plan, counters, disk: None, stops, ended, threads: Vec::new() };
        (starts, readies, node)
    }

    /// Starts one pinned thread a shard and returns when every listener accepts.
    pub fn start(config: BrokerConfig) -> Result<Node, StartError> {
        let plan = Arc::new(Plan::new(config)?);
        let (starts, readies, mut node) = Node::build(plan.clone());
        for start in starts {
            let id = start.id;
            let spec = ExecutorSpec {
                name: format!("shard-{id}"),
                cpu: plan.cpus.get(id).copied(),
                spin_us: plan.config.shards.of(id).spin_us,
            };
            let thread = executor::start_thread(spec, move || run_shard(start))
                .map_err(|e| StartError::environment(e.to_string()))?;
            node.threads.push(thread);
        }
        for ready in readies {
            match futures::executor::block_on(ready) {
                Ok(Ok(started)) => {
                    node.disk = node.disk.or(started.disk);
                }
                Ok(Err(e)) => return Err(e),
                Err(_) => {
                    return Err(StartError::environment("a shard ended while it was starting"));
                }
            }
        }
        Ok(node)
    }

    /// As `start`, with every shard a task of the calling executor (the simulator's processes).
    pub async fn start_tasks(config: BrokerConfig) -> Result<Node, StartError> {
        let plan = Arc::new(Plan::new(config)?);
        let (starts, readies, node) = Node::build(plan);
        for start in starts {
            runtime::spawn(run_shard(start));
        }
        for ready in readies {
            match ready.await {
                Ok(started) => started?,
                Err(_) => {
                    return Err(StartError::environment("a shard ended while it was starting"));
                }
            };
        }
        Ok(node)
    }

    /// Where clients connect first: one address of each listener.
    pub fn bootstrap(&self) -> Vec<SocketAddr> {
        self.plan.listeners.iter().map(|l| l.address(0)).collect()
    }

    /// Stops cleanly: connections end, logs close, checkpoints are written.
    pub fn stop(self) {
        for stop in self.stops {
            let _ = stop.send(());
        }
        let _ = futures::executor::block_on(self.ended);
        for thread in self.threads {
            let _ = thread.join();
        }
    }

    /// As `stop`, from inside the executor that `start_tasks` ran on.
    pub async fn stop_tasks(self) {
        for stop in self.stops {
            let _ = stop.send(());
        }
        let _ = self.ended.await;
    }
}

async fn run_shard(start: ShardStart) {
    let ShardStart { id, plan, mailbox, mailboxes, counters, role, ready, stop } = start;
    activity::keep_time(counters[id].clone());
    let options = |hints| ShardOptions {
        id,
        config: plan.config.clone(),
        data_dir: plan.config.log_dir.clone(),
        mailboxes,
        counters,
        hints,
    };
    match role {
        Role::Worker { prepared, stopped } => {
            // Gone when shard 0 failed: it has said why.
            let Ok(prepared) = prepared.await else { return };
            if let Err(e) = disk::prepare_device(&plan.config.log_dir).await {
                let _ = ready.send(Err(StartError::environment(e.to_string())));
                return;
            }
            let shard = Shard::new(options(prepared.hints.clone()));
            shard.start(mailbox);
            wait_for_image(&shard).await;
            let acceptor = match listen(&plan, &shard) {
                Ok(acceptor) => acceptor,
                Err(e) => {
                    let _ = ready.send(Err(e));
                    return;
                }
            };
            open_existing(&shard, &prepared);
            let _ = ready.send(Ok(Started { disk: None }));
            let _ = stop.await;
            let _ = stopped.send(stop_shard(&shard, &acceptor).await);
        }
        Role::Controller { prepared: tell, stopped, ended } => {
            match run_controller_shard(&plan, options, mailbox, tell).await {
                Err(e) => {
                    let _ = ready.send(Err(e));
                }
                Ok((dir, shard, controller, acceptor)) => {
                    let _ = ready.send(Ok(Started { disk: dir.probe.clone() }));
                    checkpoint_until(&plan, &dir, &shard, stop).await;
                    let mut all = stop_shard(&shard, &acceptor).await;
                    for worker in stopped {
                        match worker.await {
                            Ok(mut s) => {
                                all.clean &= s.clean;
                                all.checkpoints.append(&mut s.checkpoints);
                            }
                            Err(_) => all.clean = false,
                        }
                    }
                    if let Err(why) = controller.close().await {
                        tracing::error!(why, "the metadata log was not closed cleanly");
                        all.clean = false;
                    }
                    shard.set_write_checkpoints(None);
                    dir.finish(&all.checkpoints, all.clean).await;
                    let _ = ended.send(());
                }
            }
        }
    }
}

async fn run_controller_shard(
    plan: &Arc<Plan>,
    options: impl FnOnce(Arc<StartHints>) -> ShardOptions,
    mailbox: Receiver<Job>,
    tell: Vec<OneshotSender<Arc<Prepared>>>,
) -> Result<(Rc<DataDir>, Rc<Shard>, Controller, Rc<Acceptor>), StartError> {
    let config = &plan.config;
    let (dir, mut hints) = DataDir::open(config).await?;
    let this_broker = BrokerImage {
        broker_id: config.broker_id,
        rack: config.rack.clone(),
        endpoints: plan.endpoints(),
        shard_count: plan.shard_count,
    };
    let controller = Controller::open(
        ControllerOptions {
            dir: config.log_dir.clone(),
            cluster_id: dir.cluster_id().to_string(),
            config: config.clone(),
            this_broker,
        },
        // Images are published by whoever submitted the command, before it is answered.
        Box::new(|_| {}),
    )
    .await
    .map_err(StartError::environment)?;
    let image: Arc<Image> = controller.image();
    let existing = dir.remove_strays(&image).await?;
    let forgotten = dir.forget_deleted(&mut hints, &existing).await?;
    let prepared = Arc::new(Prepared { hints: Arc::new(hints), existing });
    let shard = Shard::new(options(prepared.hints.clone()));
    shard.set_controller(controller.clone());
    shard.set_write_checkpoints(Some({
        let (dir, shard) = (dir.clone(), Rc::downgrade(&shard));
        // What is gone must go from the files; what stays need not move on for that.
        Rc::new(move || Box::pin(write_checkpoints(dir.clone(), shard.clone(), false)))
    }));
    if !forgotten {
        shard.checkpoints_are_stale();
    }
    for worker in tell {
        let _ = worker.send(prepared.clone());
    }
    shard.start(mailbox);
    shard.publish(image).await;
    let acceptor = listen(plan, &shard)?;
    open_existing(&shard, &prepared);
    Ok((dir, shard, controller, acceptor))
}

fn listen(plan: &Plan, shard: &Rc<Shard>) -> Result<Rc<Acceptor>, StartError> {
    let acceptor = Acceptor::new(Router::new(shard.clone()));
    for (index, listener) in plan.listeners.iter().enumerate() {
        let address = listener.address(shard.id);
        acceptor
            .listen(ListenerOptions { index, address })
            .map_err(|e| StartError::environment(format!("can't listen on {address}: {e}")))?;
    }
    Ok(acceptor)
}

fn open_existing(shard: &Rc<Shard>, prepared: &Arc<Prepared>) {
    let (shard, prepared) = (shard.clone(), prepared.clone());
    runtime::spawn(async move { shard.open_existing(&prepared.existing).await });
}

async fn wait_for_image(shard: &Rc<Shard>) {
    // Shard 0 publishes it right after it told us to start.
    while shard.image().cluster_id.is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
}

async fn stop_shard(shard: &Rc<Shard>, acceptor: &Rc<Acceptor>) -> Stopped {
    acceptor.close_all();
    let clean = shard.stop().await;
    Stopped { clean, checkpoints: shard.checkpoints(true).await }
}

/// Writes the offset checkpoints now and then, until told to stop.
async fn checkpoint_until(
    plan: &Arc<Plan>,
    dir: &Rc<DataDir>,
    shard: &Rc<Shard>,
    stop: OneshotReceiver<()>,
) {
    let interval = Duration::from_millis(plan.config.recovery_point_checkpoint_ms.max(1));
    let mut stop = stop;
    loop {
        let tick = std::pin::pin!(sleep(interval));
        match select(stop, tick).await {
            Either::Left(_) => return,
            Either::Right((_, still)) => stop = still,
        }
        write_checkpoints(dir.clone(), Rc::downgrade(shard), true).await;
    }
}

async fn write_checkpoints(dir: Rc<DataDir>, shard: Weak<Shard>, advance: bool) -> bool {
    // Collected and written in one turn: what was collected first is not written last.
    dir.take_checkpoint_turn().await;
    let mut written = false;
    if let Some(shard) = shard.upgrade() {
        let checkpoints = shard.all_checkpoints(advance).await;
        written = dir.try_checkpoints(&checkpoints).await;
    }
    dir.end_checkpoint_turn();
    written
}
