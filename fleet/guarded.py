"""A Redis with a password, and with TLS: what has the one and trusts the other works, and what has not says so at once.
.ci/fleet runs it, with the program as argument.
"""

import os
import subprocess
import sys

from lab import Faulty, Fleet, Redis, Web, ended, free_port

PASSWORD = "a#long/pass:word"
IN_URLS = "a%23long%2Fpass%3Aword"
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
# A certificate for 127.0.0.1, and its key, which anyone may read.
CERTIFICATE = os.path.join(ROOT, "examples", "coop_download", "localhost.pem")
KEY = os.path.join(ROOT, "examples", "coop_download", "localhost.key")


class Faultless(Faulty):
    often = 0


def refused(address, *words):
    """What the program says when it is refused, without trying again for ever, and without the password."""
    command = [sys.argv[1], "--redis", address, "work"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1, done
    assert all(word in done.stderr for word in words), done.stderr
    assert PASSWORD not in done.stderr and IN_URLS not in done.stderr, done.stderr
    return done.stderr.strip()


tls = free_port()
files = ["--tls-cert-file", CERTIFICATE, "--tls-key-file", KEY, "--tls-ca-cert-file", CERTIFICATE]
web, redis = Web(Faultless), Redis("--tls-port", str(tls), "--tls-auth-clients", "no", *files, password=PASSWORD)
try:
    redis.until_it_answers()
    print(refused(redis.address, "NOAUTH", "redis://:PASSWORD@HOST:PORT"))
    print(refused(f"redis://:wrong@{redis.address}", "WRONGPASS"))
    print(refused(f"rediss://:{IN_URLS}@127.0.0.1:{tls}", "UnknownIssuer", "--redis-ca"))
    print(refused("unix:///run/redis.sock", "unix://"))

    urls = {}
    for address in [f"redis://:{IN_URLS}@{redis.address}/3", f"rediss://default:{IN_URLS}@127.0.0.1:{tls}/3"]:
        # In the environment, as the README has it.
        os.environ.update(FLEET_REDIS=address, FLEET_REDIS_CA=CERTIFICATE)
        more = web.urls(range(len(urls), len(urls) + 20))
        urls.update(more)
        fleet = Fleet(sys.argv[1], None)
        fleet.add(more)
        ended(fleet.work("--processes", "2"), 60)
        fleet.check(urls)
        print(f"{len(more)} files by {address.split(':')[0]}://")
finally:
    redis.stop()
