# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of reading share: a bed, a clock that does not wait, and a search for values in errors."""

from __future__ import annotations

import base64
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

from vault_server.bed import Bed
from vault_server.profiles import CURRENT, Profile
from vault_server.server import VaultServer

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.model import DeclaredSecret, declared
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.sources import opened
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.vault import VaultSource


class QuickClock:
    """Sleeps by setting itself forward; ``slept`` is how long each time."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._real = SystemClock()
        self.ahead = 0.0

    def now(self) -> float:
        return self._real.now() + self.ahead

    def monotonic(self) -> float:
        return self._real.monotonic() + self.ahead

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.ahead += seconds


@contextmanager
def bed(folder: Path, profile: Profile = CURRENT, **options: Any) -> Iterator[Bed]:
    with VaultServer(profile, **options) as server:
        try:
            yield Bed(server, folder)
        finally:
            crashes = server.crashes
        assert crashes == []


def source(bed: Bed, clock: Optional[QuickClock] = None, **options: Any) -> VaultSource:
    made = opened(bed.source(**options), clock or QuickClock())
    assert isinstance(made, VaultSource)
    return made


def secrets(*entries: Any, **fields: Any) -> list[DeclaredSecret]:
    """From ``path:field`` or whole declarations; those without a name are a0, a1 …"""
    made = []
    for number, entry in enumerate(entries):
        if isinstance(entry, str):
            path, _colon, name = entry.partition(":")
            entry = {"path": path, "field": name or "value", **fields}
        made.append({"name": f"a{number}", **entry})
    return declared(made)


def shown(error: BaseException) -> str:
    """All that can be seen of an error: texts, attributes, tracebacks with the variables of their frames, causes."""
    parts: list[str] = []
    waiting: list[Optional[BaseException]] = [error]
    while waiting:
        one = waiting.pop()
        if one is None:
            continue
        parts += [str(one), repr(one), repr(one.args), repr(vars(one))]
        parts += traceback.TracebackException.from_exception(one, capture_locals=True).format()
        waiting += [one.__cause__, one.__context__, *getattr(one, "failures", {}).values()]
    return "\n".join(parts)


def encodings(value: str) -> set[str]:
    raw = value.encode()
    return {value, value[::-1], base64.b64encode(raw).decode().rstrip("="), raw.hex(), repr(value)[1:-1]}


def leaks(text: str, values: Iterable[str]) -> list[str]:
    return [form for value in values for form in encodings(value) if form in text]
