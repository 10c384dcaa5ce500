//! Files through the page cache: opened beside the O_DIRECT handle of the same file. What is in
//! memory is sent without a copy; what is not is read by the blocking pool, never by the executor.
//! The kernel's own read-ahead is off: what gets into the cache through here is what was asked for.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::blocking;
use super::disk::File;

/// The same number on every architecture; since Linux 6.5.
const SYS_CACHESTAT: libc::c_long = 451;
const PAGE: u64 = 4096;

#[derive(Clone)]
pub struct CachedFile(Arc<std::fs::File>);

#[repr(C)]
struct Range {
    offset: u64,
    length: u64,
}

#[repr(C)]
#[derive(Default)]
struct CacheStat {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

impl CachedFile {
    /// Of the same file, wherever its path leads by now.
    pub async fn beside(open: &File) -> io::Result<CachedFile> {
        let path = format!("/proc/self/fd/{}", open.fd());
        let opened = blocking::run(move || {
            let file = std::fs::File::open(path)?;
            // SAFETY: the descriptor is open; the call touches no memory of ours.
            unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM) };
            Ok(CachedFile(Arc::new(file)))
        });
        opened.await
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Whether every page of the range is in memory. False also where the kernel can't tell.
    pub fn is_resident(&self, position: u64, length: u64) -> bool {
        let first = position / PAGE;
        let pages = (position + length).div_ceil(PAGE) - first;
        let range = Range { offset: first * PAGE, length: pages * PAGE };
        let mut stat = CacheStat::default();
        // SAFETY: both structs are the kernel's layout and live through the call.
        let result =
            unsafe { libc::syscall(SYS_CACHESTAT, self.fd(), &raw const range, &raw mut stat, 0) };
        result == 0 && stat.cached >= pages
    }

    /// Only what is in memory: `None` when the device would have to be waited for.
    pub fn read_now(&self, position: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        let slice = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: length };
        // SAFETY: the slice describes `bytes`, which lives through the call.
        let read = unsafe {
            libc::preadv2(self.fd(), &slice, 1, position as libc::off_t, libc::RWF_NOWAIT)
        };
        (read == length as isize).then_some(bytes)
    }

    /// Any position and length; shorter only at the end of the file.
    pub async fn read_at(&self, position: u64, length: usize) -> io::Result<Vec<u8>> {
        let file = self.0.clone();
        blocking::run(move || {
            let mut bytes = vec![0; length];
            let mut filled = 0;
            while filled < length {
                match file.read_at(&mut bytes[filled..], position + filled as u64) {
                    Ok(0) => break,
                    Ok(n) => filled += n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
            }
            bytes.truncate(filled);
            Ok(bytes)
        })
        .await
    }
}
