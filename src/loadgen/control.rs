//! What a run's threads share: the plan (immutable), the stop flag, who still runs, how far each
//! partition is acknowledged, what went wrong and when, and at the end what each side saw.
//! Touched at most once a batch; nothing here is a queue.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::check::SequenceCheck;
use super::report::Prepare;
use super::stats::Errors;
use super::workload::{PayloadPool, Schedule, Workload};
use crate::types::TopicId;

#[derive(Clone, Copy, Debug)]
pub struct Node {
    pub id: i32,
    pub addr: SocketAddr,
}

#[derive(Clone, Debug)]
pub struct TopicPlace {
    pub name: String,
    /// nil from brokers older than topic ids.
    pub id: TopicId,
    /// This run made the topic (and may delete it).
    pub created: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Index into `Layout::topics`.
    pub topic: usize,
    pub partition: i32,
    /// Index into `Layout::nodes`.
    pub node: usize,
    /// End of the partition before the run.
    pub start_offset: i64,
}

/// Where the topics' partitions are. A "lane" is an index into `places`.
#[derive(Clone, Debug)]
pub struct Layout {
    pub cluster_id: Option<String>,
    pub topics: Vec<TopicPlace>,
    /// Leaders of at least one partition.
    pub nodes: Vec<Node>,
    /// Topic by topic, each in the order of its partitions.
    pub places: Vec<Place>,
    /// How long the way here took.
    pub prepare: Prepare,
}

impl Layout {
    pub fn topic_of(&self, lane: usize) -> &TopicPlace {
        &self.topics[self.places[lane].topic]
    }

    /// The broker names topics by id (KIP-516); one that does not leaves every id nil.
    pub fn has_topic_ids(&self) -> bool {
        self.topics.iter().all(|t| !t.id.is_nil())
    }

    /// As Kafka's tools write it: `topic-3`.
    pub fn partition_name(&self, lane: usize) -> String {
        format!("{}-{}", self.topic_of(lane).name, self.places[lane].partition)
    }

    /// Lanes that a node leads, topic by topic.
    pub fn led_by(&self, node: usize) -> Vec<(usize, Vec<usize>)> {
        let mut led: Vec<(usize, Vec<usize>)> = Vec::new();
        for (lane, place) in self.places.iter().enumerate().filter(|(_, p)| p.node == node) {
            match led.last_mut() {
                Some((topic, lanes)) if *topic == place.topic => lanes.push(lane),
                _ => led.push((place.topic, vec![lane])),
            }
        }
        led
    }
}

#[derive(Clone, Debug, Default)]
pub struct PartitionSent {
    /// Sequence numbers 0..sent went out.
    pub sent: u64,
    pub acked: u64,
    /// first..end of batches that were refused or never answered.
    pub not_acked: Vec<(u64, u64)>,
}

#[derive(Clone, Debug, Default)]
pub struct ConsumerSeen {
    /// By producer and lane.
    pub checks: BTreeMap<(u32, usize), SequenceCheck>,
    pub records: u64,
    pub corrupted: u64,
    /// Records of another run, another producer or without our stamp's run.
    pub foreign: u64,
    /// Our records in a partition they were not sent to.
    pub misplaced: u64,
    /// Offsets that were skipped.
    pub offset_gaps: u64,
    /// Lanes that could not be read to their acknowledged end: the broker went away or refused.
    pub cut_off: Vec<usize>,
}

/// What one replay loop read.
#[derive(Clone, Debug, Default)]
pub struct Replayed {
    pub lanes: Vec<usize>,
    /// Absent when the run ended before.
    pub started_ns: Option<u64>,
    pub ended_ns: u64,
    /// When all its lanes had been read to their live end.
    pub caught_up_ns: Option<u64>,
    pub records: u64,
    pub bytes: u64,
    pub seen: ConsumerSeen,
}

/// What was written before the schedule began, by (producer, by lane), under `Control::prefill_run`.
pub type Prefilled = Vec<(u32, Vec<PartitionSent>)>;

/// What a quota cost: the broker asked us to wait (KIP-219).
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Throttled {
    pub answers: u64,
    /// Of all connections together.
    pub total_s: f64,
    pub first_at_s: f64,
}

#[derive(Default)]
pub struct Outcome {
    /// (producer, by lane).
    pub sent: Vec<(u32, Vec<PartitionSent>)>,
    pub seen: Vec<ConsumerSeen>,
    pub replayed: Vec<Replayed>,
    /// Due by the end of the run but not sent, because the broker (or this machine) was behind.
    pub unsent_records: u64,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Failure {
    pub at_s: f64,
    pub sentence: String,
}

pub struct Control {
    pub workload: Workload,
    pub layout: Layout,
    pub schedule: Schedule,
    /// Tag of this run's records.
    pub run: u32,
    pub prefilled: Option<Prefilled>,
    pub payloads: Arc<PayloadPool>,
    stop: AtomicBool,
    /// When it ended before the schedule did: stopped, or all records made and answered.
    cut_ns: AtomicU64,
    /// Producers that made their share of a limited number of records, and the last answer they got.
    shares_made: AtomicUsize,
    shares_made_ns: AtomicU64,
    producers_running: AtomicUsize,
    consumers_running: AtomicUsize,
    replays_running: AtomicUsize,
    replays_ended_ns: AtomicU64,
    acked_end: Vec<AtomicI64>,
    failures: Mutex<Vec<Failure>>,
    errors: Mutex<Errors>,
    throttled: Mutex<BTreeMap<String, Throttled>>,
    outcome: Mutex<Outcome>,
}

/// Failures beyond these say nothing new.
const FAILURES_MAX: usize = 16;

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Differs from the run's own tag, so that the two never mix in one sequence.
pub fn prefill_run(run: u32) -> u32 {
    run ^ 1
}

impl Control {
    pub fn new(
        workload: Workload,
        layout: Layout,
        schedule: Schedule,
        payloads: Arc<PayloadPool>,
        run: u32,
    ) -> Control {
        let acked_end = layout.places.iter().map(|p| AtomicI64::new(p.start_offset)).collect();
        Control {
            workload,
            layout,
            schedule,
            run,
            prefilled: None,
            payloads,
            stop: AtomicBool::new(false),
            cut_ns: AtomicU64::new(u64::MAX),
            shares_made: AtomicUsize::new(0),
            shares_made_ns: AtomicU64::new(0),
            producers_running: AtomicUsize::new(0),
            consumers_running: AtomicUsize::new(0),
            replays_running: AtomicUsize::new(0),
            replays_ended_ns: AtomicU64::new(0),
            acked_end,
            failures: Mutex::default(),
            errors: Mutex::default(),
            throttled: Mutex::default(),
            outcome: Mutex::default(),
        }
    }

    /// Tag of the records that were there before the schedule began, if this run wrote any.
    pub fn prefill_run(&self) -> u32 {
        prefill_run(self.run)
    }

    /// Before any thread starts. Loops that replay are consumers, too.
    pub fn expect(&self, producers: usize, consumers: usize, replays: usize) {
        self.replays_running.store(replays, Release);
        self.producers_running.store(producers, Release);
        self.consumers_running.store(consumers, Release);
    }

    pub fn producer_ended(&self) {
        self.producers_running.fetch_sub(1, AcqRel);
    }

    pub fn consumer_ended(&self) {
        self.consumers_running.fetch_sub(1, AcqRel);
    }

    /// Without producers the run is over when all that was there is read.
    pub fn replay_ended(&self, at_ns: u64) {
        let last_ns = self.replays_ended_ns.fetch_max(at_ns, AcqRel).max(at_ns);
        if self.replays_running.fetch_sub(1, AcqRel) == 1 && self.workload.producers == 0 {
            self.cut_ns.fetch_min(last_ns + 1, AcqRel);
        }
    }

    pub fn producers_done(&self) -> bool {
        self.producers_running.load(Acquire) == 0
    }

    pub fn consumers_done(&self) -> bool {
        self.consumers_running.load(Acquire) == 0
    }

    /// Producers stop making records; what is in flight is still waited for.
    pub fn stop(&self, at_ns: u64) {
        self.cut_ns.fetch_min(at_ns, AcqRel);
        self.stop.store(true, Release);
    }

    /// A producer made its share of `records`, and the last of them was answered at this time. When all
    /// have, the run is over: what follows is the drain.
    pub fn share_made(&self, answered_ns: u64) {
        let last_ns = self.shares_made_ns.fetch_max(answered_ns, AcqRel).max(answered_ns);
        if self.shares_made.fetch_add(1, AcqRel) + 1 == self.workload.producers as usize {
            self.cut_ns.fetch_min(last_ns + 1, AcqRel);
        }
    }

    /// When the last span ended: by the schedule, or earlier.
    pub fn end_ns(&self) -> u64 {
        self.schedule.end_ns().min(self.cut_ns.load(Acquire))
    }

    /// Which span something that happens now counts in; `None` is the drain.
    pub fn span(&self, at_ns: u64) -> Option<usize> {
        if at_ns < self.cut_ns.load(Acquire) { self.schedule.span(at_ns) } else { None }
    }

    pub fn stopped(&self) -> bool {
        self.stop.load(Acquire)
    }

    /// The run can't go on: remembers why and when, and stops it.
    pub fn fail(&self, at_ns: u64, sentence: String) {
        let mut failures = locked(&self.failures);
        if failures.len() < FAILURES_MAX && failures.iter().all(|f| f.sentence != sentence) {
            failures.push(Failure { at_s: self.schedule.seconds(at_ns), sentence });
        }
        self.stop(at_ns);
    }

    pub fn failures(&self) -> Vec<Failure> {
        locked(&self.failures).clone()
    }

    pub fn error(&self, at_ns: u64, kind: String) {
        locked(&self.errors).add(kind, self.schedule.seconds(at_ns));
    }

    pub fn errors(&self) -> Errors {
        locked(&self.errors).clone()
    }

    /// An answer to `api` came with a wait that a quota asks for.
    pub fn throttled(&self, api: &str, at_ns: u64, wait: Duration) {
        let mut all = locked(&self.throttled);
        let at_s = self.schedule.seconds(at_ns);
        let first = Throttled { first_at_s: at_s, ..Throttled::default() };
        let throttled = all.entry(api.to_string()).or_insert(first);
        throttled.answers += 1;
        throttled.total_s += wait.as_secs_f64();
    }

    pub fn throttles(&self) -> BTreeMap<String, Throttled> {
        locked(&self.throttled).clone()
    }

    pub fn error_count(&self) -> u64 {
        locked(&self.errors).0.values().map(|e| e.count).sum()
    }

    pub fn acked(&self, lane: usize, end_offset: i64) {
        self.acked_end[lane].fetch_max(end_offset, AcqRel);
    }

    pub fn acked_end(&self, lane: usize) -> i64 {
        self.acked_end[lane].load(Acquire)
    }

    pub fn outcome<T>(&self, f: impl FnOnce(&mut Outcome) -> T) -> T {
        f(&mut locked(&self.outcome))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_of_a_node_stand_topic_by_topic() {
        let topic =
            |name: &str| TopicPlace { name: name.to_string(), id: TopicId::nil(), created: true };
        let place = |topic, partition, node| Place { topic, partition, node, start_offset: 0 };
        let layout = Layout {
            cluster_id: None,
            topics: vec![topic("a"), topic("a-2")],
            nodes: Vec::new(),
            places: vec![
                place(0, 0, 0),
                place(0, 1, 1),
                place(0, 2, 0),
                place(1, 0, 1),
                place(1, 1, 0),
            ],
            prepare: Prepare::default(),
        };
        assert_eq!(layout.led_by(0), [(0, vec![0, 2]), (1, vec![4])]);
        assert_eq!(layout.led_by(1), [(0, vec![1]), (1, vec![3])]);
        assert_eq!(layout.partition_name(4), "a-2-1");
        assert!(!layout.has_topic_ids());
    }
}
