//! What the client tests share: admin calls that block, a producer that remembers every delivery,
//! a reader of exact offsets. No test lives here.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, Timestamp};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// 0: the client's clock.
    pub timestamp_ms: i64,
}

impl Record {
    pub fn value(value: impl Into<Vec<u8>>) -> Record {
        Record { key: None, value: Some(value.into()), headers: Vec::new(), timestamp_ms: 0 }
    }
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub offset: i64,
    pub timestamp: Timestamp,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Got {
    pub fn same_content(&self, sent: &Record) -> bool {
        self.key == sent.key && self.value == sent.value && self.headers == sent.headers
    }
}

pub fn config(bootstrap: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config.set("broker.address.family", "v4");
    config.set("reconnect.backoff.ms", "50");
    config.set("reconnect.backoff.max.ms", "500");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for an answer of the admin client, which completes its futures from a thread of its own.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

pub fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    config(bootstrap, &[]).create().expect("admin client")
}

pub fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(Duration::from_secs(30)))
        .operation_timeout(Some(Duration::from_secs(30)))
}

pub fn create_topic(bootstrap: &str, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in settings {
        topic = topic.set(key, value);
    }
    let admin = admin(bootstrap);
    let results = block_on(admin.create_topics([&topic], &options())).expect("create topics");
    assert_eq!(results, [Ok(name.to_owned())]);
    wait_partitions(bootstrap, name, partitions as usize);
}

/// Until the metadata shows this many partitions, each with a leader.
pub fn wait_partitions(bootstrap: &str, name: &str, partitions: usize) {
    let consumer = consumer(bootstrap, &[]);
    crate::common::wait_for("the topic's leaders in the metadata", PATIENCE, || {
        let metadata = consumer.fetch_metadata(Some(name), Duration::from_secs(10)).ok()?;
        let topic = metadata.topics().first()?;
        (topic.error().is_none()
            && topic.partitions().len() == partitions
            && topic.partitions().iter().all(|p| p.error().is_none() && p.leader() >= 0))
        .then_some(())
    });
}

/// `group.id` is what librdkafka asks for before it lets anyone poll; no group is joined.
pub fn consumer(bootstrap: &str, settings: &[(&str, &str)]) -> BaseConsumer {
    let base = [
        ("group.id", "not-joined"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("auto.offset.reset", "error"),
        ("fetch.wait.max.ms", "50"),
        ("check.crcs", "true"),
    ];
    let mut config = config(bootstrap, &base);
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config.create().expect("consumer")
}

pub type Delivery = Result<(i32, i64), RDKafkaErrorCode>;

/// Remembers what became of each message, by the number it was sent with.
#[derive(Clone, Default)]
pub struct Deliveries(Arc<Mutex<HashMap<usize, Delivery>>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<usize>;
    fn delivery(&self, result: &DeliveryResult<'_>, number: Box<usize>) {
        let delivery = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.rdkafka_error_code().expect("an error code")),
        };
        let before = self.0.lock().expect("deliveries").insert(*number, delivery);
        assert!(before.is_none(), "message {number} was reported twice");
    }
}

pub struct Sender {
    producer: BaseProducer<Deliveries>,
    deliveries: Deliveries,
    next: usize,
}

impl Sender {
    pub fn new(bootstrap: &str, settings: &[(&str, &str)]) -> Sender {
        let deliveries = Deliveries::default();
        let mut config = config(bootstrap, &[("message.timeout.ms", "60000"), ("linger.ms", "5")]);
        for (key, value) in settings {
            config.set(*key, *value);
        }
        let producer =
            config.create_with_context(deliveries.clone()).expect("producer configuration");
        Sender { producer, deliveries, next: 0 }
    }

    /// Queues a record (`partition` -1: the client chooses) and returns its number.
    pub fn send(&mut self, topic: &str, partition: i32, record: &Record) -> usize {
        self.try_send(topic, partition, record).expect("queue the record")
    }

    pub fn try_send(
        &mut self,
        topic: &str,
        partition: i32,
        record: &Record,
    ) -> Result<usize, RDKafkaErrorCode> {
        let number = self.next;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.producer.send(message(topic, partition, record, number)) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    assert!(Instant::now() < deadline, "the producer's queue does not drain");
                    self.producer.poll(Duration::from_millis(50));
                }
                Err((error, _)) => return Err(error.rdkafka_error_code().expect("error code")),
            }
        }
        self.next += 1;
        self.producer.poll(Duration::ZERO);
        Ok(number)
    }

    pub fn poll(&self, timeout: Duration) {
        self.producer.poll(timeout);
    }

    pub fn delivered(&self) -> usize {
        self.deliveries.0.lock().expect("deliveries").len()
    }

    /// Waits for every delivery; the answers in the order of sending.
    pub fn finish(&mut self) -> Vec<Delivery> {
        self.producer.flush(PATIENCE * 2).expect("flush");
        let deliveries = self.deliveries.0.lock().expect("deliveries");
        (0..self.next).map(|n| *deliveries.get(&n).expect("each message is reported")).collect()
    }
}

fn message<'a>(
    topic: &'a str,
    partition: i32,
    record: &'a Record,
    number: usize,
) -> BaseRecord<'a, [u8], [u8], Box<usize>> {
    let mut message = BaseRecord::with_opaque_to(topic, Box::new(number));
    if partition >= 0 {
        message = message.partition(partition);
    }
    if let Some(key) = &record.key {
        message = message.key(key.as_slice());
    }
    if let Some(value) = &record.value {
        message = message.payload(value.as_slice());
    }
    if record.timestamp_ms != 0 {
        message = message.timestamp(record.timestamp_ms);
    }
    if !record.headers.is_empty() {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: value.as_ref() });
        }
        message = message.headers(headers);
    }
    message
}

/// Sends all records to one (empty) partition and expects every one to be acknowledged.
pub fn produce(
    bootstrap: &str,
    settings: &[(&str, &str)],
    topic: &str,
    partition: i32,
    records: &[Record],
) -> Vec<i64> {
    let mut sender = Sender::new(bootstrap, settings);
    for record in records {
        sender.send(topic, partition, record);
    }
    let offset = |delivery: &Delivery| match *delivery {
        Ok((at, offset)) if at == partition => offset,
        ref other => panic!("delivery to {topic} {partition}: {other:?}"),
    };
    let offsets = sender.finish().iter().map(offset).collect();
    if settings.contains(&("acks", "0")) {
        // Nothing says when it arrived, and a client that closes with a reply unread resets the
        // connection with all that the broker has not read yet: keep it open until it is there.
        crate::common::wait_for("what was sent with acks=0", PATIENCE, || {
            let (_, high_watermark) = watermarks(bootstrap, topic, partition);
            (high_watermark >= records.len() as i64).then_some(())
        });
    }
    offsets
}

/// Reads exactly `count` records of each (partition, first offset, count).
pub fn read(
    bootstrap: &str,
    settings: &[(&str, &str)],
    topic: &str,
    wanted: &[(i32, Offset, usize)],
) -> HashMap<i32, Vec<Got>> {
    let consumer = consumer(bootstrap, settings);
    let mut assignment = TopicPartitionList::new();
    let mut missing = 0;
    let mut got: HashMap<i32, Vec<Got>> = HashMap::new();
    for &(partition, from, count) in wanted {
        assignment.add_partition_offset(topic, partition, from).expect("a valid start offset");
        missing += count;
        got.insert(partition, Vec::new());
    }
    let limits: HashMap<i32, usize> = wanted.iter().map(|&(p, _, count)| (p, count)).collect();
    consumer.assign(&assignment).expect("assign");
    let deadline = Instant::now() + PATIENCE;
    while missing > 0 {
        assert!(Instant::now() < deadline, "{missing} records of {topic} did not come");
        match consumer.poll(Duration::from_millis(200)) {
            None => {}
            // A broker that restarts is no reason to fail: librdkafka goes on by itself.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            ))) => {}
            Some(Err(error)) => panic!("reading {topic}: {error}"),
            Some(Ok(message)) => {
                let partition = message.partition();
                let list = got.get_mut(&partition).expect("an assigned partition");
                if list.len() < limits[&partition] {
                    list.push(taken(&message));
                    missing -= 1;
                }
            }
        }
    }
    got
}

fn taken(message: &impl Message) -> Got {
    let headers = match message.headers() {
        None => Vec::new(),
        Some(headers) => {
            headers.iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect()
        }
    };
    Got {
        offset: message.offset(),
        timestamp: message.timestamp(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
    }
}

pub fn watermarks(bootstrap: &str, topic: &str, partition: i32) -> (i64, i64) {
    let consumer = consumer(bootstrap, &[]);
    crate::common::wait_for("watermarks", PATIENCE, || {
        match consumer.fetch_watermarks(topic, partition, Duration::from_secs(30)) {
            Ok(marks) => Some(marks),
            // A broker that has just started may not lead yet: clients ask again.
            Err(KafkaError::MetadataFetch(
                RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::BrokerTransportFailure,
            )) => None,
            Err(error) => panic!("watermarks of {topic} {partition}: {error}"),
        }
    })
}

/// Records that differ in everything: null, empty and long keys and values, headers with null and
/// empty values and repeated names, compressible and random bytes.
pub fn varied_records(count: usize, seed: u64, first_timestamp_ms: i64) -> Vec<Record> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|i| varied_record(&mut random, i, first_timestamp_ms)).collect()
}

fn varied_record(random: &mut fastrand::Rng, i: usize, first_timestamp_ms: i64) -> Record {
    let noise = |random: &mut fastrand::Rng, length: usize| -> Vec<u8> {
        (0..length).map(|_| random.u8(..)).collect()
    };
    let key = match i % 5 {
        0 => None,
        1 => Some(Vec::new()),
        _ => Some(format!("key {i}").into_bytes()),
    };
    let value = match i % 7 {
        0 => None,
        1 => Some(Vec::new()),
        2 => {
            let length = random.usize(1..2_000);
            Some(noise(random, length))
        }
        _ => Some(format!("value {i} ").repeat(random.usize(1..100)).into_bytes()),
    };
    let headers = match i % 4 {
        0 => Vec::new(),
        1 => vec![("one".to_owned(), Some(noise(random, 20)))],
        2 => vec![("null".to_owned(), None), ("empty".to_owned(), Some(Vec::new()))],
        _ => vec![
            ("twice".to_owned(), Some(b"a".to_vec())),
            ("twice".to_owned(), Some(b"b".to_vec())),
            ("ünïcode".to_owned(), Some("wert".into())),
        ],
    };
    Record { key, value, headers, timestamp_ms: first_timestamp_ms + i as i64 }
}
