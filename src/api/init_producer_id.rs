//! InitProducerId (22), v0-v5: a producer id for idempotence. v3 lets a producer that lost its state
//! give its old id and epoch (KIP-360), which matters to transactions only: without a transactional id
//! the answer is a fresh id at epoch 0, as in Kafka.
//! Not here yet: transactional ids.

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::RequestContext;
use super::error_map::partition_code;
use crate::partition::PartitionError;
use crate::shard::Router;
use crate::wire::error_code;

pub async fn handle(
    _cx: &RequestContext,
    router: &Router,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    if let Err(code) = check(&request) {
        return refused(code);
    }
    match router.next_producer_id().await {
        Ok(id) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(0),
        // What Kafka says while it has no block of ids; clients retry it.
        Err(PartitionError::Overloaded(_) | PartitionError::TimedOut) => {
            refused(error_code::COORDINATOR_LOAD_IN_PROGRESS)
        }
        Err(error) => refused(partition_code(&error)),
    }
}

fn check(request: &InitProducerIdRequest) -> Result<(), i16> {
    match &request.transactional_id {
        None => {}
        Some(id) if id.is_empty() => return Err(error_code::INVALID_REQUEST),
        // There is no transaction coordinator, and FindCoordinator is not advertised, so a client does
        // not normally come this far. The COORDINATOR_* codes would have it retry until its timeout;
        // this one fails it at once, and says that the broker lacks the feature.
        Some(_) => return Err(error_code::UNSUPPORTED_VERSION),
    }
    if (request.producer_id.0 == -1) != (request.producer_epoch == -1) {
        return Err(error_code::INVALID_REQUEST);
    }
    Ok(())
}

fn refused(code: i16) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(code)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::TransactionalId;
    use kafka_protocol::protocol::StrBytes;

    #[test]
    fn what_is_refused() {
        let request = |transactional_id: Option<&'static str>, id, epoch| {
            let transactional_id =
                transactional_id.map(|t| TransactionalId(StrBytes::from_static_str(t)));
            check(
                &InitProducerIdRequest::default()
                    .with_transactional_id(transactional_id)
                    .with_producer_id(ProducerId(id))
                    .with_producer_epoch(epoch),
            )
        };
        assert_eq!(request(None, -1, -1), Ok(()));
        assert_eq!(request(None, 5, 0), Ok(()));
        assert_eq!(request(None, -1, 0), Err(42));
        assert_eq!(request(None, 5, -1), Err(42));
        assert_eq!(request(Some(""), -1, -1), Err(42));
        assert_eq!(request(Some("t"), -1, -1), Err(35));
    }
}
