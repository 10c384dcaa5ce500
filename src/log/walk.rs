//! From bytes that begin at a batch to the whole batches in them that a reader asked for. Pure.
//! What a file gave is not trusted; what comes from memory was checked when it was appended.

use super::scan::has_sane_offsets;
use crate::types::Offset;
use crate::wire::record_batch::{self, BatchHeader, HEADER_BYTES};

/// What is known of bytes that a file gave: what they are checked against.
pub(super) struct Stored {
    /// Of the segment.
    pub base: Offset,
    pub next: Offset,
    /// The bytes end where the segment does.
    pub to_the_end: bool,
}

/// What a walk over bytes that begin at a batch found.
pub(super) struct Walk {
    /// The batches to return, in the bytes; empty when start == end.
    pub start: usize,
    pub end: usize,
    /// The offset after them.
    pub next: Offset,
    /// Where the walk ended.
    pub stop: Stop,
}

pub(super) enum Stop {
    /// `up_to` or the room is reached.
    Done,
    /// The batch at `at` needs `need` bytes, which are not all there.
    Short { at: usize, need: usize },
    /// What is at `at` is no batch, or not the one that was written.
    Bad { at: usize, why: String },
}

/// Whole batches of `bytes` from the one that holds `from`, below `up_to`, within `room` bytes; the
/// first is taken whatever its size if `take_first`. What is `stored` is not trusted: a batch
/// is taken when its CRC is right and its offsets, which no CRC covers, lie between its neighbours'.
pub(super) fn walk(
    bytes: &[u8],
    from: Offset,
    up_to: Offset,
    room: usize,
    mut take_first: bool,
    stored: Option<Stored>,
) -> Walk {
    let mut at = 0;
    let mut start = None;
    let mut taken_to = from;
    let (mut next, end) = stored.as_ref().map_or((Offset::MIN, Offset::MAX), |s| (s.base, s.next));
    let stop = loop {
        let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= HEADER_BYTES) else {
            break Stop::Short { at, need: HEADER_BYTES };
        };
        let header = match BatchHeader::parse(rest) {
            Ok(header) => header,
            Err(e) => break Stop::Bad { at, why: e.to_string() },
        };
        let size = header.size_bytes();
        if !has_sane_offsets(&header) {
            break Stop::Bad { at, why: "not a record batch".into() };
        }
        if header.base_offset < next || header.last_offset() >= end {
            let (first, last) = (header.base_offset, header.last_offset());
            let why = format!("offsets {first} to {last} between {next} and {end}");
            break Stop::Bad { at, why };
        }
        next = header.last_offset() + 1;
        if header.last_offset() < from {
            at += size;
            continue;
        }
        if header.last_offset() >= up_to {
            break Stop::Done;
        }
        let first = *start.get_or_insert(at);
        if at + size - first > room && !take_first {
            break Stop::Done;
        }
        if size > rest.len() {
            break Stop::Short { at, need: size };
        }
        if let Some(stored) = &stored {
            let after = rest[size..].first_chunk().map(|b| Offset::from_be_bytes(*b));
            let last = stored.to_the_end && size == rest.len();
            let why = match (record_batch::check_crc(rest), after) {
                (Err(e), _) => e.to_string(),
                (Ok(_), Some(after)) if after < next => format!("then comes offset {after}"),
                (Ok(_), None) if !last => {
                    break Stop::Short { at, need: size + size_of::<Offset>() };
                }
                _ => String::new(),
            };
            if !why.is_empty() {
                break Stop::Bad {
                    at,
                    why: format!("batch at offset {}: {why}", header.base_offset),
                };
            }
        }
        take_first = false;
        taken_to = next;
        at += size;
    };
    let start = start.unwrap_or(at);
    Walk { start, end: at.max(start), next: taken_to, stop }
}
