//! Memory for direct I/O: whole blocks at block boundaries. Small pieces are kept for the next one
//! of their size: a tail that is written request by request takes one and gives one back each time.
//! Works on every thread, also in the simulator. Not Send: where it is dropped, it is kept.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ptr::NonNull;

use super::super::disk::BLOCK;
use super::super::sim;

/// What is kept of each size, and the largest size: 2 MiB a thread at most.
const KEPT_BYTES: usize = 128 * 1024;
const KEPT_BLOCKS_MAX: usize = 16;

/// What is smaller is copied through the cache: its last block is soon copied again.
const STREAMED_BYTES_MIN: usize = 64 * 1024;

/// Stores that go around the cache: a plain copy first reads each line that it writes over.
#[cfg(target_arch = "x86_64")]
fn stream(to: &mut [u8], bytes: &[u8]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
    const LINE: usize = 64;
    assert_eq!(to.len(), bytes.len());
    let head = to.as_ptr().align_offset(LINE).min(to.len());
    let lines = (to.len() - head) / LINE;
    let tail = head + lines * LINE;
    to[..head].copy_from_slice(&bytes[..head]);
    for line in 0..lines {
        let at = head + line * LINE;
        // SAFETY: `at + LINE` is within both slices, and `to` is aligned there.
        unsafe {
            let from = bytes.as_ptr().add(at).cast::<__m128i>();
            let onto = to.as_mut_ptr().add(at).cast::<__m128i>();
            let (a, b) = (_mm_loadu_si128(from), _mm_loadu_si128(from.add(1)));
            let (c, d) = (_mm_loadu_si128(from.add(2)), _mm_loadu_si128(from.add(3)));
            _mm_stream_si128(onto, a);
            _mm_stream_si128(onto.add(1), b);
            _mm_stream_si128(onto.add(2), c);
            _mm_stream_si128(onto.add(3), d);
        }
    }
    to[tail..].copy_from_slice(&bytes[tail..]);
    // SAFETY: a plain instruction of every x86-64: the stores above come before all that follow.
    unsafe { _mm_sfence() };
}

#[cfg(not(target_arch = "x86_64"))]
fn stream(to: &mut [u8], bytes: &[u8]) {
    to.copy_from_slice(bytes);
}

type Kept = [Vec<NonNull<u8>>; KEPT_BLOCKS_MAX];

thread_local! {
    static KEPT: RefCell<Option<Keeper>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Keeper(Kept);

impl Drop for Keeper {
    fn drop(&mut self) {
        for (n, pieces) in self.0.iter_mut().enumerate() {
            for piece in pieces.drain(..) {
                // SAFETY: kept pieces were allocated with this layout and belong to nobody.
                unsafe { dealloc(piece.as_ptr(), layout((n + 1) * BLOCK)) };
            }
        }
    }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, BLOCK).expect("sizes of buffers are far below isize::MAX")
}

/// 4 KiB-aligned memory for direct I/O. Not Send.
pub struct AlignedBuf {
    memory: NonNull<u8>,
    /// Whole blocks.
    capacity: usize,
    len: usize,
}

impl AlignedBuf {
    /// `len` is rounded up to a multiple of `BLOCK`.
    pub fn zeroed(len: usize) -> AlignedBuf {
        let mut buf = AlignedBuf::new(len);
        buf.fill(0);
        buf.truncate(len.next_multiple_of(BLOCK));
        buf
    }

    /// What it holds is anything: whoever writes it out has put something everywhere.
    pub fn unzeroed(len: usize) -> AlignedBuf {
        let mut buf = AlignedBuf::new(len);
        if sim::active() {
            // The same in every run, and never what a careless writer would hope for.
            buf.fill(0xA5);
        }
        buf
    }

    fn new(len: usize) -> AlignedBuf {
        let capacity = len.max(1).next_multiple_of(BLOCK);
        let kept = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            kept.as_mut()?.0.get_mut(capacity / BLOCK - 1)?.pop()
        });
        let memory = kept.ok().flatten().unwrap_or_else(|| {
            // SAFETY: the layout is not empty. Not zeroed: that would cost a pass over all that is
            // ever appended, and bytes of any value are valid.
            let memory = unsafe { alloc(layout(capacity)) };
            NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout(capacity)))
        });
        AlignedBuf { memory, capacity, len: capacity }
    }

    /// Shortens the buffer (to a multiple of BLOCK, if it is to be written).
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Copies `bytes` to `at`, around the processor's cache when there are many: the device
    /// reads them from memory, and the next request, as it comes, is of more use in the cache.
    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        let to = &mut self[at..at + bytes.len()];
        match bytes.len() >= STREAMED_BYTES_MIN {
            true => stream(to, bytes),
            false => to.copy_from_slice(bytes),
        }
    }

    pub fn of(bytes: &[u8]) -> AlignedBuf {
        let mut buf = AlignedBuf::zeroed(bytes.len());
        buf[..bytes.len()].copy_from_slice(bytes);
        buf
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        let blocks = self.capacity / BLOCK;
        let kept = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            let keeper = kept.get_or_insert_with(Keeper::default);
            match keeper.0.get_mut(blocks - 1) {
                Some(pieces) if pieces.len() * self.capacity < KEPT_BYTES => {
                    pieces.push(self.memory);
                    true
                }
                _ => false,
            }
        });
        if kept != Ok(true) {
            // SAFETY: `new` allocated it with this layout and this is its only owner.
            unsafe { dealloc(self.memory.as_ptr(), layout(self.capacity)) };
        }
    }
}

impl std::ops::Deref for AlignedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `capacity` bytes are there, and `len` is no more.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.len) }
    }
}

impl std::ops::DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and nobody else borrows it.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_there_and_nothing_around_it_changes() {
        let source: Vec<u8> = (0..3 * STREAMED_BYTES_MIN).map(|i| (i * 31 % 251) as u8).collect();
        for from in [0, 1, 7] {
            for at in [0, 1, 15, 63, 64, 4095] {
                for len in
                    [0, 1, STREAMED_BYTES_MIN - 1, STREAMED_BYTES_MIN, 2 * STREAMED_BYTES_MIN + 77]
                {
                    let mut buf = AlignedBuf::zeroed(3 * STREAMED_BYTES_MIN);
                    buf.fill(0xEE);
                    let bytes = &source[from..from + len];
                    buf.put(at, bytes);
                    assert!(buf[at..at + len] == *bytes, "{len} bytes from {from} to {at}");
                    assert!(buf[..at].iter().chain(&buf[at + len..]).all(|b| *b == 0xEE));
                }
            }
        }
    }
}
