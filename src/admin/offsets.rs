//! Offsets of partitions, asked of their leaders: start, end, at a time. Not here: committed offsets (`groups`).

use std::collections::BTreeMap;

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, TopicName};

use super::{Failure, Result, Session, check, text};

/// (topic, partition).
pub type Tp = (String, i32);

/// Which offset of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Earliest,
    Latest,
    /// Of the first record at or after this time, Unix ms; the end when there is none.
    At(i64),
}

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

impl Session {
    /// All partitions of these topics.
    pub async fn partitions_of(&self, topics: &[String]) -> Result<Vec<Tp>> {
        let found = self.topics(topics).await?;
        let tps = |t: super::topics::Topic| {
            let name = t.name;
            t.partitions.into_iter().map(move |p| (name.clone(), p.partition))
        };
        Ok(found.into_iter().flat_map(tps).collect())
    }

    /// Of those that exist and have a leader; the rest are left out.
    pub async fn offsets(&self, of: &[Tp], which: Which) -> Result<BTreeMap<Tp, i64>> {
        let names: Vec<&str> = {
            let mut names: Vec<&str> = of.iter().map(|(t, _)| t.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            names
        };
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let cluster = self.metadata(Some(&names)).await?;
        let mut by_leader: BTreeMap<i32, BTreeMap<&str, Vec<i32>>> = BTreeMap::new();
        for topic in &cluster.topics {
            for p in topic.partitions.iter().filter(|p| p.leader >= 0) {
                if of.iter().any(|(t, i)| *t == topic.name && *i == p.index) {
                    let topics = by_leader.entry(p.leader).or_default();
                    topics.entry(&topic.name).or_default().push(p.index);
                }
            }
        }
        let mut offsets = BTreeMap::new();
        for (leader, topics) in by_leader {
            let Some(node) = cluster.brokers.iter().find(|b| b.id == leader) else { continue };
            let connection = self.node(node).await?;
            let timestamp = match which {
                Which::Earliest => EARLIEST,
                Which::Latest => LATEST,
                Which::At(ms) => ms,
            };
            let asked = topics.into_iter().map(|(topic, partitions)| {
                let partition = |i| {
                    ListOffsetsPartition::default()
                        .with_partition_index(i)
                        .with_current_leader_epoch(-1)
                        .with_timestamp(timestamp)
                };
                ListOffsetsTopic::default()
                    .with_name(TopicName(text(topic)))
                    .with_partitions(partitions.into_iter().map(partition).collect())
            });
            let request = ListOffsetsRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_topics(asked.collect());
            let (answer, _) = connection.call_latest(&request, self.limit).await?;
            for topic in answer.topics {
                for p in topic.partitions {
                    let tp = (topic.name.to_string(), p.partition_index);
                    check(|| format!("offset of {}-{}", tp.0, tp.1), p.error_code, None)?;
                    offsets.insert(tp, p.offset);
                }
            }
        }
        if let Which::At(_) = which {
            self.end_where_none(&mut offsets).await?;
        }
        Ok(offsets)
    }

    /// No record is that young: the end.
    async fn end_where_none(&self, offsets: &mut BTreeMap<Tp, i64>) -> Result<()> {
        let none: Vec<Tp> =
            offsets.iter().filter(|(_, o)| **o < 0).map(|(tp, _)| tp.clone()).collect();
        if none.is_empty() {
            return Ok(());
        }
        let ends = Box::pin(self.offsets(&none, Which::Latest)).await?;
        offsets.extend(ends);
        Ok(())
    }
}

/// `topic` or `topic:0,1,2`, as in kafka-consumer-groups.sh.
pub fn parse_topic(word: &str) -> Result<(String, Option<Vec<i32>>)> {
    let Some((topic, list)) = word.split_once(':') else {
        return Ok((word.to_string(), None));
    };
    let number = |p: &str| {
        p.trim().parse::<i32>().map_err(|_| {
            Failure::Input(format!("--topic {word}: {p} is no partition; TOPIC or TOPIC:0,1,2"))
        })
    };
    Ok((topic.to_string(), Some(list.split(',').map(number).collect::<Result<_>>()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_with_partitions() {
        assert_eq!(parse_topic("t").unwrap(), ("t".to_string(), None));
        assert_eq!(parse_topic("t:0,2").unwrap(), ("t".to_string(), Some(vec![0, 2])));
        assert!(parse_topic("t:x").unwrap_err().to_string().contains("x is no partition"));
    }
}
