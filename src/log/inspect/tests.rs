//! Dump and verify on directories that a `Log` wrote here: whole, unfinished, damaged, and mutated at random.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::log::checkpoint::{self, MetaProperties};
use crate::log::{Log, LogConfig, OpenHints, Patch};
use crate::runtime::disk;
use crate::runtime::executor::{ExecutorSpec, block_on};
use crate::types::{Compression, TopicPartition};
use crate::wire::records::BatchBuilder;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 30_000,
        segment_ms: i64::MAX,
        segment_jitter_ms: 0,
        index_interval_bytes: 4096,
        segment_index_bytes: 10 << 20,
        retention_ms: -1,
        retention_bytes: -1,
        cleanup_delete: true,
        file_delete_delay_ms: 0,
        preallocate: false,
    }
}

/// A data directory of one partition, `t-0`: 60 batches of 5 records in several segments and codecs, two
/// epochs, a producer snapshot, stopped cleanly.
fn data_dir() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_path_buf();
    block_on(ExecutorSpec::unpinned("inspect-test"), move || async move {
        disk::prepare_device(&path).await.unwrap();
        let hints = OpenHints { clean: true, recovery_point: 0, log_start_offset: 0 };
        let log = Log::open(path.join("t-0"), config(), hints).await.unwrap();
        let codecs = [Compression::None, Compression::Lz4, Compression::Zstd, Compression::Gzip];
        for n in 0..60usize {
            let mut batch = BatchBuilder::new(codecs[n % 4]);
            for r in 0..5 {
                let value: Vec<u8> = (0..900).map(|i| (i * (n + 3) * 31 % 251) as u8).collect();
                batch.push(1000 + n as i64, Some(b"key"), Some(&value), &[("h", Some(&[r]))]);
            }
            let base_offset = log.log_end_offset();
            let leader_epoch = if n < 30 { 1 } else { 2 };
            log.assign_leader_epoch(leader_epoch);
            let patch = Patch { base_offset, leader_epoch, log_append_time_ms: None };
            log.append(&batch.finish(), patch).unwrap();
            if n % 7 == 0 {
                log.write_pending().await.unwrap();
            }
        }
        let mut snapshot = vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
        snapshot.extend([0; 46]);
        let crc = crc32c::crc32c(&snapshot[6..]);
        snapshot[2..6].copy_from_slice(&crc.to_be_bytes());
        log.put_producer_snapshot(300, snapshot);
        log.write_pending().await.unwrap();
        log.close().await.unwrap();
        let points = [(TopicPartition::new("t", 0), 300)].into_iter().collect();
        let point = path.join(checkpoint::RECOVERY_POINT_FILE);
        checkpoint::write_offset_checkpoint(&point, &points).await.unwrap();
        let cluster_id = "MkU3OEVBNTcwNTJENDM2Qg".to_string();
        let meta = MetaProperties { cluster_id, node_id: 1, directory_id: None };
        checkpoint::write_meta_properties(&path, &meta).await.unwrap();
        checkpoint::write_clean_shutdown(&path, -1).await.unwrap();
    })
    .unwrap();
    root
}

fn check(dir: &Path, all: bool) -> VerifyReport {
    let options = VerifyOptions { all, allow_gaps: false };
    verify(&[dir.to_path_buf()], options, &mut |_| {})
}

#[derive(Default)]
struct Lines {
    files: Vec<FileItem>,
    items: Vec<String>,
    faults: Vec<Fault>,
}

impl Out for Lines {
    fn file(&mut self, file: FileItem) -> io::Result<()> {
        self.files.push(file);
        Ok(())
    }
    fn item(&mut self, item: Item) -> io::Result<()> {
        serde_json::to_string(&item).unwrap();
        self.items.push(item.to_string());
        Ok(())
    }
    fn fault(&mut self, fault: Fault) -> io::Result<()> {
        self.faults.push(fault);
        Ok(())
    }
}

fn dumped(path: &Path) -> Lines {
    let mut lines = Lines::default();
    let options = DumpOptions { deep_iteration: true, print_data_log: true };
    dump(path, options, &mut lines).unwrap();
    lines
}

/// The files of the partition with this suffix, in offset order.
fn files(root: &TempDir, suffix: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root.path().join("t-0"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.to_string_lossy().ends_with(suffix))
        .collect();
    found.sort();
    found
}

/// Positions of the batches of a log file, up to its end or what is none.
fn positions(log: &Path) -> Vec<usize> {
    let mut batches = batches::Batches::open(log).unwrap();
    let mut found = Vec::new();
    while let batches::Step::Batch { position, .. } = batches.next().unwrap() {
        found.push(position as usize);
    }
    found
}

fn edit(path: &Path, f: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    f(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_clean_directory_is_good_and_its_dump_is_whole() {
    let root = data_dir();
    let report = check(root.path(), false);
    assert_eq!((report.good, &report.faults, &report.notes), (true, &vec![], &vec![]));
    assert_eq!((report.partitions, report.batches, report.records), (1, 60, 300));
    assert!(report.segments >= 3, "{report}");
    // The partition alone is as good.
    assert!(check(&root.path().join("t-0"), false).good);
    let dump = dumped(root.path());
    assert_eq!(dump.faults, []);
    let count = |start: &str| dump.items.iter().filter(|i| i.starts_with(start)).count();
    assert_eq!((count("baseOffset: "), count("| offset: ")), (60, 300));
    assert!(dump.items.iter().any(|i| i.starts_with("| offset: 299 ") && i.contains("key: key")));
    assert_eq!((count("producerId: 0"), count("t-0: 300"), count("epoch: ")), (1, 1, 2));
    let kinds: Vec<_> = dump.files.iter().map(|f| f.kind).collect();
    for kind in ["log", "index", "timeindex", "snapshot", "leader-epochs", "json"] {
        assert!(kinds.contains(&kind), "{kind} of {kinds:?}");
    }
}

#[test]
fn damage_is_named_by_file_position_and_offset() {
    type Damage = fn(&TempDir) -> (PathBuf, Option<usize>, Option<i64>);
    let cases: [(&str, Damage); 13] = [
        ("CRC-32C is", |root| {
            let log = files(root, ".log")[1].clone();
            let at = positions(&log)[2];
            let first = i64::from_be_bytes(fs::read(&log).unwrap()[at..at + 8].try_into().unwrap());
            edit(&log, |b| b[at + 100] ^= 1);
            (log, Some(at), Some(first))
        }),
        ("where 5 comes next", |root| {
            // The base offset is not under the CRC.
            let log = files(root, ".log")[0].clone();
            let at = positions(&log)[1];
            edit(&log, |b| b[at + 7] = 4);
            (log, Some(at), Some(4))
        }),
        ("offsets are missing", |root| {
            let log = files(root, ".log")[0].clone();
            let at = positions(&log)[1];
            edit(&log, |b| b[at + 7] = 6);
            (log, Some(at), Some(6))
        }),
        ("leader epoch 7, but", |root| {
            let log = files(root, ".log").pop().unwrap();
            let at = *positions(&log).last().unwrap();
            edit(&log, |b| b[at + 15] = 7);
            (log, Some(at), Some(295))
        }),
        ("fewer|where the file has|where a batch header needs", |root| {
            let log = files(root, ".log").pop().unwrap();
            let at = *positions(&log).last().unwrap();
            edit(&log, |b| b.truncate(at + 70));
            (log, Some(at), Some(295))
        }),
        ("its name says 1", |root| {
            let log = files(root, ".log")[0].clone();
            let renamed = log.with_file_name("00000000000000000001.log");
            fs::rename(&log, &renamed).unwrap();
            (renamed, Some(0), Some(0))
        }),
        ("belongs to the next segment", |root| {
            let logs = files(root, ".log");
            let base = |p: &Path| file_name(p)[..20].parse::<i64>().unwrap();
            let new = logs[1].with_file_name(format!("{:020}.log", base(&logs[1]) - 3));
            fs::rename(&logs[1], new).unwrap();
            let at = *positions(&logs[0]).last().unwrap();
            (logs[0].clone(), Some(at), Some(base(&logs[1]) - 5))
        }),
        ("where no batch begins", |root| {
            let index = files(root, ".index")[0].clone();
            edit(&index, |b| b[7] += 1);
            (index, None, None)
        }),
        ("does not follow the last", |root| {
            let index = files(root, ".index")[0].clone();
            edit(&index, |b| b.copy_within(0..8, 8));
            (index, Some(8), None)
        }),
        ("the largest up to there", |root| {
            let index = files(root, ".timeindex")[0].clone();
            edit(&index, |b| b[7] -= 1);
            (index, None, None)
        }),
        ("CRC-32C is", |root| {
            let snapshot = files(root, ".snapshot").pop().unwrap();
            edit(&snapshot, |b| b[20] ^= 4);
            (snapshot, Some(2), None)
        }),
        ("does not follow the one before", |root| {
            let file = files(root, "leader-epoch-checkpoint")[0].clone();
            fs::write(&file, "0\n2\n2 0\n1 150\n").unwrap();
            (file, Some(8), Some(150))
        }),
        ("recovery point 301", |root| {
            let file = root.path().join(checkpoint::RECOVERY_POINT_FILE);
            fs::write(&file, "0\n1\nt 0 301\n").unwrap();
            (file, None, Some(301))
        }),
    ];
    for (n, (what, damage)) in cases.iter().enumerate() {
        let root = data_dir();
        let (file, position, offset) = damage(&root);
        let report = check(root.path(), false);
        let [fault] = &report.faults[..] else { panic!("case {n}: {report:?}") };
        assert_eq!((report.good, report.fault_count), (false, 1));
        assert_eq!(fault.file, file, "case {n}: {fault}");
        assert_eq!(fault.position, position.map(|p| p as u64), "case {n}: {fault}");
        if offset.is_some() {
            assert_eq!(fault.offset, offset, "case {n}: {fault}");
        }
        assert!(what.split('|').any(|w| fault.to_string().contains(w)), "case {n}: {fault}");
    }
}

#[test]
fn all_goes_on_where_the_first_fault_ends() {
    let root = data_dir();
    for log in files(&root, ".log").iter().take(2) {
        for at in positions(log).into_iter().skip(1).step_by(4) {
            edit(log, |b| b[at + 200] ^= 0x10);
        }
    }
    assert_eq!(check(root.path(), false).fault_count, 1);
    let all = check(root.path(), true);
    assert!(all.fault_count > 4, "{all}");
    assert!(all.faults.iter().all(|f| f.what.contains("CRC-32C")), "{:?}", all.faults);
    assert_eq!(all.batches, 60);
}

#[test]
fn what_a_kill_leaves_is_a_note_and_a_hole_below_the_recovery_point_is_not() {
    let root = data_dir();
    fs::remove_file(root.path().join(checkpoint::CLEAN_SHUTDOWN_FILE)).unwrap();
    let last = files(&root, ".log").pop().unwrap();
    edit(&last, |b| b.extend([0; 20_000]));
    let report = check(root.path(), true);
    assert!(report.good, "{report:?}");
    assert!(report.notes[0].what.contains("20000 zero bytes"), "{report:?}");
    // A torn write behind the recovery point, then one before it.
    let end = *positions(&last).last().unwrap();
    let point = root.path().join(checkpoint::RECOVERY_POINT_FILE);
    edit(&last, |b| b[end + 80] ^= 1);
    fs::write(&point, "0\n1\nt 0 295\n").unwrap();
    let report = check(root.path(), true);
    assert!(report.good, "{report:?}");
    assert!(report.notes[0].what.contains("unclean tail from offset 295"), "{report:?}");
    fs::write(&point, "0\n1\nt 0 296\n").unwrap();
    assert_eq!(check(root.path(), true).fault_count, 1);
}

#[test]
fn holes_are_right_where_the_cleaner_was() {
    let root = data_dir();
    let log = files(&root, ".log")[0].clone();
    let at = positions(&log);
    // The second batch is gone, as the cleaner leaves it; the indexes are made again then.
    edit(&log, |b| drop(b.drain(at[1]..at[2])));
    for suffix in [".index", ".timeindex"] {
        fs::remove_file(files(&root, suffix)[0].clone()).unwrap();
    }
    assert!(check(root.path(), false).faults[0].what.contains("--allow-gaps"));
    fs::write(root.path().join("cleaner-offset-checkpoint"), "0\n1\nt 0 5\n").unwrap();
    assert!(!check(root.path(), false).good);
    fs::write(root.path().join("cleaner-offset-checkpoint"), "0\n1\nt 0 6\n").unwrap();
    assert!(check(root.path(), false).good);
}

#[test]
fn messages_of_old_formats_are_told_apart_from_damage() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("old-0");
    fs::create_dir(&dir).unwrap();
    let mut bytes = Vec::new();
    for n in 0..3i64 {
        // Magic 1: attributes, timestamp, null key, value.
        let mut message = vec![1, 0];
        message.extend(n.to_be_bytes());
        message.extend((-1i32).to_be_bytes());
        message.extend([0, 0, 0, 2, b'h', b'i']);
        bytes.extend(n.to_be_bytes());
        bytes.extend((message.len() as i32 + 4).to_be_bytes());
        bytes.extend(crc32fast::hash(&message).to_be_bytes());
        bytes.extend(message);
    }
    let log = dir.join("00000000000000000000.log");
    fs::write(&log, &bytes).unwrap();
    let report = check(&dir, false);
    assert!(report.good && report.notes[0].what.contains("format v1"), "{report:?}");
    assert_eq!(dumped(&log).items.len(), 3);
    edit(&log, |b| b[80] ^= 1);
    assert_eq!(check(&dir, false).faults[0].offset, Some(2));
}

fn fuzz_cases() -> u32 {
    std::env::var("SPINDLE_FUZZ_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(50)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: fuzz_cases(), ..ProptestConfig::default() })]

    /// Whatever is done to whichever file: an answer, never a panic, and nothing is changed.
    #[test]
    fn mutated_files_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(),
            0u8..5, any::<u8>(), 1usize..40), 1..6),
    ) {
        thread_local! {
            static WHOLE: TempDir = data_dir();
        }
        let copy = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        WHOLE.with(|whole| {
            for dir in [whole.path().to_path_buf(), whole.path().join("t-0")] {
                let to = copy.path().join(dir.strip_prefix(whole.path()).unwrap());
                fs::create_dir_all(&to).unwrap();
                for entry in fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()) {
                    if entry.is_file() {
                        let path = to.join(entry.file_name().unwrap());
                        fs::copy(&entry, &path).unwrap();
                        paths.push(path);
                    }
                }
            }
        });
        paths.sort();
        for (file, place, how, byte, count) in edits {
            let path = &paths[file.index(paths.len())];
            edit(path, |b| {
                let at = place.index(b.len() + 1);
                let end = (at + count).min(b.len());
                match how {
                    0 => b[at..end].iter_mut().for_each(|b| *b = byte),
                    1 => b[at..end].iter_mut().for_each(|b| *b ^= byte),
                    2 => b.truncate(at),
                    3 => drop(b.drain(at..end)),
                    _ => drop(b.splice(at..at, std::iter::repeat_n(byte, count))),
                }
            });
        }
        let before: Vec<Vec<u8>> = paths.iter().map(|p| fs::read(p).unwrap()).collect();
        let report = check(copy.path(), true);
        prop_assert_eq!(report.good, report.fault_count == 0);
        dumped(copy.path());
        let after: Vec<Vec<u8>> = paths.iter().map(|p| fs::read(p).unwrap()).collect();
        prop_assert_eq!(before, after);
    }

    /// Random bytes under each name.
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400), zeros in 0usize..80) {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("g-0");
        fs::create_dir(&dir).unwrap();
        let mut content = bytes;
        content.splice(0..0, std::iter::repeat_n(0, zeros));
        for name in ["log", "index", "timeindex", "txnindex", "snapshot"] {
            fs::write(dir.join(format!("{:020}.{name}", 5)), &content).unwrap();
        }
        for name in ["leader-epoch-checkpoint", "partition.metadata", "quorum-state"] {
            fs::write(dir.join(name), &content).unwrap();
        }
        for name in ["recovery-point-offset-checkpoint", "meta.properties", "bootstrap.checkpoint"] {
            fs::write(root.path().join(name), &content).unwrap();
        }
        check(root.path(), true);
        dumped(root.path());
    }
}
