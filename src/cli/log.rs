//! `spindle log dump` and `spindle log verify`: options, output and exit code (0 good, 1 a fault or an
//! unreadable file, 2 wrong arguments). Works on the directories of stopped brokers, Kafka's too, and changes
//! nothing. What is read and checked is `log/inspect`'s.
//!
//! `--format json` is one document. dump: `{"files": [{"file", "type", "bytes", "items": [...], "faults":
//! [...]}]}`, items in the order of the file, fields as DumpLogSegments names them, in snake case. verify:
//! `{"good", "partitions", "segments", "batches", "records", "bytes", "fault_count", "faults": [{"file",
//! "position", "offset", "what"}], "note_count", "notes": [...]}`.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};

use crate::log::inspect::{self, DumpOptions, Fault, FileItem, Item, Progress, VerifyOptions};

#[derive(Args)]
pub struct LogArgs {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Subcommand)]
enum LogCommand {
    /// Show what is in a data directory, a partition's directory or one file
    Dump(DumpArgs),
    /// Check every CRC, record, offset, index and checkpoint; exit code 1 when there is a fault
    Verify(VerifyArgs),
}

#[derive(Args)]
struct DumpArgs {
    /// Data directories, partition directories, or files as Kafka names them
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Each record of each batch, not only the batches
    #[arg(long)]
    deep_iteration: bool,
    /// Keys, values and headers of the records too (means --deep-iteration)
    #[arg(long)]
    print_data_log: bool,
}

#[derive(Args)]
struct VerifyArgs {
    /// Data directories or partition directories of a broker that is stopped
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Go on after the first fault and name all
    #[arg(long)]
    all: bool,
    /// Missing offsets are right (topics that were compacted once and no cleaner knows of any more)
    #[arg(long)]
    allow_gaps: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// The whole command; returns the exit code.
pub fn run(args: LogArgs) -> i32 {
    let done = match args.command {
        LogCommand::Dump(args) => dump(&args),
        LogCommand::Verify(args) => verify(&args),
    };
    match done {
        Ok(code) => code,
        // `| head` has seen enough.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(e) => {
            eprintln!("spindle log: standard output can't be written: {e}");
            1
        }
    }
}

/// Named on the command line and not there: the arguments are wrong, not the data.
fn all_there(paths: &[PathBuf], dirs_only: bool) -> bool {
    for path in paths {
        let why = match std::fs::metadata(path) {
            Err(e) => e.to_string(),
            Ok(found) if dirs_only && !found.is_dir() => {
                "not a directory: verify wants a data directory or a partition's".to_string()
            }
            Ok(_) => continue,
        };
        eprintln!("spindle log: {}: {why}", path.display());
        return false;
    }
    true
}

fn dump(args: &DumpArgs) -> io::Result<i32> {
    if !all_there(&args.paths, false) {
        return Ok(2);
    }
    let options =
        DumpOptions { deep_iteration: args.deep_iteration, print_data_log: args.print_data_log };
    let stdout = BufWriter::new(io::stdout().lock());
    let mut out = Output {
        to: stdout,
        format: args.format,
        open: false,
        items: 0,
        faults: Vec::new(),
        faulty: false,
    };
    if args.format == Format::Json {
        write!(out.to, "{{\"files\":[")?;
    }
    for path in &args.paths {
        inspect::dump(path, options, &mut out)?;
    }
    out.end_file()?;
    if args.format == Format::Json {
        writeln!(out.to, "]}}")?;
    }
    out.to.flush()?;
    Ok(i32::from(out.faulty))
}

struct Output<W: Write> {
    to: W,
    format: Format,
    /// A file was begun.
    open: bool,
    items: u64,
    /// Of the file, for its end.
    faults: Vec<Fault>,
    faulty: bool,
}

impl<W: Write> Output<W> {
    fn end_file(&mut self) -> io::Result<()> {
        if self.open && self.format == Format::Json {
            write!(self.to, "],\"faults\":")?;
            serde_json::to_writer(&mut self.to, &self.faults)?;
            write!(self.to, "}}")?;
        }
        self.faults.clear();
        Ok(())
    }
}

impl<W: Write> inspect::Out for Output<W> {
    fn file(&mut self, file: FileItem) -> io::Result<()> {
        self.end_file()?;
        match self.format {
            Format::Text => {
                let line = if self.open { "\n" } else { "" };
                let (path, kind, bytes) = (file.file.display(), file.kind, file.bytes);
                writeln!(self.to, "{line}{path}: {kind}, {bytes} bytes")?;
            }
            Format::Json => {
                let head = serde_json::to_string(&file)?;
                let comma = if self.open { "," } else { "" };
                let fields = head.strip_suffix('}').unwrap_or(&head);
                write!(self.to, "{comma}{fields},\"items\":[")?;
            }
        }
        (self.open, self.items) = (true, 0);
        Ok(())
    }

    fn item(&mut self, item: Item) -> io::Result<()> {
        match self.format {
            Format::Text => writeln!(self.to, "  {item}")?,
            Format::Json => {
                if self.items > 0 {
                    write!(self.to, ",")?;
                }
                serde_json::to_writer(&mut self.to, &item)?;
            }
        }
        self.items += 1;
        Ok(())
    }

    fn fault(&mut self, fault: Fault) -> io::Result<()> {
        self.faulty = true;
        eprintln!("spindle log: {fault}");
        if self.format == Format::Text {
            writeln!(self.to, "  FAULT {fault}")?;
        }
        self.faults.push(fault);
        Ok(())
    }
}

fn verify(args: &VerifyArgs) -> io::Result<i32> {
    if !all_there(&args.dirs, true) {
        return Ok(2);
    }
    let options = VerifyOptions { all: args.all, allow_gaps: args.allow_gaps };
    let mut bar = Bar { shown: io::stderr().is_terminal(), last: None };
    let report = inspect::verify(&args.dirs, options, &mut |progress| bar.show(progress));
    bar.clear();
    let mut out = BufWriter::new(io::stdout().lock());
    match args.format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &report)?;
            writeln!(out)?;
        }
        Format::Text => {
            for note in &report.notes {
                writeln!(out, "note  {note}")?;
            }
            for fault in &report.faults {
                writeln!(out, "FAULT {fault}")?;
            }
            writeln!(out, "{report}")?;
        }
    }
    out.flush()?;
    Ok(if report.good { 0 } else { 1 })
}

/// One line on a terminal, ten times a second at the most.
struct Bar {
    shown: bool,
    last: Option<Instant>,
}

impl Bar {
    fn show(&mut self, p: &Progress) {
        const CELLS: u64 = 30;
        let due = self.last.is_none_or(|last| last.elapsed() > Duration::from_millis(100));
        if !self.shown || !due {
            return;
        }
        self.last = Some(Instant::now());
        let total = p.bytes_total.max(1);
        let done = (p.bytes.min(total) as u128 * u128::from(CELLS) / u128::from(total)) as usize;
        let (full, empty) = ("#".repeat(done), ".".repeat(CELLS as usize - done));
        let (mib, of) = (p.bytes >> 20, p.bytes_total >> 20);
        eprint!("\r\x1b[K[{full}{empty}] {mib} of {of} MiB  {}", p.at);
    }

    fn clear(&self) {
        if self.last.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
