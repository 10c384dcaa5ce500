//! A topic with a short life: created, written, trimmed with DeleteRecords, deleted, created again,
//! while the broker suffers. A deleted topic's id never comes back, a new topic never holds an old
//! one's records, and what was acknowledged and not trimmed is there.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteTopicsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use spindle::client::ClientError;
use spindle::runtime::{sleep, wall_clock_ms};
use spindle::types::{Compression, TopicId};
use spindle::wire::records::{BatchBuilder, for_each_record};

use crate::client::{Client, LIMIT, expect_transient, read_partition};
use crate::history::batch_at;

const TOPIC: &str = "side";
const TOPIC_ALREADY_EXISTS: i16 = 36;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const UNKNOWN_TOPIC_ID: i16 = 100;
const DELETE_TOPICS_BY_ID: i16 = 6;

pub struct SideTopic {
    client: Client,
    rng: fastrand::Rng,
    deleted: BTreeSet<TopicId>,
    /// A creation whose outcome is unknown may still come.
    creation_lost: bool,
    pub stop: Rc<Cell<bool>>,
}

/// What is known of the topic that is there now.
#[derive(Default)]
struct Life {
    /// offset -> number in the value.
    acked: BTreeMap<i64, u64>,
    /// The highest offset below which anything was asked to be deleted.
    trim_max: i64,
    sent: u64,
}

impl SideTopic {
    pub fn new(seed: u64) -> SideTopic {
        SideTopic {
            client: Client::new("side".to_string()),
            rng: fastrand::Rng::with_seed(seed ^ 0x51DE),
            deleted: BTreeSet::new(),
            creation_lost: false,
            stop: Rc::default(),
        }
    }

    pub async fn run(mut self) {
        while !self.stop.get() {
            let id = self.create().await;
            let mut life = Life::default();
            for _ in 0..self.rng.usize(1..12) {
                self.write(id, &mut life).await;
                if self.rng.u8(..4) == 0 {
                    self.trim(id, &mut life).await;
                }
                if self.rng.u8(..3) == 0 {
                    self.check(id, &life).await;
                }
                sleep(Duration::from_millis(self.rng.u64(0..60))).await;
                if self.stop.get() {
                    break;
                }
            }
            self.check(id, &life).await;
            self.delete(id).await;
        }
    }

    async fn failed(&mut self, e: &ClientError) {
        expect_transient("side topic", e);
        self.client.rest().await;
    }

    async fn create(&mut self) -> TopicId {
        loop {
            let created = match self.client.any().await {
                Ok(c) => c.create_topic(TOPIC, 1, 1, &[], LIMIT).await,
                Err(e) => {
                    self.failed(&e).await;
                    continue;
                }
            };
            match created {
                Ok(()) => break,
                Err(ClientError::Broker { code: TOPIC_ALREADY_EXISTS, .. })
                    if self.creation_lost =>
                {
                    break;
                }
                Err(e) => {
                    self.creation_lost = true;
                    self.failed(&e).await;
                }
            }
        }
        loop {
            self.client.forget();
            match self.client.leader(TOPIC, 0).await {
                Ok((_, id)) => {
                    assert!(!self.deleted.contains(&id), "topic {id} was deleted and is back");
                    return id;
                }
                Err(e) => self.failed(&e).await,
            }
        }
    }

    async fn write(&mut self, id: TopicId, life: &mut Life) {
        let first = life.sent;
        let count = self.rng.u64(1..5);
        let mut batch = BatchBuilder::new(Compression::None);
        for n in first..first + count {
            let value = [&id.as_bytes()[..], &n.to_be_bytes()].concat();
            batch.push(wall_clock_ms(), None, Some(&value), &[]);
        }
        life.sent += count;
        let bytes: Bytes = batch.finish().into();
        loop {
            let answer = match self.client.leader_connection(TOPIC, 0).await {
                Ok((c, now)) => {
                    assert_eq!(now, id, "nobody deleted the side topic");
                    c.produce((TOPIC, id), 0, -1, bytes.clone(), LIMIT).await
                }
                Err(e) => Err(e),
            };
            match answer {
                Ok(r) if r.error_code == 0 => {
                    for i in 0..count {
                        life.acked.insert(r.base_offset + i as i64, first + i);
                    }
                    return;
                }
                Ok(r) => {
                    let what = "side topic: produce".to_string();
                    let (code, message) = (r.error_code, r.error_message);
                    self.failed(&ClientError::Broker { what, code, message }).await;
                }
                Err(e) => self.failed(&e).await,
            }
        }
    }

    async fn trim(&mut self, id: TopicId, life: &mut Life) {
        let Some(end) = life.acked.keys().next_back().map(|last| last + 1) else { return };
        let to = self.rng.i64(0..=end);
        life.trim_max = life.trim_max.max(to);
        loop {
            let answer = match self.client.leader_connection(TOPIC, 0).await {
                Ok((c, _)) => {
                    let partition =
                        DeleteRecordsPartition::default().with_partition_index(0).with_offset(to);
                    let topic = DeleteRecordsTopic::default()
                        .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
                        .with_partitions(vec![partition]);
                    let request = DeleteRecordsRequest::default()
                        .with_topics(vec![topic])
                        .with_timeout_ms(LIMIT.as_millis() as i32);
                    c.call_latest(&request, LIMIT).await
                }
                Err(e) => Err(e),
            };
            match answer {
                Ok((response, _)) => {
                    let row = &response.topics[0].partitions[0];
                    if row.error_code == 0 {
                        let low = row.low_watermark;
                        assert!(
                            (to..=life.trim_max).contains(&low),
                            "records of {id} below {to} were deleted, low watermark {low}"
                        );
                        return;
                    }
                    let what = format!("side topic: DeleteRecords to {to}");
                    let e = ClientError::Broker { what, code: row.error_code, message: None };
                    self.failed(&e).await;
                }
                Err(e) => self.failed(&e).await,
            }
        }
    }

    async fn check(&mut self, id: TopicId, life: &Life) {
        let whole = loop {
            match read_partition(&mut self.client, TOPIC, 0).await {
                Ok(whole) => break whole,
                Err(e) => self.failed(&e).await,
            }
        };
        assert_eq!(whole.topic_id, id, "the side topic changed by itself");
        assert!(
            whole.log_start <= life.trim_max,
            "the side topic begins at {}, trimmed to {} at most",
            whole.log_start,
            life.trim_max
        );
        let mut found = BTreeMap::new();
        let mut at = 0;
        while at < whole.bytes.len() {
            let (header, bytes) = batch_at(TOPIC, &whole.bytes, at);
            let mut offset = header.base_offset;
            for_each_record(bytes, &mut |record| {
                let value = record.value.unwrap_or_default();
                assert_eq!(&value[..16], id.as_bytes(), "offset {offset} is another topic's");
                found.insert(offset, u64::from_be_bytes(value[16..24].try_into().unwrap()));
                offset += 1;
                true
            })
            .unwrap_or_else(|e| panic!("side topic: {e}"));
            at += bytes.len();
        }
        for (offset, n) in life.acked.range(whole.log_start..) {
            assert_eq!(found.get(offset), Some(n), "side topic: acknowledged offset {offset}");
        }
        if let (Some((first, _)), Some((last, _))) =
            (found.first_key_value(), found.last_key_value())
        {
            assert_eq!((last - first + 1) as usize, found.len(), "side topic: offsets not dense");
        }
    }

    async fn delete(&mut self, id: TopicId) {
        let mut lost = false;
        loop {
            let answer = match self.client.any().await {
                Ok(c) => {
                    let state = DeleteTopicState::default().with_name(None).with_topic_id(id);
                    let request = DeleteTopicsRequest::default()
                        .with_topics(vec![state])
                        .with_timeout_ms(LIMIT.as_millis() as i32);
                    c.call(DELETE_TOPICS_BY_ID, &request, LIMIT).await
                }
                Err(e) => {
                    self.failed(&e).await;
                    continue;
                }
            };
            let failure = match answer {
                Ok(response) => match response.responses[0].error_code {
                    0 => break,
                    UNKNOWN_TOPIC_ID | UNKNOWN_TOPIC_OR_PARTITION if lost => break,
                    code => {
                        let what = format!("deleting topic {id}");
                        ClientError::Broker { what, code, message: None }
                    }
                },
                Err(e) => e,
            };
            lost = true;
            self.failed(&failure).await;
        }
        self.deleted.insert(id);
        self.client.forget();
        match self.client.leader(TOPIC, 0).await {
            Ok((_, now)) => assert_ne!(now, id, "a deleted topic is in the metadata"),
            Err(ClientError::Broker { code: UNKNOWN_TOPIC_OR_PARTITION, .. }) => {}
            Err(e) => self.failed(&e).await,
        }
    }
}
