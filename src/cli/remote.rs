//! What the commands that ask a cluster share: where it is, how long to wait, tables or JSON, exit codes
//! (0 done, 1 the cluster refused or can't be reached, 2 what was asked for can't be meant).

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::admin::table::Table;
use crate::admin::{Failure, Result, Session, with_session};

#[derive(Args, Clone)]
pub(super) struct Remote {
    /// Brokers to begin with: HOST:PORT[,HOST:PORT…]
    #[arg(
        short = 'b',
        long,
        visible_alias = "brokers",
        global = true,
        default_value = "localhost:9092",
        env = "SPINDLE_BOOTSTRAP_SERVER"
    )]
    bootstrap_server: String,
    /// For people or for programs
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Seconds that each answer may take
    #[arg(long, global = true, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

impl Remote {
    /// Runs `work` against the cluster; what it says is printed by `show`.
    pub fn run<T, W, F>(&self, work: W, show: impl FnOnce(&T) -> String) -> i32
    where
        T: Serialize + Send + 'static,
        W: FnOnce(Session) -> F + Send + 'static,
        F: Future<Output = Result<T>> + 'static,
    {
        let limit = Duration::from_secs(self.timeout);
        let said = match with_session(&self.bootstrap_server, limit, work) {
            Ok(said) => said,
            Err(failure) => return fail(&failure),
        };
        let text = match self.format {
            Format::Json => match serde_json::to_string_pretty(&said) {
                Ok(json) => json + "\n",
                Err(e) => return fail(&Failure::Input(e.to_string())),
            },
            Format::Table => show(&said),
        };
        print(&text)
    }
}

pub(super) fn fail(failure: &Failure) -> i32 {
    eprintln!("spindle: {failure}");
    match failure {
        Failure::Client(_) => 1,
        Failure::Input(_) => 2,
    }
}

fn print(text: &str) -> i32 {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => 0,
        // `| head` has seen enough.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(e) => {
            eprintln!("spindle: standard output can't be written: {e}");
            1
        }
    }
}

/// The table, or a sentence when it has no row.
pub(super) fn table_or(table: Table, nothing: &str) -> String {
    if table.is_empty() { format!("{nothing}\n") } else { table.to_string() }
}

/// `key=value` of a flag.
pub(super) fn key_value(word: &str) -> std::result::Result<(String, String), String> {
    let (key, value) = word.split_once('=').ok_or("key=value is wanted")?;
    Ok((key.trim().to_string(), value.trim().to_string()))
}

/// Names given by position and by flag.
pub(super) fn names(positional: &[String], flagged: &[String]) -> Vec<String> {
    positional.iter().chain(flagged).cloned().collect()
}
