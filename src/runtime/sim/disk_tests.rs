//! Tests of the simulated disk: what a kill and a power cut may and must not take.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::{Future, pending};
use std::io::ErrorKind;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::disk::*;
use super::*;
use crate::runtime::disk::{BLOCK, OpenMode};

const SECTOR: usize = 512;

fn path(s: &'static str) -> &'static Path {
    Path::new(s)
}

async fn sleep_ms(n: u64) {
    sleep_until(now() + Duration::from_millis(n)).await;
}

/// Runs `f` to its end as a process of machine "m".
async fn on_m<T: 'static>(f: impl Future<Output = T> + 'static) -> T {
    let (sender, receiver) = futures::channel::oneshot::channel();
    spawn_process_on("m", "m", async move {
        assert!(sender.send(f.await).is_ok());
    });
    receiver.await.unwrap()
}

async fn names_in(dir: &'static str) -> Vec<String> {
    on_m(async move { list_dir(path(dir)).await.unwrap().into_iter().map(|e| e.name).collect() })
        .await
}

#[test]
fn a_file_is_written_read_grown_and_cut() {
    Simulation::new(1).run(async {
        assert_eq!(list_dir(path("/d")).await.unwrap_err().kind(), ErrorKind::NotFound);
        create_dir_all(path("/d/e")).await.unwrap();
        let missing = File::open(path("/d/f"), OpenMode::ReadWrite).await.err().unwrap();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        let file = File::open(path("/d/f"), OpenMode::Create).await.unwrap();
        file.preallocate(3 * BLOCK as u64).await.unwrap();
        file.write_at(&[5; BLOCK], BLOCK as u64).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 3 * BLOCK as u64);
        let read = file.read_at(BLOCK as u64 - 2, 4).await.unwrap();
        assert_eq!(read, [0, 0, 5, 5]);
        assert_eq!(file.read_at(3 * BLOCK as u64 - 1, 10).await.unwrap(), [0]);
        file.truncate(BLOCK as u64 + 1).await.unwrap();
        file.preallocate(2 * BLOCK as u64).await.unwrap();
        assert_eq!(file.read_at(BLOCK as u64, 3).await.unwrap(), [5, 0, 0]);
        let entries = list_dir(path("/d")).await.unwrap();
        let seen: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.is_dir, e.len)).collect();
        assert_eq!(seen, [("e", true, 0), ("f", false, 2 * BLOCK as u64)]);
        rename(path("/d/f"), path("/d/g")).await.unwrap();
        assert_eq!(file.read_at(BLOCK as u64, 1).await.unwrap(), [5]);
        remove_file(path("/d/g")).await.unwrap();
        write_file(path("/d/e/small"), b"abc".to_vec()).await.unwrap();
        assert_eq!(read_file(path("/d/e/small")).await.unwrap(), b"abc");
        let read_only = File::open(path("/d/e/small"), OpenMode::Read).await.unwrap();
        assert!(read_only.write_at(&[0; BLOCK], 0).await.is_err());
        remove_dir_all(path("/d")).await.unwrap();
        assert!(list_dir(path("/")).await.unwrap().is_empty());
        file.close().await.unwrap();
    });
}

#[test]
#[should_panic(expected = "not aligned")]
fn an_unaligned_direct_write_is_our_bug() {
    Simulation::new(1).run(async {
        let file = File::open(path("/f"), OpenMode::Create).await.unwrap();
        let _ = file.write_at(&[1; 100], 0).await;
    });
}

#[test]
fn a_kill_keeps_completed_writes_and_tears_the_one_in_flight() {
    let mut torn = BTreeSet::new();
    for seed in 0..60 {
        torn.insert(Simulation::new(seed).run(async {
            let done = Rc::new(Cell::new(false));
            let flag = done.clone();
            let writer = spawn_process("m", async move {
                let file = File::open(path("/f"), OpenMode::Create).await.unwrap();
                file.write_at(&[1; 2 * BLOCK], 0).await.unwrap();
                with_knobs(|k| {
                    k.disk.latency = Duration::from_secs(1)..Duration::from_secs(2);
                });
                flag.set(true);
                let _ = file.write_at(&[2; 2 * BLOCK], 0).await;
            });
            while !done.get() {
                sleep_ms(1).await;
            }
            kill(writer);
            with_knobs(|k| k.disk = Knobs::default().disk);
            let bytes = on_m(read_file(path("/f"))).await.unwrap();
            assert_eq!(bytes.len(), 2 * BLOCK);
            let sectors: Vec<u8> = bytes
                .chunks(SECTOR)
                .map(|s| {
                    assert!(s.iter().all(|b| *b == s[0]) && (s[0] == 1 || s[0] == 2));
                    s[0]
                })
                .collect();
            sectors
        }));
    }
    assert!(torn.contains(&vec![1; 16]) && torn.contains(&vec![2; 16]) && torn.len() > 4);
}

#[test]
fn a_write_goes_on_when_its_future_is_dropped() {
    Simulation::new(2).run(async {
        let file = File::open(path("/f"), OpenMode::Create).await.unwrap();
        let mut write = Box::pin(file.write_at(&[9; BLOCK], 0));
        assert!(futures::poll!(write.as_mut()).is_pending());
        drop(write);
        sleep_ms(10).await;
        assert_eq!(file.read_at(0, BLOCK).await.unwrap(), [9; BLOCK]);
    });
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_may_tear_the_rest() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..100 {
        outcomes.insert(Simulation::new(seed).run(async {
            let ready = Rc::new(Cell::new(false));
            let flag = ready.clone();
            spawn_process("m", async move {
                let file = File::open(path("/f"), OpenMode::Create).await.unwrap();
                sync_dir(path("/")).await.unwrap();
                file.preallocate(3 * BLOCK as u64).await.unwrap();
                file.write_at(&[1; 2 * BLOCK], 0).await.unwrap();
                file.fdatasync().await.unwrap();
                file.write_at(&[2; BLOCK], BLOCK as u64).await.unwrap();
                file.write_at(&[3; BLOCK], BLOCK as u64).await.unwrap();
                flag.set(true);
                pending::<()>().await;
            });
            while !ready.get() {
                sleep_ms(1).await;
            }
            power_cut("m");
            let bytes = on_m(read_file(path("/f"))).await.unwrap();
            assert_eq!(bytes.len(), 3 * BLOCK, "the length was synced");
            assert!(bytes[..BLOCK].iter().all(|b| *b == 1), "synced data is there");
            assert!(bytes[2 * BLOCK..].iter().all(|b| *b == 0));
            let tail: Vec<u8> = bytes[BLOCK..2 * BLOCK]
                .chunks(SECTOR)
                .map(|s| {
                    assert!(s.iter().all(|b| *b == s[0]), "a sector is never torn");
                    s[0]
                })
                .collect();
            tail
        }));
    }
    for whole in 1..=3 {
        assert!(outcomes.contains(&vec![whole; 8]), "{whole}");
    }
    assert!(outcomes.iter().any(|o| o.contains(&1) && o.contains(&2) && o.contains(&3)));
}

#[test]
fn a_power_cut_may_undo_a_length_that_was_not_synced() {
    let mut lens = BTreeSet::new();
    for seed in 0..60 {
        lens.insert(Simulation::new(seed).run(async {
            on_m(async {
                let file = File::open(path("/f"), OpenMode::Create).await.unwrap();
                sync_dir(path("/")).await.unwrap();
                file.write_at(&[1; BLOCK], 0).await.unwrap();
                file.fdatasync().await.unwrap();
                file.preallocate(8 * BLOCK as u64).await.unwrap();
                file.truncate(100).await.unwrap();
            })
            .await;
            power_cut("m");
            let bytes = on_m(read_file(path("/f"))).await.unwrap();
            assert!(bytes[..100].iter().all(|b| *b == 1));
            bytes.len()
        }));
    }
    assert_eq!(lens, BTreeSet::from([100, BLOCK, 8 * BLOCK]));
}

#[test]
fn directory_changes_survive_a_power_cut_only_when_synced() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..400 {
        let names = Simulation::new(seed).run(async {
            on_m(async {
                create_dir_all(path("/d")).await.unwrap();
                for name in ["/d/kept", "/d/removed", "/d/old"] {
                    write_file(path(name), b"x".to_vec()).await.unwrap();
                }
                sync_dir(path("/d")).await.unwrap();
                write_file(path("/d/created"), b"x".to_vec()).await.unwrap();
                remove_file(path("/d/removed")).await.unwrap();
                rename(path("/d/old"), path("/d/new")).await.unwrap();
            })
            .await;
            power_cut("m");
            names_in("/d").await
        });
        assert!(names.contains(&"kept".to_owned()));
        let old = names.contains(&"old".to_owned());
        assert!(old != names.contains(&"new".to_owned()), "a rename is whole or not at all");
        outcomes.insert(names);
    }
    assert_eq!(outcomes.len(), 8, "each of the three changes on its own: {outcomes:?}");
}

#[test]
fn a_synced_rename_carries_the_creation_that_it_builds_on() {
    for seed in 0..40 {
        Simulation::new(seed).run(async {
            on_m(async {
                create_dir_all(path("/a")).await.unwrap();
                create_dir_all(path("/b")).await.unwrap();
                write_file(path("/a/f"), b"x".to_vec()).await.unwrap();
                rename(path("/a/f"), path("/b/f")).await.unwrap();
                sync_dir(path("/b")).await.unwrap();
            })
            .await;
            power_cut("m");
            assert!(names_in("/a").await.is_empty());
            assert_eq!(names_in("/b").await, ["f"]);
        });
    }
}

#[test]
fn write_file_atomic_leaves_the_old_or_the_new_content() {
    let mut seen = BTreeSet::new();
    for seed in 0..150 {
        let (content, answered) = Simulation::new(seed).run(async {
            on_m(write_file_atomic(path("/f"), b"old".to_vec())).await.unwrap();
            let answered = Rc::new(Cell::new(false));
            let flag = answered.clone();
            spawn_process_on("m", "m", async move {
                write_file_atomic(path("/f"), b"the new one".to_vec()).await.unwrap();
                flag.set(true);
                pending::<()>().await;
            });
            let us = random_u64() % 8_000;
            sleep_until(now() + Duration::from_micros(us)).await;
            power_cut("m");
            (on_m(read_file(path("/f"))).await.unwrap(), answered.get())
        });
        assert!(content == b"the new one" || content == b"old", "{content:?}");
        assert!(!answered || content == b"the new one");
        seen.insert((content, answered));
    }
    assert_eq!(seen.len(), 3, "cut before the rename, after it, and after the answer");
}

#[test]
fn create_dir_all_is_durable() {
    for seed in 0..20 {
        Simulation::new(seed).run(async {
            on_m(create_dir_all(path("/a/b/c"))).await.unwrap();
            power_cut("m");
            assert!(names_in("/a/b/c").await.is_empty());
        });
    }
}

#[test]
fn machines_have_disks_of_their_own() {
    Simulation::new(3).run(async {
        on_m(write_file(path("/f"), vec![1])).await.unwrap();
        assert_eq!(read_file(path("/f")).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(on_m(read_file(path("/f"))).await.unwrap(), [1]);
    });
}

#[test]
fn a_directory_is_locked_by_one_and_released_by_drop_or_kill() {
    Simulation::new(4).run(async {
        let would_block = |r: std::io::Result<DirLock>| r.err().map(|e| e.kind());
        on_m(create_dir_all(path("/d"))).await.unwrap();
        let holder = spawn_process_on("m", "holder", async {
            let lock = lock_dir(path("/d")).await.unwrap();
            let second = lock_dir(path("/d")).await;
            assert_eq!(second.err().unwrap().kind(), ErrorKind::WouldBlock);
            drop(lock);
            let _lock = lock_dir(path("/d")).await.unwrap();
            pending::<()>().await;
        });
        sleep_ms(10).await;
        let refused = on_m(async move { would_block(lock_dir(path("/d")).await) }).await;
        assert_eq!(refused, Some(ErrorKind::WouldBlock));
        kill(holder);
        assert_eq!(on_m(async move { would_block(lock_dir(path("/d")).await) }).await, None);
    });
}

#[test]
fn faults_come_when_asked_for() {
    Simulation::new(5).run(async {
        let file = File::open(path("/f"), OpenMode::Create).await.unwrap();
        file.preallocate(BLOCK as u64).await.unwrap();
        let eio = |e: std::io::Error| e.raw_os_error() == Some(libc::EIO);
        with_knobs(|k| k.disk.fail_at_op = Some(1));
        file.write_at(&[1; BLOCK], 0).await.unwrap();
        assert!(eio(file.fdatasync().await.unwrap_err()));
        file.fdatasync().await.unwrap();

        with_knobs(|k| k.disk.read_error_probability = 1.0);
        assert!(eio(file.read_at(0, 1).await.unwrap_err()));
        with_knobs(|k| k.disk.write_error_probability = 1.0);
        assert!(eio(file.write_at(&[1; BLOCK], 0).await.unwrap_err()));
        with_knobs(|k| k.disk = Knobs::default().disk);

        with_knobs(|k| k.disk.full = true);
        assert_eq!(disk_space(path("/")).await.unwrap().1, 0);
        file.write_at(&[2; BLOCK], 0).await.unwrap();
        let grow = file.write_at(&[2; BLOCK], BLOCK as u64).await.unwrap_err();
        assert_eq!(grow.kind(), ErrorKind::StorageFull);
        let grow = file.preallocate(1 << 20).await.unwrap_err();
        assert_eq!(grow.kind(), ErrorKind::StorageFull);
        let create = write_file(path("/g"), vec![1]).await.unwrap_err();
        assert_eq!(create.kind(), ErrorKind::StorageFull);
        assert_eq!(probe(path("/")).await.unwrap().file_system, "sim");
    });
}

#[test]
fn a_failed_sync_may_lose_data_for_good() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..60 {
        outcomes.insert(Simulation::new(seed).run(async {
            on_m(async {
                let file = File::open(path("/f"), OpenMode::Create).await.unwrap();
                sync_dir(path("/")).await.unwrap();
                file.preallocate(BLOCK as u64).await.unwrap();
                file.fdatasync().await.unwrap();
                file.write_at(&[1; BLOCK], 0).await.unwrap();
                with_knobs(|k| k.disk.fail_at_op = Some(0));
                file.fdatasync().await.unwrap_err();
                file.fdatasync().await.unwrap();
                assert_eq!(file.read_at(0, 1).await.unwrap(), [1]);
            })
            .await;
            power_cut("m");
            on_m(read_file(path("/f"))).await.unwrap()[0]
        }));
    }
    assert_eq!(outcomes, BTreeSet::from([0, 1]));
}

#[test]
fn a_kill_in_the_middle_of_a_directory_operation_leaves_it_done_or_not() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..40 {
        outcomes.insert(Simulation::new(seed).run(async {
            let started = Rc::new(RefCell::new(false));
            let flag = started.clone();
            let writer = spawn_process("m", async move {
                write_file(path("/f"), vec![1]).await.unwrap();
                with_knobs(|k| k.disk.latency = Duration::from_secs(5)..Duration::from_secs(6));
                *flag.borrow_mut() = true;
                let _ = rename(path("/f"), path("/g")).await;
            });
            while !*started.borrow() {
                sleep_ms(1).await;
            }
            kill(writer);
            with_knobs(|k| k.disk = Knobs::default().disk);
            names_in("/").await
        }));
    }
    assert_eq!(outcomes, BTreeSet::from([vec!["f".to_owned()], vec!["g".to_owned()]]));
}

#[test]
fn a_sync_covers_what_was_complete_when_it_was_called() {
    let mut later = BTreeSet::new();
    for seed in 0..60 {
        later.insert(Simulation::new(seed).run(async {
            on_m(async {
                let file = File::open(path("/f"), OpenMode::Create).await.unwrap();
                sync_dir(path("/")).await.unwrap();
                file.preallocate(2 * BLOCK as u64).await.unwrap();
                file.write_at(&[1; BLOCK], 0).await.unwrap();
                with_knobs(|k| {
                    k.disk.sync_latency = Duration::from_secs(1)..Duration::from_secs(2);
                });
                let writes = async {
                    file.write_at(&[2; BLOCK], 0).await.unwrap();
                    file.write_at(&[2; BLOCK], BLOCK as u64).await.unwrap();
                };
                let (synced, ()) = futures::join!(file.fdatasync(), writes);
                synced.unwrap();
            })
            .await;
            power_cut("m");
            let bytes = on_m(read_file(path("/f"))).await.unwrap();
            assert!(bytes[..BLOCK].iter().all(|b| *b == 1 || *b == 2), "the first was covered");
            (bytes[0], bytes[BLOCK])
        }));
    }
    assert!(later.contains(&(1, 0)) && later.contains(&(2, 2)), "{later:?}");
}
