//! TCP. A `Stream` is a cheap handle (clones share the socket): one task reads, one task writes.

use std::io;
use std::net::SocketAddr;

use super::{real, sim};

pub struct Listener(Listeners);

enum Listeners {
    Real(real::socket::Listener),
    Sim(sim::net::Listener),
}

impl Listener {
    /// Binds with SO_REUSEPORT so that every shard can bind the same port. `port_is_free` first.
    pub fn bind(addr: SocketAddr) -> io::Result<Listener> {
        Ok(Listener(match sim::active() {
            true => Listeners::Sim(sim::net::Listener::bind(addr)?),
            false => Listeners::Real(real::socket::Listener::bind(addr)?),
        }))
    }

    pub fn local_addr(&self) -> SocketAddr {
        match &self.0 {
            Listeners::Real(l) => l.local_addr(),
            Listeners::Sim(l) => l.local_addr(),
        }
    }

    /// Never cancel this future (glommio leaks the fd). EMFILE/ENFILE come back as errors.
    /// The accepted socket has TCP_NODELAY set.
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        match &self.0 {
            Listeners::Real(l) => {
                let (stream, peer) = l.accept().await?;
                Ok((Stream(Streams::Real(stream)), peer))
            }
            Listeners::Sim(l) => {
                let (stream, peer) = l.accept().await?;
                Ok((Stream(Streams::Sim(stream)), peer))
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
pub struct Stream(Streams);

#[derive(Clone)]
enum Streams {
    Real(real::socket::Stream),
    Sim(sim::net::Stream),
}

impl Stream {
    pub async fn connect(addr: SocketAddr) -> io::Result<Stream> {
        Ok(Stream(match sim::active() {
            true => Streams::Sim(sim::net::Stream::connect(addr).await?),
            false => Streams::Real(real::socket::Stream::connect(addr).await?),
        }))
    }

    pub fn peer_addr(&self) -> SocketAddr {
        match &self.0 {
            Streams::Real(s) => s.peer_addr(),
            Streams::Sim(s) => s.peer_addr(),
        }
    }

    pub fn local_addr(&self) -> SocketAddr {
        match &self.0 {
            Streams::Real(s) => s.local_addr(),
            Streams::Sim(s) => s.local_addr(),
        }
    }

    /// At least one byte, or 0 at end of stream. One reader at a time. Cancel-safe.
    pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Streams::Real(s) => s.read(buf).await,
            Streams::Sim(s) => s.read(buf).await,
        }
    }

    /// One writer at a time.
    pub async fn write_all(&self, buf: &[u8]) -> io::Result<()> {
        match &self.0 {
            Streams::Real(s) => s.write_all(buf).await,
            Streams::Sim(s) => s.write_all(buf).await,
        }
    }

    /// Gather write of all slices, in order.
    pub async fn write_vectored_all(&self, bufs: &[&[u8]]) -> io::Result<()> {
        match &self.0 {
            Streams::Real(s) => s.write_vectored_all(bufs).await,
            Streams::Sim(s) => s.write_vectored_all(bufs).await,
        }
    }

    /// Both directions; wakes a pending read or write on any clone.
    pub fn shutdown(&self) {
        match &self.0 {
            Streams::Real(s) => s.shutdown(),
            Streams::Sim(s) => s.shutdown(),
        }
    }
}
