"""The tables that bench.py prints: medians, ratios to the C floor of the same
run, and the aims, met or missed."""

import statistics

# (title, pass, key, digits)
ROWS = [
    ("start, one CPU: CPU ms", "pinned", "start_cpu_ms", 1),
    ("start: ms", "free", "start_ms", 1),
    ("start: CPU ms", "free", "start_cpu_ms", 1),
    ("respawn, delay 0: median ms", "free", "respawn_ms", 2),
    ("respawn: p99 ms", "free", "respawn_p99_ms", 2),
    ("respawn: CPU µs a kill", "free", "respawn_cpu_us", 0),
    ("kill all → all up: ms", "free", "mass_ms", 1),
    ("kill all → all up: CPU ms", "free", "mass_cpu_ms", 1),
    ("processes of its own", "free", "processes", 0),
    ("resident: MiB", "free", "rss_mib", 1),
    ("proportional: MiB", "free", "pss_mib", 1),
    ("keeper resident: MiB", "free", "keeper_rss_mib", 2),
    ("nines-log resident: MiB", "free", "log_rss_mib", 2),
    ("cgroup with services: MiB", "free", "cgroup_mib", 1),
    ("idle: wakeups/s", "free", "wakeups_per_s", 2),
    ("status of all: ms", "free", "status_ms", 1),
    ("stop of one: ms", "free", "stop1_ms", 1),
    ("start of one: ms", "free", "start1_ms", 1),
    ("stop all, one CPU: ms", "pinned", "stop_ms", 1),
    ("stop all: ms", "free", "stop_ms", 1),
    ("logs, 64 B lines: MB/s (floor: cat)", "logs", "log_64_mbs", 0),
    ("logs, 64 B, compressed: MB/s", "logs", "log_64_gz_mbs", 0),
    ("logs, 64 B: lines lost", "logs", "log_64_lost", 0),
    ("logs, 64 B, compressed: lines lost", "logs", "log_64_gz_lost", 0),
    ("logs, 1 KiB lines: MB/s (floor: cat)", "logs", "log_1024_mbs", 0),
    ("logs, 1 KiB, compressed: MB/s", "logs", "log_1024_gz_mbs", 0),
    ("logs, 1 KiB: lines lost", "logs", "log_1024_lost", 0),
    ("logs, 1 KiB, compressed: lines lost", "logs", "log_1024_gz_lost", 0),
    ("release, digest of 200 MiB: ms (floor: sha256sum)", "copies", "digest_ms", 0),
    ("release, add 200 MiB: ms (floor: cp)", "copies", "add_ms", 0),
    ("release, verify 200 MiB: ms", "copies", "verify_ms", 0),
    ("data, snapshot of 200 MiB: ms (floor: cp -a)", "copies", "take_ms", 0),
    ("checks, N http and N/5 exec each second: CPU ms a second", "checks", "checks_cpu_ms", 1),
    ("checks, http: ms late, p99", "checks", "checks_late_p99_ms", 0),
]

# (title, pass, key, N, bound, whether the bound is a ratio to the floor); a
# negative bound is one from below
AIMS = [
    ("start all, CPU, one CPU", "pinned", "start_cpu_ms", 1000, 2.2, True),
    ("respawn median, delay 0", "free", "respawn_ms", 1000, 2.0, True),
    ("kill all → all up, CPU", "free", "mass_cpu_ms", 1000, 2.2, True),
    ("resident, all processes, MiB", "free", "rss_mib", 1000, 35, False),
    ("keeper resident, 100 services, MiB", "free", "keeper_rss_mib", 100, 3, False),
    ("idle wakeups/s", "free", "wakeups_per_s", 1000, 0, False),
    ("status of all, ms", "free", "status_ms", 1000, 8, False),
    ("stop all, one CPU", "pinned", "stop_ms", 1000, 2.5, True),
    ("start 9,000, CPU, one CPU", "pinned", "start_cpu_ms", 9000, 2.5, True),
    ("logs, 64 B lines, MB/s", "logs", "log_64_mbs", 1, -1.5, True),
    ("logs, 1 KiB lines, MB/s", "logs", "log_1024_mbs", 1, -0.8, True),
    ("logs, 64 B: lines lost", "logs", "log_64_lost", 1, 0, False),
    ("logs, 1 KiB: lines lost", "logs", "log_1024_lost", 1, 0, False),
]

FLOOR, OURS = "floor", "nines"


def render(figures, peers):
    """Markdown tables of a run's figures."""
    values = {}
    for f in figures:
        values.setdefault((f["pass"], f["key"], f["n"], f["peer"]), []).append(f["value"])
    medians = {k: statistics.median(v) for k, v in values.items()}
    out = []
    for n in sorted({f["n"] for f in figures}):
        there = [p for p in peers if any(k[2:] == (n, p) for k in medians)]
        lines = [["N = " + str(n)] + there]
        for title, kind, key, digits in ROWS:
            cells = [cell(medians, kind, key, n, p, digits) for p in there]
            if any(cells):
                lines.append([title] + cells)
        out += markdown(lines)
        out.append("")
    lines = [["aim", "bound", "measured", ""]]
    for title, kind, key, n, bound, ratio in AIMS:
        ours, floor = medians.get((kind, key, n, OURS)), medians.get((kind, key, n, FLOOR))
        if ours is None or (ratio and not floor):
            continue
        measured = ours / floor if ratio else ours
        unit = "× floor" if ratio else ""
        # A wakeup in a minute is noise of /proc, not a timer.
        met = measured >= -bound if bound < 0 else measured <= bound + (0.05 if bound == 0 else 0)
        sign = "≥" if bound < 0 else "≤"
        lines.append([title, f"{sign} {abs(bound)} {unit}".strip(), f"{measured:.2f} {unit}".strip(), "met" if met else "MISSED"])
    if len(lines) > 1:
        out += markdown(lines)
    return "\n".join(out)


def cell(medians, kind, key, n, peer, digits):
    """A figure, with its ratio to the floor where the floor has one."""
    value = medians.get((kind, key, n, peer))
    if value is None:
        return ""
    text = f"{value:.{digits}f}"
    floor = medians.get((kind, key, n, FLOOR))
    if peer != FLOOR and floor and key not in ("processes", "cgroup_mib", "rss_mib", "pss_mib"):
        text += f" ({value / floor:.1f}×)"
    return text


def markdown(lines):
    """Rows of cells as an aligned table; the first row is the head."""
    widths = [max(len(row[i]) for row in lines) for i in range(len(lines[0]))]
    out = []
    for i, row in enumerate(lines):
        out.append("| " + " | ".join(c.ljust(w) for c, w in zip(row, widths)) + " |")
        if i == 0:
            out.append("|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return out
