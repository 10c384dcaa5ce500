//! Disk faults on real files, as librdkafka meets them: a small file system that fills up and gets
//! room again while the broker runs, and a bit that flipped in a closed segment.
//! The full disk is an ext4 image on a loop device, mounted in a mount namespace of the test's own
//! thread: it is gone with the last process in it, also when the test is killed. That needs root and
//! mkfs.ext4; without them the test says loudly that it was skipped.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::TopicPartitionList;
use tempfile::TempDir;

use crate::common::{Broker, external, unique, wait_for};
use crate::session::{self, Delivery, PATIENCE, Record, Sender};

const IMAGE_BYTES: u64 = 64 << 20;
const BALLAST_BYTES: usize = 12 << 20;
const VALUE_BYTES: usize = 100_000;

/// A small file system of its own; unmounted when dropped.
struct SmallDisk {
    mount: PathBuf,
    _dir: TempDir,
}

fn succeeds(program: &str, args: &[&str]) -> Result<(), String> {
    let output =
        Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

impl SmallDisk {
    fn new() -> Result<SmallDisk, String> {
        // SAFETY: a plain system call; only this thread's view of the mounts changes.
        if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
            let why = std::io::Error::last_os_error();
            return Err(format!("no mount namespace of its own ({why}): it needs root"));
        }
        succeeds("mount", &["--make-rprivate", "/"])?;
        let dir = TempDir::new().expect("directory for the image");
        let (image, mount) = (dir.path().join("image"), dir.path().join("mount"));
        let text = |path: &Path| path.to_str().expect("a temporary path is text").to_owned();
        File::create(&image).and_then(|f| f.set_len(IMAGE_BYTES)).expect("the image");
        std::fs::create_dir(&mount).expect("the mount point");
        succeeds("mkfs.ext4", &["-q", "-F", "-m", "0", &text(&image)])?;
        succeeds("mount", &["-o", "loop", &text(&image), &text(&mount)])?;
        Ok(SmallDisk { mount, _dir: dir })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mount = self.mount.to_str().unwrap_or_default();
        if succeeds("umount", &[mount]).is_err() {
            let _ = succeeds("umount", &["-l", mount]);
        }
    }
}

fn value(number: usize) -> Vec<u8> {
    let mut value = format!("{number} ").into_bytes();
    value.resize(VALUE_BYTES, b'a' + (number % 26) as u8);
    value
}

fn number_of(value: &Option<Vec<u8>>) -> usize {
    let value = value.as_deref().expect("a value");
    let end = value.iter().position(|b| *b == b' ').expect("a number first");
    let number = std::str::from_utf8(&value[..end]).expect("text").parse().expect("a number");
    assert!(value == self::value(number), "record {number} is altered");
    number
}

/// Sends one record at a time until `enough` says so; what became of each.
fn send_until(
    bootstrap: &str,
    topic: &str,
    from: usize,
    mut enough: impl FnMut(&[Delivery]) -> bool,
) -> Vec<Delivery> {
    let once = [("message.send.max.retries", "0"), ("linger.ms", "0"), ("acks", "all")];
    let deadline = Instant::now() + PATIENCE;
    let mut answers = Vec::new();
    let mut sender = Sender::new(bootstrap, &once);
    while !enough(&answers) {
        assert!(Instant::now() < deadline, "never enough: {:?}", answers.last());
        let count = sender.delivered();
        sender.send(topic, 0, &Record::value(value(from + answers.len())));
        wait_for("a delivery", PATIENCE, || {
            sender.poll(Duration::from_millis(5));
            (sender.delivered() > count).then_some(())
        });
        answers = sender.finish();
    }
    answers
}

/// The records of partition 0 are those of `answers` that were acknowledged, at their offsets.
fn check(bootstrap: &str, topic: &str, answers: &[Delivery]) {
    let acked: Vec<usize> = (0..answers.len()).filter(|n| answers[*n].is_ok()).collect();
    let end = session::watermarks(bootstrap, topic, 0);
    assert_eq!(end, (0, acked.len() as i64), "what was refused is not there");
    let got = session::read(bootstrap, &[], topic, &[(0, Offset::Beginning, acked.len())]);
    for (at, got) in got[&0].iter().enumerate() {
        assert_eq!((got.offset, number_of(&got.value)), (at as i64, acked[at]));
        assert_eq!(answers[acked[at]], Ok((0, at as i64)));
    }
}

#[test]
fn a_full_disk_is_survived_and_written_again_when_there_is_room() {
    if external().is_some() {
        return eprintln!("needs a broker of its own: not run");
    }
    let disk = match SmallDisk::new() {
        Ok(disk) => disk,
        Err(why) => return eprintln!("\n*** SKIPPED: no small file system: {why} ***\n"),
    };
    let ballast = disk.mount.join("ballast");
    std::fs::write(&ballast, vec![1; BALLAST_BYTES]).expect("the ballast");
    let log_dir = format!("log.dirs={}", disk.mount.join("data").display());
    let settings = [log_dir.as_str(), "log.flush.offset.checkpoint.interval.ms=200"];
    let mut broker = Broker::own(&settings);
    let bootstrap = broker.bootstrap();
    let topic = unique("fills");
    session::create_topic(&bootstrap, &topic, 1, &[]);

    let refused = |answers: &[Delivery]| answers.iter().filter(|a| a.is_err()).count();
    let mut answers = send_until(&bootstrap, &topic, 0, |answers| refused(answers) >= 20);
    let wrong: Vec<_> = answers
        .iter()
        .filter(|a| a.is_err() && **a != Err(RDKafkaErrorCode::KafkaStorageError))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(answers.iter().filter(|a| a.is_ok()).count() > 100, "it was full too soon");
    check(&bootstrap, &topic, &answers);
    let log = broker.log_text();
    assert_eq!(log.matches("is full").count(), 1, "told once:\n{log}");
    assert!(log.contains("delete topics or records"), "{log}");

    // Room, and nobody starts anything again.
    std::fs::remove_file(&ballast).expect("remove the ballast");
    let from = answers.len();
    let more = send_until(&bootstrap, &topic, from, |more| more.len() - refused(more) >= 20);
    answers.extend(more);
    check(&bootstrap, &topic, &answers);
    wait_for("the good news in the log", PATIENCE, || {
        broker.log_text().contains("has room again").then_some(())
    });

    // Full again. An idempotent producer waits it out: the large topic is deleted meanwhile.
    let filler = unique("filler");
    session::create_topic(&bootstrap, &filler, 1, &[]);
    send_until(&bootstrap, &filler, 0, |answers| refused(answers) >= 5);
    let patient = [
        ("enable.idempotence", "true"),
        ("message.timeout.ms", "60000"),
        ("retry.backoff.ms", "50"),
        ("linger.ms", "0"),
    ];
    let mut sender = Sender::new(&bootstrap, &patient);
    let second = unique("patient");
    // Its own room may be too little already: topics are small.
    session::create_topic(&bootstrap, &second, 1, &[]);
    for n in 0..60 {
        sender.send(&second, 0, &Record::value(value(n)));
    }
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        sender.poll(Duration::from_millis(50));
    }
    assert!(sender.delivered() < 60, "the disk is not full");
    let admin = session::admin(&bootstrap);
    let deleted = session::block_on(admin.delete_topics(&[&topic], &session::options()));
    assert_eq!(deleted.expect("delete the large topic"), [Ok(topic.clone())]);
    let delivered = sender.finish();
    assert!(delivered.iter().all(Result::is_ok), "{delivered:?}");
    check(&bootstrap, &second, &delivered);

    assert!(broker.is_running());
    broker.kill();
    broker.restart();
    check(&bootstrap, &second, &delivered);
    assert!(!broker.log_text().contains("panicked"));
    // Before the file system goes.
    broker.kill();
}

#[test]
fn a_flipped_bit_in_a_closed_segment_is_an_error_and_not_a_record() {
    if external().is_some() {
        return eprintln!("needs a broker of its own: not run");
    }
    let mut broker = Broker::own(&[]);
    let bootstrap = broker.bootstrap();
    let topic = unique("flipped");
    session::create_topic(&bootstrap, &topic, 1, &[("segment.bytes", "1048576")]);
    let records: Vec<Record> = (0..30).map(|n| Record::value(value(n))).collect();
    let one = [("batch.num.messages", "1"), ("acks", "all")];
    session::produce(&bootstrap, &one, &topic, 0, &records);
    assert!(broker.terminate().0.success());
    let path = broker.data_dir().join(format!("{topic}-0/00000000000000000000.log"));
    let file = File::options().read(true).write(true).open(&path).expect("the first segment");
    let at = file.metadata().expect("its size").len() / 2 + VALUE_BYTES as u64 / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte of it");
    file.write_all_at(&[byte[0] ^ 4], at).expect("the flip");
    file.sync_all().expect("on the disk");
    broker.restart();

    let consumer = session::consumer(&bootstrap, &[]);
    let mut all = TopicPartitionList::new();
    all.add_partition_offset(&topic, 0, Offset::Beginning).expect("an offset");
    consumer.assign(&all).expect("assign");
    let mut next = 0;
    let error = wait_for("the consumer's error", PATIENCE, || {
        match consumer.poll(Duration::from_millis(200))? {
            Ok(message) => {
                assert_eq!(number_of(&message.payload().map(<[u8]>::to_vec)), next);
                next += 1;
                None
            }
            Err(error) => Some(error),
        }
    });
    assert_eq!(error, KafkaError::MessageConsumption(RDKafkaErrorCode::InvalidMessage));
    assert!((3..8).contains(&next), "the records before it are good: {next}");
    let log = broker.log_text();
    let told = log.lines().find(|l| l.contains("a segment is damaged")).expect("a line about it");
    assert!(
        told.contains(path.to_str().expect("text")) && told.contains("corrupt at byte"),
        "{told}"
    );
    assert!(told.contains(&format!("batch at offset {next}")), "{told}");
    // What follows it is there for who asks for it.
    let got = session::read(&bootstrap, &[], &topic, &[(0, Offset::Offset(next as i64 + 1), 20)]);
    assert_eq!(number_of(&got[&0][0].value), next + 1);
}
