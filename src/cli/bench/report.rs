//! `spindle bench report`: reports of earlier runs, read back and shown side by side as text and, if asked, as one
//! HTML page. Which figures, groups and ratios there are is `loadgen/compare`'s, the page `loadgen/html`'s.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::StartError;
use crate::loadgen::{Report, compare, html};

#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// Reports that `spindle bench --json` wrote; the first one is what the others are compared to
    #[arg(required = true, value_name = "REPORT.json")]
    files: Vec<PathBuf>,
    /// Write them as one self-contained page as well
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl ReportArgs {
    pub fn run(self) -> Result<i32, StartError> {
        let reports: Result<Vec<Report>, String> = self.files.iter().map(Report::read).collect();
        let reports = reports.map_err(StartError::config)?;
        print!("{}", compare::text(&reports));
        if let Some(path) = &self.html {
            write_page(path, &reports).map_err(StartError::environment)?;
        }
        Ok(0)
    }
}

pub fn write_page(path: &Path, reports: &[Report]) -> Result<(), String> {
    std::fs::write(path, html::page(reports)).map_err(|e| format!("--html {}: {e}", path.display()))
}
