//! Client quotas (KIP-13, 124, 546, 599, 612) as the metadata log holds them: which entity has which limit, what Kafka
//! refuses and in which words, and the record in KRaft's bytes. Kept and described; nothing here enforces one. Pure.

use std::collections::{BTreeMap, HashSet};
use std::net::Ipv6Addr;

use super::ControllerError;
use super::image::Image;
use super::record_fields::{Reader, Writer};
use super::records::Record;
use crate::limits::COMMAND_RECORDS;

pub const USER: &str = "user";
pub const CLIENT_ID: &str = "client-id";
pub const IP: &str = "ip";

/// Entity type to name; no name is the default of that type.
pub type QuotaEntity = BTreeMap<String, Option<String>>;

/// A quota's value. Equal when the bits are: Kafka lets NaN through.
#[derive(Clone, Copy, Debug)]
pub struct Rate(pub f64);

impl PartialEq for Rate {
    fn eq(&self, other: &Rate) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Rate {}

/// By entity, then by key.
pub type Quotas = BTreeMap<QuotaEntity, BTreeMap<String, Rate>>;

#[derive(Clone, Debug)]
pub struct AlterQuota {
    pub entity: QuotaEntity,
    /// Key and new value, or none to take it away.
    pub changes: Vec<(String, Option<f64>)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Double,
    Long,
    Int,
}

/// What a user or client id may have.
const USER_KEYS: &[(&str, Kind)] = &[
    ("producer_byte_rate", Kind::Long),
    ("consumer_byte_rate", Kind::Long),
    ("request_percentage", Kind::Double),
    ("controller_mutation_rate", Kind::Double),
];
const IP_KEYS: &[(&str, Kind)] = &[("connection_creation_rate", Kind::Int)];

/// As far as a fraction counts as none.
const EPSILON: f64 = 1e-6;

/// Each entity's result. Entities succeed or fail each by itself, and the records of all of them are one batch.
pub fn alter(
    image: &Image,
    alterations: &[AlterQuota],
    records: &mut Vec<Record>,
) -> Vec<(QuotaEntity, Result<(), ControllerError>)> {
    let mut results: BTreeMap<&QuotaEntity, Result<(), ControllerError>> = BTreeMap::new();
    for AlterQuota { entity, changes } in alterations {
        let mut keys = HashSet::new();
        let twice = changes.iter().any(|(key, _)| !keys.insert(key));
        if twice || results.contains_key(entity) {
            let names: Vec<String> = entity.iter().map(shown).collect();
            let why = format!(
                "Ignoring duplicate entity ClientQuotaEntity(entries={{{}}})",
                names.join(", ")
            );
            results.insert(entity, invalid(why));
            continue;
        }
        let planned = alter_one(image, entity, changes).map(|planned| records.extend(planned));
        results.insert(entity, planned);
    }
    if records.len() > COMMAND_RECORDS {
        records.clear();
        let why = "Unable to perform excessively large batch operation.".to_string();
        for result in results.values_mut() {
            *result = Err(ControllerError::PolicyViolation(why.clone()));
        }
    }
    results.into_iter().map(|(entity, result)| (entity.clone(), result)).collect()
}

fn shown((kind, name): (&String, &Option<String>)) -> String {
    format!("{kind}={}", name.as_deref().unwrap_or("null"))
}

fn invalid<T>(why: impl Into<String>) -> Result<T, ControllerError> {
    Err(ControllerError::InvalidRequest(why.into()))
}

fn alter_one(
    image: &Image,
    entity: &QuotaEntity,
    changes: &[(String, Option<f64>)],
) -> Result<Vec<Record>, ControllerError> {
    let known = keys_of(entity)?;
    let now = image.quotas.get(entity);
    let mut records = Vec::new();
    for (key, value) in changes {
        let had = now.and_then(|keys| keys.get(key)).copied();
        if let Some(value) = value {
            check(known, key, *value)?;
        }
        let value = value.map(Rate);
        if value == had {
            continue;
        }
        records.push(Record::ClientQuota { entity: entity.clone(), key: key.clone(), value });
    }
    Ok(records)
}

/// The keys that an entity may have, of one that may have any.
fn keys_of(entity: &QuotaEntity) -> Result<&'static [(&'static str, Kind)], ControllerError> {
    for (kind, name) in entity {
        if ![USER, CLIENT_ID, IP].contains(&kind.as_str()) {
            return invalid(format!("Unhandled client quota entity type: {kind}"));
        }
        if name.as_deref() == Some("") {
            return invalid(format!("Empty {kind} not supported"));
        }
    }
    match (entity.get(IP), entity.len()) {
        (_, 0) => invalid("Invalid empty client quota entity"),
        (None, _) => Ok(USER_KEYS),
        (Some(Some(ip)), 1) if !is_address(ip) => {
            invalid(format!("{ip} is not a valid IP or resolvable host."))
        }
        (Some(_), 1) => Ok(IP_KEYS),
        (Some(_), _) => invalid(
            "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId",
        ),
    }
}

/// An address as Java reads one: four numbers or fewer, the last of which fills the rest. Names are not looked up, but
/// for the one that needs no looking up.
fn is_address(text: &str) -> bool {
    let plain = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if text == "localhost" || plain.parse::<Ipv6Addr>().is_ok() {
        return true;
    }
    let parts: Vec<Option<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
    let Some((Some(last), first)) = parts.split_last() else { return false };
    let rest_bits = 8 * (4_u32.saturating_sub(first.len() as u32));
    first.len() <= 3
        && first.iter().all(|part| part.is_some_and(|n| n <= 255))
        && u64::from(*last) < 1_u64 << rest_bits
}

fn check(known: &[(&str, Kind)], key: &str, value: f64) -> Result<(), ControllerError> {
    let Some((_, kind)) = known.iter().find(|(name, _)| *name == key) else {
        return invalid(format!("Invalid configuration key {key}"));
    };
    if value <= 0.0 {
        return invalid(format!("Quota {key} must be greater than 0"));
    }
    let (name, max) = match kind {
        Kind::Double => return Ok(()),
        Kind::Long => ("a LONG", i64::MAX as f64),
        Kind::Int => ("an INT", f64::from(i32::MAX)),
    };
    if value > max {
        return invalid(format!("Proposed value for {key} is too large for {name}."));
    }
    let whole = (value + EPSILON) as i64 as f64;
    if (whole - value).abs() > EPSILON {
        return invalid(format!("{key} cannot be a fractional value."));
    }
    Ok(())
}

/// What the record does to the image's quotas.
pub(super) fn apply(quotas: &mut Quotas, entity: &QuotaEntity, key: &str, value: Option<Rate>) {
    match value {
        Some(value) => {
            quotas.entry(entity.clone()).or_default().insert(key.to_string(), value);
        }
        None => {
            let Some(keys) = quotas.get_mut(entity) else { return };
            keys.remove(key);
            if keys.is_empty() {
                quotas.remove(entity);
            }
        }
    }
}

impl Writer {
    pub fn client_quota(&mut self, entity: &QuotaEntity, key: &str, value: Option<Rate>) {
        self.length(entity.len());
        for (kind, name) in entity {
            self.string(kind);
            self.nullable(name.as_deref());
            self.no_tags();
        }
        self.string(key);
        self.0.extend(value.map_or(0.0, |rate| rate.0).to_be_bytes());
        self.0.push(u8::from(value.is_none()));
    }
}

impl Reader<'_> {
    pub fn client_quota(&mut self) -> Result<Record, String> {
        let mut entity = QuotaEntity::new();
        for _ in 0..self.length()? {
            let (kind, name) = (self.string()?, self.nullable()?);
            self.tags()?;
            entity.insert(kind, name);
        }
        let key = self.string()?;
        let value = Rate(f64::from_be_bytes(self.array()?));
        let removed = self.i8()? != 0;
        Ok(Record::ClientQuota { entity, key, value: (!removed).then_some(value) })
    }
}

#[cfg(test)]
#[path = "quotas_tests.rs"]
mod tests;
