# gevent: each bench as in the Rust contenders, in greenlets on its default hub.
import gevent
from gevent import event, socket


def bench_yield(tasks):
    race = Race(tasks, max(1, 200_000 // tasks))

    def body():
        race.begin()
        for _ in range(race.turns):
            gevent.sleep(0)
        race.end()
        event.Event().wait()

    gevent.joinall([gevent.spawn(body) for _ in range(tasks)])


def bench_spawn(wave):
    for n in range(55):
        if n == 5:
            clock = Clock()
        for task in [gevent.spawn(int) for _ in range(wave)]:
            task.get()
    clock.stop(50 * wave)


def bench_memory(tasks):
    memory = Memory(tasks)
    never = event.Event()

    def body():
        memory.arrived += 1
        never.wait()

    kept = [gevent.spawn(body) for _ in range(tasks)]
    while memory.arrived < tasks:
        gevent.sleep(0)
    memory.finish()


def bench_timers(sleeps):
    late = Lateness(sleeps)

    def body(n):
        for nap in late.naps(n):
            start = time.perf_counter()
            gevent.sleep(nap)
            late.woke(start, nap)

    gevent.joinall([gevent.spawn(body, n) for n in range(late.tasks)])
    late.finish()


def bench_echo(_connections):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    print(listener.getsockname()[1], flush=True)

    def echo(stream):
        while data := stream.recv(1024):
            stream.sendall(data)

    while True:
        stream, _ = listener.accept()
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        gevent.spawn(echo, stream)


globals()["bench_" + sys.argv[1]](int(sys.argv[2]))
