//! The controller on its shard: commands in, one batch of records each, one write and one sync for all that wait,
//! then the new image, then the replies. Owned by the controller shard; no borrow lives across an await.
//! The metadata log only grows: there are no snapshots yet (they come with the quorum), and nothing bounds it
//! but the disk. Only crash recovery cuts it, and only what was never acknowledged.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use futures::channel::oneshot;

use super::image::Image;
use super::plan::{Context, plan, storage_failed};
use super::records::{METADATA_VERSION, Record};
use super::replay::{self, Replayed};
use super::{Command, ControllerOptions, Reply};
use crate::limits::{COMMAND_PARTITIONS, CONTROLLER_GROUP_COMMANDS};
use crate::log::{Log, Patch};
use crate::runtime::{self, random_u64, wall_clock_ms};
use crate::types::{Compression, Offset, TopicId};
use crate::wire::records::BatchBuilder;

/// Owned by the controller shard; not Send. One command at a time is turned into records, appended,
/// made durable, applied to the image; then `on_image` is called, then the reply is given.
#[derive(Clone)]
pub struct Controller {
    inner: Rc<Inner>,
}

type Waiting = (Command, oneshot::Sender<(Offset, Reply)>);

struct Inner {
    options: ControllerOptions,
    log: Log,
    /// The leader epoch of a quorum of one: it stays what it was.
    epoch: i32,
    image: RefCell<Arc<Image>>,
    on_image: Box<dyn Fn(Arc<Image>)>,
    queue: RefCell<VecDeque<Waiting>>,
    pumping: Cell<bool>,
    /// The log can't be written: said once.
    failing: Cell<bool>,
}

impl Controller {
    /// Replays the log (or starts it), registers this broker, and calls `on_image` with the result.
    pub async fn open(
        options: ControllerOptions,
        on_image: Box<dyn Fn(Arc<Image>)>,
    ) -> Result<Controller, String> {
        let dir = options.dir.join("__cluster_metadata-0");
        let cluster_id = options.cluster_id.clone();
        let Replayed { log, mut image, epoch, open_transaction } =
            replay::open(&dir, cluster_id).await?;

        let mut records = Vec::new();
        let is_new = image.offset == 0;
        if is_new {
            let (name, level) = METADATA_VERSION;
            records.push(Record::FeatureLevel { name: name.to_string(), level });
        }
        if open_transaction {
            records.push(Record::AbortTransaction);
        }
        let broker = options.this_broker.clone();
        let broker_id = broker.broker_id;
        if image.brokers.get(&broker_id) != Some(&broker) {
            let epoch = image.offset + records.len() as i64;
            records.push(Record::RegisterBroker { broker, incarnation: random_uuid(), epoch });
        }
        records.extend(replay::elections(&image, broker_id));
        for some in records.chunks(COMMAND_PARTITIONS) {
            append(&log, some, epoch)?;
            apply(&mut image, some);
        }
        if !records.is_empty() {
            make_durable(&log).await.map_err(|e| {
                let what = if is_new {
                    "the directory is new"
                } else {
                    "this broker's listeners, broker.rack or number of shards are not those of its \
                     last start"
                };
                format!(
                    "the metadata log has to take {} records at this start ({what}) and can't: {e}: \
                     if the disk is full, free 64 KiB or more on it; a start with the settings of \
                     the last one needs no room",
                    records.len()
                )
            })?;
        }
        let image = Arc::new(image);
        on_image(image.clone());
        let inner = Inner {
            options,
            log,
            epoch,
            image: RefCell::new(image),
            on_image,
            queue: RefCell::default(),
            pumping: Cell::new(false),
            failing: Cell::new(false),
        };
        Ok(Controller { inner: Rc::new(inner) })
    }

    pub fn image(&self) -> Arc<Image> {
        self.inner.image.borrow().clone()
    }

    /// The leader epoch of the metadata log.
    pub fn epoch(&self) -> i32 {
        self.inner.epoch
    }

    /// The reply, and the offset of the image that holds its result.
    pub async fn submit(&self, command: Command) -> (Offset, Reply) {
        let (reply, answer) = oneshot::channel();
        self.inner.queue.borrow_mut().push_back((command, reply));
        if !self.inner.pumping.replace(true) {
            // A task of its own: a caller that goes away must not stop a write half-way.
            runtime::spawn(pump(self.inner.clone()));
        }
        match answer.await {
            Ok(answer) => answer,
            // The pump answers all it takes; it only ends with the executor.
            Err(_) => std::future::pending().await,
        }
    }

    /// A record that no plan would make.
    #[cfg(test)]
    pub(super) async fn append_raw(&self, record: Record) {
        append(&self.inner.log, &[record], self.inner.epoch).unwrap();
        make_durable(&self.inner.log).await.unwrap();
    }

    pub async fn close(&self) -> Result<(), String> {
        while self.inner.pumping.get() {
            runtime::yield_now().await;
        }
        make_writable(&self.inner.log).await?;
        self.inner.log.close().await.map_err(|e| e.to_string())
    }
}

/// Serves the queue until it is empty, a group at a time.
async fn pump(inner: Rc<Inner>) {
    loop {
        let group: Vec<Waiting> = {
            let mut queue = inner.queue.borrow_mut();
            let n = queue.len().min(CONTROLLER_GROUP_COMMANDS);
            queue.drain(..n).collect()
        };
        if group.is_empty() {
            inner.pumping.set(false);
            return;
        }
        serve(&inner, group).await;
    }
}

async fn serve(inner: &Inner, group: Vec<Waiting>) {
    let before = inner.image.borrow().clone();
    let mut image = (*before).clone();
    let mut answers = Vec::with_capacity(group.len());
    let mut failed = make_writable(&inner.log).await.err();
    for (command, waiter) in group {
        let (records, reply) = {
            let mut cx = Context {
                image: &image,
                config: &inner.options.config,
                broker_id: inner.options.this_broker.broker_id,
                new_id: &mut random_uuid,
            };
            plan(&mut cx, &command)
        };
        if !records.is_empty() && failed.is_none() {
            match append(&inner.log, &records, inner.epoch) {
                Ok(()) => apply(&mut image, &records),
                Err(why) => failed = Some(why),
            }
        }
        answers.push((waiter, reply, !records.is_empty(), image.offset));
    }
    if image.offset > before.offset && failed.is_none() {
        failed = make_durable(&inner.log).await.err();
    }
    match &failed {
        // No one is told of the records of this group: they are taken back before the next one.
        Some(why) if !inner.failing.replace(true) => tracing::error!(
            why,
            "the metadata log can't be written: topics and configurations stay as they are until it \
             can be; check the disk and its room"
        ),
        Some(_) => {}
        None => {
            if inner.failing.replace(false) {
                tracing::info!("the metadata log is written again");
            }
            if image.offset > before.offset {
                let image = Arc::new(image);
                *inner.image.borrow_mut() = image.clone();
                (inner.on_image)(image);
            }
        }
    }
    for (waiter, reply, changed, offset) in answers {
        let answer = match &failed {
            Some(why) if changed => (before.offset, storage_failed(reply, why)),
            Some(_) => (before.offset, reply),
            None => (offset, reply),
        };
        // A caller that went away needs no answer.
        let _ = waiter.send(answer);
    }
}

/// One batch: recovery keeps all of a command or nothing.
fn append(log: &Log, records: &[Record], leader_epoch: i32) -> Result<(), String> {
    let now = wall_clock_ms();
    let mut batch = BatchBuilder::new(Compression::None);
    for record in records {
        batch.push(now, None, Some(&record.encode()), &[]);
    }
    let base_offset = log.log_end_offset();
    let patch = Patch { base_offset, leader_epoch, log_append_time_ms: None };
    log.assign_leader_epoch(leader_epoch);
    log.append(&batch.finish(), patch).map(|_| ()).map_err(|e| e.to_string())
}

fn apply(image: &mut Image, records: &[Record]) {
    for record in records {
        // A plan that contradicts the image it was made from is a bug of ours.
        image.apply(record).expect("records follow from the image they were planned with");
        image.offset += 1;
    }
}

async fn make_durable(log: &Log) -> Result<(), String> {
    log.write_pending().await.map_err(|e| e.to_string())?;
    log.sync().await.map_err(|e| e.to_string())?;
    Ok(())
}

/// After a failure: takes back what was not answered (all that is not durable), checks the rest.
async fn make_writable(log: &Log) -> Result<(), String> {
    if log.is_writable() {
        return Ok(());
    }
    log.cut_back(|_, durable| durable).await.map_err(|e| e.to_string())?;
    log.repair().await.map_err(|e| e.to_string())
}

/// A random (version 4) id whose text, in Kafka's base64, does not begin with a dash.
fn random_uuid() -> TopicId {
    loop {
        let bytes = ((random_u64() as u128) << 64 | random_u64() as u128).to_be_bytes();
        let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
        if id.as_bytes()[0] >> 2 != 62 {
            return id;
        }
    }
}
