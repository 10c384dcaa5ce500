//! Text to value, by the rules of Kafka's ConfigDef: whitespace around a value does not count, numbers
//! must fit their type, then the key's range. Messages mean what Kafka's mean; clients show them.

use super::{ConfigDef, ConfigType, Range};

/// Err: "Invalid value X for configuration K: why".
pub fn check(def: &ConfigDef, key: &str, value: &str) -> Result<(), String> {
    why_not(def, key, value.trim())
        .map_or(Ok(()), |why| Err(format!("Invalid value {value} for configuration {key}: {why}")))
}

/// What values `def` takes, in words.
pub fn allowed(def: &ConfigDef) -> String {
    match (def.range, def.kind) {
        (Range::Min(min), _) => match type_max(def.kind) {
            Some(max) => format!("{min} to {max}"),
            None => format!("at least {min}"),
        },
        (Range::Int(min, max), _) => format!("{min} to {max}"),
        (Range::IntOr(min, max, or), _) => format!("{min} to {max}, or {or}"),
        (Range::Real(min, max), _) if max < f64::MAX => format!("{min} to {max}"),
        (Range::Real(min, _), _) => format!("at least {min}"),
        (Range::OneOf(of) | Range::OneOfAnyCase(of), ConfigType::List) => {
            format!("a list of any of {}", of.join(", "))
        }
        (Range::OneOf(of) | Range::OneOfAnyCase(of), _) => of.join(", "),
        (Range::NonEmpty, _) => "anything but nothing".to_string(),
        (Range::Throttled, _) => "* or partition:broker,partition:broker,…".to_string(),
        (Range::Any, ConfigType::Boolean) => "true or false".to_string(),
        (Range::Any, ConfigType::Int) => format!("{} to {}", i32::MIN, i32::MAX),
        (Range::Any, ConfigType::Short) => format!("{} to {}", i16::MIN, i16::MAX),
        (Range::Any, ConfigType::Long) => format!("{} to {}", i64::MIN, i64::MAX),
        (Range::Any, ConfigType::Double) => "a number".to_string(),
        (Range::Any, _) => "text".to_string(),
    }
}

fn type_max(kind: ConfigType) -> Option<i64> {
    match kind {
        ConfigType::Int => Some(i32::MAX as i64),
        ConfigType::Short => Some(i16::MAX as i64),
        ConfigType::Long => Some(i64::MAX),
        _ => None,
    }
}

/// Whether two texts are the same value.
pub fn same(kind: ConfigType, a: &str, b: &str) -> bool {
    let (a, b) = (a.trim(), b.trim());
    match kind {
        ConfigType::Boolean => a.eq_ignore_ascii_case(b),
        ConfigType::Double => a == b || matches!((real(a), real(b)), (Some(x), Some(y)) if x == y),
        ConfigType::Int | ConfigType::Short | ConfigType::Long => {
            a == b || matches!((int(kind, a), int(kind, b)), (Some(x), Some(y)) if x == y)
        }
        ConfigType::List => list(a).eq(list(b)),
        _ => a == b,
    }
}

/// The items of a list, without the whitespace around them and without empty ones.
pub fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|s| !s.is_empty())
}

pub fn boolean(value: &str) -> Option<bool> {
    let value = value.trim();
    if value.eq_ignore_ascii_case("true") {
        Some(true)
    } else if value.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

pub fn int(kind: ConfigType, value: &str) -> Option<i64> {
    let n: i64 = value.trim().parse().ok()?;
    match kind {
        ConfigType::Int => i32::try_from(n).ok().map(i64::from),
        ConfigType::Short => i16::try_from(n).ok().map(i64::from),
        _ => Some(n),
    }
}

pub fn real(value: &str) -> Option<f64> {
    value.trim().parse::<f64>().ok().filter(|n| n.is_finite())
}

/// A value as DescribeConfigs shows it: trimmed, lists with bare commas.
pub fn shown(kind: ConfigType, value: &str) -> String {
    match kind {
        ConfigType::List => list(value).collect::<Vec<_>>().join(","),
        ConfigType::Boolean => value.trim().to_ascii_lowercase(),
        _ => value.trim().to_string(),
    }
}

fn why_not(def: &ConfigDef, key: &str, value: &str) -> Option<String> {
    let not_a_number = || Some(format!("Not a number of type {}", def.kind.name()));
    let at_least = |min: &dyn std::fmt::Display| Some(format!("Value must be at least {min}"));
    let at_most = |max: &dyn std::fmt::Display| Some(format!("Value must be no more than {max}"));
    match def.kind {
        ConfigType::Boolean => match boolean(value) {
            Some(_) => None,
            None => Some("Expected value to be either true or false".to_string()),
        },
        ConfigType::Int | ConfigType::Short | ConfigType::Long => {
            let Some(n) = int(def.kind, value) else { return not_a_number() };
            match def.range {
                Range::Min(min) | Range::Int(min, _) if n < min => at_least(&min),
                Range::Int(_, max) if n > max => at_most(&max),
                Range::IntOr(min, max, or) if n != or && !(min..=max).contains(&n) => {
                    Some(format!("Value must be between {min} and {max} or equal to {or}"))
                }
                _ => None,
            }
        }
        ConfigType::Double => {
            let Some(n) = real(value) else { return not_a_number() };
            match def.range {
                Range::Real(min, _) if n < min => at_least(&min),
                Range::Real(_, max) if n > max => at_most(&max),
                _ => None,
            }
        }
        ConfigType::List => match def.range {
            Range::OneOf(of) => {
                let stranger = list(value).any(|item| !of.contains(&item));
                stranger.then(|| format!("String must be one of: {}", of.join(", ")))
            }
            Range::NonEmpty if list(value).next().is_none() => {
                Some("Configuration must not be empty".to_string())
            }
            Range::Throttled if !throttled(value) => Some(format!(
                "{key} must be the literal '*' or a list of replicas in the following format: \
                 [partitionId]:[brokerId],[partitionId]:[brokerId],..."
            )),
            _ => None,
        },
        ConfigType::String | ConfigType::Class | ConfigType::Password => match def.range {
            Range::OneOf(of) if !of.contains(&value) => {
                Some(format!("String must be one of: {}", of.join(", ")))
            }
            Range::OneOfAnyCase(of) if !of.iter().any(|o| o.eq_ignore_ascii_case(value)) => {
                Some(format!("String must be one of (case insensitive): {}", of.join(", ")))
            }
            Range::NonEmpty if value.is_empty() => Some("String must be non-empty".to_string()),
            _ => None,
        },
    }
}

fn throttled(value: &str) -> bool {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    value == "*"
        || list(value).all(|pair| {
            pair.split_once(':').is_some_and(|(p, b)| digits(p.trim()) && digits(b.trim()))
        })
}
