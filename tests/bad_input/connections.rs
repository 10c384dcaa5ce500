//! Many connections: what an idle one costs, and what happens when file descriptors run out.

use std::time::{Duration, Instant};

use crate::common::wire::{Batch, PATIENCE, Wire};
use crate::common::{Broker, Host, external, is_spindle, unique, wait_for};
use crate::still_serves;

/// Connections of this process cost descriptors here too.
fn allow_open_files(count: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain getrlimit/setrlimit of this process with a valid struct.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        if limit.rlim_cur < count {
            limit.rlim_cur = count.min(limit.rlim_max);
            assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
        }
    }
}

#[test]
fn a_thousand_idle_connections_cost_under_20_mb() {
    if external().is_some() {
        return eprintln!("needs the broker's /proc: not run");
    }
    allow_open_files(4_096);
    let broker = Broker::own(&[]);
    still_serves(&broker);
    let before = broker.resident_bytes();
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        // As a client does: it introduces itself, asks for metadata, and then has nothing to say.
        let mut wire = Wire::connect(broker.address());
        assert_eq!(wire.api_versions().expect("versions").error_code, 0);
        wire.metadata("nothing-here", false).expect("metadata");
        idle.push(wire);
    }
    let grown = broker.resident_bytes().saturating_sub(before);
    println!("1000 idle connections: {} KiB", grown >> 10);
    if is_spindle() {
        assert!(grown < 20_000_000, "1000 idle connections cost {grown} bytes");
    }
    for wire in &mut idle {
        assert_eq!(wire.api_versions().expect("still connected").error_code, 0);
    }
    still_serves(&broker);
}

#[test]
fn out_of_file_descriptors() {
    if !is_spindle() {
        return eprintln!("needs a Spindle with few descriptors: not run");
    }
    allow_open_files(4_096);
    let broker = Broker::own_on(&[], Host { open_files_max: Some(300), ..Host::default() });
    let mut early = Wire::connect(broker.address());
    let topic = unique("emfile");
    early.create_topic_and_wait(&topic, 1);
    assert_eq!(early.produce(&topic, Batch::of(&[b"before"]).bytes()).expect("produce"), (0, 0));
    let mut crowd = Vec::new();
    for _ in 0..600 {
        // Those beyond the limit wait in the kernel's queue, or are refused when that is full.
        match Wire::connect_within(broker.address(), Duration::from_millis(500)) {
            Ok(wire) => crowd.push(wire),
            Err(_) => break,
        }
    }
    assert!(crowd.len() >= 300, "only {} connections came about", crowd.len());
    // Who was there before is served on.
    for offset in 1..20 {
        let batch = Batch::of(&[b"meanwhile"]).bytes();
        assert_eq!(early.produce(&topic, batch).expect("produce"), (0, offset));
    }
    drop(crowd);
    let begin = Instant::now();
    wait_for("new connections to be served again", PATIENCE, || {
        crate::common::wire::answers(broker.address(), Duration::from_secs(2)).then_some(())
    });
    println!("serves again after {:?}", begin.elapsed());
    still_serves(&broker);
    let log = broker.log_text();
    assert!(
        ["file descriptors", "open files", "EMFILE", "nofile"].iter().any(|w| log.contains(w)),
        "the log does not say that descriptors ran out:\n{log}"
    );
}
