# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is collected while one host's startup config is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping, Optional, Sequence

from .model import Location, Problem


@dataclass
class Reading:
    """The host, the values for expressions, and everything found wrong so far. ``refused`` are the
    identities of nodes of which it has been said that they are no agents."""

    host: str
    values: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)
    refused: set[int] = field(default_factory=set)

    def report(
        self,
        rule: str,
        message: str,
        location: Location,
        *,
        severity: str = "critical",
        agent: Optional[str] = None,
        expected: str = "",
        found: str = "",
        key: str = "",
        agents: Sequence[str] = (),
    ) -> None:
        """``agents`` are the names of all that the problem concerns, where they may be several."""
        self.problems.append(
            Problem(
                rule=rule,
                message=message,
                location=location,
                host=self.host,
                severity=severity,
                agent=agent,
                expected=expected,
                found=found,
                key=key,
                members=tuple(f"{self.host}:{name}" for name in agents),
            )
        )
