//! Starts the built `spindle` binary as a child for integration tests: free port, own data directory,
//! bounded wait until it answers, `kill -9` and restart on the same port, and an end by pid on drop.
//! `SPINDLE_TEST_BOOTSTRAP=host:port` makes the tests that need no control of the process use that
//! broker; `SPINDLE_TEST_BIN=path` replaces the binary (both prove the tests on another broker).
//! The wire client in `wire.rs` is blocking and trusts nothing but sockets.
#![allow(dead_code)]

pub mod wire;

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

/// How long a broker may take until it answers ApiVersions. Spindle needs well under a second; the
/// bound is for a machine that builds something else at the same time, or for another broker.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// The binary under test.
pub fn binary() -> PathBuf {
    match std::env::var_os("SPINDLE_TEST_BIN") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_BIN_EXE_spindle")),
    }
}

/// False when another broker was put in Spindle's place: its own words and sizes are not asked for.
pub fn is_spindle() -> bool {
    external().is_none() && binary().file_name().is_some_and(|name| name == "spindle")
}

/// A broker that somebody else runs, when the tests are pointed at one.
pub fn external() -> Option<SocketAddr> {
    let text = std::env::var("SPINDLE_TEST_BOOTSTRAP").ok().filter(|t| !t.is_empty())?;
    use std::net::ToSocketAddrs;
    text.to_socket_addrs().ok()?.find(SocketAddr::is_ipv4)
}

/// A loopback port that nobody listened on a moment ago.
pub fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("bind a free loopback port");
    socket.local_addr().expect("address of the free port").port()
}

/// A topic name that no other test and no earlier run used.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let micros =
        SystemTime::now().duration_since(UNIX_EPOCH).expect("clock after 1970").as_micros();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{}-{micros:x}-{number}", std::process::id())
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("clock after 1970").as_millis() as i64
}

/// Tries `check` every 20 ms until it gives a value; panics with `what` after `timeout`.
pub fn wait_for<T>(what: &str, timeout: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {timeout:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The arguments of a `serve` on this port and directory.
pub fn serve_args(port: u16, data: &Path, overrides: &[String]) -> Vec<String> {
    let mut args = vec!["serve".to_owned()];
    let own =
        [format!("listeners=PLAINTEXT://127.0.0.1:{port}"), format!("log.dirs={}", data.display())];
    for setting in own.iter().chain(overrides) {
        args.push("--override".to_owned());
        args.push(setting.clone());
    }
    args
}

/// What a `serve` that could not start left behind.
pub struct Refusal {
    pub status: ExitStatus,
    pub stderr: String,
}

/// Runs `spindle` with these arguments and expects it to end by itself.
pub fn run_to_end(mut command: Command) -> Refusal {
    let scratch = TempDir::new().expect("scratch directory");
    let stderr = scratch.path().join("stderr");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(File::create(&stderr).expect("create stderr file"));
    let mut child = command.spawn().expect("start the binary");
    let deadline = Instant::now() + READY_TIMEOUT;
    let status = loop {
        match child.try_wait().expect("wait for the binary") {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                let _ = child.kill();
                let _ = child.wait();
                let text = std::fs::read_to_string(&stderr).unwrap_or_default();
                panic!("the broker went on running where it had to refuse; stderr: {text}");
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    Refusal { status, stderr: std::fs::read_to_string(&stderr).unwrap_or_default() }
}

struct Process {
    child: Child,
    scratch: TempDir,
    overrides: Vec<String>,
    host: Host,
    port: u16,
}

/// What the broker finds on its machine.
#[derive(Clone, Copy, Default)]
pub struct Host {
    pub open_files_max: Option<u64>,
    /// The io_uring of kernels before 6.1.
    pub plain_ring: bool,
}

/// A broker to test against; a child is killed on drop.
pub struct Broker {
    address: SocketAddr,
    process: Option<Process>,
}

impl Broker {
    /// The broker of `SPINDLE_TEST_BOOTSTRAP`, or a child with the default configuration.
    pub fn any() -> Broker {
        match external() {
            Some(address) => Broker { address, process: None },
            None => Broker::own(&[]),
        }
    }

    /// A child of this test with these `key=value` settings.
    pub fn own(overrides: &[&str]) -> Broker {
        Broker::own_on(overrides, Host::default())
    }

    /// As `own`, on such a machine.
    pub fn own_on(overrides: &[&str], host: Host) -> Broker {
        let scratch = TempDir::new().expect("directory for the broker");
        std::fs::create_dir(scratch.path().join("data")).expect("data directory");
        let overrides: Vec<String> = overrides.iter().map(|s| (*s).to_owned()).collect();
        let port = free_port();
        let child = spawn(scratch.path(), port, &overrides, host);
        let mut broker = Broker {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            process: Some(Process { child, scratch, overrides, host, port }),
        };
        broker.wait_ready();
        broker
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    pub fn is_own(&self) -> bool {
        self.process.is_some()
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("a broker that this test started")
    }

    fn process_mut(&mut self) -> &mut Process {
        self.process.as_mut().expect("a broker that this test started")
    }

    pub fn pid(&self) -> u32 {
        self.process().child.id()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.process().scratch.path().join("data")
    }

    /// Everything the broker has written to stdout and stderr so far.
    pub fn log_text(&self) -> String {
        read_log(self.process().scratch.path())
    }

    /// Resident memory of the child, from /proc.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(path).expect("the child's /proc status");
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("VmRSS of a live child");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("KiB");
        kib * 1024
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.process_mut().child.try_wait(), Ok(None))
    }

    /// SIGKILL, and wait until the process is gone.
    pub fn kill(&mut self) {
        let process = self.process_mut();
        process.child.kill().expect("kill the broker");
        process.child.wait().expect("reap the broker");
    }

    /// SIGTERM; how it ended and how long that took.
    pub fn terminate(&mut self) -> (ExitStatus, Duration) {
        let process = self.process_mut();
        let begin = Instant::now();
        // SAFETY: a plain kill(2) of a child that has not been reaped yet.
        unsafe { libc::kill(process.child.id() as i32, libc::SIGTERM) };
        let status = wait_for("the broker to end after SIGTERM", Duration::from_secs(30), || {
            process.child.try_wait().expect("wait for the broker")
        });
        (status, begin.elapsed())
    }

    /// Starts the broker again on the same port and directory, after `kill` or `terminate`.
    pub fn restart(&mut self) {
        self.respawn();
        self.wait_ready();
    }

    /// As `restart`, without waiting until it answers.
    pub fn respawn(&mut self) {
        let process = self.process_mut();
        process.child =
            spawn(process.scratch.path(), process.port, &process.overrides, process.host);
    }

    /// As `restart`, with other settings from now on.
    pub fn restart_with(&mut self, overrides: &[&str]) {
        self.process_mut().overrides = overrides.iter().map(|s| (*s).to_owned()).collect();
        self.restart();
    }

    fn wait_ready(&mut self) {
        let address = self.address;
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            if wire::answers(address, Duration::from_secs(5)) {
                return;
            }
            let ended = self.process_mut().child.try_wait().expect("wait for the broker");
            if ended.is_none() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            let log = self.log_text();
            panic!("the broker did not become ready ({ended:?}):\n{log}");
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let Some(process) = self.process.as_mut() else { return };
        if let Ok(Some(status)) = process.child.try_wait()
            && status.signal() != Some(libc::SIGKILL)
            && !status.success()
        {
            eprintln!("the broker had ended by itself: {status}");
        }
        let _ = process.child.kill();
        let _ = process.child.wait();
        if std::thread::panicking() {
            let log = read_log(process.scratch.path());
            let from = log.len().saturating_sub(6_000);
            let from = (from..log.len()).find(|&i| log.is_char_boundary(i)).unwrap_or(log.len());
            eprintln!("--- the broker's last words ---\n{}\n---", &log[from..]);
        }
    }
}

fn read_log(scratch: &Path) -> String {
    let bytes = std::fs::read(scratch.join("broker.log")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn spawn(scratch: &Path, port: u16, overrides: &[String], host: Host) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(scratch.join("broker.log"))
        .expect("open the broker's log");
    let mut command = Command::new(binary());
    command.args(serve_args(port, &scratch.join("data"), overrides));
    if host.plain_ring {
        command.env("SPINDLE_PLAIN_RING", "1");
    }
    command.stdin(Stdio::null());
    command.stdout(log.try_clone().expect("share the log file")).stderr(log);
    // SAFETY: between fork and exec only async-signal-safe calls are made.
    unsafe {
        command.pre_exec(move || {
            // A test that is killed must not leave its broker behind.
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            if let Some(max) = host.open_files_max {
                let limit = libc::rlimit { rlim_cur: max, rlim_max: max };
                if libc::setrlimit(libc::RLIMIT_NOFILE, &limit) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    command.spawn().expect("start the broker")
}
