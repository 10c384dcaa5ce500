//! Lag per partition, the rates of consumer and producers, and from them the time to catch up. Rates come from two
//! looks, `interval` apart. A consumer commits from time to time only, so no commit in between means that
//! its rate is not known, not that it stands still.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::super::offsets::{Tp, Which};
use super::super::{Result, Session};
use super::{Committed, Group};
use crate::runtime::{now, sleep};

#[derive(Clone, Debug, Serialize)]
pub struct PartitionLag {
    pub topic: String,
    pub partition: i32,
    /// `null`: nothing committed.
    pub current_offset: Option<i64>,
    /// `null`: the partition is gone or has no leader.
    pub log_end_offset: Option<i64>,
    pub lag: Option<i64>,
    /// Records a second that the group committed, and that were produced; `null` without two looks.
    pub consumed_rate: Option<f64>,
    pub produced_rate: Option<f64>,
    pub catch_up: Option<CatchUp>,
    pub consumer_id: Option<String>,
    pub host: Option<String>,
    pub client_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// No lag.
    CaughtUp,
    Seconds(f64),
    /// Producers are at least as fast.
    Never,
    /// There is lag, and no commit was seen between the two looks.
    NoCommitSeen,
    /// There is lag, and no member has the partition.
    NoConsumer,
}

#[derive(Clone, Copy)]
struct Look {
    committed: i64,
    end: i64,
}

fn catch_up(first: Look, second: Look, seconds: f64) -> (f64, f64, CatchUp) {
    let consumed = (second.committed - first.committed) as f64 / seconds;
    let produced = (second.end - first.end).max(0) as f64 / seconds;
    let lag = second.end - second.committed;
    let when = if lag <= 0 {
        CatchUp::CaughtUp
    } else if second.committed == first.committed {
        CatchUp::NoCommitSeen
    } else if consumed <= produced {
        CatchUp::Never
    } else {
        CatchUp::Seconds(lag as f64 / (consumed - produced))
    };
    (consumed, produced, when)
}

impl Session {
    /// Each partition that `group` has committed or a member owns. An `interval` of zero: one look, no rates.
    pub async fn lag(&self, group: &Group, interval: Duration) -> Result<Vec<PartitionLag>> {
        let owners = group.owners();
        let look = async || -> Result<(BTreeMap<Tp, Committed>, BTreeMap<Tp, i64>)> {
            let committed = self.committed(&group.group).await?;
            let mut of: Vec<Tp> = committed.keys().cloned().collect();
            of.extend(
                owners.keys().filter(|tp| !committed.contains_key(**tp)).map(|tp| (*tp).clone()),
            );
            let ends = self.offsets(&of, Which::Latest).await?;
            Ok((committed, ends))
        };
        let began = now();
        let first = look().await?;
        let mut second = None;
        if !interval.is_zero() {
            sleep(interval.saturating_sub(now().saturating_since(began))).await;
            let at = now();
            second = Some((look().await?, at.saturating_since(began).as_secs_f64()));
        }
        let latest = second.as_ref().map_or(&first, |(look, _)| look);
        let mut of: Vec<&Tp> = latest.0.keys().chain(owners.keys().copied()).collect();
        of.sort();
        of.dedup();
        let lags = of.into_iter().map(|tp| {
            let current_offset = latest.0.get(tp).map(|c| c.offset);
            let log_end_offset = latest.1.get(tp).copied();
            let at = |(committed, ends): &(BTreeMap<Tp, Committed>, BTreeMap<Tp, i64>)| {
                Some(Look { committed: committed.get(tp)?.offset, end: *ends.get(tp)? })
            };
            let rates = second
                .as_ref()
                .and_then(|(second, seconds)| Some(catch_up(at(&first)?, at(second)?, *seconds)));
            let owner = owners.get(tp);
            let alone = |when| match when {
                CatchUp::NoCommitSeen if owner.is_none() => CatchUp::NoConsumer,
                when => when,
            };
            PartitionLag {
                topic: tp.0.clone(),
                partition: tp.1,
                current_offset,
                log_end_offset,
                lag: current_offset.zip(log_end_offset).map(|(c, e)| (e - c).max(0)),
                consumed_rate: rates.map(|r| r.0),
                produced_rate: rates.map(|r| r.1),
                catch_up: rates.map(|r| alone(r.2)),
                consumer_id: owner.map(|m| m.member_id.clone()),
                host: owner.map(|m| m.host.clone()),
                client_id: owner.map(|m| m.client_id.clone()),
            }
        });
        Ok(lags.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_the_lag_is_gone() {
        let look = |committed, end| Look { committed, end };
        let when = |a, b| catch_up(a, b, 2.0).2;
        assert_eq!(when(look(10, 10), look(20, 20)), CatchUp::CaughtUp);
        assert_eq!(when(look(10, 100), look(10, 120)), CatchUp::NoCommitSeen);
        assert_eq!(when(look(10, 100), look(20, 120)), CatchUp::Never);
        // 20/s consumed, 5/s produced, 60 behind.
        assert_eq!(when(look(10, 100), look(50, 110)), CatchUp::Seconds(4.0));
        let (consumed, produced, _) = catch_up(look(10, 100), look(50, 110), 2.0);
        assert_eq!((consumed, produced), (20.0, 5.0));
    }
}
