#!/usr/bin/env python3
"""Measures nines beside a C floor and, where installed, runit and s6.

Peers are interleaved, each launch gets a fresh cgroup and a folder in memory.
Two passes: pinned to one CPU, where wall time is CPU time and ratios are
steadiest (start, stop), and free (all rows). See README.md."""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import checks
import copies
import logs
import peer as peers
import table

FREE = ["start", "idle", "respawn", "ctl", "mass", "stop"]
PINNED = ["start", "stop"]
LARGE = 9000  # as many as 20,000 open files allow


class Measure:
    """The rows of one launch; emit(key, value) takes them down."""

    def __init__(self, launch, emit, options):
        self.l, self.emit, self.o = launch, emit, options
        self.stamps, self.n = launch.stamps, launch.n

    def run(self, rows):
        self.l.launch()
        if not self.l.wait_generations([1] * self.n, self.o.timeout):
            up = sum(1 for s in self.stamps.starts(self.n) if s)
            raise RuntimeError(f"only {up} of {self.n} services were started; it printed:\n{self.l.printed()}")
        for row in rows:
            getattr(self, row)()

    def start(self):
        """From the supervisor's exec to the last service's first instruction."""
        self.emit("start_ms", (max(self.stamps.starts(self.n)) - self.stamps.start(peers.SUPERVISOR)) / 1e6)
        self.l.settle()
        self.emit("start_cpu_ms", self.l.cpu() * 1e3)

    def idle(self):
        time.sleep(2)
        pids = self.l.supervisors()
        sizes = {p: peers.resident(p) for p in pids}
        self.emit("processes", len(pids))
        self.emit("rss_mib", sum(r for r, _ in sizes.values()) / 2**20)
        self.emit("pss_mib", sum(p for _, p in sizes.values()) / 2**20)
        for p, (rss, _) in sizes.items():
            name = os.path.basename(peers.executable(p))
            if name == "nines-init":
                self.emit("keeper_rss_mib", rss / 2**20)
            if name == "nines-log":
                self.emit("log_rss_mib", rss / 2**20)
        memory = self.l.memory()
        if memory is not None:
            self.emit("cgroup_mib", memory / 2**20)
        before, began = peers.wakeups(pids), time.monotonic()
        time.sleep(self.o.idle)
        self.emit("wakeups_per_s", (peers.wakeups(pids) - before) / (time.monotonic() - began))

    def respawn(self):
        """One kill -9 at a time, of services that have been up for 2 s."""
        time.sleep(2)
        order = list(range(self.n))
        random.Random(1).shuffle(order)
        gap = max(0.03, 3.0 / self.n)
        latencies, lost, pending = [], 0, {}

        def harvest(i):
            nonlocal lost
            killed, generation = pending[i]
            end = time.monotonic() + 15
            while self.stamps.generation(i) <= generation and time.monotonic() < end:
                time.sleep(0.002)
            del pending[i]
            if self.stamps.generation(i) > generation:
                latencies.append((self.stamps.start(i) - killed) / 1e6)
            else:
                lost += 1

        cpu = self.l.cpu()
        for k in range(self.o.kills):
            i = order[k % self.n]
            if i in pending:
                harvest(i)
            generation, pid = self.stamps.generation(i), self.stamps.pid(i)
            pending[i] = (time.monotonic_ns(), generation)
            os.kill(pid, signal.SIGKILL)
            time.sleep(gap)
        for i in list(pending):
            harvest(i)
        if lost:
            raise RuntimeError(f"{lost} of {self.o.kills} killed services did not come back")
        self.emit("respawn_ms", statistics.median(latencies))
        self.emit("respawn_p99_ms", sorted(latencies)[int(len(latencies) * 0.99)])
        self.emit("respawn_cpu_us", (self.l.cpu() - cpu) * 1e6 / self.o.kills)

    def ctl(self):
        for _ in range(3):
            self.emit("status_ms", self.timed("status"))
        for _ in range(3):
            self.emit("stop1_ms", self.timed("stop1", self.n // 2))
            self.emit("start1_ms", self.timed("start1", self.n // 2))
            time.sleep(0.3)

    def timed(self, verb, *args):
        began = time.monotonic_ns()
        code = self.l.verb(verb, *args)
        if code != 0:
            raise RuntimeError(f"{verb} exited with {code}")
        return (time.monotonic_ns() - began) / 1e6

    def mass(self):
        """kill -9 of all, to the last replacement's first instruction."""
        time.sleep(2)
        wanted = [g + 1 for g in self.stamps.generations(self.n)]
        cpu, began = self.l.cpu(), time.monotonic_ns()
        for p in self.stamps.pids(self.n):
            os.kill(p, signal.SIGKILL)
        if not self.l.wait_generations(wanted, self.o.timeout):
            raise RuntimeError("not all services came back")
        self.emit("mass_ms", (max(self.stamps.starts(self.n)) - began) / 1e6)
        self.l.settle()
        self.emit("mass_cpu_ms", (self.l.cpu() - cpu) * 1e3)

    def stop(self):
        """From the request until the supervisor and its cgroup are gone."""
        time.sleep(1.2)
        cpu, began = self.l.cpu(), time.monotonic_ns()
        request = subprocess.Popen([self.l.adapter, "stop", self.l.dir, str(self.l.process.pid)], env=self.l.env)
        end = time.monotonic() + self.o.timeout
        while self.l.process.poll() is None or self.l.populated():
            if time.monotonic() > end:
                raise RuntimeError("it did not stop")
            time.sleep(0.0005)
        self.emit("stop_ms", (time.monotonic_ns() - began) / 1e6)
        self.emit("stop_cpu_ms", (self.l.cpu() - cpu) * 1e3)
        request.wait()


def arguments():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--peers", default="floor,nines,runit,s6")
    p.add_argument("--n", default="100,1000", help="numbers of services")
    p.add_argument("--reps", type=int, default=3)
    p.add_argument("--rows", default=",".join(FREE), help="rows of the free pass")
    p.add_argument("--kills", type=int, default=200)
    p.add_argument("--idle", type=float, default=10, help="seconds of idling that are measured")
    p.add_argument("--timeout", type=float, default=90)
    p.add_argument("--large", action="store_true", help="also start 9,000 services, once, on one CPU: some minutes more")
    p.add_argument("--no-logs", action="store_true", help="leave out the rows of log capture")
    p.add_argument("--no-copies", action="store_true", help="leave out the rows of releases and snapshots")
    p.add_argument("--flood", type=int, default=1500, help="milliseconds that a flood of log lines lasts")
    p.add_argument("--no-checks", action="store_true", help="leave out the rows of health checks")
    p.add_argument("--checks", type=int, default=10, help="seconds of health checks that are measured")
    p.add_argument("--check-instances", type=int, default=1000, help="instances that are asked over HTTP each second")
    p.add_argument("--check-commands", type=int, default=200, help="commands that are run each second")
    p.add_argument("--no-pinned", action="store_true", help="leave out the pinned pass")
    p.add_argument("--only", choices=["logs", "copies", "checks"], help="these rows alone, and no supervisor beside nines")
    p.add_argument("--json", help="write every figure to this file, one object a line")
    o = p.parse_args()
    if o.only:
        o.n = ""
        for rows in "logs", "copies", "checks":
            setattr(o, "no_" + rows, rows != o.only)
    return o


def require():
    """Says what is missing before anything is started."""
    if os.geteuid() != 0:
        sys.exit("bench: cannot measure: needs root, for a cgroup a launch")
    probe = os.path.join(peers.UNIFIED, f"nines-bench.{os.getpid()}")
    try:
        os.mkdir(probe)
        os.rmdir(probe)
    except OSError as e:
        sys.exit(f"bench: cannot measure: no writable cgroup v2: {e}")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main():
    o = arguments()
    require()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is ended
    work = tempfile.mkdtemp(prefix="nines-bench.", dir="/dev/shm")
    figures, failures = [], []
    try:
        tools = os.path.join(work, "tools")
        subprocess.run([os.path.join(peers.HERE, "build.sh"), tools], check=True)
        stamps = peers.Stamps(os.path.join(work, "stamps"))
        env = dict(os.environ, TOOLS=tools, SLEEPER=tools + "/sleeper", STAMPS=stamps.path)
        env.setdefault("NINES_BIN", os.path.normpath(os.path.join(peers.HERE, "..", "..", "bin")))
        passes = [("free", "", o.rows.split(","))]
        if not o.no_pinned:
            passes.insert(0, ("pinned", "0", PINNED))

        def launch(peer, n, rep, kind, cpus, rows):
            can, most = peers.capabilities(peer, env)
            if n > most:
                return
            wanted = [r for r in rows if r in can and (r != "idle" or rep == 0)]
            began = time.monotonic()

            def emit(key, value):
                figures.append({"pass": kind, "n": n, "peer": peer, "rep": rep, "key": key, "value": value})

            one = peers.Launch(peer, n, stamps, work, env, cpus)
            try:
                Measure(one, emit, o).run(wanted)
            except (RuntimeError, OSError) as e:
                failures.append(f"{peer}, N={n}, {kind}: {e}")
                print(f"bench: {failures[-1]}", file=sys.stderr)
            finally:
                one.close()
            print(f"# {peer} N={n} {kind} {rep + 1}/{o.reps}: {time.monotonic() - began:.1f} s", file=sys.stderr)

        for rep in range(o.reps):
            for n in map(int, o.n.split(",")) if o.n else ():
                for kind, cpus, rows in passes:
                    for peer in o.peers.split(","):
                        launch(peer, n, rep, kind, cpus, rows)
            if not o.no_logs:
                def emit_log(peer, key, value):
                    figures.append({"pass": "logs", "n": 1, "peer": peer, "rep": rep, "key": key, "value": value})

                try:
                    logs.measure(env, work, emit_log, o.flood)
                except (RuntimeError, OSError, subprocess.SubprocessError) as e:
                    failures.append(f"logs: {e}")
                    print(f"bench: {failures[-1]}", file=sys.stderr)
            if not o.no_copies:
                def emit_copy(peer, key, value):
                    figures.append({"pass": "copies", "n": 1, "peer": peer, "rep": rep, "key": key, "value": value})

                try:
                    copies.measure(work, emit_copy)
                except (RuntimeError, OSError, subprocess.SubprocessError) as e:
                    failures.append(f"copies: {e}")
                    print(f"bench: {failures[-1]}", file=sys.stderr)
            if not o.no_checks:
                def emit_check(peer, key, value):
                    figures.append({"pass": "checks", "n": o.check_instances, "peer": peer, "rep": rep, "key": key, "value": value})

                try:
                    checks.measure(env, work, emit_check, o.checks, o.check_instances, o.check_commands)
                except (RuntimeError, OSError, subprocess.SubprocessError) as e:
                    failures.append(f"checks: {e}")
                    print(f"bench: {failures[-1]}", file=sys.stderr)
        if o.large:
            for peer in o.peers.split(","):
                launch(peer, LARGE, 0, "pinned", "0", ["start"])
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if o.json:
        with open(o.json, "w") as f:
            for x in figures:
                f.write(json.dumps(x) + "\n")
    print(table.render(figures, o.peers.split(",")))
    for f in failures:
        print(f"failed: {f}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
