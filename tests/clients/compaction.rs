//! A compacted topic as librdkafka sees it: the newest record of each key at its own offset, over a
//! kill -9, and an idempotent producer that goes on as if nothing had been removed.
//! With SPINDLE_KAFKA_LIBS (a directory of Apache Kafka's jars) Kafka's own DumpLogSegments reads
//! what the broker leaves behind.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::common::{Broker, unique, wait_for};
use crate::session::{self, PATIENCE, Record, Sender};

const KEYS: usize = 50;

type Table = BTreeMap<Vec<u8>, (i64, Option<Vec<u8>>)>;

/// Offset, key and value of every record, from the first to the end of the partition.
fn read_to_end(bootstrap: &str, topic: &str) -> Vec<(i64, Vec<u8>, Option<Vec<u8>>)> {
    let consumer = session::consumer(bootstrap, &[("enable.partition.eof", "true")]);
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Beginning).expect("a valid offset");
    consumer.assign(&assignment).expect("assign");
    let deadline = Instant::now() + PATIENCE;
    let mut found = Vec::new();
    loop {
        assert!(Instant::now() < deadline, "the end of {topic} does not come");
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(m)) => {
                let key = m.key().expect("a key").to_vec();
                found.push((m.offset(), key, m.payload().map(<[u8]>::to_vec)));
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return found,
            Some(Err(KafkaError::MessageConsumption(_))) | None => {}
            Some(Err(e)) => panic!("reading {topic}: {e}"),
        }
    }
}

/// Sends records of these keys, `None` for a tombstone, and notes where the newest of each is.
fn send(sender: &mut Sender, topic: &str, keys: impl Iterator<Item = usize>, table: &mut Table) {
    let first = sender.finish().len();
    let mut sent = Vec::new();
    for (n, key) in keys.enumerate() {
        // Noise, so that what is left after compaction is more than one entry of the index.
        let mut value = format!("value {} of {key} ", first + n).into_bytes();
        let mut noise = fastrand::Rng::with_seed((first + n) as u64);
        value.extend((0..2_000).map(|_| noise.u8(..)));
        let mut record = Record::value(value);
        record.key = Some(format!("key {key}").into_bytes());
        sender.send(topic, 0, &record);
        if n % 40 == 39 {
            sender.poll(Duration::from_millis(10));
        }
        sent.push(record);
    }
    for (delivery, record) in sender.finish()[first..].iter().zip(sent) {
        let offset = delivery.expect("acknowledged").1;
        table.insert(record.key.expect("a key"), (offset, record.value));
    }
}

fn wait_compacted(bootstrap: &str, topic: &str, table: &Table) {
    wait_for("only the newest record of each key", PATIENCE, || {
        let found = read_to_end(bootstrap, topic);
        assert!(found.is_sorted_by_key(|r| r.0), "order");
        // The newest are there at every moment, at their offsets.
        let newest: Table = found.iter().map(|(o, k, v)| (k.clone(), (*o, v.clone()))).collect();
        assert_eq!(&newest, table);
        (found.len() == table.len()).then_some(())
    });
}

#[test]
fn the_newest_of_each_key_is_what_remains() {
    let mut broker = Broker::own(&["log.cleaner.backoff.ms=20", "log.cleaner.threads=2"]);
    let bootstrap = broker.bootstrap();
    let topic = unique("table");
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("delete.retention.ms", "0"),
    ];
    session::create_topic(&bootstrap, &topic, 1, &settings);
    let mut table = Table::new();
    let settings =
        [("enable.idempotence", "true"), ("compression.type", "zstd"), ("batch.size", "8000")];
    let mut sender = Sender::new(&bootstrap, &settings);
    send(&mut sender, &topic, (0..2000).map(|n| n * 7 % KEYS), &mut table);
    wait_compacted(&bootstrap, &topic, &table);
    assert_eq!(session::watermarks(&bootstrap, &topic, 0), (0, 2000));

    broker.kill();
    broker.restart();
    wait_compacted(&bootstrap, &topic, &table);
    send(&mut sender, &topic, (0..300).map(|n| n % 10), &mut table);
    wait_compacted(&bootstrap, &topic, &table);
    assert_eq!(session::watermarks(&bootstrap, &topic, 0), (0, 2300));

    // A tombstone is a record until its time is over; then nothing of the key is left.
    let gone = b"key 3".to_vec();
    let first = sender.finish().len();
    let tombstone =
        Record { key: Some(gone.clone()), value: None, headers: Vec::new(), timestamp_ms: 0 };
    sender.send(&topic, 0, &tombstone);
    assert!(sender.finish()[first].is_ok());
    table.remove(&gone);
    wait_for("the tombstone to go", PATIENCE, || {
        // Runs come with new records.
        send(&mut sender, &topic, 4..5, &mut table);
        read_to_end(&bootstrap, &topic).iter().all(|r| r.1 != gone).then_some(())
    });
    wait_compacted(&bootstrap, &topic, &table);

    let (status, _) = broker.terminate();
    assert!(status.success(), "{status}");
    let checkpoint = broker.data_dir().join("cleaner-offset-checkpoint");
    let text = std::fs::read_to_string(checkpoint).expect("the cleaner's checkpoint");
    assert!(text.starts_with("0\n1\n") && text.contains(&format!("{topic} 0 ")), "{text}");
    if let Some(libs) = std::env::var_os("SPINDLE_KAFKA_LIBS") {
        dump(Path::new(&libs), &broker.data_dir().join(format!("{topic}-0")));
    }
    broker.restart();
    wait_compacted(&bootstrap, &topic, &table);
}

/// Kafka's tool reads every file of the partition without complaint.
fn dump(libs: &Path, partition: &Path) {
    let files: Vec<String> = std::fs::read_dir(partition)
        .expect("the partition's directory")
        .map(|e| e.expect("an entry").path().display().to_string())
        .filter(|name| !name.ends_with("leader-epoch-checkpoint"))
        .collect();
    let index_bytes = |name: &String| std::fs::metadata(name).expect("a file").len();
    let indexes = files.iter().filter(|name| name.ends_with(".index"));
    assert!(indexes.map(index_bytes).sum::<u64>() >= 8 * 5, "an index worth the look");
    for mode in ["--deep-iteration", "--index-sanity-check", "--verify-index-only"] {
        let output = Command::new("java")
            .arg("-cp")
            .arg(libs.join("*"))
            .args(["org.apache.kafka.tools.DumpLogSegments", mode, "--files"])
            .arg(files.join(","))
            .output()
            .expect("java");
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && out.contains("Dumping"), "{mode}: {out}\n{err}");
        // (It remarks on offsets that do not follow one another: in a compacted log they do not.)
        let complaint =
            ["isvalid: false", "mismatch", "Mismatches", "Found timestamp", "not found"]
                .into_iter()
                .find(|bad| out.contains(bad) || err.contains(bad));
        assert_eq!(complaint, None, "{mode}: {out}\n{err}");
    }
}
