//! TCP on glommio: its streams for readiness and reading, our own sendmsg for gather writes.
//! Owner: the executor that accepted or connected. Invariants: the RefCell of a stream is borrowed
//! only inside a poll, never across an await, so one reader and one writer share it; `accept` is
//! never cancelled (glommio would leak the descriptor of a connection that arrives then).

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use futures::io::{AsyncRead, AsyncWrite};
use glommio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

use super::cached::CachedFile;
use super::io_error;

/// Connections that wait to be accepted; a shard that is busy for a while must not refuse them.
const ACCEPT_BACKLOG: i32 = 1024;

/// Slices one sendmsg takes; more go out in several calls.
const SLICES_PER_CALL: usize = 64;

/// A writer to a fast reader may never see a full socket: it lets others run after so much.
const BYTES_BETWEEN_YIELDS: usize = 1024 * 1024;

/// One sendfile: what is looked up in the page cache at once.
const SEND_FILE_BYTES: usize = 256 * 1024;
/// What is sent from memory to learn that a full socket has room again.
const PIECE_BYTES: usize = 4096;

pub struct Listener {
    inner: TcpListener,
    fd: RawFd,
    local: SocketAddr,
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
        socket.listen(ACCEPT_BACKLOG)?;
        let local = socket_addr(socket.local_addr()?)?;
        // Glommio's listener does not show its descriptor, and Drop below needs it.
        let fd = socket.into_raw_fd();
        // SAFETY: the descriptor is a listening socket that nobody else owns any more.
        let inner = unsafe { TcpListener::from_raw_fd(fd) };
        Ok(Listener { inner, fd, local })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        loop {
            let accepted = self.inner.shared_accept().await.map_err(io_error)?;
            // Bound at once: an AcceptedTcpStream has no Drop and would leak its descriptor.
            let tcp = accepted.bind_to_executor();
            // What fails from here on is that connection's (it is already gone), not ours.
            match Stream::new(tcp) {
                Ok(stream) => {
                    let peer = stream.peer_addr();
                    return Ok((stream, peer));
                }
                Err(error) => tracing::debug!("a connection was gone when accepted: {error}"),
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The ring holds the socket until its accept is cancelled: without this it would go on
        // listening for a while after the drop.
        // SAFETY: `inner` still owns the descriptor.
        unsafe { libc::shutdown(self.fd, libc::SHUT_RDWR) };
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
    tcp: RefCell<TcpStream>,
    fd: RawFd,
    peer: SocketAddr,
    local: SocketAddr,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The poll that is still in the ring keeps the socket open: the peer would not see the
        // end of the stream until it is cancelled.
        // SAFETY: `tcp` still owns the descriptor.
        unsafe { libc::shutdown(self.fd, libc::SHUT_RDWR) };
    }
}

impl Stream {
    fn new(tcp: TcpStream) -> io::Result<Stream> {
        tcp.set_nodelay(true).map_err(io_error)?;
        set_nonblocking(tcp.as_raw_fd())?;
        let peer = tcp.peer_addr().map_err(io_error)?;
        let local = tcp.local_addr().map_err(io_error)?;
        let fd = tcp.as_raw_fd();
        Ok(Stream { shared: Rc::new(Shared { tcp: RefCell::new(tcp), fd, peer, local }) })
    }

    pub async fn connect(addr: SocketAddr) -> io::Result<Stream> {
        let tcp = TcpStream::connect(addr).await.map_err(io_error)?;
        Stream::new(tcp)
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

    pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| {
            loop {
                let mut tcp = self.shared.tcp.borrow_mut();
                match Pin::new(&mut *tcp).poll_read(cx, buf) {
                    Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::Interrupted => continue,
                    other => return other,
                }
            }
        })
        .await
    }

    pub async fn write_all(&self, buf: &[u8]) -> io::Result<()> {
        self.write_vectored_all(&[buf]).await
    }

    pub async fn write_vectored_all(&self, bufs: &[&[u8]]) -> io::Result<()> {
        let mut rest = Rest { bufs, offset: 0 };
        let mut sent_since_yield = 0;
        while rest.skip_empty() {
            let sent = match send(self.shared.fd, &rest) {
                Ok(sent) => sent,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    // Waits for room; may itself send a piece of the first slice.
                    let sent = self.write_when_ready(rest.first()).await?;
                    sent_since_yield = 0;
                    sent
                }
                Err(e) => return Err(e),
            };
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest.advance(sent);
            sent_since_yield += sent;
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
        let mut at = position;
        let end = position + length as u64;
        while at < end {
            let want = (end - at).min(SEND_FILE_BYTES as u64) as usize;
            if !file.is_resident(at, want as u64) {
                // It went out of the cache since the caller looked.
                let bytes = file.read_at(at, want).await?;
                if bytes.len() < want {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.write_all(&bytes).await?;
                at += want as u64;
                continue;
            }
            match send_file(self.shared.fd, file.fd(), at, want) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(sent) => at += sent as u64,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    // Glommio waits for room only with bytes in hand: a page of them.
                    let piece = want.min(PIECE_BYTES);
                    let bytes = match file.read_now(at, piece) {
                        Some(bytes) => bytes,
                        None => file.read_at(at, piece).await?,
                    };
                    at += self.write_when_ready(&bytes).await? as u64;
                }
                Err(e) => return Err(e),
            }
            super::executor::yield_if_needed().await;
        }
        Ok(())
    }

    async fn write_when_ready(&self, buf: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| {
            loop {
                let mut tcp = self.shared.tcp.borrow_mut();
                match Pin::new(&mut *tcp).poll_write(cx, buf) {
                    Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::Interrupted => continue,
                    other => return other,
                }
            }
        })
        .await
    }

    pub fn shutdown(&self) {
        // SAFETY: the descriptor is open as long as `shared` lives. The kernel completes the polls
        // of a pending read and write.
        unsafe { libc::shutdown(self.shared.fd, libc::SHUT_RDWR) };
    }
}

/// What is left to send of a list of slices.
struct Rest<'a> {
    bufs: &'a [&'a [u8]],
    offset: usize,
}

impl Rest<'_> {
    /// Whether anything is left; afterwards `first` is not empty.
    fn skip_empty(&mut self) -> bool {
        while let Some((first, others)) = self.bufs.split_first() {
            if self.offset < first.len() {
                return true;
            }
            self.bufs = others;
            self.offset = 0;
        }
        false
    }

    fn first(&self) -> &[u8] {
        self.bufs.first().map_or(&[], |first| &first[self.offset..])
    }

    fn advance(&mut self, mut sent: usize) {
        while let Some((first, others)) = self.bufs.split_first() {
            let left = first.len() - self.offset;
            if sent < left {
                self.offset += sent;
                return;
            }
            sent -= left;
            self.bufs = others;
            self.offset = 0;
        }
        assert!(sent == 0, "the kernel sent more than it was given");
    }
}

/// Glommio leaves its sockets blocking and asks for MSG_DONTWAIT, which sendfile has not.
fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: plain fcntl on an open descriptor.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    // SAFETY: as above.
    if flags < 0 || unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn send_file(socket: RawFd, file: RawFd, position: u64, length: usize) -> io::Result<usize> {
    let mut offset = position as libc::off_t;
    // SAFETY: both descriptors are open, `offset` lives through the call.
    let sent = unsafe { libc::sendfile(socket, file, &mut offset, length) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}

fn send(fd: RawFd, rest: &Rest<'_>) -> io::Result<usize> {
    let mut slices = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; SLICES_PER_CALL];
    let mut count = 0;
    let mut skip = rest.offset;
    for buf in rest.bufs.iter().take(SLICES_PER_CALL) {
        let buf = &buf[skip..];
        skip = 0;
        slices[count].iov_base = buf.as_ptr() as *mut libc::c_void;
        slices[count].iov_len = buf.len();
        count += 1;
    }
    // SAFETY: an all-zero msghdr is valid: no address, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = slices.as_mut_ptr();
    message.msg_iovlen = count as _;
    // SAFETY: the slices live through the call, which only reads them.
    let sent = unsafe { libc::sendmsg(fd, &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}
