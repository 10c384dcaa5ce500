//! What the log cleaner obeys (the log.cleaner.* keys that no topic key overrides). Pure values.

use super::definitions::value;
use super::definitions::{ConfigType, broker_key};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanerConfig {
    pub enabled: bool,
    pub backoff_ms: u64,
    /// The next three: of all shards together.
    pub dedupe_buffer_bytes: usize,
    pub io_buffer_bytes: usize,
    pub io_bytes_per_second: f64,
    pub load_factor: f64,
}

impl CleanerConfig {
    /// `lookup`: the value that a key was given, if it was.
    pub(super) fn from<'a>(lookup: impl Fn(&str) -> Option<&'a str>) -> CleanerConfig {
        let text = |key: &str| {
            let default = || broker_key(key).and_then(|def| def.default).unwrap_or("");
            lookup(key).unwrap_or_else(default)
        };
        // Values were checked when they were set.
        let int = |key: &str| value::int(ConfigType::Long, text(key)).unwrap_or(0).max(0) as u64;
        let real = |key: &str| value::real(text(key)).unwrap_or(0.0);
        CleanerConfig {
            enabled: value::boolean(text("log.cleaner.enable")).unwrap_or(true),
            backoff_ms: int("log.cleaner.backoff.ms"),
            dedupe_buffer_bytes: int("log.cleaner.dedupe.buffer.size") as usize,
            io_buffer_bytes: int("log.cleaner.io.buffer.size") as usize,
            io_bytes_per_second: real("log.cleaner.io.max.bytes.per.second"),
            load_factor: real("log.cleaner.io.buffer.load.factor"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_kafkas_and_values_are_taken() {
        let config = CleanerConfig::from(|_| None);
        assert_eq!(
            config,
            CleanerConfig {
                enabled: true,
                backoff_ms: 15_000,
                dedupe_buffer_bytes: 134_217_728,
                io_buffer_bytes: 524_288,
                io_bytes_per_second: f64::MAX,
                load_factor: 0.9,
            }
        );
        let set = CleanerConfig::from(|key| match key {
            "log.cleaner.enable" => Some("FALSE"),
            "log.cleaner.io.max.bytes.per.second" => Some(" 1e6 "),
            "log.cleaner.backoff.ms" => Some("5"),
            _ => None,
        });
        assert_eq!((set.enabled, set.backoff_ms), (false, 5));
        assert_eq!(set.io_bytes_per_second, 1e6);
    }
}
