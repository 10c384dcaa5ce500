//! The two tasks of a client connection: what leaves, what comes back, and the buffers of big answers.
//! Owned by the connection (`Shared` in the parent); they end when it is closed.

use std::rc::Rc;
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes};
use smallvec::SmallVec;

use super::*;
use crate::wire::primitives;

pub(super) fn take_uvarint(bytes: &mut Bytes) -> Option<u32> {
    primitives::uvarint(|| bytes.has_remaining().then(|| bytes.get_u8()))
}

/// KIP-482: count, then (tag, size, bytes) each.
pub(super) fn skip_tagged_fields(bytes: &mut Bytes) -> Option<()> {
    for _ in 0..take_uvarint(bytes)? {
        take_uvarint(bytes)?;
        let size = take_uvarint(bytes)? as usize;
        if size > bytes.len() {
            return None;
        }
        bytes.advance(size);
    }
    Some(())
}

pub(super) async fn write_loop(shared: Rc<Shared>) {
    loop {
        let ready = shared.outgoing_ready.notified();
        if shared.closed.borrow().is_some() {
            return;
        }
        let batch: SmallVec<[Outgoing; 8]> = {
            let mut queue = shared.outgoing.borrow_mut();
            let (mut count, mut bytes, mut pieces) = (0, 0, 0);
            for o in queue.iter() {
                bytes += o.pieces.iter().map(Bytes::len).sum::<usize>();
                pieces += o.pieces.len();
                if count > 0 && (bytes > WRITE_BYTES || pieces > WRITE_PIECES) {
                    break;
                }
                count += 1;
            }
            queue.drain(..count).collect()
        };
        if batch.is_empty() {
            ready.await;
            continue;
        }
        let slices: SmallVec<[&[u8]; 24]> =
            batch.iter().flat_map(|o| o.pieces.iter().map(|b| &b[..])).collect();
        let result = shared.stream.write_vectored_all(&slices).await;
        drop(slices);
        let outcome = match &result {
            Ok(()) => Ok(()),
            Err(e) => Err(shared.closed_error(&format!("writing failed: {e}"))),
        };
        for done in batch.into_iter().filter_map(|o| o.written) {
            done(outcome.clone());
        }
        if let Err(e) = result {
            shared.close(&format!("writing failed: {e}"));
            return;
        }
    }
}

pub(super) async fn read_loop(shared: Rc<Shared>) {
    let reason = match read_frames(&shared).await {
        Err(End::Garbage(reason)) => reason,
        Err(End::Broken(reason)) => closed_early(&shared).unwrap_or(reason),
        Ok(()) => closed_early(&shared).unwrap_or_else(|| "the broker closed it".to_string()),
    };
    shared.close(&reason);
}

/// Why the far side has nothing more to say.
enum End {
    /// What came is not Kafka's protocol.
    Garbage(String),
    Broken(String),
}

impl From<String> for End {
    fn from(reason: String) -> End {
        End::Garbage(reason)
    }
}

/// A listener that wants TLS hangs up on the first request, one that wants SASL on the first
/// after ApiVersions: say that rather than "end of file".
fn closed_early(shared: &Shared) -> Option<String> {
    if shared.pending.borrow().is_empty() && shared.outgoing.borrow().is_empty() {
        return None;
    }
    match shared.answers.get() {
        0 => Some(
            "the broker closed it at once: does this listener want TLS or SASL? This generator does not speak them yet".to_string(),
        ),
        1 => Some(
            "the broker closed it at the first request after ApiVersions: does this listener want SASL? This generator does not speak it yet".to_string(),
        ),
        _ => None,
    }
}

/// Until the end of the stream.
async fn read_frames(shared: &Rc<Shared>) -> Result<(), End> {
    let pool: Pool = Arc::default();
    let mut buffer = vec![0u8; READ_BUFFER_BYTES];
    let mut filled = 0;
    loop {
        let mut at = 0;
        // Every whole frame in the buffer.
        while let Some(length) = frame_length(&buffer[at..filled])? {
            let have = filled - at - 4;
            if have >= length {
                shared.answered(Bytes::copy_from_slice(&buffer[at + 4..at + 4 + length]))?;
                at += 4 + length;
            } else if length + 4 > READ_BUFFER_BYTES {
                let mut frame = PooledBuffer::take(&pool, length);
                frame.bytes[..have].copy_from_slice(&buffer[at + 4..filled]);
                let mut done = have;
                while done < length {
                    let n = read(shared, &mut frame.bytes[done..length]).await?;
                    if n == 0 {
                        return Err(End::Broken(INSIDE.to_string()));
                    }
                    done += n;
                }
                at = filled;
                shared.answered(Bytes::from_owner(frame).slice(..length))?;
            } else {
                break;
            }
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
        let n = read(shared, &mut buffer[filled..]).await?;
        if n == 0 {
            return if filled == 0 { Ok(()) } else { Err(End::Broken(INSIDE.to_string())) };
        }
        filled += n;
    }
}

async fn read(shared: &Rc<Shared>, into: &mut [u8]) -> Result<usize, End> {
    shared.stream.read(into).await.map_err(|e| End::Broken(format!("reading failed: {e}")))
}

const INSIDE: &str = "the broker closed it inside an answer";

/// `None` until the four bytes are there.
pub(super) fn frame_length(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(prefix) = bytes.first_chunk::<4>() else { return Ok(None) };
    let length = i32::from_be_bytes(*prefix);
    match usize::try_from(length) {
        Ok(n) if n <= FRAME_BYTES_MAX => Ok(Some(n)),
        _ => Err(match prefix {
            // A TLS record of type alert or handshake, version 3.x.
            [0x15 | 0x16, 3, ..] => {
                "it answers in TLS, which this generator does not speak yet: use a PLAINTEXT listener".to_string()
            }
            b"HTTP" => "it answers in HTTP: this is a web server, not a Kafka listener".to_string(),
            b"SSH-" => "it answers as an SSH server: this is not a Kafka listener".to_string(),
            _ => format!("an answer of {length} bytes can't be: is this a Kafka listener?"),
        }),
    }
}

/// Read buffers of big answers, used again when the last slice of an answer is gone: neither the
/// allocator nor the kernel has to make (and zero) a megabyte for each fetch. `Arc` and `Mutex` only
/// because `Bytes` demands an owner that is Send; both are uncontended.
pub(super) type Pool = Arc<Mutex<Vec<Vec<u8>>>>;

pub(super) struct PooledBuffer {
    bytes: Vec<u8>,
    pool: Pool,
}

impl PooledBuffer {
    pub(super) fn take(pool: &Pool, length: usize) -> PooledBuffer {
        let mut bytes = pool.lock().ok().and_then(|mut p| p.pop()).unwrap_or_default();
        if bytes.len() < length {
            bytes.resize(length, 0);
        }
        PooledBuffer { bytes, pool: pool.clone() }
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        if let Ok(mut pool) = self.pool.lock()
            && pool.len() < POOLED_BUFFERS
        {
            pool.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tagged_fields_are_skipped_and_lies_refused() {
        let mut empty = Bytes::from_static(&[0, 7]);
        assert_eq!(skip_tagged_fields(&mut empty), Some(()));
        assert_eq!(&empty[..], &[7]);
        let mut one = Bytes::from_static(&[1, 5, 2, 9, 9, 7]);
        assert_eq!(skip_tagged_fields(&mut one), Some(()));
        assert_eq!(&one[..], &[7]);
        assert_eq!(skip_tagged_fields(&mut Bytes::from_static(&[1, 5, 200])), None);
        assert_eq!(skip_tagged_fields(&mut Bytes::from_static(&[1, 5, 9, 0])), None);
    }

    #[test]
    fn frame_lengths_out_of_range_are_refused() {
        assert_eq!(frame_length(&[0, 0, 0]), Ok(None));
        assert_eq!(frame_length(&[0, 0, 1, 0]), Ok(Some(256)));
        assert!(frame_length(&[0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(frame_length(b"HTTP").unwrap_err().contains("web server"));
        assert!(frame_length(&[0x15, 3, 3, 0, 2]).unwrap_err().contains("TLS"));
    }

    #[test]
    fn buffers_of_big_answers_come_back() {
        let pool: Pool = Arc::default();
        let bytes = Bytes::from_owner(PooledBuffer::take(&pool, 100_000)).slice(..10);
        assert!(pool.lock().unwrap().is_empty());
        drop(bytes);
        assert_eq!(pool.lock().unwrap().len(), 1);
        assert_eq!(PooledBuffer::take(&pool, 10).bytes.len(), 100_000);
    }
}
