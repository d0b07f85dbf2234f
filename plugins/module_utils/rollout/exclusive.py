# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""One change of a host at a time, whoever makes it: a module, the dead man, an operator.

The lease says who may change the host over minutes; this lock is held by the process that changes
it right now. The kernel frees it when that process dies, so nobody is locked out by a dead one.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import Iterator

from ..effects import Clock
from ..errors import ContinuityError


class BusyError(ContinuityError):
    """Another process changes this host right now."""


@contextmanager
def changing(root: str, clock: Clock, *, wait: float = 120.0) -> Iterator[None]:
    """Hold the host's change lock. Raises BusyError when it is not free within ``wait`` seconds."""
    path = os.path.join(root, "ledger", "change.lock")
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, path, clock, clock.monotonic() + wait, wait)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: str, clock: Clock, deadline: float, wait: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if clock.monotonic() >= deadline:
                raise BusyError(
                    f"another process has been changing this host for over {wait:g} s",
                    where=path,
                    fix="Look at the host with the status playbook, then run again",
                ) from error
            clock.sleep(0.1)
