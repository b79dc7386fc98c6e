# What the benches in Python share: a clock for wall and CPU time, and the line of JSON with the sample.
import json, os, resource, sys, time


def cpu_ns():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return (usage.ru_utime + usage.ru_stime) * 1e9


def status_bytes(field):
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return 0


class Clock:
    def __init__(self):
        self.wall, self.cpu = time.perf_counter_ns(), cpu_ns()

    def stop(self, ops, **more):
        """Prints the sample and ends the process."""
        cpu, wall = cpu_ns() - self.cpu, time.perf_counter_ns() - self.wall
        sample = {
            "ops": ops, "wall_ns": wall, "cpu_ns": cpu,
            "wall_ns_per_op": wall / ops, "cpu_ns_per_op": cpu / ops,
            "peak_rss": status_bytes("VmHWM"),
        }
        print(json.dumps(sample | more), flush=True)
        os._exit(0)


class Race:
    """yield: from when the last task has begun until the last has had its turns."""

    def __init__(self, tasks, turns):
        self.tasks, self.turns = tasks, turns
        self.begun = self.ended = 0

    def begin(self):
        self.begun += 1
        if self.begun == self.tasks:
            self.clock = Clock()

    def end(self):
        self.ended += 1
        if self.ended == self.tasks:
            self.clock.stop(self.tasks * self.turns)


class Memory:
    """memory: growth from before the tasks until all of them wait."""

    def __init__(self, tasks):
        self.tasks, self.arrived = tasks, 0
        self.rss, self.pte = status_bytes("VmRSS"), status_bytes("VmPTE")
        self.clock = Clock()

    def finish(self):
        rss = (status_bytes("VmRSS") - self.rss) / self.tasks
        pte = (status_bytes("VmPTE") - self.pte) / self.tasks
        self.clock.stop(
            self.tasks, rss_bytes_per_op=rss, pte_bytes_per_op=pte, bytes_per_op=rss + pte
        )


class Lateness:
    """timers: the same sleeps as in Rust, and how late they end."""

    def __init__(self, sleeps):
        self.tasks = 1_000 if sleeps == 20 else 100_000
        self.sleeps, self.total, self.latest = sleeps, 0.0, 0.0
        self.clock = Clock()

    def naps(self, n):
        for n in range(n * self.sleeps, (n + 1) * self.sleeps):
            mixed = n * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
            yield (1_000 + ((mixed >> 32) * 99_001 >> 32)) / 1e6

    def woke(self, start, nap):
        late = max(0.0, time.perf_counter() - start - nap)
        self.total += late
        self.latest = max(self.latest, late)

    def finish(self):
        ops = self.tasks * self.sleeps
        self.clock.stop(
            ops, late_mean_us=self.total / ops * 1e6, late_max_us=self.latest * 1e6
        )
