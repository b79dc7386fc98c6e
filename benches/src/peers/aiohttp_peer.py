# aiohttp: workers that download one file after another in one session.
import aiohttp
import asyncio


async def bench_download(files, port, size, concurrency, chunk):
    url, left = f"http://127.0.0.1:{port}/", files

    async def work():
        nonlocal left
        while left:
            left -= 1
            got = 0
            async with session.get(url) as response:
                async for part in response.content.iter_chunked(chunk):
                    got += len(part)
            assert got == size, f"{got} of {size} bytes"

    clock = Clock()
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(work() for _ in range(concurrency)))
        clock.stop(files)


asyncio.run(bench_download(*map(int, sys.argv[2:])))
