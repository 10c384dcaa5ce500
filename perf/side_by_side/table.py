"""The table: each scenario's figures, medians over the rounds, and their ratio. Reads the reports of `spindle bench`
(perf/report-schema.md). A figure that no broker has is left out; one that only one has shows a dash."""

import statistics

from . import librdkafka


def _at(*path):
    def read(report):
        for key in path:
            report = None if report is None else report.get(key)
        return report
    return read


def _scaled(read, factor):
    return lambda report: None if read(report) is None else read(report) * factor


def _positive(read):
    return lambda report: read(report) or None


def _switches(report):
    count, seconds = report["broker_context_switches"], report["measured_s"]
    return None if count is None or seconds <= 0 else count / seconds


def _moved_bytes(report):
    """In, out and replayed."""
    measured, replay = report["measured"], report["replay"] or {"bytes": 0}
    return measured["produced_bytes"] + measured["consumed_bytes"] + replay["bytes"]


def _of_much(read):
    """Figures by bytes say nothing where there are next to none."""
    much = lambda r: _moved_bytes(r) >= MB_PER_S_MIN * 1e6 * r["measured_s"]
    return lambda report: read(report) if much(report) else None


def _cpu_s_per_gb(report):
    cpu_s = report["cpu"]["broker_s"]
    return None if cpu_s is None else cpu_s / (_moved_bytes(report) / 1e9)


def _written_s(report):
    """With --records the run's length is the figure."""
    return report["measured_s"] if report["configuration"]["records"] else None


MB_PER_S_MIN = 5
CPU_GB, CPU_RECORDS, CPU_REQUESTS = "broker CPU, s/GB", "broker CPU, s/M records", "broker CPU, s/M requests"
ACK_P50, E2E_P50, E2E_P99 = "ack p50, ms", "end to end p50, ms", "end to end p99, ms"
CREATE, WRITTEN, START, IDLE = "create topics, s", "written, s", "start to Metadata, s", "idle memory, MB"
PEAK, CPU_ALONE = "peak memory, MB", "broker CPU of consuming alone, s/GB"

# (name, how to read it, digits). GB are of records: produced, consumed and replayed together.
FIGURES = [
    ("best rate found, records/s", lambda r: _at("produced_records_per_s")(r) if r["trials"] else None, 0),
    ("produced, records/s", _positive(_at("produced_records_per_s")), 0),
    ("produced, MB/s", _positive(_of_much(_at("produced_mb_per_s"))), 1),
    ("consumed, MB/s", _positive(_of_much(_at("consumed_mb_per_s"))), 1),
    ("replayed, MB/s", _at("replay", "mb_per_s"), 1),
    (ACK_P50, _scaled(_at("ack", "p50_us"), 1e-3), 3),
    ("ack p99, ms", _scaled(_at("ack", "p99_us"), 1e-3), 3),
    ("ack p99.9, ms", _scaled(_at("ack", "p999_us"), 1e-3), 3),
    (E2E_P50, _scaled(_at("end_to_end", "p50_us"), 1e-3), 3),
    (E2E_P99, _scaled(_at("end_to_end", "p99_us"), 1e-3), 3),
    ("end to end p99.9, ms", _scaled(_at("end_to_end", "p999_us"), 1e-3), 3),
    (CPU_GB, _of_much(_cpu_s_per_gb), 3),
    (CPU_RECORDS, _at("broker_cpu_us_per_record"), 3),
    (CPU_REQUESTS, _at("broker_cpu_us_per_request"), 1),
    ("context switches/s", _switches, 0),
    (PEAK, _scaled(_at("broker_peak_rss_bytes"), 1e-6), 0),
    (CREATE, _scaled(_at("prepare", "create_topics_ms"), 1e-3), 3),
    (WRITTEN, _written_s, 3),
]
# What only one kind of scenario is about.
ONLY = {CREATE: ["create-2000"], WRITTEN: ["create-2000"]}

# The goals for Spindle that stand in anchors' rows: at most so much.
GOALS = {
    ("produce-1k", CPU_GB): 0.5,
    ("produce-100b", CPU_RECORDS): 0.1,
    ("consume-1k", CPU_GB): 0.35,
    ("tail-1k", CPU_ALONE): 0.35,
    ("request-1", CPU_REQUESTS): 40,
    ("request-32", CPU_REQUESTS): 20,
    ("end-to-end-1", E2E_P50): 0.3,
    ("end-to-end-1", E2E_P99): 2,
    ("create-2000", CREATE): 0.5,
    ("create-2000", WRITTEN): 1,
    ("create-2000", PEAK): 200,
    # The client that the anchors were measured with.
    (librdkafka.PRODUCE, CPU_GB): 0.5,
    (librdkafka.CONSUME, CPU_GB): 0.35,
    ("start", START): 0.2,
    ("start", IDLE): 64,
}
# Goals that are a part of the first broker's figure in the same run: (the part, as it is written).
GOALS_BESIDE = {
    ("produce-1k-lz4", CPU_GB): (0.25, "1/4"),
    (librdkafka.PRODUCE_LZ4, CPU_GB): (0.25, "1/4"),
}


def goal_of(scenario, figure, columns):
    """(at most so much, as it is written), or None: no goal, or no broker beside that it is a part of."""
    if (goal := GOALS.get((scenario, figure))) is not None:
        return goal, str(goal)
    part = GOALS_BESIDE.get((scenario, figure))
    first = next(((b, v) for b, v in columns.items() if b != "Spindle"), None)
    if part is None or first is None or not first[1]:
        return None
    return part[0] * statistics.median(first[1]), f"{part[1]} of {first[0]}"


def start_rows(brokers, starts):
    """Of the brokers' own start: [(figure, {broker: [values]})]."""
    def column(key):
        return {b: [v for s in starts.get(b, []) if (v := s[key]) is not None] for b in brokers}
    return [("start", START, column("start_seconds"), 2), ("start", IDLE, column("idle_mb"), 0)]


def count_rows(scenario, brokers, counts):
    """`counts`: {broker: {"calls", "switches"}}, a request each."""
    out = []
    for figure, key in [("system calls a request", "calls"), ("context switches a request", "switches")]:
        columns = {b: [v] if (v := counts.get(b, {}).get(key)) is not None else [] for b in brokers}
        if any(columns.values()):
            out.append((scenario, figure, columns, 2))
    return out


def _by(amount, unit):
    return lambda r: None if "cpu_s" not in r else r["cpu_s"] / r[amount] * unit


SECOND_CLIENT = [
    ("records/s", lambda r: None if "p50_ms" in r else r["records"] / r["seconds"], 0),
    ("MB/s", lambda r: r["bytes"] / r["seconds"] / 1e6 if r["bytes"] > 1e8 else None, 1),
    ("ack p50, ms", lambda r: r.get("p50_ms"), 3),
    ("ack p99, ms", lambda r: r.get("p99_ms"), 3),
    ("ack p99.9, ms", lambda r: r.get("p999_ms"), 3),
    (CPU_GB, lambda r: _by("bytes", 1e9)(r) if r["bytes"] > 1e8 else None, 3),
    (CPU_RECORDS, _by("records", 1e6), 3),
    ("context switches/s", lambda r: r["switches"] / r["seconds"] if "switches" in r else None, 0),
    (PEAK, lambda r: r["peak_bytes"] / 1e6 if r.get("peak_bytes") else None, 0),
]


def second_client_rows(brokers, results):
    """`results`: {row: {broker: [result of each round]}}, of side_by_side/librdkafka."""
    out = []
    for scenario, of in results.items():
        for figure, read, digits in SECOND_CLIENT:
            columns = {b: [v for r in of.get(b, []) if (v := read(r)) is not None] for b in brokers}
            if any(columns.values()):
                out.append((scenario, figure, columns, digits))
    return out


def _alone(reports, without):
    """Broker CPU of consuming alone, s/GB: the run with consumers less the one without, at the same rate."""
    values = []
    for report, other in zip(reports, without):
        cpu, base = report["cpu"]["broker_s"], other["cpu"]["broker_s"]
        consumed = report["measured"]["consumed_bytes"]
        if None in (cpu, base) or not consumed or not other["measured_s"]:
            continue
        values.append((cpu - base * report["measured_s"] / other["measured_s"]) / (consumed / 1e9))
    return values


def where_time_went(table_rows, every_report):
    """Under the table: for each row of Spindle's that missed its goal, what its shards did in the last round."""
    missed = {}
    for scenario, figure, columns, _ in table_rows:
        goal, ours = goal_of(scenario, figure, columns), columns.get("Spindle")
        if goal is not None and ours and statistics.median(ours) > goal[0]:
            missed.setdefault(scenario, []).append(figure)
    lines = []
    for scenario, figures in missed.items():
        reports = every_report.get(scenario, {}).get("Spindle", [])
        shards = reports[-1]["cpu"].get("shards", []) if reports else []
        if not shards:
            continue
        lines.append(f"Why {scenario} missed ({'; '.join(figures)}): where Spindle's shards spent their CPU "
                     f"(`perf/profile {scenario}` shows it by function)")
        for shard in shards:
            parts = {k[:-2]: v for k, v in shard.items() if k.endswith("_s") and k not in ("cpu_s", "idle_s")}
            cpu = sum(parts.values()) or 1
            busy = ", ".join(f"{name} {100 * s / cpu:.0f} %" for name, s in sorted(parts.items(), key=lambda p: -p[1])
                             if s / cpu >= 0.01)
            lines.append(f"- shard {shard['shard']}, {100 * shard['cpu_s'] / shard['seconds']:.0f} % of its CPU busy: {busy}")
        lines.append("")
    return lines


def rows(scenario, brokers, reports, every_report):
    """`reports`: {broker: [report of each round]}; `every_report`: those of the scenarios before, by scenario."""
    out = []
    for figure, read, digits in FIGURES:
        if scenario not in ONLY.get(figure, [scenario]):
            continue
        columns = {b: [v for r in reports.get(b, []) if (v := read(r)) is not None] for b in brokers}
        if any(columns.values()):
            out.append((scenario, figure, columns, digits))
    if scenario == "tail-1k" and (without := every_report.get("tail-1k-produce")):
        columns = {b: _alone(reports.get(b, []), without.get(b, [])) for b in brokers}
        if any(columns.values()):
            out.append((scenario, CPU_ALONE, columns, 3))
    return out


def _number(value, digits):
    return f"{value:,.{digits}f}"


def _cell(values, digits):
    """The median; behind it the least and the most when there were several rounds."""
    if not values:
        return "-"
    median = _number(statistics.median(values), digits)
    if len(values) == 1:
        return median
    return f"{median} ({_number(min(values), digits)} - {_number(max(values), digits)})"


def _ratio(base, other):
    if not base or not other or statistics.median(base) == 0:
        return "-"
    ratio = statistics.median(other) / statistics.median(base)
    return f"{ratio:.3f}" if ratio < 0.1 else f"{ratio:.2f}"


def markdown(brokers, table_rows):
    """Padded, so that it reads on a terminal as well. Ratios are to the first broker."""
    head = ["scenario", "figure", brokers[0]]
    for other in brokers[1:]:
        head += [other, "ratio"]
    head.append("goal")
    lines, before = [head], None
    for scenario, figure, columns, digits in table_rows:
        base = columns[brokers[0]]
        line = [scenario if scenario != before else "", figure, _cell(base, digits)]
        before = scenario
        for other in brokers[1:]:
            line += [_cell(columns[other], digits), _ratio(base, columns[other])]
        goal = goal_of(scenario, figure, columns)
        ours = columns.get("Spindle")
        verdict = ""
        if goal is not None:
            met = "" if not ours else ", met" if statistics.median(ours) <= goal[0] else ", missed"
            verdict = f"≤ {goal[1]}{met}"
        lines.append([*line, verdict])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    padded = ["| " + " | ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))) + " |"
              for line in lines]
    rule = "|" + "|".join("-" * (w + 2) if i < 2 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([padded[0], rule, *padded[1:]])
