//! Where settings come from: a properties file, then `--override key=value`; later wins. Every key
//! must be known and every value in its range; an error says key, value, range, file and line.
//! Not here: what the settings mean (broker.rs).

use std::collections::BTreeMap;

use java_properties::{LineContent, PropertiesIter};

use super::definitions::{self, ConfigType, Effect, TOPIC_KEYS, broker_key, value};
use crate::error::StartError;

#[derive(Clone, Debug)]
pub struct Setting {
    pub value: String,
    /// `server.properties:12`, or `--override`.
    pub place: String,
}

#[derive(Debug, Default)]
pub struct Settings {
    set: BTreeMap<String, Setting>,
    pub warnings: Vec<String>,
}

impl Settings {
    pub fn read(file: Option<(&str, &str)>, overrides: &[String]) -> Result<Settings, StartError> {
        let mut settings = Settings::default();
        if let Some((path, text)) = file {
            for line in PropertiesIter::new(text.as_bytes()) {
                let line = line.map_err(|e| match e.line_number() {
                    Some(n) => StartError::config(format!("{path}:{n}: {e}")),
                    None => StartError::config(format!("{path}: {e}")),
                })?;
                let place = format!("{path}:{}", line.line_number());
                if let LineContent::KVPair(key, value) = line.consume_content() {
                    settings.set.insert(key, Setting { value, place });
                }
            }
        }
        for text in overrides {
            let Some((key, value)) = text.split_once('=') else {
                return Err(StartError::config(format!(
                    "--override {text}: write it as key=value"
                )));
            };
            let setting = Setting { value: value.to_string(), place: "--override".to_string() };
            settings.set.insert(key.trim().to_string(), setting);
        }
        settings.check()?;
        Ok(settings)
    }

    fn check(&mut self) -> Result<(), StartError> {
        for (key, Setting { value, place }) in &self.set {
            let Some(def) = broker_key(key) else {
                return Err(StartError::config(format!("{place}: {}", unknown(key))));
            };
            if let Err(why) = value::check(def, key, value) {
                let why = why.rsplit_once(&format!("{key}: ")).map_or("", |(_, why)| why);
                let allowed = value::allowed(def);
                return Err(StartError::config(format!(
                    "{place}: {key}={value}: {why} (allowed: {allowed})"
                )));
            }
            if let Err(why) = definitions::refuse_absent(def, key, value) {
                return Err(StartError::config(format!("{place}: {why}")));
            }
            let idle = matches!(def.effect, Effect::Accepted | Effect::Internal);
            if idle && !value::same(def.kind, value, def.default.unwrap_or("")) {
                self.warnings.push(format!("{place}: {key} has no effect in Spindle yet"));
            }
        }
        Ok(())
    }

    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.set.get(key)
    }

    /// As written, or the table's default.
    pub fn text<'a>(&'a self, key: &str) -> Option<&'a str> {
        let set = self.set.get(key).map(|s| s.value.trim());
        set.or_else(|| broker_key(key).and_then(|d| d.default))
    }

    pub fn number(&self, key: &str) -> i64 {
        let kind = broker_key(key).map_or(ConfigType::Long, |d| d.kind);
        self.text(key).and_then(|v| value::int(kind, v)).unwrap_or(0)
    }

    pub fn yes(&self, key: &str) -> bool {
        self.text(key).and_then(value::boolean).unwrap_or(false)
    }

    /// A complaint about `key`, with where it was set.
    pub fn error(&self, key: &str, why: impl std::fmt::Display) -> StartError {
        StartError::config(match self.set.get(key) {
            Some(s) => format!("{}: {key}={}: {why}", s.place, s.value),
            None => format!("{key}: {why}"),
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Setting)> {
        self.set.iter()
    }
}

fn unknown(key: &str) -> String {
    if key.starts_with("zookeeper.") {
        return format!(
            "{key}: Kafka 4 has no ZooKeeper any more, nor has Spindle; remove the line"
        );
    }
    if key.starts_with("listener.name.") {
        return format!("{key}: settings of one listener are not there yet; remove the line");
    }
    if let Some(def) = TOPIC_KEYS.iter().find(|d| d.name == key) {
        if let Some(broker) = def.broker_synonyms.first() {
            return format!("{key} is a topic's key; for the broker's default set {broker}");
        }
        return format!("{key} is a topic's key; set it on topics");
    }
    match definitions::nearest_broker_key(key) {
        Some(near) => format!("unknown key {key}; the nearest known one is {near}"),
        None => format!("unknown key {key}"),
    }
}
