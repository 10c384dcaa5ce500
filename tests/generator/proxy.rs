//! A broker behind a listener of ours that looks at each answer before it goes on, and may change it: quotas
//! and partitions that move, as a client sees them. Threads of the standard library; ends with the process.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Gets the API key and the answer: correlation id, header tags, body.
pub type Change = Arc<dyn Fn(i16, &mut [u8]) + Send + Sync>;

pub fn start(listener: TcpListener, broker: SocketAddr, change: Change) {
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(broker) else { continue };
            let asked: Arc<Mutex<VecDeque<i16>>> = Arc::default();
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let known = asked.clone();
            std::thread::spawn(move || {
                pump(from, to, |frame| {
                    let key = i16::from_be_bytes([frame[0], frame[1]]);
                    known.lock().unwrap().push_back(key);
                });
            });
            let change = change.clone();
            std::thread::spawn(move || {
                pump(server, client, |frame| {
                    let key = asked.lock().unwrap().pop_front().unwrap_or(-1);
                    change(key, frame);
                });
            });
        }
    });
}

/// Whole frames; what follows the length is shown to `look`.
fn pump(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&mut [u8])) {
    let mut frame = Vec::new();
    loop {
        let mut length = [0; 4];
        if from.read_exact(&mut length).is_err() {
            break;
        }
        frame.resize(u32::from_be_bytes(length) as usize, 0);
        if from.read_exact(&mut frame).is_err() {
            break;
        }
        look(&mut frame);
        if to.write_all(&length).and_then(|()| to.write_all(&frame)).is_err() {
            break;
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}
