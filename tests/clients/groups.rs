//! Groups through librdkafka: consume in a group, rebalance of two members (eager, cooperative, KIP-848), static
//! members, commits that survive a kill -9, offsets that are committed, read and reset.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::common::{Broker, unique, wait_for};
use crate::session::{self, PATIENCE, Record, block_on, options};

/// Rebalances at once, so that a test does not wait for members that will not come.
const QUICK: &str = "group.initial.rebalance.delay.ms=0";
/// Members of consumer groups are told to come back soon.
const QUICK_848: [&str; 2] =
    ["group.consumer.min.heartbeat.interval.ms=200", "group.consumer.heartbeat.interval.ms=200"];

type Settings<'a> = &'a [(&'a str, &'a str)];

const CLASSIC: Settings<'_> = &[("heartbeat.interval.ms", "200"), ("session.timeout.ms", "6000")];
const COOPERATIVE: Settings<'_> = &[
    ("heartbeat.interval.ms", "200"),
    ("session.timeout.ms", "6000"),
    ("partition.assignment.strategy", "cooperative-sticky"),
];
const KIP_848: Settings<'_> = &[("group.protocol", "consumer")];

fn broker() -> Broker {
    Broker::own(&[QUICK, QUICK_848[0], QUICK_848[1]])
}

fn member(bootstrap: &str, group: &str, topic: &str, settings: Settings<'_>) -> BaseConsumer {
    let mut all = vec![("group.id", group), ("auto.offset.reset", "earliest")];
    all.extend_from_slice(settings);
    let consumer = session::consumer(bootstrap, &all);
    consumer.subscribe(&[topic]).expect("subscribe");
    consumer
}

fn partitions(consumer: &BaseConsumer) -> BTreeSet<i32> {
    let assignment = consumer.assignment().expect("assignment");
    assignment.elements().iter().map(|e| e.partition()).collect()
}

/// Polls once; what came is noted.
fn poll(consumer: &BaseConsumer, got: &mut BTreeMap<(i32, i64), Vec<u8>>) {
    // An error is a broker that is away for a moment, or a coordinator that moves.
    if let Some(Ok(m)) = consumer.poll(Duration::from_millis(20)) {
        got.insert((m.partition(), m.offset()), m.payload().unwrap_or_default().to_vec());
    }
}

fn fill(bootstrap: &str, topic: &str, partitions: i32, each: usize) {
    session::create_topic(bootstrap, topic, partitions, &[]);
    for partition in 0..partitions {
        let records: Vec<Record> =
            (0..each).map(|i| Record::value(format!("{partition}-{i}"))).collect();
        session::produce(bootstrap, &[], topic, partition, &records);
    }
}

fn two_members_share(settings: Settings<'_>) {
    let broker = broker();
    let bootstrap = broker.bootstrap();
    let (topic, group) = (unique("shared"), unique("group"));
    fill(&bootstrap, &topic, 4, 50);
    let mut got = BTreeMap::new();
    let first = member(&bootstrap, &group, &topic, settings);
    wait_for("all records at the first member", PATIENCE, || {
        poll(&first, &mut got);
        (got.len() == 200).then_some(())
    });
    assert_eq!(partitions(&first), BTreeSet::from([0, 1, 2, 3]));

    let second = member(&bootstrap, &group, &topic, settings);
    wait_for("two partitions each", PATIENCE, || {
        poll(&first, &mut got);
        poll(&second, &mut got);
        let (a, b) = (partitions(&first), partitions(&second));
        (a.len() == 2 && b.len() == 2 && a.is_disjoint(&b)).then_some(())
    });
    // The second leaves: the first has everything again.
    second.unsubscribe();
    drop(second);
    wait_for("all partitions back at the first", PATIENCE, || {
        poll(&first, &mut got);
        (partitions(&first).len() == 4).then_some(())
    });
    for ((partition, offset), value) in got {
        assert_eq!(value, format!("{partition}-{offset}").as_bytes());
    }
}

#[test]
fn two_classic_members_share_a_topic() {
    two_members_share(CLASSIC);
}

#[test]
fn two_cooperative_members_share_a_topic() {
    two_members_share(COOPERATIVE);
}

#[test]
fn two_members_of_a_consumer_group_share_a_topic() {
    two_members_share(KIP_848);
}

/// Commits `next` on partition 0, waits for the answer.
fn commit(consumer: &BaseConsumer, topic: &str, next: i64) {
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, 0, Offset::Offset(next)).expect("an offset");
    consumer.commit(&offsets, CommitMode::Sync).expect("commit");
}

fn committed(consumer: &BaseConsumer, topic: &str) -> Offset {
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    wait_for("the committed offset", PATIENCE, || {
        let offsets = consumer.committed_offsets(asked.clone(), Duration::from_secs(10)).ok()?;
        Some(offsets.find_partition(topic, 0)?.offset())
    })
}

fn commits_survive(settings: Settings<'_>) {
    let mut broker = broker();
    let bootstrap = broker.bootstrap();
    let (topic, group) = (unique("committed"), unique("group"));
    fill(&bootstrap, &topic, 1, 100);
    let mut got = BTreeMap::new();
    let consumer = member(&bootstrap, &group, &topic, settings);
    wait_for("the first records", PATIENCE, || {
        poll(&consumer, &mut got);
        (got.len() >= 40).then_some(())
    });
    commit(&consumer, &topic, 40);
    assert_eq!(committed(&consumer, &topic), Offset::Offset(40));
    broker.kill();
    broker.restart();
    // The member goes on where it was, in the same group, and may commit.
    wait_for("all records", PATIENCE, || {
        poll(&consumer, &mut got);
        (got.len() == 100).then_some(())
    });
    wait_for("a commit after the restart", PATIENCE, || {
        poll(&consumer, &mut got);
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&topic, 0, Offset::Offset(60)).expect("an offset");
        consumer.commit(&offsets, CommitMode::Sync).ok()
    });
    consumer.unsubscribe();
    drop(consumer);
    // Another one begins at the commit.
    let next = member(&bootstrap, &group, &topic, settings);
    let mut later = BTreeMap::new();
    wait_for("the rest of the records", PATIENCE, || {
        poll(&next, &mut later);
        (later.len() == 40).then_some(())
    });
    assert_eq!(later.keys().next(), Some(&(0, 60)));
}

#[test]
fn commits_of_a_classic_group_survive_a_kill() {
    commits_survive(CLASSIC);
}

#[test]
fn commits_of_a_consumer_group_survive_a_kill() {
    commits_survive(KIP_848);
}

/// KIP-345: a static member that comes back in time has what it had, and nobody else notices.
#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let broker = broker();
    let bootstrap = broker.bootstrap();
    let (topic, group) = (unique("static"), unique("group"));
    fill(&bootstrap, &topic, 4, 10);
    let with = |instance: &'static str| {
        let settings = [
            ("group.instance.id", instance),
            ("heartbeat.interval.ms", "200"),
            ("session.timeout.ms", "30000"),
        ];
        member(&bootstrap, &group, &topic, &settings)
    };
    let mut got = BTreeMap::new();
    let (one, two) = (with("one"), with("two"));
    wait_for("two partitions each", PATIENCE, || {
        poll(&one, &mut got);
        poll(&two, &mut got);
        (partitions(&one).len() == 2 && partitions(&two).len() == 2).then_some(())
    });
    let (had, others) = (partitions(&two), partitions(&one));
    drop(two);
    let again = with("two");
    wait_for("the static member's partitions", PATIENCE, || {
        poll(&one, &mut got);
        poll(&again, &mut got);
        assert_eq!(partitions(&one), others, "a static member's return moved partitions");
        (partitions(&again) == had).then_some(())
    });
    // A second one with the same name fences the first.
    let thief = with("two");
    let begun = Instant::now();
    let mut fenced = false;
    while !fenced && begun.elapsed() < PATIENCE {
        poll(&thief, &mut got);
        poll(&one, &mut got);
        if let Some(Err(e)) = again.poll(Duration::from_millis(20)) {
            fenced = again.client().fatal_error().is_some() || format!("{e}").contains("fatal");
        }
    }
    assert!(fenced, "the older member with the same group.instance.id was not fenced");
}

#[test]
fn groups_are_listed_described_and_deleted() {
    let broker = broker();
    let bootstrap = broker.bootstrap();
    let (topic, group) = (unique("listed"), unique("group"));
    fill(&bootstrap, &topic, 1, 10);
    let mut got = BTreeMap::new();
    let consumer = member(&bootstrap, &group, &topic, CLASSIC);
    wait_for("all records", PATIENCE, || {
        poll(&consumer, &mut got);
        (got.len() == 10).then_some(())
    });
    commit(&consumer, &topic, 10);
    let list = consumer.fetch_group_list(Some(&group), Duration::from_secs(10)).expect("groups");
    let [found] = list.groups() else { panic!("{} groups", list.groups().len()) };
    assert_eq!(
        (found.name(), found.state(), found.protocol_type()),
        (&*group, "Stable", "consumer")
    );
    let [one] = found.members() else { panic!("{} members", found.members().len()) };
    assert_eq!(one.client_host(), "/127.0.0.1");
    assert!(one.assignment().is_some_and(|a| !a.is_empty()));
    let admin = session::admin(&bootstrap);
    let delete = || block_on(admin.delete_groups(&[&group], &options())).expect("delete");
    assert!(delete()[0].is_err(), "a group with members was deleted");
    consumer.unsubscribe();
    drop(consumer);
    wait_for("the group to be deleted", PATIENCE, || delete()[0].is_ok().then_some(()));
    let other = session::consumer(&bootstrap, &[("group.id", &group)]);
    assert_eq!(committed(&other, &topic), Offset::Invalid);
}

/// What a client can't do: write to the broker's own topic, commit to a topic that is not there.
#[test]
fn what_is_not_allowed_is_refused() {
    let broker = broker();
    let bootstrap = broker.bootstrap();
    let (topic, group) = (unique("refused"), unique("group"));
    fill(&bootstrap, &topic, 1, 1);
    let consumer = session::consumer(&bootstrap, &[("group.id", &group)]);
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topic, 7, Offset::Offset(1)).expect("an offset");
    assert!(consumer.commit(&offsets, CommitMode::Sync).is_err());
    commit(&consumer, &topic, 1);
    assert_eq!(committed(&consumer, &topic), Offset::Offset(1));
    // An administrator may set it back.
    commit(&consumer, &topic, 0);
    assert_eq!(committed(&consumer, &topic), Offset::Offset(0));
    let mut sender = session::Sender::new(&bootstrap, &[("message.timeout.ms", "5000")]);
    sender.send("__consumer_offsets", 0, &Record::value("mine"));
    let delivery = sender.finish().remove(0);
    assert!(delivery.is_err(), "{delivery:?}");
    let metadata = consumer.fetch_metadata(None, Duration::from_secs(10)).expect("metadata");
    let counts: HashMap<&str, usize> =
        metadata.topics().iter().map(|t| (t.name(), t.partitions().len())).collect();
    assert_eq!(counts.get("__consumer_offsets"), Some(&50));
}
