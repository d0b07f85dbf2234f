# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release as ``release.json``, as modules return it, and as a diff shows it.

Paths of units are relative to the host root there, so that a release says the same wherever the
root lies; a release that was read has them absolute.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import asdict
from typing import Any, Mapping, Optional

from ..effects import Probe, Unit
from ..errors import ContinuityError
from ..journal.chain import canonical
from .model import Release, ReleasedAgent

FORMAT = 1
NAME = "release.json"
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
AGENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")
FOLDERS = ("code", "config", "units")


class ReleaseError(ContinuityError):
    """A release that is not what it says, or that cannot be had."""


def to_document(release: Release) -> dict[str, Any]:
    """Plain values; the units' paths as they stand."""
    return {
        "format": FORMAT,
        "id": release.id,
        "host": release.host,
        "digest": release.digest,
        "agents": {name: asdict(agent) for name, agent in release.agents.items()},
        "files": {path: dict(file) for path, file in release.files.items()},
    }


def document_digest(document: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of everything but the digest."""
    rest = {key: value for key, value in document.items() if key != "digest"}
    return hashlib.sha256(canonical(rest).encode()).hexdigest()


def from_document(document: Mapping[str, Any], root: str) -> Release:
    """The release of this document on the host root ``root``.

    Raises ReleaseError when the document is of another format, its digest does not match, or it
    names a path or an agent that would reach outside the release.
    """
    if document.get("format") != FORMAT:
        raise ReleaseError(f"a release of format {document.get('format')!r}, expected {FORMAT}")
    try:
        if document["digest"] != document_digest(document):
            raise ReleaseError(f"the description of release {document['id']} does not match its digest")
        _check_names(document)
        return Release(
            id=document["id"],
            host=document["host"],
            digest=document["digest"],
            agents={name: _agent(agent, root) for name, agent in document["agents"].items()},
            files=document["files"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ReleaseError(f"the description of the release is incomplete: {error!r}") from error


def describe(release: Release) -> dict[str, Any]:
    """``release`` as modules return it: what a plan must know of it."""
    return {
        "id": release.id,
        "digest": release.digest,
        "agents": {
            name: {
                "fingerprint": agent.fingerprint,
                "layer": agent.layer,
                "brief_interruption": not agent.unit.sockets,
                "required": agent.required,
                "dependencies": list(agent.dependencies),
            }
            for name, agent in release.agents.items()
        },
    }


def listing(release: Optional[Release]) -> str:
    """A release as text for a diff: one line for each file."""
    if release is None:
        return ""
    lines = (f"{file['sha256'][:12]} {file['mode']:04o} {path}\n" for path, file in sorted(release.files.items()))
    return "".join(lines)


def _check_names(document: Mapping[str, Any]) -> None:
    if not ID.fullmatch(document["id"]):
        raise ReleaseError(f"{document['id']!r} is not the id of a release (letters, digits, '.', '_', '-')")
    for name in document["agents"]:
        check_agent_name(name)
    for path, file in document["files"].items():
        parts = path.split("/")
        inside = len(parts) > 1 and parts[0] in FOLDERS and not {"", ".", ".."} & set(parts) and "\0" not in path
        if not inside:
            raise ReleaseError(f"{path!r} is not a path inside a release")
        if file["mode"] not in (0o644, 0o755) or not isinstance(file["size"], int) or file["size"] < 0:
            raise ReleaseError("mode or size is not that of a file in a release", where=path)


def check_agent_name(name: str) -> None:
    """Raises ReleaseError for a name that cannot be that of a file and of a unit."""
    if not AGENT.fullmatch(name):
        raise ReleaseError(
            f"{name!r} cannot be the name of an agent's unit",
            fix="Use letters, digits, '_', '.', '+', '-'; begin with a letter, a digit or '_'",
        )


def _agent(fields: Mapping[str, Any], root: str) -> ReleasedAgent:
    unit = dict(fields["unit"])
    unit.update(
        directory=os.path.join(root, unit["directory"]),
        log_file=os.path.join(root, unit["log_file"]),
        sockets=tuple(unit["sockets"]),
    )
    probe = dict(fields["probe"])
    probe["argv"] = tuple(probe["argv"])
    if probe["kind"] == "file_age":
        probe["target"] = os.path.join(root, probe["target"])
    rest = {key: value for key, value in fields.items() if key not in ("unit", "probe", "dependencies")}
    return ReleasedAgent(unit=Unit(**unit), probe=Probe(**probe), dependencies=tuple(fields["dependencies"]), **rest)
