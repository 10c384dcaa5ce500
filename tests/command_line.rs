//! `spindle topic|config|cluster|group` as a user runs them, against the built broker: what they print for people and for
//! programs, and how they fail.

mod common;

use std::process::{Command, Output};

struct Cli {
    bootstrap: String,
}

impl Cli {
    fn run(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_spindle"))
            .args(line.split_whitespace())
            .env("SPINDLE_BOOTSTRAP_SERVER", &self.bootstrap)
            .output()
            .expect("spindle runs")
    }

    fn good(&self, line: &str) -> String {
        let out = self.run(line);
        assert!(out.status.success(), "{line}: {out:?}");
        String::from_utf8(out.stdout).expect("text")
    }

    fn json(&self, line: &str) -> serde_json::Value {
        serde_json::from_str(&self.good(&format!("{line} --format json"))).expect("JSON")
    }

    /// Exit code and what it said.
    fn bad(&self, line: &str) -> (Option<i32>, String) {
        let out = self.run(line);
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    }
}

fn cli(broker: &common::Broker) -> Cli {
    Cli { bootstrap: broker.bootstrap() }
}

#[test]
fn topics_from_creation_to_deletion() {
    let broker = common::Broker::own(&[]);
    let cli = cli(&broker);
    let (a, b) = (common::unique("a"), common::unique("b"));
    let made = cli.good(&format!("topic create {a} {b} -p 3 -c retention.ms=1000"));
    assert!(made.contains(&format!("{a}: created")) && made.contains(&format!("{b}: created")));
    let again = cli.good(&format!("topic create --topic {a} --if-not-exists"));
    assert_eq!(again, format!("{a}: exists already\n"));
    let (code, said) = cli.bad(&format!("topic create {a}"));
    assert_eq!(code, Some(1));
    assert!(said.contains("TOPIC_ALREADY_EXISTS"), "{said}");

    cli.good(&format!("topic alter {b} --partitions 5"));
    let topics = cli.json(&format!("topic describe {a} {b}"));
    let count = |i: usize| topics[i]["partitions"].as_array().map(Vec::len);
    assert_eq!((count(0), count(1)), (Some(3), Some(5)));
    assert_eq!(topics[0]["settings"][0]["name"], "retention.ms");
    let text = cli.good(&format!("topic describe {a}"));
    assert!(text.contains("retention.ms=1000") && text.contains("PARTITION  LEADER"), "{text}");
    assert!(cli.good("topic list").contains(&b));

    cli.good(&format!("topic delete {a} {b}"));
    let (code, said) = cli.bad(&format!("topic describe {a}"));
    assert_eq!(code, Some(1));
    assert!(said.contains("UNKNOWN_TOPIC_OR_PARTITION"), "{said}");
    assert_eq!(
        cli.good(&format!("topic delete {a} --if-exists")),
        format!("{a}: does not exist\n")
    );
}

#[test]
fn settings_are_changed_and_shown() {
    let broker = common::Broker::own(&[]);
    let cli = cli(&broker);
    let topic = common::unique("t");
    cli.good(&format!("topic create {topic}"));
    let none = cli.good(&format!("config describe --topic {topic}"));
    assert!(none.contains("all settings have their default"), "{none}");
    let add = "--add-config cleanup.policy=[compact,delete],retention.ms=5000";
    let now = cli.json(&format!("config alter --topic {topic} {add}"));
    let value = |at: usize| (now[at]["name"].clone(), now[at]["value"].clone());
    assert_eq!(value(0), ("cleanup.policy".into(), "compact,delete".into()));
    assert_eq!(value(1), ("retention.ms".into(), "5000".into()));
    let left = cli.json(&format!("config alter --topic {topic} --delete-config cleanup.policy"));
    assert_eq!(left.as_array().map(Vec::len), Some(1));
    let all =
        cli.json(&format!("config describe --entity-type topics --entity-name {topic} --all"));
    assert!(all.as_array().map(Vec::len) > Some(20), "{all}");

    let (code, said) = cli.bad(&format!("config alter --topic {topic} --add-config retention.m=1"));
    assert_eq!(code, Some(1));
    assert!(said.contains("INVALID_CONFIG"), "{said}");
    let (code, said) = cli.bad(&format!("config describe --topic {topic} --broker 0"));
    assert_eq!(code, Some(2));
    assert!(said.contains("exactly one of"), "{said}");
}

#[test]
fn the_cluster_and_how_it_is_not_reached() {
    let broker = common::Broker::own(&[]);
    let cli = cli(&broker);
    let cluster = cli.json("cluster describe");
    assert_eq!(cluster["brokers"].as_array().map(Vec::len), Some(1));
    assert!(cli.good("cluster api-versions").contains("Produce"));
    let dirs = cli.json("cluster log-dirs");
    assert_eq!(dirs.as_array().map(Vec::len), Some(1));

    let nobody = Cli { bootstrap: format!("127.0.0.1:{}", common::free_port()) };
    let (code, said) = nobody.bad("cluster describe");
    assert_eq!(code, Some(1));
    assert!(said.contains("Connection refused"), "{said}");
    let (code, said) = Cli { bootstrap: "here".to_string() }.bad("topic list");
    assert_eq!(code, Some(2));
    assert!(said.contains("HOST:PORT is wanted"), "{said}");
    // The second of a list answers.
    let both = Cli { bootstrap: format!("{},{}", nobody.bootstrap, cli.bootstrap) };
    both.good("topic list");
}

#[test]
fn a_group_from_its_first_member_to_its_end() {
    use rdkafka::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
    use rdkafka::{Offset, TopicPartitionList};
    use std::time::Duration;

    let broker = common::Broker::own(&["group.initial.rebalance.delay.ms=0"]);
    let cli = cli(&broker);
    let (topic, group) = (common::unique("t"), common::unique("g"));
    cli.good(&format!("topic create {topic} -p 2"));
    let (code, said) = cli.bad(&format!("group describe {group}"));
    assert_eq!(code, Some(1));
    assert!(said.contains("GROUP_ID_NOT_FOUND"), "{said}");

    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &cli.bootstrap)
        .set("group.id", &group)
        .set("client.id", "teller")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[&topic]).expect("subscribed");
    common::wait_for("both partitions", Duration::from_secs(60), || {
        let _ = consumer.poll(Duration::from_millis(20));
        (consumer.assignment().expect("an assignment").count() == 2).then_some(())
    });
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topic, 0, Offset::Offset(0)).expect("an offset");
    consumer.commit(&offsets, CommitMode::Sync).expect("committed");

    let listed = cli.json("group list --state Stable");
    assert_eq!(
        (&listed[0]["group"], &listed[0]["state"]),
        (&group.clone().into(), &"Stable".into())
    );
    let described = cli.json(&format!("group describe {group} --interval 0"));
    let lag = described[0]["lag"].as_array().expect("a row a partition");
    assert_eq!(lag.len(), 2);
    assert_eq!((&lag[0]["current_offset"], &lag[0]["lag"]), (&0.into(), &0.into()));
    assert_eq!(lag[1]["current_offset"], serde_json::Value::Null);
    assert_eq!(lag[1]["client_id"], "teller");
    let members = cli.good(&format!("group describe {group} --members"));
    assert!(members.contains(&format!("{topic}(0,1)")), "{members}");
    let reset = format!("group reset-offsets {group} --topic {topic}:0 --to-latest --execute");
    let (code, said) = cli.bad(&reset);
    assert_eq!(code, Some(2));
    assert!(said.contains("stop them first"), "{said}");

    // Leaves the group.
    drop(consumer);
    common::wait_for("an empty group", Duration::from_secs(60), || {
        let state = cli.json(&format!("group describe {group} --state"));
        (state[0]["state"] == "Empty").then_some(())
    });
    assert!(cli.good(&reset).ends_with("moved\n"));
    cli.good(&format!("group delete-offsets {group} --topic {topic}:0"));
    let events = common::wait_for("the group's events", Duration::from_secs(60), || {
        let events = cli.good(&format!("group explain {group}"));
        events.contains("member left").then_some(events)
    });
    assert!(events.contains("rebalance completed") && events.contains("teller"), "{events}");
    assert_eq!(cli.good(&format!("group delete {group}")), format!("{group}: deleted\n"));
    let (code, _) = cli.bad(&format!("group describe {group}"));
    assert_eq!(code, Some(1));
}
