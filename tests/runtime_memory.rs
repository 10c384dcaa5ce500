//! A thousand idle connections cost under 20 MB on the shard that holds them. Alone in its binary:
//! resident memory is the whole process's.

use std::time::Duration;

use spindle::runtime::executor::{ExecutorSpec, block_on};
use spindle::runtime::{Listener, sleep, spawn};

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn a_thousand_idle_connections_are_cheap() {
    spindle::runtime::machine::raise_open_files_limit().unwrap();
    let main = || async {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr();
        sleep(Duration::from_millis(10)).await;
        let before = resident_bytes();
        let mut clients = Vec::new();
        for _ in 0..1000 {
            clients.push(std::net::TcpStream::connect(addr).unwrap());
            let (stream, _) = listener.accept().await.unwrap();
            let writer = stream.clone();
            spawn(async move {
                let mut first = [0; 4];
                while let Ok(n @ 1..) = stream.read(&mut first).await {
                    writer.write_all(&first[..n]).await.unwrap();
                }
            });
        }
        sleep(Duration::from_millis(100)).await;
        let after = resident_bytes();
        let used = after.saturating_sub(before);
        // Each of them still works.
        for client in &mut clients {
            use std::io::Write;
            client.write_all(b"ping").unwrap();
        }
        sleep(Duration::from_millis(100)).await;
        for client in &mut clients {
            use std::io::Read;
            client.read_exact(&mut [0; 4]).unwrap();
        }
        used
    };
    let used = block_on(ExecutorSpec::unpinned("idle"), main).unwrap();
    eprintln!("1000 idle connections: {} kB", used / 1024);
    assert!(used < 20_000_000, "{used} bytes");
}
