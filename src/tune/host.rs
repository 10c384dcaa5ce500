//! What the checks may ask: files below a root, the shards that are planned, where the log is to be.

use std::path::{Path, PathBuf};

#[derive(Clone, Debug)]
pub struct Host {
    /// `/`, or a made-up tree.
    pub root: PathBuf,
    /// CPUs that shards will run on.
    pub cpus: Vec<usize>,
    /// Absolute; need not exist.
    pub log_dir: PathBuf,
    /// What the kernel said when a ring was asked for; `None` when nobody asked.
    pub ring: Option<Result<(), String>>,
}

impl Host {
    /// The trimmed text of a file, `None` when it can't be read.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim().to_string())
    }

    pub(super) fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    pub(super) fn link_name(&self, path: &str) -> Option<PathBuf> {
        std::fs::read_link(self.root.join(path)).ok()
    }
}

/// The choice in brackets of a line such as `none [mq-deadline] kyber`.
pub(super) fn chosen(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once('[')?;
    rest.split_once(']').map(|(choice, _)| choice)
}

/// `0-3,8`: one by one.
pub(super) fn cpu_list(text: &str) -> Vec<usize> {
    let mut all = Vec::new();
    for part in text.trim().split(',').filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse()) {
            all.extend((first..=last).take(4096));
        }
    }
    all
}

/// The mount that holds `path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub device: String,
    /// `major:minor`.
    pub number: String,
    pub kind: String,
    pub point: PathBuf,
    pub options: Vec<String>,
}

/// From `/proc/self/mountinfo`: the longest mount point that is above `path`; of equal ones the last,
/// which covers the others.
pub(super) fn mount_of(mountinfo: &str, path: &Path) -> Option<Mount> {
    let mut best: Option<Mount> = None;
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let left: Vec<&str> = left.split_whitespace().collect();
        let right: Vec<&str> = right.split_whitespace().collect();
        let ([_, _, number, _, point, own, ..], [kind, device, more @ ..]) =
            (&left[..], &right[..])
        else {
            continue;
        };
        // Spaces and the like are written in octal.
        let point = PathBuf::from(point.replace("\\040", " "));
        let longer = best
            .as_ref()
            .is_none_or(|b| point.components().count() >= b.point.components().count());
        if path.starts_with(&point) && longer {
            let options = own.split(',').chain(more.iter().flat_map(|m| m.split(',')));
            best = Some(Mount {
                device: device.to_string(),
                number: number.to_string(),
                kind: kind.to_string(),
                point,
                options: options.map(str::to_string).collect(),
            });
        }
    }
    best
}
