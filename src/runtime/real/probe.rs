//! What start-up says of the disk: file system, O_DIRECT, the price of a 4 KiB write and of an
//! fdatasync. Measured with plain system calls on the blocking pool: it is the device that is
//! asked, not the executor. Invariant: leaves no file behind.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::super::disk::{BLOCK, DiskProbe};
use super::blocking;

/// Odd, so that the median is one of them.
const ROUNDS: usize = 33;

pub async fn probe(dir: &Path) -> io::Result<DiskProbe> {
    let dir = dir.to_owned();
    blocking::run(move || probe_now(&dir)).await
}

pub fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a path with a zero byte"))
}

struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn probe_now(dir: &Path) -> io::Result<DiskProbe> {
    let name = format!(".probe-{}-{:016x}", std::process::id(), fastrand::u64(..));
    let path = Removed(dir.join(name));
    fs::write(&path.0, vec![1u8; BLOCK * ROUNDS])?;
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true);
    let block = AlignedBlock([1; BLOCK]);
    let direct = options.clone().custom_flags(libc::O_DIRECT).open(&path.0);
    // Some file systems open with O_DIRECT and refuse the write.
    let direct = direct.and_then(|file| write_block(&file, &block, 0).map(|()| file));
    let o_direct = direct.is_ok();
    let file = match direct {
        Ok(file) => file,
        Err(_) => options.open(&path.0)?,
    };
    file.sync_all()?;
    let mut writes = Vec::with_capacity(ROUNDS);
    let mut syncs = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let start = Instant::now();
        write_block(&file, &block, round * BLOCK)?;
        writes.push(start.elapsed());
        let start = Instant::now();
        file.sync_data()?;
        syncs.push(start.elapsed());
    }
    writes.sort();
    syncs.sort();
    Ok(DiskProbe {
        file_system: file_system(dir)?,
        o_direct,
        write_4k_us: writes[ROUNDS / 2].as_nanos() as f64 / 1000.0,
        fdatasync_us: syncs[ROUNDS / 2].as_nanos() as f64 / 1000.0,
    })
}

#[repr(align(4096))]
struct AlignedBlock([u8; BLOCK]);

fn write_block(file: &fs::File, block: &AlignedBlock, pos: usize) -> io::Result<()> {
    // SAFETY: the block outlives the call and is BLOCK bytes long.
    let written = unsafe {
        libc::pwrite(file.as_raw_fd(), block.0.as_ptr().cast(), BLOCK, pos as libc::off_t)
    };
    match written {
        n if n == BLOCK as isize => Ok(()),
        n if n < 0 => Err(io::Error::last_os_error()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

fn file_system(dir: &Path) -> io::Result<String> {
    let path = c_path(dir)?;
    // SAFETY: an all-zero statfs is valid; path and buffer outlive the call.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    if unsafe { libc::statfs(path.as_ptr(), &mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // From linux/magic.h; libc does not have all of them.
    let name = match stat.f_type as u64 & 0xffff_ffff {
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlayfs",
        0x2fc1_2fc1 => "zfs",
        0xf2f5_2010 => "f2fs",
        0x6969 => "nfs",
        0x6573_5546 => "fuse",
        0xca45_1a4e => "bcachefs",
        0x0102_1997 => "9p",
        0x8584_58f6 => "ramfs",
        other => return Ok(format!("unknown ({other:#x})")),
    };
    Ok(name.into())
}
