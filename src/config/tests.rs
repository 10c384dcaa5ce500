//! Unit tests of the configuration: exact wording of what goes wrong, stock files, ranges.

use std::collections::BTreeMap;

use super::definitions::*;
use super::*;
use crate::types::{Compression, TimestampType};

fn load(text: &str) -> Result<BrokerConfig, String> {
    BrokerConfig::load(Some(("s.properties", text)), &[]).map_err(|e| e.message)
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

/// The settings of the file that Kafka 4 ships as config/server.properties.
const STOCK: &str = "
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";

#[test]
fn tables_are_sorted_and_their_defaults_are_valid() {
    for table in [TOPIC_KEYS, BROKER_KEYS, ABSENT_KEYS, OWN_KEYS] {
        assert!(table.windows(2).all(|w| w[0].name < w[1].name));
        for def in table {
            // Empty stands for "not set" where a key must not be set to nothing.
            if let Some(default) = def.default.filter(|d| !d.is_empty()) {
                value::check(def, def.name, default).unwrap();
            }
            for key in def.broker_synonyms {
                assert!(broker_key(key).is_some(), "{key}");
            }
        }
    }
}

#[test]
fn nothing_configured_listens_on_9092() {
    let config = BrokerConfig::load(None, &[]).unwrap();
    assert_eq!(config.broker_id, 0);
    assert_eq!(config.log_dir.to_str(), Some("spindle-data"));
    assert_eq!(config.listeners.len(), 1);
    assert_eq!((config.listeners[0].port, config.listeners[0].last_port), (9092, None));
    assert!(config.listeners[0].host.is_unspecified());
    assert_ne!(config.listeners[0].advertised_host, "0.0.0.0");
    let t = &config.topic_defaults;
    assert_eq!(t, &TopicConfig::default());
    assert_eq!((t.retention_ms, t.retention_bytes), (604_800_000, -1));
    assert_eq!((t.segment_bytes, t.segment_ms), (1 << 30, 604_800_000));
    assert_eq!((t.flush_messages, t.flush_ms), (i64::MAX, i64::MAX));
    assert_eq!((t.max_message_bytes, t.index_interval_bytes), (1_048_588, 4096));
    assert!(t.cleanup_delete && !t.cleanup_compact && t.compression.is_none());
    assert!(config.warnings.is_empty());
}

#[test]
fn stock_kafka_file_starts() {
    let config = load(STOCK).unwrap();
    assert_eq!(config.broker_id, 1);
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].advertised_host, "localhost");
    assert_eq!(config.listeners[0].advertised_port, Some(9092));
    assert!(config.warnings.iter().any(|w| w.contains("CONTROLLER://:9093 is not opened")));
    assert!(!config.warnings.iter().any(|w| w.contains("num.io.threads")), "at its default");
    let key = "transaction.state.log.replication.factor";
    let warning = format!("s.properties:21: {key} has no effect in Spindle yet");
    assert!(config.warnings.contains(&warning), "{:?}", config.warnings);
    // Groups are there: what configures them has an effect.
    assert!(!config.warnings.iter().any(|w| w.contains("offsets.topic")), "{:?}", config.warnings);
    assert_eq!(config.groups.offsets.topic_replication_factor, 1);
}

#[test]
fn errors_say_what_where_and_what_is_allowed() {
    let cases = [
        (
            "\nnum.partitons=3\n",
            "s.properties:2: unknown key num.partitons; the nearest known one is num.partitions",
        ),
        ("qwertyuiop=3\n", "s.properties:1: unknown key qwertyuiop"),
        (
            "# a comment\nnum.partitions=0\n",
            "s.properties:2: num.partitions=0: Value must be at least 1 (allowed: 1 to 2147483647)",
        ),
        (
            "log.segment.bytes=1000\n",
            "s.properties:1: log.segment.bytes=1000: Value must be at least 1048576 (allowed: 1048576 to 2147483647)",
        ),
        (
            "num.partitions=many\n",
            "s.properties:1: num.partitions=many: Not a number of type INT (allowed: 1 to 2147483647)",
        ),
        (
            "retention.ms=5\n",
            "s.properties:1: retention.ms is a topic's key; for the broker's default set log.retention.ms",
        ),
        (
            "zookeeper.connect=localhost:2181\n",
            "s.properties:1: zookeeper.connect: Kafka 4 has no ZooKeeper any more, nor has Spindle; remove the line",
        ),
        (
            "ssl.keystore.location=/x\n",
            "s.properties:1: ssl.keystore.location can't be set: Spindle does not have what it configures yet",
        ),
        (
            "listeners=SSL://:9093\n",
            "s.properties:1: listeners=SSL://:9093: SSL://:9093 speaks SSL, which Spindle can't yet: use PLAINTEXT",
        ),
        (
            "listeners=PLAINTEXT://0.0.0.0:9092-9093\nshard.count=4\n",
            "s.properties:1: listeners=PLAINTEXT://0.0.0.0:9092-9093: PLAINTEXT needs one port a shard, 4 in all",
        ),
        (
            "log.dirs=/a,/b\n",
            "s.properties:1: log.dirs=/a,/b: more than one data directory is not there yet: name one",
        ),
        (
            "shard.memory.bytes=1\n",
            "s.properties:1: shard.memory.bytes=1: Value must be at least 16777216 (allowed: 16777216 to 1099511627776)",
        ),
        ("node.id=9000000\n", "s.properties:1: node.id=9000000: must be from 0 to 8388607"),
        (
            "shard.count=2\nshard.2.cpu=0\n",
            "s.properties:2: shard.2.cpu=0: shard.count is 2, so shards go from 0 to 1",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(load(text).unwrap_err(), expected);
    }
    let error = BrokerConfig::load(None, &["num.partitions=x".to_string()]).unwrap_err();
    assert!(error.message.starts_with("--override: num.partitions=x: "), "{error}");
    assert_eq!(error.exit_code, 2);
}

#[test]
fn later_wins_and_units_convert() {
    let text = "num.partitions=2\nnum.partitions=3\nlog.retention.hours=5\nlog.roll.hours=2\n";
    let overrides = ["num.partitions=4".to_string(), "log.retention.minutes=-1".to_string()];
    let config = BrokerConfig::load(Some(("f", text)), &overrides).unwrap();
    assert_eq!(config.num_partitions, 4);
    assert_eq!(config.topic_defaults.retention_ms, -1);
    assert_eq!(config.topic_defaults.segment_ms, 7_200_000);
}

#[test]
fn listeners_parse() {
    let config = load(
        "listeners=PLAINTEXT://127.0.0.1:9092-9095,INNER://[::1]:7000\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INNER:PLAINTEXT\n\
         advertised.listeners=PLAINTEXT://broker.example:19092,INNER://[fe80::1]:7001\n\
         shard.count=4\nshard.cpus=0,2-4\nshard.1.cpu=9\n",
    )
    .unwrap();
    let [a, b] = &config.listeners[..] else { panic!() };
    assert_eq!((a.port, a.last_port, a.advertised_port), (9092, Some(9095), Some(19092)));
    assert_eq!(
        (a.advertised_host.as_str(), b.advertised_host.as_str()),
        ("broker.example", "fe80::1")
    );
    assert_eq!(b.host, "::1".parse::<std::net::IpAddr>().unwrap());
    assert_eq!(config.shard_cpus, [0, 9, 3, 4]);
    assert_eq!(load("listeners=PLAINTEXT://127.0.0.1:0\n").unwrap().listeners[0].port, 0);
    for bad in
        ["9092", "PLAINTEXT://x", "PLAINTEXT://::1:9092", "PLAINTEXT://:70000", "PLAINTEXT://:9-8"]
    {
        load(&format!("listeners={bad}\n")).unwrap_err();
    }
    let wild = load("advertised.listeners=PLAINTEXT://0.0.0.0:9092\n").unwrap_err();
    assert!(wild.contains("clients can't connect to 0.0.0.0"), "{wild}");
}

#[test]
fn topic_keys_are_checked_as_kafka_checks_them() {
    let cases = [
        ("nope", "1", "Unknown topic config name: nope"),
        (
            "segment.bytes",
            "5",
            "Invalid value 5 for configuration segment.bytes: Value must be at least 1048576",
        ),
        (
            "segment.bytes",
            "99999999999",
            "Invalid value 99999999999 for configuration segment.bytes: Not a number of type INT",
        ),
        (
            "cleanup.policy",
            "foo",
            "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        (
            "preallocate",
            "x",
            "Invalid value x for configuration preallocate: Expected value to be either true or false",
        ),
        (
            "remote.storage.enable",
            "true",
            "remote.storage.enable can't be true: Spindle does not have what it configures yet and takes only the default, false",
        ),
    ];
    for (key, value, expected) in cases {
        assert_eq!(validate_topic_config(key, value).unwrap_err(), expected);
    }
    let config = TopicConfig::default()
        .with(&map(&[
            ("cleanup.policy", "compact, delete"),
            ("compression.type", "zstd"),
            ("message.timestamp.type", "LogAppendTime"),
            ("segment.bytes", " 2097152 "),
            ("retention.ms", "-1"),
        ]))
        .unwrap();
    assert!(config.cleanup_compact && config.cleanup_delete);
    assert_eq!(config.compression, Some(Compression::Zstd));
    assert_eq!(config.timestamp_type, TimestampType::LogAppendTime);
    assert_eq!((config.segment_bytes, config.retention_ms), (2_097_152, -1));
    let lag = map(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]);
    assert!(TopicConfig::default().with(&lag).unwrap_err().starts_with("conflict topic config"));
}

#[test]
fn describe_shows_value_source_and_synonyms() {
    let broker = load("log.segment.bytes=2097152\nlog.retention.hours=1\nnode.id=3\n").unwrap();
    let none = BTreeMap::new();
    let topic = map(&[("segment.bytes", "4194304")]);
    let default = map(&[("log.segment.bytes", "3145728"), ("message.max.bytes", "5000")]);
    let rows = describe_topic(&broker, &topic, &none, &default);
    assert_eq!(rows.len(), TOPIC_KEYS.len());
    let row =
        |rows: &[ConfigValue], name: &str| rows.iter().find(|r| r.name == name).unwrap().clone();
    let segment = row(&rows, "segment.bytes");
    assert_eq!(segment.value.as_deref(), Some("4194304"));
    assert_eq!(segment.source, ConfigSource::DynamicTopic);
    let sources: Vec<_> = segment.synonyms.iter().map(|s| (s.0.as_str(), s.2)).collect();
    assert_eq!(
        sources,
        [
            ("segment.bytes", ConfigSource::DynamicTopic),
            ("log.segment.bytes", ConfigSource::DynamicDefaultBroker),
            ("log.segment.bytes", ConfigSource::StaticBroker),
            ("log.segment.bytes", ConfigSource::Default),
        ]
    );
    let size = row(&rows, "max.message.bytes");
    assert_eq!(
        (size.value.as_deref(), size.source),
        (Some("5000"), ConfigSource::DynamicDefaultBroker)
    );
    assert_eq!(row(&rows, "retention.ms").value.as_deref(), Some("3600000"));
    assert_eq!(row(&rows, "retention.ms").source, ConfigSource::StaticBroker);
    assert_eq!(broker.topic_defaults_with(&default).max_message_bytes, 5000);

    let rows = describe_broker(&broker, &none, &default);
    assert_eq!(row(&rows, "node.id").value.as_deref(), Some("3"));
    assert!(row(&rows, "node.id").read_only && !row(&rows, "log.segment.bytes").read_only);
    assert_eq!(row(&rows, "log.retention.ms").value, None);
    assert_eq!(row(&rows, "log.retention.hours").value.as_deref(), Some("1"));
    assert!(row(&rows, "ssl.key.password").sensitive);
    assert_eq!(row(&rows, "num.io.threads").source, ConfigSource::Default);
    assert!(!rows.iter().any(|r| r.name.starts_with("unstable.api")));
}

#[test]
fn only_some_broker_keys_change_while_running() {
    validate_dynamic_broker_config("log.retention.ms", "5").unwrap();
    validate_dynamic_broker_config("message.max.bytes", "5").unwrap();
    assert_eq!(
        validate_dynamic_broker_config("node.id", "5").unwrap_err(),
        "Cannot update these configs dynamically: [node.id]"
    );
    validate_dynamic_broker_config("log.retention.ms", "x").unwrap_err();
    validate_dynamic_broker_config("no.such", "x").unwrap_err();
}
