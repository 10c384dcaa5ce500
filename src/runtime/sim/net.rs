//! Stub.

use std::io;
use std::net::SocketAddr;

pub struct Listener {}

impl Listener {
    pub fn bind(_addr: SocketAddr) -> io::Result<Listener> {
        todo!()
    }
    pub fn local_addr(&self) -> SocketAddr {
        todo!()
    }
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        todo!()
    }
}

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
    pub async fn read(&self, _buf: &mut [u8]) -> io::Result<usize> {
        todo!()
    }
    pub async fn write_all(&self, _buf: &[u8]) -> io::Result<()> {
        todo!()
    }
    pub async fn write_vectored_all(&self, _bufs: &[&[u8]]) -> io::Result<()> {
        todo!()
    }
    pub fn shutdown(&self) {
        todo!()
    }
}
