# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""An agent's start script: its environment, its working directory, and then the agent itself.

The script finds the host root through its own path, so a root can be moved; the release that it
belongs to is written into it, so that a link that moves while it starts cannot mix two releases.
Values are data: nothing in them is expanded by the shell. ``${NAME}`` and ``${NAME:-default}`` are
resolved when the release is built, from the given values; ``${PWD}`` is the release's ``code``,
``${PYTHONPATH}`` what the script sets anyway; what is not known stays as it was written.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from typing import Mapping

from ..errors import ContinuityError
from ..fleet.expressions import expand
from ..fleet.model import Agent, HostConfig

CODE = "\0code\0"
"""Stands for the folder ``code`` of the release until the script is written: no value can hold it."""

DEFAULTS = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
"""A release is never written to, and a log line is there when it was printed; a config may differ."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

TEMPLATE = """\
#!/bin/sh
# {agent} of release {release}. Written by fleetops.continuity.
set -eu
if [ "${{1:-}}" = 0 ]; then
    exec sleep 2147483647 # the holder: it only keeps the socket open
fi
here=$(CDPATH='' cd -- "${{0%/*}}/.." && pwd -P)
root=${{here%/releases/*}}
release=$root/releases/{release}
cd -- "$root"/state/{agent}
exec env \\
{assignments}
    {python} "$release"/code/{script}
"""


class VariableError(ContinuityError):
    """A variable that no process can have."""


def environment_of(agent: Agent, config: HostConfig, values: Mapping[str, str], bind: str) -> dict[str, str]:
    """Every variable that the agent gets, except those that name folders; ``CODE`` stands in values.

    The host's variables come first, then the agent's own, then ours, which a config cannot change.
    """
    known = {**values, "PWD": CODE, "PYTHONPATH": ""}
    declared = {**DEFAULTS, **config.environment, **agent.environment}
    for name, value in declared.items():
        if not _NAME.fullmatch(name) or "\0" in value:
            raise VariableError(f"{name!r} cannot be an environment variable", where=str(agent.location))
    environment = {name: expand(value, known).text for name, value in declared.items()}
    environment["PYTHONPATH"] = _python_path(environment.get("PYTHONPATH", ""))
    environment.update(AGENT_NAME=agent.name, AGENT_HOST=agent.host, AGENT_BIND=bind)
    for name, claim in (("AGENT_PORT", agent.port), ("AGENT_HEALTH_PORT", agent.health_check_port)):
        environment.pop(name, None)
        if claim is not None and claim.number is not None:
            environment[name] = str(claim.number)
    return environment


def write(
    agent: Agent, environment: Mapping[str, str], *, release: str, python: str, script: str, config: str
) -> bytes:
    """The script. ``script`` is relative to ``code``, ``config`` the startup config's name."""
    if "=" in python:
        raise VariableError("the path of an interpreter cannot hold '='", where=python)
    folders = {
        "AGENT_STATE_DIR": f'"$root"/state/{agent.name}',
        "AGENT_LOG_FILE": f'"$root"/logs/{agent.name}.log',
        "AGENT_CONFIG": f'"$release"/config/{shlex.quote(config)}',
        "AGENT_RELEASE": release,
    }
    assigned = {**{name: _quoted(value) for name, value in environment.items()}, **folders}
    return TEMPLATE.format(
        agent=agent.name,
        release=release,
        assignments="\n".join(f"    {name}={assigned[name]} \\" for name in sorted(assigned)),
        python=shlex.quote(python),
        script=shlex.quote(script),
    ).encode()


def _python_path(declared: str) -> str:
    """``code`` first, then what was declared; entries below ``code`` that leave it name nothing here,
    and an empty entry would mean the working directory."""
    entries = {CODE: None}
    for entry in declared.split(":"):
        if entry.startswith(CODE) or (entry and not entry.startswith("/") and "$" not in entry):
            inside = posixpath.normpath(entry.replace(CODE, "", 1).lstrip("/") or ".")
            if inside.split("/")[0] != "..":
                entries[posixpath.join(CODE, inside) if inside != "." else CODE] = None
        elif entry:
            entries[entry] = None
    return ":".join(entries)


def _quoted(value: str) -> str:
    return '"$release"/code'.join(shlex.quote(part) if part else "" for part in value.split(CODE)) or "''"
