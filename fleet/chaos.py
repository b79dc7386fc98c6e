"""The proof that a fleet loses nothing: 2 000 files from a faulty server, by four workers, of which a random one is
killed every half second, with a Redis that is killed and restarted twice. And a URL that kills each worker that takes
it. .ci/fleet runs it, with the program as argument.
"""

import random
import subprocess
import sys
import threading
import time

from lab import SEED, Faulty, Fleet, Redis, Web, ended, kill, workers_of

FILES = 2000
chance = random.Random(SEED)
victims = []  # Keepers whose workers the poison kills.


class Poisonous(Faulty):
    def do_GET(self):
        if self.path != "/poison":
            super().do_GET()
            return
        for keeper in victims:
            for worker in workers_of(keeper):
                kill(worker)
        self.close_connection = True


web, redis = Web(Poisonous), Redis()
fleet = Fleet(sys.argv[1], redis.address)
keeper = None
try:
    urls = web.urls(range(FILES))
    fleet.add(urls)

    began, kills, restarts, restart_at = time.monotonic(), 0, 0, [4, 12]
    keeper = fleet.work("--processes", "4", "--concurrency", "10")
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
    unlucky = [result for result in fleet.results() if result["status"] != "done"]
    fleet("retry-failed", stdout=subprocess.DEVNULL)
    ended(fleet.work(), 60)
    fleet.check(urls)
    redis.holds_no_job()
    print(f"{FILES} files in {took:.1f} s, {kills} workers killed, Redis restarted {restarts} times,", end=" ")
    print(f"{len(unlucky)} given up at first and retried (seed {SEED})")

    fleet.add([f"{web.base}/poison"])
    keeper = fleet.work()
    victims.append(keeper)
    ended(keeper, 60)
    dead = [result for result in fleet.results() if result["status"] == "dead"]
    assert [result["url"] for result in dead] == [f"{web.base}/poison"], dead
    assert "3 workers died" in dead[0]["error"] and "signal: 9" in dead[0]["error"], dead
    print(f"dead letter: {dead[0]['error']}")
finally:
    redis.stop()
    if keeper:
        for worker in workers_of(keeper):
            kill(worker)
        keeper.kill()
