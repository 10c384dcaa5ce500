//! The `shard.*` keys: how many shards, on which CPUs. Whether the machine has those CPUs is for start-up
//! to say.

use super::definitions::shard_of_cpu_key;
use super::definitions::value::list;
use super::properties::Settings;
use crate::error::StartError;

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
    let own: Vec<(String, usize)> = settings
        .iter()
        .filter_map(|(key, _)| Some((key.clone(), shard_of_cpu_key(key)?)))
        .collect();
    for (key, shard) in own {
        if shard >= count {
            let why = match count {
                0 => "set shard.count first".to_string(),
                _ => format!("shard.count is {count}, so shards go from 0 to {}", count - 1),
            };
            return Err(settings.error(&key, why));
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
