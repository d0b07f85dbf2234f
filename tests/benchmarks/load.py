# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steady HTTP load on many agents at once, to count what a change of the fleet loses.

Each agent gets closed-loop clients of two kinds: one opens a connection for every request, one
keeps its connection. Nothing is ever sent twice: a request that is refused, reset, cut off, answered
with a status of 500 and more, or not answered in time, has failed.

    load.py --target ServiceRegistry=127.77.0.1:7200 … --seconds 60
    load.py --targets FILE --result RESULT     ends with SIGTERM or SIGINT

FILE holds one NAME=ADDRESS:PORT a line. The summary goes to standard output, or as JSON to RESULT;
exit status 0 when nothing failed and something was asked, else 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

MODES = ("new", "keep-alive")
CAN_FAIL = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.TimeoutError, ValueError)
LISTED_FAILURES = 50


@dataclass(frozen=True)
class Target:
    agent: str
    address: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Target:
        agent, _unused, place = text.strip().partition("=")
        address, _unused, port = place.rpartition(":")
        return cls(agent, address, int(port))


@dataclass
class Tally:
    """What was seen; times are seconds from sending a request to the last byte of its answer."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {mode: [] for mode in MODES})
    failed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MODES, 0))
    failures: list[dict[str, object]] = field(default_factory=list)

    def fail(self, mode: str, target: Target, error: BaseException) -> None:
        self.failed[mode] += 1
        if len(self.failures) < LISTED_FAILURES:
            what = f"{type(error).__name__}: {error}"
            self.failures.append({"at": round(time.time(), 3), "agent": target.agent, "mode": mode, "what": what})

    @property
    def asked(self) -> int:
        return sum(map(len, self.seconds.values())) + sum(self.failed.values())

    def summary(self) -> dict[str, object]:
        return {
            "requests": self.asked,
            "failed": sum(self.failed.values()),
            **{mode: self.of(mode) for mode in MODES},
            "failures": self.failures,
        }

    def of(self, mode: str) -> dict[str, float]:
        ordered = sorted(self.seconds[mode]) or [0.0]
        return {
            "requests": len(self.seconds[mode]) + self.failed[mode],
            "failed": self.failed[mode],
            "p50_ms": round(ordered[len(ordered) // 2] * 1000, 1),
            "p99_ms": round(ordered[len(ordered) * 99 // 100] * 1000, 1),
            "max_ms": round(ordered[-1] * 1000, 1),
        }


@dataclass
class Limits:
    pace: float
    timeout: float
    most: int


class Client:
    """One closed-loop client: the next request goes out after the answer to the last one."""

    def __init__(self, target: Target, mode: str, limits: Limits, tally: Tally, stop: asyncio.Event) -> None:
        self.target = target
        self.mode = mode
        self.limits = limits
        self.tally = tally
        self.stop = stop
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def run(self, delay: float) -> None:
        await self._pause(delay)
        while not self.stop.is_set():
            if self.tally.asked >= self.limits.most:
                self.stop.set()
                break
            begun = time.perf_counter()
            try:
                await asyncio.wait_for(self._ask(), self.limits.timeout)
            except CAN_FAIL as error:
                self._close()
                self.tally.fail(self.mode, self.target, error)
            else:
                self.tally.seconds[self.mode].append(time.perf_counter() - begun)
            await self._pause(self.limits.pace - (time.perf_counter() - begun))
        self._close()

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.stop.wait(), max(0.0, seconds))
        except asyncio.TimeoutError:
            return

    async def _ask(self) -> None:
        if self.writer is not None and self.reader is not None and self.reader.at_eof():
            self._close()  # closed between two requests: nothing was asked, nothing is lost
        if self.reader is None or self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(self.target.address, self.target.port)
        connection = "keep-alive" if self.mode == "keep-alive" else "close"
        self.writer.write(f"GET / HTTP/1.1\r\nHost: {self.target.agent}\r\nConnection: {connection}\r\n\r\n".encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split()[1])
        fields = {name.lower(): value.strip() for name, _unused, value in (line.partition(":") for line in head[1:])}
        await self.reader.readexactly(int(fields["content-length"]))
        if self.mode == "new" or fields.get("connection") == "close":
            self._close()
        if status >= 500:
            raise ValueError(f"status {status}")

    def _close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


async def load(targets: list[Target], limits: Limits, seconds: float) -> Tally:
    """Ask every target in both modes until the time is over, the count is reached, or a signal comes."""
    tally, stop = Tally(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.call_later(seconds, stop.set)
    clients = [Client(target, mode, limits, tally, stop) for target in targets for mode in MODES]
    await asyncio.gather(*(client.run(limits.pace * at / len(clients)) for at, client in enumerate(clients)))
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description="Steady HTTP load on many agents, without retry.")
    parser.add_argument("--target", action="append", default=[], metavar="NAME=ADDRESS:PORT")
    parser.add_argument("--targets", type=Path, help="a file with one target a line")
    parser.add_argument("--seconds", type=float, default=600.0, help="the longest time (default: 600)")
    parser.add_argument("--requests", type=int, default=1_000_000, help="the highest count (default: 1000000)")
    parser.add_argument("--pace", type=float, default=0.25, help="seconds between two requests of a client")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds for one answer")
    parser.add_argument("--result", type=Path, help="write the summary as JSON to this file")
    options = parser.parse_args()
    lines = list(options.target)
    if options.targets:
        lines += [line for line in options.targets.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        parser.error("no targets")
    limits = Limits(options.pace, options.timeout, options.requests)
    tally = asyncio.run(load([Target.parse(line) for line in lines], limits, options.seconds))
    summary = tally.summary()
    if options.result:
        options.result.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    for mode in MODES:
        print(mode, *(f"{key} {value}" for key, value in tally.of(mode).items()))
    for failure in tally.failures:
        print(failure)
    print(f"{summary['failed']} of {summary['requests']} requests failed")
    return 0 if tally.asked and not summary["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
