//! What a lifecycle measurement asks of the broker over the wire: the first Metadata answer, the partitions, one
//! message to each, and all of it read back. One connection to each leader, a bounded number of requests
//! in flight on it. What fails while a broker comes up is tried again until the time is over.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::{Either, select};

use super::super::machine;
use crate::client::admin::{ClusterMetadata, TopicMetadata, resolve};
use crate::client::{Connection, error_name};
use crate::runtime::{Instant, now, sleep, wall_clock_ms};
use crate::types::Compression;
use crate::wire::fetch::{FetchPartition, FetchRequest, FetchTopic};
use crate::wire::record_batch::split;
use crate::wire::records::{BatchBuilder, for_each_record};

const CLIENT: &str = "spindle-lifecycle";
/// Of one request, of a connection attempt.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(5);
/// On each leader's connection.
const IN_FLIGHT: usize = 64;
const FETCH_BYTES: i32 = 1 << 20;

/// Rounds of messages, one bit each, by topic and partition.
pub type Rounds = Vec<Vec<u64>>;

#[derive(Clone)]
pub struct Target {
    pub host: String,
    pub port: u16,
    pub topics: Arc<Vec<(String, i32)>>,
    /// Of the broker that is measured: there is no use in waiting for one that has ended.
    pub pid: u32,
    pub limit: Duration,
    pub interrupted: Arc<AtomicBool>,
}

impl Target {
    fn check(&self, until: Instant, last: &str) -> Result<(), String> {
        if self.interrupted.load(Relaxed) {
            return Err("interrupted".to_string());
        }
        if machine::process_start_ticks(self.pid).is_none() {
            return Err("the broker has ended".to_string());
        }
        if now() >= until {
            let seconds = self.limit.as_secs();
            return Err(format!("not within {seconds} s (--timeout): {last}"));
        }
        Ok(())
    }

    /// Ends when there is no use in going on.
    async fn given_up(&self, until: Instant, topic: &str) -> String {
        loop {
            if let Err(why) = self.check(until, &format!("{topic} has no answer yet")) {
                return why;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn connect(&self) -> Result<Connection, String> {
        let addr = resolve(&self.host, self.port).await.map_err(|e| e.to_string())?;
        Connection::connect(addr, CLIENT, CONNECT_LIMIT).await.map_err(|e| e.to_string())
    }

    /// Until a Metadata request is answered with a broker.
    pub async fn first_metadata(&self) -> Result<(), String> {
        let until = now() + self.limit;
        let mut last = "no connection".to_string();
        loop {
            self.check(until, &last)?;
            match self.connect().await {
                Err(e) => last = e,
                Ok(connection) => match connection.metadata(Some(&[]), ANSWER_LIMIT).await {
                    Ok(cluster) if !cluster.brokers.is_empty() => return Ok(()),
                    Ok(_) => last = "Metadata names no broker".to_string(),
                    Err(e) => last = e.to_string(),
                },
            }
            sleep(RETRY).await;
        }
    }

    /// Creates every topic; until each partition has a leader.
    pub async fn create(&self) -> Result<(), String> {
        let until = now() + self.limit;
        let connection = self.connect().await?;
        for (name, partitions) in self.topics.iter() {
            let made = connection.create_topic(name, *partitions, -1, &[], ANSWER_LIMIT);
            made.await.map_err(|e| e.to_string())?;
        }
        for (name, partitions) in self.topics.iter() {
            loop {
                let topic = self.topic(&connection, name).await.map(|(_, topic)| topic);
                let led = topic.as_ref().map_or(0, |t| {
                    t.partitions.iter().filter(|p| p.leader >= 0 && p.error_code == 0).count()
                });
                if led == *partitions as usize {
                    break;
                }
                self.check(until, &format!("{led} of {partitions} partitions have a leader"))?;
                sleep(RETRY).await;
            }
        }
        Ok(())
    }

    async fn topic(
        &self,
        connection: &Connection,
        name: &str,
    ) -> Result<(ClusterMetadata, TopicMetadata), String> {
        let mut cluster =
            connection.metadata(Some(&[name]), ANSWER_LIMIT).await.map_err(|e| e.to_string())?;
        match cluster.topics.pop() {
            Some(topic) if topic.error_code == 0 => Ok((cluster, topic)),
            Some(topic) => Err(format!("topic {name}: {}", error_name(topic.error_code))),
            None => Err(format!("topic {name}: Metadata leaves it out")),
        }
    }

    /// One message to each partition; returns when every one is acknowledged (acks=all).
    pub async fn write_all(&self, round: u32) -> Result<(), String> {
        let each = async |place: Place| {
            let value = value_of(round, &place.topic.name, place.partition);
            let mut batch = BatchBuilder::new(Compression::None);
            batch.push(wall_clock_ms(), None, Some(value.as_bytes()), &[]);
            let records = Bytes::from(batch.finish());
            let topic = (place.topic.name.as_str(), place.topic.topic_id);
            let sent = place.connection.produce(topic, place.partition, -1, records, ANSWER_LIMIT);
            match sent.await {
                Ok(answer) if answer.error_code == 0 => Ok(()),
                Ok(answer) => Err(error_name(answer.error_code)),
                Err(e) => Err(e.to_string()),
            }
        };
        self.of_each_partition(each).await
    }

    /// The rounds whose messages each partition has; what else is there is an error.
    pub async fn read_all(&self) -> Result<Rounds, String> {
        let found: Rounds = self.topics.iter().map(|(_, count)| vec![0; *count as usize]).collect();
        let found = RefCell::new(found);
        let each = async |place: Place| {
            let rounds = read(&place).await?;
            found.borrow_mut()[place.index][place.partition as usize] = rounds;
            Ok(())
        };
        self.of_each_partition(each).await?;
        Ok(found.into_inner())
    }

    /// Calls `each` for every partition on its leader, again for those that failed.
    async fn of_each_partition(
        &self,
        each: impl AsyncFn(Place) -> Result<(), String>,
    ) -> Result<(), String> {
        let until = now() + self.limit;
        let mut bootstrap: Option<Connection> = None;
        let mut leaders: BTreeMap<i32, Connection> = BTreeMap::new();
        for (index, (name, count)) in self.topics.iter().enumerate() {
            let mut open: Vec<i32> = (0..*count).collect();
            let mut last = "no connection".to_string();
            while !open.is_empty() {
                self.check(
                    until,
                    &format!("{} of {count} partitions of {name}: {last}", open.len()),
                )?;
                let known = bootstrap.take().filter(|c| c.closed().is_none());
                let connected = match known {
                    Some(connection) => Ok(connection),
                    None => self.connect().await,
                };
                let asked = match connected {
                    Ok(connection) => {
                        let asked = self.topic(&connection, name).await;
                        bootstrap = Some(connection);
                        asked
                    }
                    Err(e) => Err(e),
                };
                let (cluster, topic) = match asked {
                    Ok(found) => found,
                    Err(e) => {
                        last = e;
                        sleep(RETRY).await;
                        continue;
                    }
                };
                leaders.retain(|_, c| c.closed().is_none());
                for broker in &cluster.brokers {
                    if leaders.contains_key(&broker.id) {
                        continue;
                    }
                    let Ok(addr) = resolve(&broker.host, broker.port).await else { continue };
                    if let Ok(c) = Connection::connect(addr, CLIENT, CONNECT_LIMIT).await {
                        leaders.insert(broker.id, c);
                    }
                }
                let (topic, failed) = (Arc::new(topic), RefCell::new((Vec::new(), last)));
                let in_flight = IN_FLIGHT * leaders.len().max(1);
                let one = |partition: i32| {
                    let found = topic.partitions.get(partition as usize);
                    let found = found.filter(|p| p.index == partition);
                    let leader = found.and_then(|p| leaders.get(&p.leader)).cloned();
                    let (topic, each, failed) = (topic.clone(), &each, &failed);
                    async move {
                        let done = match leader {
                            None => Err("no leader that can be reached".to_string()),
                            Some(connection) => {
                                each(Place { connection, topic, index, partition }).await
                            }
                        };
                        if let Err(why) = done {
                            let mut failed = failed.borrow_mut();
                            failed.0.push(partition);
                            failed.1 = why;
                        }
                    }
                };
                let all = futures::stream::iter(open).for_each_concurrent(in_flight, one);
                match select(pin!(all), pin!(self.given_up(until, name))).await {
                    Either::Left(_) => {}
                    Either::Right((why, _)) => return Err(why),
                }
                (open, last) = failed.into_inner();
                if !open.is_empty() {
                    sleep(RETRY).await;
                }
            }
        }
        Ok(())
    }
}

struct Place {
    connection: Connection,
    topic: Arc<TopicMetadata>,
    /// Of the topic.
    index: usize,
    partition: i32,
}

fn value_of(round: u32, topic: &str, partition: i32) -> String {
    format!("{round} {topic} {partition}")
}

/// From offset 0 to the high watermark.
async fn read(place: &Place) -> Result<u64, String> {
    let (name, id) = (&place.topic.name, place.topic.topic_id);
    let said = |e: crate::client::ClientError| e.to_string();
    let version = place.connection.fetch_version(id).map_err(said)?;
    let (mut offset, mut rounds) = (0, 0u64);
    loop {
        let partition = FetchPartition {
            index: place.partition,
            current_leader_epoch: -1,
            fetch_offset: offset,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            max_bytes: FETCH_BYTES,
        };
        let topic = FetchTopic {
            name: Bytes::from(name.clone()),
            topic_id: id,
            partitions: vec![partition],
        };
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes: FETCH_BYTES,
            isolation_level: 0,
            session_id: 0,
            session_epoch: -1,
            topics: vec![topic],
            forgotten: Vec::new(),
            rack_id: Bytes::new(),
        };
        let answer = place.connection.fetch(version, &request, ANSWER_LIMIT).await.map_err(said)?;
        let answer = answer.topics.into_iter().flat_map(|t| t.partitions).next();
        let Some(answer) = answer else { return Err("an empty answer to Fetch".to_string()) };
        if answer.error_code != 0 {
            return Err(error_name(answer.error_code));
        }
        let before = offset;
        let bytes = answer.records.concat();
        for batch in split(&bytes) {
            let Ok((header, batch)) = batch else { break };
            for_each_record(batch, &mut |record| {
                let text = record.value.and_then(|v| std::str::from_utf8(v).ok()).unwrap_or("");
                let round = text.split(' ').next().and_then(|n| n.parse::<u32>().ok());
                // Written again after a lost answer: a duplicate, not a fault.
                if let Some(round) = round.filter(|r| *r < 64)
                    && text == value_of(round, name, place.partition)
                {
                    rounds |= 1 << round;
                }
                true
            })
            .map_err(|e| format!("{name}-{}: {e}", place.partition))?;
            offset = header.last_offset() + 1;
        }
        if offset >= answer.high_watermark {
            return Ok(rounds);
        }
        if offset == before {
            return Err(format!("{name}-{}: nothing at offset {offset}", place.partition));
        }
    }
}
