//! Topics through librdkafka's admin client: create, describe, alter, grow, delete, and the errors.

use std::time::Duration;

use rdkafka::admin::{
    AlterConfig, ConfigResource, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;

use crate::common::{Broker, unique, wait_for};
use crate::session::{self, PATIENCE, Record, block_on, options};

fn describe(bootstrap: &str, topic: &str) -> ConfigResource {
    let admin = session::admin(bootstrap);
    let resource = ResourceSpecifier::Topic(topic);
    let mut results = block_on(admin.describe_configs([&resource], &options())).expect("describe");
    results.remove(0).expect("the topic's configuration")
}

fn setting(resource: &ConfigResource, name: &str) -> (String, bool) {
    let entry = resource.get(name).unwrap_or_else(|| panic!("no {name} in DescribeConfigs"));
    (entry.value.clone().unwrap_or_default(), entry.source == ConfigSource::DynamicTopic)
}

#[test]
fn a_topic_lives_and_dies() {
    let broker = Broker::any();
    let bootstrap = broker.bootstrap();
    let topic = unique("life");
    session::create_topic(
        &bootstrap,
        &topic,
        3,
        &[("retention.ms", "123456789"), ("cleanup.policy", "delete")],
    );
    let before = describe(&bootstrap, &topic);
    assert_eq!(setting(&before, "retention.ms"), ("123456789".to_owned(), true));
    assert_eq!(setting(&before, "segment.bytes"), ("1073741824".to_owned(), false));
    assert_eq!(setting(&before, "compression.type"), ("producer".to_owned(), false));

    let admin = session::admin(&bootstrap);
    let alter = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("segment.bytes", "2097152");
    let results = block_on(admin.alter_configs([&alter], &options())).expect("alter");
    assert!(results[0].is_ok(), "{:?}", results[0]);
    // AlterConfigs replaces the whole set: what is not named goes back to its default.
    wait_for("the altered configuration", PATIENCE, || {
        let now = describe(&bootstrap, &topic);
        (setting(&now, "segment.bytes") == ("2097152".to_owned(), true)
            && setting(&now, "retention.ms") == ("604800000".to_owned(), false))
            .then_some(())
    });

    let grow = NewPartitions::new(&topic, 5);
    let results = block_on(admin.create_partitions([&grow], &options())).expect("grow");
    assert_eq!(results, [Ok(topic.clone())]);
    session::wait_partitions(&bootstrap, &topic, 5);
    session::produce(&bootstrap, &[], &topic, 4, &[Record::value("in a new partition")]);

    let results = block_on(admin.delete_topics(&[&topic], &options())).expect("delete");
    assert_eq!(results, [Ok(topic.clone())]);
    let consumer = session::consumer(&bootstrap, &[]);
    wait_for("the topic to be gone", PATIENCE, || {
        let all = consumer.fetch_metadata(None, Duration::from_secs(10)).ok()?;
        all.topics().iter().all(|t| t.name() != topic).then_some(())
    });

    // A topic of the same name starts empty: nothing of the old one comes back.
    session::create_topic(&bootstrap, &topic, 5, &[]);
    assert_eq!(session::watermarks(&bootstrap, &topic, 4), (0, 0));
    assert!(!setting(&describe(&bootstrap, &topic), "segment.bytes").1);
}

#[test]
fn creation_errors_have_kafkas_codes() {
    let broker = Broker::any();
    let bootstrap = broker.bootstrap();
    let admin = session::admin(&bootstrap);
    let existing = unique("existing");
    session::create_topic(&bootstrap, &existing, 1, &[]);
    let fresh = unique("fresh");
    let attempt = |topic: NewTopic<'_>| {
        let results = block_on(admin.create_topics([&topic], &options())).expect("create");
        results.into_iter().next().expect("one result").map_err(|(_, code)| code)
    };
    let fixed = TopicReplication::Fixed;
    assert_eq!(
        attempt(NewTopic::new(&existing, 1, fixed(1))),
        Err(RDKafkaErrorCode::TopicAlreadyExists)
    );
    assert_eq!(
        attempt(NewTopic::new("no/slash", 1, fixed(1))),
        Err(RDKafkaErrorCode::InvalidTopic)
    );
    assert_eq!(
        attempt(NewTopic::new(&fresh, 0, fixed(1))),
        Err(RDKafkaErrorCode::InvalidPartitions)
    );
    assert_eq!(
        attempt(NewTopic::new(&fresh, 1, fixed(3))),
        Err(RDKafkaErrorCode::InvalidReplicationFactor)
    );
    assert_eq!(
        attempt(NewTopic::new(&fresh, 1, fixed(1)).set("no.such.key", "1")),
        Err(RDKafkaErrorCode::InvalidConfig)
    );
    assert_eq!(
        attempt(NewTopic::new(&fresh, 1, fixed(1)).set("retention.ms", "soon")),
        Err(RDKafkaErrorCode::InvalidConfig)
    );
    let consumer = session::consumer(&bootstrap, &[]);
    let all = consumer.fetch_metadata(None, Duration::from_secs(30)).expect("all topics");
    assert!(all.topics().iter().all(|t| t.name() != fresh), "a refused topic exists");
}

#[test]
fn validate_only_creates_nothing() {
    let broker = Broker::any();
    let bootstrap = broker.bootstrap();
    let admin = session::admin(&bootstrap);
    let name = unique("dry");
    let topic = NewTopic::new(&name, 2, TopicReplication::Fixed(1));
    let dry = options().validate_only(true);
    let results = block_on(admin.create_topics([&topic], &dry)).expect("create");
    assert_eq!(results, [Ok(name.clone())]);
    session::create_topic(&bootstrap, &name, 2, &[]);
}

#[test]
fn other_errors_have_kafkas_codes() {
    let broker = Broker::any();
    let bootstrap = broker.bootstrap();
    let admin = session::admin(&bootstrap);
    let missing = unique("missing");
    let results = block_on(admin.delete_topics(&[&missing], &options())).expect("delete");
    let unknown = RDKafkaErrorCode::UnknownTopicOrPartition;
    assert_eq!(results, [Err((missing.clone(), unknown))]);
    let grow = NewPartitions::new(&missing, 5);
    let results = block_on(admin.create_partitions([&grow], &options())).expect("grow");
    assert_eq!(results, [Err((missing.clone(), unknown))]);
    let topic = unique("shrinking");
    session::create_topic(&bootstrap, &topic, 4, &[]);
    let shrink = NewPartitions::new(&topic, 2);
    let results = block_on(admin.create_partitions([&shrink], &options())).expect("shrink");
    assert_eq!(results, [Err((topic.clone(), RDKafkaErrorCode::InvalidPartitions))]);
    // The crate does not pass on a resource's own error: what counts is that nothing changed.
    let alter = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("segment.bytes", "-7");
    block_on(admin.alter_configs([&alter], &options())).expect("alter");
    let value = setting(&describe(&bootstrap, &topic), "segment.bytes");
    assert_eq!(value, ("1073741824".to_owned(), false));
}

#[test]
fn the_broker_describes_itself() {
    let broker = Broker::any();
    let bootstrap = broker.bootstrap();
    let consumer = session::consumer(&bootstrap, &[]);
    let metadata = consumer.fetch_metadata(None, Duration::from_secs(30)).expect("metadata");
    let id = metadata.brokers().first().expect("a broker").id();
    let admin = session::admin(&bootstrap);
    let resource = ResourceSpecifier::Broker(id);
    let mut results = block_on(admin.describe_configs([&resource], &options())).expect("describe");
    let config = results.remove(0).expect("the broker's configuration");
    for name in ["log.dirs", "listeners", "num.partitions", "log.segment.bytes"] {
        assert!(config.get(name).is_some(), "no {name} in DescribeConfigs");
    }
    let cluster = admin.inner().fetch_cluster_id(Duration::from_secs(30));
    assert!(cluster.is_some_and(|id| !id.is_empty()));
}
