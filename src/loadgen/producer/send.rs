//! A producer's batches on their way out and their answers: requests in flight, latencies, refusals.
//! Runs on the producer's executor, in its task and in the completions of its connections.

use super::*;

impl Producer {
    pub(super) fn dispatch_all(self: &Rc<Self>) {
        let links = self.state.borrow().links.len();
        for node in 0..links {
            self.dispatch(node);
        }
    }

    /// Sends what waits for this node, as far as requests may be in flight.
    pub(super) fn dispatch(self: &Rc<Self>, node: usize) {
        let w = &self.control.workload;
        loop {
            let mut state = self.state.borrow_mut();
            let (now_ns, link) = (now().0, &state.links[node]);
            if link.in_flight.len() >= w.in_flight || now_ns < link.throttled_until_ns {
                return;
            }
            let Some(batch) = state.next_batch(node) else { return };
            let link = &mut state.links[node];
            link.in_flight.push_back(now_ns);
            let (connection, version) = (link.connection.clone(), link.version);
            // `send` may complete at once when the connection is closed.
            drop(state);
            let correlation_id = connection.next_correlation_id();
            let topic = self.control.layout.topic_of(batch.lane);
            let (head, tail) = produce::encode_single_partition_request(
                version,
                correlation_id,
                connection.client_id(),
                w.acks.wire(),
                w.request_timeout.as_millis() as i32,
                &topic.name,
                topic.id,
                self.control.layout.places[batch.lane].partition,
                batch.bytes.len(),
            );
            let records = batch.bytes.clone();
            let pieces = SmallVec::from_iter([head.into(), records, tail.into()]);
            let request = RawRequest { api_key: PRODUCE_KEY, version, correlation_id, pieces };
            let this = self.clone();
            let completion = if w.acks == Acks::None {
                Completion::Written(Box::new(move |result| {
                    this.completed(node, batch, result.map(|()| None));
                }))
            } else {
                Completion::Answer(Box::new(move |result| {
                    let topic = &this.control.layout.topic_of(batch.lane).name;
                    let answer = result.and_then(|body| answered(version, topic, &body));
                    let (wait, outcome) = match answer {
                        Ok((wait, outcome)) => (wait, outcome.map(Some)),
                        Err(e) => (Duration::ZERO, Err(e)),
                    };
                    if !wait.is_zero() {
                        this.throttled(node, version, wait);
                    }
                    this.completed(node, batch, outcome);
                }))
            };
            connection.send(request, completion);
        }
    }

    /// The broker asks for silence on this connection.
    fn throttled(self: &Rc<Self>, node: usize, version: i16, wait: Duration) {
        let now_ns = now().0;
        self.control.throttled("Produce", now_ns, wait);
        if version < PRODUCE_WAITS_ITSELF {
            return;
        }
        self.state.borrow_mut().links[node].throttled_until_ns = now_ns + wait.as_nanos() as u64;
        let this = self.clone();
        spawn(async move {
            sleep(wait).await;
            this.dispatch(node);
            this.room.notify_waiters();
        });
    }

    /// `Ok(None)`: written, no answer asked for.
    fn completed(
        self: &Rc<Self>,
        node: usize,
        batch: Batch,
        result: Result<Option<i64>, ClientError>,
    ) {
        let now_ns = now().0;
        let control = &self.control;
        let mut state = self.state.borrow_mut();
        state.links[node].in_flight.pop_front();
        let lane = &mut state.lanes[batch.lane];
        let range = (batch.first_sequence, batch.first_sequence + u64::from(batch.records));
        match &result {
            Ok(base_offset) => {
                lane.sent.acked += u64::from(batch.records);
                if let Some(base) = base_offset {
                    control.acked(batch.lane, base + i64::from(batch.records));
                }
                state.answered_ns = now_ns;
                let answered = base_offset.is_some();
                self.stats.record(|window| {
                    let counts = window.counts(control.span(now_ns));
                    counts.produced_records += u64::from(batch.records);
                    counts.produced_bytes += batch.value_bytes;
                    counts.produced_wire_bytes += batch.bytes.len() as u64;
                    counts.produced_batches += 1;
                    if answered {
                        for &(due_ns, records) in &batch.runs {
                            let latency_ns = now_ns.saturating_sub(due_ns);
                            let due = control.schedule.span(due_ns);
                            window.record(Latency::Ack, due, latency_ns, records.into());
                        }
                    }
                });
                state.refused_in_a_row = 0;
            }
            Err(_) => {
                lane.sent.not_acked.push(range);
                state.refused_in_a_row += 1;
            }
        }
        let refused_in_a_row = state.refused_in_a_row;
        let mut runs = batch.runs;
        runs.clear();
        state.spare_runs.push(runs);
        drop(state);
        match result {
            Ok(_) => self.dispatch(node),
            Err(e @ ClientError::Broker { code, .. }) if forbidden(code).is_some() => {
                control.error(now_ns, format!("Produce: {}", error_name(code)));
                control.fail(now_ns, e.to_string());
            }
            Err(e @ ClientError::Broker { .. }) => {
                control.error(now_ns, e.to_string());
                if refused_in_a_row >= REFUSED_IN_A_ROW_MAX {
                    let times = REFUSED_IN_A_ROW_MAX;
                    control.fail(now_ns, format!("{times} batches in a row were refused: {e}"));
                } else {
                    self.dispatch(node);
                }
            }
            Err(_) if self.closing.get() => {}
            Err(e) => {
                let node = &control.layout.nodes[node];
                control.error(now_ns, "Produce: connection lost".to_string());
                control.fail(now_ns, format!("broker node {}: {e}", node.id));
            }
        }
        if self.wants_room.get() {
            self.room.notify_waiters();
        }
    }

    /// A request without an answer for too long ends the run.
    pub(super) fn stuck(&self, now_ns: u64) -> bool {
        let limit = self.control.workload.request_timeout;
        let state = self.state.borrow();
        for (node, link) in self.control.layout.nodes.iter().zip(&state.links) {
            let oldest = link.in_flight.front().copied().unwrap_or(now_ns);
            if now_ns.saturating_sub(oldest) > limit.as_nanos() as u64 {
                let seconds = limit.as_secs();
                self.control.error(now_ns, "Produce: no answer".to_string());
                self.control.fail(
                    now_ns,
                    format!(
                        "broker node {} at {} left a batch unanswered for {seconds} s",
                        node.id, node.addr
                    ),
                );
                return true;
            }
        }
        false
    }
}

/// The answer to a request for one partition: how long a quota wants us to wait, and the base offset.
fn answered(
    version: i16,
    topic: &str,
    body: &Bytes,
) -> Result<(Duration, Result<i64, ClientError>), ClientError> {
    let answer = produce::decode_response(version, body)
        .map_err(|e| ClientError::Protocol(format!("the answer to Produce: {e}")))?;
    let wait = Duration::from_millis(answer.throttle_time_ms.max(0) as u64);
    let partition = answer.topics.iter().flat_map(|t| &t.partitions).next();
    let outcome = match partition {
        None => return Err(ClientError::Protocol("an empty answer to Produce".to_string())),
        Some(p) if p.error_code != 0 => Err(ClientError::Broker {
            // A kind of error is a row of the report; who may not write has to know where.
            what: match forbidden(p.error_code) {
                Some(_) => format!("Produce to topic {topic}"),
                None => "Produce".to_string(),
            },
            code: p.error_code,
            // The message names offsets and sequences: as a kind of error the name is enough.
            message: p.error_message.clone().filter(|m| *m != error_name(p.error_code)),
        }),
        Some(p) => Ok(p.base_offset),
    };
    Ok((wait, outcome))
}
