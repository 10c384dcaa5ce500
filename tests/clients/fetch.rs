//! Where a read starts: offsets, times, ends; what is beyond them.

use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::common::{Broker, now_ms, unique, wait_for};
use crate::session::{self, PATIENCE, Record};

fn timed_records(count: i64, first_ms: i64, step_ms: i64) -> Vec<Record> {
    let record = |i: i64| Record {
        timestamp_ms: first_ms + i * step_ms,
        ..Record::value(format!("record {i} {}", "x".repeat(200)))
    };
    (0..count).map(record).collect()
}

#[test]
fn from_an_offset_in_the_middle_of_batches() {
    let broker = Broker::any();
    let bootstrap = broker.bootstrap();
    let topic = unique("middle");
    session::create_topic(&bootstrap, &topic, 1, &[]);
    let records = session::varied_records(2_000, 11, now_ms());
    session::produce(&bootstrap, &[("compression.codec", "lz4")], &topic, 0, &records);
    for from in [0, 1, 999, 1_500, 1_999] {
        let count = 2_000 - from as usize;
        let got = session::read(&bootstrap, &[], &topic, &[(0, Offset::Offset(from), count)]);
        for (i, got) in got[&0].iter().enumerate() {
            assert_eq!(got.offset, from + i as i64);
            assert!(got.same_content(&records[from as usize + i]));
        }
    }
    let got = session::read(&bootstrap, &[], &topic, &[(0, Offset::OffsetTail(3), 3)]);
    assert_eq!(got[&0][0].offset, 1_997);
}

#[test]
fn small_fetches_read_everything() {
    let broker = Broker::any();
    let bootstrap = broker.bootstrap();
    let topic = unique("sips");
    session::create_topic(&bootstrap, &topic, 3, &[]);
    let records = timed_records(500, now_ms(), 1);
    for partition in 0..3 {
        session::produce(&bootstrap, &[("batch.num.messages", "7")], &topic, partition, &records);
    }
    let settings = [
        ("fetch.message.max.bytes", "500"),
        ("fetch.max.bytes", "1000"),
        ("message.max.bytes", "1000"),
    ];
    let wanted: Vec<_> = (0..3).map(|p| (p, Offset::Beginning, 500)).collect();
    for got in session::read(&bootstrap, &settings, &topic, &wanted).values() {
        for (i, (got, sent)) in got.iter().zip(&records).enumerate() {
            assert!(got.offset == i as i64 && got.same_content(sent));
        }
    }
}

#[test]
fn offsets_for_times() {
    let broker = Broker::any();
    let bootstrap = broker.bootstrap();
    let topic = unique("times");
    session::create_topic(&bootstrap, &topic, 2, &[]);
    let first = now_ms() - 1_000_000;
    let records = timed_records(900, first, 1_000);
    session::produce(&bootstrap, &[("batch.num.messages", "10")], &topic, 0, &records);
    let consumer = session::consumer(&bootstrap, &[]);
    let lookup = |partition: i32, time_ms: i64| {
        let mut times = TopicPartitionList::new();
        times
            .add_partition_offset(&topic, partition, Offset::Offset(time_ms))
            .expect("a time as offset");
        let found = consumer.offsets_for_times(times, Duration::from_secs(30)).expect("offsets");
        found.find_partition(&topic, partition).expect("the partition").offset()
    };
    assert_eq!(lookup(0, first - 5_000), Offset::Offset(0));
    assert_eq!(lookup(0, first), Offset::Offset(0));
    assert_eq!(lookup(0, first + 1), Offset::Offset(1));
    for i in [1, 9, 10, 11, 450, 899] {
        assert_eq!(lookup(0, first + i * 1_000), Offset::Offset(i));
        assert_eq!(lookup(0, first + i * 1_000 - 999), Offset::Offset(i));
    }
    assert_eq!(lookup(0, first + 899_001), Offset::End);
    assert_eq!(lookup(1, first), Offset::End, "an empty partition has no offset for any time");
    let Offset::Offset(start) = lookup(0, first + 500_500) else { panic!("an offset") };
    let got = session::read(&bootstrap, &[], &topic, &[(0, Offset::Offset(start), 1)]);
    assert!(got[&0][0].same_content(&records[501]));
}

#[test]
fn watermarks_move_with_produce_and_delete_records() {
    let broker = Broker::any();
    let bootstrap = broker.bootstrap();
    let topic = unique("marks");
    session::create_topic(&bootstrap, &topic, 1, &[]);
    assert_eq!(session::watermarks(&bootstrap, &topic, 0), (0, 0));
    session::produce(&bootstrap, &[], &topic, 0, &timed_records(100, now_ms(), 0));
    assert_eq!(session::watermarks(&bootstrap, &topic, 0), (0, 100));
    let mut until = TopicPartitionList::new();
    until.add_partition_offset(&topic, 0, Offset::Offset(40)).expect("an offset");
    let admin = session::admin(&bootstrap);
    let deleted = admin.delete_records(&until, &session::options());
    let deleted = session::block_on(deleted).expect("delete records");
    assert_eq!(deleted.find_partition(&topic, 0).expect("partition").offset(), Offset::Offset(40));
    assert_eq!(session::watermarks(&bootstrap, &topic, 0), (40, 100));
    let got = session::read(&bootstrap, &[], &topic, &[(0, Offset::Beginning, 60)]);
    assert_eq!(got[&0][0].offset, 40);
}

#[test]
fn beyond_the_end_is_an_error_and_the_end_waits_for_news() {
    let broker = Broker::any();
    let bootstrap = broker.bootstrap();
    let topic = unique("beyond");
    session::create_topic(&bootstrap, &topic, 1, &[]);
    session::produce(&bootstrap, &[], &topic, 0, &timed_records(10, now_ms(), 0));
    let consumer = session::consumer(&bootstrap, &[]);
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&topic, 0, Offset::Offset(500)).expect("an offset");
    consumer.assign(&assignment).expect("assign");
    let error = wait_for("an error for an offset out of range", PATIENCE, || {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Err(KafkaError::MessageConsumption(code))) => Some(code),
            Some(Ok(_)) => panic!("a record from beyond the end"),
            _ => None,
        }
    });
    assert!(
        matches!(error, RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange),
        "{error:?}"
    );
    // A long poll at the end is answered by the next record, whenever it comes.
    let reader = {
        let (bootstrap, topic) = (bootstrap.clone(), topic.clone());
        std::thread::spawn(move || {
            let settings = [("fetch.wait.max.ms", "5000")];
            session::read(&bootstrap, &settings, &topic, &[(0, Offset::Offset(10), 1)])
        })
    };
    session::produce(&bootstrap, &[], &topic, 0, &[Record::value("news")]);
    let got = reader.join().expect("the reader");
    assert_eq!(got[&0][0].value.as_deref(), Some(b"news".as_slice()));
}

#[test]
fn an_unknown_topic_is_named_and_not_created() {
    let broker = Broker::any();
    let bootstrap = broker.bootstrap();
    let topic = unique("unknown");
    let consumer = session::consumer(&bootstrap, &[]);
    for _ in 0..2 {
        let metadata =
            consumer.fetch_metadata(Some(&topic), Duration::from_secs(30)).expect("metadata");
        let error = metadata.topics()[0].error().expect("an error for the topic");
        let code = RDKafkaErrorCode::from(error);
        assert_eq!(code, RDKafkaErrorCode::UnknownTopicOrPartition);
    }
    let all = consumer.fetch_metadata(None, Duration::from_secs(30)).expect("all topics");
    assert!(all.topics().iter().all(|t| t.name() != topic));
    let error = consumer.fetch_watermarks(&topic, 0, Duration::from_secs(5));
    assert!(error.is_err());
}
