# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""All agents of a host asked at once, with one deadline."""

from __future__ import annotations

import asyncio
import os
import re
from typing import Awaitable, Callable, Mapping, Sequence

from ..effects import Clock, Health, Probe, Runner
from ..errors import ContinuityError
from . import zmtp
from .answers import Answer, judge, judge_http

LONGEST_ANSWER = 256 * 1024
LONGEST_HEAD = 16 * 1024
AT_ONCE = 256


class NoAnswer(Exception):
    """Nothing usable came back; the text says what happened instead."""


class NetworkProber:
    """The Prober protocol over real connections, files and programs.

    An agent that refuses, hangs or talks nonsense is unhealthy and not alive; one whose turn did not
    end before the deadline is unknown. Nothing is retried and no redirect is followed.
    """

    def __init__(self, runner: Runner, clock: Clock) -> None:
        self._runner = runner
        self._clock = clock

    def probe(self, probes: Sequence[Probe], *, deadline: float) -> dict[str, Health]:
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(self._probe_all(probes, deadline))
        finally:
            loop.close()

    async def _probe_all(self, probes: Sequence[Probe], deadline: float) -> dict[str, Health]:
        turns = asyncio.Semaphore(AT_ONCE)
        end = self._clock.monotonic() + deadline
        tasks = {probe.agent: asyncio.ensure_future(self._probe_one(probe, turns, end)) for probe in probes}
        if tasks:
            _done, late = await asyncio.wait(tasks.values(), timeout=deadline)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        return {
            agent: Health(agent, "unknown", False, False, message=f"not answered before the deadline of {deadline:g} s")
            if task.cancelled()
            else task.result()
            for agent, task in tasks.items()
        }

    async def _probe_one(self, probe: Probe, turns: asyncio.Semaphore, end: float) -> Health:
        async with turns:
            begun = self._clock.monotonic()
            ask = KINDS.get(probe.kind)
            if ask is None:
                return Health(probe.agent, "unknown", False, False, message=f"no such kind of probe: {probe.kind}")
            try:
                answer = await asyncio.wait_for(ask(self, probe, end), probe.timeout)
            except asyncio.TimeoutError:
                return self._silent(probe, begun, f"no answer within {probe.timeout:g} s")
            except (OSError, EOFError, NoAnswer, zmtp.ProtocolError, ContinuityError) as error:
                return self._silent(probe, begun, str(error) or type(error).__name__)
            seconds = round(self._clock.monotonic() - begun, 4)
            return Health(
                probe.agent, answer.status, True, answer.ready, answer.word, seconds, answer.errors, answer.message
            )

    def _silent(self, probe: Probe, begun: float, message: str) -> Health:
        seconds = round(self._clock.monotonic() - begun, 4)
        return Health(probe.agent, "unhealthy", False, False, seconds=seconds, message=message)

    async def _http(self, probe: Probe, _end: float) -> Answer:
        host, port = _address(probe)
        if not re.fullmatch(r"/[!-~]*", probe.path):
            raise NoAnswer(f"{probe.path!r} is no path of an HTTP request")
        reader, writer = await asyncio.open_connection(host, port, limit=LONGEST_HEAD)
        try:
            writer.write(
                f"GET {probe.path} HTTP/1.0\r\nHost: {probe.target}\r\nAccept: application/json, text/plain, */*\r\n"
                "User-Agent: fleetops.continuity\r\nConnection: close\r\n\r\n".encode()
            )
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.LimitOverrunError as error:
                raise NoAnswer(f"the head of its answer is longer than {LONGEST_HEAD} bytes") from error
            except asyncio.IncompleteReadError as error:
                raise NoAnswer("it closed the connection without an HTTP answer") from error
            version, _unused, rest = head.partition(b" ")
            if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
                raise NoAnswer("it does not speak HTTP")
            return judge_http(int(rest[:3]), await _body(reader, head))
        finally:
            writer.transport.abort()

    async def _zmq(self, probe: Probe, _end: float) -> Answer:
        host, port = _address(probe)
        reader, writer = await asyncio.open_connection(host, port)
        try:
            return judge(await zmtp.request(reader, writer, probe.request.encode(), limit=LONGEST_ANSWER))
        except asyncio.IncompleteReadError as error:
            raise NoAnswer("it closed the connection without an answer") from error
        finally:
            writer.transport.abort()

    async def _tcp(self, probe: Probe, _end: float) -> Answer:
        host, port = _address(probe)
        _reader, writer = await asyncio.open_connection(host, port)
        writer.transport.abort()
        return Answer("healthy", True, "connected")

    async def _command(self, probe: Probe, end: float) -> Answer:
        seconds = max(0.1, min(probe.timeout, end - self._clock.monotonic()))
        loop = asyncio.get_running_loop()
        ended = await loop.run_in_executor(None, lambda: self._runner.run(probe.argv, timeout=seconds))
        said = judge(ended.stdout.encode())
        if ended.status != 0:
            lines = (ended.stderr or ended.stdout).strip().splitlines()
            reason = f"exit status {ended.status}" + (f": {lines[-1][:200]}" if lines else "")
            return Answer("unhealthy", False, said.word, said.errors, reason)
        return said if said.status != "unknown" else Answer("healthy", True, said.word, said.errors)

    async def _file_age(self, probe: Probe, _end: float) -> Answer:
        age = self._clock.now() - os.stat(probe.target).st_mtime
        word = f"{max(0.0, age):.0f} s old"
        if age <= probe.max_age:
            return Answer("healthy", True, word)
        return Answer("unhealthy", False, word, message=f"older than {probe.max_age:g} s")


KINDS: Mapping[str, Callable[[NetworkProber, Probe, float], Awaitable[Answer]]] = {
    "http": NetworkProber._http,
    "zmq": NetworkProber._zmq,
    "tcp": NetworkProber._tcp,
    "command": NetworkProber._command,
    "file_age": NetworkProber._file_age,
}


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """What follows the head: as long as it says, else to the end of the stream; never more than the limit."""
    length = LONGEST_ANSWER + 1
    for line in head.split(b"\r\n")[1:]:
        name, _unused, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            length = min(int(value), LONGEST_ANSWER + 1)
    body = b""
    while len(body) < length:
        more = await reader.read(length - len(body))
        if not more:
            break
        body += more
    if len(body) > LONGEST_ANSWER:
        raise NoAnswer(f"its answer is longer than {LONGEST_ANSWER} bytes")
    return body


def _address(probe: Probe) -> tuple[str, int]:
    host, _unused, port = probe.target.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise NoAnswer(f"{probe.target!r} is no host:port")
    return host.strip("[]"), int(port)
