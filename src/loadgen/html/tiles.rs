//! The key figures at the head of a page: tiles of one run, bars of several set against one another.

use super::charts::colour;
use super::markup::Markup;
use super::scale::latency_words;
use crate::loadgen::compare::figures::{
    ACK, COST, END_TO_END, Figure, RATE, Unit, figure, significant,
};
use crate::loadgen::compare::groups::{Group, Spread};
use crate::loadgen::report::{Percentiles, Report};

/// Big words, their unit, and a line below.
fn tile(m: &mut Markup, name: &str, value: &str, unit: &str, below: &str) {
    m.open("div", &[("class", "tile")]);
    m.element("h3", &[], name);
    m.within("p", &[("class", "value")], |m| {
        m.text(value);
        if !unit.is_empty() {
            m.element("small", &[], &format!(" {unit}"));
        }
    });
    m.element("p", &[("class", "below")], below);
    m.close();
}

pub fn of_one(m: &mut Markup, r: &Report) {
    m.open("div", &[("class", "tiles")]);
    let records = |per_s: f64| format!("{} records/s", Unit::Count.words(per_s));
    let mb = significant(r.produced_mb_per_s);
    tile(m, "Produced", &mb, "MB/s", &records(r.produced_records_per_s));
    match r.configuration.consumers {
        0 => tile(m, "Consumed", "-", "", "no consumers"),
        _ => {
            let mb = significant(r.consumed_mb_per_s);
            tile(m, "Consumed", &mb, "MB/s", &records(r.consumed_records_per_s));
        }
    }
    let no_ack = match r.configuration.acks.as_str() {
        "0" => "acks=0 has no answers",
        _ => "nothing was acknowledged",
    };
    latency(m, "Ack latency, p99", &r.ack, no_ack);
    let unread = match r.configuration.consumers {
        0 => "no consumers",
        _ => "nothing was read",
    };
    latency(m, "End to end, p99", &r.end_to_end, unread);
    match (r.broker_cpu_s_per_gb_produced, r.cpu.broker_percent()) {
        (Some(per_gb), percent) => {
            let mut below = Vec::new();
            below.extend(percent.map(|p| format!("{} of one core", Unit::Percent.words(p))));
            let million = r.broker_cpu_us_per_record;
            below.extend(million.map(|s| format!("{} s a million records", significant(s))));
            tile(m, "Broker CPU", &significant(per_gb), "s per GB", &below.join("\n"));
        }
        (None, Some(percent)) => {
            tile(m, "Broker CPU", &Unit::Percent.words(percent), "", "of one core");
        }
        (None, None) => tile(m, "Broker CPU", "-", "", "the broker runs elsewhere"),
    }
    match r.broker_peak_rss_bytes {
        Some(rss) => {
            let words = Unit::Bytes.words(rss as f64);
            let (value, unit) = words.split_once(' ').unwrap_or((&words, ""));
            let below = match r.broker.in_process {
                true => "of its process:\nwith the generator",
                false => "resident",
            };
            tile(m, "Broker memory, peak", value, unit, below);
        }
        None => tile(m, "Broker memory, peak", "-", "", "not measured"),
    }
    m.close();
}

fn latency(m: &mut Markup, name: &str, p: &Option<Percentiles>, why: &str) {
    let Some(p) = p else { return tile(m, name, "-", "", why) };
    let words = latency_words(p.p99_us);
    let (value, unit) = words.split_once(' ').unwrap_or((&words, ""));
    let (p50, p999) = (latency_words(p.p50_us), latency_words(p.p999_us));
    tile(m, name, value, unit, &format!("p50 {p50}\np99.9 {p999}"));
}

pub fn of_several(m: &mut Markup, groups: &[Group]) {
    let shown = [
        ("Produced", figure(RATE, "produced, MB/s"), " MB/s"),
        ("Highest rate under the bound", figure(RATE, "highest under the bound, records/s"), " /s"),
        ("Ack latency, p99", figure(ACK, "p99"), ""),
        ("End-to-end latency, p99", figure(END_TO_END, "p99"), ""),
        ("Broker CPU per GB produced", figure(COST, "CPU per GB produced"), ""),
        ("Broker CPU per produce request", figure(COST, "CPU per produce request"), ""),
        ("Broker memory, peak", figure(COST, "peak memory"), ""),
    ];
    m.open("div", &[("class", "tiles bars")]);
    for (name, figure, unit) in shown {
        bars(m, name, figure, unit, groups);
    }
    m.close();
}

/// Lengths from 0, so that they can be compared by eye.
fn bars(m: &mut Markup, name: &str, figure: &Figure, unit: &str, groups: &[Group]) {
    let spreads: Vec<Option<Spread>> = groups.iter().map(|g| g.spread(figure)).collect();
    let most = spreads.iter().flatten().map(|s| s.median).fold(0.0, f64::max);
    if spreads.iter().all(Option::is_none) {
        return;
    }
    m.open("div", &[("class", "tile")]);
    m.within("h3", &[], |m| {
        m.text(name);
        m.element("small", &[], &format!(" {}", figure.section.better.words()));
    });
    let base = spreads[0].map(|s| s.median);
    for (i, (group, spread)) in groups.iter().zip(&spreads).enumerate() {
        m.open("div", &[("class", "bar")]);
        m.element("span", &[("class", "who")], &group.label);
        m.within("span", &[("class", "much")], |m| {
            let words = spread.map_or("not measured".to_string(), |s| {
                format!("{}{unit}", figure.unit.words(s.median))
            });
            m.element(if spread.is_some() { "b" } else { "i" }, &[], &words);
            if i > 0 && spread.is_some() {
                let words = figure.ratio_words(spread.map(|s| s.median), base).replace('x', "×");
                m.element("small", &[], &format!(" {words}"));
            }
        });
        let share = spread.filter(|_| most > 0.0).map_or(0.0, |s| 100.0 * s.median / most);
        let width = format!("width:{:.1}%", share.clamp(0.0, 100.0));
        m.within("span", &[("class", "track"), ("aria-hidden", "true")], |m| {
            let class = format!("fill {}", colour(i));
            if spread.is_some() {
                m.element("span", &[("class", class.as_str()), ("style", &width)], "");
            }
        });
        m.close();
    }
    m.close();
}
