//! The `shard.*` keys: how many shards, on which CPUs, and what each of them gets. Whether the machine has
//! those CPUs is for start-up to say.

use std::collections::BTreeMap;

use super::definitions::shard_key;
use super::definitions::value::list;
use super::properties::Settings;
use crate::error::StartError;
use crate::types::ShardId;

/// What one shard gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardConfig {
    /// Log tails and requests.
    pub memory_bytes: usize,
    /// How long it spins before it parks when idle, µs.
    pub spin_us: u64,
    /// Partitions that are written and synced at a time.
    pub io_depth: usize,
    /// Of the partitions, against the others'; 0: none.
    pub shares: usize,
    /// What catch-up reads may take of the device, however slow writes are beside them.
    pub replay_bytes_per_s_min: u64,
}

/// All shards', and those that have something of their own.
#[derive(Clone, Debug)]
pub struct ShardConfigs {
    all: ShardConfig,
    own: BTreeMap<ShardId, ShardConfig>,
}

impl ShardConfigs {
    pub fn read(settings: &Settings, count: usize) -> Result<ShardConfigs, StartError> {
        let of = |settings: &Settings, key: &str| settings.number(key).max(0) as usize;
        let all = ShardConfig {
            memory_bytes: of(settings, "shard.memory.bytes"),
            spin_us: of(settings, "shard.spin.us") as u64,
            io_depth: of(settings, "shard.io.depth"),
            shares: 1,
            replay_bytes_per_s_min: of(settings, "shard.replay.bytes.per.second.min") as u64,
        };
        let mut configs = ShardConfigs { all, own: BTreeMap::new() };
        let mut shares = None;
        for (key, _) in settings.iter() {
            let Some((shard, def)) = shard_key(key) else { continue };
            let own = configs.own.entry(shard).or_insert(all);
            match def.name {
                "shard.N.memory.bytes" => own.memory_bytes = of(settings, key),
                "shard.N.spin.us" => own.spin_us = of(settings, key) as u64,
                "shard.N.io.depth" => own.io_depth = of(settings, key),
                "shard.N.replay.bytes.per.second.min" => {
                    own.replay_bytes_per_s_min = of(settings, key) as u64;
                }
                "shard.N.shares" => {
                    own.shares = of(settings, key);
                    shares = Some(key.clone());
                }
                _ => {}
            }
        }
        if let Some(key) = shares
            && (0..count).all(|shard| configs.of(shard).shares == 0)
        {
            return Err(settings.error(&key, "no shard would have any partition"));
        }
        Ok(configs)
    }

    pub fn of(&self, shard: ShardId) -> ShardConfig {
        self.own.get(&shard).copied().unwrap_or(self.all)
    }

    /// The shards in the order in which the partitions of a topic go round them: each once when all
    /// have the same share, else as often as its share says, as evenly as can be.
    pub fn round(&self, count: usize) -> Vec<ShardId> {
        let shares: Vec<i64> = (0..count).map(|shard| self.of(shard).shares as i64).collect();
        let divisor = shares.iter().fold(0, |a, b| gcd(a, *b)).max(1);
        let shares: Vec<i64> = shares.iter().map(|s| s / divisor).collect();
        let total: i64 = shares.iter().sum();
        // Each turn all gain their share, and the richest pays for the turn.
        let mut purse = vec![0; count];
        let mut round = Vec::with_capacity(total.max(1) as usize);
        for _ in 0..total {
            purse.iter_mut().zip(&shares).for_each(|(p, s)| *p += s);
            let richest = (0..count).max_by_key(|shard| (purse[*shard], count - shard));
            let Some(richest) = richest else { break };
            purse[richest] -= total;
            round.push(richest);
        }
        if round.is_empty() { (0..count.max(1)).collect() } else { round }
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// (count, CPUs in shard order); count 0 is one a CPU, no CPUs is 0, 1, 2 and so on.
pub fn layout(settings: &mut Settings) -> Result<(usize, Vec<usize>), StartError> {
    let mut count = settings.number("shard.count") as usize;
    let mut cpus = Vec::new();
    for item in list(settings.text("shard.cpus").unwrap_or("")) {
        let bounds = match item.split_once('-') {
            Some((first, last)) => first.parse().ok().zip(last.parse().ok()),
            None => item.parse().ok().map(|cpu: usize| (cpu, cpu)),
        };
        match bounds {
            Some((first, last)) if first <= last && last < 1024 => cpus.extend(first..=last),
            _ => {
                let why = format!("{item} is not a CPU from 0 to 1023 or a range of them");
                return Err(settings.error("shard.cpus", why));
            }
        }
    }
    if !cpus.is_empty() && count == 0 {
        count = cpus.len();
    }
    if !cpus.is_empty() && cpus.len() != count {
        let why = format!("{} CPUs for the {count} shards of shard.count", cpus.len());
        return Err(settings.error("shard.cpus", why));
    }
    let own: Vec<(String, usize, bool)> = settings
        .iter()
        .filter_map(|(key, _)| {
            let (shard, def) = shard_key(key)?;
            Some((key.clone(), shard, def.name == "shard.N.cpu"))
        })
        .collect();
    for (key, shard, is_cpu) in own {
        if shard >= count {
            let why = match count {
                0 => "set shard.count first".to_string(),
                _ => format!("shard.count is {count}, so shards go from 0 to {}", count - 1),
            };
            return Err(settings.error(&key, why));
        }
        if !is_cpu {
            continue;
        }
        if cpus.is_empty() {
            cpus = (0..count).collect();
        }
        cpus[shard] = settings.number(&key) as usize;
    }
    let mut seen = cpus.clone();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() < cpus.len() {
        settings
            .warnings
            .push("some shards share a CPU: they will wait for each other".to_string());
    }
    Ok((count, cpus))
}

#[cfg(test)]
mod tests {
    use crate::config::BrokerConfig;

    fn load(text: &str) -> Result<BrokerConfig, String> {
        BrokerConfig::load(Some(("s.properties", text)), &[]).map_err(|e| e.to_string())
    }

    #[test]
    fn a_shard_may_have_its_own_of_everything() {
        let text = "shard.count=3\nshard.memory.bytes=33554432\nshard.spin.us=7\n\
            shard.1.memory.bytes=67108864\nshard.1.spin.us=0\nshard.2.io.depth=9\nshard.0.shares=2\n";
        let config = load(text).unwrap();
        let found: Vec<_> = (0..3)
            .map(|n| config.shards.of(n))
            .map(|s| (s.memory_bytes >> 20, s.spin_us, s.io_depth, s.shares))
            .collect();
        assert_eq!(found, [(32, 7, 512, 2), (64, 0, 512, 1), (32, 7, 9, 1)]);
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }

    #[test]
    fn what_is_wrong_is_said_with_key_value_range_file_and_line() {
        for (text, wanted) in [
            (
                "\nshard.0.io.depth=0\n",
                "s.properties:2: shard.0.io.depth=0: Value must be at least 1 (allowed: 1 to 4096)",
            ),
            (
                "shard.count=2\nshard.0.spin.us=x\n",
                "s.properties:2: shard.0.spin.us=x: Not a number of type INT (allowed: 0 to 1000000)",
            ),
            (
                "shard.count=2\nshard.2.memory.bytes=16777216\n",
                "s.properties:2: shard.2.memory.bytes=16777216: shard.count is 2, so shards go from 0 to 1",
            ),
            ("shard.3.shares=5\n", "s.properties:1: shard.3.shares=5: set shard.count first"),
            (
                "shard.count=1\nshard.0.shares=0\n",
                "s.properties:2: shard.0.shares=0: no shard would have any partition",
            ),
            ("shard.N.cpu=1\n", "s.properties:1: unknown key shard.N.cpu"),
        ] {
            let why = load(text).unwrap_err();
            assert!(why.contains(wanted), "{why}\n{wanted}");
        }
    }

    #[test]
    fn partitions_go_round_by_shares() {
        let round = |text: &str, count| load(text).unwrap().shards.round(count);
        assert_eq!(round("shard.count=3\n", 3), [0, 1, 2]);
        let same = "shard.count=2\nshard.0.shares=7\nshard.1.shares=7\n";
        assert_eq!(round(same, 2), [0, 1], "as without them");
        let none = "shard.count=3\nshard.0.shares=0\n";
        assert_eq!(round(none, 3), [1, 2]);
        let more = round("shard.count=2\nshard.1.shares=3\n", 2);
        assert_eq!(more.len(), 4);
        assert_eq!(more.iter().filter(|s| **s == 1).count(), 3);
    }
}
