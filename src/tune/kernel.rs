//! What the kernel lets a process have: rings, locked memory, descriptors, pages.

use super::host::{Host, chosen};
use super::{Finding, Subject};

/// What an executor pins: three rings with 1 MiB of buffers each.
const PINNED_BYTES: u64 = 3 * 1024 * 1024;
const OPEN_FILES_MIN: u64 = 100_000;

pub(super) fn io_uring(host: &Host) -> Finding {
    let subject = Subject {
        name: "io_uring",
        should_be: "allowed, Linux 5.8 or newer",
        costs: "the broker does not start",
    };
    let release = host.text("proc/sys/kernel/osrelease").unwrap_or_default();
    let disabled = host.text("proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    if !matches!(disabled.as_str(), "" | "0") {
        let is = format!("kernel.io_uring_disabled = {disabled}");
        return subject.mend(is, "sysctl -w kernel.io_uring_disabled=0");
    }
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>());
    if let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next())
        && (major, minor) < (5, 8)
    {
        return subject.mend(format!("Linux {release}"), "install a newer kernel");
    }
    match &host.ring {
        Some(Err(why)) => subject.mend(why.clone(), "see what it says"),
        Some(Ok(())) => subject.well(format!("works, Linux {release}")),
        None => subject.well(format!("not forbidden, Linux {release}")),
    }
}

pub(super) fn seccomp(host: &Host) -> Finding {
    let subject = Subject {
        name: "seccomp",
        should_be: "no filter, or one that lets io_uring pass",
        costs: "some 0.1-0.3 µs a system call; Docker's default profile forbids io_uring",
    };
    let status = host.text("proc/self/status").unwrap_or_default();
    let mode = status.lines().find_map(|l| l.strip_prefix("Seccomp:")).map(str::trim);
    match mode {
        Some("0") => subject.well("no filter"),
        // That io_uring is refused is said above, with its cure.
        Some("2") if matches!(host.ring, Some(Err(_))) => subject.mend(
            "a filter, and io_uring is refused",
            "docker run --security-opt seccomp=unconfined (or a profile with io_uring_*)",
        ),
        Some("2") => subject.well("a filter that lets io_uring pass"),
        Some("1") => subject.mend("strict mode", "start it outside the sandbox"),
        _ => subject.unknown("the kernel does not say"),
    }
}

/// (soft, hard); `u64::MAX` is unlimited.
fn limit(host: &Host, name: &str) -> Option<(u64, u64)> {
    let limits = host.text("proc/self/limits")?;
    let line = limits.lines().find_map(|l| l.strip_prefix(name))?;
    let mut words = line.split_whitespace().map(|w| match w {
        "unlimited" => Some(u64::MAX),
        n => n.parse().ok(),
    });
    Some((words.next()??, words.next()??))
}

pub(super) fn memlock(host: &Host) -> Finding {
    let subject = Subject {
        name: "memlock",
        should_be: "3 MiB a shard, or unlimited",
        costs: "reads and writes through plain buffers, about 5 % more CPU a request",
    };
    const CAP_IPC_LOCK: u64 = 1 << 14;
    let status = host.text("proc/self/status").unwrap_or_default();
    let capabilities = status
        .lines()
        .find_map(|l| l.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    let wanted = PINNED_BYTES * host.cpus.len() as u64;
    match limit(host, "Max locked memory") {
        _ if capabilities.is_some_and(|c| c & CAP_IPC_LOCK != 0) => {
            subject.well("not counted for this user (CAP_IPC_LOCK)")
        }
        Some((u64::MAX, _)) => subject.well("unlimited"),
        Some((soft, _)) if soft >= wanted => subject.well(format!("{} KiB", soft / 1024)),
        Some((soft, _)) => subject.mend(
            format!("{} KiB for {} shards", soft / 1024, host.cpus.len()),
            "ulimit -l unlimited (systemd: LimitMEMLOCK=infinity; docker: --ulimit memlock=-1)",
        ),
        None => subject.unknown("the kernel does not say"),
    }
}

pub(super) fn open_files(host: &Host) -> Finding {
    let subject = Subject {
        name: "nofile",
        should_be: "100000 or more (hard limit: the broker raises its own)",
        costs: "files of idle partitions are closed and opened again, 100-200 µs each; clients \
                beyond the limit wait",
    };
    match limit(host, "Max open files") {
        Some((_, hard)) if hard >= OPEN_FILES_MIN => subject.well(match hard {
            u64::MAX => "unlimited".to_string(),
            n => n.to_string(),
        }),
        Some((_, hard)) => subject.mend(
            hard.to_string(),
            "ulimit -Hn 1048576 (systemd: LimitNOFILE=1048576; docker: --ulimit nofile=1048576)",
        ),
        None => subject.unknown("the kernel does not say"),
    }
}

pub(super) fn huge_pages(host: &Host) -> Finding {
    let subject = Subject {
        name: "transparent huge pages",
        should_be: "madvise or never",
        costs: "memory of many small buffers grows in 2 MiB pieces, and khugepaged copies pages \
                while requests wait (pauses of up to some ms)",
    };
    let text = host.text("sys/kernel/mm/transparent_hugepage/enabled");
    match text.as_deref().and_then(chosen) {
        Some("always") => {
            subject.mend("always", "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled")
        }
        Some(other) => subject.well(other),
        None => subject.unknown("the kernel does not say"),
    }
}

pub(super) fn swap(host: &Host) -> Finding {
    let subject = Subject {
        name: "swap",
        should_be: "off, or vm.swappiness at most 1",
        costs: "an idle shard's memory goes to the disk: the next request waits ms for each page",
    };
    let Some(swaps) = host.text("proc/swaps") else {
        return subject.unknown("the kernel does not say");
    };
    let count = swaps.lines().skip(1).filter(|l| !l.trim().is_empty()).count();
    let swappiness = host.number("proc/sys/vm/swappiness").unwrap_or(60);
    match (count, swappiness) {
        (0, _) => subject.well("off"),
        (_, 0 | 1) => subject.well(format!("on, vm.swappiness = {swappiness}")),
        _ => subject.mend(
            format!("on, vm.swappiness = {swappiness}"),
            "sysctl -w vm.swappiness=1 (or swapoff -a)",
        ),
    }
}
