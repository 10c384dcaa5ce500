//! Where the process's log goes: standard error, or, while the full-screen view has the terminal, the last
//! lines in memory, which the view shows and which follow on standard error when it ends.
//! Any thread writes; the lock is held for a line.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard};

/// Beyond these the oldest go.
const KEPT_LINES: usize = 200;
/// A line longer than that is cut.
const LINE_BYTES: usize = 2000;

static KEPT: Mutex<Option<VecDeque<String>>> = Mutex::new(None);

fn kept() -> MutexGuard<'static, Option<VecDeque<String>>> {
    KEPT.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

pub(super) fn keep() {
    *kept() = Some(VecDeque::new());
}

pub(super) fn release() {
    for line in kept().take().unwrap_or_default() {
        let _ = writeln!(io::stderr(), "{line}");
    }
}

pub(super) fn last(count: usize) -> Vec<String> {
    let kept = kept();
    let lines = kept.iter().flatten();
    lines.clone().skip(lines.count().saturating_sub(count)).cloned().collect()
}

/// For a tracing subscriber.
pub struct Writer;

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = kept();
        let Some(lines) = kept.as_mut() else {
            drop(kept);
            return io::stderr().write(bytes);
        };
        let text = plain(&String::from_utf8_lossy(bytes));
        for line in text.lines().filter(|l| !l.trim().is_empty()) {
            if lines.len() == KEPT_LINES {
                lines.pop_front();
            }
            lines.push_back(line.to_string());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Without the escape sequences of colours and without other control characters.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LINE_BYTES));
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if out.len() >= LINE_BYTES {
            break;
        }
        match c {
            // ESC [ … letter.
            '\x1b' => {
                chars.find(|c| c.is_ascii_alphabetic());
            }
            '\n' => out.push('\n'),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_control_characters_go() {
        assert_eq!(plain("\x1b[33m WARN\x1b[0m a\tb\u{7}\nc"), " WARN a b \nc");
        assert_eq!(plain(&"x".repeat(LINE_BYTES + 9)).len(), LINE_BYTES);
        assert_eq!(plain("\x1b["), "");
    }
}
