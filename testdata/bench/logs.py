"""Log capture beside `cat`: one service at full speed, a line a write.

Each repetition floods `cat >file` and then nines, in the same way and folder,
so that the ratio is of one moment of the machine."""

import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time

import peer as peers

SIZES = [64, 1024]
SPEC = """
service "flood" {{
  command = ["{tools}/flood", "{size}", "{ms}", "{result}"]
  log {{
    keep     = 10000
    compress = {compress}
  }}
}}
"""


def until(path, process, timeout=60):
    """Waits for the result of tools/flood.c: (lines, seconds)."""
    end = time.monotonic() + timeout
    while not os.path.exists(path):
        if process.poll() is not None:
            raise RuntimeError(f"it ended with {process.returncode} before the flood did")
        if time.monotonic() > end:
            raise RuntimeError("the flood does not end")
        time.sleep(0.01)
    lines, ns = peers.read(path).split()
    return int(lines), int(ns) / 1e9


def count(pattern):
    """The lines in these files."""
    total = 0
    for path in glob.glob(pattern):
        if path.endswith(".gz"):
            total += int(subprocess.run(f"gzip -dc '{path}' | wc -l", shell=True, check=True, capture_output=True).stdout)
            continue
        with open(path, "rb") as f:
            while block := f.read(1 << 20):
                total += block.count(b"\n")
    return total


def cat(work, env, size, ms):
    """MB/s that a flood reaches into `cat >file`."""
    result = os.path.join(work, "cat.result")
    with open(os.path.join(work, "cat.out"), "wb") as out:
        reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=out)
        flood = subprocess.Popen([env["TOOLS"] + "/flood", str(size), str(ms), result], stdout=reader.stdin)
        reader.stdin.close()
        try:
            lines, seconds = until(result, flood)
        finally:
            flood.kill()
            flood.wait()
            reader.wait(60)
    return lines * size / seconds / 1e6


def nines(work, env, size, ms, compress):
    """(MB/s, lines lost) of a flood that nines captures."""
    result, spec, log = (os.path.join(work, name) for name in ("nines.result", "spec.hcl", "log"))
    with open(spec, "w") as f:
        f.write(SPEC.format(tools=env["TOOLS"], size=size, ms=ms, result=result, compress=compress))
    with open(os.path.join(work, "nines.out"), "wb") as out:
        argv = [env["NINES_BIN"] + "/nines-init", "-f", spec, "--runtime-dir", work + "/run", "--state-dir", work + "/state", "--log-dir", log]
        process = subprocess.Popen(argv, stdout=out, stderr=out, start_new_session=True)
        try:
            lines, seconds = until(result, process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise RuntimeError("nines-init does not end") from None
    return lines * size / seconds / 1e6, lines - count(os.path.join(log, "flood", "0.log*"))


def measure(env, work, emit, ms):
    """One repetition; emit(peer, key, value) takes the figures down."""
    for size in SIZES:
        for peer in ("floor", "nines", "nines-gz"):
            folder = tempfile.mkdtemp(prefix="logs.", dir=work)
            try:
                if peer == "floor":
                    emit(peer, f"log_{size}_mbs", cat(folder, env, size, ms))
                    continue
                speed, lost = nines(folder, env, size, ms, "true" if peer == "nines-gz" else "false")
                suffix = "_gz" if peer == "nines-gz" else ""
                emit("nines", f"log_{size}{suffix}_mbs", speed)
                emit("nines", f"log_{size}{suffix}_lost", lost)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
