"""Brokers that are compared: each starts on free ports with an empty directory, answers a Metadata request, and is
stopped by its own process id. Apache Kafka's jars come from Maven Central once. Not here: what is run against them."""

import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS_MAX = 120
STOP_SECONDS_MAX = 60
# What Kafka's own start script gives the JVM, but for the heap (1 GB there; the anchors were made with 2).
JVM_OPTIONS = ["-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
               "-XX:+ExplicitGCInvokesConcurrent", "-XX:MaxInlineLevel=15", "-Djava.awt.headless=true"]
KAFKA_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://localhost:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
# A scenario's data is gone before the next one, not a minute later.
log.segment.delete.delay.ms=1000
"""


class Trouble(Exception):
    """A sentence for the user."""


def free_ports(count):
    """The first of `count` neighbouring ports that nobody listens on."""
    for first in range(20000 + os.getpid() % 5000, 32000, count):
        sockets = []
        try:
            for port in range(first, first + count):
                sockets.append(socket.socket())
                sockets[-1].bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for taken in sockets:
                taken.close()
    raise Trouble(f"no {count} free ports in a row between 20000 and 32000")


def ports(first, count):
    """As a listener of Spindle says them: a port for each shard."""
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


def ask(address, key, version, body, timeout=60):
    """One request on a connection of its own; the answer without its correlation id."""
    host, port = address.rsplit(":", 1)
    request = struct.pack(">hhih", key, version, 1, -1) + body
    with socket.create_connection((host, int(port)), timeout=timeout) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = b""
        while len(answer) < 4 or len(answer) < 4 + struct.unpack_from(">i", answer)[0]:
            piece = connection.recv(65536)
            if not piece:
                raise ConnectionError(f"{address} closed the connection")
            answer += piece
        return answer[8:]


def answers_metadata(port):
    """True when the broker there names at least one node (Metadata v1, no topics)."""
    try:
        return struct.unpack_from(">i", ask(f"127.0.0.1:{port}", 3, 1, struct.pack(">i", 0), timeout=2))[0] > 0
    except (OSError, struct.error):
        return False


def empty(directory):
    """The files stay, without their bytes."""
    for place, _, names in os.walk(directory):
        for name in names:
            os.truncate(os.path.join(place, name), 0)


class Broker:
    """One that we start ourselves. Subclasses say how."""

    # What `spindle bench` is told beside address and process id.
    bench_words = []

    def __init__(self, name):
        self.name = name
        self.process = None
        self.port = None
        self.directory = None
        self.left = []
        self.start_seconds = None
        self.idle_bytes = None

    @property
    def pid(self):
        return self.process.pid

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self, parent, log):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.name.lower().replace(' ', '-')}-", dir=parent))
        command = self.prepare(log)
        begin = time.monotonic()
        # A session of its own: Ctrl-C ends the generator first, and us, who then stop the broker.
        self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                        start_new_session=True, cwd=self.directory)
        while not answers_metadata(self.port):
            if self.process.poll() is not None:
                raise Trouble(f"{self.name} ended with {self.process.returncode} while it started; see {log.name}")
            if time.monotonic() - begin > START_SECONDS_MAX:
                raise Trouble(f"{self.name} did not answer within {START_SECONDS_MAX} s; see {log.name}")
            time.sleep(0.005)
        self.start_seconds = time.monotonic() - begin
        time.sleep(3)
        self.idle_bytes = resident_bytes(self.pid)

    def stop(self, remove=True):
        """Whatever state it is in. Leaves nothing behind, or empty files until `remove`: see create-2000.toml."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None
        if self.directory is not None:
            self.left.append(self.directory)
            if not remove:
                empty(self.directory)
            self.directory = None
        if remove:
            self.remove()

    def remove(self):
        for directory in self.left:
            shutil.rmtree(directory, ignore_errors=True)
        self.left.clear()


class Kafka(Broker):
    def __init__(self, libs, heap, properties=()):
        super().__init__("Apache Kafka 4.3.1")
        self.properties = properties
        self.java = ["java", f"-Xmx{heap}", f"-Xms{heap}", *JVM_OPTIONS, "-cp", f"{libs}/*"]

    def prepare(self, log):
        self.port = free_ports(2)
        properties = self.directory / "server.properties"
        data = self.directory / "data"
        text = KAFKA_PROPERTIES.format(port=self.port, controller=self.port + 1, data=data)
        properties.write_text(text + "".join(f"{line}\n" for line in self.properties))
        form = [*self.java, "kafka.tools.StorageTool", "format", "--standalone",
                "-t", "c3BpbmRsZS1jb21wYXJlIQ", "-c", str(properties)]
        if subprocess.run(form, stdout=log, stderr=log, timeout=START_SECONDS_MAX).returncode != 0:
            raise Trouble(f"Kafka's storage could not be formatted; see {log.name}")
        return [*self.java, "kafka.Kafka", str(properties)]


class Spindle(Broker):
    """As a process of its own, a port for each shard, as many shards as CPUs."""

    def __init__(self, binary, overrides):
        super().__init__("Spindle")
        self.binary = binary
        self.overrides = overrides

    def shard_count(self):
        return len(os.sched_getaffinity(0))

    def prepare(self, log):
        shards = self.shard_count()
        self.port = free_ports(shards)
        settings = [f"listeners=PLAINTEXT://127.0.0.1:{ports(self.port, shards)}", f"log.dirs={self.directory / 'data'}",
                    f"shard.count={shards}", *self.overrides]
        times = str(self.directory / "shard-times")
        self.bench_words = ["--broker-shard-times", times]
        command = [str(self.binary), "serve", "--shard-times", times]
        for setting in settings:
            command += ["--override", setting]
        return command


class Other:
    """A broker that runs already: NAME=HOST:PORT[,PID[,FILE]]; FILE is of a Spindle's --shard-times."""

    def __init__(self, text):
        try:
            self.name, place = text.split("=", 1)
            self.address, *rest = place.split(",", 2)
            self.pid = int(rest[0]) if rest else None
            self.bench_words = ["--broker-shard-times", rest[1]] if rest[1:] else []
        except ValueError:
            raise Trouble(f"--other {text}: write it as NAME=HOST:PORT, NAME=HOST:PORT,PID or NAME=HOST:PORT,PID,FILE") from None
        self.start_seconds = self.idle_bytes = None

    def start(self, parent, log):
        pass

    def stop(self, remove=True):
        pass

    def remove(self):
        pass


def resident_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return None


def kafka_libs():
    """The folder of Kafka's jars: $KAFKA_LIBS, or fetched once to where .ci/run has them too."""
    given = os.environ.get("KAFKA_LIBS")
    libs = pathlib.Path(given) if given else ROOT / ".oracles/kafka/libs"
    if not given and not (libs / "complete").exists():
        if shutil.which("mvn") is None:
            raise Trouble("mvn is missing (Debian: maven); or set KAFKA_LIBS to a folder with the jars of Kafka 4.3.1")
        print("fetching Apache Kafka 4.3.1 from Maven Central", flush=True)
        libs.mkdir(parents=True, exist_ok=True)
        fetch = ["mvn", "-q", "-B", "-f", str(ROOT / "tests/oracles/kafka/pom.xml"), "dependency:copy-dependencies",
                 f"-DoutputDirectory={libs}"]
        if subprocess.run(fetch).returncode != 0:
            raise Trouble("Apache Kafka could not be fetched from Maven Central")
        (libs / "complete").touch()
    if not list(libs.glob("kafka_2.13-4.3.1.jar")):
        raise Trouble(f"{libs} has no kafka_2.13-4.3.1.jar")
    if shutil.which("java") is None:
        raise Trouble("java is missing (Debian: openjdk-17-jdk-headless)")
    return libs


def spindle_binary():
    given = os.environ.get("SPINDLE")
    if given:
        return pathlib.Path(given).resolve()
    # Cargo knows whether it is up to date: comparing a stale one would be worse than waiting.
    if subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT).returncode != 0:
        raise Trouble("spindle could not be built")
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release/spindle"
