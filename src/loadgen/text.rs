//! The words and columns of a run on a terminal: the line of each second and the final report.

use std::fmt::Write as _;

use super::control::Control;
use super::report::{Percentiles, Report, Tick, activity};

/// 1234567 as 1,234,567.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Three digits and the unit that fits.
pub fn latency(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e4 => format!("{:.2} ms", us / 1e3),
        us if us < 1e5 => format!("{:.1} ms", us / 1e3),
        us if us < 1e6 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

fn three(p: &Option<Percentiles>) -> String {
    match p {
        None => "- / - / -".to_string(),
        Some(p) => {
            format!("{} / {} / {}", latency(p.p50_us), latency(p.p99_us), latency(p.p999_us))
        }
    }
}

impl Control {
    /// One line before the traffic.
    pub fn describe(&self) -> String {
        let w = &self.workload;
        let rate = match w.rate {
            0.0 => "full speed".to_string(),
            rate => format!("{} records/s", grouped(rate as u64)),
        };
        let more = match self.layout.topics.len() {
            1 => String::new(),
            n => format!(" and {} more topics", n - 1),
        };
        format!(
            "{}{more} at {}: {} partitions on {} node(s), {rate}, {} B records, acks={}, {} producer(s), {} consumer(s)",
            w.topic,
            w.bootstrap,
            self.layout.places.len(),
            self.layout.nodes.len(),
            w.sizes,
            w.acks.name(),
            w.producers,
            w.consumers
        )
    }
}

/// Above the lines of `tick`.
pub fn tick_header() -> String {
    format!(
        "{:>6}  {:>11}  {:>9}  {:>9}  {:<30}  {:<30}  {:>6}  {:>6}",
        "time",
        "records/s",
        "MB/s in",
        "MB/s out",
        "ack p50 / p99 / p99.9",
        "end to end p50 / p99 / p99.9",
        "broker",
        "bench"
    )
}

pub fn tick(t: &Tick) -> String {
    let broker = t.broker.as_ref().map_or("-".to_string(), |b| format!("{:.0} %", b.cpu_percent));
    let mut line = format!(
        "{:>4.0} s  {:>11}  {:>9.1}  {:>9.1}  {:<30}  {:<30}  {:>6}  {:>6}",
        t.at_s,
        grouped(t.produced_records_per_s.round() as u64),
        t.produced_mb_per_s,
        t.consumed_mb_per_s,
        three(&t.ack),
        three(&t.end_to_end),
        broker,
        format!("{:.0} %", t.generator_cpu_percent)
    );
    if !t.measured {
        let _ = write!(line, "  {}", t.phase);
    }
    if t.errors > 0 {
        let _ = write!(line, "  {} errors", t.errors);
    }
    line
}

fn percentile_row(out: &mut String, name: &str, p: &Option<Percentiles>, absent: &str) {
    let Some(p) = p else {
        let _ = writeln!(out, "  {name:<12} not measured: {absent}");
        return;
    };
    let _ = writeln!(
        out,
        "  {name:<12} p50 {:>8}   p90 {:>8}   p99 {:>8}   p99.9 {:>8}   max {:>8}   ({} samples)",
        latency(p.p50_us),
        latency(p.p90_us),
        latency(p.p99_us),
        latency(p.p999_us),
        latency(p.max_us),
        grouped(p.samples)
    );
}

impl Report {
    /// The final report, plain text with units.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.text_setup(&mut out);
        self.text_traffic(&mut out);
        self.text_cost(&mut out);
        self.text_trials(&mut out);
        self.text_checks(&mut out);
        let _ = writeln!(out, "\nrepeat with\n  {}", self.command);
        out
    }

    fn text_setup(&self, out: &mut String) {
        let c = &self.configuration;
        let rate = match c.rate_records_per_s {
            0.0 => "full speed (closed loop)".to_string(),
            rate => format!("{} records/s (open loop)", grouped(rate as u64)),
        };
        let whose =
            if self.broker.in_process { "Spindle in this process" } else { "external broker" };
        let pinned = match c.generator_cpus.is_empty() {
            true => "not pinned".to_string(),
            false => format!("on CPU {:?}", c.generator_cpus),
        };
        let commit = self.commit.as_ref().map_or(String::new(), |c| format!(" ({c})"));
        let _ = writeln!(out, "\nspindle bench {}{commit}, {}", self.version, self.started_at);
        let _ = writeln!(
            out,
            "  machine      {}, {} cores, Linux {}",
            self.machine.cpu, self.machine.cores, self.machine.kernel
        );
        if let Some(disk) = &self.machine.disk {
            let _ = writeln!(out, "  disk         {disk}");
        }
        let _ = writeln!(
            out,
            "  broker       {} ({whose}), {} topic(s) of {} partitions on {} node(s)",
            c.bootstrap_server,
            c.topics.len(),
            c.partitions,
            self.broker.nodes
        );
        let _ = writeln!(
            out,
            "  load         {rate}, {} B records, {} producer(s), {} consumer(s), {:.0} s after {:.0} s warm-up",
            c.record_size, c.producers, c.consumers, c.duration_s, c.warmup_s
        );
        let _ = writeln!(
            out,
            "  producer     acks={}, {}, linger {} ms, batches to {} B, {} in flight{}, seed {}",
            c.acks,
            c.compression,
            c.linger_ms,
            grouped(c.batch_bytes as u64),
            c.max_in_flight,
            if c.idempotence { ", idempotent" } else { "" },
            c.seed
        );
        let _ = writeln!(out, "  generator    {} thread(s), {pinned}", c.generator_threads);
    }

    fn text_traffic(&self, out: &mut String) {
        let m = &self.measured;
        let _ = writeln!(out, "\nmeasured {:.1} s", self.measured_s);
        for (name, per_s, mb, records) in [
            ("produced", self.produced_records_per_s, self.produced_mb_per_s, m.produced_records),
            ("consumed", self.consumed_records_per_s, self.consumed_mb_per_s, m.consumed_records),
        ] {
            let _ = writeln!(
                out,
                "  {name:<12} {:>11} records/s   {mb:>8.1} MB/s   {:>13} records",
                grouped(per_s.round() as u64),
                grouped(records)
            );
        }
        if let Some(r) = &self.replay {
            let _ = writeln!(
                out,
                "  replayed     {:>32.1} MB/s   {:>13} records from the start, {}",
                r.mb_per_s,
                grouped(r.records),
                match r.caught_up_s {
                    Some(at) => format!("at the live end after {:.1} s", at - r.started_s),
                    None => "the live end was not reached".to_string(),
                }
            );
        }
        if m.produced_batches > 0 {
            let _ = writeln!(
                out,
                "  batches      {:.0} records and {} B on the wire each, {:.2} wire bytes a record byte",
                m.produced_records as f64 / m.produced_batches as f64,
                grouped(m.produced_wire_bytes / m.produced_batches),
                m.produced_wire_bytes as f64 / m.produced_bytes.max(1) as f64
            );
        }
        let _ = writeln!(out, "\nlatency from the intended send time");
        let no_ack = match self.configuration.acks.as_str() {
            "0" => "acks=0 has no answers",
            _ => "nothing was acknowledged in the measured period",
        };
        percentile_row(out, "ack", &self.ack, no_ack);
        let unread = match self.configuration.consumers {
            0 => "no consumers",
            _ => "nothing was read in the measured period",
        };
        percentile_row(out, "end to end", &self.end_to_end, unread);
        if self.generator_lateness.is_some() {
            percentile_row(out, "of these ours", &self.generator_lateness, "");
        }
        self.text_phases(out);
    }

    /// Only where there are more than the warm-up and one phase.
    fn text_phases(&self, out: &mut String) {
        if self.phases.iter().filter(|p| p.measured).count() < 2 {
            return;
        }
        out.push_str("\nphases          intended/s    produced/s  ");
        out.push_str("ack p50 / p99 / p99.9, p99 of the median second\n");
        for p in self.phases.iter().filter(|p| p.measured) {
            let rate = match p.rate {
                None => "full".to_string(),
                Some((from, to)) if from == to => grouped(from as u64),
                Some((from, to)) => format!("{}-{}", grouped(from as u64), grouped(to as u64)),
            };
            let per_s = grouped(p.produced_records_per_s.round() as u64);
            let median = p.ack_p99_us_of_median_second.map_or("-".to_string(), latency);
            let three = three(&p.ack);
            let _ = writeln!(out, "  {:<10} {rate:>15} {per_s:>13}  {three}, {median}", p.name);
        }
    }

    fn text_cost(&self, out: &mut String) {
        let _ = writeln!(out, "\nCPU");
        let broker = (self.broker_cpu_s_per_gb_produced, self.broker_cpu_us_per_record);
        match (self.cpu.broker_s, broker) {
            (Some(s), (Some(per_gb), Some(per_record))) => {
                let _ = writeln!(
                    out,
                    "  broker       {s:.2} s ({:.0} % of one CPU): {per_gb:.3} s per GB produced{}, {per_record:.2} s per million records",
                    self.cpu.broker_percent().unwrap_or(0.0),
                    if self.consumed_mb_per_s > 0.0 { " (and consumed)" } else { "" },
                );
            }
            (Some(s), _) => {
                // Nothing was produced: what moved was read.
                let per_gb = self.broker_cpu_s_per_gb_moved;
                let per_gb =
                    per_gb.map_or(String::new(), |s| format!(": {s:.3} s per GB consumed"));
                let percent = self.cpu.broker_percent().unwrap_or(0.0);
                let _ =
                    writeln!(out, "  broker       {s:.2} s ({percent:.0} % of one CPU){per_gb}");
            }
            (None, _) => {
                let _ = writeln!(
                    out,
                    "  broker       not measured: it runs elsewhere (--broker-pid reads one on this machine)"
                );
            }
        }
        if let Some(bytes) = self.broker_peak_rss_bytes {
            let with = if self.broker.in_process { ", the generator's with it" } else { "" };
            let switches = match self.broker_context_switches {
                Some(n) => format!("; {} context switches", grouped(n)),
                None => String::new(),
            };
            let _ =
                writeln!(out, "  memory       peak {:.0} MB{with}{switches}", bytes as f64 / 1e6);
        }
        let generator: f64 = self.cpu.generator_s.iter().sum();
        let _ = writeln!(
            out,
            "  generator    {generator:.2} s (busiest thread {:.0} % of one CPU){}",
            self.cpu.generator_percent(),
            self.generator_cpu_s_per_gb
                .map_or(String::new(), |s| format!(": {s:.3} s per GB produced or consumed"))
        );
        activity::text(out, &self.cpu.shards);
        if let Some(crossings) = self.data_crossings {
            let _ = writeln!(out, "  crossings    {} requests between cores", grouped(crossings));
        }
    }

    fn text_trials(&self, out: &mut String) {
        if self.trials.is_empty() {
            return;
        }
        let _ =
            writeln!(out, "\nsearch of the highest rate (all other figures are of the best trial)");
        for t in &self.trials {
            let asked = match t.rate_records_per_s {
                0.0 => "full speed".to_string(),
                rate => format!("{}/s", grouped(rate as u64)),
            };
            let _ = writeln!(
                out,
                "  {} {asked:>14} asked {:>14}/s done   {}",
                if t.kept { "kept    " } else { "not kept" },
                grouped(t.produced_records_per_s.round() as u64),
                t.reason
            );
        }
    }

    fn text_checks(&self, out: &mut String) {
        let v = &self.verification;
        let _ = writeln!(out, "\nchecked");
        let _ = writeln!(
            out,
            "  sent {}, acknowledged {}, read {}",
            grouped(v.records_sent),
            grouped(v.records_acked),
            grouped(v.records_read)
        );
        if v.checked {
            let _ = writeln!(
                out,
                "  lost {}, doubled {}, out of order {}, altered {}, misplaced {}, offsets skipped {}{}{}",
                v.lost,
                v.duplicated,
                v.reordered,
                v.corrupted,
                v.misplaced,
                v.offset_gaps,
                if v.foreign > 0 {
                    format!(", {} of other writers ignored", v.foreign)
                } else {
                    String::new()
                },
                if v.not_read_back > 0 {
                    format!(", {} not read back", grouped(v.not_read_back))
                } else {
                    String::new()
                },
            );
        } else {
            let _ = writeln!(out, "  not read back: no consumers");
        }
        for (kind, e) in &self.errors {
            let _ =
                writeln!(out, "  error: {kind}: {} times, first at {:.1} s", e.count, e.first_at_s);
        }
        if self.interrupted {
            let at = self.stopped_early_s.unwrap_or(0.0);
            let _ = writeln!(out, "  interrupted after {at:.1} s");
        }
        for warning in &self.warnings {
            let _ = writeln!(out, "  warning: {warning}");
        }
        for what in &self.not_measured {
            let _ = writeln!(out, "  not measured: {what}");
        }
        for problem in self.problems() {
            let _ = writeln!(out, "  FAILED: {problem}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(latency(87.4), "87 µs");
        assert_eq!(latency(1_234.0), "1.23 ms");
        assert_eq!(latency(45_600.0), "45.6 ms");
        assert_eq!(latency(456_000.0), "456 ms");
        assert_eq!(latency(2_340_000.0), "2.34 s");
    }
}
