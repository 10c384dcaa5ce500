//! Members of the consumer protocol (KIP-848): one request for everything. A member here gives back at once what it shall
//! not keep and says so at once, as a client does that has nothing to finish; else it sends a heartbeat each
//! interval. `Crowd` is one group of many of them, with every partition's owner and the time that it had none.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{join, try_join_all};
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::consumer_group_heartbeat_response::Assignment;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, GroupId, OffsetCommitRequest, TopicName,
};
use kafka_protocol::protocol::{Request, StrBytes};

use super::commit;
use super::wire::{Cluster, Template, said, text};
use crate::client::{Connection, error_name};
use crate::runtime::{Instant, Notify, now, sleep, timeout};
use crate::types::TopicId;

const LEAVE_EPOCH: i32 = -1;
/// How long a member may take to give partitions back.
const REBALANCE_TIMEOUT_MS: i32 = 300_000;

pub struct ConsumerMember {
    connection: Connection,
    group: GroupId,
    topic: String,
    topic_id: TopicId,
    id: StrBytes,
    pub epoch: i32,
    /// Ascending.
    owned: Vec<i32>,
    /// It has said that it owns these.
    reported: bool,
}

/// What an answer took from a member and gave it.
#[derive(Default)]
struct Change {
    lost: Vec<i32>,
    gained: Vec<i32>,
}

impl ConsumerMember {
    pub fn new(
        connection: Connection,
        group: &str,
        topic: (&str, TopicId),
        id: String,
    ) -> ConsumerMember {
        ConsumerMember {
            connection,
            group: GroupId(text(group)),
            topic: topic.0.to_string(),
            topic_id: topic.1,
            id: StrBytes::from_string(id),
            epoch: 0,
            owned: Vec::new(),
            reported: true,
        }
    }

    fn version(&self) -> Result<i16, String> {
        self.connection.version(ConsumerGroupHeartbeatRequest::KEY, (0, 1)).map_err(said)
    }

    fn plain(&self, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(self.group.clone())
            .with_member_id(self.id.clone())
            .with_member_epoch(epoch)
            .with_rebalance_timeout_ms(-1)
            .with_subscribed_topic_names(None)
            .with_subscribed_topic_regex(None)
            .with_topic_partitions(None)
    }

    fn request(&self) -> ConsumerGroupHeartbeatRequest {
        let plain = self.plain(self.epoch);
        if self.epoch == 0 {
            return plain
                .with_rebalance_timeout_ms(REBALANCE_TIMEOUT_MS)
                .with_subscribed_topic_names(Some(vec![TopicName(text(&self.topic))]))
                .with_topic_partitions(Some(Vec::new()));
        }
        if self.reported {
            return plain;
        }
        let owned = TopicPartitions::default()
            .with_topic_id(self.topic_id)
            .with_partitions(self.owned.clone());
        plain.with_topic_partitions(Some(if self.owned.is_empty() { vec![] } else { vec![owned] }))
    }

    async fn heartbeat(&mut self, cluster: &Cluster) -> Result<Change, String> {
        let request = self.request();
        let asked = self.connection.call(self.version()?, &request, cluster.limit);
        let answer = asked.await.map_err(said)?;
        if answer.error_code != 0 {
            let why = answer.error_message.map(|m| format!(": {m}")).unwrap_or_default();
            return Err(format!("ConsumerGroupHeartbeat: {}{why}", error_name(answer.error_code)));
        }
        self.epoch = answer.member_epoch;
        self.reported = true;
        Ok(answer.assignment.map(|new| self.take(&new)).unwrap_or_default())
    }

    fn take(&mut self, new: &Assignment) -> Change {
        let topics = new.topic_partitions.iter().filter(|t| t.topic_id == self.topic_id);
        let mut all: Vec<i32> = topics.flat_map(|t| t.partitions.iter().copied()).collect();
        all.sort_unstable();
        let not_in = |those: &[i32]| {
            let those = those.to_vec();
            move |p: &i32| those.binary_search(p).is_err()
        };
        let change = Change {
            lost: self.owned.iter().copied().filter(not_in(&all)).collect(),
            gained: all.iter().copied().filter(not_in(&self.owned)).collect(),
        };
        self.reported = change.lost.is_empty() && change.gained.is_empty();
        self.owned = all;
        change
    }

    /// Alone in its group: until it has every partition and has said so.
    pub async fn settle(&mut self, cluster: &Cluster, partitions: i32) -> Result<(), String> {
        let until = now() + cluster.limit;
        while self.epoch == 0 || !self.reported || self.owned.len() != partitions as usize {
            self.heartbeat(cluster).await?;
            if now() >= until {
                let has = self.owned.len();
                return Err(format!("a group of one has {has} of {partitions} partitions"));
            }
        }
        Ok(())
    }

    pub async fn leave(&self, cluster: &Cluster) -> Result<(), String> {
        let request = self.plain(LEAVE_EPOCH);
        let asked = self.connection.call(self.version()?, &request, cluster.limit);
        super::wire::check("leaving", asked.await.map_err(said)?.error_code)
    }

    pub fn heartbeat_request(&self) -> Result<Template, String> {
        Template::new(self.version()?, &self.plain(self.epoch))
    }

    pub fn commit_request(&self) -> Result<Template, String> {
        let version = self.connection.version(OffsetCommitRequest::KEY, (9, 9)).map_err(said)?;
        Template::new(version, &commit(&self.group, &self.id, self.epoch, &self.topic))
    }
}

/// Who has which partition, and for how long nobody had it.
#[derive(Default)]
struct Owners {
    owner: BTreeMap<i32, usize>,
    /// Partitions of each member that has some.
    count: BTreeMap<usize, usize>,
    /// Given back: by whom, when.
    free: BTreeMap<i32, (usize, Instant)>,
    epochs: BTreeMap<i32, usize>,
    moved: usize,
    longest_gap: Duration,
    /// Came back to the one who had it.
    interrupted: usize,
    interruption: Duration,
}

impl Owners {
    fn apply(&mut self, member: usize, change: &Change, at: Instant) -> Result<(), String> {
        for partition in &change.lost {
            self.owner.remove(partition);
            *self.count.entry(member).or_default() -= 1;
            self.free.insert(*partition, (member, at));
        }
        for partition in &change.gained {
            if let Some(other) = self.owner.insert(*partition, member) {
                return Err(format!("partition {partition} has two owners, {other} and {member}"));
            }
            *self.count.entry(member).or_default() += 1;
            let Some((before, since)) = self.free.remove(partition) else { continue };
            let gap = at.saturating_since(since);
            if before == member {
                self.interrupted += 1;
                self.interruption = self.interruption.max(gap);
            } else {
                self.moved += 1;
                self.longest_gap = self.longest_gap.max(gap);
            }
        }
        Ok(())
    }

    /// Nobody has two more than another: the first to join have everything for a while, at an epoch that all have.
    fn is_even(&self, members: usize) -> bool {
        let least = self.owner.len() / members.max(1);
        let fair = |(member, count): (&usize, &usize)| {
            *count >= least && *count <= least + 1 || *member >= members && *count == 0
        };
        (least == 0 || self.count.len() >= members) && self.count.iter().all(fair)
    }

    fn epoch(&mut self, from: Option<i32>, to: Option<i32>) {
        if let Some(count) = from.and_then(|from| self.epochs.get_mut(&from)) {
            *count -= 1;
        }
        self.epochs.retain(|_, count| *count > 0);
        if let Some(to) = to {
            *self.epochs.entry(to).or_default() += 1;
        }
    }
}

/// One change of a crowd, until everybody is at the new epoch and every partition has an owner.
pub struct Converged {
    pub took: Duration,
    pub heartbeats: u64,
    /// Partitions that went from one member to another, and the longest that one was without an owner.
    pub moved: usize,
    pub longest_gap: Duration,
    /// Partitions that a member lost and got again, and the longest that it was without one.
    pub interrupted: usize,
    pub interruption: Duration,
    /// The slowest answer to a heartbeat meanwhile.
    pub slowest: Duration,
}

pub enum Kick {
    Everybody,
    Join(Box<ConsumerMember>),
    /// The last one.
    Leave,
}

pub struct Crowd {
    cluster: Rc<Cluster>,
    partitions: usize,
    interval: Duration,
    members: Vec<ConsumerMember>,
    owners: RefCell<Owners>,
    slowest: Cell<Duration>,
    heartbeats: Cell<u64>,
}

impl Crowd {
    pub fn new(cluster: Rc<Cluster>, partitions: i32, interval: Duration) -> Crowd {
        Crowd {
            cluster,
            partitions: partitions as usize,
            interval,
            members: Vec::new(),
            owners: RefCell::default(),
            slowest: Cell::default(),
            heartbeats: Cell::default(),
        }
    }

    pub async fn start(&mut self, members: Vec<ConsumerMember>) -> Result<Converged, String> {
        self.members = members;
        self.change(Kick::Everybody).await
    }

    pub async fn change(&mut self, kick: Kick) -> Result<Converged, String> {
        let epoch = self.members.iter().map(|m| m.epoch).max().unwrap_or(0);
        {
            let mut owners = self.owners.borrow_mut();
            (owners.moved, owners.interrupted) = (0, 0);
            (owners.longest_gap, owners.interruption) = (Duration::ZERO, Duration::ZERO);
        }
        self.slowest.set(Duration::ZERO);
        self.heartbeats.set(0);
        let mut gone = None;
        let from = now();
        match kick {
            Kick::Everybody => {}
            Kick::Join(new) => self.members.push(*new),
            Kick::Leave => gone = self.members.pop(),
        }
        let mut members = std::mem::take(&mut self.members);
        let count = members.len();
        let (done, converged) = (Notify::new(), Cell::new(None));
        let shared =
            Shared { crowd: self, after: epoch, count, done: &done, converged: &converged };
        let leave = async {
            match &gone {
                Some(member) => {
                    // What it had is free from now on.
                    let change = Change { lost: member.owned.clone(), gained: Vec::new() };
                    self.owners.borrow_mut().apply(count, &change, now())?;
                    self.owners.borrow_mut().epoch(Some(member.epoch), None);
                    member.leave(&self.cluster).await
                }
                None => Ok(()),
            }
        };
        let all = try_join_all(members.iter_mut().enumerate().map(|(at, m)| shared.live(at, m)));
        let limit = self.cluster.limit;
        let ended = timeout(limit, join(leave, all)).await;
        self.members = members;
        let late = || format!("no convergence within {} s: {}", limit.as_secs(), self.state());
        let (left, lived) = ended.ok_or_else(late)?;
        left?;
        lived?;
        let at = converged.get().ok_or("the group did not converge")?;
        let owners = self.owners.borrow();
        Ok(Converged {
            took: Instant::saturating_since(at, from),
            heartbeats: self.heartbeats.get(),
            moved: owners.moved,
            longest_gap: owners.longest_gap,
            interrupted: owners.interrupted,
            interruption: owners.interruption,
            slowest: self.slowest.get(),
        })
    }

    fn state(&self) -> String {
        let owners = self.owners.borrow();
        format!("members by epoch {:?}, {} partitions owned", owners.epochs, owners.owner.len())
    }

    pub fn members(&self) -> &[ConsumerMember] {
        &self.members
    }
}

struct Shared<'a> {
    crowd: &'a Crowd,
    after: i32,
    count: usize,
    done: &'a Notify,
    converged: &'a Cell<Option<Instant>>,
}

impl Shared<'_> {
    /// Heartbeats, at once when there is something to say, else each interval, until all is over.
    async fn live(&self, index: usize, member: &mut ConsumerMember) -> Result<(), String> {
        let crowd = self.crowd;
        // Not all in the same moment, except when they are new.
        if member.epoch > 0 {
            let share = crowd.interval.mul_f64(index as f64 / self.count as f64);
            self.pause(share).await;
        }
        while self.converged.get().is_none() {
            let (sent, before) = (now(), member.epoch);
            let change = member.heartbeat(&crowd.cluster).await?;
            let at = now();
            crowd.slowest.set(crowd.slowest.get().max(at.saturating_since(sent)));
            crowd.heartbeats.set(crowd.heartbeats.get() + 1);
            {
                let mut owners = crowd.owners.borrow_mut();
                owners.apply(index, &change, at)?;
                if member.epoch != before {
                    owners.epoch(Some(before).filter(|epoch| *epoch > 0), Some(member.epoch));
                }
                let newest = owners.epochs.last_key_value();
                if newest.is_some_and(|(epoch, n)| *epoch > self.after && *n == self.count)
                    && owners.owner.len() == crowd.partitions
                    && owners.is_even(self.count)
                {
                    self.converged.set(Some(at));
                    self.done.notify_waiters();
                    return Ok(());
                }
            }
            if member.reported {
                self.pause(crowd.interval).await;
            }
        }
        Ok(())
    }

    async fn pause(&self, time: Duration) {
        let done = self.done.notified();
        if self.converged.get().is_none() {
            timeout(time, done).await;
        }
    }
}

/// Between two changes: the broker computes an assignment no more often than
/// `group.consumer.assignment.interval.ms`.
pub async fn rest() {
    sleep(Duration::from_millis(1500)).await;
}
