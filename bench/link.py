"""A link with a round-trip time in front of the farm: python -m bench.link LISTEN_PORT FARM_PORT RTT_MILLISECONDS

This kernel's traffic control may have no delay queue, and delaying the loopback would delay the engine's own calls too;
so a small forwarder holds every piece back for half the round trip, each way, and a new connection for one more.
It runs on the hosts' side: what it costs is not counted as the tool's.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Forward until the end of the stream; every piece leaves `delay` seconds after it came, in order."""
    loop = asyncio.get_running_loop()
    held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, data = await held.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                writer.write_eof()
                return
            writer.write(data)
            await writer.drain()

    delivery = asyncio.create_task(deliver())
    with suppress(OSError):
        while data := await reader.read(65536):
            held.put_nowait((loop.time() + delay, data))
    held.put_nowait((loop.time() + delay, b""))
    with suppress(OSError):
        await delivery


async def serve(listen: int, farm: int, rtt: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(rtt)
            address = writer.get_extra_info("sockname")[0]
            behind, ahead = await asyncio.open_connection(address, farm)
            await asyncio.gather(pump(reader, ahead, rtt / 2), pump(behind, writer, rtt / 2))
            ahead.close()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "0.0.0.0", listen, backlog=2048)  # noqa: S104 -- as the farm listens
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
