# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services on asyncio: one thread, one task per connection, the same drain by other means."""

import asyncio
import json
import signal
from urllib.parse import parse_qsl, urlsplit

from common.core import handover
from common.core.identity import Identity
from common.core.log import log
from common.core.state import open_state
from common.core.vitals import Vitals


class Service:
    """``work`` is a coroutine function: a request's parameters in, what is to be answered out."""

    def __init__(self, work, state_kind="json"):
        self.work = work
        self.identity = Identity.from_environment()
        self.vitals = Vitals(self.identity, open_state(state_kind, self.identity.state_dir))
        self.stopping = asyncio.Event()
        self.open = set()
        self.in_flight = 0

    async def answer(self, path, query):
        self.vitals.requests += 1
        if path == "/metrics":
            return 200, "text/plain; version=0.0.4; charset=utf-8", self.vitals.metrics()
        if path == "/health":
            return 200, "application/json", json.dumps(self.vitals.health(well="UP"))
        if path == "/":
            return 200, "application/json", json.dumps({**self.vitals.summary(), **await self.work(query)})
        return 404, "application/json", '{"error": "no such path"}'

    async def converse(self, reader, writer):
        self.open.add(writer)
        try:
            last = False
            while not last:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.in_flight += 1
                try:
                    _unused, target, version = head.split("\r\n", 1)[0].split()
                    parts = urlsplit(target)
                    status, kind, text = await self.answer(parts.path, dict(parse_qsl(parts.query)))
                    last = self.stopping.is_set() or "connection: close" in head.lower() or version == "HTTP/1.0"
                    body = text.encode()
                    connection = "close" if last else "keep-alive"
                    writer.write(
                        f"HTTP/1.1 {status} {'OK' if status == 200 else 'Not Found'}\r\nContent-Type: {kind}\r\n"
                        f"Content-Length: {len(body)}\r\nConnection: {connection}\r\n\r\n".encode()
                        + body
                    )
                    await writer.drain()
                finally:
                    self.in_flight -= 1
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
            return  # the client went away, or does not speak HTTP
        finally:
            self.open.discard(writer)
            writer.close()

    async def live(self):
        me = self.identity
        self.vitals.save()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stopping.set)
        servers = [
            await asyncio.start_server(self.converse, sock=handover.listening_socket(me.bind, port), backlog=512)
            for port in (me.port, me.health_port)
        ]
        handover.notify_ready()
        log(me.name, "INFO", f"release {me.release} serves {me.bind}:{me.port}, health {me.health_port}")
        while not self.stopping.is_set():
            try:
                await asyncio.wait_for(self.stopping.wait(), 3.0)
            except asyncio.TimeoutError:
                self.vitals.save()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # being asked again changes nothing
        # Server.close() would drop a connection that was accepted a moment ago and has no handler yet.
        for server in servers:
            for listening in server.sockets:
                loop.remove_reader(listening.fileno())
        await asyncio.sleep(handover.ROUND_SECONDS)
        for server in servers:
            server.close()
        for waited in range(int(handover.CAP_SECONDS / 0.02)):
            if not self.open or (not self.in_flight and waited * 0.02 > handover.IDLE_SECONDS):
                break
            await asyncio.sleep(0.02)
        self.vitals.save()
        log(me.name, "INFO", "drained")


def run(work, state_kind="json"):
    async def live():
        await Service(work, state_kind).live()

    asyncio.run(live())
