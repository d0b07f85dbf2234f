# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong between client and server, forced."""

from __future__ import annotations

import html
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Optional

from .messages import Request


@dataclass
class Fault:
    """Bends the answers to requests whose ``METHOD path`` matches, ``times`` times (None: for ever).

    ``before`` runs first. With ``status`` the server never sees the request and this is the answer; ``body`` may be
    a function of the request. ``cut`` sends only so many bytes of the true answer and drops the connection;
    ``promise`` is how many more bytes the header announces; ``pace`` is how many seconds pass between two bytes.
    """

    pattern: str = ""
    times: Optional[int] = 1
    before: Optional[Callable[[], None]] = None
    status: Optional[int] = None
    headers: dict[str, str] = field(default_factory=dict)
    body: object = b'{"errors":[]}'
    kind: str = "application/json"
    cut: Optional[int] = None
    promise: int = 0
    pace: float = 0.0
    hit: int = 0

    def matches(self, request: Request) -> bool:
        spent = self.times is not None and self.hit >= self.times
        return not spent and re.search(self.pattern, f"{request.method} {request.path}") is not None

    def content(self, request: Request) -> bytes:
        made = self.body(request) if callable(self.body) else self.body
        return made if isinstance(made, bytes) else str(made).encode()


class Faults:
    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def next(self, request: Request) -> Optional[Fault]:
        with self._lock:
            for fault in self._faults:
                if fault.matches(request):
                    fault.hit += 1
                    return fault
        return None


def proxy_page(request: Request) -> bytes:
    """What some proxies show when the server behind them is gone: everything that they were sent."""
    sent = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
    return f"<html><body><h1>502</h1><pre>{html.escape(sent)}\n{request.body}</pre></body></html>".encode()


def answered(status: int, pattern: str = "", *, times: Optional[int] = 1, text: str = "", **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = f'{{"errors":["{text}"]}}' if text else '{"errors":[]}'
    return Fault(pattern, times, status=status, headers=named, body=body)


def bad_gateway(pattern: str = "", *, times: Optional[int] = 1) -> Fault:
    return Fault(pattern, times, status=502, body=proxy_page, kind="text/html")


def page(pattern: str = "", *, times: Optional[int] = 1) -> Fault:
    """200, and no answer of Vault's at all."""
    return Fault(pattern, times, status=200, body=proxy_page, kind="text/html")


def redirected(location: str, pattern: str = "", *, times: Optional[int] = 1) -> Fault:
    def address(request: Request) -> bytes:
        fault.headers["Location"] = f"{location}/v1/{request.path}"
        return b""

    fault = Fault(pattern, times, status=307, body=address, kind="")
    return fault


def delayed(wait: float, pattern: str = "", *, times: Optional[int] = 1) -> Fault:
    return Fault(pattern, times, before=lambda: time.sleep(wait))


def truncated(pattern: str = "", *, times: Optional[int] = 1) -> Fault:
    """Whole by its length, but the JSON ends too early."""
    return Fault(pattern, times, cut=40)


def reset(pattern: str = "", *, times: Optional[int] = 1) -> Fault:
    """The connection ends in the middle of the body."""
    return Fault(pattern, times, cut=40, promise=1000)


def dripping(pace: float, pattern: str = "", *, times: Optional[int] = 1) -> Fault:
    """The answer comes, one byte at a time."""
    return Fault(pattern, times, pace=pace)


def first(action: Callable[[], None], pattern: str = "", *, times: Optional[int] = 1) -> Fault:
    """Something happens just before the server looks at the request: sealed, another version, a clock that jumps."""
    return Fault(pattern, times, before=action)
