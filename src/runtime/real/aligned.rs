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
