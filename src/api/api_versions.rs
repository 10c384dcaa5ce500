//! ApiVersions (18), v0-v4: the first request of nearly every client.
//! v3 added the client's software name and version (KIP-511) and feature levels (KIP-584).
//! Features: the version of the metadata log's records, and group.version 1: consumer groups of KIP-848. What may
//! be at level 0 is listed as supported from v4 on (KIP-1022). Transactions and share groups have none.

use std::collections::BTreeMap;

use kafka_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use super::advertised::{ADVERTISED, API_VERSIONS, serves_consumer_groups};
use crate::shard::Router;
use crate::wire::error_code;

pub fn handle(
    cx: &RequestContext,
    router: &Router,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    if cx.api_version >= 3
        && !(software_field_is_valid(&request.client_software_name)
            && software_field_is_valid(&request.client_software_version))
    {
        return ApiVersionsResponse::default().with_error_code(error_code::INVALID_REQUEST);
    }
    let image = router.image();
    let mut supported = Vec::new();
    let mut finalized = Vec::new();
    if cx.api_version >= 3 {
        for (name, level) in &image.features {
            supported.push(supported_feature(name, *level, *level));
            finalized.push(finalized_feature(name, *level));
        }
        if has_own_group_version(router) {
            if cx.api_version >= 4 {
                supported.push(supported_feature(GROUP_VERSION, 0, 1));
            }
            finalized.push(finalized_feature(GROUP_VERSION, 1));
        }
    }
    ApiVersionsResponse::default()
        .with_api_keys(ADVERTISED.iter().map(row).collect())
        .with_supported_features(supported)
        .with_finalized_features(finalized)
        .with_finalized_features_epoch(if cx.api_version >= 3 { image.offset } else { -1 })
}

const GROUP_VERSION: &str = "group.version";

/// Groups of KIP-848 are served and no record of the metadata log says so.
fn has_own_group_version(router: &Router) -> bool {
    let consumer = serves_consumer_groups() && router.config().groups.consumer.enabled;
    consumer && !router.image().features.contains_key(GROUP_VERSION)
}

/// The level that each feature is at.
pub fn finalized_levels(router: &Router) -> BTreeMap<String, i16> {
    let mut levels = router.image().features.clone();
    if has_own_group_version(router) {
        levels.insert(GROUP_VERSION.to_string(), 1);
    }
    levels
}

fn supported_feature(name: &str, min: i16, max: i16) -> SupportedFeatureKey {
    SupportedFeatureKey::default()
        .with_name(StrBytes::from_string(name.to_string()))
        .with_min_version(min)
        .with_max_version(max)
}

fn finalized_feature(name: &str, level: i16) -> FinalizedFeatureKey {
    FinalizedFeatureKey::default()
        .with_name(StrBytes::from_string(name.to_string()))
        .with_min_version_level(level)
        .with_max_version_level(level)
}

/// The answer, in v0 encoding, to a version of ApiVersions that we don't know: the client learns which
/// versions to ask with (KIP-511).
pub fn unsupported_version_response() -> ApiVersionsResponse {
    let known = ADVERTISED.iter().filter(|(key, _, _)| *key == API_VERSIONS);
    ApiVersionsResponse::default()
        .with_error_code(error_code::UNSUPPORTED_VERSION)
        .with_api_keys(known.map(row).collect())
}

fn row(&(key, min, max): &(i16, i16, i16)) -> ApiVersion {
    ApiVersion::default().with_api_key(key).with_min_version(min).with_max_version(max)
}

/// Letters, digits, '-' and '.', with a letter or digit at both ends.
fn software_field_is_valid(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_fields() {
        for good in ["apache-kafka-java", "4.3.1", "a", "0", "librdkafka", "v2.12.1-RC1"] {
            assert!(software_field_is_valid(good), "{good}");
        }
        for bad in ["", "-a", "a-", ".", "a b", "a_b", "caf\u{e9}", "a/b"] {
            assert!(!software_field_is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn unsupported_version_lists_only_itself() {
        let response = unsupported_version_response();
        assert_eq!(response.error_code, 35);
        let [only] = &response.api_keys[..] else { panic!("{response:?}") };
        assert_eq!((only.api_key, only.min_version, only.max_version), (18, 0, 4));
    }
}
