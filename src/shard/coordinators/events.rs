//! What happens to groups, as JSON records in `__spindle_group_events` (key: the group id): one queue a shard, drained
//! by a task of its own. Bounded and lossy: a queue that is full drops what comes, and a
//! counter says how much. Not here: what is an event (coordinator/group/effect).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::coordinator::group::Event;
use crate::limits::{GROUP_EVENTS_IN_BATCH, GROUP_EVENTS_QUEUED};
use crate::runtime::Notify;
use crate::shard::internal_topics::GROUP_EVENTS_TOPIC;
use crate::shard::{Router, Shard};
use crate::types::{Compression, TopicId};
use crate::wire::records::BatchBuilder;

#[derive(Default)]
pub(in crate::shard) struct EventQueue {
    queue: RefCell<VecDeque<Event>>,
    more: Notify,
}

impl EventQueue {
    pub(super) fn push(&self, shard: &Shard, event: Event) {
        let mut queue = self.queue.borrow_mut();
        if queue.len() >= GROUP_EVENTS_QUEUED {
            shard.counters().group_events_dropped.add(1);
            return;
        }
        queue.push_back(event);
        if queue.len() == 1 {
            self.more.notify_waiters();
        }
    }

    pub fn end(&self) {
        self.queue.borrow_mut().clear();
        self.more.notify_waiters();
    }
}

/// Writes what is queued, until the shard stops.
pub(in crate::shard) async fn drain(shard: Rc<Shard>) {
    let events = &shard.coordinators.events;
    let router = Router::new(shard.clone());
    while !shard.is_stopping() {
        let more = events.more.notified();
        let some: Vec<Event> = {
            let mut queue = events.queue.borrow_mut();
            let count = queue.len().min(GROUP_EVENTS_IN_BATCH);
            queue.drain(..count).collect()
        };
        if some.is_empty() {
            more.await;
        } else if let Err(count) = write(&router, some).await {
            shard.counters().group_events_dropped.add(count);
        }
    }
}

/// Err: how many are lost.
async fn write(router: &Router, events: Vec<Event>) -> Result<(), u64> {
    let lost = events.len() as u64;
    if router.topic_image(GROUP_EVENTS_TOPIC).is_none() {
        router.create_internal_topic(GROUP_EVENTS_TOPIC).await;
    }
    let mut batch = BatchBuilder::new(Compression::None);
    for event in &events {
        // Plain data: there is nothing in it that JSON has no word for.
        let Ok(value) = serde_json::to_vec(event) else { continue };
        batch.push(event.at_ms, Some(event.group.as_bytes()), Some(&value), &[]);
    }
    let nil = TopicId::nil();
    let ticket = router.begin_produce(GROUP_EVENTS_TOPIC, &nil, 0, batch.finish().into(), 1);
    ticket.written().await.map_err(|_| lost)
}
