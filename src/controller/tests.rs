//! The controller's rules, on images in memory; and its log, on a real disk.

use std::collections::BTreeMap;

use super::plan::{Context, plan};
use super::records::Record;
use super::*;
use crate::config::BrokerConfig;

fn broker() -> BrokerImage {
    let endpoint = BrokerEndpoint {
        listener: "PLAINTEXT".to_string(),
        host: "localhost".to_string(),
        ports: vec![9092, 9093],
    };
    BrokerImage { broker_id: 0, rack: None, endpoints: vec![endpoint], shard_count: 2 }
}

struct Cluster {
    image: Image,
    config: BrokerConfig,
    ids: u128,
}

impl Cluster {
    fn new(overrides: &[&str]) -> Cluster {
        let overrides: Vec<String> = overrides.iter().map(|o| o.to_string()).collect();
        let mut image = Image::default();
        let (incarnation, epoch) = (TopicId::nil(), 0);
        image.apply(&Record::RegisterBroker { broker: broker(), incarnation, epoch }).unwrap();
        Cluster { image, config: BrokerConfig::load(None, &overrides).unwrap(), ids: 0 }
    }

    fn run(&mut self, command: Command) -> Reply {
        let ids = &mut self.ids;
        let mut new_id = || {
            *ids += 1;
            TopicId::from_u128(*ids)
        };
        let (image, config) = (&self.image, &self.config);
        let mut cx = Context { image, config, broker_id: 0, new_id: &mut new_id };
        let (records, reply) = plan(&mut cx, &command);
        for record in records {
            let record = Record::decode(&record.encode()).unwrap();
            self.image.apply(&record).unwrap();
        }
        reply
    }

    fn create(&mut self, topics: Vec<NewTopic>) -> Vec<Result<CreatedTopic, ControllerError>> {
        match self.run(Command::CreateTopics { topics, validate_only: false }) {
            Reply::CreateTopics(results) => results,
            other => panic!("{other:?}"),
        }
    }

    fn refused(&mut self, topic: NewTopic) -> ControllerError {
        self.create(vec![topic]).remove(0).unwrap_err()
    }

    fn alter(
        &mut self,
        topic: &str,
        changes: &[(&str, AlterOp, &str)],
    ) -> Result<(), ControllerError> {
        let changes = changes
            .iter()
            .map(|(key, op, value)| AlterConfig {
                key: key.to_string(),
                op: *op,
                value: (*op != AlterOp::Delete).then(|| value.to_string()),
            })
            .collect();
        let resources = vec![(ResourceType::Topic, topic.to_string(), changes)];
        match self.run(Command::AlterConfigs { resources, replace: false, validate_only: false }) {
            Reply::AlterConfigs(mut results) => results.remove(0),
            other => panic!("{other:?}"),
        }
    }
}

fn topic(name: &str, partitions: i32, replication_factor: i16) -> NewTopic {
    let (assignments, configs) = (BTreeMap::new(), BTreeMap::new());
    NewTopic { name: name.to_string(), partitions, replication_factor, assignments, configs }
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> NewTopic {
    let assignments = assignments.iter().map(|(p, r)| (*p, r.to_vec())).collect();
    NewTopic { assignments, ..topic(name, -1, -1) }
}

#[test]
fn topics_are_created_with_defaults_and_assignments() {
    let mut c = Cluster::new(&["num.partitions=3"]);
    let created = c.create(vec![topic("a", -1, -1), assigned("b", &[(0, &[0]), (1, &[0])])]);
    let created: Vec<_> = created.into_iter().map(|r| r.unwrap()).collect();
    assert_eq!((created[0].partitions, created[0].replication_factor), (3, 1));
    assert_eq!(created[1].partitions, 2);
    let a = c.image.topic("a").unwrap();
    assert_eq!(c.image.topic_by_id(&a.id).unwrap().name, a.name);
    assert_eq!((a.partitions[2].leader, a.partitions[2].leader_epoch), (0, 0));
    assert_eq!(c.refused(topic("a", 1, 1)), ControllerError::TopicAlreadyExists("a".to_string()));
}

#[test]
fn bad_topics_are_refused_with_the_reason() {
    use ControllerError::*;
    let mut c = Cluster::new(&[]);
    c.create(vec![topic("x.y", 1, 1)]);
    let name = |why: &str| InvalidTopic(format!("Topic name is invalid: {why}"));
    let long = "a".repeat(250);
    let manual = |why: &str| {
        InvalidReplicaAssignment(format!("The manual partition assignment includes {why}"))
    };
    let cases = [
        (topic("", 1, 1), name("the empty string is not allowed")),
        (topic("..", 1, 1), name("'..' is not allowed")),
        (
            topic(&long, 1, 1),
            name(&format!("the length of '{long}' is longer than the max allowed length 249")),
        ),
        (
            topic("a b", 1, 1),
            name(
                "'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
            ),
        ),
        (
            topic("x_y", 1, 1),
            InvalidTopic("Topic 'x_y' collides with existing topic: x.y".to_string()),
        ),
        (
            topic("t", 0, 1),
            InvalidPartitions(
                "Number of partitions was set to an invalid non-positive value.".into(),
            ),
        ),
        (
            topic("t", 10_001, 1),
            InvalidPartitions("Excessively large number of partitions per request.".into()),
        ),
        (
            topic("t", 1, 0),
            InvalidReplicationFactor(
                "Replication factor was set to an invalid non-positive value.".into(),
            ),
        ),
        (
            assigned("t", &[(1, &[0])]),
            InvalidReplicaAssignment(
                "partitions should be a consecutive 0-based integer sequence.".into(),
            ),
        ),
        (assigned("t", &[(0, &[9])]), manual("broker 9, but no such broker is registered.")),
        (assigned("t", &[(0, &[0, 0])]), manual("the broker 0 more than once.")),
        (assigned("t", &[(0, &[])]), manual("an empty replica list.")),
    ];
    for (topic, expected) in cases {
        assert_eq!(c.refused(topic), expected);
    }
    assert!(matches!(c.refused(topic("t", 1, 2)), InvalidReplicationFactor(_)));
    let both = NewTopic { partitions: 1, ..assigned("t", &[(0, &[0])]) };
    assert!(matches!(c.refused(both), InvalidRequest(_)));
    let mut config = topic("t", 1, 1);
    config.configs.insert("segment.bytes".to_string(), Some("5".to_string()));
    assert_eq!(
        c.refused(config),
        InvalidConfig(
            "Invalid value 5 for configuration segment.bytes: Value must be at least 1048576"
                .into()
        )
    );
    let twice = c.create(vec![topic("t", 1, 1), topic("u", 1, 1), topic("t", 1, 1)]);
    assert!(twice[0].is_err() && twice[1].is_ok() && twice[2].is_err());
}

#[test]
fn validate_only_changes_nothing() {
    let mut c = Cluster::new(&[]);
    let topics = vec![topic("a", 1, 1)];
    c.run(Command::CreateTopics { topics, validate_only: true });
    assert!(c.image.topics.is_empty());
}

#[test]
fn topics_are_deleted_with_their_configs() {
    let mut c = Cluster::new(&[]);
    c.create(vec![topic("a", 2, 1), topic("b", 1, 1)]);
    c.alter("a", &[("retention.ms", AlterOp::Set, "5")]).unwrap();
    let id = c.image.topic("b").unwrap().id;
    let topics = vec![
        TopicRef::Name("a".to_string()),
        TopicRef::Id(id),
        TopicRef::Name("a".to_string()),
        TopicRef::Id(TopicId::from_u128(77)),
    ];
    let Reply::DeleteTopics(results) = c.run(Command::DeleteTopics { topics }) else { panic!() };
    assert_eq!(results[1], Ok(("b".to_string(), id)));
    assert_eq!(results[2], Err(ControllerError::UnknownTopicOrPartition));
    assert_eq!(results[3], Err(ControllerError::UnknownTopicId));
    assert!(c.image.topics.is_empty() && c.image.topic_names.is_empty());
    assert!(c.image.configs.is_empty());
}

#[test]
fn partitions_only_grow() {
    let mut c = Cluster::new(&[]);
    c.create(vec![topic("a", 2, 1)]);
    let mut grow = |count, assignments| {
        let topics = vec![("a".to_string(), count, assignments)];
        match c.run(Command::CreatePartitions { topics, validate_only: false }) {
            Reply::CreatePartitions(mut results) => results.remove(0),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        grow(2, None),
        Err(ControllerError::InvalidPartitions("Topic already has 2 partition(s).".into()))
    );
    grow(1, None).unwrap_err();
    grow(4, Some(vec![vec![0]])).unwrap_err();
    grow(4, Some(vec![vec![0], vec![0]])).unwrap();
    grow(5, None).unwrap();
    assert_eq!(c.image.topic("a").unwrap().partitions.len(), 5);
}

#[test]
fn configs_change_by_key_and_by_item() {
    use AlterOp::*;
    let mut c = Cluster::new(&[]);
    c.create(vec![topic("a", 1, 1)]);
    let value =
        |c: &Cluster, key: &str| c.image.config_map(ResourceType::Topic, "a").get(key).cloned();
    c.alter("a", &[("cleanup.policy", Append, "compact")]).unwrap();
    assert_eq!(value(&c, "cleanup.policy").as_deref(), Some("delete,compact"));
    c.alter("a", &[("cleanup.policy", Subtract, "delete"), ("retention.ms", Set, "5")]).unwrap();
    assert_eq!(value(&c, "cleanup.policy").as_deref(), Some("compact"));
    c.alter("a", &[("retention.ms", Delete, "")]).unwrap();
    assert_eq!(value(&c, "retention.ms"), None);
    assert_eq!(
        c.alter("a", &[("retention.ms", Append, "5")]),
        Err(ControllerError::InvalidConfig(
            "Can't APPEND to key retention.ms because its type is not LIST.".into()
        ))
    );
    // All of a resource's changes, or none.
    c.alter("a", &[("retention.ms", Set, "7"), ("nope", Set, "1")]).unwrap_err();
    assert_eq!(value(&c, "retention.ms"), None);
    assert_eq!(
        c.alter("b", &[("retention.ms", Set, "7")]),
        Err(ControllerError::UnknownTopicOrPartition)
    );
    let change = AlterConfig { key: "segment.ms".into(), op: Set, value: Some("9".into()) };
    let resources = vec![(ResourceType::Topic, "a".to_string(), vec![change])];
    c.run(Command::AlterConfigs { resources, replace: true, validate_only: false });
    let all = c.image.config_map(ResourceType::Topic, "a");
    assert_eq!(all.into_iter().collect::<Vec<_>>(), [("segment.ms".to_string(), "9".to_string())]);
}

#[test]
fn producer_ids_never_repeat() {
    let mut c = Cluster::new(&[]);
    for expected in [0, 1000, 2000] {
        match c.run(Command::AllocateProducerIds { count: 1000 }) {
            Reply::ProducerIds(Ok(first)) => assert_eq!(first, expected),
            other => panic!("{other:?}"),
        }
    }
    let back = Record::ProducerIds { broker_id: 0, broker_epoch: -1, next: 1 };
    c.image.apply(&back).unwrap_err();
}
