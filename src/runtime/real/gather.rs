//! The system calls that send: gather writes and sendfile, which never block. What was sent of a
//! list of slices is counted here. Not here: waiting for room (`socket`).

use std::io;
use std::os::fd::RawFd;

/// Slices one sendmsg takes; more go out in several calls.
const SLICES_PER_CALL: usize = 64;

/// What is left to send of a list of slices.
pub struct Rest<'a> {
    pub bufs: &'a [&'a [u8]],
    pub offset: usize,
}

impl Rest<'_> {
    /// Whether anything is left; afterwards `first` is not empty.
    pub fn skip_empty(&mut self) -> bool {
        while let Some((first, others)) = self.bufs.split_first() {
            if self.offset < first.len() {
                return true;
            }
            self.bufs = others;
            self.offset = 0;
        }
        false
    }

    pub fn advance(&mut self, mut sent: usize) {
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

pub fn send_file(socket: RawFd, file: RawFd, position: u64, length: usize) -> io::Result<usize> {
    let mut offset = position as libc::off_t;
    // SAFETY: both descriptors are open, `offset` lives through the call.
    let sent = unsafe { libc::sendfile(socket, file, &mut offset, length) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}

pub fn send(fd: RawFd, rest: &Rest<'_>) -> io::Result<usize> {
    if let [buf] = rest.bufs {
        // Most answers: a list of slices costs more to make and to check.
        let buf = &buf[rest.offset..];
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the slice lives through the call, which only reads it.
        let sent = unsafe { libc::send(fd, buf.as_ptr().cast(), buf.len(), flags) };
        return if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) };
    }
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
