//! Resetting a group's offsets, in every form of kafka-consumer-groups.sh: where each partition would go is worked
//! out first (`plan_reset`), then committed as no member, which the coordinator takes only from an empty group.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::offsets::{Tp, Which, parse_topic};
use super::super::{Failure, Result, Session};
use super::describe::GROUP_ID_NOT_FOUND;
use crate::client::ClientError;

#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Earliest,
    Latest,
    /// Where it is: what was committed, else the end.
    Current,
    Offset(i64),
    /// Forward, or back when negative.
    ShiftBy(i64),
    /// Unix ms.
    Time(i64),
    /// `topic,partition,offset` a line.
    File(BTreeMap<Tp, i64>),
}

pub enum Scope {
    /// All that the group has committed.
    AllTopics,
    /// `topic` or `topic:0,1`.
    Topics(Vec<String>),
}

#[derive(Clone, Debug, Serialize)]
pub struct Move {
    pub topic: String,
    pub partition: i32,
    /// `null`: nothing committed.
    pub from: Option<i64>,
    pub to: i64,
    /// The wanted offset lay outside of the log and was moved to its nearest end.
    pub clamped: bool,
}

impl Session {
    /// Partitions that `scope` names.
    pub async fn scope(&self, scope: &Scope, committed: &[Tp]) -> Result<Vec<Tp>> {
        let words = match scope {
            Scope::AllTopics => return Ok(committed.to_vec()),
            Scope::Topics(words) => words,
        };
        let mut of = Vec::new();
        for word in words {
            match parse_topic(word)? {
                (topic, Some(partitions)) => {
                    of.extend(partitions.into_iter().map(|p| (topic.clone(), p)));
                }
                (topic, None) => of.extend(self.partitions_of(&[topic]).await?),
            }
        }
        of.sort();
        of.dedup();
        Ok(of)
    }

    pub async fn plan_reset(
        &self,
        group: &str,
        scope: &Scope,
        target: &Target,
    ) -> Result<Vec<Move>> {
        let committed = self.committed(group).await?;
        let of = match (target, scope) {
            (Target::File(rows), _) => rows.keys().cloned().collect(),
            _ => self.scope(scope, &committed.keys().cloned().collect::<Vec<_>>()).await?,
        };
        if of.is_empty() {
            let why = format!("group {group} has committed nothing: name topics with --topic");
            return Err(Failure::Input(why));
        }
        let starts = self.offsets(&of, Which::Earliest).await?;
        let ends = self.offsets(&of, Which::Latest).await?;
        let timed = match target {
            Target::Time(ms) => self.offsets(&of, Which::At(*ms)).await?,
            _ => BTreeMap::new(),
        };
        let mut moves = Vec::with_capacity(of.len());
        for tp in of {
            let (Some(&start), Some(&end)) = (starts.get(&tp), ends.get(&tp)) else {
                let why = format!("{}-{} does not exist or has no leader", tp.0, tp.1);
                return Err(Failure::Input(why));
            };
            let from = committed.get(&tp).map(|c| c.offset);
            let wanted = match target {
                Target::Earliest => start,
                Target::Latest => end,
                Target::Current => from.unwrap_or(end),
                Target::Offset(offset) => *offset,
                Target::ShiftBy(by) => match from {
                    Some(from) => from.saturating_add(*by),
                    None => {
                        let why =
                            format!("{}-{} has no committed offset to shift from", tp.0, tp.1);
                        return Err(Failure::Input(why));
                    }
                },
                Target::Time(_) => timed.get(&tp).copied().unwrap_or(end),
                Target::File(rows) => rows[&tp],
            };
            let to = wanted.clamp(start, end);
            let clamped = to != wanted;
            moves.push(Move { topic: tp.0, partition: tp.1, from, to, clamped });
        }
        Ok(moves)
    }

    /// A group with members is refused before anything is sent: its members would commit over it.
    pub async fn reset(&self, group: &str, moves: &[Move]) -> Result<()> {
        let states = ["Empty", "Dead"];
        match self.describe_group(group).await {
            Ok(g) if !states.contains(&g.state.as_str()) => {
                return Err(Failure::Input(format!(
                    "group {group} is {} with {} members: stop them first, they would commit over it",
                    g.state,
                    g.members.len()
                )));
            }
            Ok(_) => {}
            Err(Failure::Client(ClientError::Broker { code: GROUP_ID_NOT_FOUND, .. })) => {}
            Err(e) => return Err(e),
        }
        let offsets = moves
            .iter()
            .map(|m| ((m.topic.clone(), m.partition), m.to))
            .collect::<BTreeMap<_, _>>();
        self.commit(group, &offsets).await
    }
}

/// The file of `--from-file`: `topic,partition,offset` lines, quotes allowed, as `--export` writes it.
pub fn parse_file(text: &str) -> Result<BTreeMap<Tp, i64>> {
    let mut rows = BTreeMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let wrong = || {
            let line_number = at + 1;
            Failure::Input(format!("line {line_number}: topic,partition,offset is wanted: {line}"))
        };
        let cells: Vec<&str> = line.split(',').map(|c| c.trim().trim_matches('"')).collect();
        let [topic, partition, offset] = cells[..] else { return Err(wrong()) };
        let partition = partition.parse().map_err(|_| wrong())?;
        let offset = offset.parse().map_err(|_| wrong())?;
        rows.insert((topic.to_string(), partition), offset);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_as_kafka_exports_them() {
        let rows = parse_file("\"t\",0,5\nu,1,6\n\n").unwrap();
        assert_eq!(rows[&("t".to_string(), 0)], 5);
        assert_eq!(rows[&("u".to_string(), 1)], 6);
        let e = parse_file("t,0,5\nt,x,6\n").unwrap_err().to_string();
        assert!(e.contains("line 2"), "{e}");
    }
}
