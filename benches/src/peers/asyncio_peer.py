# asyncio: each bench as in the Rust contenders, in coroutines on its default event loop.
import asyncio


async def bench_yield(tasks):
    race = Race(tasks, max(1, 200_000 // tasks))

    async def body():
        race.begin()
        for _ in range(race.turns):
            await asyncio.sleep(0)
        race.end()
        await asyncio.Event().wait()

    await asyncio.gather(*(body() for _ in range(tasks)))


async def bench_spawn(wave):
    async def body(n):
        return n

    for n in range(55):
        if n == 5:
            clock = Clock()
        tasks = [asyncio.create_task(body(n)) for n in range(wave)]
        for task in tasks:
            await task
    clock.stop(50 * wave)


async def bench_memory(tasks):
    memory = Memory(tasks)
    never = asyncio.Event()

    async def body():
        memory.arrived += 1
        await never.wait()

    kept = [asyncio.create_task(body()) for _ in range(tasks)]
    while memory.arrived < tasks:
        await asyncio.sleep(0)
    memory.finish()


async def bench_timers(sleeps):
    late = Lateness(sleeps)

    async def body(n):
        for nap in late.naps(n):
            start = time.perf_counter()
            await asyncio.sleep(nap)
            late.woke(start, nap)

    await asyncio.gather(*(body(n) for n in range(late.tasks)))
    late.finish()


asyncio.run(globals()["bench_" + sys.argv[1]](int(sys.argv[2])))
