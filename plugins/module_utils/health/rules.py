# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ports that an agent really has, which a startup config seldom says (pure).

The shared base class opens three: requests on ``port`` (ZeroMQ), health on ``health_check_port``
(ZeroMQ), and HTTP on the number after that. It knows ``health_check_port`` only if the agent's class
passes it on; otherwise it takes ``port+1``, and HTTP is on ``port+2``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional, Union

EXPRESSION = re.compile(r"\s*(port|health_check_port)\s*(?:\+\s*(\d{1,4}))?\s*")


@dataclass(frozen=True)
class Ports:
    """Where the base class listens: requests and health speak ZeroMQ, the third HTTP ``GET /health``."""

    requests: int
    health: int
    http: int


def base_class_ports(port: int, health_check_port: Optional[int], *, honoured: bool = True) -> Ports:
    """``honoured`` says whether the agent's class passes ``health_check_port`` on."""
    health = health_check_port if honoured and health_check_port is not None else port + 1
    return Ports(port, health, health + 1)


def resolve_port(
    expression: Union[int, str], *, port: Optional[int], health_check_port: Optional[int]
) -> Optional[int]:
    """The number that ``port``, ``health_check_port``, either with ``+n``, or a number means.

    An absent ``health_check_port`` is ``port+1``, as the base class has it. None when the expression
    is none of these, or names a port that the agent does not declare, or leaves 1–65535.
    """
    if isinstance(expression, int) or expression.strip().isdigit():
        number: Optional[int] = int(expression)
    else:
        found = EXPRESSION.fullmatch(expression)
        if found is None:
            return None
        implied = port + 1 if port is not None else None
        named = port if found.group(1) == "port" else (health_check_port if health_check_port is not None else implied)
        number = None if named is None else named + int(found.group(2) or 0)
    return number if number is not None and 1 <= number <= 65535 else None
