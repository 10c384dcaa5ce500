//! Tests of the executor, the processes and the network of the simulator.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::net::{Listener, Stream, port_is_free};
use super::*;

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

async fn sleep(d: Duration) {
    sleep_until(now() + d).await;
}

async fn read_exact(stream: &Stream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut done = 0;
    while done < len {
        let n = stream.read(&mut bytes[done..]).await.unwrap();
        assert!(n > 0, "end of stream after {done} bytes");
        done += n;
    }
    bytes
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

#[test]
fn it_is_active_only_inside_run() {
    assert!(!active());
    let sim = Simulation::new(1);
    assert!(sim.run(async { active() }));
    assert!(!active());
}

#[test]
fn sleeping_takes_virtual_time_only_and_in_order() {
    let sim = Simulation::new(2);
    let order = sim.run(async {
        let order = Rc::new(RefCell::new(Vec::new()));
        for n in [3u64, 1, 2] {
            let order = order.clone();
            spawn(async move {
                sleep(Duration::from_secs(3600 * n)).await;
                order.borrow_mut().push(n);
            });
        }
        sleep(Duration::from_secs(3600 * 4)).await;
        order.take()
    });
    assert_eq!(order, [1, 2, 3]);
    assert!(sim.now().0 >= 4 * 3600 * 1_000_000_000);
}

#[test]
fn tasks_run_in_an_order_of_the_seed_or_first_come_first_served() {
    fn order(seed: u64, fifo: bool) -> Vec<u32> {
        let sim = Simulation::new(seed);
        sim.with_knobs(|k| k.fifo = fifo);
        sim.run(async {
            let order = Rc::new(RefCell::new(Vec::new()));
            for n in 0..20 {
                let order = order.clone();
                spawn(async move { order.borrow_mut().push(n) });
            }
            sleep(ms(10)).await;
            order.take()
        })
    }
    assert_eq!(order(1, true), (0..20).collect::<Vec<_>>());
    assert_eq!(order(1, false), order(1, false));
    assert_ne!(order(1, false), order(2, false));
}

#[test]
fn channels_wake_tasks_across_processes() {
    Simulation::new(3).run(async {
        let (sender, receiver) = async_channel::bounded(4);
        let (answer, answered) = futures::channel::oneshot::channel();
        spawn_process("a", async move {
            for n in 0..100u64 {
                sender.send(n).await.unwrap();
            }
        });
        spawn_process("b", async move {
            let mut sum = 0;
            while let Ok(n) = receiver.recv().await {
                sum += n;
            }
            answer.send(sum).unwrap();
        });
        assert_eq!(answered.await.unwrap(), 4950);
    });
}

#[test]
#[should_panic(expected = "simulation seed 77: deadlock")]
fn a_deadlock_is_a_panic_with_the_seed() {
    Simulation::new(77).run(async {
        spawn(pending());
        pending::<()>().await;
    });
}

#[test]
#[should_panic(expected = "simulation seed 78: the root has not ended")]
fn a_livelock_behind_timers_is_a_panic_with_the_seed() {
    Simulation::new(78).run(async {
        spawn(async {
            loop {
                sleep(Duration::from_secs(60)).await;
            }
        });
        pending::<()>().await;
    });
}

#[test]
#[should_panic(expected = "from a task")]
fn a_panic_of_a_task_leaves_run() {
    Simulation::new(4).run(async {
        spawn(async { panic!("from a task") });
        sleep(ms(1)).await;
    });
}

#[test]
fn after_a_panic_the_thread_can_simulate_again() {
    let failed = std::panic::catch_unwind(|| Simulation::new(5).run(async { panic!("once") }));
    assert!(failed.is_err());
    assert!(!active());
    Simulation::new(5).run(async {});
}

#[test]
fn run_blocking_takes_virtual_time() {
    Simulation::new(6).run(async {
        let start = now();
        assert_eq!(run_blocking(|| 7).await, 7);
        assert!(now().saturating_since(start) >= Duration::from_micros(10));
    });
}

#[test]
fn bytes_arrive_whole_and_in_order_however_they_are_cut() {
    for seed in 0..30 {
        Simulation::new(seed).run(async {
            let listener = Listener::bind(addr(0)).unwrap();
            let to = listener.local_addr();
            spawn_process("client", async move {
                let stream = Stream::connect(to).await.unwrap();
                let bytes = pattern(700_000);
                stream.write_all(&bytes[..100]).await.unwrap();
                stream
                    .write_vectored_all(&[&bytes[100..5_000], &[], &bytes[5_000..]])
                    .await
                    .unwrap();
                stream.shutdown();
                assert_eq!(stream.write_all(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
            });
            let (stream, peer) = listener.accept().await.unwrap();
            assert_eq!((stream.peer_addr(), stream.local_addr()), (peer, to));
            assert_eq!(read_exact(&stream, 700_000).await, pattern(700_000));
            assert_eq!(stream.read(&mut [0; 10]).await.unwrap(), 0);
        });
    }
}

#[test]
fn a_writer_waits_for_a_slow_reader() {
    Simulation::new(8).run(async {
        with_knobs(|k| k.net.buffer_bytes = 10_000);
        let listener = Listener::bind(addr(9092)).unwrap();
        let written = Rc::new(Cell::new(0));
        let count = written.clone();
        spawn(async move {
            let stream = Stream::connect(addr(9092)).await.unwrap();
            for _ in 0..100 {
                stream.write_all(&[7; 1_000]).await.unwrap();
                count.set(count.get() + 1_000);
            }
        });
        let (stream, _) = listener.accept().await.unwrap();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(written.get(), 10_000);
        read_exact(&stream, 5_000).await;
        sleep(Duration::from_secs(60)).await;
        assert!((14_000..=15_000).contains(&written.get()), "{}", written.get());
        read_exact(&stream, 95_000).await;
        assert_eq!(written.get(), 100_000);
    });
}

#[test]
fn ports_are_taken_shared_and_refused_as_on_linux() {
    Simulation::new(9).run(async {
        let refused = Stream::connect(addr(9092)).await.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let (hits_a, hits_b) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (a, b) = (hits_a.clone(), hits_b.clone());
        let broker = spawn_process("broker", async move {
            for hits in [a, b] {
                let listener = Listener::bind(addr(9092)).unwrap();
                spawn(async move {
                    loop {
                        drop(listener.accept().await.unwrap());
                        hits.set(hits.get() + 1);
                    }
                });
            }
            pending::<()>().await;
        });
        sleep(ms(1)).await;
        for bound in [addr(9092), SocketAddr::from(([0, 0, 0, 0], 9092))] {
            assert_eq!(Listener::bind(bound).err().unwrap().kind(), ErrorKind::AddrInUse);
            assert_eq!(port_is_free(bound).unwrap_err().kind(), ErrorKind::AddrInUse);
        }
        assert_ne!(port_is_free(addr(0)).unwrap().port(), 0);
        for _ in 0..40 {
            Stream::connect(addr(9092)).await.unwrap();
        }
        sleep(ms(100)).await;
        assert_eq!(hits_a.get() + hits_b.get(), 40);
        assert!(hits_a.get() > 0 && hits_b.get() > 0);
        kill(broker);
        port_is_free(addr(9092)).unwrap();
        let refused = Stream::connect(addr(9092)).await.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn shutdown_wakes_a_read_that_another_clone_awaits() {
    Simulation::new(10).run(async {
        let listener = Listener::bind(addr(9092)).unwrap();
        let client = Stream::connect(addr(9092)).await.unwrap();
        let clone = client.clone();
        spawn(async move {
            sleep(ms(5)).await;
            clone.shutdown();
        });
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
        let (server, _) = listener.accept().await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

#[test]
fn a_kill_resets_sockets_drops_tasks_and_runs_nothing_more() {
    struct SpawnsWhenDropped(Rc<Cell<u32>>);
    impl Drop for SpawnsWhenDropped {
        fn drop(&mut self) {
            assert!(active());
            self.0.set(self.0.get() + 1);
            let ran = self.0.clone();
            spawn(async move { ran.set(1_000) });
        }
    }
    for seed in 0..20 {
        Simulation::new(seed).run(async {
            let (dropped, steps) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let (guard, counter) = (SpawnsWhenDropped(dropped.clone()), steps.clone());
            let server = spawn_process("server", async move {
                let listener = Listener::bind(addr(9092)).unwrap();
                let (stream, _) = listener.accept().await.unwrap();
                spawn(async move {
                    let _guard = guard;
                    loop {
                        stream.write_all(b"tick").await.unwrap();
                        counter.set(counter.get() + 1);
                        sleep(ms(1)).await;
                    }
                });
                pending::<()>().await;
            });
            sleep(ms(1)).await;
            let client = Stream::connect(addr(9092)).await.unwrap();
            read_exact(&client, 40).await;
            kill(server);
            wait_exit(server).await;
            let at_kill = steps.get();
            assert!(!is_alive(server));
            assert_eq!(dropped.get(), 1);
            let error = loop {
                match client.read(&mut [0; 64]).await {
                    Ok(n) => assert!(n > 0, "a kill is no orderly end"),
                    Err(e) => break e,
                }
            };
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert!(client.write_all(b"x").await.is_err());
            sleep(ms(50)).await;
            assert_eq!((steps.get(), dropped.get()), (at_kill, 1));
        });
    }
}

#[test]
fn a_process_may_kill_itself_and_ends_with_its_main_future() {
    Simulation::new(11).run(async {
        let after = Rc::new(Cell::new(false));
        let flag = after.clone();
        let suicide = spawn_process("a", async move {
            kill(current_process());
            yield_now().await;
            flag.set(true);
        });
        wait_exit(suicide).await;
        sleep(ms(1)).await;
        assert!(!after.get());
        let flag = after.clone();
        let short = spawn_process("b", async move {
            spawn(async move {
                sleep(ms(5)).await;
                flag.set(true);
            });
        });
        wait_exit(short).await;
        sleep(ms(10)).await;
        assert!(!after.get());
    });
}

#[test]
fn cut_connections_resets_both_ends() {
    Simulation::new(12).run(async {
        let listener = Listener::bind(addr(9092)).unwrap();
        let client = Stream::connect(addr(9092)).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        client.write_all(b"lost on the way").await.unwrap();
        cut_connections();
        for stream in [client, server] {
            let error = stream.read(&mut [0; 8]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn random_cuts_lose_a_suffix_and_nothing_else() {
    let mut cuts = 0;
    for seed in 0..40 {
        cuts += Simulation::new(seed).run(async {
            with_knobs(|k| {
                k.net.cut_probability = 0.02;
                k.net.stall_probability = 0.05;
                k.net.chunk_bytes_max = 4_000;
                k.net.bandwidth_bytes_per_s = Some(10_000_000);
            });
            let listener = Listener::bind(addr(9092)).unwrap();
            spawn(async {
                let stream = Stream::connect(addr(9092)).await.unwrap();
                let _ = stream.write_all(&pattern(100_000)).await;
            });
            let (stream, _) = listener.accept().await.unwrap();
            let (mut got, mut buf) = (Vec::new(), [0; 1_000]);
            let cut = loop {
                match stream.read(&mut buf).await {
                    Ok(0) => break 0,
                    Ok(n) => got.extend_from_slice(&buf[..n]),
                    Err(_) => break 1,
                }
            };
            assert_eq!(got, pattern(100_000)[..got.len()]);
            assert!(cut == 1 || got.len() == 100_000);
            cut
        });
    }
    assert!((1..40).contains(&cuts), "{cuts}");
}

/// Some of everything: its trace must depend on the seed only.
fn busy_history(seed: u64) -> (u64, Vec<u8>) {
    let sim = Simulation::new(seed);
    sim.with_knobs(|k| {
        k.net.cut_probability = 0.001;
        k.disk.write_error_probability = 0.01;
    });
    let bytes = sim.run(async {
        let dir = Path::new("/data");
        for round in 0..5u64 {
            let broker = spawn_process("broker", async move {
                disk::create_dir_all(dir).await.unwrap();
                let _lock = disk::lock_dir(dir).await.unwrap();
                let listener = Listener::bind(addr(9092)).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    spawn(async move {
                        let mut buf = [0; 4096];
                        while let Ok(n) = stream.read(&mut buf).await {
                            let name = format!("f{}", random_u64() % 4);
                            let path = Path::new("/data").join(name);
                            let _ = disk::write_file_atomic(&path, buf[..n].to_vec()).await;
                            if n == 0 || stream.write_all(&buf[..n]).await.is_err() {
                                return;
                            }
                        }
                    });
                }
            });
            for n in 0..6u8 {
                spawn(async move {
                    sleep(ms(20)).await;
                    if let Ok(stream) = Stream::connect(addr(9092)).await {
                        let _ = stream.write_all(&[n; 10_000]).await;
                        let _ = stream.read(&mut [0; 100]).await;
                    }
                });
            }
            sleep(ms(20 + random_u64() % 50)).await;
            if round % 2 == 0 { power_cut("broker") } else { kill(broker) }
        }
        let (done, answer) = futures::channel::oneshot::channel();
        spawn_process_on("broker", "checker", async move {
            let mut all = Vec::new();
            for entry in disk::list_dir(dir).await.unwrap_or_default() {
                all.extend(entry.name.bytes());
                all.extend(disk::read_file(&dir.join(entry.name)).await.unwrap());
            }
            done.send(all).unwrap();
        });
        answer.await.unwrap()
    });
    (sim.trace_hash(), bytes)
}

#[test]
fn one_seed_has_one_history() {
    let mut hashes = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let first = busy_history(seed);
        assert_eq!(first, busy_history(seed), "seed {seed}");
        hashes.insert(first.0);
    }
    assert_eq!(hashes.len(), 20);
}
