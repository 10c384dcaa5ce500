//! Each check on a made-up /proc and /sys: well, to mend (with the command), and not known.

use std::path::{Path, PathBuf};

use super::{Finding, Host, State, check, exit_code, show};

struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Tree {
        Tree(tempfile::tempdir().unwrap())
    }

    fn file(&self, path: &str, text: &str) -> &Tree {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn host(&self) -> Host {
        Host {
            root: self.0.path().to_path_buf(),
            cpus: vec![0, 1],
            log_dir: PathBuf::from("/srv/log"),
            ring: None,
        }
    }

    fn find(&self, name: &str) -> Finding {
        find(&self.host(), name)
    }
}

fn find(host: &Host, name: &str) -> Finding {
    check(host).into_iter().find(|f| f.name == name).unwrap_or_else(|| panic!("no {name}"))
}

const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units\n\
    Max open files            1024                 1048576              files\n\
    Max locked memory         8388608              8388608              bytes\n";
const MOUNTS: &str = "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
    30 22 259:3 / /srv rw,noatime shared:1 - xfs /dev/nvme0n1p3 rw,attr2\n";

/// A host with nothing to mend.
fn well() -> Tree {
    let tree = Tree::new();
    tree.file("proc/sys/kernel/osrelease", "6.8.0-45-generic\n")
        .file("proc/sys/kernel/io_uring_disabled", "0\n")
        .file("proc/self/status", "Name:\tx\nCapEff:\t0000000000000000\nSeccomp:\t0\n")
        .file("proc/self/limits", LIMITS)
        .file("proc/self/mountinfo", MOUNTS)
        .file("proc/swaps", "Filename Type Size Used Priority\n")
        .file("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n")
        .file("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n")
        .file("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n")
        .file("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance\n")
        .file(
            "proc/interrupts",
            "   CPU0 CPU1\n 40: 1 0 PCI-MSI nvme0q1\n 41: 0 1 PCI-MSI nvme0q2\n",
        )
        .file("proc/irq/40/smp_affinity_list", "0\n")
        .file("proc/irq/41/smp_affinity_list", "1\n")
        .file("sys/block/nvme0n1/queue/scheduler", "[none] mq-deadline\n")
        .file("sys/block/nvme0n1/queue/nr_requests", "1023\n")
        .file("sys/block/nvme0n1/queue/rotational", "0\n")
        .file("sys/block/nvme0n1/queue/write_cache", "write back\n");
    tree
}

#[test]
fn a_host_that_is_well_has_nothing_to_mend() {
    let findings = check(&well().host());
    assert!(findings.iter().all(|f| f.state == State::Well), "{}", show::table(&findings));
    assert_eq!(findings.len(), 13);
    assert_eq!(exit_code(&findings), 0);
    assert!(show::table(&findings).ends_with("nothing to mend\n"));
}

#[test]
fn a_host_that_says_nothing_has_nothing_to_mend_either() {
    let findings = check(&Tree::new().host());
    assert!(findings.iter().all(|f| f.state != State::Mend), "{}", show::table(&findings));
    assert_eq!(exit_code(&findings), 0);
}

#[test]
fn each_thing_to_mend_is_said_with_its_command() {
    let irq = "   CPU0 CPU1\n 40: 1 0 PCI-MSI virtio3-req.0\n 41: 0 1 PCI-MSI virtio3-req.1\n";
    for (file, text, name, is, mend) in [
        (
            "proc/sys/kernel/io_uring_disabled",
            "2",
            "io_uring",
            "disabled = 2",
            "kernel.io_uring_disabled=0",
        ),
        ("proc/sys/kernel/osrelease", "5.4.0", "io_uring", "5.4.0", "newer kernel"),
        ("proc/self/status", "Seccomp:\t1\n", "seccomp", "strict", "sandbox"),
        (
            "proc/self/limits",
            "Max locked memory 65536 65536 bytes",
            "memlock",
            "64 KiB for 2",
            "ulimit -l",
        ),
        ("proc/self/limits", "Max open files 1024 4096 files", "nofile", "4096", "LimitNOFILE"),
        (
            "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor",
            "powersave",
            "cpu governor",
            "powersave on 1 of 2",
            "cpupower",
        ),
        (
            "sys/devices/system/clocksource/clocksource0/current_clocksource",
            "hpet",
            "clock source",
            "hpet",
            "clocksource=tsc",
        ),
        (
            "proc/irq/41/smp_affinity_list",
            "0",
            "irq affinity",
            "all 2 queues on CPU 0",
            "irqbalance",
        ),
        (
            "sys/kernel/mm/transparent_hugepage/enabled",
            "[always] madvise never",
            "transparent huge pages",
            "always",
            "echo madvise",
        ),
        (
            "proc/swaps",
            "Filename\n/dev/sda2 partition 1 0 -2\n",
            "swap",
            "swappiness = 60",
            "vm.swappiness=1",
        ),
        (
            "proc/self/mountinfo",
            "22 1 0:5 / / rw - nfs4 server:/x rw\n",
            "file system",
            "nfs4",
            "ext4 or xfs",
        ),
        (
            "proc/self/mountinfo",
            "22 1 259:3 / / rw - ext4 /dev/nvme0n1p3 rw,discard\n",
            "mount options",
            "discard",
            "remount,nodiscard",
        ),
        (
            "proc/self/mountinfo",
            "22 1 259:3 / / rw - ext4 /dev/nvme0n1p3 rw,data=journal\n",
            "mount options",
            "data=journal",
            "/etc/fstab",
        ),
        (
            "sys/block/nvme0n1/queue/scheduler",
            "none [bfq]",
            "i/o scheduler",
            "bfq on nvme0n1",
            "echo none > /sys/block/nvme0n1",
        ),
        ("sys/block/nvme0n1/queue/nr_requests", "32", "disk queue", "32 requests", "echo 256"),
        ("sys/block/nvme0n1/queue/rotational", "1", "disk queue", "rotational", "solid-state"),
    ] {
        let tree = well();
        tree.file(file, text);
        let found = tree.find(name);
        assert_eq!(found.state, State::Mend, "{found:?}");
        assert!(found.is.contains(is) && found.mend.contains(mend), "{found:?}");
        assert!(!found.costs.is_empty() && !found.should_be.is_empty());
        let findings = check(&tree.host());
        assert_eq!(exit_code(&findings), 1, "{name}");
        let table = show::table(&findings);
        assert!(table.contains(&found.mend) && table.contains(found.costs), "{table}");
    }
    let tree = well();
    tree.file("proc/interrupts", irq);
    assert_eq!(tree.find("irq affinity").state, State::Well);
}

#[test]
fn a_ring_that_is_refused_is_said_in_the_kernels_words() {
    let tree = well();
    tree.file("proc/self/status", "Seccomp:\t2\n");
    let mut host = tree.host();
    assert_eq!(find(&host, "seccomp").state, State::Well);
    host.ring = Some(Err("cannot set up io_uring: a seccomp profile forbids it".into()));
    assert!(find(&host, "io_uring").is.contains("seccomp profile"));
    assert!(find(&host, "seccomp").mend.contains("seccomp=unconfined"));
    host.ring = Some(Ok(()));
    assert_eq!(find(&host, "io_uring").is, "works, Linux 6.8.0-45-generic");
}

#[test]
fn privileges_and_more_shards_change_what_memlock_needs() {
    let tree = well();
    let mut host = tree.host();
    host.cpus = (0..4).collect();
    assert_eq!(find(&host, "memlock").state, State::Mend, "12 MiB of 8");
    tree.file("proc/self/status", "CapEff:\t000001ffffffffff\nSeccomp:\t0\n");
    assert_eq!(find(&host, "memlock").state, State::Well);
}

#[test]
fn the_disk_of_a_partition_is_found_by_its_number() {
    let tree = well();
    tree.file("proc/self/mountinfo", "22 1 254:7 / / rw - ext4 /dev/mapper/data rw\n");
    tree.file("sys/block/sdb/queue/scheduler", "[mq-deadline] none\n");
    std::fs::create_dir_all(tree.0.path().join("sys/dev/block")).unwrap();
    let link = Path::new("../../devices/pci0/block/sdb/sdb7");
    std::os::unix::fs::symlink(link, tree.0.path().join("sys/dev/block/254:7")).unwrap();
    let found = tree.find("i/o scheduler");
    assert_eq!((found.state, found.is.as_str()), (State::Mend, "mq-deadline on sdb"));
    tree.file("sys/block/sdb/queue/rotational", "1\n");
    assert_eq!(tree.find("i/o scheduler").state, State::Well, "right for a disk that spins");
}

#[test]
fn json_has_what_the_table_has() {
    let tree = well();
    tree.file("proc/sys/kernel/io_uring_disabled", "1");
    let findings = check(&tree.host());
    let json: serde_json::Value = serde_json::from_str(&show::json(&findings)).unwrap();
    assert_eq!(json[0]["name"], "io_uring");
    assert_eq!(json[0]["state"], "mend");
    assert_eq!(json[0]["mend"], "sysctl -w kernel.io_uring_disabled=0");
    assert_eq!(json.as_array().unwrap().len(), findings.len());
}
