"""What a queue in Redis costs, and what a second worker gives. By hand, since it measures time:

    python3 fleet/bench.py [--pairs 7] [--files 5000] [--bytes 20000] [--fsync always]

It builds what it measures. In each pair, both run one after the other, in turn the one and the other first, each as a
whole command, from its start to its end; what is compared is the median of the pairs' ratios. The first pair is a
warm-up. `one`: a worker with 100 downloads at once, beside `coop_download --style green` with the same list, from a
server on this machine that answers at once. `two`: two workers beside one, from a server that answers after a fixed
time, so that one worker waits for the server and not for a core.
"""

import argparse
import os
import resource
import statistics
import subprocess
import time

import lab

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")

options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
options.add_argument("--pairs", type=int, default=7)
options.add_argument("--files", type=int, default=5000)
options.add_argument("--bytes", type=int, default=20_000)
options.add_argument("--latency", type=int, default=200, help="of the server in `two`, ms")
options.add_argument("--fsync", default="always", help="Redis's appendfsync")
options.add_argument("--only", choices=["one", "two"])
options = options.parse_args()

cargo = ["cargo", "build", "--quiet", "--release"]
subprocess.run([*cargo, "-p", "fleet", "--bins", "--examples"], check=True, cwd=ROOT)
subprocess.run([*cargo, "--example", "coop_download"], check=True, cwd=ROOT)
release = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release")


class Measured:
    """A command, with the time it took and the CPU time of its processes."""

    def __init__(self, command):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        self.wall = time.monotonic() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Files:
    """A server of files, which ends with this."""

    def __init__(self, latency):
        command = [os.path.join(release, "examples", "files"), str(options.bytes), str(latency)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.base = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


runs = 0


def fleet(files, *words):
    global runs
    runs += 1
    urls = [f"{files.base}/{runs}-{number}.bin" for number in range(options.files)]
    program.add(urls)
    # Folders are removed at the end: ext4 looks long for an inode while many were freed a moment ago.
    out = os.path.join(lab.folder.name, f"out-{runs}")
    command = [*program.command, "work", "--until-empty", "--out", out, *words]
    measured = Measured(command)
    assert len(os.listdir(out)) == options.files, "files are missing"
    assert redis.command("XLEN", "fleet:jobs") == 0
    return measured


def coop_download(files):
    global runs
    runs += 1
    out = os.path.join(lab.folder.name, f"out-{runs}")
    urls = os.path.join(lab.folder.name, "list")
    with open(urls, "w") as file:
        file.writelines(f"{files.base}/{runs}-{number}.bin\n" for number in range(options.files))
    command = [os.path.join(release, "examples", "coop_download"), "--quiet", "--style", "green"]
    measured = Measured([*command, "--concurrency", "100", "--urls", urls, "--out", out])
    assert len(os.listdir(out)) == options.files, "files are missing"
    return measured


def compare(what, one, other):
    """Prints by how much `one` is quicker than `other`."""
    pairs = []
    for number in range(options.pairs + 1):
        ours, theirs = (one(), other()) if number % 2 else tuple(reversed((other(), one())))
        if number > 0:
            pairs.append((ours, theirs))
    median = lambda of: statistics.median(map(of, pairs))
    rate = lambda measured: options.files / measured.wall
    ratios = sorted(theirs.wall / ours.wall for ours, theirs in pairs)
    print(f"{what}: {statistics.median(ratios):.2f} (of {len(ratios)} pairs: {ratios[0]:.2f} to {ratios[-1]:.2f})")
    print(f"    files a second: {median(lambda pair: rate(pair[0])):.0f} and {median(lambda pair: rate(pair[1])):.0f};", end=" ")
    micros = lambda measured: measured.cpu / options.files * 1e6
    print(f"CPU for a file, us: {median(lambda pair: micros(pair[0])):.0f} and {median(lambda pair: micros(pair[1])):.0f}")


redis = lab.Redis(fsync=options.fsync)
redis.until_it_answers()
program = lab.Fleet(os.path.join(release, "fleet"), redis.address)
try:
    print(f"{options.files} files of {options.bytes} bytes, appendfsync {options.fsync},", end=" ")
    print(f"{os.cpu_count()} cores, load at the start {os.getloadavg()[0]:.1f}")
    if options.only != "two":
        with Files(0) as files:
            compare("one worker, of coop_download", lambda: fleet(files), lambda: coop_download(files))
    if options.only != "one":
        with Files(options.latency) as files:
            what = f"two workers, of one ({options.latency} ms for each file)"
            compare(what, lambda: fleet(files, "--processes", "2"), lambda: fleet(files))
    print(f"load at the end {os.getloadavg()[0]:.1f}")
finally:
    redis.stop()
