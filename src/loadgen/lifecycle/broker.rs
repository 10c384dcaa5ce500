//! The broker of a lifecycle measurement: a command that is started, stopped, killed and started again, its
//! output in a file. One process group at a time; it never outlives this value.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::runtime::process::{Signal, signal_group, spawn_group};

use super::super::machine;

/// A broker that does not end by SIGTERM in that time is killed, and the figure is missing.
const STOP_LIMIT: Duration = Duration::from_secs(120);
const LOG_TAIL_BYTES: u64 = 8 * 1024;
const LOG_TAIL_LINES: usize = 12;

pub struct Broker {
    command: String,
    log: PathBuf,
    child: Option<Child>,
}

impl Broker {
    pub fn new(command: String, log: PathBuf) -> Result<Broker, String> {
        File::create(&log).map_err(|e| format!("--broker-log {}: {e}", log.display()))?;
        Ok(Broker { command, log, child: None })
    }

    /// Returns the moment before the process existed.
    pub fn start(&mut self) -> Result<Instant, String> {
        let open = || File::options().append(true).open(&self.log);
        let (out, err) = open()
            .and_then(|out| Ok((out.try_clone()?, out)))
            .map_err(|e| format!("--broker-log {}: {e}", self.log.display()))?;
        let mut command = Command::new("sh");
        // exec: the group's leader is the broker itself.
        command.arg("-c").arg(format!("exec {}", self.command));
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let at = Instant::now();
        let child = spawn_group(&mut command).map_err(|e| format!("--broker-command: {e}"))?;
        self.child = Some(child);
        Ok(at)
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    pub fn resident_bytes(&self) -> Option<u64> {
        machine::process_status(self.pid())?.rss_bytes
    }

    /// Seconds from SIGTERM to the end of the process.
    pub fn stop(&mut self) -> Result<f64, String> {
        let Some(child) = &mut self.child else { return Err("it does not run".to_string()) };
        let from = Instant::now();
        signal_group(child, Signal::Terminate);
        while from.elapsed() < STOP_LIMIT {
            if let Ok(Some(_)) = child.try_wait() {
                self.child = None;
                return Ok(from.elapsed().as_secs_f64());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.kill();
        Err(format!("the broker did not end within {} s of SIGTERM", STOP_LIMIT.as_secs()))
    }

    /// kill -9, and gone when this returns.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal_group(&child, Signal::Kill);
            let _ = child.wait();
        }
    }

    /// What the broker said last, for an error.
    pub fn last_words(&self) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.log).and_then(|mut file| {
            let from = file.metadata()?.len().saturating_sub(LOG_TAIL_BYTES);
            file.seek(SeekFrom::Start(from))?;
            file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)
        });
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
        match (read, last.is_empty()) {
            (Ok(_), false) => format!("its last lines were\n  {}", last.join("\n  ")),
            _ => "it said nothing".to_string(),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}
