"""Reads librdkafka's test sources and logs: which tests need a broker, and what became of each and of its subtests.

`list test.c` prints the names; `one LOG NAME SUBTEST PROTOCOL SECONDS` prints a line that starts with PASS, FAIL or SKIP;
`total RESULTS LOGS ALLOW_LIST` prints the failures' last lines and the sum.
"""

import re
import sys


def text_of(path):
    with open(path, errors="replace") as file:
        return re.sub(r"\x1b\[[0-9;]*m", "", file.read())


def list_tests(source):
    # One name a number: the runner picks by number, and -L leaves the local ones out.
    table = re.search(r"^struct test tests\[\] = \{(.*?)^\};", text_of(source), re.S | re.M)[1]
    for name, rest in re.findall(r"_TEST\((\d{4}_\w+),([^_]*(?:_(?!TEST\()[^_]*)*)", table):
        flagged = re.search(r"TEST_F_(LOCAL|MANUAL|KNOWN_ISSUE\b)", rest)
        scenario = re.search(r'\.scenario = "([^"]*)"', rest)
        if not flagged and (scenario is None or "default" in scenario[1].split(",")):
            if name not in ("0045_resubscribe_with_regex", "0045_subscribe_many_updates"):
                print(name)


def one(log, name, subtest, protocol, seconds):
    text = text_of(log)
    passed = len(re.findall(r"\] \[ .*: PASS(?: \([0-9.]+s\))? \]", text))
    failed = 0
    result = "FAIL"
    ended = re.findall(r"=+ Test " + name + r" (PASSED|FAILED|SKIPPED) =+", text)
    if ended and ended[-1] == "PASSED" and not re.search(r"^exit \d+$", text, re.M):
        result = "PASS"
    elif ended and ended[-1] == "SKIPPED":
        result = "SKIP"
    if result == "FAIL":
        failed = 1
    if subtest and passed == 0 and result == "PASS":
        result, failed = "FAIL", 1  # the pattern matched no subtest: nothing was tested
    shown = " ".join(part for part in (name, subtest, protocol) if part)
    print(f"{result} {shown}: {passed} subtests passed, {failed} failed, {seconds} s  ({log})")


def total(results, logs, allow_list):
    with open(allow_list) as lines:
        for line in lines:
            words = line.split("#")[0].split(None, 1)
            if len(words) == 1:
                sys.exit(f"allow-list.txt: {words[0]} has no reason")
    with open(results) as lines:
        rows = [line.split(None, 1) for line in lines]
    counts = {result: sum(1 for row in rows if row[0] == result) for result in ("PASS", "FAIL", "SKIP")}
    subtests = sum(int(re.search(r": (\d+) subtests", row[1])[1]) for row in rows)
    for result, rest in rows:
        if result == "FAIL":
            log = re.search(r"\((.*)\)", rest)[1]
            print(f"--- {rest.strip()}")
            lines = text_of(log).replace("\r", "\n").splitlines()
            at = next((i for i, line in enumerate(lines) if "TEST FAILURE" in line), len(lines) - 15)
            print("\n".join(lines[max(at, 0) : at + 15]))
    print(f"librdkafka: {subtests} subtests passed")
    print(f"librdkafka: {counts['PASS']} passed, {counts['FAIL']} failed, {counts['SKIP']} skipped")
    sys.exit(1 if counts["FAIL"] or not counts["PASS"] else 0)


{"list": list_tests, "one": one, "total": total}[sys.argv[1]](*sys.argv[2:])
