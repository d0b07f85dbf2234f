# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way in which the engine says that something cannot be done.

Every engine package raises a subclass of :class:`ContinuityError`; ``wiring.py`` and the
command line are the only places that turn it into a module failure or an exit status.
"""

from __future__ import annotations

from typing import Optional


class ContinuityError(Exception):
    """What is wrong, where it stands, and what to do next.

    ``what`` is one sentence without a final full stop, ``where`` names a file, ``file:line``,
    a host or an agent, ``fix`` says what the operator does next.
    """

    def __init__(self, what: str, *, where: Optional[str] = None, fix: Optional[str] = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        remedy = f". {self.fix}" if self.fix else ""
        return f"{place}{self.what}{remedy}"
