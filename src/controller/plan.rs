//! A command and the image it meets become records and a reply. Pure: no clock, no disk, no randomness but
//! the ids it is handed. Nothing is decided anywhere else, so replay of the records is the whole truth.
//! Topics are in `plan_topics.rs`, configs in `plan_configs.rs`, quotas in `quotas.rs`.

use super::image::Image;
use super::records::Record;
use super::{Command, ControllerError, Reply, plan_configs, plan_topics, quotas};
use crate::config::BrokerConfig;
use crate::types::TopicId;

/// What a plan may look at.
pub struct Context<'a> {
    pub image: &'a Image,
    pub config: &'a BrokerConfig,
    pub broker_id: i32,
    /// A topic id never used before.
    pub new_id: &'a mut dyn FnMut() -> TopicId,
}

/// Records to append as one batch (none: nothing changes), and what to answer once they are durable.
pub fn plan(cx: &mut Context<'_>, command: &Command) -> (Vec<Record>, Reply) {
    let mut records = Vec::new();
    let reply = match command {
        Command::CreateTopics { topics, validate_only } => {
            Reply::CreateTopics(plan_topics::create(cx, topics, *validate_only, &mut records))
        }
        Command::DeleteTopics { topics } => {
            Reply::DeleteTopics(plan_topics::delete(cx, topics, &mut records))
        }
        Command::CreatePartitions { topics, validate_only } => {
            let out = plan_topics::add_partitions(cx, topics, *validate_only, &mut records);
            Reply::CreatePartitions(out)
        }
        Command::AlterConfigs { resources, replace, validate_only } => {
            let alter = |(kind, name, changes): &(_, String, Vec<_>)| {
                let planned = plan_configs::alter(cx, *kind, name, changes, *replace)?;
                if !validate_only {
                    records.extend(planned);
                }
                Ok(())
            };
            Reply::AlterConfigs(resources.iter().map(alter).collect())
        }
        Command::AlterClientQuotas { alterations, validate_only } => {
            let results = quotas::alter(cx.image, alterations, &mut records);
            if *validate_only {
                records.clear();
            }
            Reply::AlterClientQuotas(results)
        }
        Command::AllocateProducerIds { count } => {
            let first = cx.image.next_producer_id;
            match first.checked_add(*count).filter(|_| *count > 0) {
                Some(next) => {
                    let broker_id = cx.broker_id;
                    records.push(Record::ProducerIds { broker_id, broker_epoch: -1, next });
                    Reply::ProducerIds(Ok(first))
                }
                None => Reply::ProducerIds(Err(ControllerError::InvalidRequest(format!(
                    "{count} producer ids can't be allocated"
                )))),
            }
        }
    };
    (records, reply)
}

/// The reply when the records of a command could not be made durable: nothing that it promised holds.
pub fn storage_failed(reply: Reply, why: &str) -> Reply {
    fn fail<T>(
        results: Vec<Result<T, ControllerError>>,
        why: &str,
    ) -> Vec<Result<T, ControllerError>> {
        let fail_one =
            |r: Result<T, _>| r.and_then(|_| Err(ControllerError::Storage(why.to_string())));
        results.into_iter().map(fail_one).collect()
    }
    match reply {
        Reply::CreateTopics(r) => Reply::CreateTopics(fail(r, why)),
        Reply::DeleteTopics(r) => Reply::DeleteTopics(fail(r, why)),
        Reply::CreatePartitions(r) => Reply::CreatePartitions(fail(r, why)),
        Reply::AlterConfigs(r) => Reply::AlterConfigs(fail(r, why)),
        Reply::AlterClientQuotas(r) => {
            let (entities, r): (Vec<_>, Vec<_>) = r.into_iter().unzip();
            Reply::AlterClientQuotas(entities.into_iter().zip(fail(r, why)).collect())
        }
        Reply::ProducerIds(r) => {
            Reply::ProducerIds(r.and(Err(ControllerError::Storage(why.to_string()))))
        }
    }
}
