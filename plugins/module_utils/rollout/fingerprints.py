# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an agent is made of, as one digest: it changes exactly when the running agent must be replaced.

An agent is made of its script and the project's modules that it can import (the whole project, when
names are computed at run time), the other files of its script's folder, the files and folders that
its config entry or its environment names, its config entry, its environment, unit, probe, interpreter.
"""

from __future__ import annotations

import hashlib
import posixpath
from dataclasses import asdict
from functools import cache
from typing import Any, Collection, Iterator, Mapping

from ..effects import Probe, Unit
from ..fleet.model import Agent
from ..journal.chain import canonical
from .project_files import ProjectFile
from .start_script import CODE


def files_of(
    agent: Agent,
    script: str,
    imported: Collection[str],
    dynamic: bool,
    environment: Mapping[str, str],
    project: Mapping[str, ProjectFile],
) -> tuple[str, ...]:
    """The project's files that count for the agent, sorted. ``imported`` are those of its import
    closure; paths are relative to the project."""
    if dynamic:
        return tuple(sorted(project))
    folder = posixpath.dirname(script)
    named = {
        normal
        for text in _texts([agent.raw, dict(environment)])
        for normal in (posixpath.normpath(text.replace(CODE, ".", 1)),)
        if text and normal != "." and not normal.startswith(("/", ".."))
    }
    return tuple(
        sorted(
            path
            for path in project
            if path in imported
            or path in named
            or (not path.endswith(".py") and path.rpartition("/")[0] == folder)
            or not named.isdisjoint(_parents(path))
        )
    )


def fingerprint(
    agent: Agent,
    files: Collection[str],
    project: Mapping[str, ProjectFile],
    environment: Mapping[str, str],
    unit: Unit,
    probe: Probe,
    python: str,
) -> str:
    """SHA-256, hexadecimal, over everything above."""
    made_of: Mapping[str, Any] = {
        "files": {path: [project[path].sha256, project[path].mode] for path in files},
        "config": _plain(agent.raw),
        "environment": dict(environment),
        "unit": asdict(unit),
        "probe": asdict(probe),
        "python": python,
    }
    return hashlib.sha256(canonical(made_of).encode()).hexdigest()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


@cache
def _parents(path: str) -> tuple[str, ...]:
    """The folders that it lies in, nearest first. Every agent asks this of every file of the project."""
    parent = path.rpartition("/")[0]
    return (parent, *_parents(parent)) if parent else ()


def _plain(value: Any) -> Any:
    """Config values as JSON has them; what YAML has beyond that (dates, infinities) by its name."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, int)):
        return value
    return repr(value)
