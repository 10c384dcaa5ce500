//! One consumer's loop against one leader: fetches the partitions it was given (its own assignment,
//! no group, no fetch session), checks every record and times it from its stamp.
//! Lives on one executor. After the producers' end it reads on to the last acknowledged offset, for as
//! long as there is progress; what is missing then is lost.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::check::SequenceCheck;
use super::client::{ClientError, Connection, error_name};
use super::control::{ConsumerSeen, Control};
use super::stamp::{Stamp, StampError};
use super::stats::{Latency, ThreadStats};
use crate::runtime::{now, sleep, yield_if_needed};
use crate::wire::fetch::{FetchPartition, FetchRequest, FetchTopic, FetchTopicResponse};
use crate::wire::record_batch::{BatchError, BatchHeader};
use crate::wire::records::for_each_record;

/// Fetch answers with an error, in a row, after which the run is pointless.
const ERRORS_IN_A_ROW_MAX: u32 = 100;

struct Assigned {
    lane: usize,
    position: i64,
}

struct Consumer {
    control: Arc<Control>,
    stats: Arc<ThreadStats>,
    assigned: Vec<Assigned>,
    seen: ConsumerSeen,
    last_progress_ns: u64,
    errors_in_a_row: u32,
    /// (latency's intended time, records) of the answer being read.
    runs: Vec<(u64, u32)>,
}

/// The lanes of one consumer that `node` leads; runs until they are read to the acknowledged end.
pub async fn run(
    control: Arc<Control>,
    stats: Arc<ThreadStats>,
    consumer: u32,
    node: usize,
    lanes: Vec<usize>,
) {
    let assigned = lanes
        .iter()
        .map(|&lane| Assigned { lane, position: control.layout.places[lane].start_offset });
    let mut this = Consumer {
        assigned: assigned.collect(),
        stats,
        seen: ConsumerSeen::default(),
        last_progress_ns: now().0,
        errors_in_a_row: 0,
        runs: Vec::new(),
        control: control.clone(),
    };
    if let Err(e) = this.consume(consumer, node).await {
        let id = control.layout.nodes[node].id;
        control.error(now().0, "Fetch: connection lost".to_string());
        control.fail(now().0, format!("broker node {id}: {e}"));
        this.seen.cut_off = this.behind();
    }
    control.outcome(|o| o.seen.push(std::mem::take(&mut this.seen)));
    control.consumer_ended();
}

impl Consumer {
    async fn consume(&mut self, consumer: u32, node: usize) -> Result<(), ClientError> {
        let control = self.control.clone();
        let w = &control.workload;
        let addr = control.layout.nodes[node].addr;
        let name = format!("spindle-bench-consumer-{consumer}");
        let connection = Connection::connect(addr, &name, w.request_timeout).await?;
        let lane = self.assigned[0].lane;
        let version = connection.fetch_version(control.layout.topic_of(lane).id)?;
        let limit = w.fetch_wait + w.request_timeout;
        while !self.finished() {
            let request = self.request();
            let answer = connection.fetch(version, &request, limit).await?;
            let arrived_ns = now().0;
            self.stats.record(|window| {
                window.counts(control.span(arrived_ns)).fetches += 1;
            });
            let mut error = answer.error_code;
            for topic in &answer.topics {
                for partition in &topic.partitions {
                    if partition.error_code != 0 {
                        error = partition.error_code;
                        continue;
                    }
                    let slot = self.slot(topic, partition.index)?;
                    for records in &partition.records {
                        self.read(slot, records, arrived_ns)?;
                        yield_if_needed().await;
                    }
                }
            }
            self.note_error(error).await;
        }
        Ok(())
    }

    fn request(&self) -> FetchRequest {
        let w = &self.control.workload;
        let layout = &self.control.layout;
        // Lanes are sorted, so those of a topic stand together.
        let by_topic = self
            .assigned
            .chunk_by(|a, b| layout.places[a.lane].topic == layout.places[b.lane].topic);
        let topics = by_topic.map(|assigned| {
            let topic = layout.topic_of(assigned[0].lane);
            let partitions = assigned.iter().map(|a| FetchPartition {
                index: layout.places[a.lane].partition,
                current_leader_epoch: -1,
                fetch_offset: a.position,
                last_fetched_epoch: -1,
                log_start_offset: -1,
                max_bytes: w.fetch_partition_bytes,
            });
            FetchTopic {
                name: Bytes::copy_from_slice(topic.name.as_bytes()),
                topic_id: topic.id,
                partitions: partitions.collect(),
            }
        });
        FetchRequest {
            replica_id: -1,
            max_wait_ms: w.fetch_wait.as_millis() as i32,
            min_bytes: w.fetch_min_bytes,
            max_bytes: w.fetch_bytes,
            isolation_level: 0,
            session_id: 0,
            session_epoch: -1,
            topics: topics.collect(),
            forgotten: Vec::new(),
            rack_id: Bytes::new(),
        }
    }

    /// Errors are counted; a broker that only answers with errors ends the run.
    async fn note_error(&mut self, code: i16) {
        if code == 0 {
            self.errors_in_a_row = 0;
            return;
        }
        let kind = format!("Fetch: {}", error_name(code));
        self.errors_in_a_row += 1;
        if self.errors_in_a_row >= ERRORS_IN_A_ROW_MAX {
            let sentence = format!("{ERRORS_IN_A_ROW_MAX} fetches in a row failed: {kind}");
            self.control.fail(now().0, sentence);
        }
        self.control.error(now().0, kind);
        // The broker may be moving the partition; do not storm it.
        sleep(Duration::from_millis(20)).await;
    }

    /// Where in `assigned` a partition of the answer is.
    fn slot(
        &self,
        answered: &FetchTopicResponse<Bytes>,
        partition: i32,
    ) -> Result<usize, ClientError> {
        let layout = &self.control.layout;
        let named = layout.topics.iter().position(|t| match answered.name.is_empty() {
            true => t.id == answered.topic_id,
            false => t.name.as_bytes() == answered.name,
        });
        let place = |a: &Assigned| (layout.places[a.lane].topic, layout.places[a.lane].partition);
        named
            .and_then(|t| self.assigned.binary_search_by_key(&(t, partition), place).ok())
            .ok_or_else(|| {
                ClientError::Protocol(format!(
                    "Fetch: the answer has partition {partition} of a topic, which was not asked for"
                ))
            })
    }

    /// All batches of one partition's part of an answer; the last one may be cut off.
    fn read(&mut self, slot: usize, records: &[u8], now_ns: u64) -> Result<(), ClientError> {
        let lane = self.assigned[slot].lane;
        let mut rest = records;
        self.runs.clear();
        let mut counted = 0;
        while !rest.is_empty() {
            let header = match BatchHeader::parse(rest) {
                Ok(h) if h.size_bytes() <= rest.len() => h,
                Ok(_) | Err(BatchError::Truncated { .. }) => break,
                Err(e) => return Err(self.malformed(lane, self.assigned[slot].position, e)),
            };
            let (batch, after) = rest.split_at(header.size_bytes());
            rest = after;
            let position = self.assigned[slot].position;
            if header.last_offset() < position {
                continue;
            }
            if header.base_offset > position {
                self.seen.offset_gaps += (header.base_offset - position) as u64;
            }
            self.assigned[slot].position = header.last_offset() + 1;
            self.last_progress_ns = now_ns;
            if header.is_control() {
                continue;
            }
            counted += self.read_batch(lane, position, &header, batch)?;
        }
        if counted > 0 {
            self.count(counted, records.len(), now_ns);
        }
        Ok(())
    }

    /// Says how many bytes of record values it had.
    fn read_batch(
        &mut self,
        lane: usize,
        position: i64,
        header: &BatchHeader,
        batch: &[u8],
    ) -> Result<u64, ClientError> {
        let run = self.control.run;
        let (seen, runs) = (&mut self.seen, &mut self.runs);
        let mut bytes = 0;
        // Taken out of the map while it is used: a batch has one producer, so this is one look-up.
        let mut taken: Option<(u32, SequenceCheck)> = None;
        let walked = for_each_record(batch, &mut |record| {
            if header.base_offset + i64::from(record.offset_delta) < position {
                return true;
            }
            let value = record.value.unwrap_or_default();
            seen.records += 1;
            bytes += value.len() as u64;
            let stamp = match Stamp::read(value, [record.key.unwrap_or_default(), record.headers]) {
                Ok(stamp) if stamp.run != run => {
                    seen.foreign += 1;
                    return true;
                }
                Ok(stamp) => stamp,
                Err(StampError::TooShort | StampError::Checksum) => {
                    seen.corrupted += 1;
                    return true;
                }
            };
            if stamp.partition != lane as u32 {
                seen.misplaced += 1;
            }
            match &mut taken {
                Some((producer, check)) if *producer == stamp.producer => {
                    check.observe(stamp.sequence);
                }
                other => {
                    if let Some((producer, check)) = other.take() {
                        seen.checks.insert((producer, lane), check);
                    }
                    let key = (stamp.producer, lane);
                    let mut check = seen.checks.remove(&key).unwrap_or_default();
                    check.observe(stamp.sequence);
                    *other = Some((stamp.producer, check));
                }
            }
            match runs.last_mut() {
                Some((due, records)) if *due == stamp.intended_ns => *records += 1,
                _ => runs.push((stamp.intended_ns, 1)),
            }
            true
        });
        if let Some((producer, check)) = taken {
            seen.checks.insert((producer, lane), check);
        }
        walked.map_err(|e| self.malformed(lane, position, e))?;
        Ok(bytes)
    }

    fn count(&mut self, bytes: u64, wire_bytes: usize, now_ns: u64) {
        let control = &self.control;
        let runs = &self.runs;
        self.stats.record(|window| {
            let counts = &mut window.counts(control.span(now_ns));
            counts.consumed_records += runs.iter().map(|r| u64::from(r.1)).sum::<u64>();
            counts.consumed_bytes += bytes;
            counts.consumed_wire_bytes += wire_bytes as u64;
            for &(due_ns, records) in runs {
                let latency_ns = now_ns.saturating_sub(due_ns);
                let due = control.schedule.span(due_ns);
                window.record(Latency::EndToEnd, due, latency_ns, records.into());
            }
        });
    }

    /// Lanes that are not read to their acknowledged end.
    fn behind(&self) -> Vec<usize> {
        let behind = |a: &&Assigned| a.position < self.control.acked_end(a.lane);
        self.assigned.iter().filter(behind).map(|a| a.lane).collect()
    }

    fn malformed(&self, lane: usize, offset: i64, e: BatchError) -> ClientError {
        let name = self.control.layout.partition_name(lane);
        ClientError::Protocol(format!("Fetch: {name} at offset {offset}: {e}"))
    }

    fn finished(&mut self) -> bool {
        let now_ns = now().0;
        if !self.control.producers_done() {
            // Quiet before the end is no lack of progress.
            self.last_progress_ns = now_ns;
            return false;
        }
        if self.behind().is_empty() {
            return true;
        }
        let waited_ns = now_ns.saturating_sub(self.last_progress_ns);
        let gives_up = waited_ns > self.control.workload.drain_timeout.as_nanos() as u64;
        if gives_up {
            let behind = partition_list(&self.control, &self.behind());
            let seconds = self.control.workload.drain_timeout.as_secs();
            self.control.fail(
                now_ns,
                format!(
                    "{behind} gave no more records for {seconds} s, though more were acknowledged"
                ),
            );
        }
        gives_up
    }
}

/// The first few by name.
fn partition_list(control: &Control, lanes: &[usize]) -> String {
    const NAMED: usize = 8;
    let names: Vec<String> =
        lanes.iter().take(NAMED).map(|&l| control.layout.partition_name(l)).collect();
    let more = match lanes.len().saturating_sub(NAMED) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!("{}{more}", names.join(", "))
}
