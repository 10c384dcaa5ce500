//! TCP on glommio. Its stream wants `&mut` to read or write, so it sits in a cell that is borrowed
//! only inside polls. Gather writes go through sendmsg on the descriptor (glommio's vectored write sends
//! the first slice only) and fall back to glommio's poll when the socket is full.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;

use futures::{AsyncRead, AsyncWrite};
use glommio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

use super::io_error;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

fn bound_socket(addr: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the last connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Without SO_REUSEPORT, so that another broker's shared port is seen.
pub(in crate::runtime) fn port_is_free(addr: SocketAddr) -> io::Result<SocketAddr> {
    let socket = bound_socket(addr, false)?;
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("not an IP address"))
}

pub(in crate::runtime) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    pub(in crate::runtime) fn bind(addr: SocketAddr) -> io::Result<Listener> {
        let socket = bound_socket(addr, true)?;
        let address = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("not an IP address"))?;
        // SAFETY: the descriptor is ours, open and listening; ownership moves into the listener.
        let listener = unsafe { TcpListener::from_raw_fd(socket.into_raw_fd()) };
        Ok(Listener { listener, address })
    }

    pub(in crate::runtime) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    pub(in crate::runtime) async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        let stream = self.listener.accept().await.map_err(io_error)?;
        let stream = Stream::new(stream)?;
        let peer = stream.peer_addr();
        Ok((stream, peer))
    }
}

#[derive(Clone)]
pub(in crate::runtime) struct Stream {
    inner: Rc<Inner>,
}

struct Inner {
    tcp: RefCell<TcpStream>,
    fd: RawFd,
    peer: SocketAddr,
    local: SocketAddr,
}

impl Stream {
    fn new(tcp: TcpStream) -> io::Result<Stream> {
        tcp.set_nodelay(true).map_err(io_error)?;
        let (peer, local) =
            (tcp.peer_addr().map_err(io_error)?, tcp.local_addr().map_err(io_error)?);
        let fd = tcp.as_raw_fd();
        Ok(Stream { inner: Rc::new(Inner { tcp: RefCell::new(tcp), fd, peer, local }) })
    }

    pub(in crate::runtime) async fn connect(addr: SocketAddr) -> io::Result<Stream> {
        Stream::new(TcpStream::connect(addr).await.map_err(io_error)?)
    }

    pub(in crate::runtime) fn peer_addr(&self) -> SocketAddr {
        self.inner.peer
    }

    pub(in crate::runtime) fn local_addr(&self) -> SocketAddr {
        self.inner.local
    }

    pub(in crate::runtime) async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *self.inner.tcp.borrow_mut()).poll_read(cx, buf)).await
    }

    async fn write_some(&self, buf: &[u8]) -> io::Result<usize> {
        let n =
            poll_fn(|cx| Pin::new(&mut *self.inner.tcp.borrow_mut()).poll_write(cx, buf)).await?;
        if n == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(n) }
    }

    pub(in crate::runtime) async fn write_all(&self, mut buf: &[u8]) -> io::Result<()> {
        while !buf.is_empty() {
            let n = self.write_some(buf).await?;
            buf = &buf[n..];
        }
        Ok(())
    }

    pub(in crate::runtime) async fn write_vectored_all(&self, bufs: &[&[u8]]) -> io::Result<()> {
        let mut rest = bufs;
        // Bytes of rest[0] that have gone.
        let mut gone = 0;
        while let Some(first) = rest.first() {
            if gone == first.len() {
                rest = &rest[1..];
                gone = 0;
                continue;
            }
            let mut sent = match self.send_slices(rest, gone) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.write_some(&first[gone..]).await?
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => n,
            };
            while let Some(first) = rest.first() {
                let left = first.len() - gone;
                if sent < left {
                    gone += sent;
                    break;
                }
                sent -= left;
                rest = &rest[1..];
                gone = 0;
            }
        }
        Ok(())
    }

    fn send_slices(&self, bufs: &[&[u8]], skip: usize) -> io::Result<usize> {
        const IOV_MAX: usize = 1024;
        let mut iov: smallvec::SmallVec<[libc::iovec; 16]> = bufs
            .iter()
            .take(IOV_MAX)
            .map(|b| libc::iovec { iov_base: b.as_ptr() as *mut libc::c_void, iov_len: b.len() })
            .collect();
        if let (Some(first), Some(slice)) = (iov.first_mut(), bufs.first()) {
            first.iov_base = slice[skip..].as_ptr() as *mut libc::c_void;
            first.iov_len = slice.len() - skip;
        }
        // SAFETY: zeroed msghdr is valid; every iovec points into a slice that outlives the call,
        // which only reads them.
        let n = unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = iov.as_mut_ptr();
            message.msg_iovlen = iov.len() as _;
            libc::sendmsg(self.inner.fd, &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
        };
        if n < 0 { Err(io::Error::last_os_error()) } else { Ok(n as usize) }
    }

    pub(in crate::runtime) fn shutdown(&self) {
        // SAFETY: the descriptor stays open as long as `inner` does.
        unsafe { libc::shutdown(self.inner.fd, libc::SHUT_RDWR) };
    }
}
