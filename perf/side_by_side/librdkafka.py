"""librdkafka's own load program, `rdkafka_performance`, as a second client that owes Spindle nothing: built from the
source in the `rdkafka-sys` crate (which the tests use anyway), run against a broker, its output read. Broker CPU is
of the broker's whole process over the program's run, connection set-up and its last second of waiting included."""

import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import time

from .brokers import ROOT, Trouble, ask

RUN_SECONDS_MAX = 600
PARTITIONS = 4
VALUE_BYTES = 1024
RECORDS_PER_S = 1000

# Rows of their own in the table: (name, records, arguments of rdkafka_performance). A consumer reads what the
# producer of the row before wrote.
PRODUCE, CONSUME, REQUESTS = "librdkafka produce 1 KiB", "librdkafka consume 1 KiB", "librdkafka 1 record a request"
# Its payload is one short word over and over: what any compressor makes little of.
PRODUCE_LZ4 = "librdkafka produce 1 KiB lz4"


def build():
    """Path of rdkafka_performance; built once a version of the crate, without the libraries that it needs only for TLS and SASL."""
    metadata = subprocess.run(["cargo", "metadata", "--locked", "--format-version", "1"], cwd=ROOT,
                              capture_output=True, text=True)
    if metadata.returncode != 0:
        raise Trouble(f"cargo metadata: {metadata.stderr.strip()}")
    packages = json.loads(metadata.stdout)["packages"]
    crate = pathlib.Path(next(p["manifest_path"] for p in packages if p["name"] == "rdkafka-sys")).parent
    work = ROOT / ".oracles" / f"rdkafka_performance-{crate.name}"
    program = work / "examples/rdkafka_performance"
    if (work / "built").exists():
        return program
    print(f"building rdkafka_performance from {crate.name}", flush=True)
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(crate / "librdkafka", work)
    # The registry's files may be read-only.
    script = ("chmod -R u+w . && ./configure --disable-ssl --disable-gssapi --disable-curl --enable-static && "
              f"make -C src -j{os.cpu_count()} librdkafka.a && make -C examples rdkafka_performance")
    with open(work / "build.log", "wb") as log:
        if subprocess.run(["sh", "-c", script], cwd=work, stdout=log, stderr=log).returncode != 0:
            raise Trouble(f"librdkafka could not be built; see {work / 'build.log'}")
    (work / "built").touch()
    return program


def text(s):
    return struct.pack(">h", len(s)) + s.encode()


def make_topic(broker, name):
    """CreateTopics v2, and Kafka's own way with a sync (none) said to both."""
    configs = struct.pack(">i", 1) + text("flush.messages") + text("9223372036854775807")
    topic = text(name) + struct.pack(">ihi", PARTITIONS, 1, 0) + configs
    answer = ask(broker.address, 19, 2, struct.pack(">i", 1) + topic + struct.pack(">i?", 30000, False))
    error = struct.unpack_from(">h", answer, 8 + 2 + len(name))[0]
    if error:
        raise Trouble(f"topic {name} could not be made: error {error}")


def delete_topic(broker, name):
    ask(broker.address, 20, 1, struct.pack(">i", 1) + text(name) + struct.pack(">i", 30000))


def process_cpu_s(pid):
    # The kernel's numbering of other processes' CPU clocks (what clock_getcpuclockid computes).
    return None if pid is None else time.clock_gettime((~pid << 3) | 2)


def peak_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def switches(pid):
    """Of each of the process's threads."""
    of = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            lines = (task / "status").read_text().splitlines()
        except OSError:
            continue
        of[task.name] = sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
    return of


def performance(program, broker, words, output):
    """One run: seconds by its own clock, broker's CPU, and what the table needs."""
    command = [str(program), "-b", broker.address, "-i", "1000", *words]
    if broker.pid is not None:
        try:
            # 5: the peak of the resident set starts anew (proc_pid_clear_refs(5)).
            pathlib.Path(f"/proc/{broker.pid}/clear_refs").write_text("5")
        except OSError:
            pass
    cpu, switched = process_cpu_s(broker.pid), broker.pid and switches(broker.pid)
    with open(output, "wb") as out:
        try:
            code = subprocess.run(command, stdout=out, stderr=out, timeout=RUN_SECONDS_MAX).returncode
        except subprocess.TimeoutExpired:
            raise Trouble(f"rdkafka_performance did not end; see {output}") from None
    said = pathlib.Path(output).read_text(errors="replace")
    # The last line of figures: "% 500000 messages ... (512000000 bytes) ... in 1823ms: 274000 msgs/s and 280.58 MB/s".
    found = re.findall(r"% (\d+) messages (?:produced )?\((\d+) bytes\).*? in (\d+)ms", said)
    failed = re.findall(r", (\d+) failed", said)
    if code != 0 or not found or (failed and int(failed[-1])):
        raise Trouble(f"rdkafka_performance failed ({code}); see {output}")
    records, size, millis = (int(n) for n in found[-1])
    result = {"records": records, "bytes": size, "seconds": millis / 1e3}
    if broker.pid is not None:
        result["cpu_s"] = process_cpu_s(broker.pid) - cpu
        # A thread that has ended is in neither figure.
        result["switches"] = sum(n - switched.get(thread, 0) for thread, n in switches(broker.pid).items())
        result["peak_bytes"] = peak_bytes(broker.pid)
    return result


def percentiles_ms(file):
    """Of one latency a line, µs, without the first second's: those waited for the connection."""
    values = sorted(int(line) for line in list(open(file))[RECORDS_PER_S:])
    at = lambda q: values[min(len(values) - 1, int(q * len(values)))] / 1e3
    return {"p50_ms": at(0.5), "p99_ms": at(0.99), "p999_ms": at(0.999)} if values else {}


def rounds_rows(program, broker, out, stem, records, seconds):
    """All rows against one broker that runs: {row: result}."""
    topic = f"librdkafka-{os.getpid()}-{stem}"
    make_topic(broker, topic)
    produce = ["-P", "-t", topic, "-s", str(VALUE_BYTES), "-a", "1", "-X", "linger.ms=5"]
    # One short run before the one that counts: the broker and its files are warm, the topic's leaders known.
    performance(program, broker, [*produce, "-c", str(records // 10)], out / f"{stem}.warm.txt")
    results = {PRODUCE: performance(program, broker, [*produce, "-c", str(records)], out / f"{stem}.produce.txt")}
    partitions = [word for p in range(PARTITIONS) for word in ("-p", str(p))]
    consume = ["-C", "-t", topic, *partitions, "-o", "beginning", "-c", str(records)]
    results[CONSUME] = performance(program, broker, consume, out / f"{stem}.consume.txt")
    delete_topic(broker, topic)
    topic += "-lz4"
    make_topic(broker, topic)
    produce += ["-z", "lz4"]
    produce[produce.index("-t") + 1] = topic
    performance(program, broker, [*produce, "-c", str(records // 10)], out / f"{stem}.warm.txt")
    results[PRODUCE_LZ4] = performance(program, broker, [*produce, "-c", str(records)], out / f"{stem}.lz4.txt")
    delete_topic(broker, topic)
    topic += "-requests"
    make_topic(broker, topic)
    # At a rate that both keep: one record in a batch, its latency from the call to the delivery report.
    latencies = out / f"{stem}.latencies"
    one = ["-P", "-t", topic, "-p", "0", "-s", "100", "-a", "-1", "-r", str(RECORDS_PER_S), "-X", "linger.ms=0"]
    performance(program, broker, [*one, "-c", "1000"], out / f"{stem}.warm.txt")
    results[REQUESTS] = performance(program, broker, [*one, "-c", str(RECORDS_PER_S * (seconds + 1)), "-l", "-A", str(latencies)],
                                    out / f"{stem}.requests.txt")
    results[REQUESTS].update(percentiles_ms(latencies))
    latencies.unlink()
    delete_topic(broker, topic)
    return results
