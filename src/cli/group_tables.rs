//! What `spindle group` prints for people. Not here: asking (`group.rs`, `admin::groups`).

use serde::Serialize;

use super::remote::table_or;
use super::time::{human, utc};
use crate::admin::groups::reset::Move;
use crate::admin::groups::{CatchUp, Group, Listed, Member, PartitionLag, explain as causes};
use crate::admin::table::{Table, or_dash};
use crate::coordinator::group::Event;

#[derive(Serialize)]
pub(super) struct Described {
    #[serde(flatten)]
    pub group: Group,
    /// Not asked for with --members and --state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<Vec<PartitionLag>>,
}

pub(super) fn list(groups: &[Listed]) -> String {
    let mut table = Table::new(&["GROUP", "TYPE", "PROTOCOL", "STATE", "COORDINATOR"]);
    for g in groups {
        let protocol = Some(&g.protocol_type).filter(|p| !p.is_empty());
        table.row(vec![
            g.group.clone(),
            or_dash(g.kind.as_ref()),
            or_dash(protocol),
            or_dash(g.state.as_ref()),
            g.coordinator.to_string(),
        ]);
    }
    table_or(table, "no groups")
}

pub(super) fn describe(groups: &[Described], members: bool, state: bool) -> String {
    if state {
        return states(groups);
    }
    let mut text = String::new();
    for d in groups {
        let g = &d.group;
        let epochs = g.epochs.map(|(e, _)| format!(", epoch {e}")).unwrap_or_default();
        text += &format!(
            "group {}: {} ({}{epochs}), {} members\n",
            g.group,
            g.state,
            g.kind,
            g.members.len()
        );
        text += &match &d.lag {
            Some(lags) if !members => lag(lags),
            _ => members_of(g),
        };
        text.push('\n');
    }
    text
}

fn states(groups: &[Described]) -> String {
    let headings = ["GROUP", "STATE", "TYPE", "ASSIGNOR", "COORDINATOR", "MEMBERS", "EPOCH"];
    let mut table = Table::new(&headings);
    for d in groups {
        let g = &d.group;
        table.row(vec![
            g.group.clone(),
            g.state.clone(),
            g.kind.to_string(),
            or_dash(Some(&g.assignor).filter(|a| !a.is_empty())),
            g.coordinator.clone(),
            g.members.len().to_string(),
            or_dash(g.epochs.map(|(epoch, _)| epoch)),
        ]);
    }
    table_or(table, "no groups")
}

fn rate(rate: Option<f64>) -> String {
    or_dash(rate.map(|r| format!("{r:.1}")))
}

fn lag(lags: &[PartitionLag]) -> String {
    let headings = [
        "TOPIC",
        "PARTITION",
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "OUT/S",
        "IN/S",
        "CATCH-UP",
        "CONSUMER-ID",
        "HOST",
        "CLIENT-ID",
    ];
    let mut table = Table::new(&headings);
    for p in lags {
        let catch_up = match p.catch_up {
            None => "-".to_string(),
            Some(CatchUp::CaughtUp) => "now".to_string(),
            Some(CatchUp::Seconds(s)) => human(s),
            Some(CatchUp::Never) => "never".to_string(),
            Some(CatchUp::NoCommitSeen) => "?".to_string(),
            Some(CatchUp::NoConsumer) => "no consumer".to_string(),
        };
        table.row(vec![
            p.topic.clone(),
            p.partition.to_string(),
            or_dash(p.current_offset),
            or_dash(p.log_end_offset),
            or_dash(p.lag),
            rate(p.consumed_rate),
            rate(p.produced_rate),
            catch_up,
            or_dash(p.consumer_id.as_ref()),
            or_dash(p.host.as_ref()),
            or_dash(p.client_id.as_ref()),
        ]);
    }
    let total: i64 = lags.iter().filter_map(|p| p.lag).sum();
    let mut text = table_or(table, "nothing committed and nothing assigned");
    if !lags.is_empty() {
        text += &format!("lag in all {total}\n");
    }
    if lags.iter().any(|p| p.catch_up == Some(CatchUp::NoCommitSeen)) {
        text += "?: no commit was seen; a longer --interval (10s) shows the rate\n";
    }
    text
}

fn members_of(group: &Group) -> String {
    let headings = [
        "CONSUMER-ID",
        "INSTANCE",
        "HOST",
        "CLIENT-ID",
        "EPOCH",
        "#PARTITIONS",
        "ASSIGNED",
        "TARGET",
    ];
    let mut table = Table::new(&headings);
    for m in &group.members {
        table.row(vec![
            m.member_id.clone(),
            or_dash(m.instance_id.as_ref()),
            m.host.clone(),
            m.client_id.clone(),
            or_dash(m.epoch),
            m.assigned.len().to_string(),
            tps(&m.assigned),
            target(m),
        ]);
    }
    table_or(table, "no members")
}

/// Only where it differs from what the member has.
fn target(m: &Member) -> String {
    match &m.target {
        Some(target) if *target != m.assigned => tps(target),
        _ => "-".to_string(),
    }
}

/// `a(0,1),b(2)`, as kafka-consumer-groups.sh prints them.
fn tps(of: &[(String, i32)]) -> String {
    let mut text = String::new();
    for same in of.chunk_by(|a, b| a.0 == b.0) {
        let partitions: Vec<String> = same.iter().map(|(_, p)| p.to_string()).collect();
        if !text.is_empty() {
            text.push(',');
        }
        text += &format!("{}({})", same[0].0, partitions.join(","));
    }
    if text.is_empty() { "-".to_string() } else { text }
}

pub(super) fn moves(moves: &[Move], executed: bool, export: bool) -> String {
    if export {
        let line = |m: &Move| format!("\"{}\",{},{}\n", m.topic, m.partition, m.to);
        return moves.iter().map(line).collect();
    }
    let mut table = Table::new(&["TOPIC", "PARTITION", "FROM", "TO", "NOTE"]);
    for m in moves {
        let note = if m.clamped { "outside of the log: moved to its end" } else { "-" };
        table.row(vec![
            m.topic.clone(),
            m.partition.to_string(),
            or_dash(m.from),
            m.to.to_string(),
            note.to_string(),
        ]);
    }
    let end = if executed { "moved" } else { "nothing was moved: --execute moves them" };
    format!("{table}{end}\n")
}

pub(super) fn explain(events: &[Event]) -> String {
    let headings = ["TIME", "EVENT", "GENERATION", "MEMBER", "CLIENT", "TOOK-MS", "WHY"];
    let mut table = Table::new(&headings);
    for e in events {
        let member = match (&e.member, &e.instance_id) {
            (Some(member), Some(instance)) => Some(format!("{member} ({instance})")),
            (member, instance) => member.as_ref().or(instance.as_ref()).map(|m| m.to_string()),
        };
        let client = match (&e.client_id, &e.client_host) {
            (Some(id), Some(host)) => Some(format!("{id} at {host}")),
            (id, host) => id.as_ref().or(host.as_ref()).map(|c| c.to_string()),
        };
        table.row(vec![
            u64::try_from(e.at_ms).map_or_else(|_| e.at_ms.to_string(), utc),
            causes::kind(e.kind).to_string(),
            e.generation.to_string(),
            or_dash(member),
            or_dash(client),
            or_dash(e.took_ms),
            causes::why(&e.cause),
        ]);
    }
    let mut text = table_or(table, "no events");
    let culprits = causes::culprits(events);
    if culprits.iter().any(|(_, times)| *times > 1) {
        text += "\nrebalances by who caused them:\n";
        for (who, times) in culprits.iter().take(5) {
            text += &format!("  {times:>5}  {who}\n");
        }
    }
    text
}
