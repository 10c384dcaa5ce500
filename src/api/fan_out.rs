//! Requests that name partitions by topic and ask each partition's owner: a bounded number at once,
//! answers in the order of the request. Whether a partition exists is the router's to say.

use futures::stream::{self, StreamExt};

use crate::limits::REQUEST_PARTITIONS_IN_FLIGHT;

/// `ask` starts the answer to one partition; `row` puts a topic's answers together.
pub async fn by_topic<'a, T, P, Fut, Row>(
    topics: &'a [T],
    partitions: impl Fn(&'a T) -> &'a [P],
    mut ask: impl FnMut(&'a T, &'a P) -> Fut,
    row: impl Fn(&'a T, Vec<Fut::Output>) -> Row,
) -> Vec<Row>
where
    P: 'a,
    Fut: Future,
{
    let mut asks = Vec::new();
    for topic in topics {
        asks.extend(partitions(topic).iter().map(|partition| ask(topic, partition)));
    }
    let answers: Vec<Fut::Output> =
        stream::iter(asks).buffered(REQUEST_PARTITIONS_IN_FLIGHT).collect().await;
    let mut answers = answers.into_iter();
    topics
        .iter()
        .map(|topic| row(topic, answers.by_ref().take(partitions(topic).len()).collect()))
        .collect()
}
