# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a source of secrets says no.

Nothing that a server answered and nothing of a file's content is ever part of a message: servers echo secrets.
"""

from __future__ import annotations

from typing import Callable, Mapping, Optional, TypeVar

from ..errors import ContinuityError

_Result = TypeVar("_Result")
OUTAGES = frozenset({"unreachable", "unavailable", "rate_limited", "standby", "sealed"})
"""While these last, nobody is to be deprived of what they have."""


class SecretError(ContinuityError):
    """A secret cannot be had. ``code`` is one of docs/secrets.md; ``failures`` holds the error of each name."""

    def __init__(
        self,
        code: str,
        what: str,
        *,
        where: Optional[str] = None,
        fix: Optional[str] = None,
        failures: Optional[Mapping[str, SecretError]] = None,
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.code = code
        self.failures = dict(failures or {})

    @property
    def outage(self) -> bool:
        return self.code in OUTAGES


def collected(failures: Mapping[str, SecretError]) -> SecretError:
    """One error for several secrets: each thing that is wrong, and whom it concerns. An outage counts first."""
    worst = next((error for error in failures.values() if error.outage), next(iter(failures.values())))
    names: dict[str, list[str]] = {}
    for name, error in failures.items():
        names.setdefault(error.what, []).append(name)
    what = "; ".join(f"{', '.join(concerned)}: {wrong}" for wrong, concerned in names.items())
    return SecretError(worst.code, what, where=worst.where, fix=worst.fix, failures=failures)


def tried(work: Callable[[], _Result]) -> tuple[Optional[_Result], Optional[SecretError]]:
    """What comes of it, or its error, which leaves behind the frames and causes that it came from: they hold values."""
    try:
        return work(), None
    except SecretError as error:
        return None, error.with_traceback(None)
    except ContinuityError as error:
        what, where, fix = error.what, error.where, error.fix
    return None, SecretError("unreadable", what, where=where, fix=fix)
