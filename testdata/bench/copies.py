"""What a deploy copies, 200 MiB, beside cp and sha256sum: the Go benchmarks of
supervisor/release and supervisor/snapshot, which run those beside their own."""

import os
import re
import subprocess

import peer as peers

ROOT = os.path.normpath(os.path.join(peers.HERE, "..", ".."))
LINE = re.compile(r"^Benchmark200MiB/(\S+?)(?:-\d+)?\s+\d+\s+(\d+(?:\.\d+)?) ns/op")

# package -> benchmark -> (peer, key)
ROWS = {
    "release": {
        "sha256sum": ("floor", "digest_ms"), "digest": ("nines", "digest_ms"),
        "cp": ("floor", "add_ms"), "add": ("nines", "add_ms"), "verify": ("nines", "verify_ms"),
    },
    "snapshot": {"cp": ("floor", "take_ms"), "take": ("nines", "take_ms")},
}


def measure(work, emit):
    """One repetition; emit(peer, key, value) takes the figures down."""
    for package, rows in ROWS.items():
        test = os.path.join(work, package + ".test")
        if not os.path.exists(test):
            subprocess.run(["go", "test", "-c", "-o", test, "./supervisor/" + package], cwd=ROOT, check=True)
        argv = [test, "-test.run", "^$", "-test.bench", "200MiB", "-test.benchtime", "3x"]
        out = subprocess.run(argv, cwd=work, env=dict(os.environ, TMPDIR=work), check=True, capture_output=True, text=True).stdout
        seen = set()
        for line in out.splitlines():
            m = LINE.match(line)
            if m and m[1] in rows:
                emit(*rows[m[1]], float(m[2]) / 1e6)
                seen.add(m[1])
        if missing := set(rows) - seen:
            raise RuntimeError(f"{package} does not tell of {', '.join(sorted(missing))}")
