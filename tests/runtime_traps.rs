//! Each trap of glommio and io_uring that the runtime room works around has a test here, named
//! by the trap. All of them run real executors, sockets and files; none of them measures time
//! except to fail on a stall. `SPINDLE_LONG=1` makes the stall test run for a minute.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use spindle::runtime::disk;
use spindle::runtime::executor::{ExecutorSpec, block_on, run_blocking, start_thread};
use spindle::runtime::mailbox::{mailbox, oneshot};
use spindle::runtime::socket::port_is_free;
use spindle::runtime::{
    AlignedBuf, BLOCK, CpuClock, File, Listener, Notify, OpenMode, Stream, machine, now, sleep,
    spawn, timeout, yield_if_needed, yield_now,
};

const LOOPBACK: &str = "127.0.0.1:0";

fn loopback() -> SocketAddr {
    LOOPBACK.parse().unwrap()
}

fn run<Fut, T>(main: impl FnOnce() -> Fut) -> T
where
    Fut: Future<Output = T> + 'static,
    T: 'static,
{
    block_on(ExecutorSpec::unpinned("trap"), main).unwrap()
}

/// A directory on the disk the crate is built on (the system's temporary one may be a tmpfs).
fn on_disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

async fn pair() -> (Stream, Stream) {
    let listener = Listener::bind(loopback()).unwrap();
    let client = Stream::connect(listener.local_addr()).await.unwrap();
    let (server, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, client.local_addr());
    (client, server)
}

async fn read_exactly(stream: &Stream, buf: &mut [u8]) {
    let mut have = 0;
    while have < buf.len() {
        let n = stream.read(&mut buf[have..]).await.unwrap();
        assert!(n > 0, "end of stream after {have} bytes");
        have += n;
    }
}

fn block_of(byte: u8) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(BLOCK);
    buf.fill(byte);
    buf
}

/// With a preempt timer too short or no watchdog, an executor that shares its CPU parks with
/// runnable tasks and the echo stops for good.
#[test]
fn echo_under_cpu_contention_never_stalls() {
    let seconds = if std::env::var_os("SPINDLE_LONG").is_some() { 60 } else { 5 };
    let cpu = machine::process_cpus()[0];
    let spec = |name: &str| ExecutorSpec { name: name.into(), cpu: Some(cpu), spin_us: 0 };
    let stop = Arc::new(AtomicBool::new(false));
    let echoes = Arc::new(AtomicU64::new(0));

    let busy_stop = stop.clone();
    let busy = std::thread::spawn(move || {
        machine::set_thread_cpus(&[cpu]).unwrap();
        while !busy_stop.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    });

    let (addr_sender, addr_receiver) = std::sync::mpsc::channel();
    let server_stop = stop.clone();
    let server = start_thread(spec("echo-server"), move || async move {
        let listener = Listener::bind(loopback()).unwrap();
        addr_sender.send(listener.local_addr()).unwrap();
        spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                spawn(async move {
                    let mut buf = [0; 250];
                    let mut have = 0;
                    while let Ok(n @ 1..) = stream.read(&mut buf[have..]).await {
                        have += n;
                        if have == buf.len() {
                            have = 0;
                            stream.write_all(&buf[..60]).await.unwrap();
                        }
                    }
                });
            }
        });
        // Opened and closed by glommio: only then can its trap close.
        let dir = on_disk();
        while !server_stop.load(Ordering::Relaxed) {
            open_new(dir.path()).await.close().await.unwrap();
            sleep(Duration::from_millis(2)).await;
        }
    })
    .unwrap();

    let addr = addr_receiver.recv().unwrap();
    let client_stop = stop.clone();
    let client_echoes = echoes.clone();
    let client = start_thread(spec("echo-client"), move || async move {
        let stream = Stream::connect(addr).await.unwrap();
        let mut answer = [0; 60];
        while !client_stop.load(Ordering::Relaxed) {
            stream.write_all(&[7; 250]).await.unwrap();
            read_exactly(&stream, &mut answer).await;
            client_echoes.fetch_add(1, Ordering::Relaxed);
        }
    })
    .unwrap();

    let mut seen = 0;
    for _ in 0..seconds {
        std::thread::sleep(Duration::from_secs(1));
        // A stuck executor stays stuck: on a machine with much else to do, waiting is harmless.
        for waited in 0.. {
            let count = echoes.load(Ordering::Relaxed);
            if count > seen {
                seen = count;
                break;
            }
            assert!(waited < 15, "no echo since number {seen}: the executor is stuck");
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    eprintln!("{seen} echoes");
    stop.store(true, Ordering::Relaxed);
    for thread in [busy, client, server] {
        thread.join().unwrap();
    }
}

/// A parked executor is woken from another one, by the mailbox and by the oneshot.
#[test]
fn wakes_from_another_executor_are_never_lost() {
    const ROUND_TRIPS: u64 = 100_000;
    let (requests, inbox) = mailbox::<(u64, spindle::runtime::mailbox::OneshotSender<u64>)>(8);
    let server = start_thread(ExecutorSpec::unpinned("wake-server"), move || async move {
        while let Some((n, answer)) = inbox.recv().await {
            answer.send(n + 1).unwrap();
        }
    })
    .unwrap();
    run(move || async move {
        for n in 0..ROUND_TRIPS {
            let (sender, receiver) = oneshot();
            assert!(requests.try_send((n, sender)).is_ok());
            assert_eq!(receiver.await, Ok(n + 1));
        }
    });
    server.join().unwrap();
}

#[test]
fn a_full_mailbox_gives_the_message_back() {
    let (sender, receiver) = mailbox(2);
    assert_eq!(sender.try_send(1), Ok(()));
    assert_eq!(sender.try_send(2), Ok(()));
    assert_eq!(sender.try_send(3), Err(3));
    assert_eq!(receiver.try_recv(), Some(1));
    assert_eq!(sender.try_send(3), Ok(()));
    drop(receiver);
    assert_eq!(sender.try_send(4), Err(4));
}

/// From an OS thread to an executor.
#[test]
fn a_thread_wakes_an_executor() {
    let (sender, receiver) = mailbox(4);
    let thread = std::thread::spawn(move || {
        for n in 0..1000 {
            while sender.try_send(n).is_err() {
                std::thread::yield_now();
            }
        }
    });
    run(move || async move {
        let mut expected = 0;
        while let Some(n) = receiver.recv().await {
            assert_eq!(n, expected);
            expected += 1;
        }
        assert_eq!(expected, 1000);
    });
    thread.join().unwrap();
}

#[test]
fn spawned_tasks_run_and_wake_each_other() {
    run(|| async {
        let notify = Notify::new();
        let woken = Rc::new(Cell::new(0));
        for _ in 0..10 {
            let notified = notify.notified();
            let woken = woken.clone();
            spawn(async move {
                notified.await;
                woken.set(woken.get() + 1);
            });
        }
        // Created before the notification, polled after it.
        let late = notify.notified();
        notify.notify_waiters();
        late.await;
        while woken.get() < 10 {
            yield_now().await;
        }
        // One created after it waits.
        let next = notify.notified();
        assert!(timeout(Duration::from_millis(5), next).await.is_none());
    });
}

/// A loop that only yields must not keep the executor from seeing its sockets and timers.
#[test]
fn a_yielding_loop_lets_sockets_and_timers_through() {
    run(|| async {
        let done = Rc::new(Cell::new(false));
        for forced in [true, false] {
            let done = done.clone();
            spawn(async move {
                while !done.get() {
                    if forced {
                        yield_now().await;
                    } else {
                        yield_if_needed().await;
                        yield_now().await;
                    }
                }
            });
        }
        let (client, server) = pair().await;
        for _ in 0..100 {
            client.write_all(b"ping").await.unwrap();
            read_exactly(&server, &mut [0; 4]).await;
            sleep(Duration::from_micros(100)).await;
        }
        done.set(true);
    });
}

/// Glommio leaks the futures of tasks that are pending when an executor ends; their sockets would
/// stay open and the port would stay taken.
#[test]
fn tasks_left_at_the_end_are_dropped_and_their_sockets_closed() {
    let addr = run(|| async {
        let listener = Listener::bind(loopback()).unwrap();
        let addr = listener.local_addr();
        spawn(async move {
            let mut streams = Vec::new();
            loop {
                streams.push(listener.accept().await.unwrap());
            }
        });
        let client = Stream::connect(addr).await.unwrap();
        spawn(async move {
            let _ = client.read(&mut [0; 1]).await;
        });
        sleep(Duration::from_millis(10)).await;
        addr
    });
    assert_eq!(port_is_free(addr).unwrap(), addr);
}

#[test]
fn a_listening_port_is_not_free() {
    run(|| async {
        let listener = Listener::bind(loopback()).unwrap();
        let addr = listener.local_addr();
        assert_eq!(port_is_free(addr).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        // But every shard may bind it.
        let second = Listener::bind(addr).unwrap();
        assert_eq!(second.local_addr(), addr);
        drop((listener, second));
        assert_eq!(port_is_free(addr).unwrap(), addr);
        assert_ne!(port_is_free(loopback()).unwrap().port(), 0);
    });
}

/// The ring may report bytes and the end of the stream that follows them at once, and only once.
#[test]
fn bytes_and_the_end_that_come_together_are_both_seen() {
    run(|| async {
        for round in 0..200 {
            let (client, server) = pair().await;
            let (sender, ended) = oneshot();
            let reader = async move {
                let mut buf = [0; 16];
                assert_eq!(server.read(&mut buf).await.unwrap(), 3);
                assert_eq!(server.read(&mut buf).await.unwrap(), 0);
                sender.send(()).unwrap();
            };
            if round % 2 == 0 {
                spawn(reader);
                yield_now().await;
                client.write_all(b"end").await.unwrap();
            } else {
                client.write_all(b"end").await.unwrap();
                spawn(reader);
            }
            drop(client);
            ended.await.unwrap();
        }
    });
}

/// That a peer has stopped writing says nothing of the room in its socket.
#[test]
fn a_peer_that_only_reads_gets_everything() {
    const BYTES: usize = 8 << 20;
    run(|| async {
        let listener = Listener::bind(loopback()).unwrap();
        let addr = listener.local_addr();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let peer = std::thread::spawn(move || {
            let mut peer = std::net::TcpStream::connect(addr).unwrap();
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            wait.recv().unwrap();
            std::io::copy(&mut peer, &mut io::sink()).unwrap()
        });
        let (server, _) = listener.accept().await.unwrap();
        assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0);
        let writer = server.clone();
        let (sender, written) = oneshot();
        spawn(async move {
            writer.write_all(&vec![7; BYTES]).await.unwrap();
            sender.send(()).unwrap();
        });
        // The socket is full by now: other tasks run all the same.
        for _ in 0..100 {
            sleep(Duration::from_micros(100)).await;
        }
        go.send(()).unwrap();
        written.await.unwrap();
        server.shutdown();
        assert_eq!(peer.join().unwrap(), BYTES as u64);
    });
}

/// Memory and file of a write stay where they are until the device has done with them.
#[test]
fn a_write_that_nobody_waits_for_is_written() {
    let dir = on_disk();
    let path = dir.path().join("left");
    run(|| async move {
        for byte in 1..50u8 {
            let file = File::open(&path, OpenMode::Create).await.unwrap();
            let write = file.write_at(Rc::new(block_of(byte)), 0);
            let _ = timeout(Duration::ZERO, write).await;
            drop(file);
            // Memory that was given back would be taken here, and filled.
            let others: Vec<AlignedBuf> = (0..8).map(|_| block_of(0xEE)).collect();
            loop {
                let file = File::open(&path, OpenMode::Read).await.unwrap();
                let bytes = file.read_at(0, BLOCK).await.unwrap();
                assert!(!bytes.contains(&0xEE));
                if bytes.len() == BLOCK && bytes[..] == *block_of(byte) {
                    break;
                }
            }
            drop(others);
        }
    });
}

/// The kernel does not cancel a poll whose completion it has in hand: asked once, such a poll kept the socket, and
/// the executor waited at its end for a poll that nobody had cancelled.
#[test]
fn a_socket_that_is_shut_down_and_left_does_not_hold_the_end() {
    let begin = std::time::Instant::now();
    run(|| async {
        let (client, server) = pair().await;
        for stream in [client.clone(), server.clone()] {
            spawn(async move {
                let _ = stream.read(&mut [0; 16]).await;
            });
        }
        yield_now().await;
        sleep(Duration::from_millis(1)).await;
        client.shutdown();
        server.shutdown();
    });
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
}

#[test]
fn shutdown_wakes_a_pending_reader() {
    run(|| async {
        let (client, server) = pair().await;
        let reader = server.clone();
        let (sender, ended) = oneshot();
        spawn(async move {
            let outcome = reader.read(&mut [0; 16]).await;
            let _ = sender.send(outcome.map_err(|e| e.kind()));
        });
        sleep(Duration::from_millis(5)).await; // let it park
        server.shutdown();
        assert_eq!(ended.await.unwrap(), Ok(0));
        assert_eq!(client.read(&mut [0; 16]).await.unwrap(), 0);
    });
}

#[test]
fn shutdown_wakes_a_pending_writer() {
    run(|| async {
        let (_client, server) = pair().await;
        let writer = server.clone();
        let (sender, ended) = oneshot();
        spawn(async move {
            let outcome = writer.write_all(&vec![1; 64 << 20]).await;
            let _ = sender.send(outcome.map_err(|e| e.kind()));
        });
        sleep(Duration::from_millis(20)).await;
        server.shutdown();
        assert_eq!(ended.await.unwrap(), Err(io::ErrorKind::BrokenPipe));
    });
}

/// Glommio's vectored write sends the first slice only; and what exceeds the socket's buffer has
/// to wait for the reader, while the same socket is read by another task.
#[test]
fn a_gather_write_larger_than_the_socket_buffer_arrives_whole() {
    run(|| async {
        let (client, server) = pair().await;
        let mut slices: Vec<Vec<u8>> = Vec::new();
        let mut seed = 1u32;
        for n in 0..700usize {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let len = if n % 7 == 0 { 0 } else { (seed >> 8) as usize % 60_000 };
            slices.push((0..len).map(|i| (i as u32 ^ seed) as u8).collect());
        }
        let sent: Vec<u8> = slices.concat();
        let total = sent.len();
        assert!(total > 8 << 20);
        let reader = server.clone();
        spawn(async move {
            // The other direction of the socket is in use meanwhile.
            let _ = reader.read(&mut [0; 1]).await;
        });
        spawn(async move {
            let slices: Vec<&[u8]> = slices.iter().map(|s| &s[..]).collect();
            server.write_vectored_all(&slices).await.unwrap();
            server.write_vectored_all(&[]).await.unwrap();
            server.write_all(b"end").await.unwrap();
        });
        sleep(Duration::from_millis(20)).await; // the writer fills the buffer and waits
        let mut received = vec![0; total + 3];
        read_exactly(&client, &mut received).await;
        assert!(received[..total] == sent[..]);
        assert_eq!(&received[total..], b"end");
    });
}

/// A cancelled read loses nothing.
#[test]
fn a_timed_out_read_loses_no_bytes() {
    run(|| async {
        let (client, server) = pair().await;
        for round in 0..50u8 {
            let nothing = timeout(Duration::from_micros(300), server.read(&mut [0; 1])).await;
            assert!(nothing.is_none());
            client.write_all(&[round]).await.unwrap();
            let mut byte = [0; 1];
            assert_eq!(server.read(&mut byte).await.unwrap(), 1);
            assert_eq!(byte, [round]);
        }
    });
}

/// In glommio's own pool a closure that panics kills the worker and hangs its caller.
#[test]
fn a_blocking_closure_that_panics_does_not_hang_its_caller() {
    run(|| async {
        for _ in 0..10 {
            let outcome = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(
                run_blocking(|| -> u32 { panic!("on purpose") }),
            ))
            .await;
            assert!(outcome.is_err());
        }
        assert_eq!(run_blocking(|| 7).await, 7);
    });
}

/// An executor that ends while a blocking call is out: glommio's pool would panic.
#[test]
fn an_executor_may_end_before_its_blocking_calls() {
    run(|| async {
        spawn(async {
            run_blocking(|| std::thread::sleep(Duration::from_millis(50))).await;
        });
        yield_now().await;
    });
    run(|| async { assert_eq!(run_blocking(|| 1).await, 1) });
}

/// The first file of an executor decides how glommio sees the device: an empty writable one makes
/// reads fail with EOPNOTSUPP. `prepare_device` opens another first.
#[test]
fn the_first_file_opened_is_not_an_empty_one() {
    let dir = on_disk();
    let path = dir.path().to_owned();
    run(move || async move {
        disk::prepare_device(&path).await.unwrap();
        assert_eq!(disk::list_dir(&path).await.unwrap(), []);
        let file = File::open(&path.join("log"), OpenMode::Create).await.unwrap();
        file.write_at(Rc::new(block_of(3)), 0).await.unwrap();
        assert_eq!(file.read_at(0, BLOCK).await.unwrap()[..], [3; BLOCK]);
        file.close().await.unwrap();
    });
}

async fn open_new(dir: &Path) -> File {
    disk::prepare_device(dir).await.unwrap();
    File::open(&dir.join("log"), OpenMode::Create).await.unwrap()
}

/// Glommio's `read_at` past the end returns bytes that are not the file's.
#[test]
fn a_read_never_goes_past_the_end() {
    let dir = on_disk();
    let path = dir.path().to_owned();
    run(move || async move {
        let file = open_new(&path).await;
        assert_eq!(file.read_at(0, 10).await.unwrap().len(), 0);
        let mut two = AlignedBuf::zeroed(2 * BLOCK);
        for (i, byte) in two.iter_mut().enumerate() {
            *byte = (i % 251) as u8;
        }
        let two = Rc::new(two);
        file.write_at(two.clone(), 0).await.unwrap();
        for end in [2 * BLOCK, 2 * BLOCK - 1, BLOCK + 1, BLOCK, 700, 1] {
            file.truncate(end as u64).await.unwrap();
            assert_eq!(file.len().await.unwrap(), end as u64);
            for pos in [0, 1, 699, BLOCK - 1, BLOCK, 2 * BLOCK - 1, 3 * BLOCK] {
                for len in [0, 1, 100, BLOCK, 3 * BLOCK] {
                    let bytes = file.read_at(pos as u64, len).await.unwrap();
                    let to = (pos + len).min(end);
                    assert_eq!(&bytes[..], &two[pos.min(to)..to], "{pos}+{len} of {end}");
                }
            }
        }
        file.close().await.unwrap();
    });
}

#[test]
fn the_tail_block_is_rewritten_in_place() {
    let dir = on_disk();
    let path = dir.path().to_owned();
    run(move || async move {
        let file = open_new(&path).await;
        file.preallocate(1 << 20).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 1 << 20);
        let mut tail = AlignedBuf::zeroed(BLOCK);
        for n in 0..200 {
            // Each round appends some bytes and writes the whole block again.
            tail[n * 20..(n + 1) * 20].fill(n as u8 + 1);
            let mut block = AlignedBuf::zeroed(BLOCK);
            block.copy_from_slice(&tail);
            file.write_at(Rc::new(block), 8 * BLOCK as u64).await.unwrap();
            let back = file.read_at(8 * BLOCK as u64, BLOCK).await.unwrap();
            assert_eq!(back[..], tail[..]);
        }
        file.fdatasync().await.unwrap();
        assert_eq!(file.read_at(0, BLOCK).await.unwrap()[..], [0; BLOCK]);
        file.preallocate(BLOCK as u64).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 1 << 20, "preallocate never shortens");
        file.close().await.unwrap();
    });
}

/// Glommio's `file_size` stats the path: wrong after a rename.
#[test]
fn the_length_is_right_after_a_rename() {
    let dir = on_disk();
    let path = dir.path().to_owned();
    run(move || async move {
        let file = open_new(&path).await;
        file.write_at(Rc::new(block_of(1)), 0).await.unwrap();
        disk::rename(&path.join("log"), &path.join("renamed")).await.unwrap();
        disk::sync_dir(&path).await.unwrap();
        assert_eq!(file.len().await.unwrap(), BLOCK as u64);
        file.write_at(Rc::new(block_of(2)), BLOCK as u64).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 2 * BLOCK as u64);
        disk::remove_file(&path.join("renamed")).await.unwrap();
        assert_eq!(file.read_at(BLOCK as u64, 3).await.unwrap()[..], [2; 3]);
        file.close().await.unwrap();
    });
}

#[test]
fn fresh_buffers_are_zeroed_and_aligned() {
    for _ in 0..50 {
        let mut buf = AlignedBuf::zeroed(5000);
        assert_eq!(buf.len(), 2 * BLOCK);
        assert_eq!(buf.as_ptr() as usize % BLOCK, 0);
        assert!(buf.iter().all(|&b| b == 0));
        buf.fill(0xff);
        buf.truncate(BLOCK);
        assert_eq!(buf.len(), BLOCK);
    }
    assert_eq!(AlignedBuf::zeroed(0).len(), 0);
}

/// A file system in memory (no O_DIRECT on older kernels) works the same.
#[test]
fn a_memory_file_system_works() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("no /dev/shm here: nothing to test");
        return;
    };
    let path = dir.path().to_owned();
    run(move || async move {
        let file = open_new(&path).await;
        file.preallocate(4 * BLOCK as u64).await.unwrap();
        file.write_at(Rc::new(block_of(9)), BLOCK as u64).await.unwrap();
        file.fdatasync().await.unwrap();
        let bytes = file.read_at(BLOCK as u64 - 2, 4).await.unwrap();
        assert_eq!(bytes[..], [0, 0, 9, 9]);
        assert_eq!(bytes.slice(1..3)[..], [0, 9]);
        file.close().await.unwrap();
        assert_eq!(disk::probe(&path).await.unwrap().file_system, "tmpfs");
    });
}

/// The number of the OS error survives (glommio's conversion drops it).
#[test]
fn errors_keep_their_os_number() {
    let dir = on_disk();
    let path = dir.path().to_owned();
    run(move || async move {
        let missing = File::open(&path.join("missing"), OpenMode::ReadWrite).await;
        assert_eq!(missing.err().and_then(|e| e.raw_os_error()), Some(libc::ENOENT));
        let listed = disk::list_dir(&path.join("missing")).await;
        assert_eq!(listed.unwrap_err().kind(), io::ErrorKind::NotFound);
        let refused = Stream::connect(port_is_free(loopback()).unwrap()).await;
        assert_eq!(refused.err().map(|e| e.kind()), Some(io::ErrorKind::ConnectionRefused));
    });
}

#[test]
fn directories_and_small_files() {
    let dir = on_disk();
    let path = dir.path().to_owned();
    run(move || async move {
        let deep = path.join("a/b/c");
        disk::create_dir_all(&deep).await.unwrap();
        disk::create_dir_all(&deep).await.unwrap();
        disk::write_file_atomic(&deep.join("x"), b"one".to_vec()).await.unwrap();
        disk::write_file_atomic(&deep.join("x"), b"two!".to_vec()).await.unwrap();
        disk::write_file(&deep.join("w"), Vec::new()).await.unwrap();
        assert_eq!(disk::read_file(&deep.join("x")).await.unwrap(), b"two!");
        let names = disk::list_dir(&deep).await.unwrap();
        let names: Vec<_> = names.iter().map(|e| (e.name.as_str(), e.len)).collect();
        assert_eq!(names, [("w", 0), ("x", 4)]);
        disk::remove_dir_all(&path.join("a")).await.unwrap();
        assert_eq!(disk::list_dir(&path).await.unwrap(), []);
        let (total, available) = disk::disk_space(&path).await.unwrap();
        assert!(total >= available && available > 0);
        let lock = disk::lock_dir(&path).await.unwrap();
        let second = disk::lock_dir(&path).await;
        assert_eq!(second.err().map(|e| e.kind()), Some(io::ErrorKind::WouldBlock));
        drop(lock);
        disk::lock_dir(&path).await.unwrap();
        let probe = disk::probe(&path).await.unwrap();
        assert!(probe.write_4k_us > 0.0 && probe.fdatasync_us > 0.0, "{probe:?}");
        let left = disk::list_dir(&path).await.unwrap();
        assert_eq!(left.len(), 1, "the probe leaves only the lock: {left:?}");
    });
}

#[test]
fn a_cpu_that_is_not_ours_is_refused_in_words() {
    let spec = ExecutorSpec { name: "nowhere".into(), cpu: Some(1000), spin_us: 0 };
    let error = start_thread(spec, || async {}).unwrap_err().to_string();
    assert!(error.contains("CPU 1000") && error.contains("taskset"), "{error}");
}

#[test]
fn a_pinned_executor_runs_on_its_cpu_and_its_blocking_threads_do_not() {
    let cpu = *machine::process_cpus().last().unwrap();
    let spec = ExecutorSpec { name: "pinned".into(), cpu: Some(cpu), spin_us: 0 };
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = start_thread(spec, move || async move {
        assert_eq!(machine::thread_cpus().unwrap(), [cpu]);
        let blocking = run_blocking(|| machine::thread_cpus().unwrap()).await;
        assert_eq!(blocking, machine::process_cpus());
        let clock = CpuClock::of_this_thread();
        let start = now();
        while now().saturating_since(start) < Duration::from_millis(20) {}
        sender.send(clock).unwrap();
        sleep(Duration::from_millis(50)).await;
    })
    .unwrap();
    let clock = receiver.recv().unwrap();
    let used = clock.time().unwrap();
    assert!(used > Duration::from_millis(1), "{used:?}");
    assert!(spindle::runtime::cpu_time_of_threads("pinned") >= used);
    assert!(spindle::runtime::process_cpu_time() >= used);
    thread.join().unwrap();
}

#[test]
fn the_machine_is_described() {
    let machine = machine::Machine::look();
    assert!(machine.cpus_online >= machine.cpus.len());
    assert_eq!(machine.io_uring, Ok(()));
    assert!(machine.kernel.contains('.'));
    assert!(machine.memlock_fits_shards(machine.cpus.len()));
}

/// Glommio asks for the path's file system once a file is open, and panics when the path is gone by
/// then: a fetch of an old segment while its topic is deleted would end the broker.
#[test]
fn an_open_that_races_a_removal_is_an_answer_not_a_panic() {
    let dir = on_disk();
    let path = dir.path().join("segment");
    run(move || async move {
        disk::write_file(&dir.path().join("probe"), vec![1; BLOCK]).await.unwrap();
        disk::prepare_device(dir.path()).await.unwrap();
        let gone = Arc::new(AtomicBool::new(false));
        let remover = {
            let (path, gone) = (path.clone(), gone.clone());
            std::thread::spawn(move || {
                while !gone.load(Ordering::Relaxed) {
                    let _ = std::fs::write(&path, [7; 64]);
                    let _ = std::fs::remove_file(&path);
                }
            })
        };
        let mut opened = 0;
        for _ in 0..2000 {
            match File::open(&path, OpenMode::Read).await {
                Ok(file) => {
                    opened += 1;
                    file.close().await.unwrap();
                }
                Err(e) => assert_eq!(e.kind(), io::ErrorKind::NotFound, "{e}"),
            }
        }
        gone.store(true, Ordering::Relaxed);
        remover.join().unwrap();
        assert!(opened > 0, "the race was never on");
    });
}
