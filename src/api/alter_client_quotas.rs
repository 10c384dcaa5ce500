//! AlterClientQuotas (49), v0-v1 (KIP-546): sets and takes away limits of users, client ids and addresses. Each entity
//! succeeds or fails as a whole, by itself. The limits are kept and described; none is enforced yet.

use kafka_protocol::messages::alter_client_quotas_request::EntryData as Asked;
use kafka_protocol::messages::alter_client_quotas_response::{EntityData, EntryData};
use kafka_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};
use kafka_protocol::protocol::StrBytes;

use super::describe_client_quotas::components;
use super::error_map::ApiError;
use crate::controller::quotas::{AlterQuota, QuotaEntity};
use crate::controller::{Command, ControllerError, Reply};
use crate::shard::Router;

pub async fn handle(
    router: &Router,
    request: AlterClientQuotasRequest,
) -> AlterClientQuotasResponse {
    let alterations: Vec<AlterQuota> = request.entries.iter().map(alteration).collect();
    let entities: Vec<QuotaEntity> = alterations.iter().map(|a| a.entity.clone()).collect();
    let command = Command::AlterClientQuotas { alterations, validate_only: request.validate_only };
    let results = match router.controller(command).await {
        Ok(Reply::AlterClientQuotas(results)) => results,
        Ok(other) => unreachable!("AlterClientQuotas was answered with {other:?}"),
        Err(error) => {
            let rows = entities.iter().map(|entity| row(entity, Some(ApiError::from(&error))));
            return AlterClientQuotasResponse::default().with_entries(rows.collect());
        }
    };
    let error = |result: Result<(), ControllerError>| result.err().map(ApiError::from);
    let rows = results.into_iter().map(|(entity, result)| row(&entity, error(result)));
    AlterClientQuotasResponse::default().with_entries(rows.collect())
}

/// A type that is there twice counts as the last one says, as in Kafka.
fn alteration(entry: &Asked) -> AlterQuota {
    let own = |text: &StrBytes| text.to_string();
    let entity =
        entry.entity.iter().map(|e| (own(&e.entity_type), e.entity_name.as_ref().map(own)));
    let changes = entry.ops.iter().map(|op| (own(&op.key), (!op.remove).then_some(op.value)));
    AlterQuota { entity: entity.collect(), changes: changes.collect() }
}

fn row(entity: &QuotaEntity, error: Option<ApiError>) -> EntryData {
    let component =
        |(kind, name)| EntityData::default().with_entity_type(kind).with_entity_name(name);
    let row = EntryData::default().with_entity(components(entity).map(component).collect());
    match error {
        None => row.with_error_message(None),
        Some(error) => row.with_error_code(error.code).with_error_message(error.text()),
    }
}
