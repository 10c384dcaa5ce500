//! UpdateFeatures (57), v0-v2 (KIP-584, KIP-778): to the level that a feature has, which is what a tool does after an
//! upgrade; every other level is refused in Kafka's words, for each feature here has one level that it may be at.
//! Features succeed or fail together. Nothing is ever written. v1 has kinds of downgrade, v2 no row a feature.

use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::update_features_response::UpdatableFeatureResult;
use kafka_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use super::RequestContext;
use super::api_versions::finalized_levels;
use super::error_map::ApiError;
use crate::shard::Router;
use crate::wire::error_code;

const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

pub fn handle(
    cx: &RequestContext,
    router: &Router,
    request: UpdateFeaturesRequest,
) -> UpdateFeaturesResponse {
    let broker = router.config().broker_id;
    let levels = finalized_levels(router);
    let mut rows = Vec::with_capacity(request.feature_updates.len());
    for update in &request.feature_updates {
        let kind = match (cx.api_version, update.allow_downgrade) {
            (0, true) => SAFE_DOWNGRADE,
            (0, false) => UPGRADE,
            _ => update.upgrade_type,
        };
        let level = levels.get(update.feature.as_str()).copied();
        if let Err(error) = check(broker, update, kind, level) {
            return UpdateFeaturesResponse::default()
                .with_error_code(error.code)
                .with_error_message(error.text());
        }
        rows.push(
            UpdatableFeatureResult::default()
                .with_feature(update.feature.clone())
                .with_error_message(None),
        );
    }
    let answer = UpdateFeaturesResponse::default().with_error_message(None);
    match cx.api_version {
        0..=1 => answer.with_results(rows),
        _ => answer,
    }
}

/// `now`: the level that the feature is at, and the only one that this broker supports.
fn check(
    broker: i32,
    update: &FeatureUpdateKey,
    kind: i8,
    now: Option<i16>,
) -> Result<(), ApiError> {
    let wanted = update.max_version_level;
    let why = if !(UPGRADE..=UNSAFE_DOWNGRADE).contains(&kind) {
        "The controller does not support the given upgrade type.".to_string()
    } else if wanted < 0 {
        "A feature version cannot be less than 0.".to_string()
    } else {
        match now {
            Some(level) if level == wanted => return Ok(()),
            Some(level) => format!("Local controller {broker} only supports versions {level}"),
            // Level 0 is what a feature is at that is not there.
            None if wanted == 0 => return Ok(()),
            None => format!("Local controller {broker} does not support this feature."),
        }
    };
    let feature = update.feature.as_str();
    Err(ApiError::new(
        error_code::INVALID_UPDATE_VERSION,
        format!(
            "The update failed for all features since the following feature had an error: \
             Invalid update version {wanted} for feature {feature}. {why}"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    fn refusal(level: i16, kind: i8, now: Option<i16>) -> Option<String> {
        let update = FeatureUpdateKey::default()
            .with_feature(StrBytes::from_static_str("group.version"))
            .with_max_version_level(level);
        let error = check(0, &update, kind, now).err()?;
        assert_eq!(error.code, 95);
        let text = "Invalid update version";
        Some(error.message[error.message.find(text).expect(text)..].to_string())
    }

    #[test]
    fn the_same_level_is_taken_and_others_are_refused() {
        assert_eq!(refusal(1, UPGRADE, Some(1)), None);
        assert_eq!(refusal(1, SAFE_DOWNGRADE, Some(1)), None);
        let cases = [
            (2, UPGRADE, Some(1), "Local controller 0 only supports versions 1"),
            (0, SAFE_DOWNGRADE, Some(1), "Local controller 0 only supports versions 1"),
            (1, UPGRADE, None, "Local controller 0 does not support this feature."),
            (1, 0, Some(1), "The controller does not support the given upgrade type."),
            (1, 4, Some(1), "The controller does not support the given upgrade type."),
            (-1, UPGRADE, Some(1), "A feature version cannot be less than 0."),
        ];
        for (level, kind, now, why) in cases {
            let whole = format!("Invalid update version {level} for feature group.version. {why}");
            assert_eq!(refusal(level, kind, now), Some(whole));
        }
    }
}
