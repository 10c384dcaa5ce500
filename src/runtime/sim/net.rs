//! The handles of the simulated network, with the signatures of `runtime::socket`.
//! A `Stream` is a cheap handle: clones share the socket, the last one dropped closes it.
//! Not here: what happens between the two ends (`socket_state.rs`).

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::executor::sleep_ns;
use super::socket_state;
use super::world::{try_world, world};

pub struct Listener {
    id: u64,
    addr: SocketAddr,
}

impl Listener {
    /// Listeners of one process may share a port (SO_REUSEPORT); the seed spreads connections.
    pub fn bind(addr: SocketAddr) -> io::Result<Listener> {
        let w = world();
        let (id, addr) = w.net.borrow_mut().listen(w.current.get(), addr)?;
        w.trace("listen", id, u64::from(addr.port()));
        Ok(Listener { id, addr })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        let (id, local, peer) =
            poll_fn(|cx| socket_state::poll_accept(&world(), self.id, cx)).await?;
        Ok((Stream::new(id, 1, local, peer), peer))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(w) = try_world() {
            socket_state::close_listener(&w, self.id);
        }
    }
}

/// EADDRINUSE when somebody (this process included) listens there; port 0 becomes a free one.
pub fn port_is_free(addr: SocketAddr) -> io::Result<SocketAddr> {
    world().net.borrow_mut().free_addr(addr)
}

#[derive(Clone)]
pub struct Stream {
    socket: Rc<Socket>,
}

struct Socket {
    id: u64,
    side: usize,
    local: SocketAddr,
    peer: SocketAddr,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(w) = try_world() {
            socket_state::close(&w, self.id, self.side);
        }
    }
}

impl Stream {
    fn new(id: u64, side: usize, local: SocketAddr, peer: SocketAddr) -> Stream {
        Stream { socket: Rc::new(Socket { id, side, local, peer }) }
    }

    pub async fn connect(addr: SocketAddr) -> io::Result<Stream> {
        let w = world();
        sleep_ns(&w, socket_state::one_way_ns(&w)).await;
        let opened =
            socket_state::open(&w, addr).map(|(id, local, peer)| Stream::new(id, 0, local, peer));
        sleep_ns(&w, socket_state::one_way_ns(&w)).await;
        opened
    }

    pub fn peer_addr(&self) -> SocketAddr {
        self.socket.peer
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.socket.local
    }

    pub async fn readable(&self) {
        let s = &self.socket;
        poll_fn(|cx| socket_state::poll_readable(&world(), s.id, s.side, cx)).await
    }

    /// A random prefix of what has arrived; 0 at end of stream.
    pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let s = &self.socket;
        poll_fn(|cx| socket_state::poll_read(&world(), s.id, s.side, buf, cx)).await
    }

    /// Returns when all of it is in the stream's buffer, which may be long before it arrives.
    pub async fn write_all(&self, mut buf: &[u8]) -> io::Result<()> {
        let s = &self.socket;
        while !buf.is_empty() {
            let n = poll_fn(|cx| socket_state::poll_write(&world(), s.id, s.side, buf, cx)).await?;
            buf = &buf[n..];
        }
        Ok(())
    }

    pub async fn write_vectored_all(&self, bufs: &[&[u8]]) -> io::Result<()> {
        for buf in bufs {
            self.write_all(buf).await?;
        }
        Ok(())
    }

    /// Both directions; wakes a pending read or write on any clone.
    pub fn shutdown(&self) {
        if let Some(w) = try_world() {
            socket_state::shutdown(&w, self.socket.id, self.socket.side);
        }
    }
}
