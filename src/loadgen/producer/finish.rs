//! The end of a producer: flush, the last answers, and what it says of what it sent.

use super::*;

impl Producer {
    /// Flushes, waits for the answers (bounded), says what was sent.
    pub(super) async fn finish(self: Rc<Self>) {
        let failed = !self.control.failures().is_empty();
        let open: Vec<usize> = {
            let state = self.state.borrow();
            (0..state.lanes.len()).filter(|&p| !state.lanes[p].builder.is_empty()).collect()
        };
        for lane in open {
            self.state.borrow_mut().seal(lane);
        }
        while !failed && self.control.failures().is_empty() {
            let room = self.room.notified();
            self.wants_room.set(true);
            self.dispatch_all();
            let idle = |l: &Link| l.waiting.is_empty() && l.in_flight.is_empty();
            if self.state.borrow().links.iter().all(idle) || self.stuck(now().0) {
                break;
            }
            timeout(Duration::from_millis(250), room).await;
        }
        if self.control.workload.acks == Acks::None && self.control.failures().is_empty() {
            self.learn_ends().await;
        }
        self.closing.set(true);
        let connections: Vec<Connection> =
            self.state.borrow().links.iter().map(|l| l.connection.clone()).collect();
        for connection in connections {
            connection.close("the producer has finished");
        }
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        if state.made == self.share {
            self.control.share_made(state.answered_ns.max(self.control.schedule.start_ns));
        }
        let due_ns = self.control.end_ns().min(now().0);
        let unsent = state.arrivals.unsent(due_ns).min(self.share - state.made);
        // Batches that never left.
        for batch in state.links.iter_mut().flat_map(|l| l.waiting.drain(..)) {
            let end = batch.first_sequence + u64::from(batch.records);
            let lane = &mut state.lanes[batch.lane];
            lane.sent.not_acked.push((batch.first_sequence, end));
        }
        let sent = state.lanes.iter_mut().map(|lane| {
            lane.sent.sent = lane.next_sequence;
            std::mem::take(&mut lane.sent)
        });
        let sent = sent.collect();
        self.control.outcome(|o| {
            o.sent.push((self.id, sent));
            o.unsent_records += unsent;
        });
    }

    /// acks=0: a broker works through a connection in order, so once it has answered this question
    /// it has seen every batch before it; the end it names is what consumers have to reach.
    async fn learn_ends(&self) {
        let limit = self.control.workload.request_timeout;
        let count = self.state.borrow().links.len();
        for node in 0..count {
            let connection = self.state.borrow().links[node].connection.clone();
            let layout = &self.control.layout;
            for (topic, lanes) in layout.led_by(node) {
                let name = &layout.topics[topic].name;
                let led: Vec<i32> = lanes.iter().map(|&l| layout.places[l].partition).collect();
                match connection.list_offsets(name, &led, LATEST, limit).await {
                    Ok(ends) => {
                        lanes.iter().zip(ends).for_each(|(&l, end)| self.control.acked(l, end));
                    }
                    Err(e) => self.control.fail(now().0, e.to_string()),
                }
            }
        }
    }
}
