"""What the scripts beside this one share: a faulty web, a Redis of their own, the program, and its worker processes.
Everything is on 127.0.0.1, and in a folder that goes away.
"""

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SEED = int(os.environ.get("SEED", "1"))

folder = tempfile.TemporaryDirectory(prefix="fleet-")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def content(path):
    """The file of this path, of up to some 64 KiB."""
    seed = hashlib.sha256(path.encode()).digest()
    return seed * (1 + seed[0] * seed[1] // 32)


class Faulty(BaseHTTPRequestHandler):
    """Answers after a while; as often as `often`, of one, with 503, as often not at all, as often with half of the file."""

    protocol_version = "HTTP/1.1"
    faults = random.Random(SEED)
    often = 0.04

    def do_GET(self):
        time.sleep(self.faults.uniform(0.02, 0.15))
        body, fault = content(self.path), self.faults.random()
        if fault < self.often:
            self.send_error(503)
            return
        if fault < 2 * self.often:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if fault < 3 * self.often:
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Web(ThreadingHTTPServer):
    """Serves until the program ends."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, handler=Faulty):
        super().__init__(("127.0.0.1", 0), handler)
        self.base = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def urls(self, numbers):
        """By URL: what its file has to hold."""
        return {f"{self.base}/{number}.bin": content(f"/{number}.bin") for number in numbers}

    def handle_error(self, *_):
        pass  # A killed worker leaves its connections.


class Redis:
    def __init__(self, *options, fsync="always", password=None):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.folder = os.path.join(folder.name, f"redis-{self.port}")
        self.options = ["--appendonly", "yes", "--appendfsync", fsync, "--save", "", *options]
        self.password = password
        if password:
            self.options += ["--requirepass", password]
        os.mkdir(self.folder)
        self.start()

    def start(self):
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder]
        command = ["redis-server", *place, *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def kill_and_restart(self):
        self.process.kill()
        self.process.wait()
        self.start()

    def stop(self):
        self.process.kill()
        self.process.wait()

    def command(self, *words):
        environment = {**os.environ, "REDISCLI_AUTH": self.password} if self.password else None
        command = ["redis-cli", "-p", str(self.port), "--json", *words]
        output = subprocess.run(command, capture_output=True, check=True, env=environment)
        return json.loads(output.stdout)

    def holds_no_job(self):
        """By Redis's own account, and not by that of the program."""
        assert self.command("XPENDING", "fleet:jobs", "workers")[0] == 0, "something is left in pending"
        assert self.command("XLEN", "fleet:jobs") == 0, "something is left in the stream"

    def until_it_answers(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if self.command("PING") == "PONG":
                    return
            except (subprocess.CalledProcessError, ValueError):
                pass
            time.sleep(0.01)
        raise TimeoutError("redis-server does not answer")


def workers_of(keeper):
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as stat:
                state, parent = stat.read().rsplit(")", 1)[1].split()[:2]
        except OSError:
            continue
        if int(parent) == keeper.pid and state != "Z":
            found.append(int(entry))
    return found


def kill(process):
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        pass  # It was quicker.


def ended(process, within):
    """Waits for a process, at most so many seconds, and wants it to have succeeded."""
    try:
        _, errors = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, errors


class Fleet:
    """The program, with a Redis at this address; `None`: at that in the environment."""

    def __init__(self, program, redis):
        self.program = os.path.abspath(program)
        self.command = [self.program, *(["--redis", redis] if redis else [])]
        self.out = os.path.join(folder.name, "out")

    def __call__(self, *words, **options):
        return subprocess.run([*self.command, *words], check=True, **options)

    def add(self, urls):
        self("add", "--urls", "-", input="\n".join(urls).encode(), stdout=subprocess.DEVNULL)

    def work(self, *words):
        command = [*self.command, "work", "--out", self.out, "--until-empty", *words]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def results(self):
        output = self("results", "--json", stdout=subprocess.PIPE, text=True).stdout
        return [json.loads(line) for line in output.splitlines()]

    def check(self, urls):
        """Each URL has one result, and its file; nothing else is there, and nothing is left to do."""
        found = self.results()
        assert sorted(result["url"] for result in found) == sorted(urls), "each URL ends exactly once"
        for result in found:
            assert result["status"] == "done", result
            with open(os.path.join(self.out, os.path.basename(result["path"])), "rb") as file:
                assert file.read() == urls[result["url"]], f"{result} differs"
        assert len(os.listdir(self.out)) == len(urls), "a file is left over"
        status = self("status", stdout=subprocess.PIPE, text=True).stdout
        assert "waiting 0, running 0" in status, status
