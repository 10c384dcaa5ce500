"""Counts named checks, and what the Python libraries' checks share: records to compare, a group of two members.

A check compares what came back with what was sent, or it fails: none passes by doing nothing.
"""

import os
import sys
import threading
import time
import traceback

BOOTSTRAP = os.environ["BOOTSTRAP"]
RUN = f"{os.getpid()}-{time.time_ns() // 1000 % 1_000_000_000}"
PARTITIONS = 4
passed = 0
failed = 0


def check(name, body, *args):
    global passed, failed
    begin = time.monotonic()
    try:
        body(*args)
        passed += 1
        print(f"ok      {name} ({time.monotonic() - begin:.1f} s)", flush=True)
    except BaseException:  # a check that is not finished is a failed one, and the others still run
        failed += 1
        print(f"FAILED  {name}", flush=True)
        traceback.print_exc(file=sys.stdout)


def finish(library):
    print(f"{library}: {passed} passed, {failed} failed", flush=True)
    # A client's threads that hang must not keep the process.
    os._exit(0 if passed and not failed else 1)


def equal(expected, actual, what):
    assert expected == actual, f"{what}: expected {expected!r}, got {actual!r}"


def fails(name, call, *args, **kwargs):
    """The call fails with an error whose class or text has this name."""
    try:
        result = call(*args, **kwargs)
    except Exception as error:
        text = f"{type(error).__name__} {error}"
        assert name in text, f"expected {name}, got {text}"
        return
    raise AssertionError(f"expected {name}, got {result!r}")


def eventually(condition, what, seconds=40.0):
    end = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        assert time.monotonic() < end, f"not within {seconds} s: {what()if callable(what) else what}"
        time.sleep(0.05)


def gather(poll, count):
    """What `poll` gives bit by bit: `count` records, and none more."""
    got = []

    def enough():
        got.extend(poll())
        return len(got) >= count

    eventually(enough, lambda: f"{len(got)} of {count} records")
    equal(count, len(got), "records")
    return got


def record(i):
    """(key, value, headers, timestamp) of record i; some keys and values are null."""
    key = None if i % 5 == 4 else f"key-{i % 7}".encode()
    value = None if i % 11 == 10 and key else (f"record {i}: " + "text to compress " * 8).encode()
    return key, value, [("i", str(i).encode()), ("same", b"")], 1_700_000_000_000 + i


class Member(threading.Thread):
    """A member of a group, on a thread of its own. `open` gives an object with poll() -> [(partition, value)],
    assigned() -> set of partitions, commit() and close(); all are called on that thread only."""

    def __init__(self, open):
        super().__init__(daemon=True)
        self.open = open
        self.got = []
        self.partitions = set()
        self.error = None
        self.wanted = True
        self.start()

    def run(self):
        try:
            consumer = self.open()
            while self.wanted:
                rows = consumer.poll()
                self.partitions = consumer.assigned()
                if rows:
                    consumer.commit()
                    self.got += rows
            consumer.close()
            self.partitions = set()
        except BaseException as error:
            traceback.print_exc(file=sys.stdout)
            self.error = error

    def close(self):
        self.wanted = False
        self.join(30)
        assert not self.is_alive(), "the member does not end"
        assert self.error is None, f"the member failed: {self.error!r}"


def group_of_two(open, produce, one_moves=None):
    """A member alone, a second that takes half, the first that leaves; each record once, and to its owner.
    `produce(first, count)` sends values first..first+count, evenly to the four partitions."""
    every = set(range(PARTITIONS))
    a = Member(open)
    b = None

    def settle(what, done):
        def shown():
            return f"{what}: a has {a.partitions} {len(a.got)}, b has {b and b.partitions} {b and len(b.got)}"

        eventually(lambda: a.error or (b and b.error) or done(), shown, 60)
        assert not a.error and not (b and b.error), f"{a.error!r} {b and b.error!r}"

    settle("one member", lambda: a.partitions == every)
    produce(0, 200)
    settle("200 records", lambda: len(a.got) >= 200)
    b = Member(open)
    settle("two members", lambda: len(a.partitions) == 2 and a.partitions | b.partitions == every)
    before = len(a.got)
    owned = {p: m for m in (a, b) for p in m.partitions}
    produce(200, 200)
    settle("400 records", lambda: len(a.got) + len(b.got) >= 400)
    for member, rows in ((a, a.got[before:]), (b, b.got)):
        equal(100, len(rows), "records of a member")
        assert all(owned[p] is member for p, _ in rows), "a record of a partition that is the other's"
    a.close()
    settle("the second alone", lambda: b.partitions == every)
    produce(400, 200)
    settle("600 records", lambda: len(a.got) + len(b.got) >= 600)
    b.close()
    values = sorted(value for _, value in a.got + b.got)
    equal(sorted(f"value {i}".encode() for i in range(600)), values, "values of both")
    # And one that comes later goes on from there.
    produce(600, 40)
    c = Member(open)
    settle_c = lambda: c.error or len(c.got) >= 40
    eventually(settle_c, lambda: f"the member that came back has {len(c.got)}", 60)
    c.close()
    equal(sorted(f"value {i}".encode() for i in range(600, 640)), sorted(v for _, v in c.got), "values after it came back")
