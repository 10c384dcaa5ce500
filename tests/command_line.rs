//! `spindle topic|config|cluster` as a user runs them, against the built broker: what they print for people and for
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
