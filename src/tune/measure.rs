//! A short measurement of the disk and of the loopback, with plain threads and system calls: what the
//! machine can do, not what the broker does with it. Invariant: leaves no file behind.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::runtime::BLOCK;

/// Writes under way at a time.
pub const DEPTHS: [usize; 5] = [1, 4, 16, 32, 64];
const LARGE: usize = 1024 * 1024;
/// Of the file that is written over and over.
const FILE_BYTES: usize = 64 * LARGE;

#[derive(Clone, Copy, Debug, Serialize)]
pub struct AtDepth {
    pub depth: usize,
    pub writes_per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub o_direct: bool,
    /// 4 KiB overwrites.
    pub small: Vec<AtDepth>,
    /// A 4 KiB overwrite and its fdatasync, one at a time.
    pub durable_p50_us: f64,
    pub durable_p99_us: f64,
    /// 1 MiB writes, four at a time.
    pub large_bytes_per_s: f64,
    /// 100 bytes there and back over 127.0.0.1.
    pub echo_p50_us: f64,
    pub echo_p99_us: f64,
}

struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Zeroed memory of `len` bytes on a block's boundary, without unsafe: the first of a longer vector.
struct Aligned {
    memory: Vec<u8>,
    from: usize,
    len: usize,
}

impl Aligned {
    fn new(len: usize) -> Aligned {
        let memory = vec![0u8; len + BLOCK];
        let from = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        Aligned { memory, from, len }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.from..self.from + self.len]
    }
}

/// Takes about eight times `each`.
pub fn measure(dir: &Path, each: Duration) -> io::Result<Measured> {
    let path =
        Removed(dir.join(format!(".tune-{}-{:016x}", std::process::id(), fastrand::u64(..))));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    let block = Aligned::new(LARGE);
    let direct = options.clone().custom_flags(libc::O_DIRECT).open(&path.0);
    let direct = direct.and_then(|f| f.write_all_at(&block.bytes()[..BLOCK], 0).map(|()| f));
    let o_direct = direct.is_ok();
    let file = match direct {
        Ok(file) => file,
        Err(_) => options.open(&path.0)?,
    };
    for at in (0..FILE_BYTES).step_by(LARGE) {
        file.write_all_at(block.bytes(), at as u64)?;
    }
    file.sync_all()?;
    let mut small = Vec::new();
    for depth in DEPTHS {
        small.push(writes(&file, depth, BLOCK, each)?);
    }
    let large = writes(&file, 4, LARGE, each)?;
    let mut durable = Vec::new();
    let start = Instant::now();
    while start.elapsed() < each {
        let began = Instant::now();
        let at = fastrand::usize(..FILE_BYTES / BLOCK) * BLOCK;
        file.write_all_at(&block.bytes()[..BLOCK], at as u64)?;
        file.sync_data()?;
        durable.push(began.elapsed());
    }
    let (durable_p50_us, durable_p99_us) = percentiles(&mut durable);
    let (echo_p50_us, echo_p99_us) = percentiles(&mut echo(each)?);
    Ok(Measured {
        o_direct,
        small,
        durable_p50_us,
        durable_p99_us,
        large_bytes_per_s: large.writes_per_s * LARGE as f64,
        echo_p50_us,
        echo_p99_us,
    })
}

/// `depth` threads that each write `size` bytes at a random place, again and again.
fn writes(file: &File, depth: usize, size: usize, each: Duration) -> io::Result<AtDepth> {
    let count = AtomicU64::new(0);
    let start = Instant::now();
    let times = thread::scope(|scope| {
        let run = || -> io::Result<Vec<Duration>> {
            let buffer = Aligned::new(size);
            let mut times = Vec::new();
            while start.elapsed() < each {
                let at = fastrand::usize(..FILE_BYTES / size) * size;
                let began = Instant::now();
                file.write_all_at(buffer.bytes(), at as u64)?;
                times.push(began.elapsed());
                count.fetch_add(1, Relaxed);
            }
            Ok(times)
        };
        let threads: Vec<_> = (0..depth).map(|_| scope.spawn(run)).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| io::Error::other("a writer panicked"))??);
        }
        Ok::<_, io::Error>(all)
    });
    let took = start.elapsed().as_secs_f64();
    let (p50_us, p99_us) = percentiles(&mut times?);
    Ok(AtDepth { depth, writes_per_s: count.load(Relaxed) as f64 / took, p50_us, p99_us })
}

fn echo(each: Duration) -> io::Result<Vec<Duration>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let answers = thread::spawn(move || {
        let mut bytes = [0; 100];
        while server.read_exact(&mut bytes).is_ok() && server.write_all(&bytes).is_ok() {}
    });
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < each {
        let mut bytes = [1; 100];
        let began = Instant::now();
        client.write_all(&bytes)?;
        client.read_exact(&mut bytes)?;
        times.push(began.elapsed());
    }
    drop(client);
    let _ = answers.join();
    Ok(times)
}

/// p50 and p99 in µs; 0 of nothing.
fn percentiles(times: &mut [Duration]) -> (f64, f64) {
    times.sort_unstable();
    let at = |percent: usize| {
        let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        times.get(index).map_or(0.0, |t| t.as_nanos() as f64 / 1000.0)
    };
    (at(50), at(99))
}
