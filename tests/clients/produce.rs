//! Produce with every setting a client uses, and read back byte for byte.

use std::time::Duration;

use rdkafka::Offset;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Timestamp;

use crate::common::wire::{Wire, batch_attributes};
use crate::common::{Broker, now_ms, unique, wait_for};
use crate::session::{self, Record, Sender};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

#[derive(Clone, Copy)]
struct Mode {
    acks: &'static str,
    codec: usize,
    idempotent: bool,
}

fn modes() -> Vec<Mode> {
    let mut modes = Vec::new();
    for codec in 0..CODECS.len() {
        for acks in ["0", "1", "all"] {
            modes.push(Mode { acks, codec, idempotent: false });
        }
        modes.push(Mode { acks: "all", codec, idempotent: true });
    }
    modes
}

fn every_mode_is_read_back(timestamp_type: &str) {
    let broker = Broker::any();
    let bootstrap = broker.bootstrap();
    let modes = modes();
    let topic = unique(timestamp_type);
    let settings = [("message.timestamp.type", timestamp_type)];
    session::create_topic(&bootstrap, &topic, modes.len() as i32, &settings);
    let begin = now_ms();
    let mut sent = Vec::new();
    for (partition, mode) in modes.iter().enumerate() {
        // An hour ago: what the broker stamps is told apart from what the client sent.
        let records = session::varied_records(300, partition as u64, begin - 3_600_000);
        let idempotent = mode.idempotent.to_string();
        let settings = [
            ("acks", mode.acks),
            ("compression.codec", CODECS[mode.codec]),
            ("enable.idempotence", idempotent.as_str()),
        ];
        let offsets = session::produce(&bootstrap, &settings, &topic, partition as i32, &records);
        if mode.acks != "0" {
            assert_eq!(offsets, (0..300).collect::<Vec<i64>>(), "{}", describe(mode));
        }
        sent.push(records);
    }
    let wanted: Vec<_> = (0..modes.len() as i32).map(|p| (p, Offset::Beginning, 300)).collect();
    let got = session::read(&bootstrap, &[], &topic, &wanted);
    let end = now_ms();
    for (partition, mode) in modes.iter().enumerate() {
        let got = &got[&(partition as i32)];
        for (i, (got, sent)) in got.iter().zip(&sent[partition]).enumerate() {
            assert_eq!(got.offset, i as i64, "{}", describe(mode));
            assert!(got.same_content(sent), "{}: {got:?} is not {sent:?}", describe(mode));
            match got.timestamp {
                Timestamp::CreateTime(time) if timestamp_type == "CreateTime" => {
                    assert_eq!(time, sent.timestamp_ms, "{}", describe(mode));
                }
                Timestamp::LogAppendTime(time) if timestamp_type == "LogAppendTime" => {
                    assert!((begin..=end).contains(&time), "{}: {time}", describe(mode));
                }
                other => panic!("{}: timestamp {other:?}", describe(mode)),
            }
        }
        assert_eq!(session::watermarks(&bootstrap, &topic, partition as i32), (0, 300));
    }
    stored_as_sent(&broker, &topic, &modes);
}

/// The codec in the stored batches is the client's: nothing was decompressed and packed again, and
/// the client saw in ApiVersions what it needs to use the codec at all (librdkafka sends lz4 only
/// to a broker that advertises FindCoordinator).
fn stored_as_sent(broker: &Broker, topic: &str, modes: &[Mode]) {
    let mut wire = Wire::connect(broker.address());
    for (partition, mode) in modes.iter().enumerate() {
        let (code, _, bytes) = wire.fetch(topic, partition as i32, 0).expect("fetch");
        assert_eq!(code, 0);
        let codecs: Vec<i16> = batch_attributes(&bytes).iter().map(|a| a & 7).collect();
        assert!(codecs.contains(&(mode.codec as i16)), "{}: stored {codecs:?}", describe(mode));
    }
}

fn describe(mode: &Mode) -> String {
    let Mode { acks, codec, idempotent } = *mode;
    format!("acks={acks} codec={} idempotent={idempotent}", CODECS[codec])
}

#[test]
fn every_mode_with_create_time() {
    every_mode_is_read_back("CreateTime");
}

#[test]
fn every_mode_with_log_append_time() {
    every_mode_is_read_back("LogAppendTime");
}

#[test]
fn a_topic_with_a_codec_stores_all_batches_in_it() {
    let broker = Broker::any();
    let bootstrap = broker.bootstrap();
    let stored_as = ["uncompressed", "gzip", "snappy", "lz4", "zstd"];
    for (codec, name) in stored_as.into_iter().enumerate() {
        let topic = unique(name);
        let levels = [("compression.gzip.level", "2"), ("compression.lz4.level", "12")];
        let settings = [&[("compression.type", name)][..], &levels].concat();
        session::create_topic(&bootstrap, &topic, CODECS.len() as i32, &settings);
        let mut sent = Vec::new();
        for (partition, from) in CODECS.iter().enumerate() {
            let records = session::varied_records(200, partition as u64, now_ms());
            let settings = [("compression.codec", *from), ("enable.idempotence", "true")];
            session::produce(&bootstrap, &settings, &topic, partition as i32, &records);
            sent.push(records);
        }
        let wanted: Vec<_> =
            (0..CODECS.len() as i32).map(|p| (p, Offset::Beginning, 200)).collect();
        let got = session::read(&bootstrap, &[("check.crcs", "true")], &topic, &wanted);
        let mut wire = Wire::connect(broker.address());
        for (partition, from) in CODECS.iter().enumerate() {
            let got = &got[&(partition as i32)];
            let same = got.iter().zip(&sent[partition]).all(|(got, sent)| got.same_content(sent));
            assert!(same && got.len() == 200, "{from} to {name}");
            let (_, _, bytes) = wire.fetch(&topic, partition as i32, 0).expect("fetch");
            let codecs: Vec<i16> = batch_attributes(&bytes).iter().map(|a| a & 7).collect();
            assert!(codecs.iter().all(|c| *c == codec as i16), "{from} to {name}: {codecs:?}");
        }
    }
}

#[test]
fn large_messages() {
    let broker = Broker::any();
    let bootstrap = broker.bootstrap();
    let topic = unique("large");
    session::create_topic(&bootstrap, &topic, 1, &[("max.message.bytes", "12000000")]);
    let mut random = fastrand::Rng::with_seed(7);
    let mut records = Vec::new();
    for length in [900_000, 5_000_000, 1, 10_000_000, 2_000_000] {
        records.push(Record::value((0..length).map(|_| random.u8(..)).collect::<Vec<u8>>()));
    }
    let settings = [("message.max.bytes", "11000000"), ("acks", "all")];
    let offsets = session::produce(&bootstrap, &settings, &topic, 0, &records);
    assert_eq!(offsets, [0, 1, 2, 3, 4]);
    // The consumer asks for 1 MiB a partition: the first batch comes whole all the same (KIP-74).
    let settings = [("receive.message.max.bytes", "60000000")];
    let got = session::read(&bootstrap, &settings, &topic, &[(0, Offset::Beginning, 5)]);
    for (got, sent) in got[&0].iter().zip(&records) {
        assert!(got.same_content(sent), "a large value changed");
    }
}

#[test]
fn too_large_is_refused_and_the_next_goes_through() {
    let broker = Broker::any();
    let bootstrap = broker.bootstrap();
    let topic = unique("limit");
    session::create_topic(&bootstrap, &topic, 1, &[("max.message.bytes", "10000")]);
    for idempotence in ["false", "true"] {
        let mut sender =
            Sender::new(&bootstrap, &[("enable.idempotence", idempotence), ("linger.ms", "0")]);
        sender.send(&topic, 0, &Record::value(vec![7; 20_000]));
        assert_eq!(sender.finish(), [Err(RDKafkaErrorCode::MessageSizeTooLarge)]);
        // An idempotent client gives up after a refusal; a new one must find a working partition.
        let mut sender = Sender::new(&bootstrap, &[("enable.idempotence", idempotence)]);
        sender.send(&topic, 0, &Record::value(vec![7; 5_000]));
        assert!(sender.finish()[0].is_ok());
    }
    assert_eq!(session::watermarks(&bootstrap, &topic, 0), (0, 2));
}

#[test]
fn many_partitions() {
    let broker = Broker::any();
    let bootstrap = broker.bootstrap();
    let topic = unique("many");
    session::create_topic(&bootstrap, &topic, 200, &[]);
    let mut sender = Sender::new(&bootstrap, &[("enable.idempotence", "true")]);
    for round in 0..5 {
        for partition in 0..200 {
            sender.send(&topic, partition, &Record::value(format!("{partition} {round}")));
        }
    }
    for (i, delivery) in sender.finish().into_iter().enumerate() {
        assert_eq!(delivery, Ok((i as i32 % 200, i as i64 / 200)));
    }
    let wanted: Vec<_> = (0..200).map(|p| (p, Offset::Offset(1), 4)).collect();
    for (partition, got) in session::read(&bootstrap, &[], &topic, &wanted) {
        for (i, got) in got.iter().enumerate() {
            let value = format!("{partition} {}", i + 1).into_bytes();
            assert_eq!((got.offset, &got.value), (i as i64 + 1, &Some(value)));
        }
    }
}

#[test]
fn a_topic_is_created_by_the_first_produce() {
    let broker = Broker::any();
    let bootstrap = broker.bootstrap();
    let topic = unique("auto");
    let offsets = session::produce(&bootstrap, &[], &topic, 0, &[Record::value("first")]);
    assert_eq!(offsets, [0]);
    let got = session::read(&bootstrap, &[], &topic, &[(0, Offset::Beginning, 1)]);
    assert_eq!(got[&0][0].value.as_deref(), Some(b"first".as_slice()));
}

#[test]
fn no_topic_is_created_where_that_is_off() {
    if crate::common::external().is_some() {
        return eprintln!("needs a broker of its own configuration: not run");
    }
    let broker = Broker::own(&["auto.create.topics.enable=false"]);
    let settings = [("topic.metadata.propagation.max.ms", "1000"), ("message.timeout.ms", "10000")];
    let mut sender = Sender::new(&broker.bootstrap(), &settings);
    sender.send("nowhere", 0, &Record::value("x"));
    let delivery = sender.finish()[0];
    assert!(
        matches!(
            delivery,
            Err(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition)
        ),
        "{delivery:?}"
    );
}

#[test]
fn produce_goes_on_when_partitions_are_added() {
    use rdkafka::admin::NewPartitions;
    let broker = Broker::any();
    let bootstrap = broker.bootstrap();
    let topic = unique("growing");
    session::create_topic(&bootstrap, &topic, 2, &[]);
    let settings = [
        ("enable.idempotence", "true"),
        ("topic.metadata.refresh.interval.ms", "200"),
        ("sticky.partitioning.linger.ms", "0"),
        ("linger.ms", "0"),
    ];
    let mut sender = Sender::new(&bootstrap, &settings);
    let mut next = 0;
    let mut send_some = |sender: &mut Sender| {
        for _ in 0..50 {
            sender.send(&topic, -1, &Record::value(format!("{next}")));
            next += 1;
        }
        sender.poll(Duration::from_millis(50));
    };
    send_some(&mut sender);
    let admin = session::admin(&bootstrap);
    let grow = NewPartitions::new(&topic, 6);
    let results = session::block_on(admin.create_partitions([&grow], &session::options()));
    assert_eq!(results.expect("create partitions"), [Ok(topic.clone())]);
    session::wait_partitions(&bootstrap, &topic, 6);
    wait_for("messages in each of the six partitions", session::PATIENCE, || {
        send_some(&mut sender);
        (0..6).all(|p| session::watermarks(&bootstrap, &topic, p).1 > 0).then_some(())
    });
    let deliveries = sender.finish();
    let mut counts = [0_usize; 6];
    for delivery in &deliveries {
        counts[delivery.expect("acknowledged").0 as usize] += 1;
    }
    let wanted: Vec<_> = (0..6).map(|p| (p, Offset::Beginning, counts[p as usize])).collect();
    let got = session::read(&bootstrap, &[], &topic, &wanted);
    for (number, delivery) in deliveries.iter().enumerate() {
        let (partition, offset) = delivery.expect("acknowledged");
        let got = &got[&partition][offset as usize];
        assert_eq!(got.value, Some(number.to_string().into_bytes()));
    }
}
