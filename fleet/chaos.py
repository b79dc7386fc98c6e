"""The proof that a fleet loses nothing: 2 000 files from a faulty server, by four workers, of which a random one is
killed every half second, with a Redis that is killed and restarted twice. And a URL that kills each worker that takes
it. .ci/fleet runs it, with the program as argument. Everything is on 127.0.0.1, and it ends by itself.
"""

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FILES = 2000
PROGRAM = os.path.abspath(sys.argv[1])
SEED = int(os.environ.get("SEED", "1"))
chance = random.Random(SEED)
folder = tempfile.TemporaryDirectory()
victims = []  # Keepers whose workers the poison kills.


def content(path):
    seed = hashlib.sha256(path.encode()).digest()
    return seed * (1 + seed[0] * seed[1] // 32)  # To some 64 KiB.


class Faulty(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faults = random.Random(SEED)

    def do_GET(self):
        if self.path == "/poison":
            for keeper in victims:
                for worker in workers_of(keeper):
                    kill(worker)
            self.close_connection = True
            return
        time.sleep(self.faults.uniform(0.02, 0.15))
        body, fault = content(self.path), self.faults.random()
        if fault < 0.04:
            self.send_error(503)
            return
        if fault < 0.08:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if fault < 0.12:
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, *_):
        pass  # A killed worker leaves its connections.


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Redis:
    def __init__(self):
        self.port = free_port()
        self.start()

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", folder.name]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def kill_and_restart(self):
        self.process.kill()
        self.process.wait()
        self.start()

    def command(self, *words):
        output = subprocess.run(["redis-cli", "-p", str(self.port), "--json", *words], stdout=subprocess.PIPE, check=True)
        return json.loads(output.stdout)


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


def fleet(*words, **options):
    return subprocess.run([PROGRAM, "--redis", f"127.0.0.1:{redis.port}", *words], check=True, **options)


def work(*words):
    out = os.path.join(folder.name, "out")
    words = ["--redis", f"127.0.0.1:{redis.port}", "work", "--out", out, "--until-empty", *words]
    return subprocess.Popen([PROGRAM, *words], stderr=subprocess.PIPE, text=True)


def ended(process, within):
    try:
        _, errors = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, errors


def results():
    output = fleet("results", "--json", stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(line) for line in output.splitlines()]


server = Server(("127.0.0.1", 0), Faulty)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}"
redis = Redis()
keeper = None
try:
    urls = {f"{base}/{number}.bin": content(f"/{number}.bin") for number in range(FILES)}
    fleet("add", "--urls", "-", input="\n".join(urls).encode())

    began, kills, restarts, restart_at = time.monotonic(), 0, 0, [4, 12]
    keeper = work("--processes", "4", "--concurrency", "10")
    reader = threading.Thread(target=ended, args=(keeper, 120))
    reader.start()
    while reader.is_alive():
        reader.join(0.5)
        present = workers_of(keeper)
        if present and time.monotonic() - began < 30:  # Then what is left may end.
            kill(chance.choice(present))
            kills += 1
        if restart_at and kills >= restart_at[0]:
            restart_at.pop(0)
            redis.kill_and_restart()
            restarts += 1
    took = time.monotonic() - began
    assert keeper.returncode == 0, "the workers have failed"
    assert restarts == 2, "it was over before Redis was restarted twice"

    # A file whose workers were killed three times, or whose attempts all met faults, has ended too.
    unlucky = [result for result in results() if result["status"] != "done"]
    fleet("retry-failed", stdout=subprocess.DEVNULL)
    ended(work(), 60)

    found = results()
    assert sorted(result["url"] for result in found) == sorted(urls), "each URL ends exactly once"
    out = os.path.join(folder.name, "out")
    for result in found:
        assert result["status"] == "done", result
        with open(os.path.join(out, os.path.basename(result["path"])), "rb") as file:
            assert file.read() == urls[result["url"]], f"{result} differs"
    assert len(os.listdir(out)) == FILES, "a file is left over"
    assert redis.command("XPENDING", "fleet:jobs", "workers")[0] == 0, "something is left in pending"
    assert redis.command("XLEN", "fleet:jobs") == 0, "something is left in the stream"
    print(f"{FILES} files in {took:.1f} s, {kills} workers killed, Redis restarted {restarts} times,", end=" ")
    print(f"{len(unlucky)} given up at first and retried (seed {SEED})")

    fleet("add", f"{base}/poison", stdout=subprocess.DEVNULL)
    keeper = work()
    victims.append(keeper)
    ended(keeper, 60)
    dead = [result for result in results() if result["status"] == "dead"]
    assert [result["url"] for result in dead] == [f"{base}/poison"], dead
    assert "3 workers died" in dead[0]["error"] and "signal: 9" in dead[0]["error"], dead
    print(f"dead letter: {dead[0]['error']}")
finally:
    redis.process.kill()
    if keeper:
        for worker in workers_of(keeper):
            kill(worker)
        keeper.kill()
