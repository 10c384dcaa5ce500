//! Times as people write and read them on the command line: ISO 8601 instants, ISO 8601 and short durations.

use std::time::{Duration, UNIX_EPOCH};

/// `2026-11-21T10:00:00.000Z`.
pub(super) fn utc(unix_ms: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(unix_ms)).to_string()
}

/// `YYYY-MM-DDTHH:mm:SS[.sss][Z]`, in UTC, as kafka-consumer-groups.sh takes it; Unix ms.
pub(super) fn parse_instant(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text}: a time like 2026-11-21T10:00:00.000Z (UTC) is wanted");
    let zoned = if text.ends_with('Z') { text.to_string() } else { format!("{text}Z") };
    let at = humantime::parse_rfc3339(&zoned).map_err(|_| wrong())?;
    let since = at.duration_since(UNIX_EPOCH).map_err(|_| wrong())?;
    i64::try_from(since.as_millis()).map_err(|_| wrong())
}

/// `PnDTnHnMnS` as in Java, or `90m`, `2h 30m`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text}: a duration like PT2H30M or 2h30m is wanted");
    let Some(iso) = text.strip_prefix('P') else {
        return humantime::parse_duration(text).map_err(|_| wrong());
    };
    let (mut total, mut digits, mut time) = (Duration::ZERO, String::new(), false);
    for c in iso.chars() {
        let unit = match c {
            'T' if !time && digits.is_empty() => {
                time = true;
                continue;
            }
            '0'..='9' | '.' => {
                digits.push(c);
                continue;
            }
            'D' if !time => 86_400.0,
            'H' if time => 3_600.0,
            'M' if time => 60.0,
            'S' if time => 1.0,
            _ => return Err(wrong()),
        };
        let count: f64 = digits.parse().map_err(|_| wrong())?;
        total += Duration::try_from_secs_f64(count * unit).map_err(|_| wrong())?;
        digits.clear();
    }
    if !digits.is_empty() || iso.is_empty() {
        return Err(wrong());
    }
    Ok(total)
}

/// `1.5 s`, `3 min`, `2.1 h`.
pub(super) fn human(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants() {
        assert_eq!(parse_instant("1970-01-01T00:00:01.500Z"), Ok(1500));
        assert_eq!(parse_instant("1970-01-01T00:00:01"), Ok(1000));
        assert!(parse_instant("yesterday").is_err());
        assert_eq!(utc(1500), "1970-01-01T00:00:01.500Z");
    }

    #[test]
    fn durations() {
        let seconds = |t: &str| parse_duration(t).map(|d| d.as_secs_f64());
        assert_eq!(seconds("P1D"), Ok(86_400.0));
        assert_eq!(seconds("PT2H30M"), Ok(9_000.0));
        assert_eq!(seconds("PT0.5S"), Ok(0.5));
        assert_eq!(seconds("90m"), Ok(5_400.0));
        for wrong in ["P", "PT5", "P5H", "PT5D", "soon"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(human(4.0), "4.0 s");
        assert_eq!(human(600.0), "10 min");
    }
}
