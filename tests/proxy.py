"""A TCP proxy that does harm to the connections through it when a test says so."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from threading import Thread


class Proxy:
    """Forwards what comes to `port` of 127.0.0.1 to `target`, in a thread of its own."""

    port: int

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._lost = asyncio.Event()
        self.delay = 0.0
        """Seconds that each piece takes, either way."""

    def refuse(self) -> None:
        """Cut all connections and take no new ones."""
        self._run(self._refuse())

    def swallow(self) -> None:
        """Let no packet through any more, as a network does whose other end is gone: connections
        stay open and silent. Those of now stay so after `heal`, too.
        """
        self._run(self._swallow())

    def heal(self) -> None:
        """Take new connections and serve them well."""
        self._run(self._heal())

    async def _refuse(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _end(self) -> None:
        await self._refuse()
        if self._pumps:
            await asyncio.wait(self._pumps)

    async def _swallow(self) -> None:
        self._lost.set()

    async def _heal(self) -> None:
        self.delay = 0.0
        self._lost = asyncio.Event()  # the connections of before keep the old one
        if not self._server.is_serving():
            await self._listen(self.port)

    async def _listen(self, port: int) -> None:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lost = self._lost
        self._writers.add(writer)
        if lost.is_set():
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers.add(back)
        for source, sink in ((reader, back), (there, writer)):
            pump = asyncio.create_task(self._pump(source, sink, lost))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, lost: asyncio.Event
    ) -> None:
        try:
            while data := await source.read(65536):
                await asyncio.sleep(self.delay)
                if not lost.is_set():
                    sink.write(data)
        except ConnectionError:
            pass
        if not lost.is_set():
            sink.transport.abort()
            self._writers.discard(sink)

    def _run(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


@contextmanager
def proxy_to(target: int) -> Iterator[Proxy]:
    proxy = Proxy(target)
    thread = Thread(target=proxy._loop.run_forever, name="proxy")
    thread.start()
    proxy._run(proxy._listen(0))
    try:
        yield proxy
    finally:
        proxy._run(proxy._end())
        proxy._loop.call_soon_threadsafe(proxy._loop.stop)
        thread.join()
        proxy._loop.close()
