//! Cores: how fast they run, what interrupts them, how they tell the time.

use super::host::{Host, cpu_list};
use super::{Finding, Subject};

pub(super) fn governor(host: &Host) -> Finding {
    let subject = Subject {
        name: "cpu governor",
        should_be: "performance",
        costs: "a core that was idle runs at half its clock or less for the next ms: up to twice the \
                latency at low load",
    };
    let of = |cpu: &usize| {
        host.text(&format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"))
    };
    let known: Vec<(usize, String)> =
        host.cpus.iter().filter_map(|cpu| Some((*cpu, of(cpu)?))).collect();
    let slow: Vec<&(usize, String)> = known.iter().filter(|(_, g)| g != "performance").collect();
    match (known.is_empty(), slow.first()) {
        (true, _) => subject.unknown("not ours to say (a virtual machine, or no cpufreq)"),
        (_, None) => subject.well("performance"),
        (_, Some((cpu, governor))) => subject.mend(
            format!("{governor} on {} of {} CPUs (CPU {cpu})", slow.len(), known.len()),
            "cpupower frequency-set -g performance",
        ),
    }
}

pub(super) fn clock_source(host: &Host) -> Finding {
    let subject = Subject {
        name: "clock source",
        should_be: "tsc, kvm-clock or hyperv_clocksource_tsc_page",
        costs: "each look at the clock is a system call (0.5-1 µs in place of 0.02), several a \
                request",
    };
    let at = "sys/devices/system/clocksource/clocksource0";
    let Some(current) = host.text(&format!("{at}/current_clocksource")) else {
        return subject.unknown("the kernel does not say");
    };
    let fast = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];
    if fast.contains(&current.as_str()) {
        return subject.well(current);
    }
    let available = host.text(&format!("{at}/available_clocksource")).unwrap_or_default();
    match fast.iter().find(|f| available.split_whitespace().any(|a| a == **f)) {
        Some(better) => {
            let mend = format!("echo {better} > /{at}/current_clocksource");
            subject.mend(current, mend)
        }
        None => subject.mend(current, "boot with clocksource=tsc tsc=reliable"),
    }
}

/// Network cards and disks that interrupt: whether all their interrupts land on one shard's core.
pub(super) fn irq_affinity(host: &Host) -> Finding {
    let subject = Subject {
        name: "irq affinity",
        should_be: "each device's queues spread over the cores",
        costs: "the core that takes all interrupts has that much less for its shard: its partitions \
                are the slow ones",
    };
    const DEVICES: &[&str] =
        &["nvme", "eth", "ens", "eno", "enp", "mlx", "virtio", "ixgbe", "i40e"];
    let Some(interrupts) = host.text("proc/interrupts") else {
        return subject.unknown("the kernel does not say");
    };
    let mut queues = Vec::new();
    for line in interrupts.lines().skip(1) {
        let Some((irq, rest)) = line.split_once(':') else { continue };
        let Ok(irq) = irq.trim().parse::<u32>() else { continue };
        let device = rest.split_whitespace().next_back().unwrap_or_default();
        let is_queue = !device.contains("config") && !device.contains("control");
        if is_queue && DEVICES.iter().any(|d| device.starts_with(d)) {
            let list = host
                .text(&format!("proc/irq/{irq}/effective_affinity_list"))
                .or_else(|| host.text(&format!("proc/irq/{irq}/smp_affinity_list")));
            if let Some(list) = list.map(|l| cpu_list(&l)).filter(|l| !l.is_empty()) {
                queues.push((irq, list));
            }
        }
    }
    if queues.len() < 2 || host.cpus.len() < 2 {
        let is = format!("{} queues, {} shards' CPUs", queues.len(), host.cpus.len());
        return subject.well(format!("nothing to spread: {is}"));
    }
    let first = &queues[0].1;
    if first.len() == 1 && queues.iter().all(|(_, cpus)| cpus == first) {
        let mend = format!(
            "systemctl start irqbalance, or by hand: echo {} > /proc/irq/{}/smp_affinity_list …",
            host.cpus[1], queues[1].0
        );
        return subject.mend(format!("all {} queues on CPU {}", queues.len(), first[0]), mend);
    }
    subject.well(format!("{} queues, spread", queues.len()))
}
