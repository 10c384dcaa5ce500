//! A report file back into memory. A file is somebody's: too large, cut off, of another format or no
//! report at all are sentences, never panics.

use std::io::Read as _;
use std::path::Path;

use serde_json::Value;
use serde_json::error::Category;

use crate::loadgen::report::{FORMAT, Report};

/// A day of ticks with 64 shards is under half of it.
const REPORT_BYTES_MAX: u64 = 1 << 30;

impl Report {
    /// What `--json` wrote.
    pub fn read(path: impl AsRef<Path>) -> Result<Report, String> {
        let path = path.as_ref();
        let name = path.display();
        let cannot = |e: std::io::Error| format!("{name} can't be read: {e}");
        let file = std::fs::File::open(path).map_err(cannot)?;
        let mut bytes = Vec::new();
        file.take(REPORT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
        if bytes.len() as u64 > REPORT_BYTES_MAX {
            return Err(format!("{name} is larger than any report (over 1 GiB)"));
        }
        parse(&bytes).map_err(|why| format!("{name} {why}"))
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Report, String> {
    const NO_REPORT: &str = "is not a report: give a file that `spindle bench --json` wrote";
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err("is empty: the run that should have written it did not come to its end".into());
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|e| match e.classify() {
        Category::Eof if bytes.trim_ascii_start().starts_with(b"{") => format!(
            "ends in the middle (line {}): it was cut off while it was written or copied; run the benchmark again",
            e.line()
        ),
        _ => format!("{NO_REPORT} (no JSON: {e})"),
    })?;
    // Of Spindle's reports, and hardly of another file.
    let ours = value.get("configuration").is_some() && value.get("measured").is_some();
    let Some(format) = value.get("format").and_then(Value::as_u64).filter(|_| ours) else {
        return Err(NO_REPORT.to_string());
    };
    if format != u64::from(FORMAT) {
        let older = match format < u64::from(FORMAT) {
            true => "run the benchmark again with this one",
            false => "read it with the spindle that wrote it, or a newer one",
        };
        return Err(format!(
            "is a report of format {format}, and this version of Spindle reads format {FORMAT}: {older}"
        ));
    }
    serde_json::from_value(value).map_err(|e| {
        format!("says it is a report of format {FORMAT}, but does not hold together: {e}")
    })
}
