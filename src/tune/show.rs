//! The findings for people and for programs.

use std::fmt::Write;

use super::{Finding, State};

/// One line a finding, and under those to mend what it costs and the command.
pub fn table(findings: &[Finding]) -> String {
    let names = findings.iter().map(|f| f.name.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for f in findings {
        let word = match f.state {
            State::Well => "ok",
            State::Mend => "MEND",
            State::Unknown => "?",
        };
        let _ = writeln!(out, "{word:<5} {:<names$}  {}", f.name, f.is);
        if f.state == State::Mend {
            let _ = writeln!(out, "      {:<names$}  should be {}", "", f.should_be);
            let _ = writeln!(out, "      {:<names$}  costs: {}", "", f.costs);
            let _ = writeln!(out, "      {:<names$}  mend:  {}", "", f.mend);
        }
    }
    let to_mend = findings.iter().filter(|f| f.state == State::Mend).count();
    let _ = match to_mend {
        0 => writeln!(out, "nothing to mend"),
        n => writeln!(out, "{n} to mend"),
    };
    out
}

pub fn json(findings: &[Finding]) -> String {
    serde_json::to_string_pretty(findings).unwrap_or_else(|e| format!("{{\"error\":\"{e}\"}}"))
}
