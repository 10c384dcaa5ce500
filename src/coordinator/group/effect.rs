//! What a step asks the host for: append, answer, tell. In program order; the host keeps it.

use super::answer::Answer;
use super::event::Event;
use super::input::RequestId;
use super::records::Record;

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// What comes later in program order stands behind it. Already applied to the state: when it can't be appended
    /// the host drops the whole `Groups` and loads again.
    Append {
        records: Vec<Record>,
        transactional: Option<Producer>,
        /// One batch, which the step has seen to fit: all of them count after a crash, or none. Otherwise
        /// the host may cut them where a batch is full: every prefix is a state to go on from.
        whole: bool,
    },
    /// `after_append`: not before everything appended so far is committed, so that nobody is shown what a crash can
    /// take back.
    Answer {
        to: RequestId,
        answer: Answer,
        after_append: bool,
    },
    Event(Event),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Producer {
    pub id: i64,
    pub epoch: i16,
}
