"""The proof that a network which falls apart loses nothing: three groups of workers, of which two reach Redis through a
proxy. The proxies stop to forward, and leave all connections open: one for longer than jobs may go without being renewed,
so that others claim them while their workers are at work; the other for longer than a worker waits for an answer, so that
it gives its connections up (10 s). Then they forward what was held back, the commands on connections given up too.
.ci/fleet runs it, with the program as argument.
"""

import socket
import sys
import threading
import time

from lab import Fleet, Redis, Web, ended, kill, workers_of

FILES = 600
SHORT = 5  # s; a job is claimed when it was not renewed for 3 s.


class Proxy:
    """Forwards connections, while it is `open`; holds back what comes meanwhile."""

    def __init__(self, port):
        self.port, self.accepted = port, 0
        self.open = threading.Event()
        self.open.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            self.accepted += 1
            server = socket.create_connection(("127.0.0.1", self.port))
            for ends in [(client, server), (server, client)]:
                threading.Thread(target=self.pump, args=ends, daemon=True).start()

    def pump(self, source, sink):
        try:
            while piece := source.recv(1 << 16):
                self.open.wait()
                sink.sendall(piece)
            self.open.wait()
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # One of the two is gone.


web, redis = Web(), Redis()
redis.until_it_answers()
direct = Fleet(sys.argv[1], redis.address)
proxies = [Proxy(redis.port), Proxy(redis.port)]
keepers = []
try:
    urls = web.urls(range(FILES))
    direct.add(urls)
    for fleet in [direct, *(Fleet(sys.argv[1], proxy.address) for proxy in proxies)]:
        keepers.append(fleet.work("--processes", "2", "--concurrency", "10"))
    running = lambda: {name.rsplit("-", 2)[0] for name, _ in redis.command("XPENDING", "fleet:jobs", "workers")[3] or []}
    while len(running()) < len(keepers):
        time.sleep(0.01)

    for proxy in proxies:
        proxy.open.clear()
    cut, before = time.monotonic(), [proxy.accepted for proxy in proxies]
    time.sleep(SHORT)
    proxies[0].open.set()
    for keeper in keepers[:2]:  # They have done what the third had, too.
        ended(keeper, 60)
    without_it = time.monotonic() - cut
    direct.check(urls)
    redis.holds_no_job()

    while proxies[1].accepted < before[1] + 2:  # One of each of its workers.
        assert time.monotonic() < cut + 60, "connections without an answer are not given up"
        time.sleep(0.1)
    long = time.monotonic() - cut
    again = [proxy.accepted - first for proxy, first in zip(proxies, before)]
    assert again[0] == 0, "connections that stay open are kept"
    assert again[1] <= 40, f"{again[1]} new connections: without a pause"
    more = web.urls(range(FILES, FILES + 50))
    direct.add(more)  # Which also the connections that were given up ask for.
    proxies[1].open.set()
    ended(keepers[2], 60)
    direct.check({**urls, **more})
    redis.holds_no_job()
    print(f"{FILES + 50} files; two of three groups cut off, for {SHORT} and {long:.1f} s;", end=" ")
    print(f"all was done {without_it:.1f} s after the cut; the group cut off for longer opened {again[1]} new connections")
finally:
    redis.stop()
    for keeper in keepers:
        for worker in workers_of(keeper):
            kill(worker)
        keeper.kill()
