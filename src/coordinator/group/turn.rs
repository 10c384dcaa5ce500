//! One step under way: its time, the image of topics, and where its effects go.

use super::Now;
use super::answer::Answer;
use super::effect::{Effect, Producer};
use super::event::Event;
use super::input::RequestId;
use super::records::Record;
use super::topics::Topics;

pub struct Turn<'a> {
    pub now: Now,
    pub topics: &'a dyn Topics,
    out: &'a mut Vec<Effect>,
}

impl<'a> Turn<'a> {
    pub fn new(now: Now, topics: &'a dyn Topics, out: &'a mut Vec<Effect>) -> Turn<'a> {
        Turn { now, topics, out }
    }

    /// Of what is known without the log.
    pub fn answer(&mut self, to: RequestId, answer: Answer) {
        self.out.push(Effect::Answer { to, answer, after_append: false });
    }

    /// Of what the log has to hold first.
    pub fn answer_after_append(&mut self, to: RequestId, answer: Answer) {
        self.out.push(Effect::Answer { to, answer, after_append: true });
    }

    /// The caller has applied them, and knows that they fit a batch.
    pub fn append(&mut self, records: Vec<Record>) {
        if !records.is_empty() {
            self.out.push(Effect::Append { records, transactional: None, whole: true });
        }
    }

    /// As many as they are, each of which fits a batch. Every prefix of them has to be a state to go on from.
    pub fn append_in_parts(&mut self, records: Vec<Record>) {
        if !records.is_empty() {
            self.out.push(Effect::Append { records, transactional: None, whole: false });
        }
    }

    pub fn append_transactional(&mut self, producer: Producer, records: Vec<Record>) {
        if !records.is_empty() {
            let transactional = Some(producer);
            self.out.push(Effect::Append { records, transactional, whole: true });
        }
    }

    pub fn event(&mut self, event: Event) {
        self.out.push(Effect::Event(event));
    }
}
