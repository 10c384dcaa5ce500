//! `spindle tune`: what of this host to mend, and with `--write` a configuration from a measurement.
//! Exit code 0: all well; 1: something to mend; 2: the command line; 3: it can't be looked at.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::config::BrokerConfig;
use crate::error::StartError;
use crate::runtime::machine::{self, Machine};
use crate::tune::{self, Host, measure, show, write};

#[derive(Args)]
pub struct TuneArgs {
    /// The configuration that is to run here (its shards and log.dirs are looked at)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key, as for `spindle serve`
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Measure the disk of log.dirs and the loopback, and write a configuration to this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// How long the measurement takes
    #[arg(long, value_name = "SECONDS", default_value = "8", requires = "write")]
    seconds: f64,
    /// Where /proc and /sys are (of another system's root, or a made-up one)
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

pub fn run(args: TuneArgs) -> Result<i32, StartError> {
    let config = super::serve::load_config(args.config.as_deref(), &args.overrides)?;
    let process = machine::process_cpus();
    let cpus = match (&config.shard_cpus[..], config.shard_count) {
        ([], 0) => process.to_vec(),
        ([], count) => process.iter().copied().take(count).collect(),
        (set, _) => set.to_vec(),
    };
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let log_dir = absolute(&config.log_dir);
    let here = args.root == Path::new("/");
    let ring = here.then(|| Machine::look().io_uring);
    let host = Host { root: args.root, cpus, log_dir, ring };
    let findings = tune::check(&host);
    match args.format {
        Format::Table => print!("{}", show::table(&findings)),
        Format::Json => println!("{}", show::json(&findings)),
    }
    if let Some(path) = args.write {
        let text = tuned(&config, &host, args.seconds)?;
        std::fs::write(&path, text)
            .map_err(|e| StartError::environment(format!("--write {}: {e}", path.display())))?;
        eprintln!("wrote {}: start with spindle serve --config {0}", path.display());
    }
    Ok(tune::exit_code(&findings))
}

fn tuned(config: &BrokerConfig, host: &Host, seconds: f64) -> Result<String, StartError> {
    let refuse = |e: std::io::Error| {
        StartError::environment(format!("log.dirs={}: {e}", config.log_dir.display()))
    };
    let existed = host.log_dir.is_dir();
    std::fs::create_dir_all(&host.log_dir).map_err(refuse)?;
    let each = Duration::try_from_secs_f64(seconds / 8.0)
        .map_err(|e| StartError::config(format!("--seconds {seconds}: {e}")))?;
    let measured = measure::measure(&host.log_dir, each);
    if !existed {
        let _ = std::fs::remove_dir(&host.log_dir);
    }
    let facts = write::Facts {
        cpus: &host.cpus,
        memory_bytes: machine::memory_bytes(),
        log_dir: &host.log_dir,
    };
    Ok(write::config(&facts, &measured.map_err(refuse)?))
}
