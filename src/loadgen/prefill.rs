//! Records that are there before the schedule begins (`--prefill`): written at full speed by the run's own
//! producers, under a tag of their own, so that a replay can check them and nothing else counts them.
//! Runs on the caller's OS thread, before the measured threads start. Not measured, not on the report's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::control::{Control, Layout, Prefilled, prefill_run};
use super::run::{POLL, start_threads};
use super::workload::{PayloadPool, Schedule, Workload};

/// Its producers end when the records are written, not at this time.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Moves the layout's starts behind what it wrote.
pub fn prefill(
    w: &Workload,
    layout: &mut Layout,
    payloads: Arc<PayloadPool>,
    run: u32,
    now_ns: u64,
    interrupted: &AtomicBool,
) -> Result<Prefilled, String> {
    let writes = Workload {
        rate: 0.0,
        phases: Vec::new(),
        warmup: Duration::ZERO,
        duration: LONGEST,
        records: Some(w.prefill),
        prefill: 0,
        producers: w.producers.max(1),
        consumers: 0,
        replay_consumers: 0,
        ..w.clone()
    };
    let schedule = Schedule::new(&writes, now_ns);
    let run = prefill_run(run);
    let control = Arc::new(Control::new(writes, layout.clone(), schedule, payloads, run));
    let threads = start_threads(&control)?;
    while !threads.iter().all(|t| t.handle.is_finished()) {
        std::thread::sleep(POLL);
        if interrupted.load(Relaxed) {
            control.stop(now_ns);
        }
    }
    for thread in threads {
        let _ = thread.handle.join();
    }
    if let Some(failure) = control.failures().first() {
        return Err(format!("writing the prefill failed: {}", failure.sentence));
    }
    if let Some((kind, errors)) = control.errors().0.first_key_value() {
        return Err(format!("writing the prefill failed: {kind}, {} times", errors.count));
    }
    if interrupted.load(Relaxed) {
        return Err("interrupted while the prefill was written".to_string());
    }
    for (lane, place) in layout.places.iter_mut().enumerate() {
        place.start_offset = control.acked_end(lane);
    }
    Ok(control.outcome(|o| std::mem::take(&mut o.sent)))
}
