//! Kill -9 while clients write: after a restart on the same directory and port all that was
//! acknowledged is there, once, in order, and the same producers carry on.

use std::time::Duration;

use rdkafka::Offset;

use crate::common::{Broker, Host, external, unique, wait_for};
use crate::session::{self, PATIENCE, Record, Sender};

const PARTITIONS: i32 = 4;

/// Feeds a producer until `more` further messages were acknowledged.
fn send_until_acked(sender: &mut Sender, topic: &str, next: &mut usize, more: usize) {
    let target = sender.delivered() + more;
    wait_for("acknowledgements", PATIENCE, || {
        for _ in 0..100 {
            let value = format!("{next} {}", "payload ".repeat(*next % 50));
            sender.send(topic, *next as i32 % PARTITIONS, &Record::value(value));
            *next += 1;
        }
        sender.poll(Duration::from_millis(5));
        (sender.delivered() >= target).then_some(())
    });
}

fn number_of(value: &Option<Vec<u8>>) -> usize {
    let text = std::str::from_utf8(value.as_deref().expect("a value")).expect("text");
    text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number first")
}

#[test]
fn idempotent_producer_carries_on_after_kill() {
    carries_on_after_kill(Host::default());
}

#[test]
fn idempotent_producer_carries_on_after_kill_on_an_older_kernels_ring() {
    carries_on_after_kill(Host { plain_ring: true, ..Host::default() });
}

fn carries_on_after_kill(host: Host) {
    if external().is_some() {
        return eprintln!("needs a broker that it may kill: not run");
    }
    let mut broker = Broker::own_on(&[], host);
    let bootstrap = broker.bootstrap();
    let topic = unique("killed");
    session::create_topic(&bootstrap, &topic, PARTITIONS, &[]);
    let settings = [
        ("enable.idempotence", "true"),
        ("compression.codec", "lz4"),
        ("linger.ms", "1"),
        ("message.timeout.ms", "120000"),
        ("socket.timeout.ms", "5000"),
        ("retry.backoff.ms", "50"),
    ];
    let mut sender = Sender::new(&bootstrap, &settings);
    let mut next = 0;
    for _ in 0..3 {
        send_until_acked(&mut sender, &topic, &mut next, 3_000);
        broker.kill();
        broker.restart();
    }
    send_until_acked(&mut sender, &topic, &mut next, 1_000);
    let deliveries = sender.finish();
    let per_partition = |p: i32| (p as usize..next).step_by(PARTITIONS as usize);
    let wanted: Vec<_> =
        (0..PARTITIONS).map(|p| (p, Offset::Beginning, per_partition(p).count())).collect();
    let got = session::read(&bootstrap, &[], &topic, &wanted);
    for partition in 0..PARTITIONS {
        let numbers: Vec<usize> = got[&partition].iter().map(|g| number_of(&g.value)).collect();
        let expected: Vec<usize> = per_partition(partition).collect();
        let first_wrong = numbers.iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!(first_wrong, None, "lost, doubled or reordered in partition {partition}");
        let end = (0, expected.len() as i64);
        assert_eq!(session::watermarks(&bootstrap, &topic, partition), end, "doubled at the end");
        for (offset, number) in expected.iter().enumerate() {
            // -1: the broker knew the batch as a duplicate but not its offset any more.
            let (at, acked) = deliveries[*number].expect("acknowledged");
            assert!(at == partition && (acked == offset as i64 || acked == -1));
        }
    }
}

#[test]
fn more_partitions_than_files_that_may_be_open() {
    if external().is_some() {
        return eprintln!("needs a broker that it may kill: not run");
    }
    const MANY: i32 = 600;
    let mut broker = Broker::own_on(&[], Host { open_files_max: Some(400), ..Host::default() });
    let bootstrap = broker.bootstrap();
    let topic = unique("many");
    session::create_topic(&bootstrap, &topic, MANY, &[]);
    let mut sender = Sender::new(&bootstrap, &[("message.timeout.ms", "120000")]);
    for round in 0..3 {
        for partition in 0..MANY {
            sender.send(&topic, partition, &Record::value(format!("{round} {partition}")));
        }
        wait_for("acknowledgements", PATIENCE, || {
            sender.poll(Duration::from_millis(5));
            (sender.delivered() >= (round + 1) * MANY as usize).then_some(())
        });
        match round {
            0 => broker.kill(),
            1 => assert!(broker.terminate().0.success()),
            _ => continue,
        }
        broker.restart();
    }
    let deliveries = sender.finish();
    assert!(deliveries.iter().all(|d| d.is_ok()), "every record is acknowledged");
    let told = broker.log_text();
    assert!(!told.contains("open files") && !told.contains("a write failed"), "{told}");
    let wanted: Vec<_> = (0..MANY).map(|p| (p, Offset::Beginning, 3)).collect();
    let got = session::read(&bootstrap, &[], &topic, &wanted);
    for partition in 0..MANY {
        let values: Vec<_> = got[&partition].iter().map(|g| g.value.clone().unwrap()).collect();
        let expected: Vec<_> = (0..3).map(|r| format!("{r} {partition}").into_bytes()).collect();
        assert_eq!(values, expected);
    }
}

#[test]
fn what_was_acknowledged_survives_kill() {
    if external().is_some() {
        return eprintln!("needs a broker that it may kill: not run");
    }
    let mut broker = Broker::own(&[]);
    let bootstrap = broker.bootstrap();
    let topic = unique("survives");
    session::create_topic(&bootstrap, &topic, PARTITIONS, &[]);
    let settings = [("acks", "1"), ("linger.ms", "1"), ("message.timeout.ms", "120000")];
    let mut sender = Sender::new(&bootstrap, &settings);
    let mut next = 0;
    send_until_acked(&mut sender, &topic, &mut next, 3_000);
    broker.kill();
    broker.restart();
    send_until_acked(&mut sender, &topic, &mut next, 1_000);
    broker.kill();
    broker.restart();
    let deliveries = sender.finish();
    for partition in 0..PARTITIONS {
        let (low, high) = session::watermarks(&bootstrap, &topic, partition);
        assert_eq!(low, 0);
        let wanted = [(partition, Offset::Beginning, high as usize)];
        let got = session::read(&bootstrap, &[], &topic, &wanted);
        let numbers: Vec<usize> = got[&partition].iter().map(|g| number_of(&g.value)).collect();
        assert!(got[&partition].iter().enumerate().all(|(i, g)| g.offset == i as i64));
        for (number, delivery) in deliveries.iter().enumerate() {
            let (at, offset) = delivery.expect("acknowledged");
            if at == partition && offset >= 0 {
                assert_eq!(numbers[offset as usize], number, "an acknowledged record changed");
            }
        }
    }
}

#[test]
fn topics_and_configuration_survive_kill_and_a_clean_stop() {
    if external().is_some() {
        return eprintln!("needs a broker that it may kill: not run");
    }
    let mut broker = Broker::own(&[]);
    let bootstrap = broker.bootstrap();
    let (kept, deleted) = (unique("kept"), unique("deleted"));
    session::create_topic(&bootstrap, &kept, 7, &[("retention.ms", "87654321")]);
    session::create_topic(&bootstrap, &deleted, 2, &[]);
    session::produce(&bootstrap, &[], &kept, 6, &session::varied_records(50, 3, 1));
    let admin = session::admin(&bootstrap);
    let gone = session::block_on(admin.delete_topics(&[&deleted], &session::options()));
    assert_eq!(gone.expect("delete"), [Ok(deleted.clone())]);
    for clean in [false, true, false] {
        if clean {
            let (status, took) = broker.terminate();
            // Apache Kafka's JVM ends with 143 here.
            assert!(status.success() || status.code() == Some(143), "{status} after {took:?}");
        } else {
            broker.kill();
        }
        broker.restart();
        session::wait_partitions(&bootstrap, &kept, 7);
        assert_eq!(session::watermarks(&bootstrap, &kept, 6), (0, 50));
        let got = session::read(&bootstrap, &[], &kept, &[(6, Offset::Beginning, 50)]);
        let sent = session::varied_records(50, 3, 1);
        assert!(got[&6].iter().zip(&sent).all(|(got, sent)| got.same_content(sent)));
        let resource = rdkafka::admin::ResourceSpecifier::Topic(&kept);
        let admin = session::admin(&bootstrap);
        let described = admin.describe_configs([&resource], &session::options());
        let mut described = session::block_on(described).expect("describe");
        let config = described.remove(0).expect("the topic's configuration");
        let value = config.get("retention.ms").and_then(|e| e.value.clone());
        assert_eq!(value.as_deref(), Some("87654321"));
        let consumer = session::consumer(&bootstrap, &[]);
        use rdkafka::consumer::Consumer;
        let all = consumer.fetch_metadata(None, Duration::from_secs(30)).expect("all topics");
        assert!(all.topics().iter().all(|t| t.name() != deleted), "a deleted topic is back");
    }
}
