//! The known keys: name, type, default, range, doc, and which topic key inherits from which broker
//! key. Kafka 4.3.1's names and defaults; the parser and DescribeConfigs read the same rows.
//! Not here: the typed values the broker obeys (broker.rs, topic.rs), wire numbers (api/).

pub mod absent_keys;
pub mod broker_keys;
mod describe;
pub mod group_keys;
pub mod own_keys;
pub mod topic_keys;
pub mod value;

pub use absent_keys::ABSENT_KEYS;
pub use broker_keys::BROKER_KEYS;
pub use describe::{describe_broker, describe_client_metrics, describe_group, describe_topic};
pub use group_keys::{CLIENT_METRICS_KEYS, GROUP_KEYS};
pub use own_keys::OWN_KEYS;
pub use topic_keys::TOPIC_KEYS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigType {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

impl ConfigType {
    pub fn name(self) -> &'static str {
        match self {
            ConfigType::Boolean => "BOOLEAN",
            ConfigType::String => "STRING",
            ConfigType::Int => "INT",
            ConfigType::Short => "SHORT",
            ConfigType::Long => "LONG",
            ConfigType::Double => "DOUBLE",
            ConfigType::List => "LIST",
            ConfigType::Class => "CLASS",
            ConfigType::Password => "PASSWORD",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    DynamicTopic,
    DynamicClientMetrics,
    DynamicGroup,
    DynamicBroker,
    DynamicDefaultBroker,
    StaticBroker,
    Default,
}

/// What values a key takes, beyond those of its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    Any,
    Min(i64),
    Int(i64, i64),
    /// A range, or one value outside it.
    IntOr(i64, i64, i64),
    Real(f64, f64),
    OneOf(&'static [&'static str]),
    OneOfAnyCase(&'static [&'static str]),
    NonEmpty,
    /// `*`, or partition:broker pairs.
    Throttled,
}

/// Whether a broker key may change while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Fixed,
    Live,
}

/// What Spindle does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Used,
    /// Tunes a part that Spindle does not have or tunes itself: any valid value is taken, with a warning.
    Accepted,
    /// Turns on what Spindle does not have: only the default is taken.
    Absent,
    /// As `Accepted`, and not shown by DescribeConfigs.
    Internal,
}

#[derive(Clone, Copy, Debug)]
pub struct ConfigDef {
    pub name: &'static str,
    pub kind: ConfigType,
    /// `None`: no value unless one is set.
    pub default: Option<&'static str>,
    pub range: Range,
    pub doc: &'static str,
    /// Topic table: the broker keys that give the default, nearest first (`log.retention.ms`, …).
    pub broker_synonyms: &'static [&'static str],
    pub read_only: bool,
    pub effect: Effect,
}

const fn broker(
    name: &'static str,
    kind: ConfigType,
    default: Option<&'static str>,
    range: Range,
    change: Change,
    effect: Effect,
    doc: &'static str,
) -> ConfigDef {
    let read_only = matches!(change, Change::Fixed);
    ConfigDef { name, kind, default, range, doc, broker_synonyms: &[], read_only, effect }
}

/// One row of a DescribeConfigs answer.
#[derive(Clone, Debug)]
pub struct ConfigValue {
    pub name: String,
    pub value: Option<String>,
    pub source: ConfigSource,
    pub kind: ConfigType,
    pub read_only: bool,
    pub sensitive: bool,
    pub doc: &'static str,
    /// (name, value, source), most specific first, as Kafka lists them.
    pub synonyms: Vec<(String, Option<String>, ConfigSource)>,
}

fn find(table: &'static [ConfigDef], key: &str) -> Option<&'static ConfigDef> {
    table.binary_search_by(|d| d.name.cmp(key)).ok().map(|i| &table[i])
}

pub fn topic_key(key: &str) -> Option<&'static ConfigDef> {
    find(TOPIC_KEYS, key)
}

/// A key of groups.
pub fn group_key(key: &str) -> Option<&'static ConfigDef> {
    find(GROUP_KEYS, key)
}

pub fn client_metrics_key(key: &str) -> Option<&'static ConfigDef> {
    find(CLIENT_METRICS_KEYS, key)
}

/// A broker key of Kafka's or of Spindle's (`shard.3.cpu` finds the row of `shard.N.cpu`).
pub fn broker_key(key: &str) -> Option<&'static ConfigDef> {
    find(BROKER_KEYS, key)
        .or_else(|| find(ABSENT_KEYS, key))
        .or_else(|| shard_key(key).map(|(_, def)| def))
        .or_else(|| find(OWN_KEYS, key).filter(|d| !d.name.starts_with("shard.N.")))
}

/// The N of `shard.N.cpu` and its like, and their row.
pub fn shard_key(key: &str) -> Option<(usize, &'static ConfigDef)> {
    let (n, what) = key.strip_prefix("shard.")?.split_once('.')?;
    if n.is_empty() || n.len() > 4 || !n.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((n.parse().ok()?, find(OWN_KEYS, &format!("shard.N.{what}"))?))
}

/// Broker keys in the order of their names, Kafka's first.
pub fn all_broker_keys() -> impl Iterator<Item = &'static ConfigDef> {
    BROKER_KEYS.iter().chain(ABSENT_KEYS).chain(OWN_KEYS)
}

/// The known key that `key` is most likely a slip of: few edits, for its length.
pub fn nearest_broker_key(key: &str) -> Option<&'static str> {
    nearest(key, all_broker_keys().chain(TOPIC_KEYS))
}

fn nearest(key: &str, known: impl Iterator<Item = &'static ConfigDef>) -> Option<&'static str> {
    // A key with its dots and underscores mixed up is the same key.
    let plain = |s: &str| s.to_ascii_lowercase().replace(['_', '-'], ".");
    let asked = plain(key);
    known
        .map(|d| (strsim::damerau_levenshtein(&asked, d.name), d.name))
        .min()
        .filter(|(edits, name)| *edits <= 2.max(name.len() / 4))
        .map(|(_, name)| name)
}

/// Ok when `key` is a topic key and `value` parses in range; Err is Kafka's INVALID_CONFIG text.
pub fn validate_topic_config(key: &str, value: &str) -> Result<(), String> {
    let Some(def) = topic_key(key) else {
        return Err(format!("Unknown topic config name: {key}"));
    };
    value::check(def, key, value)?;
    refuse_absent(def, key, value)
}

/// As above for a broker key that may change while the broker runs.
pub fn validate_dynamic_broker_config(key: &str, value: &str) -> Result<(), String> {
    let Some(def) = broker_key(key) else {
        return Err(format!("Unknown broker config name: {key}"));
    };
    if def.read_only {
        return Err(format!("Cannot update these configs dynamically: [{key}]"));
    }
    value::check(def, key, value)?;
    refuse_absent(def, key, value)
}

/// As above for a group's keys: each by itself; `GroupsConfig::check_group` looks at them together.
pub fn validate_group_config(key: &str, value: &str) -> Result<(), String> {
    match group_key(key) {
        Some(def) => value::check(def, key, value),
        None => Err(format!("Unknown group config name: {key}")),
    }
}

pub fn validate_client_metrics_config(key: &str, value: &str) -> Result<(), String> {
    match client_metrics_key(key) {
        Some(def) => value::check(def, key, value),
        None => Err(format!("Unknown client metrics configuration {key}")),
    }
}

/// Err when `value` would turn on what Spindle does not have.
pub fn refuse_absent(def: &ConfigDef, key: &str, value: &str) -> Result<(), String> {
    let default = def.default.unwrap_or("");
    if def.effect == Effect::Absent && !value::same(def.kind, value, default) {
        return Err(if default.is_empty() {
            format!("{key} can't be set: Spindle does not have what it configures yet")
        } else {
            format!(
                "{key} can't be {value}: Spindle does not have what it configures yet and takes \
                 only the default, {default}"
            )
        });
    }
    Ok(())
}
