//! Descriptors run out: accept says so, goes on, and what a cancelled accept costs. Alone in its
//! binary, since the limit of open files is the whole process's; one test, since both parts count
//! the process's descriptors.

use std::time::Duration;

use spindle::runtime::executor::{ExecutorSpec, block_on};
use spindle::runtime::{Listener, machine, sleep, timeout};

fn open_descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").unwrap().count() as u64 - 1
}

/// The limit that leaves no descriptor: the lowest free number.
fn no_more_descriptors() -> u64 {
    let free = std::fs::File::open("/dev/null").unwrap();
    std::os::fd::AsRawFd::as_raw_fd(&free) as u64
}

#[test]
fn emfile_on_accept_is_an_error_and_accept_goes_on() {
    let main = || async {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr();
        // The client's descriptors are taken before the limit falls.
        let clients: Vec<_> = (0..4).map(|_| std::net::TcpStream::connect(addr).unwrap()).collect();
        let (first, _) = listener.accept().await.unwrap();

        let (soft_before, _) = machine::open_files_limit();
        machine::set_open_files_limit(no_more_descriptors()).unwrap();
        for _ in 0..3 {
            let error = listener.accept().await.err().expect("no descriptor is left");
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            sleep(Duration::from_millis(1)).await;
        }
        // The connection we have is served meanwhile.
        first.write_all(b"still here").await.unwrap();

        machine::set_open_files_limit(soft_before).unwrap();
        for _ in 0..3 {
            listener.accept().await.unwrap();
        }
        drop(clients);

        // Also when the accept already waits in the ring (which notes the limit then) and the last
        // descriptor goes to somebody else.
        let connecting = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let connecting = connecting.unwrap();
        machine::set_open_files_limit(no_more_descriptors() + 1).unwrap();
        let mut waiting = Box::pin(listener.accept());
        assert!(futures::poll!(&mut waiting).is_pending());
        sleep(Duration::from_millis(1)).await;
        let last = std::fs::File::open("/dev/null").unwrap();
        connecting.connect(&addr.into()).unwrap();
        let outcome = waiting.await;
        machine::set_open_files_limit(soft_before).unwrap();
        assert_eq!(outcome.err().and_then(|e| e.raw_os_error()), Some(libc::EMFILE));
        drop(last);
        listener.accept().await.unwrap();
    };
    block_on(ExecutorSpec::unpinned("emfile"), main).unwrap();

    // Why nobody may cancel an accept: the kernel has accepted the connection for a future that is
    // gone, and nobody closes it. Should this fail one day, glommio was mended: say so and rejoice.
    let leak = || async {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr();
        let before = open_descriptors();
        let cancelled = timeout(Duration::from_millis(5), listener.accept()).await;
        assert!(cancelled.is_none());
        let client = std::net::TcpStream::connect(addr).unwrap();
        sleep(Duration::from_millis(20)).await;
        drop(client);
        sleep(Duration::from_millis(20)).await;
        open_descriptors() as i64 - before as i64
    };
    let leaked = block_on(ExecutorSpec::unpinned("leak"), leak).unwrap();
    eprintln!("descriptors leaked by one cancelled accept: {leaked}");
    assert!((0..=1).contains(&leaked));
}
