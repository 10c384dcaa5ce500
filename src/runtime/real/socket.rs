//! TCP: plain sockets that never block. A system call is tried first; only when it finds nothing
//! does its task wait for the ring to report the socket ready, so a request costs one recv and one
//! sendmsg. Owner: the executor that accepted or connected. Invariants: one reader and one writer
//! a socket; what was asked of the ring for a socket is taken back before its descriptor goes.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::super::cached::went_out;
use super::cached::CachedFile;
use super::engine;
use super::gather::{Rest, send, send_file};
use super::ring::Readiness;

/// Connections that wait to be accepted; a shard that is busy for a while must not refuse them.
const ACCEPT_BACKLOG: i32 = 1024;

/// Who never finds a socket empty, or full, lets others run after so much.
const BYTES_BETWEEN_YIELDS: usize = 1024 * 1024;

/// Before a socket is tried again that the kernel can't say the room of.
const UNSURE_PAUSE: Duration = Duration::from_millis(1);

/// One sendfile: what is looked up in the page cache at once.
const SEND_FILE_BYTES: usize = 256 * 1024;

/// A descriptor and what the ring knows of it.
struct Polled {
    socket: Socket,
    readable: Rc<Readiness>,
    writable: Rc<Readiness>,
}

impl Polled {
    fn new(socket: Socket) -> io::Result<Polled> {
        socket.set_nonblocking(true)?;
        Ok(Polled { socket, readable: Readiness::to_read(), writable: Readiness::to_write() })
    }

    fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    fn poll_readable(&self, cx: &Context<'_>) -> Poll<()> {
        engine::current().ring.poll_ready(cx, self.fd(), &self.readable, libc::POLLIN)
    }

    /// `call` until it does not find the socket empty.
    async fn read_with<T>(&self, mut call: impl FnMut(RawFd) -> io::Result<T>) -> io::Result<T> {
        poll_fn(|cx| {
            loop {
                std::task::ready!(self.poll_readable(cx));
                match call(self.fd()) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.readable.would_block(),
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    other => return Poll::Ready(other),
                }
            }
        })
        .await
    }

    /// A call found no room: waits until there is some.
    async fn writable_again(&self) {
        self.writable.would_block();
        poll_fn(|cx| {
            let ring = &engine::current().ring;
            ring.poll_ready(cx, self.fd(), &self.writable, libc::POLLOUT)
        })
        .await;
        if self.writable.was_unsure() {
            // Only where a poll reports once: to ask again at once would get the same answer.
            super::clock::sleep_until(super::clock::now() + UNSURE_PAUSE).await;
        }
    }

    fn shut(&self) {
        // Fails when the peer was faster.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        // The ring holds the socket until its polls are gone: the peer would not see the end, and
        // a listener would go on listening.
        self.shut();
        engine::with(|engine| {
            engine.ring.forget(&self.readable);
            engine.ring.forget(&self.writable);
        });
    }
}

pub struct Listener {
    polled: Polled,
    local: SocketAddr,
    /// What this host does on its networks, where that is not what the sockets of this listener begin with.
    for_others: Option<Vec<u8>>,
}

/// A connection that stays within this machine has no network to be gentle with. A host that has BBR for its
/// networks would pace it all the same, by a timer for every few packets.
const WITHIN_THE_MACHINE: &[u8] = b"reno";

/// From here on `socket`, and what it accepts, is not paced. What it was, if that is something else; a system
/// that does not let us leaves it as it is.
fn unpaced(socket: &Socket) -> Option<Vec<u8>> {
    let mut before = socket.tcp_congestion().ok()?;
    // The kernel gives its name at full length, with zeros at the end.
    before.truncate(before.iter().position(|b| *b == 0).unwrap_or(before.len()));
    (before != WITHIN_THE_MACHINE).then_some(())?;
    socket.set_tcp_congestion(WITHIN_THE_MACHINE).ok()?;
    Some(before)
}

fn is_within_the_machine(local: SocketAddr, peer: SocketAddr) -> bool {
    peer.ip().to_canonical().is_loopback() || peer.ip() == local.ip()
}

fn new_socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // Else connections of a broker that just stopped keep the port for a minute (TIME_WAIT).
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is an int, and it outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_REUSEPORT,
            (&raw const on).cast(),
            std::mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn socket_addr(addr: socket2::SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

impl Listener {
    pub fn bind(addr: SocketAddr) -> io::Result<Listener> {
        let socket = new_socket(addr)?;
        set_reuse_port(&socket)?;
        socket.bind(&addr.into())?;
        let for_others = unpaced(&socket);
        socket.listen(ACCEPT_BACKLOG)?;
        let local = socket_addr(socket.local_addr()?)?;
        Ok(Listener { polled: Polled::new(socket)?, local, for_others })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        loop {
            let socket = match self.polled.read_with(accept).await {
                Ok(socket) => socket,
                // That connection is gone again, others may be there.
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(e) => return Err(e),
            };
            // What fails from here on is that connection's (it is already gone), not ours.
            match Polled::new(socket).and_then(Stream::new) {
                Ok(stream) => {
                    let peer = stream.peer_addr();
                    if let Some(theirs) = &self.for_others
                        && !is_within_the_machine(stream.local_addr(), peer)
                    {
                        // The host's own choice is always allowed; the connection may be gone.
                        let _ = stream.shared.polled.socket.set_tcp_congestion(theirs);
                    }
                    return Ok((stream, peer));
                }
                Err(error) => tracing::debug!("a connection was gone when accepted: {error}"),
            }
        }
    }
}

fn accept(listener: RawFd) -> io::Result<Socket> {
    let (none, flags) = (std::ptr::null_mut(), libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
    // SAFETY: the peer's address is not asked for; the new descriptor is nobody else's.
    match unsafe { libc::accept4(listener, none, std::ptr::null_mut(), flags) } {
        fd if fd >= 0 => Ok(unsafe { Socket::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

pub fn port_is_free(addr: SocketAddr) -> io::Result<SocketAddr> {
    let socket = new_socket(addr)?;
    socket.bind(&addr.into())?;
    socket_addr(socket.local_addr()?)
}

#[derive(Clone)]
pub struct Stream {
    shared: Rc<Shared>,
}

struct Shared {
    polled: Polled,
    peer: SocketAddr,
    local: SocketAddr,
    /// Read since this socket was last found empty.
    read_at_a_stretch: Cell<usize>,
}

impl Stream {
    fn new(polled: Polled) -> io::Result<Stream> {
        polled.socket.set_tcp_nodelay(true)?;
        let peer = socket_addr(polled.socket.peer_addr()?)?;
        let local = socket_addr(polled.socket.local_addr()?)?;
        let shared = Shared { polled, peer, local, read_at_a_stretch: Cell::new(0) };
        Ok(Stream { shared: Rc::new(shared) })
    }

    pub async fn connect(addr: SocketAddr) -> io::Result<Stream> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        if addr.ip().to_canonical().is_loopback() {
            unpaced(&socket);
        }
        let polled = Polled::new(socket)?;
        match polled.socket.connect(&addr.into()) {
            Ok(()) => {}
            Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {
                polled.writable_again().await;
                if let Some(error) = polled.socket.take_error()? {
                    return Err(error);
                }
            }
            Err(e) => return Err(e),
        }
        Stream::new(polled)
    }

    pub fn peer_addr(&self) -> SocketAddr {
        self.shared.peer
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.shared.local
    }

    pub async fn read_buf(&self, buf: &mut bytes::BytesMut) -> io::Result<usize> {
        let spare = buf.spare_capacity_mut();
        // SAFETY: recv only writes to this memory and nobody reads it before `set_len`, which
        // covers just the bytes that recv says it wrote.
        let spare =
            unsafe { std::slice::from_raw_parts_mut(spare.as_mut_ptr().cast::<u8>(), spare.len()) };
        let n = self.read(spare).await?;
        unsafe { buf.set_len(buf.len() + n) };
        Ok(n)
    }

    pub async fn readable(&self) {
        poll_fn(|cx| self.shared.polled.poll_readable(cx)).await
    }

    pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let stretch = &self.shared.read_at_a_stretch;
        if stretch.get() >= BYTES_BETWEEN_YIELDS {
            stretch.set(0);
            super::executor::yield_now().await;
        }
        let polled = &self.shared.polled;
        let n = polled.read_with(|fd| receive(fd, buf)).await?;
        if n < buf.len() && n > 0 {
            // That was all: whatever comes from now on is reported.
            polled.readable.clear();
            stretch.set(0);
        } else {
            stretch.set(stretch.get() + n);
        }
        Ok(n)
    }

    pub async fn write_all(&self, buf: &[u8]) -> io::Result<()> {
        self.write_vectored_all(&[buf]).await
    }

    pub async fn write_vectored_all(&self, bufs: &[&[u8]]) -> io::Result<()> {
        let polled = &self.shared.polled;
        let mut rest = Rest { bufs, offset: 0 };
        let mut sent_since_yield = 0;
        while rest.skip_empty() {
            match send(polled.fd(), &rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    rest.advance(sent);
                    sent_since_yield += sent;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    polled.writable_again().await;
                    sent_since_yield = 0;
                }
                Err(e) => return Err(e),
            }
            if sent_since_yield >= BYTES_BETWEEN_YIELDS {
                sent_since_yield = 0;
                super::executor::yield_now().await;
            }
        }
        Ok(())
    }

    pub async fn send_file(
        &self,
        file: &CachedFile,
        position: u64,
        length: usize,
    ) -> io::Result<()> {
        let polled = &self.shared.polled;
        let mut at = position;
        let end = position + length as u64;
        while at < end {
            let want = (end - at).min(SEND_FILE_BYTES as u64) as usize;
            if !file.is_resident(at, want as u64) {
                return Err(went_out());
            }
            match send_file(polled.fd(), file.fd(), at, want) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(sent) => at += sent as u64,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => polled.writable_again().await,
                Err(e) => return Err(e),
            }
            super::executor::yield_if_needed().await;
        }
        Ok(())
    }

    pub fn shutdown(&self) {
        // The kernel reports both directions as ended to whoever waits.
        self.shared.polled.shut();
    }
}

fn receive(fd: RawFd, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: `buf` lives through the call, which writes at most its length.
    let n = unsafe { libc::recv(fd, buf.as_mut_ptr().cast(), buf.len(), libc::MSG_DONTWAIT) };
    if n < 0 { Err(io::Error::last_os_error()) } else { Ok(n as usize) }
}

#[cfg(test)]
mod tests {
    use super::super::super::executor::{ExecutorSpec, block_on};
    use super::*;

    fn congestion(socket: &Socket) -> Vec<u8> {
        let name = socket.tcp_congestion().unwrap();
        name.into_iter().take_while(|b| *b != 0).collect()
    }

    #[test]
    fn within_the_machine_nothing_is_paced_and_elsewhere_the_host_decides() {
        let hosts_own = congestion(&new_socket("127.0.0.1:0".parse().unwrap()).unwrap());
        let connected = async {
            let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let client = Stream::connect(listener.local_addr()).await.unwrap();
            let (accepted, _) = listener.accept().await.unwrap();
            for stream in [&client, &accepted] {
                assert_eq!(congestion(&stream.shared.polled.socket), WITHIN_THE_MACHINE);
            }
            // As for a peer on a network.
            if let Some(theirs) = &listener.for_others {
                let socket = &accepted.shared.polled.socket;
                socket.set_tcp_congestion(theirs).unwrap();
                assert_eq!(congestion(socket), *theirs);
            }
            listener.for_others
        };
        let for_others = block_on(ExecutorSpec::unpinned("congestion"), || connected).unwrap();
        assert_eq!(for_others.as_deref().unwrap_or(WITHIN_THE_MACHINE), hosts_own);
    }

    #[test]
    fn a_peer_with_our_own_address_is_within_the_machine() {
        let within = |local: &str, peer: &str| {
            is_within_the_machine(local.parse().unwrap(), peer.parse().unwrap())
        };
        assert!(within("127.0.0.1:9092", "127.0.0.7:5") && within("[::1]:9092", "[::1]:5"));
        assert!(within("[::ffff:127.0.0.1]:9092", "[::ffff:127.0.0.1]:5"));
        assert!(within("10.0.0.1:9092", "10.0.0.1:5"));
        assert!(!within("10.0.0.1:9092", "10.0.0.2:5"));
    }
}
