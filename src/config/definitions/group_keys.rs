//! The keys of a group (ConfigResource GROUP, KIP-848) and of client metrics subscriptions (KIP-714), as Kafka 4.3.1 has
//! them. Keys of share and streams groups are taken and do nothing: those groups are not there.
//! Data only; sorted by name.

use super::ConfigType::{Boolean, Int as IntType, List, String as Text};
use super::Effect::{Accepted, Used};
use super::Range::{Any, Int, Min, OneOf};
use super::{ConfigDef, ConfigType, Effect, Range};

const fn group(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    range: Range,
    effect: Effect,
    broker_synonyms: &'static [&'static str],
    doc: &'static str,
) -> ConfigDef {
    let default = Some(default);
    ConfigDef { name, kind, default, range, doc, broker_synonyms, read_only: false, effect }
}

#[rustfmt::skip]
pub const GROUP_KEYS: &[ConfigDef] = &[
    group("consumer.assignment.interval.ms", IntType, "1000", Min(0), Used, &["group.consumer.assignment.interval.ms"],
        "The interval between assignment updates for a consumer group."),
    group("consumer.heartbeat.interval.ms", IntType, "5000", Min(1), Used, &["group.consumer.heartbeat.interval.ms"],
        "The heartbeat interval given to the members of a consumer group."),
    group("consumer.session.timeout.ms", IntType, "45000", Min(1), Used, &["group.consumer.session.timeout.ms"],
        "The timeout to detect client failures when using the consumer group protocol."),
    group("share.assignment.interval.ms", IntType, "1000", Min(0), Accepted, &["group.share.assignment.interval.ms"], ""),
    group("share.auto.offset.reset", Text, "latest", Any, Accepted, &[], ""),
    group("share.delivery.count.limit", IntType, "5", Min(2), Accepted, &["group.share.delivery.count.limit"], ""),
    group("share.heartbeat.interval.ms", IntType, "5000", Min(1), Accepted, &["group.share.heartbeat.interval.ms"], ""),
    group("share.isolation.level", Text, "read_uncommitted", OneOf(&["read_committed", "read_uncommitted"]), Accepted, &[], ""),
    group("share.partition.max.record.locks", IntType, "2000", Min(100), Accepted, &["group.share.partition.max.record.locks"], ""),
    group("share.record.lock.duration.ms", IntType, "30000", Min(1000), Accepted, &["group.share.record.lock.duration.ms"], ""),
    group("share.renew.acknowledge.enable", Boolean, "true", Any, Accepted, &[], ""),
    group("share.session.timeout.ms", IntType, "45000", Min(1), Accepted, &["group.share.session.timeout.ms"], ""),
    group("streams.assignment.interval.ms", IntType, "1000", Min(0), Accepted, &["group.streams.assignment.interval.ms"], ""),
    group("streams.heartbeat.interval.ms", IntType, "5000", Min(1), Accepted, &["group.streams.heartbeat.interval.ms"], ""),
    group("streams.initial.rebalance.delay.ms", IntType, "3000", Min(0), Accepted, &["group.streams.initial.rebalance.delay.ms"], ""),
    group("streams.num.standby.replicas", IntType, "0", Min(0), Accepted, &["group.streams.num.standby.replicas"], ""),
    group("streams.session.timeout.ms", IntType, "45000", Min(1), Accepted, &["group.streams.session.timeout.ms"], ""),
];

#[rustfmt::skip]
pub const CLIENT_METRICS_KEYS: &[ConfigDef] = &[
    group("interval.ms", IntType, "300000", Int(100, 3_600_000), Accepted, &[], ""),
    group("match", List, "", Any, Accepted, &[], ""),
    group("metrics", List, "", Any, Accepted, &[], ""),
];
