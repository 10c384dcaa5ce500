//! The simulated disk, with the signatures of `runtime::disk`: time and faults around a `Volume`.
//! A process sees the volume of its machine. Writes and syncs are handed to the "device" and go on
//! when their future is dropped; a directory change takes effect at some point while it is awaited,
//! so that a kill in between finds it done or not.
//! Not here: what is durable and what a crash leaves (`volume.rs`, `volume_crash.rs`).

use std::future::Future;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::executor::{Completion, sleep_ns};
use super::process::{ProcessId, current_machine, current_volume, power_cut};
use super::volume::{BLOCK, InFlight, Volume};
use super::world::{SharedVolume, World, world};
use crate::runtime::disk::{DirEntry, DiskProbe, OpenMode};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Read,
    Write,
    Sync,
    Meta,
}

/// Counts down to 0, then is `None`; true when it was 0.
fn has_come(countdown: &mut Option<u64>) -> bool {
    let now = *countdown == Some(0);
    *countdown = countdown.and_then(|n| n.checked_sub(1));
    now
}

/// How long the operation takes, and whether it fails with EIO.
fn draw(world: &World, op: Op) -> (u64, bool) {
    let is_write = matches!(op, Op::Write | Op::Sync);
    let (ops, writes) = world.disk_ops.get();
    world.disk_ops.set((ops + 1, writes + u64::from(is_write)));
    let (knobs, forced, cut) = {
        let mut knobs = world.knobs.borrow_mut();
        let disk = &mut knobs.disk;
        let forced = has_come(&mut disk.fail_at_op);
        disk.full |= has_come(&mut disk.full_at_op);
        let cut = is_write && has_come(&mut disk.power_cut_at_write);
        (knobs.disk.clone(), forced, cut)
    };
    let (latency, probability) = match op {
        Op::Read => (&knobs.latency, knobs.read_error_probability),
        Op::Write => (&knobs.latency, knobs.write_error_probability),
        Op::Sync => (&knobs.sync_latency, knobs.sync_error_probability),
        Op::Meta => (&knobs.latency, 0.0),
    };
    let mut delay_ns = world.between_ns(latency);
    if world.chance(knobs.stall_probability) {
        delay_ns += world.between_ns(&knobs.stall);
    }
    delay_ns = delay_ns.max(knobs.stalled_until_ns.saturating_sub(world.now.get()));
    if cut {
        let machine = current_machine(world);
        let at = world.now.get() + world.between(&(0..delay_ns + delay_ns / 4 + 1));
        world.schedule(at, move |_| power_cut(&machine));
    }
    let fails = world.chance(probability) || forced;
    if fails {
        world.trace("disk error", op as u64, 0);
    }
    (delay_ns, fails)
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

fn full(world: &World) -> bool {
    world.knobs.borrow().disk.full
}

/// Runs `f` on the volume at the start or at the end of the operation's time, by the seed.
async fn on_volume<T>(
    volume: SharedVolume,
    op: Op,
    f: impl FnOnce(&mut Volume) -> io::Result<T>,
) -> io::Result<T> {
    let w = world();
    let (delay_ns, fails) = draw(&w, op);
    if fails {
        sleep_ns(&w, delay_ns).await;
        return Err(eio());
    }
    if w.coin() {
        let result = f(&mut volume.borrow_mut());
        sleep_ns(&w, delay_ns).await;
        result
    } else {
        sleep_ns(&w, delay_ns).await;
        f(&mut volume.borrow_mut())
    }
}

/// A directory operation of the current process.
fn meta<T>(
    what: &'static str,
    path: &Path,
    f: impl FnOnce(&mut Volume) -> io::Result<T>,
) -> impl Future<Output = io::Result<T>> {
    let w = world();
    w.trace(what, u64::from(crc32c::crc32c(path.as_os_str().as_encoded_bytes())), 0);
    on_volume(current_volume(&w), Op::Meta, f)
}

#[derive(Clone)]
pub struct File {
    handle: Rc<Handle>,
}

struct Handle {
    volume: SharedVolume,
    owner: ProcessId,
    inode: u64,
    writable: bool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.volume.borrow_mut().close(self.inode);
    }
}

impl File {
    pub async fn open(path: &Path, mode: OpenMode) -> io::Result<File> {
        let w = world();
        let (volume, owner, full) = (current_volume(&w), w.current.get(), full(&w));
        // The handle is made with the open itself: a dropped future must not leak its count.
        meta("open", path, move |v| {
            let inode = v.open(path, mode == OpenMode::Create, full)?;
            let writable = mode != OpenMode::Read;
            Ok(File { handle: Rc::new(Handle { volume, owner, inode, writable }) })
        })
        .await
    }

    /// The content is what `buf` holds at the first poll.
    pub async fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<()> {
        assert!(
            pos.is_multiple_of(BLOCK as u64) && buf.len().is_multiple_of(BLOCK),
            "direct write of {} bytes at {pos} is not aligned",
            buf.len()
        );
        self.write_buffered(buf, pos).await
    }

    async fn write_buffered(&self, buf: &[u8], pos: u64) -> io::Result<()> {
        let w = world();
        let handle = &self.handle;
        if !handle.writable {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        let (delay_ns, fails) = draw(&w, Op::Write);
        w.trace("disk write", pos, u64::from(crc32c::crc32c(buf)));
        let grows = handle.volume.borrow().content(handle.inode)?.len < pos + buf.len() as u64;
        if grows && full(&w) {
            sleep_ns(&w, delay_ns).await;
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let id = {
            let mut volume = handle.volume.borrow_mut();
            let id = volume.id();
            let (owner, inode, bytes) = (handle.owner, handle.inode, buf.to_vec());
            volume.in_flight.insert(id, InFlight::Write { owner, inode, pos, bytes });
            id
        };
        let (done, volume) = (Completion::new(), handle.volume.clone());
        let answer = done.handle();
        w.schedule(w.now.get() + delay_ns, move |w| {
            let mut volume = volume.borrow_mut();
            // Gone when its process was killed meanwhile.
            let Some(InFlight::Write { inode, pos, bytes, .. }) = volume.in_flight.remove(&id)
            else {
                return;
            };
            answer.complete(if fails {
                volume.write_torn(w, inode, pos, &bytes);
                Err(eio())
            } else {
                volume.write(inode, pos, &bytes)
            });
        });
        done.await
    }

    /// Shorter only at the end of the file.
    pub async fn read_at(&self, pos: u64, len: usize) -> io::Result<Vec<u8>> {
        let inode = self.handle.inode;
        on_volume(self.handle.volume.clone(), Op::Read, |v| Ok(v.content(inode)?.read(pos, len)))
            .await
    }

    /// Covers the writes that were complete when it was called, and the length.
    pub async fn fdatasync(&self) -> io::Result<()> {
        self.sync_blocks(0..u64::MAX).await
    }

    /// Only what it writes is durable then: nothing else may be counted on.
    pub async fn write_durably_at(&self, buf: &[u8], pos: u64) -> io::Result<()> {
        self.write_at(buf, pos).await?;
        let first = pos / BLOCK as u64;
        self.sync_blocks(first..first + (buf.len() / BLOCK) as u64).await
    }

    async fn sync_blocks(&self, blocks: Range<u64>) -> io::Result<()> {
        let w = world();
        let (delay_ns, fails) = draw(&w, Op::Sync);
        let (inode, owner) = (self.handle.inode, self.handle.owner);
        w.trace("fdatasync", inode, 0);
        let volume = self.handle.volume.clone();
        let id = {
            let mut volume = volume.borrow_mut();
            let (id, sequence) = (volume.id(), volume.sequence);
            volume.in_flight.insert(id, InFlight::Sync { owner, inode, sequence, blocks });
            id
        };
        let done = Completion::new();
        let answer = done.handle();
        w.schedule(w.now.get() + delay_ns, move |w| {
            let mut volume = volume.borrow_mut();
            let Some(InFlight::Sync { inode, sequence, blocks, .. }) = volume.in_flight.remove(&id)
            else {
                return;
            };
            answer.complete(volume.content_mut(inode).and_then(|content| {
                match fails {
                    false => content.sync(sequence, &blocks),
                    true if w.coin() => content.forget_dirty(sequence, &blocks),
                    true => {}
                }
                if fails { Err(eio()) } else { Ok(()) }
            }));
        });
        done.await
    }

    /// Extends the file with zeros to at least `size`.
    pub async fn preallocate(&self, size: u64) -> io::Result<()> {
        let (inode, full) = (self.handle.inode, full(&world()));
        on_volume(self.handle.volume.clone(), Op::Meta, move |v| {
            if v.content(inode)?.len >= size {
                return Ok(());
            }
            if full {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            v.set_len(inode, size)
        })
        .await
    }

    pub async fn truncate(&self, size: u64) -> io::Result<()> {
        let inode = self.handle.inode;
        on_volume(self.handle.volume.clone(), Op::Meta, move |v| v.set_len(inode, size)).await
    }

    pub async fn len(&self) -> io::Result<u64> {
        let inode = self.handle.inode;
        on_volume(self.handle.volume.clone(), Op::Meta, move |v| Ok(v.content(inode)?.len)).await
    }

    pub async fn close(self) -> io::Result<()> {
        Ok(())
    }
}

pub async fn list_dir(path: &Path) -> io::Result<Vec<DirEntry>> {
    meta("list", path, |v| v.list(path)).await
}

/// Not durable until `sync_dir` of the parent.
pub async fn create_dir(path: &Path) -> io::Result<()> {
    let full = full(&world());
    meta("mkdir", path, |v| v.make_dir(path, full)).await.map(|_| ())
}

/// mkdir -p; every directory made and every parent changed is synced.
pub async fn create_dir_all(path: &Path) -> io::Result<()> {
    let full = full(&world());
    let mut levels: Vec<&Path> = path.ancestors().filter(|p| p.file_name().is_some()).collect();
    levels.reverse();
    for level in levels {
        if meta("mkdir", level, |v| v.make_dir(level, full)).await? {
            sync_dir(level.parent().unwrap_or(Path::new("/"))).await?;
        }
    }
    Ok(())
}

/// Entry by entry, children first: a crash may leave any part of it.
pub async fn remove_dir_all(path: &Path) -> io::Result<()> {
    let mut todo = vec![(path.to_path_buf(), false)];
    while let Some((dir, emptied)) = todo.pop() {
        if emptied {
            meta("rmdir", &dir, |v| v.remove_dir(&dir)).await?;
            continue;
        }
        todo.push((dir.clone(), true));
        for entry in list_dir(&dir).await? {
            let child = dir.join(&entry.name);
            if entry.is_dir {
                todo.push((child, false));
            } else {
                remove_file(&child).await?;
            }
        }
    }
    Ok(())
}

pub async fn remove_file(path: &Path) -> io::Result<()> {
    meta("unlink", path, |v| v.remove_file(path)).await
}

/// Not durable until `sync_dir` of the parent.
pub async fn rename(from: &Path, to: &Path) -> io::Result<()> {
    meta("rename", to, |v| v.rename(from, to)).await
}

/// Makes the changes made so far in `path` durable.
pub async fn sync_dir(path: &Path) -> io::Result<()> {
    let w = world();
    let (delay_ns, fails) = draw(&w, Op::Sync);
    w.trace("sync dir", u64::from(crc32c::crc32c(path.as_os_str().as_encoded_bytes())), 0);
    let (shared, owner) = (current_volume(&w), w.current.get());
    let id = {
        let mut volume = shared.borrow_mut();
        let dir = volume.lookup(path)?;
        volume.dir(dir)?;
        let (id, sequence) = (volume.id(), volume.sequence);
        volume.in_flight.insert(id, InFlight::SyncDir { owner, dir, sequence });
        id
    };
    let done = Completion::new();
    let answer = done.handle();
    w.schedule(w.now.get() + delay_ns, move |_| {
        let mut volume = shared.borrow_mut();
        if let Some(InFlight::SyncDir { dir, sequence, .. }) = volume.in_flight.remove(&id) {
            if fails {
                answer.complete(Err(eio()));
            } else {
                volume.commit_dir(dir, sequence);
                answer.complete(Ok(()));
            }
        }
    });
    done.await
}

pub async fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path, OpenMode::Read).await?;
    let len = file.len().await?;
    file.read_at(0, len as usize).await
}

/// Writes `path.tmp`, syncs it, renames it over `path`, syncs the directory: a power cut may fall
/// between any two of these.
pub async fn write_file_atomic(path: &Path, bytes: Vec<u8>) -> io::Result<()> {
    let mut tmp = path.as_os_str().to_owned();
    tmp.push(".tmp");
    let tmp = PathBuf::from(tmp);
    let file = write_whole(&tmp, &bytes).await?;
    file.fdatasync().await?;
    rename(&tmp, path).await?;
    sync_dir(path.parent().unwrap_or(Path::new("/"))).await
}

pub async fn replace_file(path: &Path, bytes: Vec<u8>) -> io::Result<()> {
    let mut tmp = path.as_os_str().to_owned();
    tmp.push(".tmp");
    let tmp = PathBuf::from(tmp);
    write_whole(&tmp, &bytes).await?;
    rename(&tmp, path).await
}

/// Everything that was complete when it was called. When it fails, any part of it may be durable.
pub async fn sync_file_system(path: &Path) -> io::Result<()> {
    let w = world();
    let (delay_ns, fails) = draw(&w, Op::Sync);
    w.trace("sync file system", 0, 0);
    let (shared, owner) = (current_volume(&w), w.current.get());
    let id = {
        let mut volume = shared.borrow_mut();
        volume.lookup(path)?;
        let (id, sequence) = (volume.id(), volume.sequence);
        volume.in_flight.insert(id, InFlight::SyncAll { owner, sequence });
        id
    };
    let done = Completion::new();
    let answer = done.handle();
    w.schedule(w.now.get() + delay_ns, move |w| {
        let mut volume = shared.borrow_mut();
        if let Some(InFlight::SyncAll { sequence, .. }) = volume.in_flight.remove(&id) {
            match fails {
                false => volume.sync_all(sequence),
                true => volume.sync_some(w, sequence),
            }
            answer.complete(if fails { Err(eio()) } else { Ok(()) });
        }
    });
    done.await
}

pub async fn write_file(path: &Path, bytes: Vec<u8>) -> io::Result<()> {
    write_whole(path, &bytes).await.map(drop)
}

async fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let file = File::open(path, OpenMode::Create).await?;
    file.truncate(0).await?;
    file.write_buffered(bytes, 0).await?;
    Ok(file)
}

/// (total, available) bytes: a round figure, nothing available while `DiskKnobs::full` is set.
pub async fn disk_space(path: &Path) -> io::Result<(u64, u64)> {
    const TOTAL_BYTES: u64 = 1 << 40;
    let available = if full(&world()) { 0 } else { TOTAL_BYTES / 2 };
    meta("statfs", path, |v| v.lookup(path)).await.map(|_| (TOTAL_BYTES, available))
}

/// Released when dropped or when its process dies.
pub struct DirLock {
    volume: SharedVolume,
    id: u64,
}

impl Drop for DirLock {
    fn drop(&mut self) {
        self.volume.borrow_mut().unlock(self.id);
    }
}

/// WouldBlock when it is held. No file appears in the directory.
pub async fn lock_dir(path: &Path) -> io::Result<DirLock> {
    let w = world();
    let (volume, owner) = (current_volume(&w), w.current.get());
    meta("lock", path, move |v| {
        let dir = v.lookup(path)?;
        v.dir(dir)?;
        let id = v.lock(owner, dir).ok_or(io::ErrorKind::WouldBlock)?;
        Ok(DirLock { volume, id })
    })
    .await
}

pub async fn probe(dir: &Path) -> io::Result<DiskProbe> {
    meta("probe", dir, |v| v.dir(v.lookup(dir)?).map(drop)).await?;
    Ok(DiskProbe {
        file_system: "sim".to_owned(),
        o_direct: true,
        write_4k_us: 50.0,
        fdatasync_us: 500.0,
    })
}
