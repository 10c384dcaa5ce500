//! The laws that a workload is made by, as the command line and scenario files write them: sizes, keys,
//! payloads, arrivals, phases. `FromStr` reads what `Display` writes; a wrong one is a sentence. Pure.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::super::stamp::STAMP_BYTES;

/// Bytes of a record's value.
#[derive(Clone, Debug, PartialEq)]
pub enum SizeLaw {
    /// `1024`
    Fixed(usize),
    /// `uniform:100-2000`, both ends included
    Uniform { min: usize, max: usize },
    /// `histogram:100=50,1000=30,10000=20`: bytes = weight
    Histogram(Vec<(usize, f64)>),
    /// `file`: as long as the payload file's lines are, with the stamp before them
    File,
}

/// Keys, and with them the partition: a record with a key goes where Kafka's default partitioner
/// (murmur2) would put it.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyLaw {
    /// `none`: batches go round the partitions
    None,
    /// `uniform:COUNT`
    Uniform { count: u64 },
    /// `zipf:COUNT` or `zipf:COUNT:EXPONENT` (default exponent 0.99, as YCSB has it)
    Zipf { count: u64, exponent: f64 },
}

/// What follows the stamp in a value.
#[derive(Clone, Debug, PartialEq)]
pub enum PayloadSource {
    /// `entropy:BITS`: pseudo-random bytes with so many bits of entropy in each (0 to 8)
    Entropy(f64),
    /// `file:PATH`: real records, one a line, used in turn. With `--record-size file` a record is the stamp and
    /// one line; under any other size law it is the stamp and that many bytes of the file from the
    /// beginning of a line on (the file is taken to go round).
    File(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrivalLaw {
    /// `fixed`: evenly spaced
    Fixed,
    /// `poisson`: independent arrivals, as many users make them
    Poisson,
}

/// Records a second over a phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// `full`: closed loop
    Full,
    /// `5000`, or `1000..5000` for a straight line from one to the other (one of them may be 0)
    Line { from: f64, to: f64 },
}

/// `name=spike,duration=5,rate=20000` and optionally `measure=no`.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseSpec {
    pub name: String,
    pub duration: Duration,
    pub rate: Rate,
    pub measured: bool,
}

/// `p99<10ms`: the highest rate that keeps this percentile of the ack latency (`e2e-p99<10ms`: of the end-to-end
/// latency) under the bound is searched for.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyBound {
    pub end_to_end: bool,
    /// 0.5, 0.99, 0.999 …
    pub quantile: f64,
    pub bound: Duration,
}

fn number<T: FromStr>(what: &str, text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{what}: {text:?} is no number"))
}

fn two<'a>(what: &str, text: &'a str, by: &str) -> Result<(&'a str, &'a str), String> {
    text.split_once(by).ok_or_else(|| format!("{what}: {text:?} has no {by:?}"))
}

impl FromStr for SizeLaw {
    type Err = String;

    fn from_str(text: &str) -> Result<SizeLaw, String> {
        match text.split_once(':') {
            None if text == "file" => Ok(SizeLaw::File),
            None => Ok(SizeLaw::Fixed(number("a size", text)?)),
            Some(("uniform", range)) => {
                let (min, max) = two("uniform", range, "-")?;
                let (min, max) = (number("uniform", min)?, number("uniform", max)?);
                if min > max {
                    return Err(format!("uniform: {min} is more than {max}"));
                }
                Ok(SizeLaw::Uniform { min, max })
            }
            Some(("histogram", rows)) => {
                let mut bars = Vec::new();
                for row in rows.split(',') {
                    let (bytes, weight) = two("histogram", row, "=")?;
                    let weight: f64 = number("histogram", weight)?;
                    if !(weight > 0.0 && weight.is_finite()) {
                        return Err(format!("histogram: weight {weight} is not above 0"));
                    }
                    bars.push((number("histogram", bytes)?, weight));
                }
                Ok(SizeLaw::Histogram(bars))
            }
            Some((other, _)) => Err(format!(
                "{other}: a size is BYTES, uniform:MIN-MAX, histogram:BYTES=WEIGHT,… or file"
            )),
        }
    }
}

impl fmt::Display for SizeLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SizeLaw::Fixed(bytes) => write!(f, "{bytes}"),
            SizeLaw::Uniform { min, max } => write!(f, "uniform:{min}-{max}"),
            SizeLaw::Histogram(bars) => {
                let bars: Vec<String> = bars.iter().map(|(b, w)| format!("{b}={w}")).collect();
                write!(f, "histogram:{}", bars.join(","))
            }
            SizeLaw::File => write!(f, "file"),
        }
    }
}

impl SizeLaw {
    /// Of `file` only the file knows; the stamp is always there.
    pub fn min(&self) -> usize {
        match self {
            SizeLaw::Fixed(bytes) => *bytes,
            SizeLaw::Uniform { min, .. } => *min,
            SizeLaw::Histogram(bars) => bars.iter().map(|b| b.0).min().unwrap_or(0),
            SizeLaw::File => STAMP_BYTES,
        }
    }

    pub fn max(&self) -> usize {
        match self {
            SizeLaw::Fixed(bytes) => *bytes,
            SizeLaw::Uniform { max, .. } => *max,
            SizeLaw::Histogram(bars) => bars.iter().map(|b| b.0).max().unwrap_or(0),
            SizeLaw::File => STAMP_BYTES,
        }
    }
}

impl FromStr for KeyLaw {
    type Err = String;

    fn from_str(text: &str) -> Result<KeyLaw, String> {
        let law = match text.split_once(':') {
            None if text == "none" => return Ok(KeyLaw::None),
            Some(("uniform", count)) => KeyLaw::Uniform { count: number("uniform", count)? },
            Some(("zipf", rest)) => match rest.split_once(':') {
                None => KeyLaw::Zipf { count: number("zipf", rest)?, exponent: 0.99 },
                Some((count, exponent)) => KeyLaw::Zipf {
                    count: number("zipf", count)?,
                    exponent: number("zipf", exponent)?,
                },
            },
            _ => {
                return Err(format!(
                    "{text}: keys are none, uniform:COUNT or zipf:COUNT[:EXPONENT]"
                ));
            }
        };
        match law {
            KeyLaw::Uniform { count: 0 } | KeyLaw::Zipf { count: 0, .. } => {
                Err(format!("{text}: there must be at least one key"))
            }
            KeyLaw::Zipf { exponent, .. } if !(exponent > 0.0 && exponent <= 10.0) => {
                Err(format!("{text}: the exponent is above 0 and at most 10"))
            }
            law => Ok(law),
        }
    }
}

impl fmt::Display for KeyLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyLaw::None => write!(f, "none"),
            KeyLaw::Uniform { count } => write!(f, "uniform:{count}"),
            KeyLaw::Zipf { count, exponent } => write!(f, "zipf:{count}:{exponent}"),
        }
    }
}

impl FromStr for PayloadSource {
    type Err = String;

    fn from_str(text: &str) -> Result<PayloadSource, String> {
        match text.split_once(':') {
            Some(("entropy", bits)) => match number("entropy", bits)? {
                bits if (0.0..=8.0).contains(&bits) => Ok(PayloadSource::Entropy(bits)),
                bits => Err(format!("entropy:{bits}: a byte has 0 to 8 bits")),
            },
            Some(("file", path)) if !path.is_empty() => Ok(PayloadSource::File(path.into())),
            _ => Err(format!("{text}: a payload is entropy:BITS or file:PATH")),
        }
    }
}

impl fmt::Display for PayloadSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PayloadSource::Entropy(bits) => write!(f, "entropy:{bits}"),
            PayloadSource::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl FromStr for ArrivalLaw {
    type Err = String;

    fn from_str(text: &str) -> Result<ArrivalLaw, String> {
        match text {
            "fixed" => Ok(ArrivalLaw::Fixed),
            "poisson" => Ok(ArrivalLaw::Poisson),
            _ => Err(format!("{text}: arrivals are fixed or poisson")),
        }
    }
}

impl fmt::Display for ArrivalLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ArrivalLaw::Fixed => "fixed",
            ArrivalLaw::Poisson => "poisson",
        })
    }
}

/// Beyond this no machine goes, and the arithmetic of arrivals stays exact.
const RATE_MAX: f64 = 1e9;

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let in_range = |rate: f64| match rate > 0.0 && rate <= RATE_MAX {
            true => Ok(rate),
            false => Err(format!("a rate of {rate} is not in 0 to {RATE_MAX} records a second")),
        };
        match text.split_once("..") {
            None if text == "full" || text == "0" => Ok(Rate::Full),
            None => {
                let rate = in_range(number("a rate", text)?)?;
                Ok(Rate::Line { from: rate, to: rate })
            }
            Some((from, to)) => {
                let (from, to) = (number("a rate", from)?, number("a rate", to)?);
                let end = |rate: f64| if rate == 0.0 { Ok(0.0) } else { in_range(rate) };
                in_range(f64::max(from, to))?;
                Ok(Rate::Line { from: end(from)?, to: end(to)? })
            }
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::Full => write!(f, "full"),
            Rate::Line { from, to } if from == to => write!(f, "{from}"),
            Rate::Line { from, to } => write!(f, "{from}..{to}"),
        }
    }
}

impl FromStr for PhaseSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<PhaseSpec, String> {
        let (mut name, mut duration, mut rate, mut measured) = (None, None, Rate::Full, true);
        for part in text.split(',') {
            match two("a phase", part, "=")? {
                ("name", value) => name = Some(value.trim().to_string()),
                ("duration", value) => {
                    let seconds: f64 = number("duration", value)?;
                    if !(seconds > 0.0 && seconds <= 1e6) {
                        return Err(format!("a phase of {seconds} s: 0 to 1000000 s"));
                    }
                    duration = Some(Duration::from_secs_f64(seconds));
                }
                ("rate", value) => rate = value.parse()?,
                ("measure", "yes" | "true") => measured = true,
                ("measure", "no" | "false") => measured = false,
                ("measure", other) => return Err(format!("measure={other}: yes or no")),
                (key, _) => {
                    return Err(format!("a phase has name, duration, rate and measure, not {key}"));
                }
            }
        }
        let name = name.filter(|n| !n.is_empty()).ok_or("a phase needs name=…")?;
        let duration = duration.ok_or("a phase needs duration=SECONDS")?;
        Ok(PhaseSpec { name, duration, rate, measured })
    }
}

impl fmt::Display for PhaseSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.duration.as_secs_f64();
        write!(f, "name={},duration={seconds},rate={}", self.name, self.rate)?;
        if self.measured { Ok(()) } else { write!(f, ",measure=no") }
    }
}

impl FromStr for LatencyBound {
    type Err = String;

    fn from_str(text: &str) -> Result<LatencyBound, String> {
        let wrong =
            || format!("{text}: a bound is [e2e-]p50|p90|p99|p99.9|p99.99 < TIME (us, ms, s)");
        let (what, bound) = text.split_once('<').ok_or_else(wrong)?;
        let (end_to_end, percentile) = match what.trim().strip_prefix("e2e-") {
            Some(rest) => (true, rest),
            None => (false, what.trim()),
        };
        let quantile = match percentile {
            "p50" => 0.5,
            "p90" => 0.9,
            "p99" => 0.99,
            "p99.9" => 0.999,
            "p99.99" => 0.9999,
            _ => return Err(wrong()),
        };
        let bound = bound.trim();
        let (digits, unit_s) = match bound {
            b if b.ends_with("us") => (&b[..b.len() - 2], 1e-6),
            b if b.ends_with("ms") => (&b[..b.len() - 2], 1e-3),
            b if b.ends_with('s') => (&b[..b.len() - 1], 1.0),
            _ => return Err(wrong()),
        };
        let seconds = number::<f64>("a bound", digits)? * unit_s;
        if !(seconds > 0.0 && seconds < 3600.0) {
            return Err(wrong());
        }
        Ok(LatencyBound { end_to_end, quantile, bound: Duration::from_secs_f64(seconds) })
    }
}

impl fmt::Display for LatencyBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metric = if self.end_to_end { "e2e-" } else { "" };
        let percent = format!("{}", (self.quantile * 1e4).round() / 1e2);
        write!(f, "{metric}p{percent}<{}us", self.bound.as_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survives<T: FromStr<Err = String> + fmt::Display + PartialEq + fmt::Debug>(texts: &[&str]) {
        for text in texts {
            let law: T = text.parse().unwrap();
            assert_eq!(law.to_string().parse::<T>().unwrap(), law, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        survives::<SizeLaw>(&["1024", "uniform:100-2000", "histogram:100=50,1000=30.5", "file"]);
        survives::<KeyLaw>(&["none", "uniform:10", "zipf:1000", "zipf:1000:1.2"]);
        survives::<PayloadSource>(&["entropy:6.5", "file:/tmp/a:b"]);
        survives::<ArrivalLaw>(&["fixed", "poisson"]);
        survives::<Rate>(&["full", "0", "5000", "1000..5000.5", "0..10", "10..0"]);
        survives::<PhaseSpec>(&["name=a,duration=5", "name=b,duration=0.5,rate=1..2,measure=no"]);
        survives::<LatencyBound>(&["p99<10ms", "e2e-p99.9<2.5ms", "p50 < 300us", "p99.99<1s"]);
    }

    #[test]
    fn wrong_laws_are_sentences() {
        for (wrong, part) in [
            ("uniform:9-1".parse::<SizeLaw>().unwrap_err(), "9 is more than 1"),
            ("histogram:1=0".parse::<SizeLaw>().unwrap_err(), "above 0"),
            ("normal:3".parse::<SizeLaw>().unwrap_err(), "uniform:MIN-MAX"),
            ("zipf:0".parse::<KeyLaw>().unwrap_err(), "at least one key"),
            ("zipf:5:0".parse::<KeyLaw>().unwrap_err(), "exponent"),
            ("entropy:9".parse::<PayloadSource>().unwrap_err(), "0 to 8"),
            ("bursts".parse::<ArrivalLaw>().unwrap_err(), "fixed or poisson"),
            ("-1".parse::<Rate>().unwrap_err(), "not in 0"),
            ("NaN".parse::<Rate>().unwrap_err(), "not in 0"),
            ("0..0".parse::<Rate>().unwrap_err(), "not in 0"),
            ("5..-1".parse::<Rate>().unwrap_err(), "not in 0"),
            ("NaN..5".parse::<Rate>().unwrap_err(), "not in 0"),
            ("name=a".parse::<PhaseSpec>().unwrap_err(), "duration=SECONDS"),
            ("name=a,length=3".parse::<PhaseSpec>().unwrap_err(), "not length"),
            ("p98<10ms".parse::<LatencyBound>().unwrap_err(), "p99.9"),
            ("p99<10".parse::<LatencyBound>().unwrap_err(), "TIME"),
        ] {
            assert!(wrong.contains(part), "{wrong}");
        }
    }
}
