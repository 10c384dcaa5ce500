//! TCP. A `Stream` is a cheap handle (clones share the socket): one task reads, one task writes.
//! Handles belong to the executor that made them and are not Send.
//! Not here: framing, limits on connections (`server`).

use std::io;
use std::net::SocketAddr;

use super::{CachedFile, cached, real, sim};

pub struct Listener(ListenerInner);

enum ListenerInner {
    Real(real::socket::Listener),
    Sim(sim::net::Listener),
}

impl Listener {
    /// Binds with SO_REUSEPORT so that every shard can bind the same port. `port_is_free` first.
    pub fn bind(addr: SocketAddr) -> io::Result<Listener> {
        Ok(Listener(if sim::active() {
            ListenerInner::Sim(sim::net::Listener::bind(addr)?)
        } else {
            ListenerInner::Real(real::socket::Listener::bind(addr)?)
        }))
    }

    pub fn local_addr(&self) -> SocketAddr {
        match &self.0 {
            ListenerInner::Real(listener) => listener.local_addr(),
            ListenerInner::Sim(listener) => listener.local_addr(),
        }
    }

    /// Never cancel this future (glommio leaks the fd). EMFILE/ENFILE come back as errors.
    /// The accepted socket has TCP_NODELAY set.
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        match &self.0 {
            ListenerInner::Real(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream(StreamInner::Real(stream)), peer))
            }
            ListenerInner::Sim(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream(StreamInner::Sim(stream)), peer))
            }
        }
    }
}

/// Whether somebody already listens there; with port 0, a free port that was just released.
/// (SO_REUSEPORT alone would let two brokers share a port silently.)
pub fn port_is_free(addr: SocketAddr) -> io::Result<SocketAddr> {
    if sim::active() { sim::net::port_is_free(addr) } else { real::socket::port_is_free(addr) }
}

#[derive(Clone)]
pub struct Stream(StreamInner);

#[derive(Clone)]
enum StreamInner {
    Real(real::socket::Stream),
    Sim(sim::net::Stream),
}

impl Stream {
    pub async fn connect(addr: SocketAddr) -> io::Result<Stream> {
        Ok(Stream(if sim::active() {
            StreamInner::Sim(sim::net::Stream::connect(addr).await?)
        } else {
            StreamInner::Real(real::socket::Stream::connect(addr).await?)
        }))
    }

    pub fn peer_addr(&self) -> SocketAddr {
        match &self.0 {
            StreamInner::Real(stream) => stream.peer_addr(),
            StreamInner::Sim(stream) => stream.peer_addr(),
        }
    }

    pub fn local_addr(&self) -> SocketAddr {
        match &self.0 {
            StreamInner::Real(stream) => stream.local_addr(),
            StreamInner::Sim(stream) => stream.local_addr(),
        }
    }

    /// At least one byte, or 0 at end of stream. One reader at a time. Cancel-safe.
    pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            StreamInner::Real(stream) => stream.read(buf).await,
            StreamInner::Sim(stream) => stream.read(buf).await,
        }
    }

    /// As `read`, into the buffer's spare room (there must be some), which is not zeroed first.
    /// Until a read probably finds something, or the end. Cancel-safe.
    pub async fn readable(&self) {
        match &self.0 {
            StreamInner::Real(stream) => stream.readable().await,
            StreamInner::Sim(stream) => stream.readable().await,
        }
    }

    pub async fn read_buf(&self, buf: &mut bytes::BytesMut) -> io::Result<usize> {
        match &self.0 {
            StreamInner::Real(stream) => stream.read_buf(buf).await,
            StreamInner::Sim(stream) => {
                let mut read = vec![0; buf.capacity() - buf.len()];
                let n = stream.read(&mut read).await?;
                buf.extend_from_slice(&read[..n]);
                Ok(n)
            }
        }
    }

    /// One writer at a time.
    pub async fn write_all(&self, buf: &[u8]) -> io::Result<()> {
        match &self.0 {
            StreamInner::Real(stream) => stream.write_all(buf).await,
            StreamInner::Sim(stream) => stream.write_all(buf).await,
        }
    }

    /// Gather write of all slices, in order (sendmsg on the real backend).
    pub async fn write_vectored_all(&self, bufs: &[&[u8]]) -> io::Result<()> {
        match &self.0 {
            StreamInner::Real(stream) => stream.write_vectored_all(bufs).await,
            StreamInner::Sim(stream) => stream.write_vectored_all(bufs).await,
        }
    }

    /// Sends a range of a file out of the page cache, without a copy. An error when it is not all there any
    /// more: what would be read anew was checked by nobody. The range must be inside the file.
    pub async fn send_file(
        &self,
        file: &CachedFile,
        position: u64,
        length: usize,
    ) -> io::Result<()> {
        match (&self.0, &file.0) {
            (StreamInner::Real(stream), cached::Inner::Real(file)) => {
                stream.send_file(file, position, length).await
            }
            (StreamInner::Sim(stream), cached::Inner::Sim(file)) => {
                let bytes = file.now(position, length).ok_or_else(cached::went_out)?;
                stream.write_all(&bytes).await
            }
            _ => unreachable!("one thread has one backend"),
        }
    }

    /// Both directions; wakes a pending read or write on any clone.
    pub fn shutdown(&self) {
        match &self.0 {
            StreamInner::Real(stream) => stream.shutdown(),
            StreamInner::Sim(stream) => stream.shutdown(),
        }
    }
}
