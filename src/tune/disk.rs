//! The disk that holds the log: file system, mount options, scheduler, queue.

use super::host::{Host, Mount, chosen, mount_of};
use super::{Finding, Subject};

pub(super) fn all(host: &Host) -> Vec<Finding> {
    let mounts = host.text("proc/self/mountinfo").unwrap_or_default();
    let Some(mount) = mount_of(&mounts, &host.log_dir) else {
        return vec![FILE_SYSTEM.unknown("no mount was found for the log directory")];
    };
    let mut all = vec![file_system(&mount), options(&mount)];
    let Some(name) = block_device(host, &mount) else {
        all.push(SCHEDULER.unknown(format!("{} is no block device of this host", mount.device)));
        return all;
    };
    all.extend([scheduler(host, &name), queue(host, &name)]);
    all
}

const FILE_SYSTEM: Subject = Subject {
    name: "file system",
    should_be: "ext4 or xfs on a local disk",
    costs: "without O_DIRECT each byte is copied once more (0.2-0.3 CPU-s/GB) and the page cache \
            decides when it is written; on a network file system a kill can lose what was acknowledged",
};
const OPTIONS: Subject = Subject {
    name: "mount options",
    should_be: "no sync, no data=journal, no discard; barriers on",
    costs: "sync and data=journal: each write waits for the journal, 2-10 times the latency; discard: \
            a deleted segment of 1 GiB stalls writers for up to 100s of ms; nobarrier: a power cut \
            loses what was acknowledged",
};
const SCHEDULER: Subject = Subject {
    name: "i/o scheduler",
    should_be: "none (mq-deadline or kyber on a spinning disk)",
    costs: "2-5 µs of CPU a write, and a lock that all cores share",
};
const QUEUE: Subject = Subject {
    name: "disk queue",
    should_be: "solid state, 128 or more requests",
    costs: "a short queue serialises shards; on a spinning disk an fdatasync takes 5-15 ms",
};

fn file_system(mount: &Mount) -> Finding {
    let is = format!("{} on {} ({})", mount.kind, mount.device, mount.point.display());
    match mount.kind.as_str() {
        "ext4" | "xfs" => FILE_SYSTEM.well(is),
        _ => FILE_SYSTEM.mend(is, "set log.dirs to a directory on ext4 or xfs"),
    }
}

fn options(mount: &Mount) -> Finding {
    let bad: Vec<&str> = mount
        .options
        .iter()
        .map(String::as_str)
        .filter(|o| {
            matches!(
                *o,
                "sync" | "dirsync" | "discard" | "nobarrier" | "barrier=0" | "data=journal"
            )
        })
        .collect();
    if bad.is_empty() {
        return OPTIONS.well(mount.options.join(","));
    }
    let cures: Vec<&str> = bad
        .iter()
        .map(|o| match *o {
            "sync" => "async",
            "discard" => "nodiscard",
            "nobarrier" | "barrier=0" => "barrier=1",
            // Only the next mount can change these.
            other => other,
        })
        .collect();
    let point = mount.point.display();
    let mend = match cures.iter().any(|c| matches!(*c, "dirsync" | "data=journal")) {
        true => format!("take {} out of /etc/fstab and mount {point} anew", bad.join(",")),
        false => {
            let fstrim =
                if bad.contains(&"discard") { "; systemctl enable fstrim.timer" } else { "" };
            format!("mount -o remount,{} {point} (and in /etc/fstab){fstrim}", cures.join(","))
        }
    };
    OPTIONS.mend(bad.join(","), mend)
}

/// The whole disk's name in /sys/block: of a partition the disk it is on.
fn block_device(host: &Host, mount: &Mount) -> Option<String> {
    let by_number = host.link_name(&format!("sys/dev/block/{}", mount.number));
    let name = match &by_number {
        Some(link) => link.file_name()?.to_string_lossy().into_owned(),
        None => mount.device.strip_prefix("/dev/")?.to_string(),
    };
    if host.exists(&format!("sys/block/{name}/queue")) {
        return Some(name);
    }
    // …/block/nvme0n1/nvme0n1p2
    let parent = by_number.as_ref().and_then(|link| link.parent()?.file_name());
    let parent = parent.map(|p| p.to_string_lossy().into_owned());
    let digits = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let guesses = [parent, Some(digits.to_string()), digits.strip_suffix('p').map(String::from)];
    guesses.into_iter().flatten().find(|n| host.exists(&format!("sys/block/{n}/queue")))
}

fn scheduler(host: &Host, name: &str) -> Finding {
    let at = format!("sys/block/{name}/queue/scheduler");
    let spins = host.number(&format!("sys/block/{name}/queue/rotational")) == Some(1);
    let Some(line) = host.text(&at) else { return SCHEDULER.unknown("the kernel does not say") };
    // A device without a choice has no brackets.
    let current = chosen(&line).unwrap_or(&line);
    let good = current == "none" || spins && matches!(current, "mq-deadline" | "kyber");
    match good {
        true => SCHEDULER.well(format!("{current} on {name}")),
        false => {
            let wanted = if spins { "mq-deadline" } else { "none" };
            SCHEDULER.mend(format!("{current} on {name}"), format!("echo {wanted} > /{at}"))
        }
    }
}

fn queue(host: &Host, name: &str) -> Finding {
    let of = |key: &str| host.text(&format!("sys/block/{name}/queue/{key}"));
    let requests: Option<u64> = of("nr_requests").and_then(|n| n.parse().ok());
    let cache = of("write_cache").unwrap_or_else(|| "unknown".to_string());
    let spins = of("rotational").as_deref() == Some("1");
    let is = format!(
        "{name}: {} requests, {}, cache {cache}",
        requests.map_or("?".to_string(), |n| n.to_string()),
        if spins { "rotational" } else { "solid state" }
    );
    match (requests, spins) {
        (Some(n), false) if n < 128 => {
            QUEUE.mend(is, format!("echo 256 > /sys/block/{name}/queue/nr_requests"))
        }
        // Virtual disks often claim to spin.
        (_, true) => QUEUE.mend(
            is,
            format!("a solid-state disk for log.dirs; if it is one: echo 0 > /sys/block/{name}/queue/rotational"),
        ),
        (None, _) => QUEUE.unknown("the kernel does not say"),
        _ => QUEUE.well(is),
    }
}
