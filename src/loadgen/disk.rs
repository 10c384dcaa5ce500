//! The disk under a directory, in words for the report: file system, mount options, device, model, size,
//! scheduler. Also which directory a broker of this machine keeps its log in. Reads /proc and /sys, once a run.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Open files of a broker that are looked at to find its log.
const FILES_LOOKED_AT: usize = 10_000;

/// "ext4 (rw,relatime) on /dev/vda: 275 GB, rotational, scheduler mq-deadline".
pub fn describe(directory: &Path) -> Option<String> {
    let directory = directory.canonicalize().ok()?;
    let device = std::fs::metadata(&directory).ok()?.dev();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mount_of(&mounts, &directory)?;
    let mut text = format!("{} ({}) on {}", mount.file_system, mount.options, mount.source);
    let number = format!("{}:{}", libc::major(device), libc::minor(device));
    // A file system over several devices has a number that is no device's.
    let sys = [Path::new("/sys/dev/block").join(number), by_name(mount.source)];
    if let Some(block) = sys.iter().find_map(|p| p.canonicalize().ok()) {
        let facts = device_facts(&block);
        if !facts.is_empty() {
            text = format!("{text}: {}", facts.join(", "));
        }
    }
    Some(text)
}

fn by_name(source: &str) -> PathBuf {
    Path::new("/sys/class/block").join(source.rsplit('/').next().unwrap_or(source))
}

struct Mount<'a> {
    point: String,
    file_system: &'a str,
    options: &'a str,
    source: &'a str,
}

/// The last of the longest mount points above a directory (proc_pid_mountinfo(5)).
fn mount_of<'a>(mounts: &'a str, directory: &Path) -> Option<Mount<'a>> {
    let parsed = mounts.lines().filter_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(4);
        let mut back = back.split(' ');
        Some(Mount {
            // Spaces are written as octal.
            point: front.next()?.replace("\\040", " "),
            options: front.next()?,
            file_system: back.next()?,
            source: back.next()?,
        })
    });
    parsed.filter(|m| directory.starts_with(&m.point)).max_by_key(|m| m.point.len())
}

/// `block` is a device's directory in /sys; a partition's is inside its disk's.
fn device_facts(block: &Path) -> Vec<String> {
    let disk = match block.join("partition").exists() {
        true => block.parent().unwrap_or(block),
        false => block,
    };
    let read = |path: &str| {
        let text = std::fs::read_to_string(disk.join(path)).unwrap_or_default();
        Some(text.trim().to_string()).filter(|t| !t.is_empty())
    };
    let mut facts = Vec::new();
    facts.extend(read("device/model").or_else(|| read("dm/name")));
    if let Some(sectors) = read("size").and_then(|n| n.parse::<u64>().ok()) {
        // Of 512 bytes, whatever the device's own are.
        facts.push(format!("{:.0} GB", sectors as f64 * 512.0 / 1e9));
    }
    match read("queue/rotational").as_deref() {
        Some("0") => facts.push("not rotational".to_string()),
        Some("1") => facts.push("rotational (or a virtual disk that says so)".to_string()),
        _ => {}
    }
    if let Some(all) = read("queue/scheduler") {
        let chosen = all.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        facts.push(format!("scheduler {}", chosen.map_or(all.as_str(), |(name, _)| name)));
    }
    facts
}

/// Where a broker of this machine keeps its log: the directory above that of a segment it has open.
/// `None` when it has none open or is somebody else's.
pub fn log_directory(pid: u32) -> Option<PathBuf> {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.take(FILES_LOOKED_AT);
    files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok()).find_map(|path| {
        let name = path.file_name()?.to_str()?;
        let offset = name.strip_suffix(".log")?;
        let segment = offset.len() == 20 && offset.bytes().all(|b| b.is_ascii_digit());
        segment.then(|| path.parent()?.parent().map(Path::to_path_buf))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_of_a_directory_is_described() {
        let dir = tempfile::tempdir_in(".").unwrap();
        let text = describe(dir.path()).unwrap();
        assert!(text.contains(" on ") && text.contains('('), "{text}");
        assert!(describe(Path::new("/no/such/directory")).is_none());
    }

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      30 22 8:17 / /data rw,noatime shared:1 - xfs /dev/sdb1 rw\n\
                      31 22 8:33 / /data\\040two rw - btrfs /dev/sdc rw\n";
        let of = |path: &str| mount_of(mounts, Path::new(path)).unwrap();
        assert_eq!(of("/data/kafka").source, "/dev/sdb1");
        assert_eq!(
            (of("/data/kafka").options, of("/data/kafka").file_system),
            ("rw,noatime", "xfs")
        );
        assert_eq!(of("/data two/x").source, "/dev/sdc");
        assert_eq!(of("/database").source, "/dev/sda1");
    }

    #[test]
    fn a_process_with_an_open_segment_says_where_its_log_is() {
        let dir = tempfile::tempdir_in(".").unwrap();
        let partition = dir.path().join("orders-0");
        std::fs::create_dir(&partition).unwrap();
        let file = std::fs::File::create(partition.join("00000000000000000000.log")).unwrap();
        let found = log_directory(std::process::id());
        drop(file);
        // Other tests of this process may have segments open as well.
        assert!(found.is_some_and(|d| d.is_absolute()));
    }
}
