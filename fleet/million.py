"""Adds a list of any length, and shows what it takes of memory: of the program, which holds no more than a thousand URLs
at a time, and of Redis, which holds the list.

    python3 fleet/million.py target/release/fleet [URLS]

It adds a tenth of the URLs first (a million, unless another number is given), then all of them to another Redis. It
fails if the program's memory grows by more than a tenth, or if any are missing. .ci/fleet runs it with 200 000.
"""

import re
import subprocess
import sys
import time

from lab import Fleet, Redis


def peak(process):
    """The most memory that a process has had, in KiB."""
    with open(f"/proc/{process.pid}/status") as status:
        return int(re.search(r"VmHWM:\s*(\d+) kB", status.read())[1])


def add(urls):
    """Adds so many, and prints what it takes. Returns the peak of the program's memory, in KiB."""
    redis = Redis()
    try:
        redis.until_it_answers()
        memory = lambda: redis.command("MEMORY", "STATS")["dataset.bytes"]
        before, start = memory(), time.monotonic()
        command = [*Fleet(sys.argv[1], redis.address).command, "add", "--urls", "-"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        url = "http://host-{}.example/pictures/{:09}.jpeg\n"
        process.stdin.writelines(url.format(number % 997, number) for number in range(urls))
        process.stdin.flush()
        most = peak(process)  # It has read all but what lies in the pipe, and waits for more.
        process.stdin.close()
        assert process.wait(60) == 0, process.returncode
        took = time.monotonic() - start
        length = redis.command("XLEN", "fleet:jobs")
        assert length == urls, f"{length} of {urls} are in the stream"
        each = (memory() - before) / urls
        print(f"{urls} URLs in {took:.1f} s: the program {most / 1024:.1f} MiB at most,", end=" ")
        print(f"Redis {each:.0f} bytes for each, {each * urls / 2**20:.1f} MiB")
        return most
    finally:
        redis.stop()


urls = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
few, many = add(urls // 10), add(urls)
assert many <= few * 1.1, f"memory grows with the list: {few} KiB, then {many} KiB"
