//! What the clients sent, what was acknowledged, what was served: the checker's memory.
//! An observation counts until a power cut takes away what nobody promised to keep: in a topic that
//! uses acks=1, everything from the end of the last acks=all batch on. After kill -9 all counts.

use std::collections::{BTreeMap, BTreeSet};

use spindle::wire::record_batch::BatchHeader;
use spindle::wire::records::for_each_record;

use crate::plan::Plan;
use crate::records::{Record, stamp};

/// A batch as a lane sent it.
#[derive(Clone, Debug)]
pub struct SentBatch {
    pub first_sequence: u64,
    pub count: usize,
    pub timestamp_ms: i64,
    pub producer: Option<(i64, i16, i32)>,
    pub attempts: u32,
    pub acked: Option<Ack>,
    /// Its outcome was unknown when the producer id was given up: it may be there twice.
    pub renewed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    pub base_offset: i64,
    pub append_time_ms: i64,
}

#[derive(Default)]
pub struct PartitionHistory {
    /// base offset -> (end offset, CRC-32C of all the batch's bytes), as served.
    served: BTreeMap<i64, (i64, u32)>,
    /// The largest high watermark that counts.
    pub high_watermark: i64,
    /// End of the last batch acknowledged with acks=all: what is below survives a power cut.
    durable_end: i64,
}

pub struct History {
    pub plan: Plan,
    pub lanes: Vec<Vec<SentBatch>>,
    pub partitions: BTreeMap<(usize, i32), PartitionHistory>,
    pub producer_ids: BTreeSet<i64>,
    /// Power cuts so far: an answer that was asked for before one is not believed after it.
    pub power_cuts: u32,
    pub batches_served: u64,
    /// The last fault is over.
    pub healed: bool,
}

impl History {
    pub fn new(plan: Plan) -> History {
        let lanes = plan.lanes.iter().map(|_| Vec::new()).collect();
        let mut partitions = BTreeMap::new();
        for (topic, t) in plan.topics.iter().enumerate() {
            for partition in 0..t.partitions {
                partitions.insert((topic, partition), PartitionHistory::default());
            }
        }
        History {
            plan,
            lanes,
            partitions,
            producer_ids: BTreeSet::new(),
            power_cuts: 0,
            batches_served: 0,
            healed: false,
        }
    }

    fn name(&self, topic: usize, partition: i32) -> String {
        format!("{}-{partition}", self.plan.topics[topic].name)
    }

    /// The power is gone: forgets what it may have taken.
    pub fn power_cut(&mut self) {
        self.power_cuts += 1;
        for ((topic, partition), p) in &mut self.partitions {
            if self.plan.topics[*topic].durable {
                continue;
            }
            let kept = p.durable_end;
            p.served.retain(|_, (end, _)| *end <= kept);
            p.high_watermark = p.high_watermark.min(kept);
            for (lane, batches) in self.plan.lanes.iter().zip(&mut self.lanes) {
                if (lane.topic, lane.partition) != (*topic, *partition) || lane.acks == -1 {
                    continue;
                }
                for batch in batches {
                    if batch.acked.is_some_and(|a| a.base_offset + batch.count as i64 > kept) {
                        batch.acked = None;
                    }
                }
            }
        }
    }

    /// The broker stopped cleanly: all that it had is on the disk.
    pub fn clean_stop(&mut self) {
        for p in self.partitions.values_mut() {
            p.durable_end = p.durable_end.max(p.high_watermark);
        }
    }

    pub fn acked(&mut self, lane: usize, batch: usize, ack: Ack, power_cuts_at_send: u32) {
        let plan = &self.plan.lanes[lane];
        let durable = plan.acks == -1;
        if !durable && power_cuts_at_send != self.power_cuts {
            return;
        }
        let sent = &mut self.lanes[lane][batch];
        let end = ack.base_offset + sent.count as i64;
        if let Some(before) = sent.acked.replace(ack) {
            assert_eq!(
                before, ack,
                "lane {lane} batch {batch} was acknowledged twice, differently"
            );
        }
        let p = self.partitions.get_mut(&(plan.topic, plan.partition)).unwrap();
        if durable {
            p.durable_end = p.durable_end.max(end);
        }
    }

    /// Whole batches that were served from `from`, below `high_watermark`. Returns the offset
    /// after the last of them.
    pub fn served(
        &mut self,
        (topic, partition): (usize, i32),
        from: i64,
        high_watermark: i64,
        records: &[u8],
    ) -> i64 {
        let name = self.name(topic, partition);
        let p = self.partitions.get_mut(&(topic, partition)).unwrap();
        p.high_watermark = p.high_watermark.max(high_watermark);
        let mut at = 0;
        let mut next = None;
        while at < records.len() {
            let (header, bytes) = batch_at(&name, records, at);
            let end = header.last_offset() + 1;
            match next {
                None => assert!(
                    header.base_offset <= from && from < end,
                    "{name}: asked for offset {from}, served batch {}..{end}",
                    header.base_offset
                ),
                Some(next) => assert_eq!(
                    header.base_offset, next,
                    "{name}: a hole between two batches of one answer"
                ),
            }
            assert!(
                end <= high_watermark,
                "{name}: batch {}..{end} served above the high watermark {high_watermark}",
                header.base_offset
            );
            let crc = crc32c::crc32c(bytes);
            let known = p.served.insert(header.base_offset, (end, crc));
            if let Some(known) = known {
                assert_eq!(
                    known,
                    (end, crc),
                    "{name}: offset {} reads differently than before (end, crc)",
                    header.base_offset
                );
            } else {
                let covering = p.served.range(..header.base_offset).next_back();
                if let Some((base, (covered, _))) = covering {
                    assert!(
                        *covered <= header.base_offset,
                        "{name}: batch {}..{end} where {base}..{covered} was served before",
                        header.base_offset
                    );
                }
            }
            self.batches_served += 1;
            next = Some(end);
            at += bytes.len();
        }
        next.unwrap_or(from)
    }

    /// Everything in one partition, from its first offset to its end, against all that is known.
    pub fn check_partition(&self, topic: usize, partition: i32, high_watermark: i64, log: &[u8]) {
        let name = self.name(topic, partition);
        let p = &self.partitions[&(topic, partition)];
        assert!(
            high_watermark >= p.high_watermark,
            "{name}: the log ends at {high_watermark}, but {} was served as high watermark",
            p.high_watermark
        );
        let mut found: BTreeMap<(usize, usize), Vec<i64>> = BTreeMap::new();
        let mut at = 0;
        let mut next = 0;
        while at < log.len() {
            let (header, bytes) = batch_at(&name, log, at);
            assert_eq!(header.base_offset, next, "{name}: offsets are not dense");
            let lane_batch = self.identify(&name, topic, partition, &header, bytes);
            found.entry(lane_batch).or_default().push(header.base_offset);
            next = header.last_offset() + 1;
            at += bytes.len();
        }
        assert_eq!(next, high_watermark, "{name}: the log ends below its high watermark");
        for (base, (end, crc)) in &p.served {
            assert!(
                *end <= high_watermark,
                "{name}: batch {base}..{end} was served and is not there any more (crc {crc:08x})"
            );
        }
        for (lane, plan) in self.plan.lanes.iter().enumerate() {
            if (plan.topic, plan.partition) == (topic, partition) {
                self.check_lane(&name, lane, &found);
            }
        }
    }

    fn check_lane(&self, name: &str, lane: usize, found: &BTreeMap<(usize, usize), Vec<i64>>) {
        let plan = &self.plan.lanes[lane];
        let mut last_acked = -1;
        let mut last_found = -1;
        for (index, batch) in self.lanes[lane].iter().enumerate() {
            let none = Vec::new();
            let places = found.get(&(lane, index)).unwrap_or(&none);
            if let Some(ack) = batch.acked {
                assert!(
                    places.contains(&ack.base_offset),
                    "{name}: lane {lane} batch {index} was acknowledged at {} and is at {places:?}: \
                     {batch:?}",
                    ack.base_offset
                );
                assert!(
                    ack.base_offset > last_acked,
                    "{name}: lane {lane} batch {index} at {} is before its predecessor at {last_acked}",
                    ack.base_offset
                );
                last_acked = ack.base_offset;
            }
            let allowed =
                if plan.idempotent && !batch.renewed { 1 } else { batch.attempts as usize };
            assert!(
                places.len() <= allowed,
                "{name}: lane {lane} batch {index} is there {} times, at {places:?}, sent {} times",
                places.len(),
                batch.attempts
            );
            if plan.idempotent
                && let [place] = places[..]
            {
                assert!(
                    place > last_found,
                    "{name}: lane {lane} batch {index} at {place} comes before its predecessor at \
                     {last_found}"
                );
                last_found = place;
            }
        }
    }

    /// Which sent batch this is; every record must be as it was sent.
    fn identify(
        &self,
        name: &str,
        topic: usize,
        partition: i32,
        header: &BatchHeader,
        bytes: &[u8],
    ) -> (usize, usize) {
        let base = header.base_offset;
        let mut identity = None;
        let mut index = 0;
        let walked = for_each_record(bytes, &mut |record| {
            let (lane, sequence) = match stamp(record.value) {
                Ok(stamp) => stamp,
                Err(why) => panic!("{name}: offset {} holds {why}", base + index as i64),
            };
            let lane = lane as usize;
            let plan = &self.plan.lanes[lane];
            assert_eq!(
                (plan.topic, plan.partition),
                (topic, partition),
                "{name}: a foreign record"
            );
            let sent = &self.lanes[lane];
            let batch = sent.partition_point(|b| b.first_sequence <= sequence) - 1;
            let first = *identity.get_or_insert((lane, batch));
            assert_eq!(first, (lane, batch), "{name}: batch {base} mixes records of two");
            let sent = &sent[batch];
            assert_eq!(sequence, sent.first_sequence + index, "{name}: batch {base} is reordered");
            let expected = Record::of(self.plan.seed, lane as u32, plan, sequence);
            assert!(expected.equals(&record), "{name}: offset {} is altered", base + index as i64);
            assert_eq!(record.timestamp_delta, index as i64, "{name}: timestamps are altered");
            assert_eq!(record.offset_delta, index as i32, "{name}: offset deltas are altered");
            index += 1;
            true
        });
        walked.unwrap_or_else(|e| panic!("{name}: batch {base}: {e}"));
        let (lane, batch) = identity.unwrap_or_else(|| panic!("{name}: batch {base} is empty"));
        let sent = &self.lanes[lane][batch];
        assert_eq!(index as usize, sent.count, "{name}: batch {base} is not whole");
        assert_eq!(
            header.base_timestamp, sent.timestamp_ms,
            "{name}: batch {base}: base timestamp"
        );
        if let Some((id, epoch, sequence)) = sent.producer.filter(|_| !sent.renewed) {
            let stored = (header.producer_id, header.producer_epoch, header.base_sequence);
            assert_eq!(stored, (id, epoch, sequence), "{name}: batch {base}: producer");
        }
        if self.plan.topics[topic].log_append_time {
            if let Some(ack) = sent.acked.filter(|a| a.base_offset == base) {
                assert_eq!(header.max_timestamp, ack.append_time_ms, "{name}: batch {base}");
            }
        } else {
            let last = sent.timestamp_ms + sent.count as i64 - 1;
            assert_eq!(header.max_timestamp, last, "{name}: batch {base}: max timestamp");
        }
        (lane, batch)
    }
}

/// The batch at `at`, whole and with a good CRC.
pub fn batch_at<'a>(name: &str, records: &'a [u8], at: usize) -> (BatchHeader, &'a [u8]) {
    let rest = &records[at..];
    let header = BatchHeader::parse(rest).unwrap_or_else(|e| panic!("{name}: a served batch: {e}"));
    let bytes = rest
        .get(..header.size_bytes())
        .unwrap_or_else(|| panic!("{name}: batch {} is cut short", header.base_offset));
    let crc = crc32c::crc32c(&bytes[21..]);
    assert_eq!(header.crc, crc, "{name}: batch {} fails its CRC-32C", header.base_offset);
    (header, bytes)
}
