//! The process's allocator: mimalloc, but for the large buffers of direct I/O (aligned to a block, 128 KiB
//! to 2 MiB: reads of segments, tail buffers), which are cut from huge pages. A megabyte of huge page is one
//! segment of a device request and one reference to take; of small pages it is up to 256 of each, and
//! the device's requests are as small as their segments allow.
//! Shared by all threads; each has an arena of its own (with more than `ARENAS`, some share one), memory
//! goes back to the arena that it came from. Invariant: whether a buffer is from here shows in its address.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicUsize, Ordering};

use super::super::disk::BLOCK;

/// One huge page of x86-64, and of aarch64 with small pages of 4 KiB.
const HUGE_BYTES: usize = 2 * 1024 * 1024;
/// Address space, not memory: more than any machine's buffers. What does not fit is mimalloc's.
const HUGE_PAGES: usize = 32 * 1024;
const SLOT_BYTES_MIN: usize = 128 * 1024;
/// Slots of 128 KiB, 256 KiB … 2 MiB; a huge page has slots of one size.
const CLASSES: usize = (HUGE_BYTES / SLOT_BYTES_MIN).ilog2() as usize + 1;
const ARENAS: usize = 64;
/// Given back in one call, at most: each costs some ten microseconds.
const GIVEN_BACK_MAX: u32 = 8;
const NONE: u32 = u32::MAX;

pub struct Allocator;

/// Where the huge pages begin: 0 before the first use, 1 when there are none.
static BASE: AtomicUsize = AtomicUsize::new(0);
const NO_BASE: usize = 1;
/// Huge pages that were never used lie from here on.
static FRESH: AtomicUsize = AtomicUsize::new(0);
static PAGES: [Page; HUGE_PAGES] = [const { Page::new() }; HUGE_PAGES];
static STATE: [Mutex<Arena>; ARENAS] = [const { Mutex::new(Arena::new()) }; ARENAS];
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static ARENA: Cell<Option<usize>> = const { Cell::new(None) };
}

fn own_arena() -> usize {
    ARENA.with(|arena| {
        arena.get().unwrap_or_else(|| {
            let next = THREADS.fetch_add(1, Ordering::Relaxed) % ARENAS;
            arena.set(Some(next));
            next
        })
    })
}

/// One huge page. Written under the lock of its arena, which it keeps for ever.
struct Page {
    arena: AtomicU8,
    class: AtomicU8,
    /// A bit for each free slot.
    free: AtomicU16,
    next: AtomicU32,
    previous: AtomicU32,
}

impl Page {
    const fn new() -> Page {
        Page {
            arena: AtomicU8::new(0),
            class: AtomicU8::new(0),
            free: AtomicU16::new(0),
            next: AtomicU32::new(NONE),
            previous: AtomicU32::new(NONE),
        }
    }
}

/// The first page of each list.
struct Arena {
    /// With free and with used slots, by class.
    partial: [u32; CLASSES],
    /// All free, and still memory.
    spare: u32,
    spares: u32,
    /// The fewest there were since the last `give_back`: those were needed by nobody.
    spares_min: u32,
    /// All free, and only address space.
    empty: u32,
}

fn all_free(class: usize) -> u16 {
    let slots = HUGE_BYTES / (SLOT_BYTES_MIN << class);
    u16::MAX >> (u16::BITS as usize - slots)
}

fn push(head: &mut u32, page: u32) {
    PAGES[page as usize].next.store(*head, Ordering::Relaxed);
    PAGES[page as usize].previous.store(NONE, Ordering::Relaxed);
    if *head != NONE {
        PAGES[*head as usize].previous.store(page, Ordering::Relaxed);
    }
    *head = page;
}

fn unlink(head: &mut u32, page: u32) {
    let next = PAGES[page as usize].next.load(Ordering::Relaxed);
    let previous = PAGES[page as usize].previous.load(Ordering::Relaxed);
    match previous {
        NONE => *head = next,
        _ => PAGES[previous as usize].next.store(next, Ordering::Relaxed),
    }
    if next != NONE {
        PAGES[next as usize].previous.store(previous, Ordering::Relaxed);
    }
}

fn pop(head: &mut u32) -> Option<u32> {
    let page = Some(*head).filter(|page| *page != NONE)?;
    unlink(head, page);
    Some(page)
}

impl Arena {
    const fn new() -> Arena {
        Arena { partial: [NONE; CLASSES], spare: NONE, spares: 0, spares_min: 0, empty: NONE }
    }

    fn take(&mut self, arena: usize, class: usize) -> Option<*mut u8> {
        let page = match self.partial[class] {
            NONE => self.page_for(arena, class)?,
            page => page,
        };
        let free = &PAGES[page as usize].free;
        let before = free.load(Ordering::Relaxed);
        let slot = before.trailing_zeros() as usize;
        let after = before & (before - 1);
        free.store(after, Ordering::Relaxed);
        if after == 0 {
            unlink(&mut self.partial[class], page);
        }
        let base = BASE.load(Ordering::Acquire);
        let offset = page as usize * HUGE_BYTES + slot * (SLOT_BYTES_MIN << class);
        Some(std::ptr::with_exposed_provenance_mut(base + offset))
    }

    /// A page without used slots; it is put on the class's list.
    fn page_for(&mut self, arena: usize, class: usize) -> Option<u32> {
        let page = if let Some(page) = pop(&mut self.spare) {
            self.spares -= 1;
            self.spares_min = self.spares_min.min(self.spares);
            page
        } else if let Some(page) = pop(&mut self.empty) {
            page
        } else {
            let fresh = FRESH.fetch_add(1, Ordering::Relaxed);
            if fresh >= HUGE_PAGES {
                FRESH.store(HUGE_PAGES, Ordering::Relaxed);
                return None;
            }
            PAGES[fresh].arena.store(arena as u8, Ordering::Relaxed);
            fresh as u32
        };
        PAGES[page as usize].class.store(class as u8, Ordering::Relaxed);
        PAGES[page as usize].free.store(all_free(class), Ordering::Relaxed);
        push(&mut self.partial[class], page);
        Some(page)
    }

    fn put(&mut self, page: u32, offset: usize) {
        let state = &PAGES[page as usize];
        let class = state.class.load(Ordering::Relaxed) as usize;
        let bit = 1u16 << (offset / (SLOT_BYTES_MIN << class));
        let before = state.free.load(Ordering::Relaxed);
        assert!(before & bit == 0, "a buffer was freed twice");
        state.free.store(before | bit, Ordering::Relaxed);
        let all = all_free(class);
        if before | bit == all {
            if before != 0 {
                unlink(&mut self.partial[class], page);
            }
            push(&mut self.spare, page);
            self.spares += 1;
        } else if before == 0 {
            push(&mut self.partial[class], page);
        }
    }
}

/// Gives memory back to the system that this thread's buffers did not need since the last call.
pub fn give_back() {
    let Some(arena) = ARENA.with(Cell::get) else { return };
    let Ok(mut state) = STATE[arena].lock() else { return };
    for _ in 0..state.spares_min.min(GIVEN_BACK_MAX) {
        let Some(page) = pop(&mut state.spare) else { break };
        state.spares -= 1;
        let address = BASE.load(Ordering::Acquire) + page as usize * HUGE_BYTES;
        // SAFETY: the page is inside the mapping and none of its slots is in use.
        unsafe {
            let address = std::ptr::with_exposed_provenance_mut(address);
            libc::madvise(address, HUGE_BYTES, libc::MADV_DONTNEED);
        }
        push(&mut state.empty, page);
    }
    state.spares_min = state.spares;
}

/// The address space, reserved once.
fn base() -> Option<usize> {
    let known = match BASE.load(Ordering::Acquire) {
        0 => reserve(),
        known => known,
    };
    (known != NO_BASE).then_some(known)
}

fn reserve() -> usize {
    static ONCE: Mutex<()> = Mutex::new(());
    let Ok(_once) = ONCE.lock() else { return NO_BASE };
    match BASE.load(Ordering::Acquire) {
        0 => {}
        known => return known,
    }
    let bytes = (HUGE_PAGES + 1) * HUGE_BYTES;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping; nothing of ours is touched.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    let base = match mapped {
        libc::MAP_FAILED => NO_BASE,
        mapped => {
            // SAFETY: our mapping. A refusal (no huge pages here) leaves small pages, which serve too.
            unsafe { libc::madvise(mapped, bytes, libc::MADV_HUGEPAGE) };
            mapped.expose_provenance().next_multiple_of(HUGE_BYTES)
        }
    };
    BASE.store(base, Ordering::Release);
    base
}

/// The class of buffers that come from huge pages.
fn class_of(layout: Layout) -> Option<usize> {
    let fits = layout.align() == BLOCK && layout.size() > SLOT_BYTES_MIN / 2;
    (fits && layout.size() <= HUGE_BYTES)
        .then(|| layout.size().div_ceil(SLOT_BYTES_MIN).next_power_of_two().ilog2() as usize)
}

/// `None`: not from here.
fn alloc(layout: Layout) -> Option<*mut u8> {
    let class = class_of(layout)?;
    base()?;
    let arena = own_arena();
    STATE[arena].lock().ok()?.take(arena, class)
}

/// False: it is not from here.
fn dealloc(buffer: *mut u8) -> bool {
    let base = BASE.load(Ordering::Acquire);
    let offset = buffer.addr().wrapping_sub(base);
    if base <= NO_BASE || offset >= HUGE_PAGES * HUGE_BYTES {
        return false;
    }
    let page = offset / HUGE_BYTES;
    let arena = PAGES[page].arena.load(Ordering::Relaxed) as usize;
    if let Ok(mut state) = STATE[arena].lock() {
        state.put(page as u32, offset % HUGE_BYTES);
    }
    true
}

const MIMALLOC: mimalloc::MiMalloc = mimalloc::MiMalloc;

// SAFETY: a buffer from the huge pages is a whole slot of its class, which nobody else has until it comes
// back, and slots are aligned to their size; everything else is mimalloc's, told apart by address.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        alloc(layout).unwrap_or_else(|| unsafe { MIMALLOC.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match alloc(layout) {
            Some(buffer) => {
                unsafe { buffer.write_bytes(0, layout.size()) };
                buffer
            }
            None => unsafe { MIMALLOC.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, buffer: *mut u8, layout: Layout) {
        if layout.align() != BLOCK || !dealloc(buffer) {
            unsafe { MIMALLOC.dealloc(buffer, layout) }
        }
    }

    unsafe fn realloc(&self, buffer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.align() != BLOCK {
            return unsafe { MIMALLOC.realloc(buffer, layout, size) };
        }
        // Nobody does it; moving is right wherever each of the two is from.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(buffer, layout.size().min(size));
                self.dealloc(buffer, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, BLOCK).unwrap()
    }

    #[test]
    fn classes_by_size() {
        assert_eq!(class_of(layout(64 * 1024)), None);
        assert_eq!(class_of(layout(68 * 1024)), Some(0));
        assert_eq!(class_of(layout(128 * 1024)), Some(0));
        assert_eq!(class_of(layout(132 * 1024)), Some(1));
        assert_eq!(class_of(layout(1 << 20)), Some(3));
        assert_eq!(class_of(layout((1 << 20) + BLOCK)), Some(4));
        assert_eq!(class_of(layout(HUGE_BYTES)), Some(4));
        assert_eq!(class_of(layout(HUGE_BYTES + 1)), None);
        assert_eq!(class_of(Layout::from_size_align(1 << 20, 1).unwrap()), None);
        assert_eq!([all_free(0), all_free(3), all_free(4)], [u16::MAX, 3, 1]);
    }

    /// Buffers of all sizes, from several threads, some freed by another: none overlaps another.
    #[test]
    fn every_buffer_is_its_owners_alone() {
        let (give, take) = std::sync::mpsc::channel::<(usize, Layout, u8)>();
        let check = |(address, layout, mark): (usize, Layout, u8)| unsafe {
            let buffer = std::ptr::with_exposed_provenance_mut::<u8>(address);
            assert_eq!((*buffer, *buffer.add(layout.size() - 1)), (mark, mark));
            Allocator.dealloc(buffer, layout);
        };
        let work = |thread: u8, give: std::sync::mpsc::Sender<(usize, Layout, u8)>| {
            let mut held = std::collections::VecDeque::new();
            let mut random = u64::from(thread) + 1;
            for turn in 0..2000u32 {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let size = (random >> 33) as usize % (HUGE_BYTES + 100_000) + 1;
                let layout = layout(size);
                let mark = (random >> 40) as u8;
                // SAFETY: the size is not zero; what is written lies inside.
                let buffer = unsafe {
                    let buffer = Allocator.alloc(layout);
                    (*buffer, *buffer.add(size - 1)) = (mark, mark);
                    buffer
                };
                assert!(buffer.addr().is_multiple_of(BLOCK));
                held.push_back((buffer.expose_provenance(), layout, mark));
                if held.len() > 20 {
                    let one = held.pop_front().unwrap();
                    if turn % 3 == 0 { give.send(one).unwrap() } else { check(one) }
                }
                if turn % 100 == 0 {
                    give_back();
                }
            }
            held.into_iter().for_each(check);
            // Nothing is used any more but what the other thread has yet to free.
        };
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let give = give.clone();
                scope.spawn(move || work(thread, give));
            }
            drop(give);
            take.into_iter().for_each(check);
        });
    }
}
