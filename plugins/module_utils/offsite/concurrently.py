# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A few things at once, with an end at the first that fails."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, Iterable, Iterator, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def each(items: Iterable[_Item], work: Callable[[_Item], _Result], parallel: int) -> Iterator[tuple[_Item, _Result]]:
    """(item, result) in the order of the items. What ``work`` raises is raised once all that runs has ended;
    nothing further is begun. At most twice ``parallel`` are waiting, so items may be many."""
    waiting: deque[tuple[_Item, Future[_Result]]] = deque()
    with ThreadPoolExecutor(parallel) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) >= 2 * parallel:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _item, future in waiting:
                future.cancel()
