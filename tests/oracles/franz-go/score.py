"""Counts the top-level results of `go test -v` output: passed, failed, skipped, and what never ended.

A test that was started and has no result (a panic or the timeout ended the binary) is a failure. A test of the
allow-list that passes is named, so that its line can go.
"""

import re
import sys


def results(path):
    """Top-level test name -> PASS, FAIL, SKIP or RUN (no result)."""
    found = {}
    with open(path, errors="replace") as lines:
        for line in lines:
            started = re.match(r"=== RUN\s+(\S+)", line)
            ended = re.match(r"--- (PASS|FAIL|SKIP): (\S+)", line)
            if started and "/" not in started[1]:
                found.setdefault(started[1], "RUN")
            elif ended and "/" not in ended[2]:
                found[ended[2]] = ended[1]
    return found


def main():
    log, allowed_log, allow_list, status = sys.argv[1:5]
    found = results(log)
    by_result = {
        result: sorted(name for name, r in found.items() if r == result)
        for result in ("PASS", "FAIL", "SKIP", "RUN")
    }
    for name in by_result["FAIL"]:
        print(f"FAILED {name}")
    for name in by_result["RUN"]:
        print(f"FAILED {name} (no result: see {log})")
    for name in by_result["SKIP"]:
        print(f"skipped by itself: {name}")
    known = set()
    with open(allow_list) as lines:
        for line in lines:
            words = line.split("#")[0].split(None, 1)
            if len(words) == 1:
                print(f"allow-list.txt: {words[0]} has no reason")
                sys.exit(1)
            known.update(words[:1])
    for name, result in sorted(results(allowed_log).items()):
        if result == "PASS" and name in known:
            print(f"WARNING: {name} passes: take it from {allow_list}")
    passed, skipped = len(by_result["PASS"]), len(by_result["SKIP"])
    failed = len(by_result["FAIL"]) + len(by_result["RUN"])
    if passed == 0 or (failed == 0 and int(status) != 0):
        print(f"the test binary ended with {status}: see {log}")
        failed += 1
    if failed:
        with open(log, errors="replace") as lines:
            text = lines.readlines()
        for i, line in enumerate(text):
            if re.match(r"\s*--- FAIL", line):
                print("".join(text[i : i + 12]), end="")
    print(f"franz-go: {passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


main()
