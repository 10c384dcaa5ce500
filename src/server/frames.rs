//! Length-prefixed frames out of a socket. A small buffer while idle, as large as the frame when one
//! comes; a frame is cut out of the buffer without a copy.

use std::io;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;

use crate::limits::{
    FRAME_BYTES_MIN, READ_BUFFER_BYTES_MAX, READ_BUFFER_BYTES_MIN, REQUEST_BYTES_UNADMITTED,
};
use crate::runtime::{self, Stream};
use crate::shard::Memory;

pub(super) struct FrameReader {
    stream: Stream,
    buffer: BytesMut,
    /// When it is short no more of a frame is read than tells its length, before it is admitted.
    memory: Rc<Memory>,
    /// Room asked for at the next read: grows while reads fill it, shrinks when they do not.
    read_bytes: usize,
    frame_bytes_max: usize,
    /// The frame that has begun was announced.
    announced: bool,
}

/// What a read of the socket came to.
pub(super) enum Read {
    Frame(Bytes),
    /// A large request has begun: the rest of its so many bytes is read when `next` is called again.
    Announced(usize),
    End,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum FrameReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(
        "frame length {length} is not in [{FRAME_BYTES_MIN}, {max}]; if it is a real request, raise \
         socket.request.max.bytes"
    )]
    BadLength { length: i32, max: usize },
    #[error("the connection ended inside a frame ({have} of {need} bytes)")]
    CutShort { have: usize, need: usize },
}

impl FrameReader {
    pub(super) fn new(stream: Stream, frame_bytes_max: usize, memory: Rc<Memory>) -> FrameReader {
        FrameReader {
            stream,
            memory,
            buffer: BytesMut::new(),
            read_bytes: READ_BUFFER_BYTES_MIN,
            frame_bytes_max,
            announced: false,
        }
    }

    /// The next whole frame that is already here.
    pub(super) fn buffered(&mut self) -> Result<Option<Bytes>, FrameReadError> {
        let Some(prefix) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = i32::from_be_bytes(*prefix);
        let max = self.frame_bytes_max;
        let body = match usize::try_from(length) {
            Ok(n) if (FRAME_BYTES_MIN..=max).contains(&n) => n,
            _ => return Err(FrameReadError::BadLength { length, max }),
        };
        if self.buffer.len() < 4 + body {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(4 + body);
        if 4 + body > READ_BUFFER_BYTES_MAX {
            // The next may be as large: what is read before its length is known is moved.
            self.read_bytes = READ_BUFFER_BYTES_MIN;
        }
        let _ = frame.split_to(4);
        Ok(Some(frame.freeze()))
    }

    /// A whole frame is here already, or one that will be refused.
    pub(super) fn has_more(&self) -> bool {
        let length = self.buffer.first_chunk::<4>().map(|prefix| i32::from_be_bytes(*prefix));
        length.is_some_and(|n| self.buffer.len() - 4 >= n.max(0) as usize)
    }

    /// Bytes that the buffer must hold for the frame that has begun.
    fn missing(&self) -> usize {
        match self.buffer.first_chunk::<4>() {
            Some(prefix) => {
                (4 + i32::from_be_bytes(*prefix).max(0) as usize).saturating_sub(self.buffer.len())
            }
            None => 0,
        }
    }

    /// Until the peer has gone, while its request is served for long. What it sends meanwhile is kept, as much as is
    /// read of any request; behind more than that its end is not seen. Cancel-safe.
    pub(super) async fn ended(&mut self) {
        while self.buffer.len() < REQUEST_BYTES_UNADMITTED {
            self.buffer.reserve(READ_BUFFER_BYTES_MIN);
            if let Ok(0) | Err(_) = self.stream.read_buf(&mut self.buffer).await {
                return;
            }
        }
        std::future::pending().await
    }

    pub(super) async fn next(&mut self) -> Result<Read, FrameReadError> {
        loop {
            if let Some(frame) = self.buffered()? {
                self.announced = false;
                return Ok(Read::Frame(frame));
            }
            let total = self.missing() + self.buffer.len();
            if !self.announced && self.buffer.len() >= 4 && total > REQUEST_BYTES_UNADMITTED {
                self.announced = true;
                return Ok(Read::Announced(total));
            }
            let between_frames = self.buffer.is_empty();
            let short = between_frames && self.memory.is_short();
            if between_frames && (self.read_bytes == READ_BUFFER_BYTES_MIN || short) {
                // An idle connection holds no more than this.
                self.buffer = BytesMut::new();
            }
            let room = match short {
                true => self.read_bytes.min(REQUEST_BYTES_UNADMITTED),
                false => self.missing().min(READ_BUFFER_BYTES_MAX).max(self.read_bytes),
            };
            // Room for the whole frame at once, so that it is not moved as it grows.
            self.buffer.reserve(self.missing().max(room));
            let n = if between_frames && self.read_bytes > REQUEST_BYTES_UNADMITTED {
                match self.stream.read_buf(&mut self.buffer).now_or_never() {
                    Some(n) => n?,
                    None => {
                        // Idle after large frames: nobody admitted what its buffer takes.
                        self.buffer = BytesMut::new();
                        runtime::yield_now().await;
                        self.stream.readable().await;
                        continue;
                    }
                }
            } else {
                self.stream.read_buf(&mut self.buffer).await?
            };
            if n == 0 {
                if self.buffer.is_empty() {
                    return Ok(Read::End);
                }
                let (have, need) = (self.buffer.len(), self.buffer.len() + self.missing().max(1));
                return Err(FrameReadError::CutShort { have, need });
            }
            if n >= room {
                self.read_bytes = (self.read_bytes * 2).min(READ_BUFFER_BYTES_MAX);
            } else if n < self.read_bytes / 4 {
                self.read_bytes = (self.read_bytes / 2).max(READ_BUFFER_BYTES_MIN);
            }
        }
    }
}
