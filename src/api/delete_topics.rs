//! DeleteTopics (20), v1-v6. v5 added messages, v6 asks by name or by id (KIP-516), so that one topic
//! can be named in two ways: both spellings of one topic are refused, as in Kafka.

use std::collections::{HashMap, HashSet};

use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use super::error_map::ApiError;
use crate::controller::{Command, Image, Reply, TopicRef};
use crate::shard::Router;
use crate::types::TopicId;
use crate::wire::error_code;

/// A topic as the client gave it: a name, an id, or (wrongly) both or neither.
type Given = (Option<TopicName>, TopicId);

pub async fn handle(
    cx: &RequestContext,
    router: &Router,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let names = request.topic_names.into_iter().map(|name| (Some(name), TopicId::nil()));
    let states = request.topics.into_iter().map(|topic| (topic.name, topic.topic_id));
    let given: Vec<Given> = names.chain(states).collect();

    if !router.config().delete_topic_enable {
        // v0-v2 clients don't know the newer code.
        let code = match cx.api_version {
            ..3 => error_code::INVALID_REQUEST,
            _ => error_code::TOPIC_DELETION_DISABLED,
        };
        let error = ApiError::new(code, "Topic deletion is disabled.");
        return respond(given.into_iter().map(|topic| error_row(topic, &error)).collect());
    }

    let (accepted, mut rows) = check(&router.image(), given);
    if accepted.is_empty() {
        return respond(rows);
    }
    let topics = accepted
        .iter()
        .map(|(name, id)| match name {
            Some(name) => TopicRef::Name(name.to_string()),
            None => TopicRef::Id(*id),
        })
        .collect();
    match router.controller(Command::DeleteTopics { topics }).await {
        Ok(Reply::DeleteTopics(results)) => {
            for (topic, result) in accepted.into_iter().zip(results) {
                rows.push(match result {
                    Ok((name, id)) => DeletableTopicResult::default()
                        .with_name(Some(StrBytes::from_string(name).into()))
                        .with_topic_id(id)
                        .with_error_message(None),
                    Err(error) => error_row(topic, &error.into()),
                });
            }
        }
        Ok(other) => unreachable!("DeleteTopics was answered with {other:?}"),
        Err(error) => {
            let error = error.into();
            rows.extend(accepted.into_iter().map(|topic| error_row(topic, &error)));
        }
    }
    respond(rows)
}

/// The topics to delete, each once, and an answer for each that the request itself rules out.
fn check(image: &Image, given: Vec<Given>) -> (Vec<Given>, Vec<DeletableTopicResult>) {
    let mut times: HashMap<Given, usize> = HashMap::new();
    for topic in &given {
        *times.entry(topic.clone()).or_default() += 1;
    }
    let ids: HashSet<TopicId> =
        given.iter().filter(|(name, _)| name.is_none()).map(|(_, id)| *id).collect();
    let named_too: HashSet<TopicId> = given
        .iter()
        .filter_map(|(name, _)| Some(image.topic(name.as_ref()?)?.id))
        .filter(|id| ids.contains(id))
        .collect();

    let mut accepted = Vec::new();
    let mut rows = Vec::new();
    let mut seen = HashSet::new();
    for topic in given {
        let wrong = match &topic {
            (None, id) if id.is_nil() => Some("Neither a topic name nor an id was given."),
            (Some(_), id) if !id.is_nil() => Some("Both a topic name and an id were given."),
            _ if !seen.insert(topic.clone()) => continue,
            (Some(_), _) if times[&topic] > 1 => Some("Duplicate topic name."),
            (None, _) if times[&topic] > 1 => Some("Duplicate topic id."),
            (None, id) if named_too.contains(id) => continue,
            (Some(name), _) if image.topic(name).is_some_and(|t| named_too.contains(&t.id)) => {
                Some("The topic was given both by name and by id.")
            }
            _ => None,
        };
        match wrong {
            Some(message) => rows.push(error_row(topic, &ApiError::invalid_request(message))),
            None => accepted.push(topic),
        }
    }
    (accepted, rows)
}

fn error_row((name, id): Given, error: &ApiError) -> DeletableTopicResult {
    DeletableTopicResult::default()
        .with_name(name)
        .with_topic_id(id)
        .with_error_code(error.code)
        .with_error_message(error.text())
}

fn respond(rows: Vec<DeletableTopicResult>) -> DeleteTopicsResponse {
    DeleteTopicsResponse::default().with_responses(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::TopicImage;
    use std::sync::Arc;

    fn image(id: TopicId) -> Image {
        let mut image = Image::default();
        let name: Arc<str> = "t".into();
        let topic = TopicImage { name: name.clone(), id, partitions: Vec::new() };
        image.topics.insert(name.clone(), Arc::new(topic));
        image.topic_names.insert(id, name);
        image
    }

    fn name(text: &'static str) -> Given {
        (Some(StrBytes::from_static_str(text).into()), TopicId::nil())
    }

    #[test]
    fn each_topic_once_in_one_spelling() {
        let id = TopicId::from_u128(7);
        let image = image(id);
        let ok = |given: Vec<Given>| {
            let (accepted, rows) = check(&image, given);
            assert!(rows.iter().all(|row| row.error_code == error_code::INVALID_REQUEST));
            (accepted.len(), rows.len())
        };
        assert_eq!(ok(vec![name("t"), name("u")]), (2, 0));
        assert_eq!(ok(vec![(None, id), (None, TopicId::from_u128(8))]), (2, 0));
        assert_eq!(ok(vec![name("t"), name("t"), name("t")]), (0, 1));
        assert_eq!(ok(vec![(None, id), (None, id)]), (0, 1));
        assert_eq!(ok(vec![name("t"), (None, id)]), (0, 1));
        assert_eq!(ok(vec![(None, TopicId::nil()), (name("u").0, id), name("u")]), (1, 2));
    }
}
