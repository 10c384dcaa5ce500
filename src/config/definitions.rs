//! The tables of known keys: name, type, default, range, doc, and which topic key inherits from which broker key. Kafka 4.3.1's
//! names and defaults; DescribeConfigs and the parser read the same table.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigType {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    DynamicTopic,
    DynamicBroker,
    DynamicDefaultBroker,
    StaticBroker,
    Default,
}

#[derive(Clone, Copy, Debug)]
pub struct ConfigDef {
    pub name: &'static str,
    pub kind: ConfigType,
    pub default: &'static str,
    pub doc: &'static str,
    /// Topic table: the broker keys that give the default, nearest first (`log.retention.ms`, …).
    pub broker_synonyms: &'static [&'static str],
    pub read_only: bool,
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

/// All topic keys with their effective values.
pub fn describe_topic(
    broker: &super::BrokerConfig,
    topic: &std::collections::BTreeMap<String, String>,
    dynamic_broker: &std::collections::BTreeMap<String, String>,
    dynamic_default: &std::collections::BTreeMap<String, String>,
) -> Vec<ConfigValue> {
    let _ = (broker, topic, dynamic_broker, dynamic_default);
    todo!()
}

/// All broker keys with their effective values.
pub fn describe_broker(
    broker: &super::BrokerConfig,
    dynamic_broker: &std::collections::BTreeMap<String, String>,
    dynamic_default: &std::collections::BTreeMap<String, String>,
) -> Vec<ConfigValue> {
    let _ = (broker, dynamic_broker, dynamic_default);
    todo!()
}

/// Ok when `key` is a topic key and `value` parses in range; Err is Kafka's INVALID_CONFIG text.
pub fn validate_topic_config(key: &str, value: &str) -> Result<(), String> {
    let _ = (key, value);
    todo!()
}
/// As above for a broker key that may change while the broker runs.
pub fn validate_dynamic_broker_config(key: &str, value: &str) -> Result<(), String> {
    let _ = (key, value);
    todo!()
}
