"""Health checks beside the bare cost of what they do.

Instances (1,000) are asked over HTTP each second and commands (200) are run each
second, by nines, and by tools/asker.c, which does nothing else. What answers is
tools/answer.c, outside of what is measured; it notes how far from a second apart
the requests of each instance come, which is how late they are."""

import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time

import peer as peers

HISTOGRAM = 10000  # milliseconds, see tools/answer.c
SPEC = """
service "web" {{
  command   = ["{sleeper}", "{stamps}", instance.index]
  instances = {instances}
  check "alive" {{
    http {{
      url = "http://127.0.0.1:{port}/${{instance.index}}"
    }}
    interval = "1s"
    timeout  = "5s"
  }}
}}
service "cmd" {{
  command   = ["{sleeper}", "{stamps}", {instances} + instance.index]
  instances = {commands}
  check "well" {{
    exec {{
      command = ["/bin/true"]
    }}
    interval = "1s"
    timeout  = "5s"
  }}
}}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Answer:
    """tools/answer.c, and what it has noted."""

    def __init__(self, env, folder, instances):
        self.instances = instances
        self.port, self.path = free_port(), os.path.join(folder, "requests")
        self.process = subprocess.Popen([env["TOOLS"] + "/answer", str(self.port), self.path, str(instances)])
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError("tools/answer does not listen") from None
                time.sleep(0.01)

    def read(self):
        """(requests by instance, histogram of the milliseconds between two)."""
        with open(self.path, "rb") as f:
            data = f.read()
        slots = [struct.unpack_from("=4Q", data, 32 * i)[0] for i in range(self.instances)]
        return slots, list(struct.unpack_from(f"={HISTOGRAM}Q", data, 32 * self.instances))

    def close(self):
        self.process.kill()
        self.process.wait()


def late(before, after):
    """The 99th percentile of how many ms two requests of an instance were further
    from a second apart."""
    counts = [b - a for a, b in zip(before, after)]
    off = sorted((abs(ms - 1000), n) for ms, n in enumerate(counts) if n)
    total, seen = sum(counts), 0
    if total == 0:
        raise RuntimeError("no instance was asked twice")
    for ms, n in off:
        seen += n
        if seen >= 0.99 * total:
            return ms


def floor(env, work, seconds, instances, commands):
    folder = tempfile.mkdtemp(prefix="checks.", dir=work)
    answer = Answer(env, folder, instances)
    try:
        began, before = time.monotonic(), os.times()
        # Where the machine cannot do as much in the time, asker takes longer; for ever it must not.
        subprocess.run([env["TOOLS"] + "/asker", str(answer.port), str(instances), str(commands), str(seconds)], check=True, timeout=60 + 10 * seconds)
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return cpu / max(seconds, time.monotonic() - began) * 1e3
    finally:
        answer.close()
        shutil.rmtree(folder, ignore_errors=True)


def nines(env, work, seconds, instances, commands):
    """(CPU ms a second, ms late)."""
    folder = tempfile.mkdtemp(prefix="checks.", dir=work)
    answer = Answer(env, folder, instances)
    cgroup = os.path.join(peers.UNIFIED, f"nines-bench.{os.getpid()}.checks")
    os.mkdir(cgroup)
    process = None
    try:
        with open(os.path.join(folder, "spec.hcl"), "w") as f:
            f.write(SPEC.format(sleeper=env["SLEEPER"], stamps=env["STAMPS"], instances=instances, commands=commands, port=answer.port))

        def enter():
            with open(os.path.join(cgroup, "cgroup.procs"), "w") as f:
                f.write("0")

        with open(os.path.join(folder, "out"), "wb") as out:
            argv = [env["NINES_BIN"] + "/nines-init", "-f", folder + "/spec.hcl", "--runtime-dir", folder + "/run",
                    "--state-dir", folder + "/state", "--log-dir", folder + "/log"]
            process = subprocess.Popen(argv, stdout=out, stderr=out, preexec_fn=enter)
        end = time.monotonic() + 180
        while min(answer.read()[0]) < 2:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{sum(c > 1 for c in answer.read()[0])} of {instances} instances are checked; it printed:\n" + peers.read(os.path.join(folder, "out")))
            time.sleep(0.1)
        (_, histogram), cpu = answer.read(), usage(cgroup)
        time.sleep(seconds)
        cpu = usage(cgroup) - cpu
        return cpu / seconds * 1e3, late(histogram, answer.read()[1])
    finally:
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                pass  # cgroup.kill ends it
        end_group(cgroup)
        if process is not None:
            process.wait()
        answer.close()
        shutil.rmtree(folder, ignore_errors=True)


def usage(cgroup):
    """CPU seconds of all that is and was in it."""
    return int(peers.read(os.path.join(cgroup, "cpu.stat")).split()[1]) / 1e6


def end_group(cgroup):
    """Kills what is in a cgroup and removes it, with those below."""
    with open(os.path.join(cgroup, "cgroup.kill"), "w") as f:
        f.write("1")
    end = time.monotonic() + 10
    for folder, _, _ in os.walk(cgroup, topdown=False):
        while True:
            try:
                os.rmdir(folder)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)


def measure(env, work, emit, seconds, instances, commands):
    """One repetition; emit(peer, key, value) takes the figures down."""
    emit("floor", "checks_cpu_ms", floor(env, work, seconds, instances, commands))
    cpu, ms = nines(env, work, seconds, instances, commands)
    emit("nines", "checks_cpu_ms", cpu)
    emit("nines", "checks_late_p99_ms", ms)
