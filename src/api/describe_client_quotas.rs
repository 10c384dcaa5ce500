//! DescribeClientQuotas (48), v0-v1 (KIP-546): the limits whose entity fits a filter. A component names a type and how it
//! has to match: by name, as the default, or at all; strict: the entity may have no other type.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use kafka_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use kafka_protocol::protocol::StrBytes;

use super::error_map::ApiError;
use crate::controller::quotas::{CLIENT_ID, IP, QuotaEntity, Rate, USER};
use crate::shard::Router;
use crate::wire::error_code;

enum Match {
    /// No name: the default of the type.
    Exact(Option<String>),
    Any,
}

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

pub fn handle(
    router: &Router,
    request: &DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let filter = match filter(&request.components) {
        Ok(filter) => filter,
        Err(error) => {
            return DescribeClientQuotasResponse::default()
                .with_error_code(error.code)
                .with_error_message(error.text())
                .with_entries(None);
        }
    };
    let quotas = &router.image().quotas;
    let found = quotas.iter().filter(|(entity, _)| fits(entity, &filter, request.strict));
    let rows = found.map(|(entity, keys)| row(entity, keys)).collect();
    DescribeClientQuotasResponse::default().with_error_message(None).with_entries(Some(rows))
}

fn filter(components: &[ComponentData]) -> Result<BTreeMap<&str, Match>, ApiError> {
    let invalid = |why: &str| Err(ApiError::invalid_request(why));
    let mut filter = BTreeMap::new();
    for component in components {
        let kind = component.entity_type.as_str();
        if kind.is_empty() {
            return invalid("Invalid empty entity type.");
        }
        if filter.contains_key(kind) {
            return Err(ApiError::invalid_request(format!(
                "Entity type {kind} cannot appear more than once in the filter."
            )));
        }
        if ![USER, CLIENT_ID, IP].contains(&kind) {
            let why = format!("Unsupported entity type {kind}");
            return Err(ApiError::new(error_code::UNSUPPORTED_VERSION, why));
        }
        let how = match (component.match_type, &component._match) {
            (EXACT, Some(name)) => Match::Exact(Some(name.to_string())),
            (DEFAULT, None) => Match::Exact(None),
            (SPECIFIED, None) => Match::Any,
            (EXACT, None) => {
                return invalid(
                    "Request specified MATCH_TYPE_EXACT, but set match string to null.",
                );
            }
            (DEFAULT, Some(_)) => {
                return invalid(
                    "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.",
                );
            }
            (SPECIFIED, Some(_)) => {
                return invalid(
                    "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.",
                );
            }
            (other, _) => {
                return Err(ApiError::invalid_request(format!("Unknown match type {other}")));
            }
        };
        filter.insert(kind, how);
    }
    if filter.contains_key(IP) && filter.len() > 1 {
        return invalid(
            "Invalid entity filter component combination. IP filter component should not be used \
             with user or clientId filter component.",
        );
    }
    Ok(filter)
}

fn fits(entity: &QuotaEntity, filter: &BTreeMap<&str, Match>, strict: bool) -> bool {
    let each = filter.iter().all(|(kind, how)| match (entity.get(*kind), how) {
        (None, _) => false,
        (Some(_), Match::Any) => true,
        (Some(name), Match::Exact(wanted)) => name == wanted,
    });
    // Strictly nothing is the filter of no component, in Kafka too.
    each && (!strict || !filter.is_empty() && entity.len() == filter.len())
}

fn row(entity: &QuotaEntity, keys: &BTreeMap<String, Rate>) -> EntryData {
    let component =
        |(kind, name)| EntityData::default().with_entity_type(kind).with_entity_name(name);
    let value =
        |(key, rate): (&String, &Rate)| ValueData::default().with_key(text(key)).with_value(rate.0);
    EntryData::default()
        .with_entity(components(entity).map(component).collect())
        .with_values(keys.iter().map(value).collect())
}

/// Types and names of an entity, as rows have them; no name: the default of the type.
pub(super) fn components(
    entity: &QuotaEntity,
) -> impl Iterator<Item = (StrBytes, Option<StrBytes>)> + '_ {
    entity.iter().map(|(kind, name)| (text(kind), name.as_deref().map(text)))
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(kind: &str, match_type: i8, name: Option<&str>) -> ComponentData {
        ComponentData::default()
            .with_entity_type(text(kind))
            .with_match_type(match_type)
            .with_match(name.map(text))
    }

    /// Texts of Kafka's ClientQuotasImage.
    #[test]
    fn filters_are_refused_in_kafkas_words() {
        let refused: &[(&[ComponentData], i16, &str)] = &[
            (&[component("", 0, None)], 42, "Invalid empty entity type."),
            (
                &[component("user", 2, None), component("user", 1, None)],
                42,
                "Entity type user cannot appear more than once in the filter.",
            ),
            (&[component("x", 2, None)], 35, "Unsupported entity type x"),
            (
                &[component("user", 0, None)],
                42,
                "Request specified MATCH_TYPE_EXACT, but set match string to null.",
            ),
            (
                &[component("user", 1, Some("u"))],
                42,
                "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.",
            ),
            (&[component("user", 3, None)], 42, "Unknown match type 3"),
        ];
        for (components, code, why) in refused {
            let error = filter(components).err().expect(why);
            assert_eq!((error.code, error.message.as_str()), (*code, *why));
        }
        let mixed = [component("ip", 2, None), component("user", 2, None)];
        assert_eq!(filter(&mixed).err().map(|e| e.code), Some(42));
    }

    #[test]
    fn entities_fit_by_name_default_type_and_strictly() {
        let entity = |parts: &[(&str, Option<&str>)]| -> QuotaEntity {
            parts.iter().map(|(k, n)| (k.to_string(), n.map(str::to_string))).collect()
        };
        let user = entity(&[("user", Some("u"))]);
        let default = entity(&[("user", None)]);
        let both = entity(&[("user", Some("u")), ("client-id", Some("c"))]);
        let all = [&user, &default, &both];
        let found = |components: &[ComponentData], strict| -> Vec<bool> {
            let filter = filter(components).expect("a filter");
            all.iter().map(|entity| fits(entity, &filter, strict)).collect()
        };
        assert_eq!(found(&[], false), [true, true, true]);
        assert_eq!(found(&[], true), [false, false, false]);
        assert_eq!(found(&[component("user", 0, Some("u"))], false), [true, false, true]);
        assert_eq!(found(&[component("user", 0, Some("u"))], true), [true, false, false]);
        assert_eq!(found(&[component("user", 1, None)], false), [false, true, false]);
        assert_eq!(found(&[component("user", 2, None)], true), [true, true, false]);
        let pair = [component("user", 2, None), component("client-id", 0, Some("c"))];
        assert_eq!(found(&pair, true), [false, false, true]);
        assert_eq!(found(&[component("ip", 2, None)], false), [false, false, false]);
    }
}
