//! One consumer's loop against one leader: reads the lanes it was given (its own assignment, no
//! group) from where they ended before the run, checks every record and times it from its stamp.
//! Lives on one executor. After the producers' end it reads on to the last acknowledged offset, for as
//! long as there is progress; what is missing then is lost.

mod fetcher;
mod reader;
pub mod replay;

use std::sync::Arc;

use super::control::Control;
use super::stats::{Latency, ThreadStats};
use crate::client::{ClientError, Connection, error_name};
use crate::runtime::{now, yield_if_needed};
use fetcher::{Assigned, Fetcher};
use reader::Reader;

struct Consumer {
    control: Arc<Control>,
    stats: Arc<ThreadStats>,
    lanes: Vec<usize>,
    reader: Reader,
    last_progress_ns: u64,
}

/// The lanes of one consumer that `node` leads; runs until they are read to the acknowledged end.
pub async fn run(
    control: Arc<Control>,
    stats: Arc<ThreadStats>,
    consumer: u32,
    node: usize,
    lanes: Vec<usize>,
) {
    let mut this = Consumer {
        reader: Reader::new(control.clone(), control.run, control.run),
        stats,
        lanes,
        last_progress_ns: now().0,
        control: control.clone(),
    };
    if let Err(e) = this.consume(consumer, node).await {
        let id = control.layout.nodes[node].id;
        control.error(now().0, "Fetch: connection lost".to_string());
        control.fail(now().0, format!("broker node {id}: {e}"));
        this.reader.seen.cut_off = this.lanes;
    }
    control.outcome(|o| o.seen.push(this.reader.seen));
    control.consumer_ended();
}

impl Consumer {
    async fn consume(&mut self, consumer: u32, node: usize) -> Result<(), ClientError> {
        let control = self.control.clone();
        let addr = control.layout.nodes[node].addr;
        let name = format!("spindle-bench-consumer-{consumer}");
        let limit = control.workload.request_timeout;
        let connection = Connection::connect(addr, &name, limit).await?;
        let starts = self.lanes.iter().map(|&l| (l, control.layout.places[l].start_offset));
        let mut fetcher = Fetcher::new(control.clone(), connection, starts)?;
        let mut asked = fetcher.ask();
        while !self.finished(&fetcher.assigned) {
            let answered = asked.is_some();
            let parts = fetcher.answer(asked).await?;
            let arrived_ns = now().0;
            // The broker works on the next answer while we look at this one.
            asked = fetcher.ask();
            self.reader.start();
            for part in &parts {
                self.reader.read(fetcher.assigned[part.slot].lane, part)?;
                yield_if_needed().await;
            }
            // Silence that a quota asks for is no lack of progress.
            if !parts.is_empty() || fetcher.is_throttled(arrived_ns) {
                self.last_progress_ns = arrived_ns;
            }
            self.count(u64::from(answered), arrived_ns);
            self.reader.seen.offset_gaps = fetcher.offset_gaps;
        }
        Ok(())
    }

    fn count(&self, fetches: u64, now_ns: u64) {
        let control = &self.control;
        let reader = &self.reader;
        self.stats.record(|window| {
            let counts = window.counts(control.span(now_ns));
            counts.fetches += fetches;
            counts.consumed_records += reader.records;
            counts.consumed_bytes += reader.bytes;
            counts.consumed_wire_bytes += reader.wire_bytes;
            for &(due_ns, records) in &reader.runs {
                let latency_ns = now_ns.saturating_sub(due_ns);
                let due = control.schedule.span(due_ns);
                window.record(Latency::EndToEnd, due, latency_ns, records.into());
            }
        });
    }

    fn finished(&mut self, assigned: &[Assigned]) -> bool {
        let now_ns = now().0;
        if !self.control.producers_done() {
            // Quiet before the end is no lack of progress.
            self.last_progress_ns = now_ns;
            return false;
        }
        let behind: Vec<&Assigned> =
            assigned.iter().filter(|a| a.position < self.control.acked_end(a.lane)).collect();
        if behind.is_empty() {
            return true;
        }
        let waited_ns = now_ns.saturating_sub(self.last_progress_ns);
        let gives_up = waited_ns > self.control.workload.drain_timeout.as_nanos() as u64;
        if gives_up {
            // Nobody could look where the broker answers with errors: that is not known to be lost.
            let refused = behind.iter().filter(|a| a.error != 0).map(|a| a.lane);
            self.reader.seen.cut_off.extend(refused);
            let seconds = self.control.workload.drain_timeout.as_secs();
            let names = partition_list(&self.control, &behind);
            let sentence = format!(
                "{names} gave no more records for {seconds} s, though more were acknowledged"
            );
            self.control.fail(now_ns, sentence);
        }
        gives_up
    }
}

/// The first few by name, with the error that the broker answers.
fn partition_list(control: &Control, assigned: &[&Assigned]) -> String {
    const NAMED: usize = 8;
    let name = |a: &&Assigned| {
        let name = control.layout.partition_name(a.lane);
        match a.error {
            0 => name,
            code => format!("{name} ({})", error_name(code)),
        }
    };
    let names: Vec<String> = assigned.iter().take(NAMED).map(name).collect();
    let more = match assigned.len().saturating_sub(NAMED) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!("{}{more}", names.join(", "))
}
