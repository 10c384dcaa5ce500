//! TCP. A `Stream` is a cheap handle (clones share the socket): one task reads, one task writes.

use std::io;
use std::net::SocketAddr;

pub struct Listener {}

impl Listener {
    /// Binds with SO_REUSEPORT so that every shard can bind the same port. `port_is_free` first.
    pub fn bind(_addr: SocketAddr) -> io::Result<Listener> {
        todo!()
    }
    pub fn local_addr(&self) -> SocketAddr {
        todo!()
    }
    /// Never cancel this future (glommio leaks the fd). EMFILE/ENFILE come back as errors.
    /// The accepted socket has TCP_NODELAY set.
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        todo!()
    }
}

/// Whether somebody already listens there; with port 0, a free port that was just released.
/// (SO_REUSEPORT alone would let two brokers share a port silently.)
pub fn port_is_free(_addr: SocketAddr) -> io::Result<SocketAddr> {
    todo!()
}

#[derive(Clone)]
pub struct Stream {}

impl Stream {
    pub async fn connect(_addr: SocketAddr) -> io::Result<Stream> {
        todo!()
    }
    pub fn peer_addr(&self) -> SocketAddr {
        todo!()
    }
    pub fn local_addr(&self) -> SocketAddr {
        todo!()
    }
    /// At least one byte, or 0 at end of stream. One reader at a time. Cancel-safe.
    pub async fn read(&self, _buf: &mut [u8]) -> io::Result<usize> {
        todo!()
    }
    /// One writer at a time.
    pub async fn write_all(&self, _buf: &[u8]) -> io::Result<()> {
        todo!()
    }
    /// Gather write of all slices, in order (libc::writev / sendmsg on the real backend).
    pub async fn write_vectored_all(&self, _bufs: &[&[u8]]) -> io::Result<()> {
        todo!()
    }
    /// Both directions; wakes a pending read or write on any clone.
    pub fn shutdown(&self) {
        todo!()
    }
}
